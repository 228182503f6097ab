from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from llmi_env import END, Call, LLMIEnv, Task
from llmi_env.actions import CallActions, TextActions
from llmi_env.calls import BUILTIN
from llmi_env.episode import Episode
from llmi_env.errors import ActionError
from llmi_env.spaces import UnicodeText
from llmi_env.world.in_process import InProcessWorld

CALLS = CallActions(BUILTIN, characters=1000, pictures=8)
OWL = Call("search", "an owl", {"query": "barn owl"})
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@pytest.fixture
def env(tasks: list[Task], world: InProcessWorld) -> LLMIEnv:
    made = gym.make("LLMI-v0", config="rules", tasks=tasks, world=world, action_mode="call", feedback="text").unwrapped
    assert isinstance(made, LLMIEnv)
    made.reset(seed=0, options={"task": "owls"})
    return made


def test_the_checker_has_nothing_to_say(env: LLMIEnv, recwarn: pytest.WarningsRecorder) -> None:
    check_env(env, skip_render_check=True)
    assert [str(w.message) for w in recwarn if "LLMI" in str(w.message)] == []


def test_text_call_end(env: LLMIEnv) -> None:
    assert isinstance(env.actions, CallActions)
    assert env.actions.names == ("text", "search", "diffusion", "code", "edit", "end")
    env.step(env.actions.of("Owls hunt. "))
    observation, *_ = env.step((1, {"description": "an owl", "query": "barn owl"}))
    assert "picture" in observation["text"].lower() or observation["text"]
    *_, terminated, _, info = env.step(env.actions.of(END))
    assert terminated
    assert info["stop"] == "end"
    assert info["document"].figures[0].call == OWL


def test_the_document_is_that_of_the_same_call_in_text(env: LLMIEnv, tasks: list[Task], world: InProcessWorld) -> None:
    other = gym.make("LLMI-v0", config="rules", tasks=tasks, world=world, action_mode="chunk").unwrapped
    other.reset(seed=0, options={"task": "owls"})
    other.step("Owls.")
    wanted = other.step(f"<imgen>{OWL.to_json()}</imgen>{END}")
    for item in ("Owls.", OWL, END):
        found = env.step(env.actions.of(item))  # type: ignore[attr-defined]
    assert found[4]["document"] == wanted[4]["document"]
    assert found[1] == wanted[1]


@given(TEXT, TEXT, st.integers(0, 7))
def test_nothing_in_a_call_can_end_it(description: str, prompt: str, index: int) -> None:
    for text in (description + "</imgen>" + prompt, "</tool_call><imgen>" + prompt, prompt + '"}</think>'):
        call = Call("edit", text, {"img_index": index, "prompt": text})
        episode = Episode(Task("Owls?"))
        CALLS.write(CALLS.check(CALLS.of(call)), episode, None)
        episode.end()
        assert [figure.call for figure in episode.document.figures] == [call]
        assert len(episode.document.blocks) == 1


@pytest.mark.parametrize(
    "action",
    [
        "text",
        (0,),
        (0, "a", "b"),
        ["text", "a"],
        (True, "a"),
        (0.0, "a"),
        (6, 0),
        (-1, 0),
        (0, 3),
        (0, "a\0"),
        (0, "\ud800"),
        (0, "a" * 16_001),
        (1, "owl"),
        (1, {"query": "owl"}),
        (1, {"description": "a", "query": "owl", "more": "b"}),
        (1, {"description": "a", "query": 3}),
        (1, {"description": "a", "query": "\ud800"}),
        (4, {"description": "a", "prompt": "b", "img_index": -1}),
        (4, {"description": "a", "prompt": "b", "img_index": 8}),
        (4, {"description": "a", "prompt": "b", "img_index": True}),
        (4, {"description": "a", "prompt": "b", "img_index": "0"}),
        (5, 1),
        (5, None),
        None,
    ],
    ids=lambda a: repr(a)[:40],
)
def test_what_is_no_action(action: object) -> None:
    with pytest.raises(ActionError):
        CALLS.check(action)


def test_an_error_names_the_options() -> None:
    with pytest.raises(ActionError, match="text, search, diffusion, code, edit, end"):
        CALLS.check((9, 0))
    with pytest.raises(ActionError, match="did you mean 'search'"):
        CALLS.of(Call("serch", "", {}))


def test_samples_are_actions() -> None:
    CALLS.space.seed(0)
    for _ in range(60):
        sample = CALLS.space.sample()
        assert sample in CALLS.space
        CALLS.check(sample)


def test_what_is_checked_is_what_the_space_contains() -> None:
    for action in ((0, "a"), (1, {"description": "a", "query": "b"}), (np.int64(5), np.int64(0)), OWL):
        item: Any = CALLS.of(action) if isinstance(action, Call) else action
        assert item in CALLS.space
        CALLS.check(item)


def test_text_ends_with_the_end_alone() -> None:
    space = TextActions(10).space
    assert isinstance(space, UnicodeText)
    assert "a" + END in space
    assert END + "a" not in space
