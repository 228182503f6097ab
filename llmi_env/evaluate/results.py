"""What an evaluation comes to: figures with intervals over items, and with bounds where answers are missing.

An answer that never came is no low score. A figure that needs it is open: it lies between what it would be with the least and with the greatest
score in every open place. Means are taken over what is known, beside them stand how much is missing and the bounds of the mean over everything;
where they lie far apart, the mean says little. A document that never came may have been anything on the scale.

Everything is computed from the folder again at any time. `results.json` is a copy for other programs, for pages and for comparisons.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from llmi_env.errors import ConfigError
from llmi_env.evaluate.agreements import JudgesAgreement, Point, agreements
from llmi_env.evaluate.benchmark import Benchmark, Item
from llmi_env.evaluate.figures import PANEL, Figure, Range, Sheet, mean_range
from llmi_env.evaluate.kept import Answer, EvaluationFolder, Key
from llmi_env.evaluate.partial_judges import judges_that_chose, judges_that_trained
from llmi_env.evaluate.scoring import DocumentScores, criterion_name, scores_of, unknown
from llmi_env.evaluate.tool_use import ToolTally, ToolUse, added, summarise_tools, tally
from llmi_env.evaluate.totals import Judging, Writing, judging, writing
from llmi_env.folders import write_whole
from llmi_env.judges.openai_judge import Graded

RESULTS = "results.json"
"""Name of the file in a folder of an evaluation."""

_FORMAT = 1


class ItemFigures(BaseModel):
    """One item, for comparisons and for the page.

    Attributes:
        kind: the part of the benchmark that it belongs to.
        samples: of each document wanted, by its number, the range in which each measure lies: one value where nothing is missing.
        tools: counts of tool use over its documents.
        texts: what its criteria ask, by `QUESTION/CRITERION`, where that is not the same for all items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    samples: dict[int, dict[str, Range]]
    tools: dict[str, ToolTally]
    texts: dict[str, str]

    def value(self, measure: str) -> float | None:
        """The mean over the documents that have a value."""
        known = [one[measure].low for one in self.samples.values() if measure in one and one[measure].known]
        return fmean(known) if known else None

    def bounds(self, measure: str) -> Range | None:
        """The range of the mean over all documents; `None` where the measure is not about the item."""
        found = [one[measure] for one in self.samples.values() if measure in one]
        return mean_range(found) if found else None


