"""A small web of one's own, for whoever asks services or fetches pictures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tools.web.services import Web


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def web(server: Web) -> Web:
    """The same one, with nothing set up and nothing asked yet."""
    server.forget()
    return server
