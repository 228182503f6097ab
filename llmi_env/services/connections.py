"""What connections of all kinds share: where they belong, and whom they trust."""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import cache

import httpx


def place() -> tuple[int, asyncio.AbstractEventLoop]:
    """Process and event loop. A connection works in those that it was made in, and is made again in others."""
    return os.getpid(), asyncio.get_running_loop()


def tls_context() -> ssl.SSLContext:
    """Whose certificates are believed, those of `SSL_CERT_FILE` or `SSL_CERT_DIR` included. The first time takes some 60 ms: for a thread."""
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    del file, folder  # httpx looks them up itself; they tell one context from another
    return httpx.create_ssl_context()
