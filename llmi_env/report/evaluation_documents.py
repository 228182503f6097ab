"""The documents of an evaluation as parts of a page: question, document, criteria with rationales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmi_env.document import Document, Figure, Picture
from llmi_env.episode import StopReason
from llmi_env.evaluate import showing
from llmi_env.evaluate.benchmarks.items import as_document
from llmi_env.evaluate.kept import ANSWERS, Answer, EvaluationFolder, Key
from llmi_env.evaluate.results import RESULTS, Results
from llmi_env.evaluate.scoring import STALE, criterion_name
from llmi_env.judges.openai_judge import Graded
from llmi_env.report import bars
from llmi_env.report.document_html import document_html
from llmi_env.report.rendering import render, safe, write_page
from llmi_env.rollout import Rollout
from llmi_env.store import FOLDER
from llmi_env.world.protocol import Unscored

_PAGE_CHARACTERS = 40_000_000
_OPEN = 3  # documents that are unfolded at first
_SIDE = 800  # pixels: no picture is shown larger


class Side:
    """One evaluation, as its documents are shown.

    Args:
        path: its folder.

    Raises:
        ConfigError: no evaluation, or one that was not summed up yet.
        StoreError: a file of answers is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, EvaluationFolder(path)
        config = self.folder.config
        self.results = Results.load(path)
        self.policy = str(config["source"].get("policy", config["policy"]))
        self._order = {name: at for at, name in enumerate(self.results.criteria)}
        self._first = {name.rsplit("/", 1)[0]: at for name, at in reversed(self._order.items())}
        self._places = {str(item): place for place, item in enumerate(config["benchmark"]["items"])}
        self._costs = self.folder.costs()
        wanted = ((item, sample) for item in self._places for sample in range(int(config["samples"])))
        self.keys = [key for key in wanted if key in self._costs]
        self._answers: dict[str, dict[Key, list[Answer]]] = {}
        for judge in self.folder.judges:
            for (item, sample, _), answer in self.folder.answers_of(judge).standing().items():
                self._answers.setdefault(judge, {}).setdefault((item, sample), []).append(answer)

    def title(self, key: Key) -> str:
        """The item's id, with the number of the document where there are several."""
        return key[0] if self.results.samples == 1 else f"{key[0]}, document {key[1] + 1}"

    def document(self, key: Key) -> tuple[str, Rollout]:
        """A document and the digest of what judges see of it."""
        return self.folder.document(self._places[key[0]], key[1])

    def about(self, key: Key, rollout: Rollout, at: int) -> dict[str, Any]:
        """What was asked for, for the template; `at` is the place on the page."""
        task, item = rollout.task, self.results.items.get(key[0])
        asked = [
            f"kind: {item.kind}" if item and item.kind else "",
            f"needs {', '.join(task.tools)}" if task.tools else "",
        ]
        asked.append(f"pictures wanted: {task.image_count}" if task.image_count != "any" else "")
        return {
            "anchor": f"d{at}",
            "open": at < _OPEN,
            "name": self.title(key),
            "summary": self._headline(key),
            "question": task.question,
            "facts": "; ".join(part for part in asked if part),
            "given": safe(document_html(shown(as_document(task.images)))) if task.images else "",
        }

    def body(self, key: Key, digest: str, rollout: Rollout) -> dict[str, Any]:
        """A document with its figures, for the template."""
        cost = self._costs[key]
        tokens = (
            [f"{cost.tokens:,} tokens"] if cost.counted or cost.tokens else []
        )  # of finished documents nobody knows
        took = [*tokens, f"{cost.seconds:.1f} s", *_cut(rollout)]
        return {
            "body": safe(document_html(shown(rollout.document))),
            "figures": list(self._figures(key).items()),
            "took": ", ".join(took),
            "scores": list(self._scores(key, digest)),
        }

    def _figures(self, key: Key) -> dict[str, str]:
        item = self.results.items.get(key[0])
        found = item.samples.get(key[1], {}) if item else {}
        measures = self.results.measures
        return {name: showing.range_cell(one, measures[name]) for name, one in found.items() if name in measures}

    def _headline(self, key: Key) -> str:
        name = self.results.headline
        value = self._figures(key).get(name)
        return "" if value is None else f"{name} {value}"

    def _scores(self, key: Key, digest: str) -> Iterator[dict[str, Any]]:
        """Criterion by criterion, the judges of each below each other."""
        item = self.results.items.get(key[0])
        given: dict[str, dict[str, Graded | Unscored]] = {}
        for judge, of in self._answers.items():
            for answer in of.get(key, ()):
                for criterion, told in answer.given.items():
                    counts = answer.document == digest or isinstance(told, Unscored)
                    given.setdefault(f"{answer.question}/{criterion}", {})[judge] = told if counts else Unscored(STALE)
        names = bars.short_names(list(given))
        for name, by in sorted(given.items(), key=self._place):
            figure = self.results.criteria.get(criterion_name(*name.rsplit("/", 1)))
            text = (item.texts.get(name, "") if item else "") or (figure.what if figure else "")
            for at, (judge, told) in enumerate(by.items()):
                yield {
                    "name": names[name] if at == 0 else "",
                    "judge": judge if len(self._answers) > 1 else "",
                    "text": text if at == 0 else "",
                    "score": f"{told.score:.4g}{f' of {figure.high:g}' if figure else ''}"
                    if isinstance(told, Graded)
                    else "missing",
                    "missing": isinstance(told, Unscored),
                    "why": told.rationale if isinstance(told, Graded) else told.reason,
                }

    def _place(self, entry: tuple[str, object]) -> tuple[int, int, int]:
        """Criteria stand in the order in which they are asked, whatever the order in which answers came."""
        question, criterion = entry[0].rsplit("/", 1)
        name = criterion_name(question, criterion)
        kind = name.rsplit("/", 1)[0]
        number = int(question.removeprefix(f"{kind}-")) if question != kind else 0
        last = len(self._order)
        return self._first.get(kind, last), number, self._order.get(name, last)


