"""The hybrid reward: rules and judgments, combined by a preset.

Every preset has the same form. A term's score becomes a value in [0, 1] (a judge's 1..5 by `(score - 1) / 4`), is multiplied by its
gates, and the weighted values are added up. LLM-I's formula

    R = 0.2 R_num + 0.3 R_mllm R_num + 0.5 R_llm,   R_llm = ((1.4 text + 0.6 calls) / 2 - 1) / 4

is such a sum: 0.2 `image_count`, 0.35 `text_quality`, 0.15 `call_quality`, and 0.1 for each of three picture terms gated by `image_count`.

`llmi` is a sum of the same form, described term by term in `envs_configs/rewards/llmi.yaml`: 0.20 `text_quality`, 0.52 for the calls (which
tool, whether it can be carried out, whether it brought a picture, how well it is put), 0.28 for the pictures. All is gated by the text, what
calls brought by the choice of tools; pictures that are wanted and missing earn nothing, and what the world failed does not cost.

No score is not a low score: where a term that the total needs has no judgment, the total is `None` and the report says why.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.rewards.facts import Facts
from llmi_env.rewards.own_terms import load_term
from llmi_env.rewards.preset import RULE_TERMS, Preset, SpecialCase, TermSpec, is_path
from llmi_env.rewards.report import RewardReport, TermReport
from llmi_env.rewards.reward_term import RewardTerm
from llmi_env.rewards.rules import (
    DIFFICULTY,
    FREE,
    NONE_ALLOWED,
    call_success,
    call_validity,
    image_count,
    plain_text,
    tool_choice,
    tool_use,
)
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments, Scored

NOT_JUDGED = "no judge scores this term"
"""Why a term has no score where no judge was asked, as against one that failed."""

_DIGITS = 10  # rounds away the dust of binary fractions, so that 0.825 is 0.825
_PLUGIN_DIFFICULTY = 0.1


class HybridReward:
    """Scores finished documents by a preset.

    Args:
        preset: terms, weights, gates, special cases and how to count.
        exact: use the evaluation variant of `image_count` (1 or 0).
        own: terms of the caller's, computed from the document; the preset's keep what their weights leave.

    Raises:
        ConfigError: a term of the caller's that the preset has already, weights of more than 1 together, or a term that the preset
            names by `use` and that cannot be found or called.

    >>> HybridReward.preset("paper").combine({"image_count": 1, "text_quality": 3, "call_quality": 5,
    ...     "image_quality": 5, "task_relevance": 5, "text_image_relevance": 5})
    0.825
    """

    def __init__(self, preset: Preset, *, exact: bool = False, own: Sequence[RewardTerm] = ()) -> None:
        names = [term.name for term in own]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"reward terms given twice: {', '.join(sorted(twice))}")
        self.spec = preset.joined({term.name: TermSpec(weight=term.weight, gates=term.gates) for term in own})
        self._needed = self.spec.needed
        self.exact = exact or preset.counting.exact
        named = {name: load_term(name, term) for name, term in preset.terms.items() if term.use is not None}
        self._own = named | {term.name: term for term in own}
        self._rules = frozenset((*RULE_TERMS, *self._own))

    @classmethod
    def load(cls, source: str | Path, *, exact: bool = False) -> HybridReward:
        """The reward that a configuration names: a preset that ships, or the path of a YAML file (`.yaml`, `.yml`, or with a `/`).

        Raises:
            ConfigError: there is no such preset or file, it holds no preset, or a term of the user's in it cannot be used.
        """
        if is_path(source):
            return cls.from_file(Path(source).expanduser(), exact=exact)
        return cls.preset(str(source), exact=exact)

    @classmethod
    def preset(cls, name: str, *, exact: bool = False) -> HybridReward:
        """The reward of a preset that ships: `paper`, `paper-vl`, `llmi`, or `rules` (no judge).

        Raises:
            ConfigError: when there is none of that name.
        """
        return cls(Preset.bundled(name), exact=exact)

    @classmethod
    def from_file(cls, path: str | Path, *, exact: bool = False) -> HybridReward:
        """The reward of a YAML file of your own, laid out as those in `envs_configs/rewards/`.

        Raises:
            ConfigError: when the file cannot be read or holds no preset.
        """
        return cls(Preset.from_file(path), exact=exact)

    def reweighted(self, **weights: float) -> HybridReward:
        """The same reward with other weights for some terms (0 switches one off), scaled so that all add up to 1."""
        return self._with(self.spec.reweighted(weights))

    def without(self, *names: str) -> HybridReward:
        """The same reward as if it had never had these terms: no weight, no gate by them."""
        return self._with(self.spec.without(names))

    def ungated(self) -> HybridReward:
        """The same reward without gates: every term counts by itself."""
        return self._with(self.spec.ungated())

    def exactly(self) -> HybridReward:
        """The same reward with the evaluation variant of `image_count`."""
        return self._with(self.spec.exactly())

    def _with(self, spec: Preset) -> HybridReward:
        made = copy.copy(self)
        made.spec, made._needed, made.exact = spec, spec.needed, self.exact or spec.counting.exact
        made._own = {name: term for name, term in self._own.items() if name in spec.terms}
        return made

    def extended(self, terms: Sequence[RewardTerm]) -> HybridReward:
        """The same reward with terms of the caller's besides; those of the preset keep what the new weights leave."""
        made = HybridReward(self.spec, exact=self.exact, own=terms)
        made._own = self._own | made._own
        made._rules |= self._rules
        return made

    @property
    def own_terms(self) -> tuple[str, ...]:
        """Terms of the user's, which need the document itself."""
        return tuple(self._own)

    @property
    def name(self) -> str:
        """Name of the preset."""
        return self.spec.name

    @property
    def version(self) -> str:
        """Name and version of the preset, as it stands in reports."""
        own = "".join(f"+{term.name}/{term.version}" for term in self._own.values())
        return f"{self.spec.name}/{self.spec.version}" + ("/exact" if self.exact else "") + own

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of all terms."""
        return tuple(self.spec.terms)

    @property
    def judged_terms(self) -> tuple[str, ...]:
        """Terms that a judge must score for there to be a total; empty for a reward of rules only."""
        return tuple(name for name in self._needed if name not in self._rules)

    # ---------------------------------------------------------------------------------------------------------- combining

    def combine(self, scores: Mapping[str, float]) -> float:
        """The reward of given scores, 1..5 from judges and 0..1 from rules, by name of the term.

        Special cases belong to documents and do not apply here. Terms without a weight may be left out.

        Raises:
            ConfigError: for a term that is missing, unknown, or outside of its range.
        """
        for name in scores:
            if name not in self.spec.terms:
                raise ConfigError(f"reward {self.name!r}: no term {name!r}{did_you_mean(name, self.spec.terms)}")
        if missing := [name for name in self._needed if name not in scores]:
            raise ConfigError(f"reward {self.name!r}: no score for {', '.join(missing)}")
        values = {name: self._unit(name, score) for name, score in scores.items()}
        total = self._total({name: self._gated(name, values) for name in self._needed})
        assert total is not None  # every needed term has a score
        return total

    def score(
        self,
        document: Document,
        task: Task,
        judgments: Judgments | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> RewardReport:
        """The reward of a document, term by term.

        Args:
            document: what was written, outcomes in place.
            task: what was asked for.
            judgments: of the judges, by term; a needed term that is not among them is unscored.
            versions: of judge and prompts, for the report.
        """
        facts = Facts.of(document, task)
        scores = {name: partial(term.of, document, task) for name, term in self._own.items()}
        return self._score(facts, task, judgments or {}, versions or {}, scores)

    def score_facts(
        self, facts: Facts, task: Task, judgments: Judgments | None = None, versions: Mapping[str, str] | None = None
    ) -> RewardReport:
        """The same for a document of which only the facts are at hand, e.g. those of a stored report.

        Terms of the caller's need the document itself and have no score here.
        """

        def absent() -> float:
            raise ValueError("needs the document, of which only the facts are at hand")

        return self._score(facts, task, judgments or {}, versions or {}, dict.fromkeys(self._own, absent))

    def _score(
        self,
        facts: Facts,
        task: Task,
        judgments: Judgments,
        versions: Mapping[str, str],
        own: Mapping[str, Callable[[], float]],
    ) -> RewardReport:
        raw: dict[str, float] = {}
        said: dict[str, str] = {}
        missing: dict[str, str] = {}
        for name in (term for term in self.spec.terms if term not in self._rules):
            case = self._special(name, facts)
            judgment = judgments.get(name)
            if case is not None:
                raw[name], said[name] = case.score, f"fixed: {case.when.replace('_', ' ')}"
            elif isinstance(judgment, Scored):
                raw[name], said[name] = judgment.score, judgment.rationale
            else:
                missing[name] = judgment.reason if judgment is not None else NOT_JUDGED
        for name in (term for term in self.spec.terms if term in RULE_TERMS):
            ruled = self._rule(name, facts, task, raw)
            if ruled is None:
                missing[name] = f"needs {self.spec.counting.free_choice}, which has no score"
            else:
                raw[name], said[name] = ruled, "rule"
        for name, score in own.items():
            try:
                raw[name], said[name] = score(), "rule of the caller's"
            except Exception as error:
                # A term that fails says nothing about the document: no score, not a low one.
                missing[name] = f"{type(error).__name__}: {error}"
        judges = sorted({given.judge for given in judgments.values() if isinstance(given, Scored) and given.judge})
        told = {**({"judges": ", ".join(judges)} if judges else {}), **versions}
        report = self._report(facts, raw, said, missing, told)
        return replace(report, judgments=dict(judgments), facts=facts.to_json())

    # ---------------------------------------------------------------------------------------------------------- inside

    def _report(
        self,
        facts: Facts,
        raw: Mapping[str, float],
        said: Mapping[str, str],
        missing: Mapping[str, str],
        versions: Mapping[str, str],
    ) -> RewardReport:
        units = {name: self._unit(name, score) for name, score in raw.items()}
        values = {name: self._gated(name, units) for name in self.spec.terms}
        reasons = [f"{name}: {missing[name]}" for name in self._needed if name in missing]
        rule = self.spec.counting.unscored
        if facts.world_faults and (rule == "any" or (rule == "no_picture_left" and not facts.pictures)):
            reasons.append(f"{facts.world_faults} of {facts.calls} calls failed through no fault of the policy")
        terms = {
            name: TermReport(spec.weight, raw.get(name), values[name], said.get(name, ""), missing.get(name, ""))
            for name, spec in self.spec.terms.items()
        }
        total = None if reasons else self._total({name: values[name] for name in self._needed})
        return RewardReport(total, terms, tuple(reasons), {"reward": self.version, **versions}, facts.as_counts())

    def _special(self, term: str, facts: Facts) -> SpecialCase | None:
        for case in self.spec.special:
            if term in case.terms and self._applies(case, facts):
                return case
        return None

    def _applies(self, case: SpecialCase, facts: Facts) -> bool:
        match case.when:
            case "no_picture":
                # Where the world's faults count as found, a picture that it owes leaves nothing to judge rather than a bad one.
                return not facts.pictures and not (self._owed and facts.world_faults)
            case "more_pictures_than":
                return case.limit is not None and facts.pictures > case.limit
            case "no_text":
                return not facts.has_text
            case "no_call":
                return not facts.calls
            case "no_call_count_free":
                return not facts.calls and facts.wanted == FREE
            case "no_call_none_wanted":
                return not facts.calls and facts.wanted == NONE_ALLOWED

    @property
    def _owed(self) -> bool:
        return self.spec.counting.world_faults == "found"

    def _rule(self, name: str, facts: Facts, task: Task, raw: Mapping[str, float]) -> float | None:
        if name == "image_count":
            return self._image_count(facts, task)
        if name == "tool_use":
            weights: dict[str, float] = dict.fromkeys(task.tools, _PLUGIN_DIFFICULTY) | dict(DIFFICULTY)
            return tool_use(task.tools, facts.valid_tools, facts.succeeded_tools, weights)
        if name == "plain_text":
            return plain_text(facts.slips)
        if facts.wanted == NONE_ALLOWED:
            return float(not facts.calls)
        if not facts.calls:
            return self.spec.counting.free_call_credit if facts.wanted == FREE and not task.tools else 0.0
        if name == "call_success":
            return call_success(facts.rungs, facts.world_faults, facts.exactly)
        if name == "call_validity":
            return call_validity(facts.rungs, facts.world_faults, facts.exactly)
        if task.tools:
            return tool_choice(task.tools, facts.useful_tools, facts.calls, facts.budget, facts.exactly)
        within = min(len(facts.useful_tools), facts.budget) / facts.calls
        if self.spec.counting.free_choice is None:
            return within
        judged = raw.get(self.spec.counting.free_choice)
        return None if judged is None else within * (judged - 1) / 4

    def _image_count(self, facts: Facts, task: Task) -> float:
        counting = self.spec.counting
        found = facts.usable if counting.pictures == "usable" else facts.pictures
        found += facts.world_faults if self._owed else 0
        if facts.wanted == FREE and not found and counting.free_without_picture < 1:
            return 0.0 if task.tools else counting.free_without_picture
        score = image_count(found, facts.wanted, self.exact)
        if counting.pictures == "usable" and facts.repeats and not self.exact:
            # A picture that was asked for again fills no place that is empty, and stands in the reader's way.
            score *= max(0.0, 1.0 - facts.repeats / max(1, facts.pictures + facts.world_faults))
        return score

    def _gated(self, name: str, units: Mapping[str, float]) -> float | None:
        if name not in units:
            return None
        value = units[name]
        for gate in self.spec.terms[name].gates:
            if gate.term not in units:
                return None
            value *= min(1.0, units[gate.term] / gate.full_at)
        return round(value, _DIGITS)

    def _total(self, values: Mapping[str, float | None]) -> float | None:
        parts = []
        for name, value in values.items():
            weight = self.spec.terms[name].weight
            if weight and value is None:
                return None
            parts.append(weight * (value or 0.0))
        return min(1.0, max(0.0, round(math.fsum(parts), _DIGITS)))

    def _unit(self, name: str, score: Any) -> float:
        low, high = (0.0, 1.0) if name in self._rules else (1.0, 5.0)
        if isinstance(score, bool) or not isinstance(score, int | float) or not low <= score <= high:
            raise ConfigError(f"{name}: a score in {low:g}..{high:g} is needed, not {score!r}")
        return float((score - low) / (high - low))
