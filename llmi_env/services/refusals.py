"""What an HTTP status of failure means for who asked a language model: whether to ask again, when, and what to tell people.

Judges and policies ask by different clients; what a status means is the same for both.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from llmi_env.services.keys import Key
from llmi_env.services.retry_after import retry_after

__all__ = ["TRANSIENT", "Refusal", "Rest", "quoted", "refusal"]

TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which another try may help."""

_HOPELESS = frozenset({401, 402, 404})
_MALFORMED = frozenset({400, 422})
_LONGEST_REST = 60.0
_QUOTED = 200


@dataclass(frozen=True)
class Refusal:
    """What a status of failure means.

    Attributes:
        reason: what happened, for people, without the key.
        again: whether another try may help.
        wait: seconds that the server asks to be left alone before that try; 0 where it asks for nothing.
        malformed: whether the request was not taken as it was: perhaps it is in another form.
        hopeless: whether no other request can fare better: no such model, a wrong key, no money left.
    """

    reason: str
    again: bool = False
    wait: float = 0.0
    malformed: bool = False
    hopeless: bool = False


def refusal(
    status: int,
    headers: Mapping[str, str],
    said: str,
    *,
    key: Key,
    base_url: str,
    code: object = None,
    model: str = "",
    variable: str | None = None,
) -> Refusal:
    """Read a status of failure.

    Args:
        status: of the answer.
        headers: likewise, by names in whatever case the mapping finds.
        said: what its body says.
        key: of the request, which no message shows.
        base_url: address that was asked.
        code: the error's own code, where the body has one.
        model: that was asked for, where it is known.
        variable: that holds the key, where one is named.
    """
    reason = f"HTTP {status}: {quoted(key.hide(said))}"
    if status in (401, 403):
        reason += f"; check the key{f' in {variable}' if variable else ''} (options api_key_env, api_key_file)"
    elif status == 404:
        reason += f"; check the model{f' {model!r}' if model else ''} and the address {base_url}"
    elif 300 <= status < 400:
        there = quoted(key.hide(headers.get("location", "")))
        reason += f"; it points to {there}: give that as base_url, if you trust it"
    malformed = status in _MALFORMED
    hopeless = status in _HOPELESS or code == "insufficient_quota"
    again = (status >= 500 or status in TRANSIENT) and not hopeless
    again = {"true": True, "false": False}.get(headers.get("x-should-retry", ""), again)
    seconds = retry_after(headers) or 0.0
    if again and seconds > _LONGEST_REST:
        return Refusal(f"{reason}; it asks to wait {seconds:.0f} s, which is too long")
    return Refusal(reason, again, seconds if again else 0.0, malformed, hopeless)


class Rest:
    """A server's wish to be left alone: one that told it to one request told it to all that are waiting."""

    def __init__(self) -> None:
        self.until = 0.0
        """On the clock of `time.monotonic`."""

    def wish(self, seconds: float) -> None:
        """Leave it alone for so long from now on, or longer where it wished so before."""
        if seconds > 0:
            self.until = max(self.until, time.monotonic() + seconds)

    async def over(self) -> None:
        """Wait until it wants requests again, each waiting one a little longer than that by chance."""
        while (left := self.until - time.monotonic()) > 0:
            await asyncio.sleep(left * (1 + 0.25 * random.random()))


def quoted(text: str) -> str:
    """The start of what others say."""
    return repr(text[:_QUOTED]) + (f" (and {len(text) - _QUOTED} characters more)" if len(text) > _QUOTED else "")
