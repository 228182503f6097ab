"""What every side of the comparison shares: the work, the rules of the reward, and a loop that plays episodes when it is told to.

Standard library only, since each rival's own interpreter runs it. A side is a script, `python SIDE.py WORK.json`: it says in a line of JSON
what it is, and then answers each line `{"chunk": n, "document": n, "slow": n}` with one that holds the times of so many episodes.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter_ns, sleep

END = "\x03"
"""Ends a document, as its last character."""
SLOW = 0.01
"""Seconds of a call in the episodes called `slow`."""
CALL = re.compile(r"<imgen>(.*?)</imgen>", re.DOTALL)


@dataclass(frozen=True)
class Work:
    """One document to be written.

    Attributes:
        question: the prompt.
        pictures: how many are wanted; the document has a call for each.
        chunks: the document in pieces of about 64 tokens, no call cut in two; the last one ends with `END`.
        captions: what the pictures show, in order.
        seconds: how long the tool takes.
    """

    question: str
    pictures: int
    chunks: tuple[str, ...]
    captions: tuple[str, ...]
    seconds: float = 0.0

    @property
    def document(self) -> str:
        """The whole text, without `END`."""
        return "".join(self.chunks).removesuffix(END)

    @classmethod
    def load(cls, path: Path) -> Work:
        """Read what `save` wrote."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(fields["question"], fields["pictures"], tuple(fields["chunks"]), tuple(fields["captions"]))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True)
class Episode:
    """What came of one episode; all sides must agree in everything but the times.

    Attributes:
        ns: time of each step, nanoseconds.
        reward: at the end.
        calls: calls carried out.
        observed: results that the policy was shown.
    """

    ns: list[int]
    reward: float
    calls: int
    observed: int


def picture(caption: str, seconds: float = 0.0) -> str:
    """The tool of the rivals."""
    if seconds:
        sleep(seconds)
    return f"64x64, {caption}"


def rule_reward(called: Sequence[str], found: int, pictures: int) -> float:
    """The preset `rules` of LLMI for a task that wants so many pictures by `search`, without its look at the pixels."""
    count = found / pictures if found <= pictures else max(0.0, 1 - 0.3 * (found - pictures))
    right = called.count("search")
    recall, precision = float(right > 0), min(right, pictures) / max(len(called), 1)
    choice = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    success = found / max(len(called), 1)
    return 0.4 * count + 0.4 * choice + 0.2 * success


def timed(step: Callable[[str], object], actions: Sequence[str], results: list[object]) -> list[int]:
    """Nanoseconds of each step; what the steps return is added to `results`."""
    ns = []
    for action in actions:
        start = perf_counter_ns()
        result = step(action)
        ns.append(perf_counter_ns() - start)
        results.append(result)
    return ns


def serve(name: str, version: str, chunk: Callable[[Work], Episode], document: Callable[[Work], Episode]) -> None:
    """Answer standard input until it ends.

    Args:
        name: of the library.
        version: of the library.
        chunk: plays one episode whose actions are the chunks.
        document: plays one whose only action is the document.
    """
    work = Work.load(Path(sys.argv[1]))
    print(json.dumps({"name": name, "version": version, "python": platform.python_version()}), flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        played = {
            "chunk": [asdict(chunk(work)) for _ in range(wanted["chunk"])],
            "document": [asdict(document(work)) for _ in range(wanted["document"])],
            "slow": [asdict(document(replace(work, seconds=SLOW))) for _ in range(wanted["slow"])],
        }
        print(json.dumps(played), flush=True)
