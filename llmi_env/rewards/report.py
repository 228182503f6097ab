"""What a reward says about one document: every term, what it was worth, and why there is no score where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llmi_env.world.protocol import Judgment, Scored, Unscored


@dataclass(frozen=True)
class TermReport:
    """One term.

    Attributes:
        weight: its share of the total.
        raw: the score as given: 1..5 from a judge, 0..1 from a rule; `None` where there is none.
        value: what it came to in [0, 1], gates applied; `None` where it or a gate has no score.
        rationale: the judge's words, or the rule or special case that fixed the score.
        unscored: why there is no score; empty where there is one.
    """

    weight: float
    raw: float | None
    value: float | None
    rationale: str = ""
    unscored: str = ""


@dataclass(frozen=True)
class RewardReport:
    """A reward with everything that it was made of. `to_json` and `from_json` are exact inverses.

    Attributes:
        total: the reward in [0, 1]; `None` when it is unscored, which is never to be read as a low score.
        terms: each term by name.
        unscored: why there is no total; empty where there is one.
        versions: of the reward, and of judge and prompts where they are known.
        counts: calls, pictures and faults.
        judgments: what the judges said, whether or not the total needed it: another reward can be computed from them.
        facts: what the rules saw of the document (`Facts.to_json`), for the same purpose.
    """

    total: float | None
    terms: Mapping[str, TermReport]
    unscored: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    judgments: Mapping[str, Judgment] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether there is a total."""
        return self.total is not None

    @property
    def values(self) -> dict[str, float]:
        """Value of each term that has one, in [0, 1]."""
        return {name: term.value for name, term in self.terms.items() if term.value is not None}

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "total": self.total,
            "terms": {name: asdict(term) for name, term in self.terms.items()},
            "unscored": list(self.unscored),
            "versions": dict(self.versions),
            "counts": dict(self.counts),
            "judgments": {term: asdict(judgment) for term, judgment in self.judgments.items()},
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RewardReport:
        """Read what `to_json` wrote."""
        return cls(
            total=data["total"],
            terms={name: TermReport(**term) for name, term in data["terms"].items()},
            unscored=tuple(data["unscored"]),
            versions=dict(data["versions"]),
            counts=dict(data["counts"]),
            judgments={term: judgment_from(given) for term, given in data.get("judgments", {}).items()},
            facts=dict(data.get("facts", {})),
        )


def judgment_from(data: Mapping[str, Any]) -> Judgment:
    """A judgment as `dataclasses.asdict` gave it."""
    return Unscored(data["reason"]) if "reason" in data else Scored(**{**data, "votes": tuple(data["votes"])})
