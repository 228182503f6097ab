"""Hundreds of good and bad calls leave nothing behind (`benchmarks/soak.py` makes thousands)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.sandbox.conftest import Draw

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("code")]


def test_three_hundred_calls_leave_nothing(roomy: Draw, tier: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--calls", "300", "--sandbox", tier, "--print"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # folders of other tests are not its own
    ran = subprocess.run(
        command, cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stderr
    rows = {
        name.strip(): [int(number) for number in numbers]
        for name, *numbers in (line.strip("|").split("|") for line in ran.stdout.splitlines() if line.startswith("| "))
        if name.strip() and not name.strip().startswith("-") and numbers[0].strip().isdigit()
    }
    assert set(rows) == {"processes", "zombies", "descriptors", "folders of charts"}, ran.stdout
    for name, (before, after, closed) in rows.items():
        assert after == before, name
        assert closed <= before, name
    assert rows["zombies"] == [0, 0, 0]
    assert rows["processes"][2] == 0
