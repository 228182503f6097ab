"""Tables of results, on the console and in Markdown, from rows of text; the first row is the heading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Rows = Sequence[Sequence[str]]

_WIDTH_OF_FILES = 160


def print_table(rows: Rows, console: Console) -> None:
    """Show a table; one without rows below its heading is left out."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if len(rows) < 2:
        return
    # Rich would squeeze it into 80 columns where the output is a file or a pipe.
    wide = console if console.is_terminal else Console(file=console.file, width=_WIDTH_OF_FILES)
    table = Table(*rows[0], box=box.SIMPLE)
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    wide.print(table)


def markdown_table(rows: Rows) -> str:
    """The same as Markdown."""
    body = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in body)
