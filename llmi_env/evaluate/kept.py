"""An evaluation on disk: what was asked for, the documents, and what judges answered.

    FOLDER/config.yaml                all that decides the figures; a resume with anything else is refused
    FOLDER/episodes/ITEM-SAMPLE.parquet   one document each, written when it is finished
    FOLDER/answers/JUDGE.jsonl        a line that says who answers, then one for each document and question
    FOLDER/not_written.jsonl          documents that never came, with reasons; they are asked for again on a resume
    FOLDER/results.json, report.html  summed up, made anew from the above at any time

A document appears whole or not at all, and a line is whole before the next is begun: whatever ends the work loses only what was in flight; a
power cut, which loses what the system had not brought to the disk, also that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from llmi_env.errors import ConfigError, require
from llmi_env.evaluate.unchanged import check_unchanged
from llmi_env.folders import held_alone, write_whole
from llmi_env.json_lines import add_rows, mend, read_rows
from llmi_env.judges.openai_judge import Graded
from llmi_env.judgment_files import document_names
from llmi_env.rollout import Rollout
from llmi_env.store import FOLDER, StoreError, read_episodes, write_episodes
from llmi_env.world.protocol import Unscored
from llmi_env.yaml_text import parse_yaml

Key = tuple[str, int]
"""A document: the item's id and the number of the sample."""

ANSWERS = "answers"
"""Folder of an evaluation in which judges' answers lie."""

_FORMAT = 1
_NOT_WRITTEN = "not_written.jsonl"


@dataclass(frozen=True)
class DocumentCost:
    """What a document took.

    Attributes:
        tokens: written.
        prompt_tokens: read.
        cost: in the currency of the prices; `None` where they are not known.
        seconds: from order to document.
        counted: whether the tokens were counted where they were made; if not, `tokens` is a guess.
    """

    tokens: int = 0
    prompt_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    counted: bool = True


