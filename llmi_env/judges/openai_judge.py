"""A judge behind any OpenAI-compatible server: vLLM, SGLang, llama.cpp, OpenAI, Azure, a gateway.

One document goes: prompt (see `prompt`) -> request, tried again within limits (see `chat`) -> strict reading (see `reply`) -> the mean of all
samples. Whatever fails on the way leaves the terms `Unscored` with the reason; nothing ever becomes a low score by itself.

In a configuration::

    judges:
      - use: openai
        model: Qwen/Qwen3-235B-A22B-Instruct-2507
        base_url: http://judge:8000/v1
        terms: [text_quality, call_quality]
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError, MissingExtra
from llmi_env.judges.chat import Chat, Usage
from llmi_env.judges.openai_options import PROMPTS, JudgeOptions
from llmi_env.judges.prompt import NO_MATERIAL, NOTHING_TO_JUDGE, Fence, Material, Prompt, load_prompt
from llmi_env.judges.reply import Reply, UnreadableReply, json_schema, read_reply
from llmi_env.services.asking import FORMS, NoReply, messages, response_format
from llmi_env.services.sending import DataUrls
from llmi_env.task import Task
from llmi_env.world.protocol import Judgment, Scored, Unscored

_log = logging.getLogger(__name__)
_RATIONALE = 2000


@dataclass(frozen=True)
class Graded:
    """How far a document meets one criterion of a rubric.

    Attributes:
        score: on the scale that was asked for, e.g. 0 (not), 1 (in part) or 2 (fully); the mean where several samples were taken.
        rationale: the judge's reasons.
        judge: judge, model and version of the prompt.
        votes: the single scores.
    """

    score: float
    rationale: str
    judge: str
    votes: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Question:
    """What one prompt asks about one document: the same for every sample and try."""

    prompt: Prompt
    criteria: Mapping[str, str]
    document: Document
    task: Task
    material: Material


class OpenAIJudge:
    """Scores documents by a model behind an OpenAI-compatible server.

    Args:
        options: see `JudgeOptions`; `model` is needed.

    Raises:
        ConfigError: an option that cannot be used; on the first document also where a key is needed and not set.
        MissingExtra: the package `openai` is not installed.
    """

    def __init__(self, **options: Any) -> None:
        self.options = JudgeOptions.parse(options)
        if importlib.util.find_spec("openai") is None:
            raise MissingExtra("an OpenAI-compatible judge", "judges", "openai")
        self._chat = Chat(self.options)
        self._urls = DataUrls(self.options.max_side, self.options.max_picture_kb * 1000)
        self._form: str | None = None if self.options.structured == "auto" else self.options.structured

    @staticmethod
    def check_options(**options: Any) -> tuple[str, ...]:
        """The terms that a judge of these options scores; raises as making it does, but needs neither the package nor a key."""
        return JudgeOptions.parse(options).terms

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that it scores."""
        return self.options.terms

    @property
    def concurrency(self) -> int:
        """How many documents may be judged at the same time."""
        return self.options.concurrency

    @property
    def usage(self) -> Usage:
        """Requests, tokens and cost so far, in this process."""
        return self._chat.usage

    @property
    def fingerprint(self) -> str:
        """Everything of it that can move a score."""
        prompts = [load_prompt(name) for name in PROMPTS]
        used = [prompt for prompt in prompts if set(prompt.terms) & set(self.terms)]
        body = self.options.decisive() + "".join(prompt.digest for prompt in used)
        digest = hashlib.sha256(body.encode()).hexdigest()[:16]
        return f"{self._name('+'.join(prompt.id for prompt in used))}#{digest}"

    async def __call__(self, document: Document, task: Task) -> dict[str, Judgment]:
        """Judge one document."""
        found: dict[str, Judgment] = {}
        asked: list[_Question] = []
        for prompt in map(load_prompt, PROMPTS):
            criteria = {term: text for term, text in prompt.terms.items() if term in self.terms}
            for term in list(criteria):
                if why := prompt.nothing_to_judge(term, document):
                    found[term] = Scored(NOTHING_TO_JUDGE, why, self._name(prompt.id))
                elif prompt.layout == "pictures" and not self.options.max_pictures:
                    found[term] = Unscored(f"{self._name(prompt.id)}: it is shown no pictures (max_pictures=0)")
                else:
                    continue
                del criteria[term]
            if criteria:
                asked.append(_Question(prompt, criteria, document, task, NO_MATERIAL))
        answers = await asyncio.gather(*map(self._graded, asked))
        for answer in answers:
            for term, given in answer.items():
                found[term] = (
                    given
                    if isinstance(given, Unscored)
                    else Scored(given.score, given.rationale, given.judge, given.votes)
                )
        return {term: found[term] for term in self.terms}

    async def rubric(
        self, document: Document, task: Task, criteria: Mapping[str, str], *, together: bool = True
    ) -> dict[str, Graded | Unscored]:
        """Check a document against the criteria of a benchmark; needs a vision-language model where it has pictures.

        Args:
            document: what was written.
            task: what was asked for.
            criteria: each criterion by a short name.
            together: ask for all of them at once; otherwise for each by itself, which costs more and keeps them apart.

        Raises:
            ConfigError: no criterion, or a key is needed and not set.
        """
        parts = [dict(criteria)] if together else [{name: text} for name, text in criteria.items()]
        rubric = load_prompt("rubric")
        answers = await asyncio.gather(*(self.grade(document, task, part, rubric) for part in parts or [{}]))
        return {name: answer[name] for answer in answers for name in answer}

    async def grade(
        self,
        document: Document,
        task: Task,
        criteria: Mapping[str, str],
        prompt: Prompt,
        material: Material = NO_MATERIAL,
    ) -> dict[str, Graded | Unscored]:
        """Put one question about a document: all criteria in one request.

        A reply with a number outside of the prompt's scale cannot be read: it is tried again and then no score, never cut to the scale.

        Args:
            document: what was written, or a part of it.
            task: what was asked for.
            criteria: what to score, by short names.
            prompt: wording, layout and scale.
            material: what else is shown.

        Raises:
            ConfigError: no criterion, one whose name a reply needs for itself, or a key is needed and not set.
        """
        if not criteria:
            raise ConfigError("a rubric needs at least one criterion")
        if taken := {"rationale", "key"} & criteria.keys():
            raise ConfigError(f"a criterion cannot be named {min(taken)!r}: the reply has a field of that name")
        return await self._graded(_Question(prompt, criteria, document, task, material))

    async def aclose(self) -> None:
        """Close the connection; may be called twice."""
        if self.usage.requests:
            _log.info("%s: %s", self._name("all"), self.usage)
        await self._chat.aclose()

    def _name(self, prompt: str) -> str:
        return f"openai:{self.options.model}@{prompt}"

    # ----------------------------------------------------------------------------------------------------------- samples

    async def _graded(self, question: _Question) -> dict[str, Graded | Unscored]:
        """Every criterion by the mean of its samples."""
        count, seed = self.options.samples, self.options.seed
        name, criteria = self._name(question.prompt.id), question.criteria
        answers = await asyncio.gather(
            *(self._sample(question, None if seed is None else seed + number) for number in range(count))
        )
        replies = [answer for answer in answers if isinstance(answer, Reply)]
        if 2 * len(replies) <= count:
            reason = next(answer.reason for answer in answers if isinstance(answer, Unscored))
            lost = f"{count - len(replies)} of {count} samples failed: " if count > 1 else ""
            return dict.fromkeys(criteria, Unscored(f"{name}: {lost}{reason}"))
        rationale = replies[0].rationale[:_RATIONALE]
        graded: dict[str, Graded | Unscored] = {}
        for term in criteria:
            votes = tuple(reply.scores[term] for reply in replies)
            graded[term] = Graded(fmean(votes), rationale, name, votes if count > 1 else ())
        return graded

    async def _sample(self, question: _Question, seed: int | None) -> Reply | Unscored:
        """One reply, in the first form that the server takes."""
        forms = FORMS if self._form is None else (self._form,)
        reason = ""
        for form in forms:
            sure = form == self._form or form == forms[-1]
            try:
                reply: Reply = await self._chat.tries(in_doubt=not sure)(self._once, question, form, seed)
            except NoReply as failed:
                reason = failed.reason
                if sure or not failed.refused:
                    break
                _log.info("%s does not take response_format=%s (%s)", self.options.base_url, form, failed.reason)
            else:
                if self._form is None:  # several may be under way when the first one finds out what the server takes
                    self._form = form
                return reply
        self.usage.failures += 1
        return Unscored(reason)

    async def _once(self, question: _Question, form: str, seed: int | None) -> Reply:
        prompt, criteria = question.prompt, question.criteria
        fence = Fence.fresh()
        keyed = form != "json_schema"
        request = prompt.render(
            question.document,
            question.task,
            criteria,
            fence,
            keyed=keyed,
            max_pictures=self.options.max_pictures,
            material=question.material,
        )
        wanted = response_format(form, "scores", json_schema(criteria, prompt.low, prompt.high))
        text = await self._chat.ask(await messages(request.system, request.parts, self._urls), wanted, seed)
        try:
            return read_reply(text, tuple(criteria), prompt.low, prompt.high, fence.key if keyed else None)
        except UnreadableReply as error:
            # One that had a schema and did not keep to it may not have looked at it: another form may help.
            raise NoReply(f"the reply cannot be read: {error}", again=True, refused=True) from None
