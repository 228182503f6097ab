"""A running server of pictures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import served
from tests.tools.image_tools import Service
from tests.tools.images_server import KEY, ImagesServer

pytest.importorskip("openai")


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    server = ImagesServer()
    with served(server.app()) as address:
        yield Service(server, address)


@pytest.fixture
def service(running: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    running.server.__init__()  # type: ignore[misc]
    monkeypatch.setenv("IMAGES_KEY", KEY)
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return running
