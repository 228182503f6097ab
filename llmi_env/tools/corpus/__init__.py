"""The pictures that the offline search tool finds: a curated set that ships, and the user's own.

A corpus is a folder with `manifest.jsonl`, one picture a line, and the pictures beside it. Every picture carries title, caption, author,
source and licence. The bundled corpus is read-only; `llmi corpus add` fills the user's own, which stands in the user's data folder
(`LLMI_DATA_DIR`, by default the platform's).

Sources (`folders`, `data_sets`, `debian`) give items, described by what stands beside them (`describing`); `adding` checks them
(`pictures`) and writes them down (`entries`, `keeping`). Ranking is in `llmi_env.tools.corpus_index`, the index of a large corpus in
`corpus_kept` and `corpus_update` beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmi_env.tools.corpus.adding import Added, add
from llmi_env.tools.corpus.describing import Columns
from llmi_env.tools.corpus.entries import MANIFEST, Corpus, Entry, bundled, entry_of, line_of, user, user_folder
from llmi_env.tools.corpus.keeping import Collection, Removed, collections, only_writer, remove

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "MANIFEST",
    "Added",
    "Collection",
    "Columns",
    "Corpus",
    "Entry",
    "Removed",
    "add_data_set",
    "add_debian",
    "add_folder",
    "build_index",
    "bundled",
    "collections",
    "entry_of",
    "index_ready",
    "line_of",
    "remove",
    "update_index",
    "user",
    "user_folder",
]


def add_folder(
    directory: Path | str,
    *,
    name: str | None = None,
    columns: Columns | None = None,
    link: bool = False,
    console: Console | None = None,
    into: Path | None = None,
) -> Added:
    """Take the pictures of `directory`, and of the folders in it, into the user's corpus.

    Captions are found as `folders.FolderSource` says. Pictures are checked, reduced to 640 pixels and copied; run again, only what is new or
    has changed is read.

    Args:
        directory: folder of pictures.
        name: of the collection; by default the folder's.
        columns: which column of its tables is the caption, and what stands for author, source and licence.
        link: leave the pictures where they are.
        console: where progress is shown; `None` shows none.
        into: the corpus to add to; by default the user's.

    Raises:
        ConfigError: no such folder, no picture in it, or a name that cannot be used.
        AssetError: the corpus cannot be read or written to.
    """
    from llmi_env.tools.corpus.folders import FolderSource

    source = FolderSource(directory, columns, skip=into or user_folder())
    return add(source, name=name, link=link, console=console, into=into)


def add_data_set(
    data_set: str,
    *,
    name: str | None = None,
    columns: Columns | None = None,
    subset: str | None = None,
    console: Console | None = None,
    into: Path | None = None,
) -> Added:
    """Take the pictures of a Hugging Face data set into the user's corpus, row by row as they arrive.

    Args:
        data_set: `NAME[:SPLIT]`: a name on the hub, a folder that `save_to_disk` made, or a parquet file.
        name: of the collection; by default the data set's.
        columns: which columns hold picture and caption, and what stands for author, source and licence.
        subset: the configuration of a data set that has several.
        console: where progress is shown; `None` shows none.
        into: the corpus to add to; by default the user's.

    Raises:
        MissingExtra: the library `datasets` is not installed.
        ConfigError: no such data set, split or column, or a name that cannot be used.
        AssetError: the corpus cannot be read or written to.
    """
    from llmi_env.tools.corpus.data_sets import DataSetSource

    return add(DataSetSource(data_set, columns, subset), name=name, console=console, into=into)


def add_debian(name: str, *, console: Console | None = None, into: Path | None = None) -> Added:
    """Fetch a picture set from Debian (`tuxpaint`, `gcompris` or `openclipart`) and take it into the user's corpus.

    Raises:
        ConfigError: no such set.
        AssetError: this is not a Debian system, or the package could not be fetched.
    """
    from llmi_env.tools.corpus.debian import DebianSource

    return add(DebianSource(name, console), console=console, into=into)


def update_index(*, console: Console | None = None, folder: Path | None = None) -> int:
    """Make the index of the user's corpus fit it, where an `add` was killed or the cache was emptied; returns how many pictures it holds.

    Raises:
        AssetError: the corpus cannot be read.
    """
    from llmi_env.tools.corpus.stopping import stoppable
    from llmi_env.tools.corpus_update import update

    folder = folder or user_folder()
    if not (folder / MANIFEST).exists():
        return 0
    with only_writer(folder, console), stoppable() as stop:
        return update(folder, console=console, stop=stop)


def index_ready() -> bool:
    """Whether the meanings of the bundled pictures are computed and kept in the cache."""
    from llmi_env.tools import corpus_index

    return corpus_index.vectors_ready(bundled())


def build_index(console: Console | None = None) -> None:
    """Compute the meanings of the bundled pictures and keep them in the cache (seconds; then never again)."""
    from llmi_env.tools import corpus_index

    corpus_index.vectors_of(bundled(), console=console)
