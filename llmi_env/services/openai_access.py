"""Reaching an OpenAI-compatible server: what judges and image tools share, so that a key is handled in one way.

A key never stands in a configuration: an option names the environment variable, or the file, that holds it, and it is read where the
World runs, when the first request is made. Nothing here imports the client.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llmi_env.errors import ConfigError
from llmi_env.services.keys import KeySource

OPENAI_URL = "https://api.openai.com/v1"

_LOCAL_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".svc", ".cluster.local")


def checked_url(url: str) -> str:
    """`url` itself, where it is an address without secrets.

    Raises:
        ValueError: no address of http(s), or one with a password or a query in it.
    """
    parts = urlsplit(url)
    # a password may hold a slash, which hides the @ from the parser
    if "@" in url or parts.query:
        raise ValueError(
            "a key in the address would be written into reports: name its variable as api_key_env, and extra fields as extra_body"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"an address such as http://127.0.0.1:8000/v1 is needed, not {url!r}")
    return url


def find_key(
    variable: str | None, url: str, *, azure: bool = False, file: str | None = None, what: str = "openai judge"
) -> str:
    """The key for the server at `url`; empty where none is to be sent.

    Args:
        variable: environment variable that holds it (the option `api_key_env`), empty for none; `None` stands for `OPENAI_API_KEY`
            (`AZURE_OPENAI_API_KEY`) at OpenAI's own address (with `azure`), and for no key at an address of one's own.
        url: the address of the API.
        azure: whether it is Azure OpenAI.
        file: file that holds the key and nothing else (the option `api_key_file`), in place of a variable.
        what: who asks, for messages.

    Raises:
        ConfigError: a key is needed and cannot be found.
    """
    name = variable
    if name is None and not file:
        if azure:
            name = "AZURE_OPENAI_API_KEY"
        elif urlsplit(url).hostname == urlsplit(OPENAI_URL).hostname:
            name = "OPENAI_API_KEY"
        elif is_hosted(url):
            raise ConfigError(
                f"{what}: name the environment variable that holds the key for {url} as api_key_env ('' if that server wants none)"
            )
        else:
            return ""
    return KeySource(env=name or "", file=file or "").read(f"{what}: {url}").reveal()


def is_hosted(url: str) -> bool:
    """Whether an address looks like a service on the internet: encrypted, and neither a private address nor a local name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or "." not in host or host.endswith(_LOCAL_ENDINGS):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True


def message_of(error: Any) -> str:
    """What the body of a status error of the client says, or the body itself."""
    body = error.body
    if isinstance(body, Mapping):
        return str(body.get("message") or body.get("detail") or body)
    return str(body or error.message)
