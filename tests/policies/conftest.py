from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_policy import make_tiny_policy


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny policy."""
    pytest.importorskip("torch")
    return make_tiny_policy(tmp_path_factory.mktemp("tiny-policy"))
