"""Keys of services: where they are read from, and that nothing shows them.

A configuration names an environment variable or a file, never the key. The key is read for each request and held no longer. Its text is hidden
in everything that an answer or a library could repeat: errors, data, and what httpx, httpcore and openai log (SerpAPI takes its key in the
address, which httpx logs at INFO; openai logs a server's headers at DEBUG).
"""

from __future__ import annotations

import html
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

from llmi_env.errors import ConfigError

__all__ = ["HIDDEN", "Key", "KeySource", "hidden_in_logs", "looks_secret", "without_secrets"]

HIDDEN = "[key]"
"""What stands in the place of a key."""
_MOST = 4096
_ESCAPE = re.compile("%[0-9A-F]{2}")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SECRETS = frozenset(
    (
        "apikey", "auth", "authentication", "authorization", "bearer", "cookie", "credential", "credentials", "key", "passphrase", "passwd",
        "password", "pat", "secret", "secrets", "session", "sig", "signature", "token", "tokens",
    )
)  # fmt: skip
_LOGGERS = (
    "httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks",
    "openai", "openai._base_client", "openai._legacy_response", "openai._response",
)  # fmt: skip


class Key:
    """A secret that does not show: neither `repr`, `str` nor a pickle has it. An empty one is false.

    >>> Key("s3cret")
    Key([key])
    >>> Key("s3cret").hide("GET /search?api_key=s3cret")
    'GET /search?api_key=[key]'
    """

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str = "") -> None:
        self._value = value
        in_addresses = {quote(value, safe=""), quote_plus(value), quote(value)}
        in_addresses |= {_ESCAPE.sub(lambda found: found[0].lower(), form) for form in in_addresses}
        in_json = json.dumps(value)[1:-1]
        forms = {value, *in_addresses, in_json, in_json.replace("/", r"\/"), html.escape(value)}
        self._forms = sorted(forms - {""}, key=len, reverse=True)  # the longest first: it may hold another

    def reveal(self) -> str:
        """The key itself, for the request that needs it."""
        return self._value

    def hide(self, text: str) -> str:
        """`text` without the key, however it is written in there."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text

    def hide_in(self, value: Any) -> Any:
        """JSON data without the key, names of fields included."""
        if not self._value:
            return value
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self.hide_in(item) for item in value]
        if isinstance(value, dict):
            return {self.hide(name): self.hide_in(item) for name, item in value.items()}
        return HIDDEN if str(value) in self._forms else value  # a key of digits, as a number

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Key({HIDDEN})" if self else "Key()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled: read it again where it is needed")


@dataclass(frozen=True)
class KeySource:
    """Where a key is read from.

    Attributes:
        env: name of an environment variable, or empty.
        file: path of a file that holds nothing but the key, or empty.
    """

    env: str = ""
    file: str = ""

    def __bool__(self) -> bool:
        return bool(self.env or self.file)

    @property
    def named(self) -> str:
        """The source in words, for messages: it is not the key, yet a path might be one by mistake, so it is not repeated."""
        if self.file:
            return "the file named by api_key_file"
        return f"the environment variable {self.env}" if self.env else "api_key_env (none is named)"

    def read(self, what: str, environment: Mapping[str, str] | None = None) -> Key:
        """The key; an empty one where no source is named.

        Args:
            what: who needs it, for messages.
            environment: where variables are; the process's own by default.

        Raises:
            ConfigError: the variable is not set, the file cannot be read, or what is there is no key.
        """
        if not self:
            return Key()
        text, problem = self._text(os.environ if environment is None else environment)
        if problem:
            raise ConfigError(
                f"{what} needs a key and {self.named} {problem} where the World runs (options api_key_env, api_key_file)"
            )
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ConfigError(f"{what}: {self.named} holds no key: one word of ASCII characters is needed")
        return Key(text)

    def _text(self, environment: Mapping[str, str]) -> tuple[str, str]:
        """What is there, and what is wrong with it."""
        if not self.file:
            text = environment.get(self.env, "").strip()
            return text, "" if text else "is not set"
        try:
            with Path(self.file).expanduser().open(encoding="utf-8") as file:
                text = file.read(_MOST + 1).strip()
        except (OSError, ValueError) as error:
            return "", f"cannot be read ({type(error).__name__})"
        return (text, "is too long") if len(text) > _MOST else (text, "" if text else "is empty")


def looks_secret(name: str) -> bool:
    """Whether a header or field of this name carries a secret, as a rule.

    >>> looks_secret("X-API-Key"), looks_secret("accessToken"), looks_secret("keywords")
    (True, True, False)
    """
    return any(word.lower() in _SECRETS for word in _WORDS.findall(name)) or "apikey" in name.lower()


def without_secrets(value: Any) -> Any:
    """Data of a configuration, unchanged, where nothing in it looks like a key: a text in a field that is named as one.

    >>> without_secrets({"max_tokens": 5, "style": ["a"]})
    {'max_tokens': 5, 'style': ['a']}

    Raises:
        ValueError: names the field, never what stands in it.
    """
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for item in inner:
        without_secrets(item)
    for name, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, str) and item and looks_secret(str(name)):
            raise ValueError(
                f"{name!r} looks like a key, which would be written into reports: name the variable that holds it as api_key_env"
            )
    return value


_in_use: ContextVar[Key | None] = ContextVar("key in use", default=None)


class _Hiding(logging.Filter):
    """Takes the key of the request that is under way out of what is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        key = _in_use.get()
        if key:
            record.msg, record.args = key.hide(record.getMessage()), None
        return True


_hiding = _Hiding()


@contextmanager
def hidden_in_logs(key: Key) -> Iterator[None]:
    """In the block, httpx, httpcore and openai log without the key, whatever their level; records of other requests are untouched."""
    if not key:
        yield
        return
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_hiding)  # once: a filter that is there is not added again
    token = _in_use.set(key)
    try:
        yield
    finally:
        _in_use.reset(token)
