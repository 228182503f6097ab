"""The rules: scores that need no judge, as plain functions with exact values.

`image_count` and `tool_use` are those of LLM-I. The others are ours, and part the credit for a call: `tool_choice` for the right tools,
whatever they delivered; `call_validity` for calls that can be carried out as written; `call_success` for what came of those, the policy's
faults only. `plain_text` says whether the text is text, and not something meant for whoever scores it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.task import ImageCount

DIFFICULTY: Final[Mapping[str, float]] = MappingProxyType({"code": 0.4, "edit": 0.3, "search": 0.2, "diffusion": 0.1})
"""LLM-I's difficulty weights of its four tools."""

NONE_ALLOWED: Final = -1
FREE: Final = 0
AT_LEAST_ONE: Final = 99

_OVERSHOOT = 0.3
_WORDS: Mapping[str, int] = {"none": NONE_ALLOWED, "any": FREE, "at_least_one": AT_LEAST_ONE}

CALL_LADDER: Final[Mapping[str, float]] = MappingProxyType(
    {"malformed": 0.2, "unknown_tool": 0.5, "bad_params": 0.5, "failed": 1.0, "succeeded": 1.0}
)
"""How valid a call is by how far it came. A weak policy needs the lower rungs: without them every call that cannot be carried out is alike."""

_IMPOSSIBLE = ("malformed", "unknown_tool", "bad_params")
_SLIP = 0.3


def wanted_code(wanted: ImageCount | str) -> int:
    """The code of `Task.image_count` in LLM-I's data: -1 none, 0 free, 99 at least one, else the number.

    A task that asks for exactly 0 pictures wants none (-1): the code 0 means that the count is free.

    Raises:
        ConfigError: for a word that is not known.
    """
    if isinstance(wanted, str):
        if wanted not in _WORDS:
            raise ConfigError(f"image_count: {wanted!r} is no count of pictures{did_you_mean(wanted, _WORDS)}")
        return _WORDS[wanted]
    return NONE_ALLOWED if _whole("wanted", wanted, 0) == 0 else wanted


def image_count(found: int, wanted: int | str, exact: bool = False) -> float:
    """How well the number of pictures fits what was wanted, in [0, 1].

    Args:
        found: pictures in the document.
        wanted: LLM-I's code (-1 none, 0 free, 99 at least one, else the number), or the words of `Task.image_count`.
        exact: the evaluation variant: 1 or 0.

    Raises:
        ConfigError: for a count that is negative or not a whole number, or an unknown word.

    >>> image_count(3, 3), image_count(1, 4), image_count(5, 3), image_count(2, "none")
    (1.0, 0.25, 0.4, 0.0)
    """
    found = _whole("found", found, 0)
    code = wanted_code(wanted) if isinstance(wanted, str) else _whole("wanted", wanted, NONE_ALLOWED)
    if code == NONE_ALLOWED:
        return float(found == 0)
    if code == FREE:
        return 1.0
    if code == AT_LEAST_ONE:
        return float(found >= 1)
    if exact or found == code:
        return float(found == code)
    if found < code:
        return found / code
    return max(0.0, round(1.0 - _OVERSHOOT * (found - code), 12))


def tool_use(
    required: Collection[str],
    attempted: Collection[str],
    succeeded: Collection[str],
    weights: Mapping[str, float] = DIFFICULTY,
) -> float:
    """Half the share of required difficulty that was attempted plus half the share that succeeded; 0 where nothing is required.

    Raises:
        ConfigError: for a bare string in place of a collection, or a required tool without a weight.

    >>> tool_use({"code", "diffusion"}, {"code"}, {"code"})
    0.8
    """
    sets = {"required": required, "attempted": attempted, "succeeded": succeeded}
    for name, value in sets.items():
        if isinstance(value, str) or not all(isinstance(tool, str) for tool in value):
            raise ConfigError(f"tool_use: {name} is a set of names of tools, not {value!r}")
    for tool in sorted(set(required)):
        if tool not in weights:
            raise ConfigError(f"tool_use: no weight for the required tool {tool!r}{did_you_mean(tool, weights)}")
    total = sum(weights[tool] for tool in sorted(set(required)))
    if not total:
        return 0.0

    def share(tools: Collection[str]) -> float:
        return sum(weights[tool] for tool in sorted(set(required) & set(tools))) / total

    return round(0.5 * share(attempted) + 0.5 * share(succeeded), 12)


def tool_choice(required: Collection[str], valid: Sequence[str], calls: int, budget: int, wanted: int = 0) -> float:
    """Precision times recall of the tools chosen against those required, in [0, 1], whatever the calls delivered.

    Recall is over the required tools, each once. Precision is over all calls: what is unreadable, of another tool, or beyond `budget` was not
    called for, and a picture that is wanted and not asked for is a call left out. The product, and not F1, so that calling several tools
    where one is needed earns on average no more than guessing one: two for one earn 1/2, three 1/3.

    Args:
        required: tools that the task needs, not empty.
        valid: tool of each call that could be carried out.
        calls: all calls, unreadable ones included.
        budget: how many calls the task can honestly use.
        wanted: how many pictures are wanted, where that is a number.
    """
    if not required:
        raise ConfigError("tool_choice: a task without required tools has no right choice to compare with")
    needed = set(required)
    right = [tool for tool in valid if tool in needed]
    if not right:
        return 0.0
    recall = len(needed & set(right)) / len(needed)
    return recall * min(len(right), max(budget, len(needed))) / max(calls, len(valid), wanted)


def call_validity(rungs: Sequence[str], owed: int = 0, wanted: int = 0) -> float:
    """How far the calls could be carried out as written: mean of `CALL_LADDER`, whatever came of them; 0 without a call.

    Calls that were not made though their pictures are wanted count as 0: to write one of three must not be as good as three.

    Args:
        rungs: how far each call came, but for those that the world failed.
        owed: calls that the world failed: they were valid.
        wanted: how many pictures are wanted, where that is a number.
    """
    for rung in rungs:
        if rung not in CALL_LADDER:
            raise ConfigError(f"call_validity: no rung {rung!r}{did_you_mean(rung, CALL_LADDER)}")
    calls = max(len(rungs) + owed, wanted)
    return (sum(CALL_LADDER[rung] for rung in rungs) + owed) / calls if calls else 0.0


def call_success(rungs: Sequence[str], owed: int = 0, wanted: int = 0) -> float:
    """Share of the valid calls that brought a picture; 0 without any, 1 where the world failed them all.

    Calls that could not be carried out do not count here: they are `call_validity`'s.

    Args:
        rungs: how far each call came, but for those that the world failed.
        owed: calls that the world failed.
        wanted: how many pictures are wanted, where that is a number.
    """
    tried = [rung for rung in rungs if rung not in _IMPOSSIBLE]
    for rung in tried:
        if rung not in CALL_LADDER:
            raise ConfigError(f"call_success: no rung {rung!r}{did_you_mean(rung, CALL_LADDER)}")
    missing = max(0, wanted - len(rungs) - owed)
    return tried.count("succeeded") / (len(tried) + missing) if tried else float(owed > 0 and not missing)


def plain_text(slips: Collection[str]) -> float:
    """1 for running text; 0.3 for each kind of slip (see `llmi_env.rewards.text_slips`), multiplied."""
    return _SLIP ** len(set(slips))


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"image_count: {name} is a whole number of at least {least}, not {value!r}")
    return value
