from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st

from llmi_env import END, LLMIEnv, Task
from llmi_env.errors import ConfigError, EpisodeOver
from llmi_env.testing import simulated_world
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer
from llmi_env.world.in_process import InProcessWorld
from tests.streams import DIFFUSION, SEARCH, edit

TEXT = f"Owls 日本 {SEARCH} hunt <think>hm</think>. {edit(0)}{DIFFUSION} The end 😀."
Copied = Callable[[Any], Any]
WAYS = pytest.mark.parametrize(
    "copied", [lambda state: state, lambda s: pickle.loads(pickle.dumps(s))], ids=["kept", "pickled"]
)


def make(mode: str = "token", feedback: str = "text", **options: Any) -> LLMIEnv:
    tasks = [Task(f"Question {number}?", id=f"q{number}") for number in range(5)]
    options = {"world": simulated_world(), "reward": "llmi", "tokenizer": ByteTokenizer(), **options}
    env = gym.make("LLMI-v0", config="rules", tasks=tasks, action_mode=mode, feedback=feedback, **options).unwrapped
    assert isinstance(env, LLMIEnv)
    return env


def go_on(env: LLMIEnv, actions: list[Any]) -> list[Any]:
    """The rest of the document, and the beginning of the next."""
    return [*(env.step(action) for action in actions), env.reset()]


@WAYS
@pytest.mark.parametrize("cut", [0, 7, 12, 60, 95, 140, 260])
def test_what_follows_is_the_same_each_time(copied: Copied, cut: int) -> None:
    env = make()
    actions = [*ByteTokenizer().encode(TEXT), 256]
    env.reset(seed=2)
    for action in actions[:cut]:
        env.step(action)
    state = copied(env.state())
    first = go_on(env, actions[cut:])
    for _ in range(2):
        env.restore(state)
        assert data_equivalence(go_on(env, actions[cut:]), first, exact=True)
    other = make()
    other.restore(state)
    assert data_equivalence(go_on(other, actions[cut:]), first, exact=True)


@pytest.mark.parametrize("mode", ["chunk", "call"])
def test_branches_do_not_touch_each_other(mode: str) -> None:
    env = make(mode)
    env.reset(seed=2)
    said = (lambda text: text) if mode == "chunk" else env.actions.of  # type: ignore[attr-defined]
    env.step(said("Owls"))
    state = env.state()
    ends = []
    for word in (" hunt", " sleep", " hunt"):
        env.restore(state)
        env.step(said(word))
        ends.append(env.step(said(END))[4]["document"].text)
    assert ends == ["Owls hunt", "Owls sleep", "Owls hunt"]
    assert state.episode is not None
    assert state.episode.document.text == "Owls"


def test_calls_in_flight_are_issued_again(make_world: Callable[..., InProcessWorld]) -> None:
    slow, quick = make_world(search={"latency": 0.2}), make_world()
    env = make("chunk", "none", world=slow)
    env.reset(seed=2)
    env.step(f"Owls {SEARCH}")
    state = pickle.loads(pickle.dumps(env.state()))
    other = make("chunk", "none", world=quick)
    other.restore(state)
    ends = [one.step(edit(0) + END) for one in (other, env)]
    assert data_equivalence(ends[0], ends[1], exact=True)
    assert len(ends[0][4]["document"].pictures) == 2


def test_a_hugging_face_tokenizer_in_mid_character(bpe: Any) -> None:
    tokenizer = HFTokenizer(bpe)
    env = make(tokenizer=tokenizer)
    ids = [*tokenizer.encode("日本語の 😀 owl"), min(tokenizer.eos_ids)]
    env.reset(seed=2)
    for cut in range(1, len(ids)):
        env.step(ids[cut - 1])
        state = env.state()
        stored = pickle.loads(pickle.dumps(state))
        for one in (state, stored):
            env.restore(one)
            for token in ids[cut:-1]:
                env.step(token)
            assert env.step(ids[-1])[4]["document"].text == "日本語の 😀 owl"
        env.restore(state)
    assert len(pickle.dumps(state)) < 50_000  # the vocabulary is not in it


def test_before_the_first_reset_and_after_the_end() -> None:
    env = make("chunk")
    state = env.state()
    env.reset(seed=1)
    env.restore(state)
    with pytest.raises(EpisodeOver, match="call reset first"):
        env.step("a")
    env.reset(seed=1)
    env.step("Owls." + END)
    state = env.state()
    env.reset()
    env.restore(state)
    with pytest.raises(EpisodeOver, match="has ended"):
        env.step("a")
    assert env.episode is not None
    assert env.episode.document.text == "Owls."


def test_an_epoch_goes_on_where_it_was() -> None:
    env = make("chunk", order="shuffled")
    env.reset()
    state = env.state()
    following = [env.reset()[1]["task_id"] for _ in range(6)]
    env.restore(state)
    assert [env.reset()[1]["task_id"] for _ in range(6)] == following


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "chunk"}, "action_mode"),
        ({"feedback": "none"}, "feedback"),
        ({"limits": {"calls": 3}}, "limits"),
        ({"reward": "rules"}, "reward"),
    ],
    ids=str,
)
def test_the_state_of_another_environment(options: dict[str, Any], said: str) -> None:
    env, other = make(), make(**options)
    env.reset()
    other.reset(seed=4)
    with pytest.raises(ConfigError, match=said):
        other.restore(env.state())
    assert other.episode is not None
    assert other.episode.stop is None


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_a_walk_with_random_returns(seed: int) -> None:
    dice = random.Random(seed)
    ids = [*ByteTokenizer().encode(TEXT), 256]
    env, states, steps = make(feedback="none"), [], []
    env.reset(seed=1)
    at = 0
    while at < len(ids):
        if dice.random() < 0.05:
            states.append((at, env.state()))
        if states and dice.random() < 0.02 and len(steps) < 2000:
            at, state = dice.choice(states)
            env.restore(state)
        result = env.step(ids[at])
        steps.append(at)
        at += 1
    straight = make(feedback="none")
    straight.reset(seed=1)
    for token in ids:
        wanted = straight.step(token)
    assert data_equivalence(result, wanted, exact=True)
    assert env.transcript is not None
    assert straight.transcript is not None
    assert env.transcript.ledger.ids == straight.transcript.ledger.ids
    assert np.array_equal(env.np_random.integers(100, size=4), straight.np_random.integers(100, size=4))
