from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.serving import served
from tests.task_data.models import Models

os.environ["LLMI_VECTOR_CACHE"] = "off"  # here, so that processes inherit it: the user's caches are not the tests'


@pytest.fixture
def models() -> Iterator[Models]:
    """A server with a writer and a reader that do as they are told."""
    made = Models()
    with served(made.app) as address:
        made.base_url = f"{address}/v1"
        yield made