@dataclass(frozen=True)
class Answer:
    """What a judge answered to one question about one document.

    Attributes:
        item: id of the item.
        sample: number of the document.
        question: its name.
        document: digest of all that the judge could see of the document.
        asked: digest of the question.
        given: a score, or why there is none, for each criterion.
        requests: made for it.
        prompt_tokens: tokens of the requests.
        tokens: tokens of the replies.
        cost: in the currency of the prices; `None` where they are not known.
        seconds: from question to answer.
    """

    item: str
    sample: int
    question: str
    document: str
    asked: str
    given: Mapping[str, Graded | Unscored]
    requests: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0

    def joined(self, before: Answer | None) -> Answer:
        """This answer, in which a criterion that has no score keeps the one that an earlier answer to the same question gave."""
        if before is None or (before.document, before.asked) != (self.document, self.asked):
            return self
        kept = {name: given for name, given in before.given.items() if isinstance(given, Graded)}
        return replace(self, given={**self.given, **kept})

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "given": {name: asdict(given) for name, given in self.given.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        """Read what `to_json` wrote."""
        return cls(**{**data, "given": {str(name): _given(given) for name, given in data["given"].items()}})


@dataclass
class JudgeAnswers:
    """All answers of one judge.

    Attributes:
        identity: who answers; `None` where nothing was answered yet.
        lines: every answer in the order given: what was asked again stands several times, and was paid for each time.
    """

    identity: Mapping[str, Any] | None = None
    lines: list[Answer] = field(default_factory=list)

    def standing(self) -> dict[tuple[str, int, str], Answer]:
        """The answer to each question, by item, sample and question: the last one, joined with those before."""
        found: dict[tuple[str, int, str], Answer] = {}
        for line in self.lines:
            key = (line.item, line.sample, line.question)
            found[key] = line.joined(found.get(key))
        return found


class EvaluationFolder:
    """The folder of one evaluation. Reading it never changes it; `begin` opens it for writing.

    Args:
        path: the folder; made by `begin`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    # ------------------------------------------------------------------------------------------------------------ reading

    @property
    def exists(self) -> bool:
        """Whether an evaluation was begun there."""
        return (self.path / "config.yaml").is_file()

    @property
    def config(self) -> Mapping[str, Any]:
        """What was asked for: `benchmark`, `policy`, `judges`, `samples`, `seed` and more.

        Raises:
            ConfigError: no evaluation was begun there.
        """
        file = self.path / "config.yaml"
        try:
            data = parse_yaml(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{self.path} is no folder of an evaluation ({error}); 'llmi evaluate' makes one"
            ) from error
        if data.get("format") != _FORMAT or not isinstance(data.get("judges"), Mapping):
            raise ConfigError(f"{file} is no configuration of an evaluation, or of another version")
        return data

    def documents(self) -> Iterator[tuple[str, int, Rollout]]:
        """Every document with its item's id and the number of its sample, in the order of items.

        Raises:
            StoreError: a file of documents is broken.
        """
        for columns, rollout in read_episodes(self.path):
            yield str(columns["item"]), int(columns["sample"]), rollout

    def costs(self) -> dict[Key, DocumentCost]:
        """What each document took, for those that are there; no document is read.

        Raises:
            StoreError: a file of documents is broken.
        """
        found: dict[Key, DocumentCost] = {}
        for file in self._files():
            row = _row(file)
            key = row.pop("item"), row.pop("sample")
            found[key] = DocumentCost(**{**row, "cost": None if math.isnan(row["cost"]) else row["cost"]})
        return found

    def costs_in_vain(self) -> list[DocumentCost]:
        """What each document took that was asked for and did not come."""
        return [DocumentCost(**row["took"]) for _, row in read_rows(self.path / _NOT_WRITTEN)]

    def not_written(self) -> dict[Key, str]:
        """Documents that were asked for in vain and have not come since, with the last reason."""
        reasons = {(row["item"], row["sample"]): str(row["reason"]) for _, row in read_rows(self.path / _NOT_WRITTEN)}
        came = self.costs() if reasons else {}
        return {key: reason for key, reason in reasons.items() if key not in came}

    @property
    def judges(self) -> tuple[str, ...]:
        """Names of the judges whose answers are asked for."""
        return tuple(self.config["judges"])

    def answers(self) -> dict[str, dict[Key, dict[str, float | Unscored]]]:
        """By judge and document: a score for each `QUESTION/CRITERION`, or why there is none.

        Raises:
            StoreError: a file of answers is broken.
        """
        found: dict[str, dict[Key, dict[str, float | Unscored]]] = {}
        for judge in self.judges:
            of = found.setdefault(judge, {})
            for answer in self.answers_of(judge).standing().values():
                scores = of.setdefault((answer.item, answer.sample), {})
                for name, given in answer.given.items():
                    scores[f"{answer.question}/{name}"] = given.score if isinstance(given, Graded) else given
        return found

    def answers_of(self, judge: str) -> JudgeAnswers:
        """All that a judge has answered, rationales and costs included.

        Raises:
            StoreError: the file is broken.
        """
        file = self._answers(judge)
        found = JudgeAnswers()
        for where, row in read_rows(file):
            try:
                if found.identity is None:
                    if row["format"] != _FORMAT:
                        raise ValueError(f"format {row['format']}, this version reads {_FORMAT}")
                    found.identity = dict(row["identity"])
                else:
                    found.lines.append(Answer.from_json(row))
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{where}: no answers of ours: {type(error).__name__}: {error}") from error
        return found

    def document(self, place: int, sample: int) -> tuple[str, Rollout]:
        """One document, by the place of its item, and the digest of what judges see of it.

        Raises:
            StoreError: it is not there, or its file is broken.
        """
        file = self._file(place, sample)
        if not file.is_file():
            raise StoreError(f"there is no document {file}")
        (digest,), ((_, rollout),) = document_names(file), read_episodes(file)
        return digest, rollout

    # ------------------------------------------------------------------------------------------------------------ writing

    @contextmanager
    def begin(self, config: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
        """Open the folder for the length of the block, for this process alone.

        Args:
            config: all that decides the figures, as plain data; `judges` may be more than before.
            resume: whether to go on with what is there.

        Raises:
            ConfigError: there is an evaluation and `resume` is not set, or none and it is; it was begun with another configuration, which
                the message shows; another process is at work on it; or it cannot be written to.
        """
        if resume and not self.exists:
            raise ConfigError(f"there is no evaluation in {self.path} to resume; start it without --resume")
        with held_alone(self.path):
            now = json.loads(json.dumps({"format": _FORMAT, **config}))
            if self.exists:
                if not resume:
                    raise ConfigError(
                        f"{self.path} holds an evaluation: --resume goes on with it, --out names another folder"
                    )
                check_unchanged(self.path, self.config, now)
            told = yaml.safe_dump(now, sort_keys=False, allow_unicode=True, width=120)
            write_whole(self.path / "config.yaml", told)
            for file in (self.path / _NOT_WRITTEN, *(self.path / ANSWERS).glob("*.jsonl")):
                if not mend(file):  # the line that says who answers comes with the first answer
                    file.unlink(missing_ok=True)
            yield

    def add_document(self, item: str, sample: int, place: int, rollout: Rollout, cost: DocumentCost) -> None:
        """Keep a document; it is on the disk when this returns.

        Args:
            item: id of the item.
            sample: number of the document.
            place: of the item in the benchmark, from 0.
            rollout: the document and all that goes with it.
            cost: what it took.
        """
        columns: dict[str, Any] = {"item": item, "sample": sample, **asdict(cost)}
        columns["cost"] = math.nan if cost.cost is None else cost.cost
        write_episodes(self.path, self._file(place, sample).stem, [replace(rollout, group=place)], **columns)

    def add_not_written(self, item: str, sample: int, reason: str, took: DocumentCost) -> None:
        """Note that a document did not come, and what that took."""
        row = {"item": item, "sample": sample, "reason": reason, "took": asdict(took)}
        add_rows(self.path / _NOT_WRITTEN, [row], fsync=False)

    def add_answer(self, judge: str, identity: Mapping[str, Any], answer: Answer) -> None:
        """Keep an answer; when this returns, no kill can lose it."""
        file = self._answers(judge)
        head = [] if file.exists() else [{"format": _FORMAT, "judge": judge, "identity": identity}]
        # The disk is not waited for: many judges' answers would stand in line for it.
        add_rows(file, [*head, answer.to_json()], fsync=False)

    def _answers(self, judge: str) -> Path:
        return self.path / ANSWERS / f"{judge}.jsonl"

    def _file(self, place: int, sample: int) -> Path:
        return self.path / FOLDER / f"{place:05d}-{sample:03d}.parquet"

    def _files(self) -> list[Path]:
        return sorted((self.path / FOLDER).glob("*.parquet"))


def _given(data: Mapping[str, Any]) -> Graded | Unscored:
    return Unscored(data["reason"]) if "reason" in data else Graded(**{**data, "votes": tuple(data["votes"])})


def _row(file: Path) -> dict[str, Any]:
    arrow = require("pyarrow", "reading episodes", "train")
    parquet = require("pyarrow.parquet", "reading episodes", "train")
    try:
        columns = ["item", "sample", *(field.name for field in fields(DocumentCost))]
        (row,) = parquet.read_table(file, columns=columns).to_pylist()
    except (arrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"{file}: not a document of an evaluation: {type(error).__name__}: {error}. Remove it, and --resume has that document written anew"
        ) from error
    return dict(row)
