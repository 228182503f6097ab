"""The same actions give the same trajectories in every mode, vectorisation, autoreset mode and feedback, byte for byte.

Each environment writes its own documents one after the other; what comes back is sorted into episodes, which have to be those of a single
environment that is reset by hand. The matrix of what was compared is printed at the end of the run (see `conftest.py`).
"""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv

from llmi_env import END, LLMIEnv, Task, parse_call
from llmi_env.actions import CallActions
from llmi_env.testing import simulated_config
from llmi_env.tokenizers import ByteTokenizer
from tests.streams import DIFFUSION, SEARCH

TASKS = [Task("Owls?", id="owls"), Task("Bees?", id="bees"), Task("Ants?", id="ants")]
DOCUMENTS = (  # of each environment, in turn
    (("Owl ", SEARCH, "日"), ("", DIFFUSION, "")),
    (("Bee", "<imgen>oops</imgen>", ""), ("b", SEARCH, ".")),
)
FEEDBACK = ("none", "text", "image")
MODES = ("token", "chunk", "call", "document")
Episode = list[tuple[Any, ...]]


def make(mode: str, feedback: str) -> LLMIEnv:
    env = gym.make(
        "LLMI-v0",
        config="rules",
        tasks=TASKS,
        world="in_process",
        services=simulated_config(tools={name: {"size": 8} for name in ("search", "diffusion")}),
        reward="llmi",
        action_mode=mode,
        feedback=feedback,
        prompt="compact",
        tokenizer="byte",
        disable_env_checker=True,
        limits={"observation_kib": 16, "picture_kib": 64},
    )
    assert isinstance(env.unwrapped, LLMIEnv)
    return env.unwrapped


def actions(env: LLMIEnv, document: tuple[str, str, str]) -> list[Any]:
    """A document in the actions of a mode; two chunks cut a tag."""
    mode, text = env.config.action_mode, "".join(document)
    if mode == "token":
        return [*ByteTokenizer().encode(text), ByteTokenizer.eos_id]
    if mode == "chunk":
        return [text[:9], text[9:], END]
    if mode == "document":
        return [text]
    assert isinstance(env.actions, CallActions)
    before, call, after = document
    body = call.removeprefix("<imgen>").removesuffix("</imgen>")
    made = call if "oops" in call else parse_call(body)
    return [env.actions.of(part) for part in (before, made, after, END)]


def single(mode: str, feedback: str, which: int) -> list[Episode]:
    """Episodes of one environment, reset by hand."""
    env, episodes = make(mode, feedback), []
    for number, document in enumerate(DOCUMENTS[which]):
        episode: Episode = [env.reset(seed=3 + which if number == 0 else None)]
        episode += [env.step(action) for action in actions(env, document)]
        episodes.append(episode)
    env.close()
    return episodes


def one_of(infos: dict[str, Any], i: int) -> dict[str, Any]:
    """The info of one environment out of those of all."""
    found = {}
    for name, values in infos.items():
        if not name.startswith("_") and infos.get(f"_{name}", np.ones(99, bool))[i]:
            found[name] = one_of(values, i) if isinstance(values, dict) else values[i]
    return found


def many(envs: VectorEnv[Any, Any, Any], autoreset: AutoresetMode, mode: str) -> list[list[Episode]]:
    """Episodes of each environment of a vector environment, whatever its autoreset mode."""
    n, writer = envs.num_envs, make(mode, "none")
    scripts = [[actions(writer, document) for document in DOCUMENTS[i]] for i in range(n)]
    filler = actions(writer, ("x", SEARCH, ""))[0]
    observations, infos = envs.reset(seed=3)

    def observation(i: int) -> dict[str, Any]:
        return copy.deepcopy({name: values[i] for name, values in observations.items()})

    episodes = [[[(observation(i), one_of(infos, i))]] for i in range(n)]
    at = [0] * n
    resets = [False] * n
    while any(len(episodes[i]) + resets[i] <= len(scripts[i]) for i in range(n)):
        if autoreset is AutoresetMode.DISABLED and any(resets):
            observations, infos = envs.reset(options={"reset_mask": np.array(resets)})
            for i in np.flatnonzero(resets).tolist():
                episodes[i].append([(observation(i), one_of(infos, i))])
            at, resets = [0 if reset else place for reset, place in zip(resets, at, strict=True)], [False] * n
        chosen = []
        for i in range(n):
            script = scripts[i][len(episodes[i]) - 1] if len(episodes[i]) <= len(scripts[i]) else [filler] * 10**4
            chosen.append(filler if resets[i] else script[at[i]])
        observations, reward, terminated, truncated, infos = envs.step(
            np.array(chosen) if mode == "token" else tuple(chosen)
        )
        for i in range(n):
            info = one_of(infos, i)
            if resets[i]:  # the step after the end begins the next episode
                assert reward[i] == 0
                assert not terminated[i]
                episodes[i].append([(observation(i), info)])
                at[i], resets[i] = 0, False
                continue
            ended = bool(terminated[i] or truncated[i])
            seen = observation(i)
            if ended and autoreset is AutoresetMode.SAME_STEP:
                last = info.pop("final_obs"), info.pop("final_info")
                episodes[i][-1].append((last[0], reward[i], terminated[i], truncated[i], last[1]))
                episodes[i].append([(seen, info)])
                at[i] = 0
                continue
            episodes[i][-1].append((seen, reward[i], terminated[i], truncated[i], info))
            at[i], resets[i] = at[i] + 1, ended
    envs.close()
    writer.close()
    return episodes


