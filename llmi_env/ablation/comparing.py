"""Variants of a reward against each other, over the same episodes.

What a trainer learns from is not the reward but how the documents of a group stand to each other. So beside the mean the table says for each
variant how often it turns a pair of documents of one group round, and by how much it moves their advantages.

Axes: N episodes, T tasks, P pairs of episodes of one group, R bootstrap draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llmi_env.ablation.saved import SavedEpisode
from llmi_env.ablation.variants import Variant
from llmi_env.errors import ConfigError
from llmi_env.rewards.hybrid import NOT_JUDGED
from llmi_env.rewards.report import RewardReport
from llmi_env.rewards.statistics import Difference

Floats = NDArray[np.float64]

_RESAMPLES = 2000
_FLIPS = 10


@dataclass(frozen=True)
class Flip:
    """An episode that stands elsewhere in its group.

    Attributes:
        episode: file and row.
        task: id of its task.
        variant: which one moves it.
        ranks: in its group under base and variant, 1 the best; ties share the mean of theirs.
        rewards: under base and variant.
        of: how many of the group both score.
    """

    episode: str
    task: str
    variant: str
    ranks: tuple[float, float]
    rewards: tuple[float, float]
    of: int


@dataclass(frozen=True)
class VariantResult:
    """What a variant makes of the episodes. A figure that they cannot give is `None`, never 0.

    Attributes:
        name: of the variant.
        version: of its reward, as it would stand in reports.
        rewards: of each episode; `None` where it has none.
        impossible: why the variant cannot be computed from what is saved; empty where it can.
        mean: mean reward of the scored episodes.
        interval: 95 % bootstrap interval of the mean; tasks are drawn.
        difference: variant minus base over the episodes that both score, tasks drawn.
        unscored: episodes without a reward although there is a judgment for each term: a judge had failed, or the world.
        unjudged: episodes without a reward because a term was never judged.
        kendall: tau-b over all pairs of episodes of one group, against the base: 1 where every pair stands the same way.
        flipped: share of the pairs that the base puts in an order which the variant turns round.
        tied: share of the pairs that the base puts in an order and the variant does not.
        pairs: how many the base puts in an order, both episodes scored by the variant too.
        advantage_change: mean distance of the advantages from the base's, in standard deviations of a group.
        sign_changes: share of the episodes with an advantage under both whose advantage changes its sign: what was encouraged is discouraged.
        idle_groups: groups that nothing can be learned from: fewer than two scores, or all the same.
        flips: episodes that move most.
    """

    name: str
    version: str
    rewards: tuple[float | None, ...]
    impossible: str = ""
    mean: float | None = None
    interval: tuple[float, float] | None = None
    difference: Difference | None = None
    unscored: int = 0
    unjudged: int = 0
    kendall: float | None = None
    flipped: float | None = None
    tied: float | None = None
    pairs: int = 0
    advantage_change: float | None = None
    sign_changes: float | None = None
    idle_groups: int = 0
    flips: tuple[Flip, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """All variants over the same episodes; the first is the base.

    Attributes:
        episodes: file and row of each.
        tasks: how many tasks they are about.
        groups: how many groups of two and more there are.
        variants: base first.
        terms: names of the rows and columns of `correlation`.
        correlation: Spearman's, of the base's term scores before gates; `None` where one of the two never varies.
        notes: what a reader must know of the episodes.
    """

    episodes: tuple[str, ...]
    tasks: int
    groups: int
    variants: tuple[VariantResult, ...]
    terms: tuple[str, ...]
    correlation: tuple[tuple[float | None, ...], ...]
    notes: tuple[str, ...]

    @property
    def flips(self) -> list[Flip]:
        """The episodes that move most under any variant, each with the one that moves it furthest."""
        every = sorted((flip for result in self.variants for flip in result.flips), key=_distance)
        first: dict[str, Flip] = {}
        for flip in every:
            first.setdefault(flip.episode, flip)
        return list(first.values())[:_FLIPS]

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def ablate(episodes: Sequence[SavedEpisode], variants: Sequence[Variant], seed: int = 0) -> Ablation:
    """Score the episodes by every variant and compare each with the first, the base.

    Args:
        episodes: at least one.
        variants: at least one; with terms of the user's, the episodes must have their documents.
        seed: of the bootstrap.

    Raises:
        ConfigError: no episodes or no variants.
    """
    if not episodes or not variants:
        raise ConfigError("an ablation needs at least one episode and one variant")
    groups_N = np.unique([f"{e.file}:{e.group}" for e in episodes], return_inverse=True)[1]
    tasks_N = np.unique([e.task.id or e.task.key for e in episodes], return_inverse=True)[1]
    reports = [[episode.score(variant.reward) for episode in episodes] for variant in variants]
    frame = _Frame(episodes, groups_N, tasks_N, _pairs(groups_N), seed)
    base = _column(reports[0])
    terms, correlation = _correlation(reports[0])
    return Ablation(
        tuple(episode.id for episode in episodes),
        int(tasks_N.max()) + 1,
        int((np.bincount(groups_N) > 1).sum()),
        tuple(
            _result(frame, variant, scored, base if at else None)
            for at, (variant, scored) in enumerate(zip(variants, reports, strict=True))
        ),
        terms,
        correlation,
        tuple(_notes(episodes, variants[0], base)),
    )


def group_advantages(rewards_N: Floats, groups_N: NDArray[np.int64], scale: bool = True) -> Floats:
    """GRPO's advantages, as `trainers.losses.grpo_advantages` gives them.

    Args:
        rewards_N: (N,) rewards, NaN where there is none.
        groups_N: (N,) group of each.
        scale: divide by the group's standard deviation.

    Returns:
        (N,) advantages; NaN where there is no reward, zero in groups with fewer than two, or all the same.
    """
    advantages_N = np.where(np.isnan(rewards_N), np.nan, 0.0)
    for group in np.unique(groups_N):
        members = (groups_N == group) & ~np.isnan(rewards_N)
        scores = rewards_N[members]
        if len(scores) > 1 and scores.min() < scores.max():
            centred = scores - scores.mean()
            advantages_N[members] = centred / (scores.std(ddof=1) + 1e-6) if scale else centred
    return advantages_N


# --------------------------------------------------------------------------------------------------------------------- inside


@dataclass(frozen=True)
class _Frame:
    """What all variants share."""

    episodes: Sequence[SavedEpisode]
    groups_N: NDArray[np.int64]
    tasks_N: NDArray[np.int64]
    pairs_P: tuple[NDArray[np.int64], NDArray[np.int64]]
    seed: int

    @cached_property
    def draws_RT(self) -> Floats:
        """How often each draw of the bootstrap holds each task; the same draws for all variants."""
        tasks = int(self.tasks_N.max()) + 1
        dice = np.random.default_rng(self.seed)
        return dice.multinomial(tasks, np.full(tasks, 1 / tasks), size=_RESAMPLES).astype(np.float64)

    def interval(self, values_N: Floats) -> tuple[float, float, float]:
        """Mean of the values that are none of NaN, and its interval with tasks drawn."""
        there = ~np.isnan(values_N)
        tasks = self.draws_RT.shape[1]
        sums_T = np.bincount(self.tasks_N[there], values_N[there], minlength=tasks)
        counts_T = np.bincount(self.tasks_N[there], minlength=tasks)
        with np.errstate(invalid="ignore", divide="ignore"):
            means_R = (self.draws_RT @ sums_T) / (self.draws_RT @ counts_T)  # NaN where a draw holds no value
        low, high = np.nanquantile(means_R, [0.025, 0.975])
        return float(values_N[there].mean()), round(float(low), 12), round(float(high), 12)


def _result(frame: _Frame, variant: Variant, reports: Sequence[RewardReport], base_N: Floats | None) -> VariantResult:
    rewards_N = _column(reports)
    rewards = tuple(report.total for report in reports)
    version = variant.reward.version
    unjudged = [_unjudged(report) for report in reports]
    if not np.isfinite(rewards_N).any():
        missing = Counter(term for terms in unjudged for term in terms)
        why = [f"{term} was never judged in {count} of {len(reports)}" for term, count in missing.items()]
        reasons = Counter(reason for report in reports for reason in report.unscored)
        why = why or [f"{reason} ({count} of {len(reports)})" for reason, count in reasons.most_common(2)]
        return VariantResult(variant.name, version, rewards, "; ".join(why))
    mean, low, high = frame.interval(rewards_N)
    without = int(np.isnan(rewards_N).sum())
    never = sum(bool(terms) and report.total is None for terms, report in zip(unjudged, reports, strict=True))
    advantages_N = group_advantages(rewards_N, frame.groups_N)
    idle = sum(not np.nan_to_num(advantages_N[frame.groups_N == group]).any() for group in np.unique(frame.groups_N))
    made = VariantResult(
        variant.name, version, rewards, "", mean, (low, high), None, without - never, never, idle_groups=idle
    )
    if base_N is None or not np.isfinite(base_N).any():
        return made
    both_N = ~np.isnan(base_N) & ~np.isnan(rewards_N)
    changes: dict[str, Any] = {}
    if both_N.any():
        difference, low, high = frame.interval(np.where(both_N, rewards_N - base_N, np.nan))
        tasks = len(np.unique(frame.tasks_N[both_N]))
        changes["difference"] = Difference(round(difference, 12), low, high, tasks)
        before_N = group_advantages(np.where(both_N, base_N, np.nan), frame.groups_N)
        after_N = group_advantages(np.where(both_N, rewards_N, np.nan), frame.groups_N)
        changes["advantage_change"] = float(np.nanmean(np.abs(after_N - before_N)))
        signed = both_N & (before_N != 0) & (after_N != 0)
        if signed.any():
            changes["sign_changes"] = float((np.sign(before_N) != np.sign(after_N))[signed].mean())
    changes |= _pair_changes(frame, base_N, rewards_N)
    changes["flips"] = _flips(frame, variant.name, base_N, rewards_N)
    return VariantResult(**{**vars(made), **changes})


def _column(reports: Sequence[RewardReport]) -> Floats:
    return np.array([np.nan if report.total is None else report.total for report in reports], dtype=np.float64)


def _unjudged(report: RewardReport) -> list[str]:
    """Needed terms of which no judge was asked, as against those that a judge left without a score."""
    lacking = {reason.partition(":")[0] for reason in report.unscored}
    return [name for name, term in report.terms.items() if name in lacking and term.unscored == NOT_JUDGED]


def _pairs(groups_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(P,) and (P,): every pair of episodes of one group."""
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for group in np.unique(groups_N):
        members = np.flatnonzero(groups_N == group)
        first, second = np.triu_indices(len(members), 1)
        firsts.append(members[first])
        seconds.append(members[second])
    return np.concatenate(firsts), np.concatenate(seconds)


