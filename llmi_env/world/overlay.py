"""A World with some tools and judges of the caller's laid over another one.

For tools and judges that are Python objects: they run in the caller's process, and all others stay where they are, so that one home-made tool
does not bring the models of the rest into this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmi_env.calls import Call
from llmi_env.document import Document, Outcome, Picture
from llmi_env.judges.base import Judge
from llmi_env.task import Task
from llmi_env.tools.base import Tool
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Deciding, DecidingWorld, Judgments, World


class OverlayWorld:
    """Objects first, the base for what they do not cover.

    Args:
        base: the World for all other tools, and for judging where no judges are given.
        tools: tools by the name that calls use.
        judges: in place of the base's judges.
        config: its limits hold for the objects too; the tools and judges that it names are the base's.
    """

    def __init__(self, base: World, tools: Mapping[str, Tool], judges: Sequence[Judge], config: WorldConfig) -> None:
        self._base = base
        self._tools = frozenset(tools)
        self._judges = bool(judges)
        self._own = InProcessWorld(tools, judges, config.model_copy(update={"tools": {}, "judges": []}))

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        """Carry out one call; see `World.run`."""
        world = self._own if call.tool in self._tools else self._base
        return await world.run(call, pictures, seed=seed)

    async def judge(self, document: Document, task: Task) -> Judgments:
        """Judge a document; see `World.judge`."""
        world = self._own if self._judges else self._base
        return await world.judge(document, task)

    async def deciding(self) -> Deciding:
        """What decides the answers: of the base what is not covered, as far as the base tells."""
        base = await self._base.deciding() if isinstance(self._base, DecidingWorld) else {}
        own = await self._own.deciding()
        return {**base, **{name: part for name, part in own.items() if self._judges or name != "judges"}}

    async def aclose(self) -> None:
        """Nothing to do: the objects and the base stay their owners' to close."""
