"""What an evaluation took: documents and answers, tokens, cost and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from llmi_env.evaluate.kept import Answer, DocumentCost

_NAMED = 5  # reasons that are told
_REASON = 300
_QUANTILES = (0.5, 0.9, 0.99)


class Seconds(BaseModel):
    """Times of many of a kind: their sum, and the 50th, 90th and 99th percentile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total: float
    quantiles: tuple[float, float, float] | None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Seconds:
        """Sum them up."""
        found = np.quantile(seconds, _QUANTILES) if len(seconds) else None
        return cls(
            total=float(np.sum(seconds)),
            quantiles=None if found is None else (float(found[0]), float(found[1]), float(found[2])),
        )


class Writing(BaseModel):
    """What the documents took.

    Attributes:
        wanted: documents asked for.
        written: those that are there.
        reasons: why the others are not, and how many of each reason; the most frequent ones.
        calls: calls in them.
        pictures: pictures that came.
        world_faults: calls that the world failed.
        tokens: written, of documents that did not come too.
        prompt_tokens: read.
        counted: whether all tokens were counted where they were made, and none guessed.
        cost: in the currency of the prices; `None` where one of them is not known.
        seconds: from order to document, waiting included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    wanted: int
    written: int
    reasons: dict[str, int]
    calls: int
    pictures: int
    world_faults: int
    tokens: int
    prompt_tokens: int
    counted: bool
    cost: float | None
    seconds: Seconds


class Judging(BaseModel):
    """What one judge answered, and what that took.

    Attributes:
        asked: scores asked for: one for each criterion of each question about each document that is there.
        scored: those that are there.
        reasons: why the others are not, and how many of each reason; the most frequent ones.
        requests: made, those in vain and repeated ones included.
        prompt_tokens: tokens of the requests.
        tokens: tokens of the replies.
        cost: in the currency of the prices; `None` where it is not known.
        seconds: from question to answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: int
    scored: int
    reasons: dict[str, int]
    requests: int
    prompt_tokens: int
    tokens: int
    cost: float | None
    seconds: Seconds


def writing(
    wanted: int, came: Sequence[DocumentCost], in_vain: Sequence[DocumentCost], reasons: Iterable[str], **counts: int
) -> Writing:
    """What the documents took.

    Args:
        wanted: documents asked for.
        came: what those took that are there.
        in_vain: what those took that did not come.
        reasons: why documents are missing.
        **counts: `calls`, `pictures` and `world_faults` of the documents.
    """
    both = [*came, *in_vain]
    return Writing(
        wanted=wanted,
        written=len(came),
        reasons=_most_frequent(reasons),
        tokens=sum(one.tokens for one in both),
        prompt_tokens=sum(one.prompt_tokens for one in both),
        counted=all(one.counted for one in both),
        cost=_total(one.cost for one in both),
        seconds=Seconds.of([one.seconds for one in came]),
        **counts,
    )


def judging(scored: int, reasons: Sequence[str], lines: Sequence[Answer]) -> Judging:
    """What a judge's answers took.

    Args:
        scored: scores that are there.
        reasons: why each of the others is not.
        lines: every answer, those in vain too.
    """
    return Judging(
        asked=scored + len(reasons),
        scored=scored,
        reasons=_most_frequent(reasons),
        requests=sum(one.requests for one in lines),
        prompt_tokens=sum(one.prompt_tokens for one in lines),
        tokens=sum(one.tokens for one in lines),
        cost=_total(one.cost for one in lines),
        seconds=Seconds.of([one.seconds for one in lines]),
    )


def _most_frequent(reasons: Iterable[str]) -> dict[str, int]:
    return dict(Counter(reason[:_REASON] for reason in reasons).most_common(_NAMED))


def _total(costs: Iterable[float | None]) -> float | None:
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
