"""A score from the probabilities of the score tokens at the answer's position.

A model that is asked for one digit gives more than its likeliest answer: the expectation over the digits tells a clear 4 from one that is
nearly a 3, and needs one pass of the model in place of a sampled reply (G-Eval, Liu et al. 2023, weights scores so too).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from llmi_env.errors import ConfigError

SCORES = (1, 2, 3, 4, 5)
_LONGEST_SPELLING = 8  # of a token that is a digit: `▁▁1`, `Ġ1` and the byte `<0x31>` are among them


@dataclass(frozen=True)
class Expectation:
    """What the model says about one term.

    Attributes:
        score: expectation over the scores, in 1..5, their probabilities scaled to add up to 1.
        mass: probability of the five together before that, in [0, 1].
        shares: the scaled probabilities of 1, 2, 3, 4 and 5.
    """

    score: float
    mass: float
    shares: tuple[float, ...]


def score_tokens(tokenizer: Any) -> dict[int, tuple[int, ...]]:
    """Ids of every token that is a score and nothing else, with or without white space around it, by score.

    Args:
        tokenizer: a `PreTrainedTokenizerBase`.

    Raises:
        ConfigError: a score has no token of its own.
    """
    found: dict[int, list[int]] = {score: [] for score in SCORES}
    for spelling, token in tokenizer.get_vocab().items():
        if len(spelling) <= _LONGEST_SPELLING and any(str(score) in spelling for score in SCORES):
            text = tokenizer.decode([token]).strip()
            if text in map(str, SCORES):
                found[int(text)].append(token)
    missing = [str(score) for score, tokens in found.items() if not tokens]
    if missing:
        raise ConfigError(f"the model's tokenizer has no token for {', '.join(missing)}: it cannot answer by one digit")
    return {score: tuple(sorted(tokens)) for score, tokens in found.items()}


def expectation(logits_V: ArrayLike, tokens: Mapping[int, Sequence[int]]) -> Expectation:
    """Read a score off the logits at the answer's position.

    Args:
        logits_V: (V,) logits over the vocabulary, of any float type.
        tokens: ids of each score's tokens; their probabilities are added.

    Raises:
        ValueError: a logit is NaN or +inf, or none is finite: the model computed no probabilities.
    """
    logits = np.asarray(logits_V, dtype=np.float64)
    if np.isnan(logits).any() or not np.isfinite(logits.max()):
        raise ValueError("the model's logits are not finite")
    total = _log_sum(logits)
    logs = np.array([_log_sum(logits[list(tokens[score])]) for score in SCORES]) - total
    together = _log_sum(logs)
    if not np.isfinite(together):  # all five are impossible: there is nothing to scale
        return Expectation(float(np.mean(SCORES)), 0.0, (1 / len(SCORES),) * len(SCORES))
    shares = np.exp(logs - together)
    score = float(np.clip(shares @ np.array(SCORES), SCORES[0], SCORES[-1]))
    return Expectation(score, float(np.exp(together)), tuple(float(share) for share in shares))


def _log_sum(logs: np.ndarray) -> float:
    return float(np.logaddexp.reduce(logs))
