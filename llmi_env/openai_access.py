"""Reaching an OpenAI-compatible server: what judges and image tools share, so that a key is handled in one way.

A key never stands in a configuration: an option names the environment variable, or the file, that holds it, and it is read where the
World runs, when the first request is made. Nothing here imports the client.
"""

from __future__ import annotations

import email.utils
import ipaddress
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmi_env.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"

_LOCAL_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".svc", ".cluster.local")
_LONGEST_KEY = 4096


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
    if file:
        return _from_file(file, what)
    name = variable
    if name is None:
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
    if not name:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(
            f"{what}: {url} needs a key and the environment variable {name} is not set where the World runs: "
            f"export {name}=..., or name another as api_key_env"
        )
    return key


def _from_file(file: str, what: str) -> str:
    # the name is not repeated: it might be the key by mistake
    try:
        with Path(file).expanduser().open(encoding="utf-8") as opened:
            key = opened.read(_LONGEST_KEY + 1).strip()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{what}: the file named as api_key_file cannot be read ({type(error).__name__})") from None
    if not key or len(key) > _LONGEST_KEY or not key.isascii() or len(key.split()) > 1:
        raise ConfigError(
            f"{what}: the file named as api_key_file is to hold the key, one word of ASCII, and nothing else"
        )
    return key


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


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: a number, or a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            seconds = float(said) * unit
        except ValueError:
            parsed = email.utils.parsedate_tz(said)
            if parsed is None:
                continue
            seconds = email.utils.mktime_tz(parsed) - time.time()
        if seconds >= 0:  # which NaN is not
            return seconds
    return None
