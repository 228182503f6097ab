"""The work in gem-llm: a `gem.Env` that takes the text, inside of the library's own `ToolEnvWrapper` where there are turns.

As the library's search tool does, the tool reads the first call of an action; it also keeps that text, which the wrapper does not pass on.
`ObservationWrapper`, which would show the whole history at each turn, is left out: what a step returns is what is new, as with the others.
"""

from __future__ import annotations

import json
import logging
from importlib.metadata import version
from typing import Any

import gem
from gem.tools.base_tool import BaseTool
from gem.tools.tool_env_wrapper import ToolEnvWrapper
from work import CALL, END, Episode, Work, picture, rule_reward, serve, timed

logging.disable(logging.INFO)


class PictureTool(BaseTool):
    """Carries out a call in tags."""

    tool_type = "picture"

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.called: list[str] = []
        self.written: list[str] = []

    def instruction_string(self) -> str:
        return 'Pictures: <imgen>{"source": "search", "description": ..., "params": {"query": ...}}</imgen>'

    def run(self, body: str) -> str:
        call = json.loads(body)
        if call["source"] != "search":
            raise ValueError(f"no tool {call['source']!r}")
        self.called.append(call["source"])
        return f"\n[picture {len(self.called) - 1}: {picture(call['description'], self.seconds)}]\n"

    def execute_action(self, action: str) -> tuple[bool, bool, str, str]:
        found = CALL.search(action)
        if found is None:
            return False, True, "", ""
        self.written.append(action)
        try:
            return True, False, self.run(found[1]), action[: found.end()]
        except (ValueError, KeyError) as error:
            return True, True, f"\n[failed: {error}]\n", action[: found.end()]


class WritingEnv(gem.Env):
    """A document in turns, or in one."""

    def __init__(self, work: Work, tool: PictureTool, whole: bool) -> None:
        super().__init__()
        self.work, self.tool, self.whole = work, tool, whole

    def reset(self, seed: int | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed)
        self.tool.called.clear()
        self.tool.written.clear()
        return self.work.question, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.tool.written.append(action)
        shown = "".join(self.tool.run(found[1]) for found in CALL.finditer(action)) if self.whole else ""
        if not self.whole and not action.endswith(END):
            return shown, 0.0, False, False, {}
        called = self.tool.called
        return shown, rule_reward(called, len(called), self.work.pictures), True, False, {}


def chunk(work: Work) -> Episode:
    tool = PictureTool()
    env = ToolEnvWrapper(WritingEnv(work, tool, whole=False), [tool], max_tool_uses=None)
    env.reset(seed=0)
    results: list[Any] = []
    ns = timed(env.step, work.chunks, results)
    return Episode(ns, results[-1][1], len(tool.called), sum(bool(result[0]) for result in results))


def document(work: Work) -> Episode:
    tool = PictureTool(work.seconds)
    env = WritingEnv(work, tool, whole=True)
    env.reset(seed=0)
    results: list[Any] = []
    ns = timed(env.step, [work.document], results)
    return Episode(ns, results[-1][1], len(tool.called), results[-1][0].count("[picture"))


if __name__ == "__main__":
    serve("gem-llm", version("gem-llm"), chunk, document)
