"""Judgments that stand beside a run: which document each belongs to, and how they are kept.

`RUN/judgments/NAME.jsonl` begins with a line that says which judge gave them, by its options and by its fingerprint; every further line holds
the judgments of one episode, with a name of all that the judge saw of it. A line is whole on the disk before the next is begun, so that
whatever ends the judging loses one document at most.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmi_env.errors import ConfigError, did_you_mean, require
from llmi_env.json_lines import add_rows, mend, read_rows
from llmi_env.rewards.hybrid import NOT_JUDGED
from llmi_env.rewards.preset import RULE_TERMS
from llmi_env.rewards.report import RewardReport, judgment_from
from llmi_env.store import FOLDER, StoreError
from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored

JUDGMENTS = "judgments"
"""Folder of a run in which they lie."""

_FORMAT = 2  # 1 named documents by their text alone, and no judge's fingerprint
_ROWS = 16


def episode_files(path: Path, pattern: str = "*") -> list[Path]:
    """The episode files of a run folder, or the one file given.

    Raises:
        ConfigError: there is none.
    """
    files = [path] if path.is_file() else sorted((path / FOLDER).glob(f"{pattern}.parquet"))
    if not files:
        held = sorted(file.stem for file in (path / FOLDER).glob("*.parquet"))
        hint = f"it holds {', '.join(held[:8])}" if held else "a run folder is made by 'llmi train'"
        raise ConfigError(f"{path} has no episodes {pattern!r}: {hint}")
    return files


def run_folder(path: Path) -> Path:
    """The run folder that a path belongs to: itself, or that of an episode file (the file's own folder where it lies alone)."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == FOLDER else path.parent


def document_names(file: Path) -> Iterator[str]:
    """Names the document of each row of an episode file by all that a judge sees of it.

    That is: text and calls as written, outcomes, pictures and where they come from, and the task but for its id and source. Pictures are not
    decoded: their bytes name them as well.

    Raises:
        StoreError: it is no episode file.
    """
    arrow = require("pyarrow", "reading episodes", "train")
    parquet = require("pyarrow.parquet", "reading episodes", "train")
    try:
        with parquet.ParquetFile(file) as rows:
            for batch in rows.iter_batches(batch_size=_ROWS, columns=["task", "task_images", "document", "pictures"]):
                for row in batch.to_pylist():
                    yield _name(row)
    except (arrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file}: not a readable episode file: {type(error).__name__}: {error}") from error


def _name(row: Mapping[str, Any]) -> str:
    task = {key: value for key, value in json.loads(row["task"]).items() if key not in ("id", "source")}
    pictures = [
        [hashlib.sha256(picture["bytes"]).hexdigest() for picture in row[column]]
        for column in ("task_images", "pictures")
    ]
    body = json.dumps([json.loads(row["document"]), task, pictures], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def judgments_of(report: RewardReport) -> Judgments:
    """What the judges said: as the report keeps it, or read off its terms where it is of a version that kept none."""
    if report.judgments or report.facts:
        return report.judgments
    found: dict[str, Judgment] = {}
    for name, term in report.terms.items():
        if name in RULE_TERMS or term.rationale.startswith(("fixed: ", "rule of")):
            continue
        if term.raw is not None:
            found[name] = Scored(term.raw, term.rationale)
        elif term.unscored and term.unscored != NOT_JUDGED:
            found[name] = Unscored(term.unscored)
    return found


class JudgmentFile:
    """One judge's judgments of the episodes of a run.

    Args:
        path: the file; begun with the first `add`.
        judge: the judge's configuration, as plain data.
        identities: what tells each judge of that configuration from any other (`llmi_env.judges.cache.judge_identity`).

    Raises:
        ConfigError: it holds judgments of another judge, or of an earlier version, which did not note what was judged by whom.
        StoreError: it is no such file.
    """

    def __init__(self, path: Path, judge: Mapping[str, Any], identities: Sequence[str]) -> None:
        self.path = path
        self._head = json.loads(json.dumps({"format": _FORMAT, "judge": judge, "identities": list(identities)}))
        self.kept: dict[str, tuple[str, Judgments]] = {}
        """Name of the document and judgments by episode, as read from the disk."""
        if path.exists():
            mend(path)
            head, self.kept = _read(path)
            if head != self._head:
                told = "; ".join(
                    f"{key} then {json.dumps(head.get(key))}, now {json.dumps(self._head[key])}"
                    for key in ("judge", "identities")
                    if head.get(key) != self._head[key]
                )
                raise ConfigError(
                    f"{path} holds judgments of another judge, of other options or of another version: {told}. "
                    "Choose another --name, or remove the file to judge anew"
                )

    def add(self, episode: str, document: str, judgments: Judgments) -> None:
        """Keep the judgments of one episode; they are on the disk when this returns, and win over earlier ones of it.

        Args:
            episode: its file and row.
            document: its name (`document_names`).
            judgments: by term.
        """
        lines = []
        if not self.path.exists():
            lines.append(self._head)
        data = {term: asdict(judgment) for term, judgment in judgments.items()}
        lines.append({"episode": episode, "document": document, "judgments": data})
        add_rows(self.path, lines, fsync=True)


@dataclass(frozen=True)
class KeptJudgments:
    """Judgments that stand beside a run.

    Attributes:
        by_episode: those of the episodes asked for.
        identities: of the judges that gave them.
    """

    by_episode: Mapping[str, Judgments]
    identities: tuple[str, ...]


def read_judgments(path: Path, name: str, documents: Mapping[str, str]) -> KeptJudgments:
    """The judgments of a name beside a run.

    Args:
        path: the run folder, or one of its episode files.
        name: of the judgments.
        documents: name of the document (`document_names`) of each episode wanted.

    Raises:
        ConfigError: there are none of that name, none of these episodes, or the file is of an earlier version.
        StoreError: the file is broken, or it is about other documents than the run holds now.
    """
    folder = run_folder(path) / JUDGMENTS
    file = folder / f"{name}.jsonl"
    if not file.is_file():
        known = [found.stem for found in folder.glob("*.jsonl")]
        raise ConfigError(f"no judgments {name!r}{did_you_mean(name, known)}. 'llmi judge rescore' makes them")
    head, kept = _read(file)
    for episode, (judged, _) in kept.items():
        if documents.get(episode, judged) != judged:
            raise StoreError(
                f"{file}: episode {episode} was another document when it was judged (text, pictures, outcomes or task differ): "
                f"judge this run again with 'llmi judge rescore', which keeps what is still the same"
            )
    found = {episode: judgments for episode, (_, judgments) in kept.items() if episode in documents}
    if not found:
        raise ConfigError(f"{file} holds no judgments of these {len(documents)} episodes")
    return KeptJudgments(found, tuple(head["identities"]))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, tuple[str, Judgments]]]:
    kept: dict[str, tuple[str, Judgments]] = {}
    head: dict[str, Any] = {}
    for where, row in read_rows(path):
        try:
            if not head:
                head = _head(path, row)
                continue
            given = {term: judgment_from(entry) for term, entry in row["judgments"].items()}
            kept[row["episode"]] = (row["document"], given)
        except ConfigError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{where}: no judgments of ours: {type(error).__name__}: {error}") from error
    if not head:
        raise StoreError(f"{path}: no judgments of ours: it is empty, or was cut off in its first line")
    return head, kept


def _head(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    if data["format"] == 1:
        raise ConfigError(
            f"{path} was written by an earlier version, which noted neither the judge's fingerprint nor the pictures that it saw: remove it, "
            "or choose another --name, and judge again with 'llmi judge rescore' (scores in the judges' cache cost nothing)"
        )
    if data["format"] != _FORMAT:
        raise ValueError(f"format {data['format']}, this version reads {_FORMAT}")
    return {key: data[key] for key in ("format", "judge", "identities")}
