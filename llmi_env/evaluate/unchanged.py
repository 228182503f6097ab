"""Whether an evaluation may go on: only with what it was begun with, or its figures would be those of nothing in particular."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmi_env.differences import Difference, differences
from llmi_env.errors import ConfigError

# What decides how it is carried out and not what comes of it: to be changed after a failure.
_MAY_CHANGE = frozenset(
    {
        "format", "world", "services.linger", "services.concurrency", "services.judge_concurrency", "services.judge_prepare_deadline",
        "services.judge_cache", "services.judge_cache_mb", "services.call_cache", "services.call_cache_mb", "services.cache_mb",
    }
)  # fmt: skip


def check_unchanged(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `ConfigError` with every difference, where an evaluation was begun with another configuration. Judges may be added, and documents
    to a folder of finished ones.

    Args:
        path: of the evaluation, for the message.
        before: the configuration that it was begun with.
        now: that of now.
    """
    found = [
        _told(each)
        for each in differences(before, _cut_down(now, before))
        if each.key not in _MAY_CHANGE and not each.key.startswith("services.concurrency.")
    ]
    if found:
        raise ConfigError(
            f"the evaluation in {path} was begun otherwise, so it cannot go on as it was: " + "; ".join(found)
            + ". Give the same options (judges may be added), or another --out"
        )  # fmt: skip


def _cut_down(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for now, without what was added and moves nothing that is there: judges, and finished documents."""
    documents: object = now["source"].get("documents") if isinstance(now.get("source"), Mapping) else None
    cut = {**now, "judges": _known(now["judges"], before["judges"])}
    if isinstance(documents, Mapping):
        cut["source"] = {**now["source"], "documents": _known(documents, before["source"].get("documents", {}))}
    return cut


def _known(entries: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in entries.items() if name in before}


def _told(difference: Difference) -> str:
    """Of a list, which may be long, only where it differs."""
    key, before, now = difference
    if not (isinstance(before, list) and isinstance(now, list)):
        return str(difference)
    if len(before) != len(now):
        return f"{key}: {len(before)} then, {len(now)} now"
    at = next(at for at, (a, b) in enumerate(zip(before, now, strict=True)) if a != b)
    return f"{key}: number {at + 1} {before[at]!r} then, {now[at]!r} now"
