"""What decides the answers of a World, as plain values: kept with a recording, so that one World's answers are not taken for another's.

The parts are `max_side`, one for each tool, and `judges`; of a World elsewhere there is one, `service`. A part has options by their path.
Numbers and truth values stand there as they are, all else by a digest: a recording is passed on, and options may be nobody's business.
Limits, caches, prices and keys decide nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmi_env.services.keys import looks_secret
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import Deciding

__all__ = ["differences", "digest_of", "parts_of"]

_NEUTRAL = frozenset(("timeout", "retries", "concurrency", "prompt_price", "completion_price"))
"""Options of tools and judges that say how long, how often and how dear, never what."""


def parts_of(
    config: WorldConfig, tools: Mapping[str, str] | None = None, judges: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """The parts of a World.

    Args:
        config: what it is made of.
        tools: what tells each tool that is an object from others, by its name.
        judges: the same of judges.
    """
    uses = [{"use": use, **options} for use, options in config.judge_uses()]
    parts: dict[str, Any] = {"max_side": config.max_side, "judges": [*uses, *judges]}
    for name in config.tools:
        use, options = config.tool_use(name)
        parts[f"tools.{name}"] = {"use": use, **options}
    parts |= {f"tools.{name}": {"object": told} for name, told in (tools or {}).items()}
    return {name: dict(_flat(name, part)) for name, part in parts.items()}


def digest_of(parts: Deciding) -> str:
    """SHA-256 of parts: equal where the same calls and documents have the same answers."""
    return _digest({name: dict(part) for name, part in parts.items()})


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two versions of a part differ, in words.

    >>> differences({"max_side": 1024, "tools.search.model": "1f"}, {"max_side": 32, "tools.search.safe": True})
    ['max_side was 1024 and is 32', 'tools.search.model is gone', 'tools.search.safe is new']
    """
    told = []
    for name in sorted({*then, *now}):
        if name not in then or name not in now:
            told.append(f"{name} is {'new' if name in now else 'gone'}")
        elif then[name] != now[name]:
            plain = not isinstance(then[name], str) and not isinstance(now[name], str)
            told.append(f"{name} was {then[name]!r:.40} and is {now[name]!r:.40}" if plain else f"{name} is another")
    return told


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            if name not in _NEUTRAL and not (isinstance(item, str) and looks_secret(str(name))):
                yield from _flat(f"{path}.{name}", item)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _flat(f"{path}.{place}", item)
    else:
        yield path, value if isinstance(value, bool | int | float | None) else _digest(value)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()
