"""Simulators that ship: tools and judges with a declared latency and failure rate, for tests, demonstrations and load figures.

Nothing here pretends to be real: every picture is drawn from its own params, says so in its provenance (`simulated`), and every
score is a hash. `FlakyJudge` makes any judge misbehave in a declared share of its calls. In a configuration they are named by import path::

    WorldConfig(tools={"search": {"use": "llmi_env.testing:SimulatedTool", "latency": 0.05}}, judges=[])
    WorldConfig(judges=[{"use": "llmi_env.testing:FlakyJudge", "judge": "embedded", "failure_rate": 0.3}])
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from PIL import Image, ImageDraw

from llmi_env.calls import BUILTIN
from llmi_env.document import Document, Picture, Provenance
from llmi_env.errors import (
    BadParams,
    CodeRaised,
    ConfigError,
    NothingFound,
    ToolError,
    ToolTimeout,
    ToolUnavailable,
    did_you_mean,
)
from llmi_env.judges.base import Judge
from llmi_env.judges.making import made_judge
from llmi_env.task import Task
from llmi_env.tools.base import ToolContext, ToolSpec
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored

JUDGED_TERMS = ("text_quality", "call_quality", "image_quality", "task_relevance", "text_image_relevance")

_ERRORS: dict[str, type[ToolError]] = {
    "unavailable": ToolUnavailable,
    "timeout": ToolTimeout,
    "empty": NothingFound,
    "raised": CodeRaised,
    "bad_params": BadParams,
}


def _hashed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(parts, default=str).encode()).digest()[:8], "big")


class SimulatedTool:
    """Draws a flat-coloured picture with the call's params written on it, after a declared time.

    Args:
        name: which built-in tool it stands for.
        latency: seconds a call takes.
        jitter: share by which the latency varies, fixed by the call.
        failure_rate: share of calls that fail, fixed by the call.
        failure: kind of those failures: `unavailable`, `timeout`, `empty`, `raised` or `bad_params`.
        fail_first: fail this many calls in a row before the first success, whatever the rate.
        size: side of the picture in pixels.
        log: file to which one line `pid params` is added at the start of each execution.
        die_once: file; while it does not exist, a call makes it and kills its own process, as a crash would.
        spread: standard deviation of the latency's logarithm: above 0 the latency is log-normal with `latency` as its median, and fixed
            by params and seed of the call.
    """

    def __init__(
        self,
        name: str = "search",
        latency: float = 0.0,
        jitter: float = 0.0,
        failure_rate: float = 0.0,
        failure: str = "unavailable",
        fail_first: int = 0,
        size: int = 64,
        log: str | None = None,
        die_once: str | None = None,
        spread: float = 0.0,
    ) -> None:
        self.name = name
        self.latency, self.jitter, self.spread = latency, jitter, spread
        self.failure_rate, self.failure = failure_rate, failure
        self.size = size
        self.executions = 0
        """How often the tool was really called: below the number of calls where they were shared or cached."""
        self.closed = False
        self._fail_first = fail_first
        self._log = log
        self._die_once = die_once

    @property
    def spec(self) -> ToolSpec:
        """The spec of the tool that it stands for."""
        return BUILTIN[self.name]

    def latency_of(self, params: Mapping[str, Any], seed: int) -> float:
        """Seconds that a call takes, `jitter` left out: known beforehand to who computes what a run could take at best."""
        if not self.spread:
            return self.latency
        dice = random.Random(_hashed("latency", self.name, dict(params), seed))
        return self.latency * dice.lognormvariate(0.0, self.spread)

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Draw, or fail as declared."""
        self.executions += 1
        if self._log:
            with Path(self._log).open("a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {json.dumps(dict(params))}\n")
        dice = random.Random(
            _hashed(self.name, dict(params), context.seed, [picture.digest for picture in context.pictures])
        )
        await asyncio.sleep(self.latency_of(params, context.seed) * (1 + self.jitter * dice.uniform(-1, 1)))
        if self._die_once and not Path(self._die_once).exists():
            Path(self._die_once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        failing = self.executions <= self._fail_first or dice.random() < self.failure_rate
        if failing:
            raise _ERRORS[self.failure](f"simulated failure of {self.name}")
        colour = (dice.randrange(64, 256), dice.randrange(64, 256), dice.randrange(64, 256))
        image = Image.new("RGB", (self.size, self.size), colour)
        label = f"{self.name}\n" + "\n".join(str(value)[:40] for value in params.values())
        ImageDraw.Draw(image).multiline_text((3, 3), label.encode("ascii", "replace").decode(), fill="black")
        return Picture(image, Provenance("simulated", caption=context.description, seed=context.seed))

    async def aclose(self) -> None:
        """Nothing to release."""
        self.closed = True


class SimulatedJudge:
    """Gives each term a score fixed by document, task and seed, after a declared time.

    Args:
        terms: terms to score.
        latency: seconds one judgment takes.
        failure_rate: share of documents that it leaves unscored, fixed by document and seed.
        raises: whether those failures are exceptions rather than `Unscored`.
        score: the same score for all, in place of a hash.
        seed: moves scores and failures.
        concurrency: how many documents it takes at the same time; `WorldConfig.judge_concurrency`, where nothing is given.
    """

    def __init__(
        self,
        terms: Sequence[str] = JUDGED_TERMS,
        latency: float = 0.0,
        failure_rate: float = 0.0,
        raises: bool = False,
        score: float | None = None,
        seed: int = 0,
        concurrency: int | None = None,
    ) -> None:
        self._terms = tuple(terms)
        self.latency, self.failure_rate, self.raises, self.score, self.seed = latency, failure_rate, raises, score, seed
        self.concurrency = concurrency
        self.closed = False

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms that it scores."""
        return self._terms

    async def __call__(self, document: Document, task: Task) -> Judgments:
        """Score, or fail as declared."""
        await asyncio.sleep(self.latency)
        dice = random.Random(_hashed(self.seed, *_content(document, task)))
        if dice.random() < self.failure_rate:
            if self.raises:
                raise ConnectionError("simulated outage of the judge")
            return {term: Unscored("simulated failure of the judge") for term in self._terms}
        judged: dict[str, Judgment] = {}
        for term in self._terms:
            judged[term] = Scored(dice.uniform(1, 5) if self.score is None else self.score, "simulated")
        return judged

    async def aclose(self) -> None:
        """Nothing to release."""
        self.closed = True


Misbehaviour = Literal["raise", "hang", "babble", "unscored"]
"""What a judge may do in place of judging: raise an exception, never answer, answer rubbish, say that it has no score."""


class FlakyJudge:
    """Any judge, made to misbehave in a declared share of its calls; in all others it is that judge.

    Whether a call goes wrong, and how, is fixed by seed, document, task and the number of the attempt at this document, so that asking
    again may help. Rubbish is of the kind that cannot be taken for a score: no mapping, numbers and texts in place of judgments, NaN, scores
    out of range, terms left out or misnamed.

    Args:
        judge: the judge, or its name or options as in `WorldConfig.judges`; a `SimulatedJudge`, where nothing is given.
        failure_rate: share of calls that go wrong, 0 to 1.
        mode: how: a `Misbehaviour`, or `mixed` for all of them alike.
        seed: moves which calls go wrong.
        lasting: whether a document that went wrong goes wrong again at every attempt.
        concurrency: how many documents it takes at the same time; as the judge, where nothing is given.

    Raises:
        ConfigError: a mode or rate that cannot be, or no such judge.
    """

    def __init__(
        self,
        judge: str | Mapping[str, Any] | Judge = "llmi_env.testing:SimulatedJudge",
        failure_rate: float = 0.3,
        mode: Misbehaviour | Literal["mixed"] = "mixed",
        seed: int = 0,
        lasting: bool = False,
        concurrency: int | None = None,
    ) -> None:
        if mode not in (known := (*get_args(Misbehaviour), "mixed")):
            raise ConfigError(f"flaky judge: no mode {mode!r}{did_you_mean(str(mode), known)}")
        if not 0 <= failure_rate <= 1:
            raise ConfigError(f"flaky judge: failure_rate lies in 0..1, not {failure_rate!r}")
        self._judge = made_judge(judge)
        self._modes: tuple[Misbehaviour, ...] = get_args(Misbehaviour) if mode == "mixed" else (mode,)
        self.failure_rate, self.seed, self.lasting = failure_rate, seed, lasting
        self.concurrency = concurrency or getattr(self._judge, "concurrency", None)
        self.failures: Counter[Misbehaviour] = Counter()
        """How often it has misbehaved so far, by mode."""
        self._attempts: Counter[int] = Counter()

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms that the judge scores."""
        return self._judge.terms

    async def __call__(self, document: Document, task: Task) -> Judgments:
        """Judge, or misbehave as declared."""
        content = _hashed(*_content(document, task))
        self._attempts[content] += 1
        dice = random.Random(_hashed("flaky", self.seed, content, 0 if self.lasting else self._attempts[content]))
        if dice.random() >= self.failure_rate:
            return await self._judge(document, task)
        mode = dice.choice(self._modes)
        self.failures[mode] += 1
        match mode:
            case "raise":
                raise ConnectionError("simulated outage of the judge")
            case "hang":
                await asyncio.get_running_loop().create_future()
            case "babble":
                # Outside of the contract on purpose, hence the cast.
                return cast("Judgments", _rubbish(await self._judge(document, task), dice))
        return dict.fromkeys(self.terms, Unscored("simulated failure of the judge"))

    def prepare(self) -> None:
        """Have the judge load its models."""
        prepare = getattr(self._judge, "prepare", None)
        if callable(prepare):
            prepare()

    async def aclose(self) -> None:
        """Close the judge."""
        await self._judge.aclose()


def _rubbish(honest: Judgments, dice: random.Random) -> object:
    """What a judge could say in place of `honest`, and what nobody can read a whole answer from."""
    said = dice.choice((5, 5.0, float("nan"), float("inf"), -1, True, None, "5", [5.0], {"score": 5}))
    return dice.choice(
        (
            said,
            dict.fromkeys(honest, said),
            {**honest, next(iter(honest)): said},
            {term: honest[term] for term in list(honest)[1:]},
            {f"{term}?": Scored(5.0) for term in honest},
            list(honest.items()),
            "A wonderful document, 5 of 5!",
        )
    )


def _content(document: Document, task: Task) -> list[object]:
    return [task.key, document.to_source(), [picture.digest for picture in document.pictures]]


def simulated_config(
    *, tools: Mapping[str, Mapping[str, Any]] | None = None, judge: Mapping[str, Any] | None = None, **limits: Any
) -> WorldConfig:
    """A configuration of simulators: the four tools and one judge, with options for each.

    Args:
        tools: options of `SimulatedTool` by tool name; the four built-in names without options, where left out.
        judge: options of `SimulatedJudge`.
        **limits: other fields of `WorldConfig`.
    """
    options = tools if tools is not None else {name: {} for name in BUILTIN}
    return WorldConfig(
        tools={name: {"use": "llmi_env.testing:SimulatedTool", "name": name, **o} for name, o in options.items()},
        judges=[{"use": "llmi_env.testing:SimulatedJudge", **(judge or {})}],
        **limits,
    )


def simulated_world(
    *, tools: Mapping[str, Mapping[str, Any]] | None = None, judge: Mapping[str, Any] | None = None, **limits: Any
) -> InProcessWorld:
    """An in-process World of simulators; arguments as for `simulated_config`.

    >>> world = simulated_world(tools={"search": {"latency": 0.01}})
    >>> world.tool_names
    ('search',)
    """
    return InProcessWorld.from_config(simulated_config(tools=tools, judge=judge, **limits))
