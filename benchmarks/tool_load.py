"""Documents with declared calls for `tool_runtime.py`, when their pictures can be there at the earliest, and what another order would give.

A document is drawn from a seed: 1 to 12 calls, a part of them edits, many of those edits of edits, with running text in between. Written at a
declared pace, each call has a moment at which it can start; with the latencies that the simulators draw, the critical path follows.
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from llmi_env import prompting
from llmi_env.calls import BUILTIN, Call
from llmi_env.episode import Episode
from llmi_env.rollout import rollout_seed
from llmi_env.task import Task
from llmi_env.testing import SimulatedTool
from llmi_env.tokenizers import PieceTokenizer
from llmi_env.transcript import Transcript

LATENCIES = {"search": 0.8, "diffusion": 4.0, "edit": 4.0, "code": 0.5}
"""Declared seconds of a call: the median of its log-normal distribution."""
SPREAD = 0.5
"""Standard deviation of the logarithm: nine calls of ten take 0.44 to 2.3 times the median."""

_KINDS = {"search": 35, "diffusion": 25, "edit": 25, "code": 15}
_WORDS = """
amber arch autumn barn basalt beech birch bridge brook canal cedar chalk cliff cloud clover coast copper crane dawn delta dune
dusk ember fern field fjord flint forest frost garden glacier granite grove gull harbour hawk hazel heath heron hill island ivory
juniper kestrel lagoon lake larch lichen lime maple marble marsh meadow mill mist moor moss mountain oak orchard otter owl pebble
pier pine plain plum pond poplar quarry rain reed ridge river robin rowan sand sedge shale shore silver slate snow spring spruce
stone storm stream summer swallow swift thistle tide timber trout valley violet walnut water willow wind winter wren yarrow yew
""".split()  # noqa: SIM905


def text_of(number: int, seed: int = 0) -> str:
    """Document `number`: the kinds of its calls, and what its edits change: half of them an edit, where there is one."""
    dice = random.Random(f"document {seed} {number}")
    kinds: list[str] = []
    parts: list[str] = []
    for index in range(dice.randint(1, 12)):
        parts.append(" ".join(dice.choices(_WORDS, k=dice.randint(15, 45))) + ". ")
        (tool,) = dice.choices(list(_KINDS), _KINDS.values())
        tool = "search" if tool == "edit" and not kinds else tool
        about = " ".join(dice.choices(_WORDS, k=6))
        edits = [figure for figure, kind in enumerate(kinds) if kind == "edit"]
        source = dice.choice(edits) if edits and dice.random() < 0.5 else dice.randrange(max(index, 1))
        params = {
            "search": {"query": about},
            "diffusion": {"prompt": about},
            "edit": {"img_index": source, "prompt": about},
            "code": {"code": f"plt.title('{about}')"},
        }[tool]
        parts.append(f"<imgen>{Call(tool, about, params).to_json()}</imgen> ")
        kinds.append(tool)
    return "".join(parts) + " ".join(dice.choices(_WORDS, k=dice.randint(15, 45))) + "."


class Words(PieceTokenizer):
    """Words and the marks between them as tokens, about as many as a language model's; every word of the given texts is known."""

    _PIECE = re.compile(r" ?\w+|[^\w\s]+ ?|\s")

    def __init__(self, texts: Iterable[str]) -> None:
        super().__init__(sorted({piece for text in texts for piece in self._PIECE.findall(text)}))

    def encode(self, text: str) -> list[int]:
        """Ids of the words; what is unknown is spelt in bytes."""
        ids: list[int] = []
        for piece in self._PIECE.findall(text):
            token = self._ids.get(piece)
            ids += super().encode(piece) if token is None else (token,)
        return ids


@dataclass(frozen=True)
class TimedCall:
    """A call as it is declared.

    Attributes:
        tool: its tool.
        written: seconds after the first token at which its closing tag is there.
        latency: seconds that it takes.
        source: place of the call whose picture it changes, in the load's list, or `None`.
        document: number of the document that it stands in.
    """

    tool: str
    written: float
    latency: float
    source: int | None
    document: int


