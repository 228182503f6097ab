"""What policies without a memory see: the whole context, or the last tokens of it."""

from __future__ import annotations

import re
from array import array
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from llmi_env.episode import CallRequest, Episode, StopReason
from llmi_env.errors import ConfigError, EpisodeOver
from llmi_env.ledger import Owner
from llmi_env.observing import Event, Observation
from llmi_env.spaces import ImageList, TokenSequence, UnicodeText
from llmi_env.tokenizers import Decoder
from llmi_env.wrappers.base import LLMIWrapper, number

# One line tells of a result; its longest part is a caption of 300 characters, of four bytes at most.
_RESULT_BYTES = 1536
_NOT_CARRIED = re.compile("[\0\ud800-\udfff]")

Step = tuple[Observation, Any, bool, bool, dict[str, Any]]


class _Dictation(Episode):
    """Takes down what an action would write, and is no document."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> list[CallRequest]:
        self.text += text
        return []

    def end(self, reason: StopReason = StopReason.END) -> list[CallRequest]:
        return []


class FullContext(LLMIWrapper):
    """Shows everything so far with every observation: the prompt, what the policy wrote (thoughts too), and what it was shown.

    `text` grows from step to step, and so do `tokens`, where there is a tokenizer, and `images`; `event` stays as it is. In the action mode
    `token`, `tokens` are the ledger's ids (`env.unwrapped.transcript.ledger.ids`), never text that was tokenised again; what the last step
    tells of is in `text` only, since no token follows it. In the other modes each piece is tokenised once, when it comes.

    The spaces are sized by the environment's limits. To branch, copy the wrapped environment (`copy.deepcopy`): what `restore` does beneath it
    is not seen here, and refused.

    Args:
        env: `LLMI-v0`.
        text_kib: bound of `text` in KiB of UTF-8, in place of one from the limits.
        tokens: bound of `tokens`; needed where the environment sets none (`limits.tokens`) and most tokens hold less than a quarter of a
            character.
        picture_kib: bound of `images` in KiB of pixels.

    Raises:
        ConfigError: the observation has no `text`; or, in `reset` and `step`, the context has outgrown its bound.
        EpisodeOver: in `step`: the document was begun or restored beneath.

    >>> env = FullContext(gym.make("llmi_env:LLMI-v0", config="rules", action_mode="chunk"))
    >>> prompt, _ = env.reset(seed=0)
    >>> env.step("Owls hunt ")[0]["text"] == prompt["text"] + "Owls hunt "
    True
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        text_kib: int | None = None,
        tokens: int | None = None,
        picture_kib: int | None = None,
    ) -> None:
        super().__init__(env, text_kib=text_kib, tokens=tokens, picture_kib=picture_kib)
        given = {"text_kib": text_kib, "tokens": tokens, "picture_kib": picture_kib}
        for name, value in given.items():
            if value is not None:
                number("FullContext", name, value)
        parts = self._parts("text", UnicodeText, "it goes beneath wrappers that take text away")
        if "event" not in parts:
            raise ConfigError(
                "FullContext: the observation's 'event' is missing: it goes beneath wrappers that take it away"
            )
        limits, feedback = self.base.config.limits, self.base.config.feedback
        results = 0 if feedback == "none" else _RESULT_BYTES * limits.calls
        prompt = 1024 * limits.observation_kib
        parts["text"] = UnicodeText(1024 * text_kib if text_kib else prompt + 4 * limits.characters + results)
        if isinstance(part := parts.get("tokens"), TokenSequence):
            written = limits.tokens or 4 * limits.characters
            parts["tokens"] = TokenSequence(part.vocab_size, tokens or prompt + written + results)
        if isinstance(images := parts.get("images"), ImageList):
            shown = 3 * limits.picture_side**2 * limits.pictures if feedback == "image" else 0
            room = 1024 * picture_kib if picture_kib else images.max_bytes + shown
            parts["images"] = ImageList(images.max_images, room)
        self.observation_space = spaces.Dict(parts)
        self._clear()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a document; the context is the prompt."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._begin(observation), info

    def step(self, action: Any) -> Step:
        """Write; the context grows by what was written and what came of it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if observation["event"] == Event.PROMPT:  # `DropUnscored` has begun again
            return self._begin(observation), reward, terminated, truncated, info
        if self.base.episode is not self._episode:
            raise EpisodeOver(
                "FullContext has not seen this document begin: call its own reset; to branch, copy.deepcopy the wrapped environment"
            )
        written = self._written(action)
        if self.base.transcript is None and "tokens" in observation:
            assert self.base.tokenizer is not None
            self._ids.extend(self.base.tokenizer.encode(written))
        return self._extended(observation, written), reward, terminated, truncated, info

    def _clear(self) -> None:
        self._text, self._bytes = "", 0
        self._ids = array("q")
        self._images: list[npt.NDArray[np.uint8]] = []
        self._room = 0
        self._episode: Episode | None = None
        self._decoder: Decoder | None = None
        self._decoded = 0

    def _begin(self, observation: Observation) -> Observation:
        self._clear()
        episode, transcript = self.base.episode, self.base.transcript
        assert episode is not None
        self._episode, self._room = episode, episode.limits.characters
        if transcript is not None:
            self._decoder = transcript.tokenizer.decoder()
            self._decoded = len(transcript.ledger)
        return self._extended(observation, "")

    def _written(self, action: Any) -> str:
        """The text of the last step, as far as the document takes any."""
        transcript, episode = self.base.transcript, self.base.episode
        assert episode is not None
        if transcript is None:
            actions, taken = self.base.actions, _Dictation()
            actions.write(actions.check(action), taken, None)
            text = taken.text
        else:
            assert self._decoder is not None
            ledger = transcript.ledger
            new = range(self._decoded, len(ledger))
            self._decoded = len(ledger)
            ids = [ledger.ids[at] for at in new if ledger.owners[at] is Owner.POLICY]
            eos = transcript.tokenizer.eos_ids
            text = "".join(self._decoder.push(token) for token in ids if token not in eos)
            if episode.stop is not None:
                text += self._decoder.flush()
        text = text[: self._room]
        self._room -= len(text)
        return _NOT_CARRIED.sub("\ufffd", text)

    def _extended(self, observation: Observation, written: str) -> Observation:
        """The observation with all that went before it."""
        piece = written + observation["text"]
        self._text += piece
        self._bytes += len(piece.encode("utf-8"))
        result = {**observation, "text": self._text}
        bounds = self.observation_space.spaces  # type: ignore[attr-defined]
        self._check("text", self._bytes, bounds["text"].max_bytes, "text_kib")
        if "tokens" in observation:
            transcript = self.base.transcript
            # In the mode `token` the ledger has the last word; what the last step shows is not in it.
            self._ids.extend(
                observation["tokens"].tolist() if transcript is None else transcript.ledger.ids[len(self._ids) :]
            )
            self._check("tokens", len(self._ids), bounds["tokens"].max_length, "tokens")
            result["tokens"] = np.array(self._ids, np.int64)
        if isinstance(images := bounds.get("images"), ImageList):
            self._images += observation["images"]
            self._check("images", sum(image.nbytes for image in self._images), images.max_bytes, "picture_kib")
            result["images"] = tuple(image.copy() for image in self._images)
        return result

    def _check(self, part: str, size: int, bound: int, argument: str) -> None:
        if size > bound:
            raise ConfigError(
                f"FullContext: {part!r} has outgrown its bound ({size} > {bound}): give FullContext a larger {argument!r}, "
                "or the environment smaller limits"
            )


class TokenHistory(LLMIWrapper, gym.ObservationWrapper[Any, Any, Any]):
    """Shows the last token ids of the context as an array of fixed length, for policies without a memory.

    `tokens` becomes an int64 array of shape (length,): the newest token stands last, and what is not there yet is padded on the left;
    `token_mask`, int8 of shape (length,), is 1 where there is a token. The ids are the ledger's. The other parts stay as they are:
    `ArraysOnly` takes those away that a network cannot use.

    Args:
        env: `LLMI-v0` in the action mode `token`.
        length: how many tokens are shown.
        pad: id in the places that are empty; may lie outside of the vocabulary.

    Raises:
        ConfigError: there are no tokens in this action mode, or they were taken away.

    >>> env = TokenHistory(gym.make("llmi_env:LLMI-v0", config="rules"), 4)
    >>> observation, _ = env.reset(seed=0)
    >>> env.step(65)[0]["tokens"].tolist()[-1]
    65
    """

    def __init__(self, env: gym.Env[Any, Any], length: int, pad: int = 0) -> None:
        super().__init__(env, length=length, pad=pad)
        self._length = number("TokenHistory", "length", length)
        if isinstance(pad, bool) or not isinstance(pad, int):
            raise ConfigError(f"TokenHistory: pad is a token id, not {pad!r:.80}")
        self._pad = pad
        mode = self.base.config.action_mode
        if mode != "token":
            raise ConfigError(
                f"TokenHistory: the action mode {mode!r} has no tokens of the policy: gym.make('LLMI-v0', action_mode='token')"
            )
        parts = self._parts("tokens", TokenSequence, "TokenHistory goes beneath wrappers that change it")
        size = parts["tokens"].vocab_size  # type: ignore[attr-defined]
        parts["tokens"] = spaces.Box(min(0, pad), max(size - 1, pad), (length,), np.int64)
        parts["token_mask"] = spaces.MultiBinary(length)
        self.observation_space = spaces.Dict(parts)

    def observation(self, observation: Observation) -> Observation:
        """The observation with the last tokens in place of the new ones."""
        transcript = self.base.transcript
        assert transcript is not None
        last = transcript.ledger.ids[-self._length :]
        tokens = np.full(self._length, self._pad, np.int64)
        mask = np.zeros(self._length, np.int8)
        if last:
            tokens[-len(last) :] = last
            mask[-len(last) :] = 1
        return {**observation, "tokens": tokens, "token_mask": mask}
