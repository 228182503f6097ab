"""What a terminal shows while an evaluation runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from rich.console import Console


class Bars:
    """Two bars of progress: documents and answers. How many answers there will be is reckoned from the documents so far."""

    def __init__(self, console: Console | None, documents: int, judges: int) -> None:
        shown = console is not None and console.is_terminal
        columns = (
            TextColumn("{task.description:9}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        )  # fmt: skip
        self._progress = Progress(*columns, console=console, transient=True, disable=not shown)
        self._wanted, self._visits, self._questions, self._judges = documents, 0, 0, judges
        self._documents: TaskID = self._progress.add_task("documents", total=documents)
        self._answers: TaskID = self._progress.add_task("answers", total=None, visible=judges > 0)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show them for the length of the block."""
        with self._progress:
            yield

    def document(self) -> None:
        """A document is there, or will not come."""
        self._progress.advance(self._documents)

    def questions(self, count: int) -> None:
        """A judge has looked at a document and found so many questions about it."""
        self._visits += 1
        self._questions += count
        self._progress.update(self._answers, total=round(self._questions / self._visits * self._wanted * self._judges))

    def answer(self, count: int = 1) -> None:
        """So many questions are answered."""
        self._progress.advance(self._answers, count)
