"""The program in docs/scaling.md runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_program_runs() -> None:
    pytest.importorskip("torch")
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "StageReport" in done.stdout
