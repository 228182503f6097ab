"""A picture set that a Debian package carries, as a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.folders import cache_dir
from llmi_env.tools import debian_sets
from llmi_env.tools.corpus.describing import Item, LeftOut
from llmi_env.tools.corpus.entries import Entry
from llmi_env.tools.corpus.pictures import bounded

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DebianSource"]


class DebianSource:
    """The pictures of set `name`; its package is fetched and unpacked first, once.

    Raises:
        ConfigError: no such set.
        AssetError: this is not a Debian system, or the package could not be fetched.
    """

    total: int | None = None
    has_files = True
    key = ""  # its items have no marks

    def __init__(self, name: str, console: Console | None = None) -> None:
        if name not in debian_sets.SETS:
            raise ConfigError(f"no Debian picture set is called {name!r}" + did_you_mean(name, debian_sets.SETS))
        self._package = debian_sets.SETS[name]
        self.title, self.origin = name, f"debian:{self._package}"
        if console is not None:
            console.print(f"fetching the Debian package {self._package} ...")
        self._unpacked = debian_sets.fetch(self._package, cache_dir() / "debian")

    def items(self, mark: Mapping[str, Any] | None = None) -> Iterator[Item | LeftOut]:
        """The pictures, in the order of their paths."""
        for found in debian_sets.pictures(self.title, self._unpacked):
            about = found.path.stat()
            entry = Entry(
                id="",
                file="",
                title=found.title,
                caption=found.caption,
                keywords=found.keywords,
                author=found.author,
                source=f"Debian package {self._package}",
                licence=found.licence,
            )
            name = found.path.relative_to(self._unpacked).as_posix()
            if found.title:
                yield Item(name, entry, found.path, stamp=f"{about.st_size}-{about.st_mtime_ns}")
            else:
                yield LeftOut(name, "nothing says what it shows", captionless=True)

    def read(self, item: Item) -> bytes:
        """The bytes of a picture."""
        assert item.path is not None
        return bounded(item.path)
