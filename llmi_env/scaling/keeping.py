"""Scaling written down and read again: `episodes/NAME.parquet` with every document that was tried, `scaled/NAME.json` with the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from llmi_env.folders import write_whole
from llmi_env.scaling.budget import Budget, Spent
from llmi_env.scaling.plan import Plan
from llmi_env.scaling.result import Candidate, Lost, Scaled, StageReport
from llmi_env.store import FOLDER, StoreError, read_episodes, write_episodes

SCALED = "scaled"
"""Where what is no document lies in a run folder."""

_FORMAT = 1


def save_scaled(folder: Path, name: str, scaled: Scaled) -> Path:
    """Keep everything that was tried, as episodes of a run folder and what was thought of them.

    Args:
        folder: the run folder; made where it is missing.
        name: of the files; one of that name is replaced.
        scaled: what is kept.

    Returns:
        The file of the documents: `read_episodes` reads it, with `stage`, `sample` (the candidate's number), `parent` (-1 for none), `value`,
        `note` and `verdict` as further columns.

    Raises:
        MissingExtra: `pyarrow` is not installed.
    """
    tried = scaled.tried
    path = write_episodes(
        folder,
        name,
        [replace(candidate.rollout, task=scaled.task) for candidate in tried],
        stage=[candidate.stage for candidate in tried],
        sample=[candidate.number for candidate in tried],
        parent=[-1 if candidate.parent is None else candidate.parent for candidate in tried],
        value=[float("nan") if candidate.value is None else candidate.value for candidate in tried],
        note=[candidate.note for candidate in tried],
        verdict=[candidate.verdict for candidate in tried],
    )
    data = {
        "format": _FORMAT,
        "seed": scaled.seed,
        "plan": scaled.plan.to_json(),
        "budget": scaled.budget.to_json(),
        "number": scaled.number,
        "spent": scaled.spent.to_json(),
        "reasons": list(scaled.reasons),
        "stages": [asdict(report) for report in scaled.stages],
        "lost": [asdict(lost) for lost in scaled.lost],
        "tried": [
            {
                "stage": candidate.stage,
                "spent": candidate.spent.to_json(),
                "parent": candidate.parent,
                "faults": None if candidate.faults is None else list(candidate.faults),
                "value": candidate.value,
                "note": candidate.note,
                "verdict": candidate.verdict,
            }
            for candidate in tried
        ],
    }
    about = folder / SCALED / f"{name}.json"
    about.parent.mkdir(parents=True, exist_ok=True)
    write_whole(about, json.dumps(data, indent=1))
    return path


def load_scaled(folder: Path, name: str) -> Scaled:
    """Read what `save_scaled` kept.

    Raises:
        StoreError: it is not there, broken, or of another version.
    """
    path = folder / SCALED / f"{name}.json"
    rollouts = [rollout for _, rollout in read_episodes(folder / FOLDER / f"{name}.parquet")] if path.is_file() else []
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            raise ValueError(f"format {data['format']}, this version reads {_FORMAT}")
        tried = tuple(
            _candidate(number, rollout, row)
            for number, (rollout, row) in enumerate(zip(rollouts, data["tried"], strict=True))
        )
        return Scaled(
            task=tried[0].rollout.task,
            seed=data["seed"],
            plan=Plan.from_json(data["plan"]),
            budget=Budget(**data["budget"]),
            tried=tried,
            lost=tuple(Lost(**{**lost, "spent": Spent.from_json(lost["spent"])}) for lost in data["lost"]),
            stages=tuple(StageReport(**{**row, "spent": Spent.from_json(row["spent"])}) for row in data["stages"]),
            number=data["number"],
            spent=Spent.from_json(data["spent"]),
            reasons=tuple(data["reasons"]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"{path}: nothing that scaling has kept: {type(error).__name__}: {error}") from error


def _candidate(number: int, rollout: Any, row: Mapping[str, Any]) -> Candidate:
    faults = None if row["faults"] is None else tuple(row["faults"])
    return Candidate(number, rollout=rollout, **{**row, "faults": faults, "spent": Spent.from_json(row["spent"])})
