"""The work in skyrl-gym: a `BaseTextEnv` with a tool group, laid out as the library's own search environment."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
from skyrl_gym.tools.core import ToolGroup, tool
from work import CALL, END, Episode, Work, picture, rule_reward, serve, timed


class PictureTools(ToolGroup):
    """One tool."""

    def __init__(self, seconds: float) -> None:
        super().__init__(name="pictures")
        self.seconds = seconds

    @tool
    def search(self, description: str) -> str:
        return picture(description, self.seconds)


class WritingEnv(BaseTextEnv):
    """A document in turns, or in one."""

    def __init__(self, work: Work, whole: bool) -> None:
        super().__init__()
        self.work, self.whole = work, whole
        self.max_turns = len(work.chunks) + 1
        self.init_tool_groups([PictureTools(work.seconds)])
        self.chat_history: list[dict[str, str]] = []
        self.called: list[str] = []

    def _run(self, body: str) -> str:
        call = json.loads(body)
        shown = self._execute_tool(self.tool_to_toolgroup[call["source"]], call["source"], [call["description"]])
        self.called.append(call["source"])
        return f"\n[picture {len(self.called) - 1}: {shown}]\n"

    def step(self, action: str) -> BaseTextEnvStepOutput:
        self.turns += 1
        self.chat_history.append({"role": "assistant", "content": action})
        bodies = CALL.findall(action) if "<imgen>" in action and "</imgen>" in action else []
        try:
            shown = "".join(map(self._run, bodies))
        except (ValueError, KeyError) as error:
            shown = f"\n[failed: {error}]\n"
        observations = [{"role": "user", "content": shown}] if shown else []
        self.chat_history.extend(observations)
        done = self.whole or action.endswith(END) or self.turns >= self.max_turns
        reward = rule_reward(self.called, len(self.called), self.work.pictures) if done else 0.0
        return BaseTextEnvStepOutput(observations=observations, reward=reward, done=done, metadata={})


def _play(work: Work, whole: bool) -> Episode:
    env = WritingEnv(work, whole)
    env.init([{"role": "user", "content": work.question}])
    results: list[Any] = []
    ns = timed(env.step, [work.document] if whole else work.chunks, results)
    observed = sum(message["content"].count("[picture") for result in results for message in result["observations"])
    return Episode(ns, results[-1]["reward"], len(env.called), observed)


def chunk(work: Work) -> Episode:
    return _play(work, whole=False)


def document(work: Work) -> Episode:
    return _play(work, whole=True)


if __name__ == "__main__":
    serve("skyrl-gym", version("skyrl-gym"), chunk, document)
