"""`LLMI-v0`: writing an illustrated document, as a Gymnasium environment.

A thin driver of `Episode` (and, in the mode `token`, of `Transcript`): it checks actions, hands the calls that they complete to a World, and
at the end turns outcomes and judgments into one reward. Calls run while the policy writes on; without feedback only the end waits for them.

    >>> import gymnasium as gym, llmi_env
    >>> env = gym.make("LLMI-v0", config="rules", action_mode="chunk")  # doctest: +SKIP
    >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
    >>> env.step("Owls hunt at night." + llmi_env.END)  # doctest: +SKIP

A step has two halves: `begin` writes, `end` takes in what the World has answered. `step` waits in between; the vector environment begins
all its environments before it waits for any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from llmi_env import prompting, render
from llmi_env.actions import END
from llmi_env.calls import ToolSpec
from llmi_env.config import EnvConfig
from llmi_env.env_state import EnvState
from llmi_env.episode import Episode, StopReason
from llmi_env.errors import ConcurrentUse, ConfigError, EpisodeOver, TaskError, UnscoredEpisode, did_you_mean
from llmi_env.judges.base import Judge
from llmi_env.observing import Event, Observation, Observer
from llmi_env.rewards import HybridReward, RewardReport, RewardTerm, tool_accuracy
from llmi_env.setting import Setting
from llmi_env.task import Task
from llmi_env.task_order import Drawn, Stream
from llmi_env.tokenizers import Tokenizer
from llmi_env.tools import TOOLS
from llmi_env.tools.base import Tool
from llmi_env.transcript import Transcript
from llmi_env.turn import Turn, busy
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import Judgments, World
from llmi_env.world_handle import WorldHandle

__all__ = ["END", "Event", "LLMIEnv", "Observation", "StepResult"]

StepResult = tuple[Observation, float, bool, bool, dict[str, Any]]

_BEFORE = "call reset first"
_INTERRUPTED = "a step was interrupted; call reset"
_CLOSED = "the environment was closed; call reset to open it again"


class LLMIEnv(gym.Env[Observation, Any]):
    """One document at a time.

    An observation is what the policy has not seen yet: `text`; `tokens` where there is a tokenizer, the same as ids; `images`, a tuple of uint8
    arrays (height, width, 3); `event`, an `Event`. The first one is the prompt. The reward is 0 until the last step.

    `terminated` says that the document ended or reached one of its limits (`info["stop"]`), `truncated` that it has no score
    (`info["unscored"]`). The last `info` holds `document`, `report` (every term), `tools` (tool accuracy), `task_id` and `stop`.

    Args:
        config: name of a preset (`offline`, `rules`), path of a YAML file, a mapping, or an `EnvConfig`; or a `Setting`, which has all of it.
        tasks: a split, a file, a data set, or tasks; in place of the configuration's.
        tokenizer: name or folder of a tokenizer, or a `Tokenizer`; in place of the configuration's.
        world: a World (it stays the caller's to close), how to reach one, or what one is made of; in place of the configuration's.
        reward: name of a preset, or a `HybridReward`; in place of the configuration's.
        reward_terms: terms of the caller's, added to the reward.
        tools: tools of the caller's as objects, in place of those of that name; they run in this process, on one event loop that they
            must not block (`await asyncio.to_thread(...)` for what computes), and stay the caller's to close.
            Or, for a World that has other tools than the configuration says, their specs by name.
        judges: judges of the caller's as objects, in place of all others.
        render_mode: `ansi`, `html` or `rgb_array`.
        **overrides: other options of `EnvConfig` by name.

    Raises:
        ConfigError: an option, preset or value that does not exist.
        MissingExtra: the configured World needs packages that are not installed.
        TaskError: the tasks cannot be read.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "html", "rgb_array"], "render_fps": 4}  # noqa: RUF012
    observation_space: spaces.Dict

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | EnvConfig | Setting = "offline",
        *,
        tasks: str | Path | Sequence[Task] | None = None,
        tokenizer: str | Tokenizer | None = None,
        world: str | WorldConfig | Mapping[str, Any] | World | None = None,
        reward: str | HybridReward | None = None,
        reward_terms: Sequence[RewardTerm] = (),
        tools: Mapping[str, ToolSpec | Tool] | Sequence[Tool] | None = None,
        judges: Sequence[Judge] = (),
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ConfigError(
                f"no render mode {render_mode!r}{did_you_mean(str(render_mode), self.metadata['render_modes'])}"
            )
        options = {
            "tasks": tasks,
            "tokenizer": tokenizer,
            "world": world,
            "reward": reward,
            "tools": tools,
            **overrides,
        }
        if not isinstance(config, Setting):
            config = Setting.of(config, reward_terms=reward_terms, judges=judges, **options)
        elif reward_terms or judges or any(value is not None for value in options.values()):
            raise ConfigError("a Setting has every option already; change it where it is made")
        self.setting = config
        self.config, self.tools, self.reward = config.config, config.tools, config.reward
        self.tasks, self.tokenizer = config.tasks, config.tokenizer
        self.render_mode = render_mode
        self.observation_space = config.observation_space()
        self.actions = config.actions()
        """Checks and writes actions; in the mode `call`, `actions.of` makes them from text and `Call`s."""
        self.action_space = self.actions.space
        self.order: Stream = config.order()
        """Which task comes next."""
        self.episode: Episode | None = None
        """The document being written; `None` before the first `reset`."""
        self.transcript: Transcript | None = None
        """Tokens and ledger of the episode, in the mode `token`."""
        self._observer = Observer(self.config, self.tokenizer, self.observation_space)
        self._handle = WorldHandle(config.source)
        self._feedback = self.config.feedback != "none"
        self._judged = bool(self.reward.judged_terms)
        self._over = _BEFORE
        self._shown = 0
        self._report: RewardReport | None = None
        self._turn = Turn()

    # ------------------------------------------------------------------------------------------------------------ gymnasium

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a document; calls in flight of the last one are cancelled.

        Args:
            seed: of the generator that picks tasks and seeds the tools; an order of tasks begins anew with it.
            options: `{"task": Task}` or `{"task": id}`, in place of the next task.

        Returns:
            The prompt; `info` with `task_id`, `task`, `messages` (the prompt as chat messages) and, unless tasks are drawn at random, `epoch`.

        Raises:
            ConfigError: an unknown option.
            TaskError: no task of that id, one that names an unknown tool, or one too large to be observed.
            ConcurrentUse: another thread is in a step.

        After an error about a task or an option the document goes on as if nothing had been said.
        """
        with self._turn.take():
            named = self.named_task(options)  # what is wrong with the options is told before anything changes
            super().reset(seed=seed)
            if seed is not None:
                self.order.seek(0)
            drawn = self._next(named)
            task = drawn.task
            messages = prompting.messages(task, self.tools, self.config.prompt)
            ids = self.tokenizer.chat(messages) if self.tokenizer is not None else []
            observation = self._observer.prompt(task, messages, ids)
            seed_of_calls = int(self.np_random.integers(2**31))
            self._over = _BEFORE
            self._handle.cancel()
            self.episode = Episode(task, self.config.limits.episode(), self.tools, seed_of_calls)
            self.transcript = None
            if self.config.action_mode == "token":
                assert self.tokenizer is not None
                self.transcript = Transcript(self.episode, self.tokenizer, ids, self.config.limits.tokens)
            self._over, self._shown, self._report = "", 0, None
            info = {"task_id": task.id or task.key, "task": task, "messages": messages}
            return observation, info if self.config.order == "random" else info | {"epoch": drawn.epoch}

    def step(self, action: Any) -> StepResult:
        """Write; see the class for what comes back.

        Raises:
            ActionError: an action outside of the action space; nothing has changed.
            EpisodeOver: the document has ended, or was never begun.
            UnscoredEpisode: the document has no score and the configuration says `unscored="raise"`.
            WorldError: the World cannot be reached at all.
            ConcurrentUse: another thread is in a step.
        """
        lock = self._turn.lock
        if lock.locked():  # `take`, without its call
            raise busy()
        with lock:
            result = self.begin(self.check(action))
            return self.end(self._settle()) if result is None else result

    def render(self) -> Any:
        """The document so far: text with ANSI colours, an HTML page, or a picture of its end, shape (height, width, 3)."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render mode: gym.make('LLMI-v0', render_mode='ansi')")
            return None
        if self.episode is None:
            raise EpisodeOver("there is nothing to show yet: call reset first")
        draw = {"ansi": render.to_ansi, "html": render.to_html, "rgb_array": render.to_pixels}[self.render_mode]
        return draw(self.episode.document, self.episode.task, self._report)

    def close(self) -> None:
        """Cancel calls in flight and let the World go. May be called twice; `reset` opens the environment again."""
        with self._turn.take():
            self._over = _CLOSED
            self._handle.close()

    # ------------------------------------------------------------------------------------------------------------ beyond it

    def cut(self, reason: StopReason = StopReason.STEPS) -> StepResult:
        """End the document now, from outside; it is scored as it stands. Returns what a last step returns.

        Raises:
            EpisodeOver: it has ended already, or was never begun.
            ConfigError: no reason, or `ABORTED`, which is for documents without a score: `reset` gives one up.
        """
        if reason == StopReason.ABORTED or reason not in list(StopReason):
            raise ConfigError(f"a document is cut for a StopReason other than ABORTED, not {reason!r:.60}")
        reason = StopReason(reason)
        with self._turn.take():
            if self._over:
                raise EpisodeOver(f"there is no document to end: {self._over}")
            assert self.episode is not None
            self._over = _INTERRUPTED
            (self.transcript or self.episode).end(reason)
            return self.end(self._settle())

    def state(self) -> EnvState:
        """The episode as it stands, with the generator and the place in the order of tasks; what follows does not change it.

        Raises:
            ConcurrentUse: a step has begun and not ended.
        """
        with self._turn.take():
            if self._over == _INTERRUPTED:
                raise ConcurrentUse("a step has begun and not ended: there is no state between two steps to keep")
            episode = None if self.episode is None else self.episode.copy()
            transcript = None
            if episode is not None and self.transcript is not None:
                transcript = self.transcript.copy(episode)
            rng = self.np_random.bit_generator.state
            return EnvState(
                self._made_for, episode, transcript, rng, self.order.position, self._shown, self._over, self._report
            )

    def restore(self, state: EnvState) -> None:
        """Go back to a state of this environment, or of one with the same options; calls that were in flight are issued again.

        Raises:
            ConfigError: the state is of an environment with other options.
        """
        if not isinstance(state, EnvState):
            raise ConfigError(f"restore takes what state() gave, not {type(state).__name__}")
        with self._turn.take():
            state.check(self._made_for)
            self._handle.cancel()
            self.np_random.bit_generator.state = state.rng
            self.episode, self.transcript = state.copies(self.tokenizer, self.config.limits.tokens)
            self.order.seek(state.position)
            self._shown, self._over, self._report = state.shown, state.over, state.report
            if self.episode is not None and self.episode.waits and not state.over:
                self._handle.start(self.episode)

    @property
    def ended(self) -> bool:
        """Whether the document has ended, so that a reset is due."""
        return self._over != "" and self.episode is not None and self.episode.stop is not None

    def named_task(self, options: Mapping[str, Any] | None) -> Task | None:
        """The task that options of `reset` name.

        Raises:
            ConfigError: an unknown option.
            TaskError: no task of that id, or one that names an unknown tool.
        """
        for name in options or {}:
            if name != "task":
                raise ConfigError(f"reset has no option {name!r}{did_you_mean(str(name), ('task',))}")
        wanted = (options or {}).get("task")
        if isinstance(wanted, Task):
            known = {*self.tools, *TOOLS.names}
            for tool in wanted.tools:
                if tool not in known:
                    raise TaskError(f"task {wanted.id or wanted.key}: unknown tool {tool!r}{did_you_mean(tool, known)}")
        elif isinstance(wanted, str):
            return self.tasks.by_id(wanted)
        elif wanted is not None:
            raise TaskError(f"options['task'] must be a Task or the id of one, not {type(wanted).__name__}")
        return wanted

    # ------------------------------------------------------------------------------------------------------- the halves of a step

    def check(self, action: Any) -> Any:
        """The action in plain form, as `begin` takes it.

        Raises:
            ActionError: it lies outside of the action space; nothing has changed.
            EpisodeOver: there is nothing to write on.
        """
        if self._over:
            raise EpisodeOver(f"there is no document to write on: {self._over}")
        return self.actions.check(action)

    def begin(self, action: Any) -> StepResult | None:
        """Write a checked action and start the calls that it completed.

        Returns:
            What the step gives, or `None` if the World has to answer first; then `end` has to be called.
        """
        episode = self.episode
        assert episode is not None
        self._over = _INTERRUPTED  # whatever comes in between leaves nothing half-written to go on with
        requests = self.actions.write(action, episode, self.transcript)
        if not requests and episode.stop is None and (not self._feedback or episode.n_figures == self._shown):
            self._over = ""
            return self._observer.nothing(), 0.0, False, False, {}
        if requests:
            self._handle.start(episode)
        if episode.stop is None:
            if self._feedback and episode.waits:
                return None
        elif self._judged or episode.waits:
            return None
        return self.end({})

    def waiting(self) -> Any:
        """A future of what `end` needs, after `begin` has returned `None`."""
        assert self.episode is not None
        return self._handle.settling(self.episode, self._judged, self.config.unscored == "retry_then_truncate")

    def end(self, judgments: Judgments) -> StepResult:
        """Take in what the World has answered."""
        episode = self.episode
        assert episode is not None
        new = range(self._shown, episode.n_figures if self._feedback else self._shown)
        observation = self._observer.results(episode, self.transcript, new)
        self._shown = episode.n_figures
        if episode.stop is None:
            self._over = ""
            return observation, 0.0, False, False, {}
        self._over = f"the document has ended ({episode.stop.value}); call reset"
        observation["event"] = int(Event.END)
        return observation, *self._finish(episode, judgments)

    # ------------------------------------------------------------------------------------------------------------ inside

    def _settle(self) -> Judgments:
        assert self.episode is not None
        return self._handle.settle(self.episode, self._judged, self.config.unscored == "retry_then_truncate")

    def _next(self, named: Task | None) -> Drawn:
        if named is None:
            return self.order.next(self.np_random)
        # Drawn whatever the options say, so that the stream of random numbers does not depend on them.
        self.order.skip(self.np_random)
        return Drawn(named)

    def _finish(self, episode: Episode, judgments: Judgments) -> tuple[float, bool, bool, dict[str, Any]]:
        document, task = episode.document, episode.task
        report = self._report = self.reward.score(document, task, judgments)
        info: dict[str, Any] = {
            "task_id": task.id or task.key,
            "stop": str(episode.stop),
            "document": document,
            "report": report,
            "tools": tool_accuracy([(task, document)]),
        }
        if report.total is not None:
            return report.total, True, False, info
        info["unscored"] = report.unscored
        if self.config.unscored == "raise":
            raise UnscoredEpisode(f"task {info['task_id']}: the document has no score: {'; '.join(report.unscored)}")
        if self.config.unscored == "nan":
            return math.nan, True, False, info
        return 0.0, False, True, info

    @property
    def _made_for(self) -> dict[str, Any]:
        return {
            "action_mode": self.config.action_mode,
            "feedback": self.config.feedback,
            "limits": self.config.limits.model_dump(),
            "prompt": self.config.prompt,
            "tools": sorted(self.tools),
            "tasks": f"{self.tasks.name}, {self.tasks.digest[:12]}, {self.config.order}",
            "vocab_size": None if self.tokenizer is None else self.tokenizer.vocab_size,
            "reward": self.reward.version,
        }
