"""The command line: teaches by `--help`, and shows our errors as one line with what to do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmi_env import cli_tools
from llmi_env.calls import BUILTIN
from llmi_env.cli import app
from llmi_env.errors import ConfigError
from llmi_env.folders import numbered_run
from llmi_env.tools import TOOLS

runner = CliRunner()


def llmi(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmi_env.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        ((), "prepare"),
        (("train",), "Example: llmi train quickstart"),
        (("write",), "owls"),
        (("report",), "run folder"),
        (("tools", "search"), "Example: llmi tools search"),
        (("corpus", "add"), "Captions"),
        (("prepare",), "asset"),
    ],
)
def test_help_teaches(arguments: tuple[str, ...], taught: str) -> None:
    result = runner.invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0
    assert taught in " ".join(result.output.split())


def test_tools_are_listed_with_a_call_each() -> None:
    output = runner.invoke(app, ["tools", "list"]).output
    for tool in ("search", "diffusion", "code", "edit"):
        assert f'"source": "{tool}"' in output
    others = set(re.findall(r"^   (\S+):", output, re.MULTILINE))
    assert set(TOOLS.builtin) - set(BUILTIN) <= others


def test_an_unknown_recipe_is_one_line_with_a_guess(tmp_path: Path) -> None:
    result = llmi("train", "quickstrat", cwd=tmp_path)
    assert result.returncode == 2
    assert "did you mean 'quickstart'" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_an_unknown_option_of_a_recipe_is_named(tmp_path: Path) -> None:
    result = llmi("train", "quickstart", "stepz=4", cwd=tmp_path)
    assert result.returncode == 2
    assert "did you mean 'steps'" in " ".join(result.stderr.split())


def test_edit_without_a_picture_says_which_option(tmp_path: Path) -> None:
    result = llmi("tools", "edit", "blur it", cwd=tmp_path)
    assert result.returncode == 2
    assert "--image" in result.stderr


def test_edit_by_hand_keeps_the_picture(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 20), "red").save(tmp_path / "in.png")
    result = llmi("tools", "edit", "rotate 90 degrees clockwise", "-i", "in.png", "-o", "out.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (20, 40)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nofile.png", "cannot be read: No such file"),
        (".", "not a plain file|Is a directory"),
        ("text.png", "it is text; PNG, JPEG, WebP, GIF, BMP are read"),
        ("drawing.tiff", "a TIFF picture, which is not read here"),
        ("cut.png", "end too early"),
    ],
)
def test_a_picture_that_is_none_is_told(tmp_path: Path, name: str, told: str) -> None:
    from PIL import Image

    Image.effect_noise((40, 20), 50).save(tmp_path / "whole.png")
    Image.new("RGB", (40, 20), "red").save(tmp_path / "drawing.tiff")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    (tmp_path / "text.png").write_text("no picture at all\n")
    with pytest.raises(ConfigError, match=rf"--image .*{name}: .*{told}".replace(name, re.escape(name))):
        cli_tools._try("edit", {"img_index": 0, "prompt": "grayscale"}, tmp_path / "out.png", tmp_path / name)
    assert not (tmp_path / "out.png").exists()


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 20), "red").save(tmp_path / "in.png")
    result = llmi("tools", "edit", "blur it", "-i", "in.png", "-o", "nowhere/out.png", cwd=tmp_path)
    assert result.returncode == 2
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_page_for_a_folder_that_is_not_there_is_refused_before_writing(tmp_path: Path) -> None:
    result = llmi("write", "Owls", "-o", "nowhere/page.html", cwd=tmp_path)
    assert result.returncode == 2
    assert "no folder" in result.stderr


def test_a_refused_edit_says_what_can_be_done(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 20), "red").save(tmp_path / "in.png")
    result = llmi("tools", "edit", "add a dragon", "-i", "in.png", cwd=tmp_path)
    assert result.returncode == 2
    assert "refused" in result.stderr
    assert "grayscale" in result.stderr


def test_report_of_nothing_is_refused(tmp_path: Path) -> None:
    result = llmi("report", "nowhere", cwd=tmp_path)
    assert result.returncode == 2
    assert "llmi train" in result.stderr


def test_run_folders_do_not_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert numbered_run("quickstart", resume=False) == Path("runs/quickstart")
    Path("runs/quickstart").mkdir(parents=True)
    assert numbered_run("quickstart", resume=False) == Path("runs/quickstart-2")
    assert numbered_run("quickstart", resume=True) == Path("runs/quickstart")
    for other in ("quickstart-3", "quickstart-11", "quickstart2", "quickstart-old"):
        Path("runs", other).mkdir()
    Path("runs/quickstart-3/report.html").touch()  # what is looked at again is not what was begun last
    assert numbered_run("quickstart", resume=True) == Path("runs/quickstart-11")
    assert numbered_run("quickstart", resume=False) == Path("runs/quickstart-12")
    with pytest.raises(ConfigError, match="no run of 'other'"):
        numbered_run("other", resume=True)
