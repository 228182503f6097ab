"""What judges' answers make of one document: each figure as a range, a point where nothing is missing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from llmi_env.document import Document
from llmi_env.evaluate.benchmark import Benchmark, BenchmarkError, Item, Question
from llmi_env.evaluate.figures import SAME, Range, mean_range
from llmi_env.evaluate.grading import question_digest, questions_of
from llmi_env.evaluate.kept import Answer
from llmi_env.evaluate.tool_use import PICTURE_FITS, Fit, NamesPictureFit
from llmi_env.judges.openai_judge import Graded
from llmi_env.world.protocol import Unscored

NOT_ASKED = "not asked yet"
"""Why there is no score where a judge has not come to a question."""

STALE = "answered about another document, or to another question of that name"
"""Why an answer does not count."""

_NUMBERED = re.compile(r"-\d+\Z")


@dataclass(frozen=True)
class JudgedDocument:
    """One judge on one document.

    Attributes:
        given: every criterion asked, by `QUESTION/CRITERION`, with score and rationale or why there is none.
        criteria: the same as ranges, by `criterion_name`; where several questions are of one name, their mean.
        measures: figures of the benchmark.
    """

    given: Mapping[str, Graded | Unscored]
    criteria: Mapping[str, Range]
    measures: Mapping[str, Range]


@dataclass(frozen=True)
class DocumentScores:
    """What all judges make of one document.

    Attributes:
        judges: each by name; one of no name where nobody judges.
        scales: of each criterion, by `criterion_name`.
        texts: what each criterion asks, by `QUESTION/CRITERION`.
        fit: how far up its scale the judgment of the document's pictures is.
    """

    judges: Mapping[str, JudgedDocument]
    scales: Mapping[str, Range] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    fit: Fit = "not asked"


def criterion_name(question: str, criterion: str) -> str:
    """The name under which scores of many documents are put together: questions that are numbered (`block-3`) are of one kind.

    >>> criterion_name("block-3", "holds"), criterion_name("r3", "met")
    ('block/holds', 'r3/met')
    """
    return f"{_NUMBERED.sub('', question)}/{criterion}"


def scores_of(
    benchmark: Benchmark,
    item: Item,
    document: Document,
    digest: str,
    answers: Mapping[str, Mapping[str, Answer]],
) -> DocumentScores:
    """Every figure of one document.

    Args:
        benchmark: its protocol.
        item: what was asked for.
        document: what was written.
        digest: of what judges see of it; an answer about another one does not count.
        answers: of each judge, by question.

    Raises:
        BenchmarkError: the benchmark gives a figure that it does not declare, or one off its scale.
    """
    questions = questions_of(benchmark, item, document)
    digests = {question.name: question_digest(question) for question in questions} if answers else {}
    judges = {}
    for judge, said in (answers or {"": {}}).items():
        given = {
            f"{question.name}/{criterion}": told
            for question in questions
            for criterion, told in _told(question, said.get(question.name), digest, digests).items()
        }
        judges[judge] = _judged(benchmark, item, document, questions, given)
    return DocumentScores(
        judges,
        {criterion_name(q.name, name): Range(q.low, q.high) for q in questions for name in q.criteria},
        {f"{q.name}/{name}": text for q in questions for name, text in q.criteria.items()},
        _fit(benchmark, questions, [judged.given for judged in judges.values()]) if answers else "not asked",
    )


def unknown(benchmark: Benchmark, measures: Collection[str] = ()) -> dict[str, Range]:
    """The figures of a document that never came: anything on their scales. All of them where none are named."""
    return {m.name: Range(m.low, m.high) for m in benchmark.measures if not measures or m.name in measures}


def _told(
    question: Question, answer: Answer | None, digest: str, digests: Mapping[str, str]
) -> dict[str, Graded | Unscored]:
    if answer is not None and (answer.document, answer.asked) != (digest, digests[question.name]):
        return dict.fromkeys(question.criteria, Unscored(STALE))
    given = answer.given if answer is not None else {}
    return {name: given.get(name, Unscored(NOT_ASKED)) for name in question.criteria}


def _judged(
    benchmark: Benchmark,
    item: Item,
    document: Document,
    questions: Sequence[Question],
    given: Mapping[str, Graded | Unscored],
) -> JudgedDocument:
    ranges: dict[str, Range] = {}
    grouped: dict[str, list[Range]] = {}
    for question in questions:
        for name in question.criteria:
            told = given[f"{question.name}/{name}"]
            one = Range(told.score, told.score) if isinstance(told, Graded) else Range(question.low, question.high)
            ranges[f"{question.name}/{name}"] = one
            grouped.setdefault(criterion_name(question.name, name), []).append(one)
    criteria = {name: mean_range(many) for name, many in grouped.items()}
    return JudgedDocument(given, criteria, _measures(benchmark, item, document, ranges))


def _measures(benchmark: Benchmark, item: Item, document: Document, scores: Mapping[str, Range]) -> dict[str, Range]:
    ends = [benchmark.measure(item, document, {name: one.low for name, one in scores.items()})]
    if not all(one.known for one in scores.values()):
        ends.append(benchmark.measure(item, document, {name: one.high for name, one in scores.items()}))
    scales = unknown(benchmark)
    if strange := sorted({name for end in ends for name in end} - scales.keys()):
        raise BenchmarkError(f"{benchmark.name}, item {item.id}: a figure {strange[0]!r} that it does not declare")
    for name, value in ((name, value) for end in ends for name, value in end.items()):
        scale = scales[name]
        if not scale.low - SAME <= value <= scale.high + SAME:  # nor is NaN between them
            where = f"{benchmark.name}, item {item.id}"
            raise BenchmarkError(
                f"{where}: a figure {name!r} of {value!r:.40} on a scale from {scale.low:g} to {scale.high:g}"
            )
    found = {}
    for name, scale in scales.items():
        values = [end[name] for end in ends if name in end]
        if len(values) == len(ends):
            found[name] = Range(min(values), max(values))
        elif values or name == benchmark.headline or benchmark.terms is not None:
            # A benchmark leaves out what an item has no figure of. Its first figure is about every item, and so are the terms of a reward.
            found[name] = scale
    return found


def _fit(benchmark: Benchmark, questions: Sequence[Question], given: Sequence[Mapping[str, Graded | Unscored]]) -> Fit:
    names = set(benchmark.picture_fits) if isinstance(benchmark, NamesPictureFit) else {PICTURE_FITS}
    shares: list[float] = []
    for question in questions:
        for criterion in question.criteria:
            if not {criterion, f"{question.name}/{criterion}"} & names:
                continue
            for said in given:
                told = said[f"{question.name}/{criterion}"]
                if isinstance(told, Unscored):
                    return "unscored"
                shares.append((told.score - question.low) / (question.high - question.low))
    return fmean(shares) if shares else "not asked"
