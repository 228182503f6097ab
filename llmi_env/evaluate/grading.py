"""Who answers a benchmark's questions about documents.

A `Grader` is asked one question at a time, about one document, and gives a score within the question's scale for each criterion, or says why
there is none. Most are models behind an OpenAI-compatible server; where a benchmark scores by a reward, the World's judges are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Benchmark, BenchmarkError, Item, Question
from llmi_env.judge_checks import check_terms
from llmi_env.judges.cache import judgment_key
from llmi_env.judges.chat import Usage, counting, not_counted
from llmi_env.judges.openai_judge import Graded, OpenAIJudge
from llmi_env.judges.openai_options import PROMPTS
from llmi_env.judges.prompt import Prompt, load_prompt, material_digest
from llmi_env.rescoring import judge_config, judgments_name
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.services.openai_access import short_form
from llmi_env.task import Task
from llmi_env.world import connect
from llmi_env.world.config import JUDGES
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import AboutJudge, Judgment, Scored, TellingWorld, Unscored, World

REWARD = "reward"
"""Name of the question that stands for a reward's judged terms."""

_FREE = frozenset({"embedded", "transformers"})  # they cost nothing wherever they run


@runtime_checkable
class Grader(Protocol):
    """Answers questions. An exception that escapes leaves the question's criteria unscored, unless it is an error of the package's own."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything of it that can move a score, as plain data."""
        ...

    @property
    def concurrency(self) -> int:
        """How many questions it answers at the same time. It is given twice as many, so that the next ones stand ready, and keeps to this
        itself."""
        ...

    @property
    def usage(self) -> Usage:
        """Requests, tokens and cost so far, in this process."""
        ...

    async def grade(self, question: Question, document: Document, item: Item) -> Mapping[str, Graded | Unscored]:
        """A score for each of the question's criteria, or why there is none.

        Args:
            question: what is asked; its `part`, where it has one, is shown in place of the document.
            document: what was written.
            item: what it was written for.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds; may be called twice."""
        ...


class OpenAIGrader:
    """A model behind an OpenAI-compatible server.

    Args:
        options: as of the judge `openai`; `terms` do not matter.

    Raises:
        ConfigError: an option that cannot be used, or a key is needed and not set.
        MissingExtra: the package `openai` is not installed.
    """

    def __init__(self, **options: Any) -> None:
        self._judge = OpenAIJudge(**options)
        self._judge.options.key()  # told now, and not when documents are there

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model, server and options."""
        decisive: dict[str, Any] = json.loads(self._judge.options.decisive())
        del decisive["terms"]  # the benchmark asks
        return {"use": "openai", **decisive}

    @property
    def concurrency(self) -> int:
        """Requests at the same time."""
        return self._judge.options.concurrency

    @property
    def usage(self) -> Usage:
        """Requests, tokens and cost so far."""
        return self._judge.usage

    async def grade(self, question: Question, document: Document, item: Item) -> Mapping[str, Graded | Unscored]:
        """Ask for all criteria in one request."""
        shown = document if question.part is None else question.part
        return await self._judge.grade(shown, item.task, question.criteria, prompt_of(question), question.given)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._judge.aclose()


class WorldGrader:
    """The judges of a World, asked for the terms of a reward.

    Args:
        world: whose judges; closed with the grader where it is its own.
        judges: what the World tells of them.
        owned: whether the World is the grader's to close.
    """

    concurrency = 16
    """Documents that are given to the World: how many of them are judged at the same time is for it to say."""

    def __init__(self, world: World, judges: Sequence[AboutJudge], *, owned: bool) -> None:
        self._world, self._judges, self._owned = world, tuple(judges), owned
        self._counted = isinstance(world, InProcessWorld) or all(judge.name in _FREE for judge in judges)
        self._usage = Usage()

    @classmethod
    async def open(cls, world: World, reward: HybridReward, *, owned: bool = False) -> WorldGrader:
        """Make it, and see that every term of the reward has a judge.

        Raises:
            ConfigError: a term of the reward that no judge of the World scores.
            MissingExtra, AssetError, WorldError: a judge cannot be made, or the World cannot be reached.
        """
        if not isinstance(world, TellingWorld):
            raise ConfigError(f"{type(world).__name__} does not tell of its judges: it needs `about_judges`")
        judges = await world.about_judges()
        check_terms(reward, [term for judge in judges for term in judge.terms])
        return cls(world, judges, owned=owned)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name, identity and terms of each judge."""
        return {"judges": [{"use": one.name, "identity": one.identity, "terms": [*one.terms]} for one in self._judges]}

    @property
    def usage(self) -> Usage:
        """Requests and tokens so far, where they are made in this process."""
        return self._usage

    async def grade(self, question: Question, document: Document, item: Item) -> Mapping[str, Graded | Unscored]:
        """Have the document judged."""
        with counting() as spent:
            judgments = await self._world.judge(document, item.task)
        if not self._counted:
            not_counted()
        self._usage.requests += spent.requests
        self._usage.prompt_tokens += spent.prompt_tokens
        self._usage.completion_tokens += spent.completion_tokens
        return {term: _graded(judgments.get(term)) for term in question.criteria}

    async def aclose(self) -> None:
        """Close the World, where it is the grader's own."""
        if self._owned:
            await self._world.aclose()


