"""What README promises: its Python runs as it stands, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from llmi_env.cli import app

README = Path(__file__).parent.parent / "README.md"

if not README.exists():
    pytest.skip("README.md is not shipped with the package", allow_module_level=True)

TEXT = README.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_loop_is_that_of_the_examples() -> None:
    _, loop = EXAMPLES
    assert loop == (README.parent / "examples" / "custom_loop.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_example_runs_and_earns_what_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    example, _ = EXAMPLES
    scope: dict[str, object] = {}
    exec(example, scope)
    assert scope["terminated"]
    assert float(scope["reward"]) > 0.9  # type: ignore[arg-type]
    assert "Introduce barn owls" in capsys.readouterr().out


def test_the_commands_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"^llmi (\w+)", TEXT, re.MULTILINE)) | set(re.findall(r"`llmi (\w+)", TEXT))
    assert named
    assert named <= set(commands)


def test_the_places_exist() -> None:
    rows = re.findall(r"^\| `([\w./]+)` \|", TEXT, re.MULTILINE)
    assert {"llmi_env/", "trainers/"} <= set(rows)
    assert [row for row in rows if "/" in row and not (README.parent / row).exists()] == []
