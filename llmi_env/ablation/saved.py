"""Saved episodes as an ablation needs them: task, facts and judgments, from three columns of the parquet files.

Episodes of earlier versions hold no facts, or facts counted otherwise: their documents are read, pictures and all, and counted again.
Their judgments stand in the terms of the report, except where a special case had taken a judge's place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError, require
from llmi_env.judgment_files import document_names, episode_files, judgments_of, read_judgments, run_folder
from llmi_env.rewards.facts import Facts
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.preset import preset_names
from llmi_env.rewards.report import RewardReport
from llmi_env.store import StoreError, read_episodes
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments
from llmi_env.world.wire import unpack
from llmi_env.yaml_text import read_yaml

_COLUMNS = ("task", "group", "report")


@dataclass(frozen=True)
class SavedEpisode:
    """One episode, without its tokens and pictures.

    Attributes:
        file: name of its file, without the ending.
        row: place in it, from 0.
        task: what was asked for; without its input pictures, unless the document was read.
        group: episodes of the same file and group share a baseline.
        report: as it was saved.
        facts: what the rules see.
        judgments: by term.
        document: where it was read.
        rejudged: whose judgments stand in place of the saved ones; empty where none do.
    """

    file: str
    row: int
    task: Task
    group: int
    report: RewardReport
    facts: Facts
    judgments: Judgments
    document: Document | None = None
    rejudged: str = ""

    @property
    def id(self) -> str:
        """File and row: `train-00003:7`."""
        return f"{self.file}:{self.row}"

    def score(self, reward: HybridReward) -> RewardReport:
        """What another reward says about it."""
        if self.document is not None:
            return reward.score(self.document, self.task, self.judgments)
        return reward.score_facts(self.facts, self.task, self.judgments)


def read_saved(
    path: Path, pattern: str = "*", *, documents: bool = False, judgments: str | None = None
) -> list[SavedEpisode]:
    """Read the episodes of a run folder or of one parquet file.

    Args:
        path: a run folder, or an episode file.
        pattern: which files of the folder: `train-*`, `after` ...
        documents: read the documents too, which terms of the user's need; this takes as long as decoding all pictures.
        judgments: name of those of another judge (`llmi judge rescore`): they take the place of the saved ones, term by term.

    Raises:
        ConfigError: there are no episodes, or no judgments of that name.
        StoreError: a file is broken, or the judgments are of other documents.
    """
    episodes = [episode for file in episode_files(path, pattern) for episode in _read(file, documents)]
    if judgments is None:
        return episodes
    names = (
        (f"{file.stem}:{row}", name)
        for file in episode_files(path, pattern)
        for row, name in enumerate(document_names(file))
    )
    kept = read_judgments(path, judgments, dict(names))
    given, judge = kept.by_episode, ", ".join(kept.identities)
    return [
        replace(episode, judgments={**episode.judgments, **given[episode.id]}, rejudged=judge)
        if episode.id in given
        else episode
        for episode in episodes
    ]


def _read(path: Path, documents: bool) -> list[SavedEpisode]:
    arrow = require("pyarrow", "reading episodes", "train")
    parquet = require("pyarrow.parquet", "reading episodes", "train")
    try:
        rows = parquet.read_table(path, columns=list(_COLUMNS)).to_pylist()
        reports = [RewardReport.from_json(json.loads(row["report"])) for row in rows]
        tasks = [_task(json.loads(row["task"])) for row in rows]
    except (arrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a readable episode file: {type(error).__name__}: {error}") from error
    facts = [_facts(report.facts) for report in reports]
    read: Sequence[Document | None] = [None] * len(rows)
    if documents or None in facts:
        rollouts = [rollout for _, rollout in read_episodes(path)]
        facts = [
            known or Facts.of(rollout.document, rollout.task) for known, rollout in zip(facts, rollouts, strict=True)
        ]
        if documents:
            read, tasks = [rollout.document for rollout in rollouts], [rollout.task for rollout in rollouts]
    return [
        SavedEpisode(
            path.stem,
            row,
            task,
            data["group"],
            report,
            counted,
            judgments_of(report),
            document,
        )
        for row, (data, task, report, counted, document) in enumerate(
            zip(rows, tasks, reports, facts, read, strict=True)
        )
        if counted is not None  # all are: those without have been counted again
    ]


def _task(data: Mapping[str, Any]) -> Task:
    return Task(unpack(data["question"]), (), data["image_count"], tuple(data["tools"]), data["id"], data["source"])


def _facts(data: Mapping[str, Any]) -> Facts | None:
    try:
        return Facts.from_json(data)
    except ConfigError:  # none, or those of another version
        return None


def base_reward(path: Path, episodes: Sequence[SavedEpisode]) -> HybridReward:
    """The reward that the episodes were scored with: the one that the run's `config.yaml` names, else the one in their reports.

    Raises:
        ConfigError: neither says it in a way that can be followed.
    """
    config = run_folder(path) / "config.yaml"
    if config.is_file():
        try:
            named = read_yaml(config.read_text(encoding="utf-8"), str(config))["env"]["reward"]
        except (ConfigError, UnicodeDecodeError, KeyError, TypeError):
            named = None
        if isinstance(named, str):
            return HybridReward.load(named)
    for version in dict.fromkeys(episode.report.versions.get("reward", "") for episode in episodes):
        name = version.partition("/")[0]
        if name in preset_names():
            return HybridReward.preset(name)
    raise ConfigError(f"{path}: it is not known which reward these episodes were scored with; give it by --base")
