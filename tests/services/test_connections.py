"""Where connections belong, and whom they trust."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import certifi
import pytest

from llmi_env.services.connections import place, tls_context


def test_a_place_is_a_process_and_an_event_loop() -> None:
    async def here() -> object:
        assert place() == place()
        return place()

    first, second = (asyncio.run(here()) for _ in range(2))
    assert first != second


def test_certificates_are_read_once_for_each_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    usual = tls_context()
    assert tls_context() is usual
    own = tmp_path / "authorities.pem"
    own.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(own))
    assert tls_context() is not usual
    monkeypatch.delenv("SSL_CERT_FILE")
    assert tls_context() is usual