def ours(mode: str, feedback: str, autoreset: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    one = make(mode, feedback)
    return gym.make_vec("LLMI-v0", num_envs=2, autoreset_mode=autoreset, config=one.setting)


def sync(mode: str, feedback: str, autoreset: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    return gym.vector.SyncVectorEnv([lambda: make(mode, feedback)] * 2, autoreset_mode=autoreset)


def processes(shared_memory: bool) -> Callable[[str, str, AutoresetMode], VectorEnv[Any, Any, Any]]:
    def made(mode: str, feedback: str, autoreset: AutoresetMode) -> VectorEnv[Any, Any, Any]:
        return gym.vector.AsyncVectorEnv(
            [lambda: make(mode, feedback)] * 2, context="fork", shared_memory=shared_memory, autoreset_mode=autoreset
        )

    return made


HAS_FORK = "fork" in multiprocessing.get_all_start_methods()
_async = pytest.mark.skipif(not HAS_FORK, reason="this system cannot fork")
KINDS = [
    pytest.param("LLMIVectorEnv", ours, id="ours"),
    pytest.param("Sync", sync, id="sync"),
    pytest.param("Async shared memory", processes(True), marks=_async, id="async-shared"),
    pytest.param("Async pipes", processes(False), marks=_async, id="async-pipes"),
]


@pytest.fixture(scope="module")
def references() -> Callable[[str, str], list[list[Episode]]]:
    known: dict[tuple[str, str], list[list[Episode]]] = {}

    def reference(mode: str, feedback: str) -> list[list[Episode]]:
        if (mode, feedback) not in known:
            known[mode, feedback] = [single(mode, feedback, which) for which in range(2)]
        return known[mode, feedback]

    return reference


@pytest.mark.parametrize(("kind", "vectorised"), KINDS)
@pytest.mark.parametrize("autoreset", list(AutoresetMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("feedback", FEEDBACK)
@pytest.mark.parametrize("mode", MODES)
def test_trajectories(
    references: Callable[[str, str], list[list[Episode]]],
    record_property: Callable[[str, object], None],
    mode: str,
    feedback: str,
    autoreset: AutoresetMode,
    kind: str,
    vectorised: Callable[[str, str, AutoresetMode], VectorEnv[Any, Any, Any]],
) -> None:
    record_property("conformance", (kind, autoreset.value, mode, feedback))
    wanted = references(mode, feedback)
    found = many(vectorised(mode, feedback, autoreset), autoreset, mode)
    for i in range(2):
        assert len(found[i]) >= len(wanted[i])
        for mine, theirs in zip(found[i], wanted[i], strict=False):
            assert len(mine) == len(theirs)
            for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
                assert a[-1].keys() == b[-1].keys(), (i, number)
                assert data_equivalence(_plain(a[:-1]), _plain(b[:-1]), exact=True), (i, number)
                assert all(a[-1][name] == b[-1][name] for name in b[-1]), (i, number)
        assert found[i][0][-1][1] > 0  # a real reward


def _plain(step: tuple[Any, ...]) -> tuple[Any, ...]:
    """Python's numbers for those that vector environments give in NumPy's."""
    observation, *rest = step
    return ({**observation, "event": int(observation["event"])}, *(float(value) for value in rest))