class Results(BaseModel):
    """An evaluation summed up.

    Attributes:
        format: of this file.
        benchmark: its name.
        version: of the benchmark, with all that moves a measure.
        data: digest of the items.
        paper: where the protocol is published.
        headline: the measure that comes first.
        policy: who wrote.
        judges: who judged, with all that can move a score.
        samples: documents for each item.
        seed: of the intervals.
        measures: figures of the benchmark.
        criteria: scores of judges, by `llmi_env.evaluate.scoring.criterion_name`.
        tools: tool use in four parts.
        writing: totals of the documents.
        judging: totals of each judge.
        agreements: how far each two judges agree.
        warnings: what a reader must know before believing the figures.
        items: each item by its id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = _FORMAT
    benchmark: str
    version: str
    data: str
    paper: str
    headline: str
    policy: str
    judges: dict[str, dict[str, Any]]
    samples: int
    seed: int
    measures: dict[str, Figure]
    criteria: dict[str, Figure]
    tools: ToolUse
    writing: Writing
    judging: dict[str, Judging]
    agreements: list[JudgesAgreement]
    warnings: list[str]
    items: dict[str, ItemFigures]

    @property
    def complete(self) -> bool:
        """Whether no document and no score is missing."""
        scored = all(judge.scored == judge.asked for judge in self.judging.values())
        return scored and self.writing.written == self.writing.wanted

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Any) -> Results:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: it is something else, or of another version.
        """
        if isinstance(data, dict) and data.get("format") != _FORMAT:
            raise ConfigError(f"results of format {data.get('format')!r:.40}, this version reads {_FORMAT}")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"no results of an evaluation: {place or 'all of it'}: {first['msg']}") from None

    def save(self, folder: Path) -> Path:
        """Write `results.json` of a folder; it appears whole or not at all."""
        path = folder / RESULTS
        write_whole(path, json.dumps(self.to_json(), indent=1, allow_nan=False))
        return path

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Read `results.json` of a folder.

        Raises:
            ConfigError: there is none, or it is no such file.
        """
        path = folder / RESULTS
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"{path}: {error}. 'llmi evaluate' with the same options and --resume makes it anew"
            ) from None


def summarise(benchmark: Benchmark, items: Sequence[Item], folder: EvaluationFolder, seed: int = 0) -> Results:
    """Sum an evaluation up, also one that has not finished.

    Args:
        benchmark: its protocol.
        items: what was to be written, in the order in which the folder keeps it.
        folder: documents and answers.
        seed: of the intervals.

    Raises:
        BenchmarkError: the benchmark gives a figure that it does not declare, or one off its scale.
        ConfigError: no evaluation, or one of other items.
        StoreError: a file of the folder is broken.
    """
    return _Summary(benchmark, folder, seed).results(items)


class _Summary:
    """Collects what documents come to, one after the other; no more than one of them is held."""

    def __init__(self, benchmark: Benchmark, folder: EvaluationFolder, seed: int) -> None:
        self._benchmark, self._folder, self._seed, self._config = benchmark, folder, seed, folder.config
        self._answers = {judge: folder.answers_of(judge) for judge in self._config["judges"]}
        self._standing: dict[str, dict[Key, dict[str, Answer]]] = {judge: {} for judge in self._answers}
        for judge, of in self._answers.items():
            for (item, sample, question), answer in of.standing().items():
                self._standing[judge].setdefault((item, sample), {})[question] = answer
        self._measures, self._criteria = Sheet(), Sheet()
        self._scales: dict[str, Range] = {}
        self._texts: dict[str, set[str]] = {}
        self._shares: dict[str, dict[str, dict[Point, float]]] = {judge: {} for judge in self._answers}
        self._unscored: dict[str, list[str]] = {judge: [] for judge in self._answers}
        self._scored = Counter(dict.fromkeys(self._answers, 0))
        self._counts = Counter(calls=0, pictures=0, world_faults=0)
        self._fit_judged = False

    def results(self, items: Sequence[Item]) -> Results:
        config, folder, benchmark = self._config, self._folder, self._benchmark
        ids, samples = config["benchmark"]["items"], int(config["samples"])
        if len(ids) != len(items):
            raise ConfigError(f"{folder.path} is an evaluation of {len(ids)} items, not of these {len(items)}")
        costs, found = folder.costs(), {}
        for place, item in enumerate(items):
            if item.id != ids[place]:
                raise ConfigError(f"{folder.path}: item {place + 1} is {ids[place]!r} there and {item.id!r} here")
            there = [sample for sample in range(samples) if (item.id, sample) in costs]
            found[item.id] = self._item(place, item, there, samples)
        common = {name: next(iter(texts)) for name, texts in self._texts.items() if len(texts) == 1}
        found = {name: _without(figures, common) for name, figures in found.items()}
        kinds = [figures.kind for figures in found.values()]
        scales = {measure.name: (measure.what, Range(measure.low, measure.high)) for measure in benchmark.measures}
        asked = {name: (common.get(name, ""), scale) for name, scale in self._scales.items()}
        reasons = list(folder.not_written().values())
        reasons += ["not written yet"] * (len(items) * samples - len(costs) - len(reasons))
        return Results(
            benchmark=benchmark.name,
            version=benchmark.version,
            data=str(config["benchmark"]["data"]),
            paper=benchmark.paper,
            headline=benchmark.headline,
            policy=str(config["policy"]),
            judges={name: dict(identity) for name, identity in config["judges"].items()},
            samples=samples,
            seed=self._seed,
            measures=self._measures.figures(scales, kinds, list(self._answers), self._seed),
            criteria=self._criteria.figures(asked, kinds, list(self._answers), self._seed),
            tools=summarise_tools([figures.tools for figures in found.values()], self._seed, judged=self._fit_judged),
            writing=writing(
                len(items) * samples, list(costs.values()), folder.costs_in_vain(), reasons, **self._counts
            ),
            judging={
                judge: judging(self._scored[judge], self._unscored[judge], of.lines)
                for judge, of in self._answers.items()
            },
            agreements=agreements(self._shares),
            warnings=[
                *judges_that_trained(str(config["policy"]), config["judges"]),
                *judges_that_chose(config["source"], config["judges"]),
            ],
            items=found,
        )

    def _item(self, place: int, item: Item, there: Sequence[int], samples: int) -> ItemFigures:
        found: dict[int, dict[str, Range]] = {}
        tools: list[dict[str, ToolTally]] = []
        texts: dict[str, str] = {}
        for sample in there:
            digest, rollout = self._folder.document(place, sample)
            answers = {judge: of.get((item.id, sample), {}) for judge, of in self._standing.items()}
            scores = scores_of(self._benchmark, item, rollout.document, digest, answers)
            found[sample] = self._note(place, (item.id, sample), scores)
            texts.update(scores.texts)
            tools.append(tally(rollout.task, rollout.document, scores.fit))
            self._fit_judged |= scores.fit != "not asked"
            self._counts["pictures"] += len(rollout.document.pictures)
            self._counts["calls"] += sum(of.calls for of in tools[-1].values())
            self._counts["world_faults"] += sum(of.world for of in tools[-1].values())
        # A document that never came has the figures that the item's others have; where there is none, all of them.
        concerned = {name for figures in found.values() for name in figures}
        for sample in sorted(set(range(samples)) - set(there)):
            found[sample] = unknown(self._benchmark, concerned)
            for name, anything in found[sample].items():
                for judge in (PANEL, *self._answers):
                    self._measures.add(name, judge, place, anything)
        return ItemFigures(kind=item.kind, samples=dict(sorted(found.items())), tools=added(tools), texts=texts)

    def _note(self, place: int, key: Key, scores: DocumentScores) -> dict[str, Range]:
        """Keep what judges make of one document; returns the measures of all judges together."""
        self._scales.update(scores.scales)
        for name, text in scores.texts.items():
            self._texts.setdefault(criterion_name(*name.rsplit("/", 1)), set()).add(text)
        measures: dict[str, list[Range]] = {}
        criteria: dict[str, list[Range]] = {}
        for judge, judged in scores.judges.items():
            for sheet, each, panel in (
                (self._measures, judged.measures, measures),
                (self._criteria, judged.criteria, criteria),
            ):
                for name, one in each.items():
                    panel.setdefault(name, []).append(one)
                    if judge:
                        sheet.add(name, judge, place, one)
            for name, told in judged.given.items() if judge else ():
                question, criterion = name.rsplit("/", 1)
                if not isinstance(told, Graded):
                    self._unscored[judge].append(told.reason)
                    continue
                self._scored[judge] += 1
                group = criterion_name(question, criterion)
                low, high = scores.scales[group]
                points = self._shares[judge].setdefault(group, {})
                points[(*key, question, criterion)] = (told.score - low) / (high - low)
        together = {name: mean_range(ranges) for name, ranges in measures.items()}
        for name, one in together.items():
            self._measures.add(name, PANEL, place, one)
        for name, ranges in criteria.items() if self._answers else ():
            self._criteria.add(name, PANEL, place, mean_range(ranges))
        return together


def _without(figures: ItemFigures, common: dict[str, str]) -> ItemFigures:
    """Without the texts that are the same for all items."""
    own = {name: text for name, text in figures.texts.items() if criterion_name(*name.rsplit("/", 1)) not in common}
    return figures.model_copy(update={"texts": own})
