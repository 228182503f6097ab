"""From what a configuration says to judges: looked through where nothing may be loaded, made where they work.

The program that starts a run is not always where judges work: that may be a helper process, or another machine with the models and keys. So
`declared_terms` says what is wrong with the options of a judge that ships without making anything of them, and `make_judge` is for the World.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from llmi_env.errors import ConfigError, LLMIError, MissingExtra, WorldError
from llmi_env.judges.base import Judge
from llmi_env.world.config import JUDGES, WorldConfig

_log = logging.getLogger(__name__)
_told: set[str] = set()

Entry = str | Mapping[str, Any] | Judge
"""A judge as `WorldConfig.judges` names it, or the object itself."""


def make_judge(use: str, options: Mapping[str, Any]) -> Judge:
    """Make the judge that a configuration names.

    Args:
        use: its name, or `module:Class`.
        options: keywords for it.

    Raises:
        ConfigError: no such judge, an option that it does not take or that cannot be, or something that is no judge.
        MissingExtra, AssetError: it stands on what is not installed.
        WorldError: it failed otherwise while it was made.
    """
    try:
        judge = JUDGES.make(use, options)
    except LLMIError:
        raise
    except Exception as error:
        raise WorldError(f"judge {use!r} cannot be made: {type(error).__name__}: {error}") from error
    return checked_judge(judge, use)


def made_judge(entry: Entry) -> Judge:
    """The judge that an entry of a configuration stands for; an object stands for itself. Raises as `make_judge` does."""
    if isinstance(entry, str | Mapping):
        return make_judge(*_read(entry))
    return checked_judge(entry)


def checked_judge(judge: object, use: str = "") -> Judge:
    """The same object, if it is a judge.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(judge, Judge):
        return judge
    raise ConfigError(
        f"{f'judge {use!r}: ' if use else ''}{type(judge).__name__} is not a judge: it needs `terms`, `async __call__(document, task)` and "
        "`aclose`"
    )


def declared_terms(entry: Entry) -> tuple[str, ...] | None:
    """What a judge would score, told by its options alone: no model is loaded, and neither keys nor servers are needed.

    Returns:
        The terms; `None` where they cannot be known here, as of a judge that does not ship: its class is not imported where it may not be.

    Raises:
        ConfigError: no such judge, or options that it cannot take; names the judge, the option and what was perhaps meant.
    """
    if not isinstance(entry, str | Mapping):
        return tuple(checked_judge(entry).terms)
    use, options = _read(entry)
    if use not in JUDGES.builtin:
        return None
    factory = JUDGES.find(use)
    JUDGES.bind(use, factory, options)
    check = getattr(factory, "check_options", None)
    try:
        terms: tuple[str, ...] | None = factory(**options).terms if check is None else check(**options)
    except MissingExtra:  # what this machine lacks, the one where it works may have
        return None
    except LLMIError:
        raise
    except Exception as error:
        raise ConfigError(f"judge {use!r}: its options cannot be used: {type(error).__name__}: {error}") from error
    return terms


def tell_stand_ins(judges: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Warn, once in a process, where two judges score the same term.

    Args:
        judges: name and terms of each, in the order in which they are heard.
    """
    for term in dict.fromkeys(term for _, terms in judges for term in terms):
        names = [name for name, terms in judges if term in terms]
        if len(names) > 1:
            told = (
                f"{term} is scored by {len(names)} judges ({', '.join(names)}): where the first fails, the score of the next stands in, on a "
                "scale of its own, also beside the first one's within a group. Give each judge `terms` of its own, or make a panel of them"
            )
            if told not in _told:
                _told.add(told)
                _log.warning("%s", told)


def _read(entry: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    plain = entry if isinstance(entry, str) else dict(entry)
    ((use, options),) = WorldConfig.parse({"tools": {}, "judges": [plain]}).judge_uses()
    return use, options
