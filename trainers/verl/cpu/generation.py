"""Decoding of many requests together on the CPU: token ids in, token ids and logprobs out.

Requests that arrive together are decoded as one batch; what arrives while a batch runs forms the next one, and batches take their steps in
turns, so that nobody waits for another's longest document. Each request has dice of its own: what it gets depends on its seed, not on
the company.

The logprob of a token is the one that the trainer computes from it: that of the whole vocabulary at the request's temperature, also where
top-k or top-p narrow what is drawn. A greedy request gets the model's own.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.policies.compute import compute
from llmi_env.policies.engines import Engine, make_engine
from trainers.verl.cpu.pictures import PictureEngine

if TYPE_CHECKING:
    import torch

Reason = Literal["completed", "length", "aborted"]
"""Why a request ended: with an end token or a stop; at its limit of tokens; because verl broke it off."""

_KEEP_SHARE = (
    0.75  # the batch is made smaller once fewer than this share of its rows go on: moving the cache costs a step
)

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "min_p": (0.0,),
    "n": (1,),
}
_READ = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "stop_token_ids",
    "ignore_eos",
    "max_tokens",
    "max_new_tokens",
)
_IDLE = ("logprobs", "include_stop_str_in_output", "skip_special_tokens", "do_sample")


@dataclass(frozen=True)
class Params:
    """How one request is sampled.

    Attributes:
        max_tokens: at most so many tokens.
        temperature: divides the logits; 0 takes the likeliest token.
        top_p: keeps the likeliest tokens that together reach this probability; 1 keeps all.
        top_k: keeps so many of the likeliest tokens; -1 keeps all.
        seed: of the draws.
        stop: texts at whose end the request stops; the tokens that wrote them are kept.
        stop_ids: tokens that end it; kept too.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()

    @classmethod
    def read(cls, params: Mapping[str, Any], *, max_tokens: int, seed: int, end_ids: frozenset[int]) -> Params:
        """From sampling parameters as verl and vLLM write them.

        Args:
            params: of the request.
            max_tokens: the limit, which the request may lower.
            seed: for a request that names none.
            end_ids: tokens that end any request, unless it ignores them.

        Raises:
            ConfigError: a parameter that is not known here, or a value that cannot be served.
        """
        for name, value in params.items():
            if name in _NEUTRAL:
                if value is not None and value not in _NEUTRAL[name]:
                    raise ConfigError(
                        f"the CPU's inference server does not know {name}={value!r}: leave it at {_NEUTRAL[name][0]!r}"
                    )
            elif name not in _READ and name not in _IDLE:
                raise ConfigError(
                    f"unknown sampling parameter {name!r}{did_you_mean(name, (*_READ, *_IDLE, *_NEUTRAL))}"
                )
        wanted = params.get("max_tokens", params.get("max_new_tokens"))
        temperature, top_p = float(params.get("temperature", 1.0)), float(params.get("top_p", 1.0))
        top_k = int(params.get("top_k", -1))
        if not (temperature >= 0 and 0 < top_p <= 1 and top_k >= -1):
            raise ConfigError(
                f"temperature >= 0, 0 < top_p <= 1 and top_k >= -1, not {temperature}, {top_p} and {top_k}"
            )
        stop = params.get("stop") or ()
        return cls(
            max_tokens=max(1, min(max_tokens, int(wanted) if wanted is not None else max_tokens)),
            temperature=temperature,
            top_p=top_p,
            top_k=top_k or -1,
            seed=int(seed if params.get("seed") is None else params["seed"]),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            stop_ids=frozenset(params.get("stop_token_ids") or ())
            | (frozenset() if params.get("ignore_eos") else end_ids),
        )


@dataclass(frozen=True)
class Completion:
    """What a request gets.

    Attributes:
        tokens: sampled ids, the one that ended it among them.
        logprobs: one for each.
        reason: why it ended.
    """

    tokens: list[int]
    logprobs: list[float]
    reason: Reason


