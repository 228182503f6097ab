"""Whether a judge of an evaluation also trained the policy, or chose among its documents.

A policy learns what its judge likes, flaws included, and a choice keeps what the one who chooses likes. A judge that says how good the
policy has become should be another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llmi_env.errors import LLMIError
from llmi_env.models import resolve_policy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.yaml_text import parse_yaml

_RUNS = 8  # a run may begin with the policy of another one, and so on
_UP = 3  # RUN/checkpoints/step-N/adapter


class _Who(NamedTuple):
    """A judge as far as two can be compared: who asks, and which model answers where that is an option."""

    use: str
    model: str = ""


def judges_that_trained(policy: str, judges: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A warning for each judge that also gave rewards in a run from which the policy comes.

    Nothing is said where the run is not at hand: of a model from elsewhere it is not known who trained it.

    Args:
        policy: as given on the command line.
        judges: identity of each judge, by name.
    """
    warnings = []
    for run, used in _runs(policy):
        for name, identity in judges.items():
            if same := [who for who in used if _same(who, identity)]:
                who = same[0].model or same[0].use
                warnings.append(
                    f"The judge {name} ({who}) also gave the rewards of the run {run.name}, from which the policy comes: the policy has "
                    "learned to please it. Judge with another one as well"
                )
    return list(dict.fromkeys(warnings))


def judges_that_chose(source: Mapping[str, Any], judges: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A warning for each judge that also chose among documents, pictures or texts when a document was scaled.

    Args:
        source: identity of who wrote, as the evaluation keeps it.
        judges: identity of each judge, by name.
    """
    scaling = source.get("scaling")
    if not isinstance(scaling, Mapping) or not _asks_judges(str(scaling.get("reward", "")).partition("/")[0]):
        return []
    chose = list(_flat(scaling.get("judges") or []))
    return [
        f"The judge {name} also chose among the documents (--scale), and cannot but like the choice. Judge with another one as well"
        for name, identity in judges.items()
        if any(_same(who, identity) for who in chose)
    ]


def _runs(policy: str) -> Iterator[tuple[Path, list[_Who]]]:
    """The runs that a policy comes from, the last one first, each with its judges."""
    for _ in range(_RUNS):
        run = _run_of(policy)
        if run is None:
            return
        try:
            recipe = parse_yaml((run / "config.yaml").read_text(encoding="utf-8"), "config.yaml")
            judges, reward = recipe["env"]["services"]["judges"], recipe["env"]["reward"]
        except (LLMIError, OSError, ValueError, KeyError, TypeError):  # not a run that this version reads
            return
        yield run, list(_flat(judges)) if isinstance(judges, list) and _asks_judges(str(reward)) else []
        policy = str(recipe.get("model", ""))


def _run_of(policy: str) -> Path | None:
    """The run folder that a policy lies in."""
    try:
        source = resolve_policy(policy)
    except (LLMIError, OSError, ValueError):
        return None
    places = [Path(policy).expanduser(), Path(source.adapter or source.base)]
    for place in filter(Path.exists, places):
        for folder in [place, *place.resolve().parents[:_UP]]:
            if (folder / "metrics.jsonl").is_file() and (folder / "config.yaml").is_file():
                return folder
    return None


def _asks_judges(reward: str) -> bool:
    """Whether a reward needs judges; one that cannot be read any more is taken to."""
    try:
        return bool(HybridReward.load(reward).judged_terms)
    except LLMIError:
        return True


def _flat(entries: Sequence[Any]) -> Iterator[_Who]:
    """The judges of a configuration, members of panels in place of the panel."""
    for entry in entries:
        if isinstance(entry, str):
            yield _Who(entry)
        elif isinstance(entry, Mapping) and isinstance(entry.get("judges"), list):
            yield from _flat(entry["judges"])
        elif isinstance(entry, Mapping):
            yield _Who(str(entry.get("use", "")), str(entry.get("model", "")))


def _same(who: _Who, identity: Mapping[str, Any]) -> bool:
    """Whether a judge of a run and one of an evaluation are the same model."""
    inner = identity.get("judges")
    if isinstance(inner, list):  # those of a World: a name, and a text that holds the model where there is one
        told = [(str(one.get("use", "")), str(one.get("identity", ""))) for one in inner if isinstance(one, Mapping)]
        return any(who.model in text if who.model else who.use == use for use, text in told)
    if who.model:
        return who.model == identity.get("model")
    return bool(who.use) and who.use == identity.get("use") and not identity.get("model")
