"""A small World for tests of scaling: tools whose pictures say what made them, and a judge that goes by a word and by those pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from llmi_env.calls import BUILTIN, Call
from llmi_env.document import Document, Picture, Provenance
from llmi_env.errors import CodeRaised, NothingFound, ToolUnavailable
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.preset import Preset
from llmi_env.scaling import Scaled, scale
from llmi_env.task import Task
from llmi_env.tools.base import ToolContext, ToolSpec
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored, Unscored

OWLS = Task("Write about owls.", id="owls", tools=("search",))
REWARD = HybridReward(
    Preset.parse(
        {
            "name": "kit",
            "version": 1,
            "terms": {"text_quality": {"weight": 0.6}, "text_image_relevance": {"weight": 0.4}},
        },
        "kit",
    )
)


def call(tool: str, wish: str, **params: Any) -> str:
    name = {"search": "query", "diffusion": "prompt", "code": "code", "edit": "prompt"}[tool]
    return f"<imgen>{Call(tool, wish, {**params, name: wish}).to_json()}</imgen>"


def drawn(title: str) -> Picture:
    """A picture of its own for each title."""
    dice = sum(place * ord(char) for place, char in enumerate(title, 1))
    colours = [(dice * factor) % 256 for factor in (37, 91, 151)]
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    flat = Image.new("RGB", (64, 64), tuple(colours))
    return Picture(Image.blend(image, flat, 0.7), Provenance("kit", title=title))


class Tool:
    """Brings what `bring` makes of the params and the context."""

    def __init__(self, name: str, bring: Callable[[Mapping[str, Any], ToolContext], Picture]) -> None:
        self._name, self._bring = name, bring
        self.calls: list[tuple[dict[str, Any], ToolContext]] = []

    @property
    def spec(self) -> ToolSpec:
        return BUILTIN[self._name]

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        self.calls.append((dict(params), context))
        await asyncio.sleep(0)
        return self._bring(params, context)

    async def aclose(self) -> None:
        return None


def hits(count: int) -> Callable[[Mapping[str, Any], ToolContext], Picture]:
    """A search with so many hits: each call brings the first that it is not shown."""

    def bring(params: Mapping[str, Any], context: ToolContext) -> Picture:
        if params["query"] == "nothing":
            raise NothingFound("no hit")
        seen = {picture.provenance.title for picture in context.pictures}
        left = [title for number in range(count) if (title := f"{params['query']} {number}") not in seen]
        if not left:
            raise NothingFound("no other hit")
        return drawn(left[0])

    return bring


def run_code(params: Mapping[str, Any], context: ToolContext) -> Picture:
    if "bug" in params["code"]:
        raise CodeRaised("NameError: name 'bug' is not defined")
    return drawn(f"chart {params['code']}")


def down(params: Mapping[str, Any], context: ToolContext) -> Picture:
    raise ToolUnavailable("down")


def by_seed(params: Mapping[str, Any], context: ToolContext) -> Picture:
    return drawn(f"{params['prompt']} from {context.seed}")


def edited(params: Mapping[str, Any], context: ToolContext) -> Picture:
    return drawn(f"{params['prompt']} of {context.pictures[0].provenance.title}")


class WordJudge:
    """Text by how often it says "good"; pictures by the fit of their titles; counts what it is asked.

    Args:
        fits: score of a picture by its title, 3 where none is given.
        fails: whether there is no score for a document, by how often it was judged before.
    """

    terms = ("text_quality", "text_image_relevance")
    concurrency = 8

    def __init__(
        self, fits: Mapping[str, float] | None = None, fails: Callable[[Document, int], bool] = lambda _, __: False
    ) -> None:
        self._fits, self._fails = dict(fits or {}), fails
        self.asked: list[str] = []
        self.tasks: list[Task] = []

    async def __call__(self, document: Document, task: Task) -> Judgments:
        source = document.to_source()
        before = self.asked.count(source)
        self.asked.append(source)
        self.tasks.append(task)
        await asyncio.sleep(0)
        if self._fails(document, before):
            return dict.fromkeys(self.terms, Unscored("the judge is down"))
        titles = [picture.provenance.title for picture in document.pictures]
        scores = [self._fits.get(title, 3.0) for title in titles]
        text = min(5.0, 1.0 + document.text.count("good"))
        return {
            "text_quality": Scored(text),
            "text_image_relevance": Scored(sum(scores) / len(scores) if scores else 1.0),
        }

    async def aclose(self) -> None:
        return None


def world(judge: WordJudge | None = None, **tools: Tool) -> InProcessWorld:
    made = {
        "search": Tool("search", hits(3)),
        "diffusion": Tool("diffusion", by_seed),
        "code": Tool("code", run_code),
        "edit": Tool("edit", edited),
    }
    return InProcessWorld(made | tools, [judge or WordJudge()])


def texts(*by_number: str) -> Callable[[Sequence[int], int], str]:
    """A script: each new seed gets the next text, a seed that comes again the same; the last text is for all further ones."""
    given: dict[int, str] = {}

    def script(prompt: Sequence[int], seed: int) -> str:
        if seed not in given:
            given[seed] = by_number[min(len(given), len(by_number) - 1)]
        return given[seed]

    return script


def scaled(script: Any, place: InProcessWorld | None = None, task: Task = OWLS, **options: Any) -> Scaled:
    """Scale a task by a scripted policy; each run has an event loop and a World of its own."""
    chosen = place or world()

    async def run() -> Scaled:
        try:
            policy = options.pop("policy", None) or ScriptedPolicy(script)
            return await scale(task, policy=policy, world=chosen, **{"reward": REWARD, "max_tokens": 2000, **options})
        finally:
            await chosen.aclose()

    return asyncio.run(run())