def _pair_changes(frame: _Frame, base_N: Floats, rewards_N: Floats) -> dict[str, Any]:
    first_P, second_P = frame.pairs_P
    before_P = np.sign(base_N[first_P] - base_N[second_P])
    after_P = np.sign(rewards_N[first_P] - rewards_N[second_P])
    there_P = ~np.isnan(before_P) & ~np.isnan(after_P)
    before_P, after_P = before_P[there_P], after_P[there_P]
    ordered = int((before_P != 0).sum())
    if not ordered:
        return {}
    product_P = before_P * after_P
    untied = np.sqrt(ordered * (after_P != 0).sum())
    return {
        "kendall": float(product_P.sum() / untied) if untied else None,
        "flipped": float((product_P < 0).sum() / ordered),
        "tied": float(((before_P != 0) & (after_P == 0)).sum() / ordered),
        "pairs": ordered,
    }


def _flips(frame: _Frame, name: str, base_N: Floats, rewards_N: Floats) -> tuple[Flip, ...]:
    both_N = np.flatnonzero(~np.isnan(base_N) & ~np.isnan(rewards_N))
    table = pd.DataFrame({"group": frame.groups_N[both_N], "base": base_N[both_N], "new": rewards_N[both_N]})
    ranks = table.groupby("group")[["base", "new"]].rank(ascending=False)
    sizes = table.groupby("group")["group"].transform("size")
    found = []
    for at, before, after, of in zip(both_N, ranks["base"], ranks["new"], sizes, strict=True):
        if before != after:
            episode = frame.episodes[int(at)]
            rewards = (float(base_N[at]), float(rewards_N[at]))
            task = episode.task.id or episode.task.key
            found.append(Flip(episode.id, task, name, (float(before), float(after)), rewards, int(of)))
    return tuple(sorted(found, key=_distance)[:_FLIPS])


