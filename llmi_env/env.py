"""`LLMI-v0`: writing an illustrated document, as a Gymnasium environment.

A thin driver of `Episode` (and, in the mode `token`, of `Transcript`): it checks actions, hands the calls that they complete to a World, and
at the end turns outcomes and judgments into one reward. Calls run while the policy writes on; without feedback only the end waits for them.

    >>> import gymnasium as gym, llmi_env
    >>> env = gym.make("LLMI-v0", config="rules", action_mode="chunk")  # doctest: +SKIP
    >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
    >>> env.step("Owls hunt at night." + llmi_env.END)  # doctest: +SKIP
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from llmi_env import prompting, render
from llmi_env.calls import ToolSpec
from llmi_env.config import EnvConfig, load_config
from llmi_env.document import Failure, Picture
from llmi_env.episode import Episode, StopReason
from llmi_env.errors import ActionError, ConfigError, EpisodeOver, TaskError, UnscoredEpisode, did_you_mean
from llmi_env.rewards import HybridReward, RewardReport, tool_accuracy
from llmi_env.spaces import ImageList, TokenSequence, UnicodeText
from llmi_env.task import Task
from llmi_env.task_sets import SPLITS, TaskSet, load_tasks
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer, Tokenizer
from llmi_env.tools import TOOLS
from llmi_env.transcript import Transcript
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import Judgments, Unscored, World
from llmi_env.world_handle import WorldHandle, check_extras, tool_specs

END = "\x03"
"""Ends the document, as the last character of a chunk (ASCII's "end of text")."""

Observation = dict[str, Any]

# A chunk may overshoot the limit of characters, which then cuts it; one that could not be meant seriously is refused.
_CHUNK_BYTES_PER_CHARACTER = 16
_INPUT_PICTURES = 32
_NOT_CARRIED = re.compile("[\0\ud800-\udfff]")


class Event(enum.IntEnum):
    """What an observation tells of."""

    PROMPT = 0
    """The task: the first observation."""
    NOTHING = 1
    """Nothing new."""
    RESULT = 2
    """Results of calls, all of them pictures."""
    FAILURE = 3
    """Results of calls, at least one a failure."""
    END = 4
    """The document has ended."""


class LLMIEnv(gym.Env[Observation, Any]):
    """One document at a time.

    An observation is what the policy has not seen yet: `text`; `tokens` where there is a tokenizer, the same as ids; `images`, a tuple of uint8
    arrays (height, width, 3); `event`, an `Event`. The first one is the prompt. The reward is 0 until the last step.

    `terminated` says that the document ended or reached one of its limits (`info["stop"]`), `truncated` that it has no score
    (`info["unscored"]`). The last `info` holds `document`, `report` (every term), `tools` (tool accuracy), `task_id` and `stop`.

    Args:
        config: name of a preset (`offline`, `rules`), path of a YAML file, a mapping, or an `EnvConfig`.
        tasks: a split, a file, a data set, or tasks; in place of the configuration's.
        tokenizer: name or folder of a tokenizer, or a `Tokenizer`; in place of the configuration's.
        world: a World (it stays the caller's to close), how to reach one, or what one is made of; in place of the configuration's.
        reward: name of a preset, or a `HybridReward`; in place of the configuration's.
        tools: specs of the tools at hand, where the World has others than the configuration says.
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
        config: str | Path | Mapping[str, Any] | EnvConfig = "offline",
        *,
        tasks: str | Path | Sequence[Task] | None = None,
        tokenizer: str | Tokenizer | None = None,
        world: str | WorldConfig | Mapping[str, Any] | World | None = None,
        reward: str | HybridReward | None = None,
        tools: Mapping[str, ToolSpec] | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ConfigError(
                f"no render mode {render_mode!r}{did_you_mean(str(render_mode), self.metadata['render_modes'])}"
            )
        given: list[tuple[str, Any, Any]] = [
            ("tasks", tasks, Sequence),
            ("tokenizer", tokenizer, Tokenizer),
            ("world", world, World),
            ("reward", reward, HybridReward),
        ]
        # What is data goes into the configuration; objects stand beside it.
        for name, value, kind in given:
            if isinstance(value, str | Path | Mapping | WorldConfig):
                overrides[name] = str(value) if isinstance(value, Path) else value
            elif value is not None and not isinstance(value, kind):
                raise ConfigError(f"{name} is a {kind.__name__} or names one, not {type(value).__name__}")
        self.config = load_config(config, **overrides)
        if isinstance(world, World) and not isinstance(world, str):
            self._handle = WorldHandle(world, self.config.services)
            self.tools = dict(tools or _specs_of(world))
        else:
            if "://" not in self.config.world:
                check_extras(self.config.services)
            self._handle = WorldHandle(self.config.world, self.config.services)
            self.tools = dict(tools or tool_specs(self.config.services))
        self.reward = reward if isinstance(reward, HybridReward) else HybridReward.preset(self.config.reward)
        named = self.config.tasks if tasks is None or isinstance(tasks, str | Path) else tasks
        self.tasks = _load_tasks(named).for_tools(self.tools)
        self.tokenizer = _tokenizer(tokenizer if isinstance(tokenizer, Tokenizer) else self.config)
        self.render_mode = render_mode
        self.observation_space = self._observation_space()
        self.action_space = self._action_space()
        self.episode: Episode | None = None
        """The document being written; `None` before the first `reset`."""
        self.transcript: Transcript | None = None
        """Tokens and ledger of the episode, in the mode `token`."""
        self._feedback = self.config.feedback != "none"
        self._why_over = "call reset first"
        self._over = True
        self._shown = 0
        self._report: RewardReport | None = None

    # ------------------------------------------------------------------------------------------------------------ gymnasium

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a document.

        Args:
            seed: of the generator that picks tasks and seeds the tools.
            options: `{"task": Task}` or `{"task": id}`, in place of a task picked at random.

        Returns:
            The prompt; `info` with `task_id`, `task`, and `messages` (the prompt as chat messages).

        Raises:
            ConfigError: an unknown option.
            TaskError: no task of that id, one that names an unknown tool, or one too large to be observed.
        """
        super().reset(seed=seed)
        self._over, self._why_over = True, "call reset first"
        self._handle.cancel()
        task = self._pick(options or {})
        messages = prompting.messages(task, self.tools, self.config.prompt)
        text = _carried("\n\n".join(message["content"] for message in messages))
        ids = self.tokenizer.chat(messages) if self.tokenizer is not None else []
        observation = self._observe(text, ids, [self._pixels(picture) for picture in task.images], Event.PROMPT)
        for name, space in self.observation_space.spaces.items():
            if observation[name] not in space:
                raise TaskError(
                    f"task {task.id or task.key}: its prompt does not fit the observation's {name!r} ({space!r}): "
                    "raise limits.observation_kib or limits.picture_kib"
                )
        seed_of_calls = int(self.np_random.integers(2**31))
        self.episode = Episode(task, self.config.limits.episode(), self.tools, seed_of_calls)
        self.transcript = None
        if self.config.action_mode == "token":
            assert self.tokenizer is not None
            self.transcript = Transcript(self.episode, self.tokenizer, ids, self.config.limits.tokens)
        self._over, self._shown, self._report = False, 0, None
        return observation, {"task_id": task.id or task.key, "task": task, "messages": messages}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Write; see the class for what comes back.

        Raises:
            ActionError: an action outside of the action space; nothing has changed.
            EpisodeOver: the document has ended, or was never begun.
            UnscoredEpisode: the document has no score and the configuration says `unscored="raise"`.
            WorldError: the World cannot be reached at all.
        """
        if self._over:
            raise EpisodeOver(f"there is no document to write on: {self._why_over}")
        episode, transcript = self.episode, self.transcript
        assert episode is not None
        if transcript is not None:
            if type(action) is not int:
                action = self._token(action)
            requests = transcript.append((action,))
            if not requests and episode.stop is None and (not self._feedback or episode.n_figures == self._shown):
                return (
                    {"text": "", "tokens": np.empty(0, np.int64), "images": (), "event": 1},
                    0.0,
                    False,
                    False,
                    {},
                )
        else:
            requests = self._write(episode, action)
        self._over, self._why_over = True, "a step was interrupted; call reset"
        if requests:
            self._handle.start(episode)
        if self._feedback or episode.stop is not None:
            self._handle.finish(episode)
        observation = self._results(episode)
        if episode.stop is None:
            self._over = False
            return observation, 0.0, False, False, {}
        self._why_over = f"the document has ended ({episode.stop.value}); call reset"
        observation["event"] = int(Event.END)
        return observation, *self._finish(episode)

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
        self._over, self._why_over = True, "the environment was closed; call reset to open it again"
        self._handle.close()

    # ------------------------------------------------------------------------------------------------------------ inside

    def _observation_space(self) -> spaces.Dict:
        limits = self.config.limits
        parts: dict[str, spaces.Space[Any]] = {
            "text": UnicodeText(1024 * limits.observation_kib),
            "images": ImageList(limits.pictures + _INPUT_PICTURES, 1024 * limits.picture_kib),
            "event": spaces.Discrete(len(Event)),
        }
        if self.tokenizer is not None:
            parts["tokens"] = TokenSequence(self.tokenizer.vocab_size, 1024 * limits.observation_kib)
        return spaces.Dict(parts)

    def _action_space(self) -> spaces.Space[Any]:
        if self.config.action_mode == "token":
            assert self.tokenizer is not None
            return spaces.Discrete(self.tokenizer.vocab_size)
        return UnicodeText(_CHUNK_BYTES_PER_CHARACTER * self.config.limits.characters, end=END)

    def _pick(self, options: Mapping[str, Any]) -> Task:
        for name in options:
            if name != "task":
                raise ConfigError(f"reset has no option {name!r}{did_you_mean(str(name), ('task',))}")
        # Drawn whatever the options say, so that the stream of random numbers does not depend on them.
        index = int(self.np_random.integers(len(self.tasks)))
        wanted = options.get("task")
        if wanted is None:
            return self.tasks[index]
        if isinstance(wanted, Task):
            known = {*self.tools, *TOOLS.names}
            for tool in wanted.tools:
                if tool not in known:
                    raise TaskError(f"task {wanted.id or wanted.key}: unknown tool {tool!r}{did_you_mean(tool, known)}")
            return wanted
        if isinstance(wanted, str):
            return self.tasks.by_id(wanted)
        raise TaskError(f"options['task'] must be a Task or the id of one, not {type(wanted).__name__}")

    def _token(self, action: Any) -> int:
        if isinstance(action, bool) or not self.action_space.contains(action):
            raise ActionError(f"an action is a token id in {self.action_space}, not {action!r:.80}")
        return int(action)

    def _write(self, episode: Episode, action: Any) -> list[Any]:
        space = self.action_space
        assert isinstance(space, UnicodeText)
        if (problem := space.problem(action)) is not None:
            raise ActionError(f"this text cannot be written: {problem}")
        ends = self.config.action_mode == "document" or action.endswith(END)
        requests = episode.write(action.removesuffix(END))
        return requests + episode.end(StopReason.END) if ends else requests

    def _results(self, episode: Episode) -> Observation:
        """What the policy is shown of the figures since the last step: nothing without feedback."""
        new = range(self._shown, episode.n_figures)
        self._shown = episode.n_figures
        if not self._feedback or not new:
            return self._observe("", [], [], Event.NOTHING)
        lines, ids, images, failed = [], [], [], False
        for index in new:
            outcome = episode.figure(index).outcome
            assert outcome is not None
            failed |= isinstance(outcome, Failure)
            line = prompting.result_text(index, outcome)
            lines.append(line)
            if self.transcript is not None and episode.stop is None:
                ids += self.transcript.inject(index, outcome)
            elif self.tokenizer is not None:
                ids += self.tokenizer.encode(line)
            if isinstance(outcome, Picture) and self.config.feedback == "image":
                images.append(self._pixels(outcome))
        return self._observe(_carried("".join(lines)), ids, images, Event.FAILURE if failed else Event.RESULT)

    def _observe(self, text: str, ids: Sequence[int], images: Sequence[Any], event: Event) -> Observation:
        observation: Observation = {"text": text, "images": tuple(images), "event": int(event)}
        if self.tokenizer is not None:
            observation["tokens"] = np.array(ids, np.int64)
        return observation

    def _pixels(self, picture: Picture) -> Any:
        image = picture.image
        side = self.config.limits.picture_side
        if max(image.size) > side:
            image = image.copy()
            image.thumbnail((side, side))
        return np.array(image.convert("RGB"), np.uint8)

    def _finish(self, episode: Episode) -> tuple[float, bool, bool, dict[str, Any]]:
        document, task = episode.document, episode.task
        report = self._score(episode)
        self._report = report
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

    def _score(self, episode: Episode) -> RewardReport:
        document, task = episode.document, episode.task
        judgments: Judgments = {}
        if self.reward.judged_terms:
            judgments = self._handle.judge(document, task)
            if self.config.unscored == "retry_then_truncate" and any(
                isinstance(j, Unscored) for j in judgments.values()
            ):
                again = self._handle.judge(document, task)
                judgments = {
                    term: again.get(term, old) if isinstance(old, Unscored) else old for term, old in judgments.items()
                }
        return self.reward.score(document, task, judgments)


# ------------------------------------------------------------------------------------------------------------- from the options


@lru_cache(maxsize=len(SPLITS))
def _split(name: str) -> TaskSet:
    return load_tasks(name)


def _load_tasks(source: str | Sequence[Task]) -> TaskSet:
    # Bundled splits do not change: every environment of a process shares them.
    return _split(source) if isinstance(source, str) and source in SPLITS else load_tasks(source)


def _tokenizer(source: EnvConfig | Tokenizer) -> Tokenizer | None:
    if not isinstance(source, EnvConfig):
        return source
    if source.tokenizer == "byte" or (source.tokenizer is None and source.action_mode == "token"):
        return ByteTokenizer()
    return None if source.tokenizer is None else HFTokenizer.load(source.tokenizer)


def _specs_of(world: World) -> Mapping[str, ToolSpec]:
    from llmi_env.calls import BUILTIN

    names = getattr(world, "tool_names", None)
    return BUILTIN if names is None else {name: BUILTIN[name] for name in names if name in BUILTIN}


def _carried(text: str) -> str:
    """The text without what no observation can carry: NUL and lone surrogates become U+FFFD."""
    return _NOT_CARRIED.sub("\ufffd", text)