def _cut(rollout: Rollout) -> list[str]:
    return [] if rollout.stop is StopReason.END else [f"cut off by the limit of {rollout.stop.value}"]


def shown(document: Document) -> Document:
    """The same with its pictures no larger than a page shows them."""
    return Document(
        tuple(
            replace(block, outcome=_small(block.picture)) if isinstance(block, Figure) and block.picture else block
            for block in document
        )
    )


def _small(picture: Picture) -> Picture:
    if max(picture.image.size) <= _SIDE:
        return picture
    image = picture.image.convert("RGBA" if picture.image.has_transparency_data else "RGB")
    image.thumbnail((_SIDE, _SIDE))
    return Picture(image, picture.provenance, picture.seconds, picture.attachment, picture.queued)


def stale(path: Path) -> list[str]:
    """A warning where documents or answers came after the figures were summed up."""
    summed = (path / RESULTS).stat().st_mtime
    files = [*(path / FOLDER).glob("*.parquet"), *(path / ANSWERS).glob("*.jsonl")]
    if not any(file.stat().st_mtime > summed for file in files):
        return []
    return [
        f"{path.name}: documents or answers came after these figures were summed up. 'llmi evaluate' with the same options and --resume makes "
        "them anew"
    ]


def write_pages(folder: Path, name: str, entries: Iterator[tuple[str, Any]], template: str, **values: Any) -> Path:
    """Write a page with its documents, and further ones where they are too much for one; returns the first one's path.

    Args:
        folder: where they go.
        name: of the first page, without the suffix; the others are `NAME-2.html` and so on.
        entries: title and HTML of each document.
        template: of the first page.
        **values: of the template.
    """
    chunks = _chunks(entries)
    first = next(chunks, [])
    files, links = [f"{name}.html"], [_span(first)]
    for number, chunk in enumerate(chunks, 2):
        files.append(f"{name}-{number}.html")
        links.append(_span(chunk))
        write_page(
            folder / files[-1],
            render(
                "evaluation_documents.html.j2",
                title=f"{values['title']}: {links[-1]}",
                links=[{"text": "figures and all documents", "href": files[0]}],
                entries=[entry for _, entry in chunk],
            ),
        )
    pages = [{"text": text, "href": "" if file == files[0] else file} for text, file in zip(links, files, strict=True)]
    page = render(template, links=pages if len(pages) > 1 else [], entries=[entry for _, entry in first], **values)
    for old in folder.glob(f"{name}-*.html"):
        if old.name not in files and old.stem.removeprefix(f"{name}-").isdigit():
            old.unlink()
    return write_page(folder / files[0], page)


def _chunks(entries: Iterator[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """As many as one page takes; one at least."""
    chunk: list[tuple[str, Any]] = []
    size = 0
    for title, entry in entries:
        if chunk and size + len(entry) > _PAGE_CHARACTERS:
            yield chunk
            chunk, size = [], 0
        chunk.append((title, entry))
        size += len(entry)
    if chunk:
        yield chunk


def _span(chunk: list[tuple[str, Any]]) -> str:
    titles = [title for title, _ in chunk]
    return " to ".join(dict.fromkeys([*titles[:1], *titles[-1:]]))