@dataclass(frozen=True)
class Load:
    """Documents that are begun together.

    Attributes:
        documents: how many.
        seed: of texts and latencies.
        faster: what all declared times are divided by.
        pace: tokens a second in which each document is written.
    """

    documents: int
    seed: int = 0
    faster: float = 1.0
    pace: float = 50.0

    @cached_property
    def texts(self) -> list[str]:
        """What is written."""
        return [text_of(number, self.seed) for number in range(self.documents)]

    @cached_property
    def tasks(self) -> list[Task]:
        """A task for each document."""
        return [Task(f"Write about place {number}.", id=f"place-{number}") for number in range(self.documents)]

    @property
    def real_pace(self) -> float:
        """Tokens a second, as they are really written."""
        return self.pace * self.faster

    @cached_property
    def tokenizer(self) -> Words:
        """Knows all that is written, and the prompts."""
        told = prompting.messages(self.tasks[0], BUILTIN, "compact")
        return Words(
            [*self.texts, *(str(message["content"]) for message in told), *(task.question for task in self.tasks)]
        )

    def tools(self) -> dict[str, dict[str, float]]:
        """Options of `SimulatedTool` by name."""
        return {name: {"latency": latency / self.faster, "spread": SPREAD} for name, latency in LATENCIES.items()}

    @cached_property
    def calls(self) -> list[TimedCall]:
        """Every call, document by document."""
        return self._timed[0]

    @cached_property
    def ends(self) -> list[float]:
        """When each document's last token is there."""
        return self._timed[1]

    @cached_property
    def _timed(self) -> tuple[list[TimedCall], list[float]]:
        made = {name: SimulatedTool(name, **options) for name, options in self.tools().items()}
        calls: list[TimedCall] = []
        ends: list[float] = []
        for number, (task, text) in enumerate(zip(self.tasks, self.texts, strict=True)):
            episode = Episode(task, seed=rollout_seed(self.seed, task, 0))
            transcript = Transcript(episode, self.tokenizer, (), 10_000)
            ids = [*self.tokenizer.encode(text), self.tokenizer.eos_id]
            place: dict[int, int] = {}
            for count, token in enumerate(ids, start=1):
                for request in transcript.append((token,), (-1.0,)):
                    place[request.index] = len(calls)
                    latency = made[request.call.tool].latency_of(request.call.params, request.seed)
                    source = None if request.depends_on is None else place[request.depends_on]
                    calls.append(TimedCall(request.call.tool, count / self.real_pace, latency, source, number))
            ends.append(len(ids) / self.real_pace)
        return calls, ends


# ------------------------------------------------------------------------------------------------------------------- bounds


def landings(load: Load) -> list[float]:
    """When each document's last picture is there if nothing ever waits for a turn: its critical path. No run can be earlier."""
    done: list[float] = []
    last = [0.0] * load.documents
    for call in load.calls:
        ready = call.written if call.source is None else max(call.written, done[call.source])
        done.append(ready + call.latency)
        last[call.document] = max(last[call.document], done[-1])
    return last


def bound(load: Load, capacity: Mapping[str, int]) -> tuple[float, str]:
    """The larger of two lower bounds of the makespan, and its name: the critical path, and what the busiest tool's places need for its calls.

    Of that work the time before the tool's first call is not counted, nor what must follow its last one.
    """
    bounds = {"critical path": max(landings(load))}
    for name, places in capacity.items():
        bounds[f"{name} / {places}"] = sum(call.latency for call in load.calls if call.tool == name) / places
    largest = max(bounds, key=bounds.__getitem__)
    return bounds[largest], largest


ORDERS = ("first come", "longest chain, known", "longest chain, foreseen")


def makespan(load: Load, capacity: Mapping[str, int], order: str) -> float:
    """When the last picture is there, if a tool's free place takes the waiting call that `order` puts first; computed, not measured.

    `longest chain, known` counts the declared latencies of the edits of a call's picture that are written so far; `longest chain,
    foreseen` the drawn ones of all that will ever be written, which nobody can know.
    """
    calls = load.calls
    edits: dict[int, list[int]] = {}
    for at, call in enumerate(calls):
        if call.source is not None:
            edits.setdefault(call.source, []).append(at)

    def chain(at: int, now: float) -> float:
        if order == ORDERS[1]:
            known = [chain(edit, now) for edit in edits.get(at, ()) if calls[edit].written <= now]
            return LATENCIES[calls[at].tool] / load.faster + max(known, default=0.0)
        return calls[at].latency + max((chain(edit, now) for edit in edits.get(at, ())), default=0.0)

    free = dict(capacity)
    waiting: dict[str, list[tuple[float, int]]] = {name: [] for name in capacity}
    # (moment, end of a call before the arrival of another, call)
    events = [(call.written, 1, at) for at, call in enumerate(calls) if call.source is None]
    heapq.heapify(events)
    ended: dict[int, float] = {}
    now = 0.0
    while events:
        now, kind, at = heapq.heappop(events)
        tool = calls[at].tool
        if kind == 0:
            ended[at] = now
            free[tool] += 1
            for edit in edits.get(at, ()):
                heapq.heappush(events, (max(now, calls[edit].written), 1, edit))
        else:
            waiting[tool].append((now, at))
        if events and events[0][0] == now:
            continue
        for name, queue in waiting.items():
            while free[name] and queue:
                first = min(queue) if order == ORDERS[0] else min(queue, key=lambda one: (-chain(one[1], now), one))
                queue.remove(first)
                free[name] -= 1
                heapq.heappush(events, (now + calls[first[1]].latency, 0, first[1]))
    assert len(ended) == len(calls)
    return now