def _graded(judgment: Judgment | None) -> Graded | Unscored:
    if isinstance(judgment, Scored):
        return Graded(judgment.score, judgment.rationale, judgment.judge, judgment.votes)
    return judgment or Unscored("no judge scores this term")


# ------------------------------------------------------------------------------------------------------------------- opening


async def open_grader(judge: str, reward: HybridReward | None) -> Grader:
    """The grader that a text names.

    Args:
        judge: `openai:MODEL@BASE_URL` (or `openai:MODEL` at OpenAI's own address); a judge's name or import path, or its options as the path
            of a YAML file or as JSON, as for `llmi judge rescore`. A class that is itself a `Grader` answers questions.
        reward: where the benchmark scores by one: the judge is asked for its terms, within a World of its own.

    Raises:
        ConfigError: no such judge, an option that does not exist, a judge that answers no questions, or that leaves out a term of the reward.
        MissingExtra, AssetError, WorldError: it cannot be made.
    """
    services = judge_config(_spelled_out(judge, reward))
    if reward is not None:
        return await WorldGrader.open(connect("in_process", services), reward, owned=True)
    uses = services.judge_uses()
    if len(uses) == 1:
        ((use, options),) = uses
        if use == "openai":
            return OpenAIGrader(**options)
        if use not in JUDGES.builtin and isinstance(made := JUDGES.make(use, options), Grader):
            return made
    raise ConfigError(
        f"--judge {judge}: it scores terms of a reward and answers no questions of a benchmark; give openai:MODEL@BASE_URL, the options of one "
        "judge with `use: openai`, or a class of your own with `grade` (docs/evaluation.md); several judges are several --judge"
    )


def grader_name(judge: str) -> str:
    """A name for a judge's answers: that of its model, file or class."""
    options = short_form(judge, "--judge") or _as_json(judge)
    model = options.get("model")
    return re.sub(r"[^\w.-]+", "-", model).strip("-.") if isinstance(model, str) else judgments_name(judge)


def _as_json(judge: str) -> Mapping[str, Any]:
    try:
        options = json.loads(judge)
    except ValueError:
        return {}
    return options if isinstance(options, dict) else {}


def _spelled_out(judge: str, reward: HybridReward | None) -> str:
    options = short_form(judge, "--judge")
    if options is None:
        return judge
    options["use"] = "openai"
    if reward is not None:
        options["terms"] = [term for name in PROMPTS for term in load_prompt(name).terms if term in reward.judged_terms]
    return json.dumps(options)


# ----------------------------------------------------------------------------------------------------------------- questions


def questions_of(benchmark: Benchmark, item: Item, document: Document) -> Sequence[Question]:
    """All that is asked about a document: the benchmark's questions, and one that stands for the judged terms of its reward."""
    asked = list(benchmark.questions(item, document))
    if benchmark.terms is not None and benchmark.terms.judged_terms:
        asked.append(Question(REWARD, dict.fromkeys(benchmark.terms.judged_terms, ""), 1, 5))
    if twice := [name for name, count in Counter(question.name for question in asked).items() if count > 1]:
        raise BenchmarkError(f"{benchmark.name}, item {item.id}: several questions are named {', '.join(twice)}")
    return asked


def prompt_of(question: Question) -> Prompt:
    """The wording of a question, on its scale and in its layout.

    Raises:
        ConfigError: there is no such prompt.
    """
    return replace(load_prompt(question.prompt), low=question.low, high=question.high, layout=question.show)


def question_digest(question: Question) -> str:
    """SHA-256 of what is asked, wording included: an answer to another question of the same name is no answer to this one."""
    given = [
        [heading, [part if isinstance(part, str) else part.digest for part in parts]]
        for heading, parts in question.given.items()
    ]
    part = None if question.part is None else judgment_key("", (), question.part, Task("part of a document"))
    prompt = [load_prompt(question.prompt).digest, *([material_digest()] if given else [])]
    asked = [dict(question.criteria), question.low, question.high, question.show, prompt, given, part]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def checked(question: Question, given: object, judge: str) -> dict[str, Graded | Unscored]:
    """What a grader gave for a question, with all that is no score within the scale turned into the lack of one."""
    if not isinstance(given, Mapping):
        reason = Unscored(f"{judge} gave {type(given).__name__}, not an answer to each criterion")
        return dict.fromkeys(question.criteria, reason)
    return {name: _checked(question, given.get(name), judge) for name in question.criteria}


def _checked(question: Question, given: object, judge: str) -> Graded | Unscored:
    if isinstance(given, Unscored):
        return given
    if not isinstance(given, Graded):
        told = "nothing" if given is None else f"{type(given).__name__}, not a score"
        return Unscored(f"{judge} gave {told} for this criterion")
    score = given.score
    if isinstance(score, bool) or not isinstance(score, int | float) or not question.low <= score <= question.high:
        return Unscored(f"{judge} gave {score!r:.40}; a number from {question.low} to {question.high} was asked for")
    return given
