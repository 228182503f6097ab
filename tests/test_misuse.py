"""What users did to single environments in a review, and what must come of it."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from llmi_env import END, Call, Document, LLMIEnv, ParamSpec, StopReason, Task, ToolSpec
from llmi_env.actions import CallActions
from llmi_env.calls import BUILTIN
from llmi_env.document import Picture, Provenance
from llmi_env.episode import Episode
from llmi_env.errors import ConcurrentUse, ConfigError, TaskError
from llmi_env.rewards import HybridReward, RewardTerm
from llmi_env.testing import SimulatedJudge, SimulatedTool, simulated_config
from llmi_env.tools.base import ToolContext
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored
from tests.streams import SEARCH

TERMS = HybridReward.preset("llmi").judged_terms


def make(**options: Any) -> LLMIEnv:
    options = {"world": "in_process", "services": simulated_config(), "tasks": [Task("Owls?", id="owls")], **options}
    env = gym.make("LLMI-v0", config="rules", **{"action_mode": "document", "reward": "llmi", **options}).unwrapped
    assert isinstance(env, LLMIEnv)
    return env


class Judge:
    """A judge that does what a function says."""

    terms = TERMS

    def __init__(self, does: Any) -> None:
        self._does = does

    async def __call__(self, document: Document, task: Task) -> Judgments:
        found: Judgments = await self._does() if asyncio.iscoroutinefunction(self._does) else self._does()
        return found

    async def aclose(self) -> None:
        pass


class Tool:
    """A search tool that does what a function says."""

    spec = BUILTIN["search"]

    def __init__(self, does: Any) -> None:
        self._does = does

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        made: Picture = await self._does() if asyncio.iscoroutinefunction(self._does) else self._does()
        return made

    async def aclose(self) -> None:
        pass


def _raise(error: BaseException) -> Any:
    raise error


async def _never() -> Any:
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            pass


BAD = [
    (lambda: None, "NoneType"),
    (lambda: [1], "list"),
    (lambda: dict.fromkeys(TERMS, 3.0), "float"),
    (lambda: _raise(SystemExit(3)), "SystemExit"),
    (lambda: _raise(KeyboardInterrupt()), "KeyboardInterrupt"),
    (lambda: _raise(asyncio.CancelledError()), "CancelledError"),
]


@pytest.mark.parametrize(("does", "said"), BAD, ids=[said for _, said in BAD])
def test_rubbish_of_a_judge_is_no_score(does: Any, said: str) -> None:
    env = make(judges=[Judge(does)])
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step("Owls.")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert said in " ".join(info["unscored"])
    env.reset(seed=0)  # everything goes on


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_tool_cannot_end_the_process_or_hang_it(error: BaseException) -> None:
    env = make(tools=[Tool(lambda: _raise(error))], services=simulated_config(attempts=1))
    env.reset(seed=0)
    failure = env.step(SEARCH)[4]["document"].figures[0].failure
    assert failure is not None
    assert (failure.kind, failure.fault) == ("unavailable", "world")


def test_scores_of_numpy_are_scores() -> None:
    env = make(judges=[Judge(lambda: dict.fromkeys(TERMS, Scored(np.float32(3.0))))])  # type: ignore[arg-type]
    env.reset(seed=0)
    assert env.step("Owls.")[4]["report"].terms["text_quality"].raw == 3.0


def test_a_deadline_holds_for_work_that_will_not_end() -> None:
    services = simulated_config(deadline=0.2, judge_deadline=0.2, attempts=1)
    env = make(tools=[Tool(_never)], judges=[Judge(_never)], services=services)
    env.reset(seed=0)
    start = time.monotonic()
    info = env.step(SEARCH)[4]
    assert time.monotonic() - start < 2.5
    assert info["document"].figures[0].failure.kind == "timeout"
    assert any("did not answer" in reason for reason in info["unscored"])


@pytest.mark.parametrize("options", [{"x": 1}, {"task": "nope"}, {"task": 3}], ids=str)
def test_a_bad_option_leaves_the_document_as_it_is(options: dict[str, Any]) -> None:
    env = make(action_mode="chunk")
    env.reset(seed=5)
    env.step("hello")
    with pytest.raises((ConfigError, TaskError)):
        env.reset(seed=1, options=options)
    assert env.step(END)[4]["document"].text == "hello"


@pytest.mark.parametrize("reason", ["stops", 3, None, StopReason.ABORTED], ids=repr)
def test_what_no_document_is_cut_for(reason: Any) -> None:
    env = make(action_mode="chunk")
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="StopReason"):
        env.cut(reason)
    env.step("x")
    assert env.cut("steps")[4]["stop"] == "steps"  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [None, {}, 3], ids=repr)
def test_what_is_no_state(state: Any) -> None:
    with pytest.raises(ConfigError, match="state"):
        make().restore(state)


@pytest.mark.parametrize(
    "options",
    [
        {"tools": [SimulatedTool("search"), SimulatedTool("search")]},
        {"tools": {"foo": SimulatedTool("search")}},
        {"tools": SimulatedTool("search")},
        {"judges": SimulatedJudge()},
        {"reward_terms": 3},
        {"reward_terms": [RewardTerm("a", lambda d, t: 1.0, 0.1), RewardTerm("a", lambda d, t: 0.0, 0.2)]},
        {"services": simulated_config().model_copy(update={"judges": []})},
    ],
    ids=["twice", "other name", "no list", "no list of judges", "no list of terms", "terms twice", "no judge"],
)
def test_what_would_silently_be_something_else(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make(**options)


def test_pictures_that_do_not_fit_are_told() -> None:
    big = Tool(lambda: Picture(Image.new("RGB", (400, 400)), Provenance("big")))
    env = make(tools=[big], feedback="image", limits={"picture_kib": 600, "picture_side": 400})
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"raise limits\.picture_kib"):
        env.step(SEARCH + SEARCH.replace("an owl", "another"))


class TestCallMode:
    def actions(self, *params: ParamSpec, name: str = "draw") -> CallActions:
        return CallActions({name: ToolSpec(name, "draws", params)}, 1000, 8)

    def test_integers_of_ones_own_tools_are_not_pictures(self) -> None:
        actions = self.actions(ParamSpec("width", int, "pixels"), ParamSpec("img_index", int, "which"))
        call = Call("draw", "a", {"width": -512, "img_index": 3})
        assert actions.check(actions.of(call)) == call
        assert actions.of(call) in actions.space

    @pytest.mark.parametrize("name", ["text", "end"])
    def test_names_that_mean_something_else(self, name: str) -> None:
        with pytest.raises(ConfigError, match="'text' or 'end'"):
            self.actions(name=name)
        with pytest.raises(ConfigError, match="description"):
            self.actions(ParamSpec("description", str, "what"))

    def test_text_may_end_the_document(self) -> None:
        actions, episode = self.actions(), Episode(Task("Owls?"))
        actions.write(actions.check(actions.of("Owls." + END)), episode, None)
        assert episode.stop is StopReason.END
        assert episode.document.text == "Owls."


class _Interrupt(BaseException):
    """As a Ctrl-C, and nobody else's."""


