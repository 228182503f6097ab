"""The episode: one document being written, as a pure state machine.

No I/O, no threads, no clock. A driver (the environment, a rollout, verl's agent loop) writes text, carries out the `CallRequest`s that
come back, and delivers their outcomes in any order::

    episode = Episode(task)
    for request in episode.write(text):
        ...                                   # carry it out, now or later
        episode.deliver(request.index, outcome)
    episode.end()
    episode.document                          # figures stand in the order written

Whatever the text is, nothing raises: a call that cannot be read or carried out becomes a figure with a `Failure`.
"""

from __future__ import annotations

import copy
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmi_env.calls import BUILTIN, Call, CallScanner, CallText, TextRun, ToolSpec
from llmi_env.document import Block, Document, Failure, Figure, Outcome, Picture, Text
from llmi_env.errors import BadCall, EpisodeOver, MalformedCall
from llmi_env.seeds import derived_seed
from llmi_env.task import Task

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class StopReason(enum.StrEnum):
    """Why a document ended."""

    END = "end"
    """The policy ended it: the eos token, `END`, or the whole document was given at once."""
    LENGTH = "length"
    """The limit of policy tokens was reached (see `Transcript`)."""
    CHARACTERS = "characters"
    """The limit of characters was reached; what stands beyond it is not part of the document."""
    CALLS = "calls"
    """One more call was written than is allowed; it and what follows are not part of the document."""
    PICTURES = "pictures"
    """One more call that could bring a picture was written than is allowed; it and what follows are not part of it."""
    STEPS = "steps"
    """A limit of steps was reached (see the wrapper `StepLimit`); the document is scored as it stands."""
    ABORTED = "aborted"
    """The driver gave the episode up; it has no score."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one document; reaching one ends it, and it is scored as it stands.

    Attributes:
        characters: characters written, calls and thoughts included.
        calls: calls written, unreadable ones included.
        pictures: calls that can be carried out, so pictures at most.
    """

    characters: int = 200_000
    calls: int = 24
    pictures: int = 16

    def __post_init__(self) -> None:
        for name in ("characters", "calls", "pictures"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"limits.{name} must be a number >= 0, not {value!r}")


@dataclass(frozen=True)
class CallRequest:
    """A call that the driver is to carry out.

    Attributes:
        index: index of the figure, the name under which the outcome is delivered.
        call: the call, parsed and checked.
        seed: 31-bit seed fixed by task, episode seed and index.
        depends_on: index of the earlier figure that the call points at, or `None`.
        inputs: the input picture that the call points at, or nothing.
        earlier: indices of the tool's earlier figures, where its spec says that it sees them.
    """

    index: int
    call: Call
    seed: int
    depends_on: int | None = None
    inputs: tuple[Picture, ...] = ()
    earlier: tuple[int, ...] = ()


