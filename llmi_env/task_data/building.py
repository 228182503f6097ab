"""Training tasks made by a language model: ordered by a plan, written, looked through, read by a second model, kept or sent back.

Each order goes through rounds. A version of a task is written and looked through; if it passes, the second model says what it takes it to ask
for, without knowing the order; what does not agree with the order is sent back with the reasons. Versions are decided upon in the order of the
plan, round by round, whatever order the replies come in: with the same replies, the same tasks come out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmi_env.task_data.asking import Declined, Lost, Model, Place
from llmi_env.task_data.held_out import HeldOut
from llmi_env.task_data.kept import Kept, Total, write_lines
from llmi_env.task_data.meaning import SAME_MEANING, Meanings, Vectors, vectors
from llmi_env.task_data.orders import Built, Order, Spent
from llmi_env.task_data.pictures import place_beside
from llmi_env.task_data.plan import Plan, Slot
from llmi_env.task_data.replies import Draft, Reading, to_validate, to_write
from llmi_env.task_data.verdicts import Reasons, faults, misreadings
from llmi_env.task_data.words import Neighbours

__all__ = ["Build", "build"]

_log = logging.getLogger(__name__)
_MOST_LOST = 5
"""Failures of a server after each other, on different tasks, after which nothing more is asked."""
_AHEAD = 2
"""Tasks in work for each request that may be under way: the next ones stand ready."""


@dataclass
class _Version:
    """One version of a task on its way."""

    slot: Slot
    attempt: int
    draft: Draft | None = None
    reading: Reading | None = None
    vector: Vectors | None = None
    reasons: Reasons = field(default_factory=list)
    lost: str = ""

    def line(self) -> dict[str, Any]:
        """What is written down of it."""
        return {
            "slot": self.slot.number,
            "attempt": self.attempt,
            "taken": not self.reasons,
            "reasons": [{"rule": rule, "said": said} for rule, said in self.reasons],
            "order": self.slot.told(),
            "draft": None if self.draft is None else self.draft.model_dump(),
            "reading": None if self.reading is None else self.reading.model_dump(),
        }


def build(
    order: Order,
    kept: Kept,
    held_out: HeldOut,
    *,
    resume: bool,
    told: Callable[[Build], None] = lambda build: None,
) -> Built:
    """Build a task file; Ctrl-C ends it in good order, and the same call with `resume` goes on.

    Args:
        order: what is to be built.
        kept: its folder.
        held_out: what no task may be near to.
        resume: whether to go on with what is there.
        told: is told whenever something has been decided.

    Raises:
        ConfigError: there is a build already, or one of another order; a model cannot be reached for want of a key.
        StoreError: what is kept of the build is broken.
        MissingExtra: a package is missing.
        TaskError: an input picture cannot be read.
    """
    with kept.begin(order.identity(held_out), resume=resume):
        work = Build(order, kept, held_out, told)
        try:
            asyncio.run(work.run())
        except KeyboardInterrupt:
            work.why = "interrupted"
        finally:
            work.write()
    return work.built()


class Build:
    """A build at work: what is decided so far, and how it goes on.

    Attributes:
        taken: the tasks that are made, by number of their order.
        versions: what was decided upon, in that order.
        rejected: reasons so far, by rule.
        why: why it ended before all were made.
    """

    def __init__(self, order: Order, kept: Kept, held_out: HeldOut, told: Callable[[Build], None]) -> None:
        self.order, self.taken, self.versions = order, dict[int, _Version](), list[dict[str, Any]]()
        self.rejected: Counter[str] = Counter()
        self.why = ""
        self._kept, self._held_out, self._told = kept, held_out, told
        self._models = {"writer": Model(order.writer, kept)}
        if order.validator is not None:
            self._models["validator"] = Model(order.validator, kept)
        self._plan = Plan(order.wishes)
        self._slots = order.count
        self._given_up = 0
        self._alike = Neighbours()
        self._meanings = Meanings()
        self._questions: list[tuple[int, str]] = []
        self._lost: list[str] = []
        self._asked = 0
        self._started = time.perf_counter()

    # -------------------------------------------------------------------------------------------------------------- rounds

    async def run(self) -> None:
        """Go on until all are made, or it makes no sense to go on."""
        ahead = max(model.options.concurrency for model in self._models.values()) * _AHEAD
        self._room = asyncio.Semaphore(ahead)
        self._stopped = asyncio.Event()
        stop = asyncio.create_task(self._stopped.wait())
        coming = [self._begin(_Version(self._plan[number], 0)) for number in range(self.order.count)]
        working = set(coming)
        try:
            while coming and not self.why:
                following = []
                for task in coming:
                    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
                    if not task.done():
                        return
                    if (after := self._decide(task.result())) is not None:
                        following.append(self._begin(after))
                        working.add(following[-1])
                    self._told(self)
                coming = following
        finally:
            for each in (*working, stop):
                each.cancel()
            await asyncio.gather(*working, stop, return_exceptions=True)
            for model in self._models.values():
                await model.aclose()
        if len(self.taken) < self.order.count and not self.why:
            self.why = self._lost[-1] if self._lost else "too many orders were given up"

    def _begin(self, version: _Version) -> asyncio.Task[_Version]:
        return asyncio.create_task(self._work(version))

    def _decide(self, version: _Version) -> _Version | None:
        """Take a version or send it back; what is to be worked on in its place."""
        if version.lost:
            return None
        if not version.reasons:
            version.reasons = self._repeats(version)
        self.versions.append(version.line())
        if not version.reasons:
            self._take(version)
            return None
        self.rejected.update(rule for rule, _ in version.reasons)
        if version.attempt + 1 < self.order.attempts:
            return _Version(version.slot, version.attempt + 1, version.draft, reasons=version.reasons)
        self._given_up += 1
        if self._slots >= 2 * self.order.count + self.order.attempts:
            return None
        self._slots += 1
        return _Version(self._plan[self._slots - 1], 0)

    def _take(self, version: _Version) -> None:
        assert version.draft is not None
        question = version.draft.question.strip()
        self._alike.add(question)
        if version.vector is not None:
            self._meanings.add(version.vector)
        self._questions.append((version.slot.number, question))
        self.taken[version.slot.number] = version

    def _repeats(self, version: _Version) -> Reasons:
        """Why a version says what one that was taken says already."""
        assert version.draft is not None
        found = self._alike.nearest(version.draft.question)
        if found is None and version.vector is not None:
            nearest = self._meanings.nearest(version.vector)
            found = nearest if nearest is not None and nearest[1] >= SAME_MEANING else None
        if found is None:
            return []
        return [("duplicate", f"too like a task that is there already: {self._questions[found[0]][1]!r:.200}")]

    # ---------------------------------------------------------------------------------------------------------------- work

    async def _work(self, given: _Version) -> _Version:
        """Write a version and have it read. `given` carries what became of the version before it."""
        async with self._room:
            version = _Version(given.slot, given.attempt)
            try:
                await self._write(version, given)
                if not version.reasons:
                    await self._read(version)
            except Declined as error:
                version.reasons = [("declined", str(error))]
            except Lost as error:
                version.lost = str(error)
                self._failed(version.lost)
            return version

    async def _write(self, version: _Version, given: _Version) -> None:
        slot, writer = version.slot, self._ask("writer")
        before = None
        if given.reasons:
            said = given.draft.question if given.draft is not None else ""
            before = said, [told for _, told in given.reasons]
        ask = await asyncio.to_thread(to_write, slot, self.order.language, sees=writer.options.sees, before=before)
        version.draft = await writer.reply(ask, Draft, Place(slot.number, version.attempt))
        # What is ours in the order must not come back; topic, captions and the last version, mended, may.
        ours = to_write(replace(slot, topic="-", given=()), self.order.language, sees=False).request
        version.reasons = faults(version.draft, slot, f"{ours.system}\n{ours.text}")
        question = version.draft.question.strip()
        if self.order.embed and not version.reasons:
            version.vector = (await asyncio.to_thread(vectors, [question]))[0]
        if not version.reasons:
            near = self._held_out.near(question, version.vector)
            version.reasons = [
                (f"leak ({one.kind})", f"too near to a task that is kept for evaluation: {one.message}") for one in near
            ]

    async def _read(self, version: _Version) -> None:
        if "validator" not in self._models:
            return
        assert version.draft is not None
        slot, validator = version.slot, self._ask("validator")
        seed = f"{self.order.wishes.seed}:{self.order.writer.model}"
        ask = await asyncio.to_thread(
            to_validate, version.draft.question.strip(), slot, sees=validator.options.sees, seed=seed
        )
        version.reading = await validator.reply(ask, Reading, Place(slot.number, version.attempt))
        version.reasons = misreadings(version.reading, slot)

    def _ask(self, role: str) -> Model:
        cost, most = self.built().cost, self.order.most_cost
        if most is not None and cost is not None and cost >= most:
            self._stop(f"{cost:.2f} of {most:.2f} is spent")
            raise Lost(self.why)
        return self._models[role]

    def _failed(self, reason: str) -> None:
        asked = sum(model.asked for model in self._models.values())
        if asked > self._asked:  # the server has answered somebody since
            self._lost.clear()
        self._asked = asked
        self._lost.append(reason)
        if len(self._lost) >= _MOST_LOST:
            self._stop(f"the server failed {len(self._lost)} times after each other: {reason}")

    def _stop(self, why: str) -> None:
        self.why = self.why or why
        self._stopped.set()

    # -------------------------------------------------------------------------------------------------------------- results

    def write(self) -> None:
        """Write the task file, with its pictures, and what became of every version."""
        out = self._kept.out
        taken = [self.taken[number] for number in sorted(self.taken)]
        names = place_beside(out, list(dict.fromkeys(each for version in taken for each in version.slot.given)))
        write_lines(self._kept.folder / "attempts.jsonl", self.versions)
        if taken:
            write_lines(out, (_row(version, out.stem, names, self.order.writer.model) for version in taken))

    def built(self) -> Built:
        """How things stand."""
        return Built(
            self._kept.out,
            self.order.count,
            len(self.taken),
            len(self.versions),
            self.rejected,
            self._given_up,
            tuple(self._spent(role, model) for role, model in self._models.items()),
            time.perf_counter() - self._started,
            len(self.taken) >= self.order.count,
            "" if len(self.taken) >= self.order.count else self.why,
        )

    def _spent(self, role: str, model: Model) -> Spent:
        stage = {"writer": "write", "validator": "validate"}[role]
        total = self._kept.totals.get(stage, Total())
        cost = model.options.cost(total.prompt_tokens, total.completion_tokens)
        return Spent(role, model.options.model, total, model.asked, model.retries, cost)


def _row(version: _Version, name: str, pictures: Mapping[Path, str], model: str) -> dict[str, Any]:
    """A row of the task file, in our layout."""
    assert version.draft is not None
    slot = version.slot
    return {
        "id": f"{name}-{slot.number:05d}",
        "question": version.draft.question.strip(),
        "image_count": slot.image_count,
        "tools": list(slot.tools),
        "images": [pictures[each.path] for each in slot.given],
        "source": f"built by {model}",
        "subject": slot.topic,
    }