def test_a_ctrl_c_leaves_nothing_locked() -> None:
    """Signals at any moment of a busy loop; the environment can be reset and closed afterwards."""
    env = make(action_mode="token", tokenizer="byte")
    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise _Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(300):
            env.reset(seed=0)
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 0.0004 + number * 3e-6)
                while True:
                    env.step(65)
            except _Interrupt:
                pass
    finally:
        signal.signal(signal.SIGALRM, before)
    env.close()


def test_a_callback_that_uses_the_environment_is_refused() -> None:
    found: list[BaseException] = []

    def meddle(document: Document, task: Task) -> float:
        try:
            env.reset()
        except ConcurrentUse as error:
            found.append(error)
        return 1.0

    env = make(reward="rules", reward_terms=[RewardTerm("meddle", meddle, 0.5)])
    env.reset(seed=0)
    env.step("Owls.")
    assert "reward term" in str(found[0])


def test_the_portal_starts_again_when_its_thread_is_gone() -> None:
    from llmi_env.world.portal import Portal

    async def answer() -> int:
        return 42

    portal = Portal()
    assert portal.call(answer()) == 42
    thread, loop = portal._thread, portal._loop
    assert thread is not None
    assert loop is not None
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    assert portal.call(answer()) == 42
    portal.close()
    assert threading.active_count() < 50


def test_other_worlds_keep_their_own_judges() -> None:
    # Whether a World elsewhere has judges is not known here: it is not refused.
    assert make(world=InProcessWorld({}, [SimulatedJudge()]), services=simulated_config(tools={})).reset(seed=0)