class Episode:
    """One document in the making.

    Args:
        task: what is to be written.
        limits: bounds of the document.
        tools: specs of the tools at hand; a call to another one is a figure that failed.
        seed: moves the seeds of all calls; the same task and seed give the same requests for the same text.
    """

    def __init__(
        self,
        task: Task,
        limits: Limits | None = None,
        tools: Mapping[str, ToolSpec] = BUILTIN,
        seed: int = 0,
    ) -> None:
        self.task = task
        self.limits = limits or Limits()
        self.tools = dict(tools)
        self.seed = seed
        self.stop: StopReason | None = None
        self._scanner = CallScanner()
        self._blocks: list[list[str] | Figure] = []  # text as its pieces, so that appending stays linear
        self._figures: list[int] = []  # block index of each figure
        self._pending: dict[int, CallRequest] = {}
        self._characters = 0
        self._requested = 0

    # ------------------------------------------------------------------------------------------------------------ writing

    def write(self, text: str) -> list[CallRequest]:
        """Append text; returns the calls that it completed. Lone surrogates, which nothing can carry, become U+FFFD.

        Raises:
            EpisodeOver: if the document has ended.
        """
        if self.stop is not None:
            raise EpisodeOver(f"the document has ended ({self.stop.value}); start a new episode")
        if not text.isascii():
            text = _without_surrogates(text)
        room = self.limits.characters - self._characters
        if "<" not in text and len(text) <= room and self._scanner.idle:
            # Nearly every step: running text, in which no tag can begin.
            self._characters += len(text)
            if text:
                self._add_text(text)
            return []
        over = len(text) > room
        piece = text[:room] if over else text
        self._characters += len(piece)
        requests = self._take(self._scanner.feed(piece))
        if over and self.stop is None:
            requests += self._finish(StopReason.CHARACTERS)
        return requests

    def end(self, reason: StopReason = StopReason.END) -> list[CallRequest]:
        """End the document. Ending twice keeps the first reason. Outcomes may still be delivered afterwards."""
        return [] if self.stop is not None else self._finish(reason)

    def deliver(self, index: int, outcome: Outcome) -> None:
        """Put the outcome of figure `index` in its place.

        Raises:
            KeyError: if no outcome is awaited for that figure.
        """
        if index not in self._pending:
            raise KeyError(f"no outcome is awaited for figure {index}; awaited: {sorted(self._pending)}")
        del self._pending[index]
        at = self._figures[index]
        figure = self._blocks[at]
        assert isinstance(figure, Figure)
        self._blocks[at] = replace(figure, outcome=outcome)

    # ------------------------------------------------------------------------------------------------------------ reading

    @property
    def pending(self) -> Mapping[int, CallRequest]:
        """Calls whose outcome is awaited, by figure index."""
        return dict(self._pending)

    @property
    def waits(self) -> bool:
        """Whether an outcome is awaited."""
        return bool(self._pending)

    @property
    def done(self) -> bool:
        """Whether the document has ended and every outcome is there."""
        return self.stop is not None and not self._pending

    @property
    def n_figures(self) -> int:
        """Figures so far, failed and pending ones included."""
        return len(self._figures)

    @property
    def inside_call(self) -> bool:
        """Whether the text so far stops inside a call's body."""
        return self._scanner.inside_call

    def figure(self, index: int) -> Figure:
        """Figure `index`, with its outcome where it has come."""
        figure = self._blocks[self._figures[index]]
        assert isinstance(figure, Figure)
        return figure

    @property
    def document(self) -> Document:
        """The document as it stands; figures whose outcome has not come have `outcome=None`."""
        blocks: list[Block] = []
        for block in self._blocks:
            blocks.append(block if isinstance(block, Figure) else Text("".join(block)))
        return Document(tuple(blocks))

    def copy(self) -> Episode:
        """The same episode once more: what is written into one does not show in the other. Pictures are shared, they do not change."""
        made = copy.copy(self)
        made._scanner = copy.deepcopy(self._scanner)
        made._blocks = [block if isinstance(block, Figure) else block.copy() for block in self._blocks]
        made._figures, made._pending = self._figures.copy(), self._pending.copy()
        return made

    # ------------------------------------------------------------------------------------------------------------ inside

    def _finish(self, reason: StopReason) -> list[CallRequest]:
        requests = self._take(self._scanner.close())
        self.stop = self.stop or reason
        return requests

    def _take(self, events: list[TextRun | CallText]) -> list[CallRequest]:
        requests: list[CallRequest] = []
        for event in events:
            if self.stop is not None:
                break
            if isinstance(event, TextRun):
                self._add_text(event.text)
            elif len(self._figures) >= self.limits.calls:
                self.stop = StopReason.CALLS
            elif (request := self._add_call(event)) is not None:
                requests.append(request)
        return requests

    def _add_text(self, text: str) -> None:
        if self._blocks and isinstance(self._blocks[-1], list):
            self._blocks[-1].append(text)
        else:
            self._blocks.append([text])

    def _add_call(self, written: CallText) -> CallRequest | None:
        index = len(self._figures)
        inputs = self.task.images
        call: Call | None = None
        failure: Failure | None = None
        try:
            call = written.parse()
            call.check(len(inputs), index, self.tools)
        except MalformedCall as error:
            failure = Failure.of("", "malformed", str(error))
        except BadCall as error:
            assert call is not None
            failure = Failure.of(call.tool, error.kind, str(error))
        request: CallRequest | None = None
        if failure is None:
            if self._requested >= self.limits.pictures:
                self.stop = StopReason.PICTURES
                return None
            assert call is not None
            self._requested += 1
            target = call.params.get("img_index") if "img_index" in call.params else None
            request = CallRequest(
                index,
                call,
                self._call_seed(index),
                depends_on=target - len(inputs) if target is not None and target >= len(inputs) else None,
                inputs=(inputs[target],) if target is not None and target < len(inputs) else (),
                earlier=self._earlier(call),
            )
            self._pending[index] = request
        self._figures.append(len(self._blocks))
        self._blocks.append(Figure(written.body, call, failure, written.closed, written.tag))
        return request

    def _earlier(self, call: Call) -> tuple[int, ...]:
        """Figures before this one that the same tool was asked for, where it sees them."""
        if not self.tools[call.tool].sees_earlier:
            return ()
        blocks = [self._blocks[place] for place in self._figures]
        return tuple(
            index
            for index, block in enumerate(blocks)
            if isinstance(block, Figure) and block.call is not None and block.call.tool == call.tool
        )

    def _call_seed(self, index: int) -> int:
        return derived_seed(self.task.key, self.seed, index)


def _without_surrogates(text: str) -> str:
    # Encoding stops at the first one; it takes a fifth of the time that the pattern takes to find none.
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATES.sub("\ufffd", text)
    return text
