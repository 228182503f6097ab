"""What the policy sees: the space of observations, and how they are made."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from llmi_env import prompting
from llmi_env.config import EnvConfig
from llmi_env.document import Failure, Picture
from llmi_env.episode import Episode
from llmi_env.errors import ConfigError, TaskError
from llmi_env.spaces import ImageList, TokenSequence, UnicodeText
from llmi_env.task import Task
from llmi_env.tokenizers import Tokenizer
from llmi_env.transcript import Transcript

Observation = dict[str, Any]

INPUT_PICTURES = 32
"""Input pictures of a task that an observation has room for."""

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


def observation_space(config: EnvConfig, tokenizer: Tokenizer | None) -> spaces.Dict:
    """The observations under a configuration; `tokens` is there where there is a tokenizer."""
    limits = config.limits
    parts: dict[str, spaces.Space[Any]] = {
        "text": UnicodeText(1024 * limits.observation_kib),
        "images": ImageList(limits.pictures + INPUT_PICTURES, 1024 * limits.picture_kib),
        "event": spaces.Discrete(len(Event)),
    }
    if tokenizer is not None:
        parts["tokens"] = TokenSequence(tokenizer.vocab_size, 1024 * limits.observation_kib)
    return spaces.Dict(parts)


class Observer:
    """Makes the observations of one environment.

    Args:
        config: says what is shown, and how large.
        tokenizer: `None` where observations have no tokens.
        space: the observation space, which a prompt has to fit.
    """

    def __init__(self, config: EnvConfig, tokenizer: Tokenizer | None, space: spaces.Dict) -> None:
        self._space, self._tokenizer = space, tokenizer
        self._side = config.limits.picture_side
        self._images = config.feedback == "image"

    def nothing(self) -> Observation:
        """Nothing new."""
        observation: Observation = {"text": "", "images": (), "event": 1}  # Event.NOTHING, at every step
        if self._tokenizer is not None:
            observation["tokens"] = np.empty(0, np.int64)
        return observation

    def prompt(self, task: Task, messages: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> Observation:
        """The first observation.

        Raises:
            TaskError: it does not fit the observation space.
        """
        text = _carried("\n\n".join(message["content"] for message in messages))
        observation = self._of(text, ids, [self._pixels(picture) for picture in task.images], Event.PROMPT)
        for name, space in self._space.spaces.items():
            if observation[name] not in space:
                raise TaskError(
                    f"task {task.id or task.key}: its prompt does not fit the observation's {name!r} ({space!r}): "
                    "raise limits.observation_kib or limits.picture_kib"
                )
        return observation

    def results(self, episode: Episode, transcript: Transcript | None, figures: range) -> Observation:
        """The outcomes of some figures; with a transcript, they enter the policy's context as long as it writes on."""
        if not figures:
            return self.nothing()
        lines, ids, images, failed = [], [], [], False
        for index in figures:
            outcome = episode.figure(index).outcome
            assert outcome is not None
            failed |= isinstance(outcome, Failure)
            line = prompting.result_text(index, outcome)
            lines.append(line)
            if transcript is not None and episode.stop is None:
                ids += transcript.inject(index, outcome)
            elif self._tokenizer is not None:
                ids += self._tokenizer.encode(line)
            if isinstance(outcome, Picture) and self._images:
                images.append(self._pixels(outcome))
        if images and tuple(images) not in (space := self._space["images"]):
            raise ConfigError(
                f"{len(images)} pictures of one step do not fit the observation space ({space!r}): raise limits.picture_kib or lower "
                "limits.picture_side"
            )
        return self._of(_carried("".join(lines)), ids, images, Event.FAILURE if failed else Event.RESULT)

    def _of(self, text: str, ids: Sequence[int], images: Sequence[Any], event: Event) -> Observation:
        observation: Observation = {"text": text, "images": tuple(images), "event": int(event)}
        if self._tokenizer is not None:
            observation["tokens"] = np.array(ids, np.int64)
        return observation

    def _pixels(self, picture: Picture) -> Any:
        image = picture.image
        if max(image.size) > self._side:
            image = image.copy()
            image.thumbnail((self._side, self._side))
        return np.array(image.convert("RGB"), np.uint8)


def _carried(text: str) -> str:
    """The text without what no observation can carry: NUL and lone surrogates become U+FFFD."""
    return _NOT_CARRIED.sub("\ufffd", text)
