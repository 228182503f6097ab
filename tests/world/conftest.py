from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own, so that no helper of the user's is met (and short: a socket lives in it)."""
    folder = Path(tempfile.mkdtemp(prefix="llmi-"))
    monkeypatch.setenv("LLMI_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
