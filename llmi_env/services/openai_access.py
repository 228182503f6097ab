"""Reaching an OpenAI-compatible server: what policies, judges and image tools share, so that it is named, and a key handled, in one way.

A key never stands in a configuration: an option names the environment variable, or the file, that holds it, and it is read where the
World runs, when the first request is made. Nothing here imports the client.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmi_env.errors import ConfigError
from llmi_env.services.keys import KeySource
from llmi_env.yaml_text import parse_yaml

OPENAI_URL = "https://api.openai.com/v1"

OPENAI = "openai:"
"""Begins the short form of a model behind a server."""

_SHORT = re.compile(r"openai:(?!@https?://)(?P<model>.+?)(?:@(?P<base_url>https?://.*))?", re.DOTALL)
_ADDRESS = re.compile(r"@[^@]*?(?::\d|/v\d|localhost\b|(?:\d+\.){3}\d)")
"""What looks like an address at the end of a model's name."""
_LOCAL_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".svc", ".cluster.local")


def short_form(name: str, what: str) -> dict[str, Any] | None:
    """The options `model` and, where it stands there, `base_url` of `openai:MODEL` or `openai:MODEL@BASE_URL`; `None` for another name.

    Args:
        name: what a model, policy or judge is called.
        what: whose options they are, for messages.

    Raises:
        ConfigError: it names no model, or an address without `http://`: documents and keys would go to OpenAI.

    >>> short_form("openai:qwen@http://127.0.0.1:8000/v1", "a judge")
    {'model': 'qwen', 'base_url': 'http://127.0.0.1:8000/v1'}
    """
    if not name.startswith(OPENAI):
        return None
    if (found := _SHORT.fullmatch(name)) is None:  # not repeated: an address may hold a key
        raise ConfigError(f"{what}: {OPENAI!r} names no model: openai:MODEL@http://127.0.0.1:8000/v1 is needed")
    if found["base_url"] is None and _ADDRESS.search(found["model"]):
        raise ConfigError(f"{what}: what follows the @ looks like an address: it begins with http:// or https://")
    return {option: value for option, value in found.groupdict().items() if value is not None}


def named_options(name: str, what: str) -> dict[str, Any] | None:
    """The options that a name stands for: see `short_form`; the path of a YAML or JSON file of options; options as JSON. `None` for another
    name.

    Args:
        name: the name.
        what: whose options they are, for messages.

    Raises:
        ConfigError: no model is named, no such file, or options that cannot be read.
    """
    if (options := short_form(name, what)) is not None:
        return options
    if name.lstrip().startswith("{"):
        try:
            options = json.loads(name)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{what}: its options are not JSON: {error}") from error
    elif Path(name).suffix in (".yaml", ".yml", ".json"):
        try:
            options = parse_yaml(Path(name).expanduser().read_text(encoding="utf-8"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{what}: its options in {name!r} cannot be read: {error}") from error
    else:
        return None
    if (use := options.pop("use", "openai")) != "openai":  # judges of the same kind are told so
        raise ConfigError(f"{what}: option 'use' can be 'openai' only, not {use!r:.60}")
    return options


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