@dataclass(eq=False)
class _Line:
    """A request in the making."""

    prompt: Sequence[int]
    params: Params
    done: asyncio.Future[Completion]
    dice: np.random.Generator
    pictures: Mapping[str, Any] | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def take(self, token: int, logprob: float, tokenizer: Any) -> None:
        """One more token; ends the request where it should end."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if token in self.params.stop_ids or self._stopped(tokenizer):
            self.end("completed")
        elif len(self.tokens) >= self.params.max_tokens:
            self.end("length")

    def end(self, reason: Reason) -> None:
        """Hand over what there is."""
        if not self.done.done():
            self.done.set_result(Completion(self.tokens, self.logprobs, reason))

    def _stopped(self, tokenizer: Any) -> bool:
        if not self.params.stop:
            return False
        # A token writes at least one byte of its text, or is the rest of a character.
        reach = max(len(text.encode()) for text in self.params.stop) + 4
        tail = tokenizer.decode(self.tokens[-reach:], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return any(text in tail for text in self.params.stop)


class Decoder:
    """Decodes the requests of one model. All methods are called on one event loop; the model computes in a thread beside it.

    Args:
        model: causal language model of `transformers`, or one that reads pictures besides.
        tokenizer: for stop texts.
        vocab: tokens at and above this number are never drawn (models pad their vocabulary).
        hidden: further tokens that are never drawn: the place-holders of pictures.
        max_rows: requests of one batch.
        window: seconds in which a further request joins a batch that has not begun.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        vocab: int,
        hidden: Sequence[int] = (),
        max_rows: int = 64,
        window: float = 0.02,
    ) -> None:
        self.model, self.max_rows = model, max_rows
        self._tokenizer, self._vocab, self._hidden, self._window = tokenizer, vocab, tuple(hidden), window
        self._engine: Engine | None = None
        self._waiting: list[_Line] = []
        self._gathering: asyncio.Task[None] | None = None
        self._batches: dict[asyncio.Task[None], list[_Line]] = {}

    async def generate(
        self, prompt: Sequence[int], params: Params, pictures: Mapping[str, Any] | None = None
    ) -> Completion:
        """Continue a prompt.

        Args:
            prompt: token ids, at least one.
            params: how.
            pictures: what the model's image processor made of the pictures whose place-holders the prompt holds; such requests are
                decoded one by one.
        """
        line = _Line(
            prompt, params, asyncio.get_running_loop().create_future(), np.random.default_rng(params.seed), pictures
        )
        self._waiting.append(line)
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self._gather())
        return await line.done

    def abort(self) -> None:
        """End every request with what it has."""
        for line in (*self._waiting, *(line for lines in self._batches.values() for line in lines)):
            line.end("aborted")
        self._waiting.clear()

    async def change(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take new weights, once the batches in the making are done.

        Args:
            weights: one tensor for each name of the model's state; a tied head may be missing.

        Raises:
            ConfigError: names that do not fit the model.
        """
        while self._batches:
            await asyncio.wait(self._batches)
        await compute(_load, self.model, weights)
        self.release()

    def release(self) -> None:
        """Forget copies of the weights and caches until the next request."""
        self._engine = None

    async def _gather(self) -> None:
        while self._waiting:
            count = 0
            while count < len(self._waiting) < self.max_rows:  # as long as more arrive
                count = len(self._waiting)
                await asyncio.sleep(self._window)
            alone = [line for line in self._waiting if line.pictures is not None][:1]
            lines = alone or self._waiting[: self.max_rows]
            self._waiting = [line for line in self._waiting if line not in lines]
            if lines:
                task = asyncio.create_task(self._decode(lines))
                self._batches[task] = lines
                task.add_done_callback(self._batches.pop)

    async def _decode(self, lines: list[_Line]) -> None:
        try:
            await self._steps(lines)
        except Exception as error:
            for line in lines:
                if not line.done.done():
                    line.done.set_exception(error)

    async def _steps(self, lines: list[_Line]) -> None:
        rows = held = lines
        engine = await self._fresh_engine(lines)
        room = max(line.params.max_tokens for line in lines)
        logits_BV = await compute(engine.start, [line.prompt for line in lines], room)
        while True:
            drawn = await compute(draw, logits_BV, rows, self._vocab, self._hidden)
            for line, (token, logprob) in zip(rows, drawn, strict=True):
                if not line.done.done():
                    line.take(token, logprob, self._tokenizer)
            rows = [line for line in held if not line.done.done()]
            if not rows:
                return
            if len(rows) < _KEEP_SHARE * len(held):
                await compute(engine.keep, [i for i, line in enumerate(held) if not line.done.done()])
                held = rows
            moves = [not line.done.done() for line in held]
            logits_BV = await compute(engine.step, [line.tokens[-1] for line in held], moves)
            logits_BV = logits_BV[[i for i, goes in enumerate(moves) if goes]]

    async def _fresh_engine(self, lines: Sequence[_Line]) -> Engine:
        """An engine with a cache of its own on weights that all share."""
        if lines[0].pictures is not None:
            return PictureEngine(self.model, lines[0].pictures)
        if self._engine is None:
            self._engine = await compute(make_engine, self.model, self.model.get_output_embeddings().weight.shape[0])
        return copy.copy(self._engine)


def draw(
    logits_BV: torch.Tensor, lines: Sequence[_Line], vocab: int, hidden: Sequence[int] = ()
) -> list[tuple[int, float]]:
    """One token a row with its logprob at the row's temperature, over the whole vocabulary."""
    import torch

    with torch.inference_mode():
        greedy_B = torch.tensor([line.params.temperature == 0 for line in lines])
        heat_B1 = torch.tensor([line.params.temperature or 1.0 for line in lines])[:, None]
        logprobs_BV = (logits_BV.float() / heat_B1).log_softmax(-1)
        weights_BV = logprobs_BV.exp().double()  # float64, or the tail of a large vocabulary drowns in rounding
        weights_BV[:, vocab:] = 0
        weights_BV[:, list(hidden)] = 0
        narrowed = [i for i, line in enumerate(lines) if line.params.top_p < 1 or line.params.top_k > 0]
        if narrowed:
            weights_BV[narrowed] = _narrow(weights_BV[narrowed], [lines[i].params for i in narrowed])
        cumulated_BV = weights_BV.cumsum(-1)
        dice_B1 = torch.tensor([line.dice.random() for line in lines], dtype=torch.float64)[:, None]
        drawn_B = torch.searchsorted(cumulated_BV, dice_B1 * cumulated_BV[:, -1:], right=True)[:, 0]
        tokens_B = torch.where(greedy_B, weights_BV.argmax(-1), drawn_B)
        chosen_B = logprobs_BV.gather(-1, tokens_B[:, None])[:, 0]
        return list(zip(tokens_B.tolist(), chosen_B.tolist(), strict=True))


def _narrow(weights_BV: torch.Tensor, params: Sequence[Params]) -> torch.Tensor:
    """Zero for all but the top k, and of those for all but the top p."""
    import torch

    size = weights_BV.shape[-1]
    k_B1 = torch.tensor([p.top_k if p.top_k > 0 else size for p in params])[:, None]
    p_B1 = torch.tensor([p.top_p if p.top_p < 1 else float("inf") for p in params], dtype=torch.float64)[:, None]
    ordered_BV, order_BV = torch.sort(weights_BV, dim=-1, descending=True, stable=True)
    ordered_BV = ordered_BV.masked_fill(torch.arange(size) >= k_B1, 0)
    before_BV = ordered_BV.cumsum(-1) - ordered_BV
    ordered_BV = ordered_BV.masked_fill(before_BV >= p_B1 * ordered_BV.sum(-1, keepdim=True), 0)
    return torch.zeros_like(weights_BV).scatter(-1, order_BV, ordered_BV)


def _load(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    import torch

    names = set(model.state_dict())
    missing, unknown = names - set(weights), set(weights) - names
    if model.config.get_text_config().tie_word_embeddings or getattr(model.config, "tie_word_embeddings", False):
        missing -= set(model._tied_weights_keys or ())
    if missing or unknown:
        raise ConfigError(
            f"the trainer's weights do not fit the server's model: {len(missing)} missing ({min(missing, default='-')}), "
            f"{len(unknown)} unknown ({min(unknown, default='-')}); for LoRA set actor_rollout_ref.model.lora.merge=True"
        )
    with torch.no_grad():
        model.load_state_dict(dict(weights), strict=False)
        model.tie_weights()
