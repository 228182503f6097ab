"""Parts of a document written anew by going on from what stands before them.

The policy is given the conversation that asked for the document and the document up to the part, as if it had written all that itself. A text
goes on until the next call begins; a call that failed is followed by the line that episodes with feedback show, and by an opening tag. A policy
that sees pictures is shown those that stand before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmi_env.calls import Call, CallScanner, CallText, TextRun, ToolSpec
from llmi_env.document import Block, Document, Figure, Picture, Text
from llmi_env.errors import BadCall, MalformedCall
from llmi_env.policies.base import Policy, Sampling, SeeingPolicy
from llmi_env.prompting import PromptStyle, messages, result_text
from llmi_env.task import Task

_OPENING = "<imgen>"
_NEVER_CLOSED = "the call was never closed"


async def continued_texts(
    policy: Policy,
    sampling: Sampling,
    task: Task,
    document: Document,
    seeds: Sequence[int],
    tokens: int,
    tools: Mapping[str, ToolSpec],
    prompt: PromptStyle,
) -> list[tuple[Document | None, int]]:
    """The document with each text drawn anew, once for each seed, and how many tokens that took.

    Args:
        policy: writes.
        sampling: temperature and top-p.
        task: what was asked for.
        document: whose figures are kept.
        seeds: of the drawings; they are drawn side by side.
        tokens: that one drawing may take.
        tools: specs of the tools, for the prompt.
        prompt: how the prompt explains them.
    """
    figures = document.figures
    drawings = [_Drawing(_Context.of(policy, task, tools, prompt), seed, tokens) for seed in seeds]
    for place in range(len(figures) + 1):
        if place and not figures[place - 1].closed:
            break  # what follows a call that was never closed belongs to it
        lines = {at: drawing.line(place) for at, drawing in enumerate(drawings) if drawing.left > 0}
        if lines:
            await policy.write(list(lines.values()), sampling)
        for at, line in lines.items():
            drawings[at].take(line)
        for drawing in drawings:
            if place < len(figures):
                drawing.keep(place, figures[place])
    return [(drawing.document, tokens - drawing.left) for drawing in drawings]


async def continued_call(
    policy: Policy,
    sampling: Sampling,
    task: Task,
    document: Document,
    index: int,
    seeds: Sequence[int],
    tokens: int,
    tools: Mapping[str, ToolSpec],
    prompt: PromptStyle,
) -> list[tuple[Call | None, str, str, int]]:
    """Another call in the place of figure `index`, once for each seed: the call, its text, why there is none, the tokens it took."""
    context = _Context.of(policy, task, tools, prompt)
    seen = 0
    for block in document:
        if isinstance(block, Text):
            context = context.then_text(block.text)
            continue
        context = context.then_figure(seen, block)
        if seen == index:
            if block.failure is not None:
                context = context.then_text(result_text(index, block.failure))
            break
        seen += 1
    lines = [_Line(context.then_text(_OPENING), seed, tokens, calls=True) for seed in seeds]
    await policy.write(lines, sampling)
    return [(*read_call(line.body, task, index, tools), line.count) for line in lines]


def read_call(body: str | None, task: Task, index: int, tools: Mapping[str, ToolSpec]) -> tuple[Call | None, str, str]:
    """A call that was written for figure `index`, with its text, or why it is none that can be carried out."""
    if body is None:
        return None, "", _NEVER_CLOSED
    try:
        call = CallText(body).parse()
        call.check(len(task.images), index, tools)
    except (MalformedCall, BadCall) as error:
        return None, body, str(error)
    return call, body, ""


@dataclass(frozen=True)
class _Context:
    """What the policy goes on from: ids, and the pictures whose placeholders stand among them."""

    policy: Policy
    ids: tuple[int, ...]
    pictures: tuple[Picture, ...] = ()

    @classmethod
    def of(cls, policy: Policy, task: Task, tools: Mapping[str, ToolSpec], prompt: PromptStyle) -> _Context:
        asked = messages(task, tools, prompt)
        if not isinstance(policy, SeeingPolicy):
            return cls(policy, tuple(policy.tokenizer.chat(asked)))
        seen = policy.see_prompt(asked, task.images)
        return cls(policy, tuple(seen.ids), tuple(task.images) if seen.runs else ())

    def then_text(self, text: str) -> _Context:
        return _Context(self.policy, (*self.ids, *self.policy.tokenizer.encode(text)), self.pictures)

    def then_figure(self, index: int, figure: Figure) -> _Context:
        written = f"<{figure.tag}>{figure.raw}</{figure.tag}>"
        if figure.picture is None or not isinstance(self.policy, SeeingPolicy):
            return self.then_text(written)
        shown = self.then_text(written + result_text(index, figure.picture))
        placeholders = self.policy.picture_ids(figure.picture)
        return _Context(self.policy, (*shown.ids, *placeholders), (*shown.pictures, figure.picture))


@dataclass
class _Drawing:
    """One document whose texts are drawn anew."""

    context: _Context
    seed: int
    left: int

    def __post_init__(self) -> None:
        self._blocks: list[Block] = []

    def line(self, place: int) -> _Line:
        """What is to be drawn before figure `place`."""
        return _Line(self.context, self.seed + place, self.left)

    def take(self, line: _Line) -> None:
        self.left -= line.count
        if line.text:
            self._blocks.append(Text(line.text))
            self.context = self.context.then_text(line.text)

    def keep(self, place: int, figure: Figure) -> None:
        self._blocks.append(figure)
        self.context = self.context.then_figure(place, figure)

    @property
    def document(self) -> Document | None:
        """The whole; `None` where nothing was written."""
        made = Document(tuple(self._blocks))
        return made if made.text.strip() else None


class _Line:
    """What a policy writes after a context: a `llmi_env.policies.base.Row`.

    Args:
        context: what stands before.
        seed: of the draws.
        tokens: at most so many.
        calls: whether a call's body is to be written, until it closes, in place of text, until a call opens.
    """

    def __init__(self, context: _Context, seed: int, tokens: int, calls: bool = False) -> None:
        self.prompt_ids: Sequence[int] = context.ids
        self.pictures: Sequence[Picture] = context.pictures
        self.seed, self.max_tokens = seed, tokens
        self.done, self.waiting = False, False
        self.count = 0
        self.text = ""
        self.body: str | None = None
        self._calls = calls
        self._eos = context.policy.tokenizer.eos_ids
        self._decoder = context.policy.tokenizer.decoder()
        self._scanner = CallScanner()
        if calls:
            self._scanner.feed(_OPENING)

    def take(self, token: int, logprob: float) -> None:
        self.count += 1
        if token in self._eos:
            self.end()
            return
        self._read(self._scanner.feed(self._decoder.push(token)))
        if self.count >= self.max_tokens and not self.done:
            self.end()

    def shown(self) -> Sequence[int]:
        return ()

    async def changed(self) -> None:
        return None

    def end(self) -> None:
        if not self._scanner.inside_call:
            self._read([*self._scanner.feed(self._decoder.flush()), *self._scanner.close()])
        self.done = True

    def _read(self, events: Sequence[TextRun | CallText]) -> None:
        for event in events:
            if isinstance(event, TextRun):
                self.text += event.text
            elif self._calls and self.body is None and event.closed:
                self.body = event.body
        self.done = self.done or (self.body is not None if self._calls else self._scanner.inside_call)