def _distance(flip: Flip) -> tuple[float, float, str]:
    return -abs(flip.ranks[1] - flip.ranks[0]), -abs(flip.rewards[1] - flip.rewards[0]), flip.episode


def _correlation(reports: Sequence[RewardReport]) -> tuple[tuple[str, ...], tuple[tuple[float | None, ...], ...]]:
    scores = pd.DataFrame(
        [{name: term.raw for name, term in report.terms.items()} for report in reports], dtype=np.float64
    )
    ranked = scores.corr("spearman", min_periods=3)
    return tuple(scores.columns), tuple(
        tuple(None if np.isnan(value) else round(float(value), 3) for value in row) for row in ranked.to_numpy()
    )


def _notes(episodes: Sequence[SavedEpisode], base: Variant, base_N: Floats) -> list[str]:
    notes = []
    for what, name in (("reward", "scored by rewards of"), ("judges", "judged by different judges:")):
        versions = Counter(episode.report.versions.get(what, "") for episode in episodes)
        if len(versions) > 1:
            counted = ", ".join(f"{version or 'not said'} ({count})" for version, count in versions.most_common())
            notes.append(f"the episodes were {name} {'several versions: ' if what == 'reward' else ''}{counted}")
    rejudged = Counter(episode.rejudged for episode in episodes if episode.rejudged)
    for judge, count in rejudged.items():
        notes.append(
            f"judgments of another judge ({judge}) in {count} of {len(episodes)} episodes, the saved ones in the others"
        )
    if rejudged:
        return notes
    saved_N = np.array(
        [np.nan if episode.report.total is None else episode.report.total for episode in episodes], dtype=np.float64
    )
    same_N = np.isclose(saved_N, base_N, rtol=0, atol=1e-9, equal_nan=True)
    if not same_N.all():
        then = ", ".join(sorted({episode.report.versions.get("reward", "") or "not said" for episode in episodes}))
        notes.append(
            f"{base.name} as it is now ({base.reward.version}; saved: {then}) gives another reward than the saved one in "
            f"{int((~same_N).sum())} of {len(episodes)} episodes; every comparison is with what it gives now"
        )
    return notes
