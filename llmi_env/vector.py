"""Many documents at a time: `gym.make_vec("LLMI-v0", num_envs=N)`.

All environments live in this thread and share one World. A step writes every action before it waits for any answer, so that tools and judges
work for all of them at once; no process and no thread is started for it, and the models are loaded once. What comes back is what Gymnasium's
`SyncVectorEnv` gives, trajectories, rewards and infos included, in all three autoreset modes.

`send` and `recv` do without the common step: whoever is ready goes on, and the slowest environment holds nobody up::

    envs.reset(seed=0)
    envs.send(actions)
    while training:
        observations, rewards, terminated, truncated, infos = envs.recv(min_envs=8)
        envs.send(policy(observations), infos["env_id"])
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from llmi_env import batch_options as batch
from llmi_env.batch_options import Bools
from llmi_env.config import EnvConfig
from llmi_env.env import LLMIEnv, StepResult
from llmi_env.errors import (
    ActionError,
    ConcurrentUse,
    ConfigError,
    EpisodeOver,
    TaskError,
    UnscoredEpisode,
    WorldError,
    did_you_mean,
)
from llmi_env.observing import Observation
from llmi_env.setting import Setting
from llmi_env.task_order import GroupOrder
from llmi_env.turn import Turn
from llmi_env.world.protocol import Judgments

T = TypeVar("T")
Floats = npt.NDArray[np.float64]
Batch = tuple[dict[str, Any], Floats, Bools, Bools, dict[str, Any]]


class LLMIVectorEnv(VectorEnv[dict[str, Any], Any, Any]):
    """Environments that share one World.

    Observations are batched as Gymnasium does it: `text`, `tokens` and `images` are tuples with one value for each environment, `event` is an
    int64 array of shape (num_envs,). Actions are an integer array of shape (num_envs,) in the mode `token`, else a sequence of `num_envs`
    actions. With `group_size=G`, environments 0 to G-1 get the same task, the next G another one, and so on; infos say which `group`.

    With the orders `shuffled` and `sequential`, the environments (or groups) share out each epoch among themselves.

    Args:
        num_envs: how many.
        config: as for `LLMIEnv`.
        autoreset_mode: `NextStep`, `SameStep` or `Disabled`, as the enum or its value.
        group_size: environments with the same task; divides `num_envs`.
        render_mode: of each environment.
        **options: as for `LLMIEnv`.

    Raises:
        ConfigError: an option, preset or value that does not exist.
    """

    def __init__(
        self,
        num_envs: int = 1,
        config: str | Path | Mapping[str, Any] | EnvConfig | Setting = "offline",
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        group_size: int = 1,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ConfigError(f"num_envs is a number of 1 or more, not {num_envs!r}")
        if isinstance(group_size, bool) or not isinstance(group_size, int) or group_size < 1 or num_envs % group_size:
            raise ConfigError(f"group_size divides num_envs: {num_envs} environments are no groups of {group_size!r}")
        setting = config if isinstance(config, Setting) else Setting.of(config, **options)
        if setting is config and options:
            raise ConfigError("a Setting has every option already; change it where it is made")
        self.setting = setting
        self.num_envs, self.group_size, self.render_mode = num_envs, group_size, render_mode
        self.autoreset_mode = batch.autoreset(autoreset_mode)
        self.envs = [LLMIEnv(setting, render_mode=render_mode) for _ in range(num_envs)]
        self._groups = self._share_out()
        self.metadata = {**LLMIEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space: spaces.Dict = self.envs[0].observation_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space = self.envs[0].action_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._turn = Turn()
        self._forget()
        self._begun = False

    def _share_out(self) -> list[GroupOrder]:
        count = self.num_envs // self.group_size
        if self.group_size == 1:
            for index, env in enumerate(self.envs):
                env.order = self.setting.order(index, count)
            return []
        groups = [GroupOrder(self.setting.order(index, count)) for index in range(count)]
        for index, env in enumerate(self.envs):
            env.order = groups[index // self.group_size].member()
        return groups

    def _forget(self) -> None:
        self._observations: list[Observation] = [{} for _ in self.envs]
        self._flights: dict[int, Future[Judgments]] = {}
        self._ready: queue.SimpleQueue[tuple[int, Future[Judgments]]] = queue.SimpleQueue()
        self._failed: dict[int, TaskError] = {}  # why an environment could not be reset in the step that ended it
        self._results: dict[int, StepResult] = {}  # of environments that are ready and were not received yet

    # ------------------------------------------------------------------------------------------------------------ gymnasium

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a document in every environment; calls and judgments in flight are cancelled.

        Args:
            seed: environment i is seeded `seed + i`; or one seed for each.
            options: `{"task": ...}`: a task or its id for all, or a sequence with one for each; `{"reset_mask": mask}`: a bool array of shape
                (num_envs,) that says which environments are reset.

        A group whose members are all reset gets one task again, wherever each of them was; members that are reset alone go on by themselves.

        Returns:
            Observations and infos of all environments; infos only of those that were reset.

        Raises:
            ConfigError: an unknown option, or seeds, tasks or a mask of another length.
        """
        with self._turn.take():
            left = dict(options or {})
            mask = batch.mask(left.pop("reset_mask", None), self.num_envs)
            tasks = batch.each("options['task']", left.pop("task", None), self.num_envs)
            chosen = np.flatnonzero(mask).tolist()
            if left:
                name = next(iter(left))
                raise ConfigError(f"reset has no option {name!r}{did_you_mean(str(name), ('task', 'reset_mask'))}")
            seeds = batch.seeds(seed, self.num_envs)
            if not self._begun and not mask.all():
                raise ConfigError("options['reset_mask']: the first reset is of all environments")
            named = {i: _in(i, self.envs[i].named_task, {"task": tasks[i]}) for i in chosen}
            self._restart_groups(seeds, mask)
            infos: dict[str, Any] = {}
            for i in chosen:
                self._drop(i)
                options_i = {} if named[i] is None else {"task": named[i]}
                self._observations[i], info = _in(i, self.envs[i].reset, seed=seeds[i], options=options_i)
                infos = self._add_info(infos, self._named(i, info), i)
            self._sweep()
            self._begun, self.closed = True, False
            return self._batch(range(self.num_envs)), infos

    def step(self, actions: Any) -> Batch:
        """Write one action in every environment, and wait for all of them.

        Raises:
            ActionError: a batch of another length, or an action outside of the action space; nothing has been written anywhere then.
            EpisodeOver: an environment has ended and was not reset (autoreset disabled).
            ConcurrentUse: an environment has an action in flight (from `send`), or another thread uses this one.
            UnscoredEpisode, WorldError: as in `LLMIEnv.step`, with the number of the environment. The others have been stepped: `recv` gives
                what came of it.
        """
        with self._turn.take():
            self._send(actions, range(self.num_envs))
            return self._receive(self.num_envs, None, named=False)

    def send(self, actions: Any, env_ids: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None) -> None:
        """Write one action in each of some environments, and wait for none.

        Args:
            actions: one for each.
            env_ids: of the environments; all of them by default.

        Raises:
            ActionError: another number of actions, an action outside of the action space, or an environment that does not exist or is named
                twice; nothing has been written anywhere then.
            ConcurrentUse: an environment has an action in flight already: `recv` it first.
        """
        with self._turn.take():
            self._send(actions, range(self.num_envs) if env_ids is None else batch.ids(env_ids, self.num_envs))

    def recv(self, min_envs: int = 1, timeout: float | None = None) -> Batch:
        """Wait until some environments are ready, and take all that are.

        Args:
            min_envs: how many at least.
            timeout: seconds to wait at most; nothing is lost when they are over.

        Returns:
            As `step`, for the environments in `info["env_id"]` (int64, ascending) alone.

        Raises:
            ConfigError: fewer environments than `min_envs` have an action in flight.
            TimeoutError: they were not ready in time.
        """
        with self._turn.take():
            return self._receive(min_envs, timeout, named=True)

    def render(self) -> tuple[Any, ...]:
        """What each environment renders."""
        return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or get an attribute of that name."""
        found = [env.get_wrapper_attr(name) for env in self.envs]
        return tuple(value(*args, **kwargs) if callable(value) else value for value in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of every environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every environment: a list or tuple has one value for each, anything else is for all."""
        each = batch.each(name, values, self.num_envs) if isinstance(values, list | tuple) else [values] * self.num_envs
        for env, value in zip(self.envs, each, strict=True):
            env.set_wrapper_attr(name, value)

    def close_extras(self, **kwargs: Any) -> None:
        """Cancel what is in flight and let the World go; `reset` opens it again."""
        if not hasattr(self, "_turn"):  # making it failed
            return
        with self._turn.take():
            for i, env in enumerate(self.envs):
                self._drop(i)
                env.close()
            self._sweep()

    @property  # type: ignore[misc]
    def np_random(self) -> Any:
        """The generator of each environment."""
        return self.get_attr("np_random")

    @property
    def np_random_seed(self) -> Any:
        """The seed of each environment."""
        return self.get_attr("np_random_seed")

    # ------------------------------------------------------------------------------------------------------------ sending

    def _send(self, actions: Any, ids: Sequence[int]) -> None:
        items = batch.items(actions, len(ids))
        busy = [i for i in ids if i in self._flights or i in self._results]
        if busy:
            raise ConcurrentUse(
                f"environments {busy[:8]} have an action in flight: recv them, or reset, before the next"
            )
        # In the mode SAME_STEP only those are still to be reset that ended otherwise than by a step, or could not be reset in it.
        resets = {i for i in ids if self.autoreset_mode != AutoresetMode.DISABLED and self.envs[i].ended}
        checked: list[Any] = []
        # The whole batch is checked before anything is written: a bad action leaves every environment as it was.
        for i, action in zip(ids, items, strict=True):
            checked.append(None if i in resets else _in(i, self.envs[i].check, action))
        failed: list[Exception] = []
        for i, action in zip(ids, checked, strict=True):
            try:
                _in(i, self._begin, i, action, i in resets)
            except Exception as error:
                failed.append(error)  # the others' actions are written nevertheless
        if failed:
            raise failed[0]

    def _begin(self, i: int, action: Any, reset: bool) -> None:
        env = self.envs[i]
        if i in self._failed:
            raise self._failed.pop(i)
        if reset:
            observation, info = env.reset()
            self._results[i] = (observation, 0.0, False, False, self._named(i, info))
        elif (result := env.begin(action)) is not None:
            self._results[i] = self._done(i, result)
        else:
            flight = self._flights[i] = env.waiting()
            ready = self._ready
            flight.add_done_callback(lambda done: ready.put((i, done)))

    # ------------------------------------------------------------------------------------------------------------ receiving

    def _receive(self, at_least: int, timeout: float | None, named: bool) -> Batch:
        if isinstance(at_least, bool) or not isinstance(at_least, int | np.integer):
            raise ConfigError(f"recv waits for a number of environments, not {at_least!r}")
        open_ = len(self._results) + len(self._flights)
        if not 1 <= at_least <= open_:
            raise ConfigError(
                f"recv waits for 1 to {open_} environments (those with an action in flight), not {at_least}"
            )
        end = None if timeout is None else time.monotonic() + timeout
        while len(self._results) < at_least or not self._ready.empty():
            try:
                i, flight = self._ready.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except queue.Empty:
                ready = len(self._results)
                raise TimeoutError(f"{ready} of {at_least} environments were ready after {timeout:g} s") from None
            if self._flights.get(i) is not flight:
                continue  # of an episode that was given up
            del self._flights[i]
            if flight.cancelled():
                raise EpisodeOver(f"environment {i} was reset or restored by itself while its action was in flight")
            self._results[i] = _in(i, lambda i=i, flight=flight: self._done(i, self.envs[i].end(flight.result())))
        ids = sorted(self._results)
        taken = [self._results.pop(i) for i in ids]
        infos: dict[str, Any] = {}
        gather = self if len(ids) == self.num_envs else _Infos(len(ids))
        for position, (i, result) in enumerate(zip(ids, taken, strict=True)):
            self._observations[i], info = result[0], result[4]
            if info:
                infos = gather._add_info(infos, info, position)
        if named:
            infos["env_id"] = np.array(ids, np.int64)
        return (
            self._batch(ids),
            np.array([result[1] for result in taken], np.float64),
            np.array([result[2] for result in taken], np.bool_),
            np.array([result[3] for result in taken], np.bool_),
            infos,
        )

    def _done(self, i: int, result: StepResult) -> StepResult:
        observation, reward, terminated, truncated, info = result
        if not terminated and not truncated:
            return result
        info = self._named(i, info)
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            return observation, reward, terminated, truncated, info
        try:
            fresh, begun = self.envs[i].reset()
        except TaskError as error:
            # The reward is not lost to a task that cannot be begun: the next step tells of it.
            self._failed[i] = error
            fresh, begun = observation, {}
        return (
            fresh,
            reward,
            terminated,
            truncated,
            {
                "final_obs": observation,
                "final_info": info,
                **self._named(i, begun),
            },
        )

    def _batch(self, ids: Sequence[int]) -> dict[str, Any]:
        found = [self._observations[i] for i in ids]
        return {
            name: np.array([o[name] for o in found], np.int64) if name == "event" else tuple([o[name] for o in found])
            for name in self.single_observation_space.spaces
        }

    # ------------------------------------------------------------------------------------------------------------ inside

    def _drop(self, i: int) -> None:
        self._results.pop(i, None)
        self._failed.pop(i, None)
        flight = self._flights.pop(i, None)
        if flight is not None:
            flight.cancel()

    def _sweep(self) -> None:
        """Forget what is ready of episodes that were given up."""
        for _ in range(self._ready.qsize()):
            i, flight = self._ready.get_nowait()
            if self._flights.get(i) is flight:
                self._ready.put((i, flight))

    def _named(self, i: int, info: dict[str, Any]) -> dict[str, Any]:
        return info if self.group_size == 1 else {**info, "group": i // self.group_size}

    def _restart_groups(self, seeds: Sequence[int | None], mask: Bools) -> None:
        for number, group in enumerate(self._groups):
            members = range(number * self.group_size, (number + 1) * self.group_size)
            first = seeds[members[0]]
            if mask[members].all():
                group.align() if first is None else group.restart(first)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a vector environment is not copied or pickled; its environments' states are: envs.call('state')"
        )


def _in(i: int, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Do something in environment `i`; errors say its number."""
    try:
        return work(*args, **kwargs)
    except (ActionError, ConfigError, EpisodeOver, TaskError, UnscoredEpisode, WorldError) as error:
        if str(error).startswith("environment "):
            raise
        raise type(error)(f"environment {i}: {error}") from error


class _Infos(VectorEnv[Any, Any, Any]):
    """Gathers the infos of some environments into arrays of their number, as Gymnasium does for all."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
