"""Whether words stand where English has them, told by a language model: how much likelier a text is than its own words in another order.

A likelihood by itself rewards what is bland or repeated. Set against the same words shuffled, what is said drops out, and what is left is how
it is put together: honest demonstrations gain 3.2 nats a token, words of the field joined by little words 1.4, two texts word by word 0.3.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from llmi_env.judges.relevance import ramp
from llmi_env.models import load_model, resolve_policy

_SHUFFLES = 2
_TOKENS = 240  # of a part
_PART, _PARTS = 60, 4  # words; what comes after these is not read
_FEW_WORDS = 6
_LOW, _HIGH, _LEAST = 1.0, 2.3, 0.2
"""Nats a token: below nine of ten honest texts (2.3), above nine of ten of loose words (1.9) no more than in part."""


class Grammar:
    """A language model that compares texts with their own words in other orders; loaded when it is first needed.

    Args:
        model: any policy or causal language model, see `llmi_env.models.resolve_policy`.

    Raises:
        ConfigError, AssetError: there is no such model, or it is not installed.
    """

    def __init__(self, model: str = "smollm2") -> None:
        resolve_policy(model)
        self.model = model
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def trait(self, text: str) -> float:
        """1 for a text as people write, down to 0.2 for one whose words might as well stand in any order; 1 for a few words."""
        if len(text.split()) < _FEW_WORDS:
            return 1.0
        return _LEAST + (1 - _LEAST) * ramp(self.gain(text), _LOW, _HIGH)

    def gain(self, text: str) -> float:
        """Mean log-probability a token minus that of the same words shuffled, in nats, of the worst part; the same for the same text."""
        words = text.split()
        parts = [words[at : at + _PART] for at in range(0, len(words), _PART)][:_PARTS]
        if len(parts) > 1 and len(parts[-1]) < _PART // 3:
            rest = parts.pop()
            parts[-1] += rest
        return min(self._gain(part) for part in parts)

    def _gain(self, words: list[str]) -> float:
        order, shuffled = random.Random(" ".join(words)), []
        for _ in range(_SHUFFLES):
            other = list(words)
            order.shuffle(other)
            shuffled.append(" ".join(other))
        first, *others = self._log_probabilities([" ".join(words), *shuffled])
        return first - sum(others) / len(others)

    def load(self) -> None:
        """Load the model now rather than on the first text.

        Raises:
            ConfigError, MissingExtra, AssetError: it, or what loads it, is not there.
        """
        self._model()

    def forget(self) -> None:
        """Let the model go."""
        self._loaded = None

    def _model(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = load_model(self.model)
            return self._loaded

    def _log_probabilities(self, texts: list[str]) -> list[float]:
        """Mean over each text's tokens, the first `_TOKENS` of them."""
        import torch

        model, tokenizer = self._model()
        # A line's end goes before, so that the first token has something to follow.
        rows = [tokenizer.encode("\n" + text)[: _TOKENS + 1] for text in texts]
        longest = max(len(row) for row in rows)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            found = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0] * mask[:, 1:]
        return [float(value) for value in found.sum(1) / mask[:, 1:].sum(1)]
