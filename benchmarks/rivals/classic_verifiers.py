"""The work in verifiers: a `MultiTurnEnv` with a `Rubric`, played by the library's own rollout with a scripted client.

A step is what the policy's side waits for: from the moment that the client has answered until it is asked again, and at the end until the
rollout is scored. No server and no model: the client hands out the next piece of the work.
"""

from __future__ import annotations

import asyncio
import json
import logging
from importlib.metadata import version
from time import perf_counter_ns
from typing import Any

import verifiers as vf
from datasets import Dataset
from verifiers.clients import Client
from verifiers.types import Messages, Response, ResponseMessage, State
from work import CALL, END, Episode, Work, picture, rule_reward, serve

logging.disable(logging.INFO)


class Script(Client):
    """Says what the work says, and notes when it is asked and when it has answered."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(None)
        self._replies = [
            Response(
                id=str(turn), created=0, model="script",
                message=ResponseMessage(content=text, finish_reason="stop", is_truncated=False),
            )
            for turn, text in enumerate(texts)
        ]  # fmt: skip
        self.asked: list[int] = []
        self.answered: list[int] = []

    async def get_response(self, prompt: Messages, model: str, *args: Any, **kwargs: Any) -> Response:
        self.asked.append(perf_counter_ns())
        reply = self._replies[len(self.asked) - 1]
        self.answered.append(perf_counter_ns())
        return reply

    def setup_client(self, config: Any) -> None:
        return None

    async def to_native_tool(self, tool: Any) -> Any:
        return tool

    async def to_native_prompt(self, messages: Messages) -> tuple[Any, dict[str, Any]]:
        return messages, {}

    async def get_native_response(self, *args: Any, **kwargs: Any) -> Any:
        return None

    async def raise_from_native_response(self, response: Any) -> None:
        return None

    async def from_native_response(self, response: Any) -> Any:
        return response

    async def close(self) -> None:
        return None


class WritingEnv(vf.MultiTurnEnv):
    """A document in turns, or in one."""

    def __init__(self, work: Work, whole: bool) -> None:
        self.work, self.whole = work, whole
        rows = Dataset.from_list([{"prompt": [{"role": "user", "content": work.question}], "answer": ""}])
        super().__init__(dataset=rows, rubric=vf.Rubric(funcs=[self.rules]), max_turns=-1)

    async def setup_state(self, state: State) -> State:
        state["called"], state["shown"] = [], 0
        return state

    @vf.stop
    async def written(self, state: State) -> bool:
        return bool(state["trajectory"]) and not self.whole and _text(state).endswith(END)

    async def env_response(self, messages: Messages, state: State, **kwargs: Any) -> Messages:
        shown = ""
        for found in CALL.finditer(str(messages[-1].content)):
            try:
                call = json.loads(found[1])
                if call["source"] != "search":
                    raise ValueError(f"no tool {call['source']!r}")
                if self.work.seconds:
                    await asyncio.sleep(self.work.seconds)
                shown += f"\n[picture {len(state['called'])}: {picture(call['description'])}]\n"
                state["called"].append(call["source"])
            except (ValueError, KeyError) as error:
                shown += f"\n[failed: {error}]\n"
        state["shown"] += shown.count("[picture")
        answer: Messages = [vf.UserMessage(content=shown)] if shown else []
        if self.whole:
            state["final_env_response"] = answer or [vf.UserMessage(content="")]
        return answer

    async def rules(self, state: State) -> float:
        called = state["called"]
        return rule_reward(called, len(called), self.work.pictures)


def _text(state: State) -> str:
    return str(state["trajectory"][-1]["completion"][-1].content)


async def _rollout(env: WritingEnv, script: Script) -> Episode:
    state = await env.rollout(dict(env.get_dataset()[0]), script, "script", {})
    await env.rubric.score_rollout(state)
    asked = [*script.asked[1:], perf_counter_ns()]
    ns = [after - before for before, after in zip(script.answered, asked, strict=True)]
    return Episode(ns, state["reward"], len(state["called"]), state["shown"])


class Side:
    """The environments, and the event loop that they are played on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._envs: dict[tuple[bool, float], WritingEnv] = {}

    def _play(self, work: Work, whole: bool) -> Episode:
        key = whole, work.seconds
        if key not in self._envs:
            self._envs[key] = WritingEnv(work, whole)
        env = self._envs[key]
        script = Script([work.document] if whole else list(work.chunks))
        return self._loop.run_until_complete(_rollout(env, script))

    def chunk(self, work: Work) -> Episode:
        return self._play(work, whole=False)

    def document(self, work: Work) -> Episode:
        return self._play(work, whole=True)


if __name__ == "__main__":
    side = Side()
    serve("verifiers", version("verifiers"), side.chunk, side.document)
