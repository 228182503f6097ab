"""The work in LLMI: `LLMI-v0` by chunks and by documents, with a tool that returns at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image
from work import Episode, Work, serve, timed

import llmi_env
from llmi_env.calls import SEARCH
from llmi_env.document import Picture, Provenance
from llmi_env.task import Task
from llmi_env.tools.base import ToolContext, ToolSpec
from llmi_env.world.in_process import InProcessWorld


class ReadyPictures:
    """Gives a picture that was there before, for each caption its own."""

    spec: ToolSpec = SEARCH

    def __init__(self, captions: tuple[str, ...]) -> None:
        noise = np.random.default_rng(0)
        self._pictures = {
            caption: Picture(
                Image.fromarray(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)),
                Provenance("simulated", caption=caption),
            )
            for caption in captions
        }
        self.calls = 0
        self.seconds = 0.0

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        self.calls += 1
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return self._pictures[context.description]

    async def aclose(self) -> None:
        """Nothing to release."""


class Side:
    """Both environments, over one World."""

    def __init__(self) -> None:
        self.tool: ReadyPictures | None = None
        self._envs: dict[str, gym.Env[Any, Any]] = {}

    def play(self, work: Work, mode: str) -> Episode:
        if self.tool is None:
            self.tool = ReadyPictures(work.captions)
            world = InProcessWorld({"search": self.tool})
            task = Task(work.question, image_count=work.pictures, tools=("search",), id="work")
            for name in ("chunk", "document"):
                self._envs[name] = gym.make(
                    "LLMI-v0", config="rules", tasks=[task], world=world, action_mode=name, feedback="text",
                    limits={"pictures": 24}, disable_env_checker=True,
                )  # fmt: skip
        env, before = self._envs[mode], self.tool.calls
        self.tool.seconds = work.seconds
        env.reset()
        results: list[Any] = []
        ns = timed(env.step, [work.document] if mode == "document" else work.chunks, results)
        observed = sum(result[0]["text"].count("[picture") for result in results)
        return Episode(ns, results[-1][1], self.tool.calls - before, observed)

    def chunk(self, work: Work) -> Episode:
        return self.play(work, "chunk")

    def document(self, work: Work) -> Episode:
        return self.play(work, "document")


if __name__ == "__main__":
    side = Side()
    serve("llmi-env", llmi_env.__version__, side.chunk, side.document)
