"""Build the bundled task files and the warm start demonstrations from the hand-written task sheets.

A sheet (`scripts/task_sheets/*.txt`) is plain text, so that it is quick to write and easy to review::

    ## train | with-a-bar-chart-of          split and template (the wording pattern) of the tasks that follow
    [fruit-stall] 1                         subject, image count (any, none, at_least_one, a number), and `long` for a long one
    Q Write a short sales note ...          the question
    I corpus:ID                             an input picture, for edit tasks
    P description | code                    the calls that fulfil the task, in order: P plots, S searches, G generates,
    E 0 | description | instruction         E edits the picture of that index
    D Apples led. @0 Plums came second.     the demonstration, `@0` standing for the first call (train only)

The files are the same, byte for byte, however often this runs. `--check` writes nothing and fails where they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHEETS = ROOT / "scripts" / "task_sheets"
ASSETS = ROOT / "llmi_env" / "assets"
SPLITS = ("train", "validation", "heldout")
TOOLS = {"P": ("code", "code"), "S": ("search", "query"), "G": ("diffusion", "prompt")}
SEPARATORS = (" ", "\n", "\n", "\n\n")


@dataclass
class Entry:
    """One task of a sheet."""

    split: str
    template: str
    subject: str
    image_count: str | int
    size: str | None
    where: str
    question: str = ""
    images: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    text: str | None = None
    id: str = ""

    def task_row(self) -> dict[str, Any]:
        """The line of the task file."""
        row: dict[str, Any] = {
            "id": self.id,
            "question": self.question,
            "image_count": self.image_count,
            "tools": list(dict.fromkeys(call["tool"] for call in self.calls)),
            "images": self.images,
            "subject": self.subject,
            "template": self.template,
        }
        if self.size is not None:
            row["size"] = self.size
        return {**row, "reference": self.calls}

    def document(self) -> str:
        """The demonstration as the policy would write it."""
        assert self.text is not None
        separator = SEPARATORS[_draw(self.id, "separator", len(SEPARATORS))]
        text = " ".join(self.text.split())
        for index, call in enumerate(self.calls):
            mark = f"@{index}"
            if text.count(mark) != 1:
                raise SystemExit(f"{self.where}: the demonstration must hold {mark} exactly once")
            body = {"source": call["tool"], "description": call["description"], "params": call["params"]}
            figure = f"<imgen>{json.dumps(body, ensure_ascii=False)}</imgen>"
            before, _, after = text.partition(mark)
            gap = separator if before.strip() else ""
            tail = separator if after.strip() else ""
            text = before.rstrip(" ") + gap + figure + tail + after.lstrip(" ")
        return text


def _draw(key: str, purpose: str, n: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}:{key}".encode()).digest()[:4], "big") % n


def read_sheets(folder: Path = SHEETS) -> list[Entry]:
    """All tasks of all sheets, in the order of the file names; ids are `subject`, then `subject-2` and so on."""
    entries: list[Entry] = []
    for path in sorted(folder.glob("*.txt")):
        entries.extend(_read_sheet(path))
    seen: Counter[str] = Counter()
    for entry in entries:
        seen[entry.subject] += 1
        number = seen[entry.subject]
        entry.id = entry.subject if number == 1 else f"{entry.subject}-{number}"
        for call in entry.calls:
            if call["tool"] == "code" and _draw(entry.id, "code", 2):
                # Both ways to separate statements occur, so that the policy does not take one for the rule.
                call["params"]["code"] = call["params"]["code"].replace("; ", "\n")
    return entries


def _read_sheet(path: Path) -> Iterator[Entry]:
    split = template = ""
    entry: Entry | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path.name}, line {number}"
        if not line.strip():
            continue
        head, _, rest = line.partition(" ")
        if head == "##":
            split, template = (part.strip() for part in rest.split("|"))
            if split not in SPLITS:
                raise SystemExit(f"{where}: unknown split {split!r}")
            continue
        if line.startswith("["):
            if entry is not None:
                yield entry
            subject, _, flags = line[1:].partition("]")
            count, *size = flags.split()
            image_count: str | int = int(count) if count.isdigit() else count
            entry = Entry(split, template, subject, image_count, size[0] if size else None, where)
            continue
        if entry is None:
            raise SystemExit(f"{where}: expected a task head like '[subject] count'")
        parts = [part.strip() for part in rest.split(" | ")]
        if head == "Q":
            entry.question = rest.strip()
        elif head == "I":
            entry.images.append(rest.strip())
        elif head == "D":
            entry.text = rest.strip()
        elif head in TOOLS and len(parts) == 2:
            tool, param = TOOLS[head]
            entry.calls.append({"tool": tool, "description": parts[0], "params": {param: parts[1]}})
        elif head == "E" and len(parts) == 3:
            params = {"img_index": int(parts[0]), "prompt": parts[2]}
            entry.calls.append({"tool": "edit", "description": parts[1], "params": params})
        else:
            raise SystemExit(f"{where}: cannot read {line!r}")
    if entry is not None:
        yield entry


def build() -> dict[Path, str]:
    """The content of every file that this script makes."""
    entries = read_sheets()
    files: dict[Path, str] = {}
    for split in SPLITS:
        rows = [entry.task_row() for entry in entries if entry.split == split]
        files[ASSETS / "tasks" / f"{split}.jsonl"] = _lines(rows)
    demos = [
        {"task_id": entry.id, "document": entry.document()}
        for entry in entries
        if entry.split == "train" and entry.text is not None
    ]
    files[ASSETS / "demos" / "demos.jsonl"] = _lines(demos)
    return files


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description="Build the task files and demonstrations from the task sheets.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")
    arguments = parser.parse_args()
    stale = []
    for path, content in build().items():
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            continue
        stale.append(path.relative_to(ROOT))
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    for path in stale:
        sys.stdout.write(f"{path}: {'not up to date' if arguments.check else 'written'}\n")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
