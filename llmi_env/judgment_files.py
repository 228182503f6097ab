"""Judgments that stand beside a run: which document each belongs to, and how they are kept.

`RUN/judgments/NAME.jsonl` begins with a line that says which judge gave them; every further line holds the judgments of one episode. A line
is whole on the disk before the next is begun, so that whatever ends the judging loses one document at most.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.rewards.hybrid import NOT_JUDGED
from llmi_env.rewards.preset import RULE_TERMS
from llmi_env.rewards.report import RewardReport, judgment_from
from llmi_env.store import FOLDER, StoreError
from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored

JUDGMENTS = "judgments"
"""Folder of a run in which they lie."""

_FORMAT = 1


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


def digest_of(document: Document | str) -> str:
    """Names a document, given itself or as the column `source` of an episode file, by its text."""
    text = document if isinstance(document, str) else document.to_source()
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


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

    Raises:
        ConfigError: it holds judgments of another judge.
        StoreError: it is no such file.
    """

    def __init__(self, path: Path, judge: Mapping[str, Any]) -> None:
        self.path = path
        self._judge = json.loads(json.dumps(judge))
        self.kept: dict[str, tuple[str, Judgments]] = {}
        """Digest and judgments by episode, as read from the disk."""
        if path.exists():
            _mend(path)
            head, self.kept = _read(path)
            if head != self._judge:
                raise ConfigError(
                    f"{path} holds judgments of another judge or of other options: {json.dumps(head)}; choose another --name"
                )

    def add(self, episode: str, digest: str, judgments: Judgments) -> None:
        """Keep the judgments of one episode; they are on the disk when this returns, and win over earlier ones of it."""
        lines = []
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines.append({"format": _FORMAT, "judge": self._judge})
        data = {term: asdict(judgment) for term, judgment in judgments.items()}
        lines.append({"episode": episode, "document": digest, "judgments": data})
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())


def read_judgments(path: Path, name: str, digests: Mapping[str, str]) -> dict[str, Judgments]:
    """The judgments of a name beside a run, by episode.

    Args:
        path: the run folder, or one of its episode files.
        name: of the judgments.
        digests: of the document of each episode wanted.

    Raises:
        ConfigError: there are none of that name, or none of these episodes.
        StoreError: the file is broken, or it is about other documents than the run holds now.
    """
    folder = run_folder(path) / JUDGMENTS
    file = folder / f"{name}.jsonl"
    if not file.is_file():
        known = [found.stem for found in folder.glob("*.jsonl")]
        raise ConfigError(f"no judgments {name!r}{did_you_mean(name, known)}. 'llmi judge rescore' makes them")
    _, kept = _read(file)
    for episode, (digest, _) in kept.items():
        if digests.get(episode, digest) != digest:
            raise StoreError(f"{file}: episode {episode} was another document when it was judged; judge this run again")
    found = {episode: judgments for episode, (_, judgments) in kept.items() if episode in digests}
    if not found:
        raise ConfigError(f"{file} holds no judgments of these {len(digests)} episodes")
    return found


def _mend(path: Path) -> None:
    """Take away a last line that a kill has cut off, so that the next one does not run on from it."""
    whole = path.read_bytes().rfind(b"\n") + 1
    if whole:
        os.truncate(path, whole)


def _read(path: Path) -> tuple[Any, dict[str, tuple[str, Judgments]]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept: dict[str, tuple[str, Judgments]] = {}
    judge: Any = None
    for number, line in enumerate(lines, 1):
        try:
            data = json.loads(line)
            if number == 1:
                if data["format"] != _FORMAT:
                    raise ValueError(f"format {data['format']}, this version reads {_FORMAT}")
                judge = data["judge"]
                continue
            given = {term: judgment_from(entry) for term, entry in data["judgments"].items()}
            kept[data["episode"]] = (data["document"], given)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and number > 1:  # cut off by a kill
                break
            raise StoreError(f"{path}, line {number}: no judgments of ours: {type(error).__name__}: {error}") from error
    return judge, kept
