"""Taking pictures into the user's corpus: checked, reduced, written down one by one, embedded as they come.

A run may be stopped or killed at any moment. Every picture that was taken in stands in the manifest with its picture beside it and is known
by the digest of its bytes, every caption that was embedded is known by its text: the next run does only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmi_env.errors import AssetError, ConfigError, LLMIError
from llmi_env.folders import write_whole
from llmi_env.tools.corpus import pictures
from llmi_env.tools.corpus.describing import Item, LeftOut, Source, clean
from llmi_env.tools.corpus.entries import MANIFEST, Entry, line_of, user_folder
from llmi_env.tools.corpus.keeping import claim, mend, only_writer, slug
from llmi_env.tools.corpus.ledger import Known, Ledger, about
from llmi_env.tools.corpus.stopping import stoppable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Added", "add"]

logger = logging.getLogger(__name__)

EMBEDDED_AT_ONCE = 512
"""Pictures that are taken in before their captions are embedded."""
_NAMED = 1000
_SHOWN = 10


@dataclass
class Added:
    """What became of the pictures of a source.

    Attributes:
        folder: the corpus.
        collection: what they were added to.
        added: how many pictures were taken in.
        changed: how many were there under another caption, or another picture under their name.
        known: how many had been taken in before.
        duplicates: how many have the same bytes as another picture of the corpus.
        left_out: how many could not be taken in, or had no caption.
        captionless: how many of these had no caption.
        failed: file or row and reason of the first thousand left out.
        log: the file that names all of them, where there are any.
        resumed: after which row of a data set the run went on.
        stopped: why the run ended before the source did; empty where it did not.
        interrupted: whether that was a Ctrl-C.
        searchable: how many pictures of the corpus searches find.
    """

    folder: Path
    collection: str = ""
    added: int = 0
    changed: int = 0
    known: int = 0
    duplicates: int = 0
    left_out: int = 0
    captionless: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    log: Path | None = None
    resumed: int = 0
    stopped: str = ""
    interrupted: bool = False
    searchable: int = 0

    def __str__(self) -> str:
        text = f"went on after row {self.resumed}: " if self.resumed else ""
        text += f"{self.added} pictures added to {self.folder} as {self.collection!r}"
        for count, what in (
            (self.changed, "changed"),
            (self.known, "were there"),
            (self.duplicates, "are the same as others"),
        ):
            if count:
                text += f", {count} {what}"
        if self.left_out:
            shown = [f"  {name}: {reason}" for name, reason in list(self.failed.items())[:_SHOWN]]
            if self.left_out > len(shown):
                shown.append(f"  and {self.left_out - len(shown)} more: {self.log}")
            captionless = f" ({self.captionless} for want of a caption)" if self.captionless else ""
            text += f"; {self.left_out} left out{captionless}:\n" + "\n".join(shown)
        return text


class _Look(NamedTuple):
    """What looking at an item has shown: the digest of its bytes, and of a new picture the file and its digest."""

    id: str
    file: str = ""
    sha256: str = ""


def add(
    source: Source,
    *,
    name: str | None = None,
    link: bool = False,
    console: Console | None = None,
    into: Path | None = None,
) -> Added:
    """Take the pictures of `source` into the user's corpus; run again, go on where it stopped.

    Args:
        source: where they come from.
        name: of the collection; by default the one that `source` was added to before, or a new one.
        link: leave the pictures where they are, and only note where that is.
        console: where progress is shown; `None` shows none.
        into: the corpus to add to; by default the user's.

    Raises:
        ConfigError: a name that cannot be used, or `link` without files.
        AssetError: the corpus cannot be read or written to; what was taken in before is kept.
    """
    from llmi_env.tools.corpus_update import update

    if link and not source.has_files:
        raise ConfigError("--link is for folders: a data set has no files that could stay where they are")
    folder = into or user_folder()
    result = Added(folder)

    def said() -> None:
        if console is not None:
            console.print("stopping: what is done is kept and made ready for searches (Ctrl-C again: not even that)")

    try:
        with only_writer(folder, console), stoppable(said) as stop:
            mend(folder)
            result.collection = claim(folder, source.origin, source.title, name)
            _Run(source, result, link, stop).take(console)
            result.searchable = update(folder, console=console, stop=stop)
            if stop.is_set():
                result.interrupted = True
                result.stopped = "stopped; run the same command again to go on"
    except OSError as error:
        if isinstance(error, LLMIError):
            raise
        raise AssetError(f"the corpus in {folder} cannot be written to: {error.strerror or error}") from error
    return result


class _Run:
    """One run over a source, by the only writer of the corpus."""

    def __init__(self, source: Source, result: Added, link: bool, stop: threading.Event) -> None:
        from llmi_env.tools import corpus_update

        self._source, self._result, self._link, self._stop = source, result, link, stop
        self._folder = folder = result.folder
        self._ledger = Ledger(folder, result.collection)
        self._growing = corpus_update.Growing(folder, stop)
        self._progress_file = folder / "progress" / f"{slug(result.collection)}.json"
        self._log_file = folder / "logs" / f"{slug(result.collection)}.log"
        self._scratch = folder / "scratch"
        self._fresh: list[Entry] = []

    def take(self, console: Console | None) -> None:
        """Take in what there is until the source ends or cannot go on, or a stop is asked for."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        for needed in (self._folder / "pictures", self._progress_file.parent, self._log_file.parent, self._scratch):
            needed.mkdir(parents=True, exist_ok=True)
        self._log_file.unlink(missing_ok=True)
        try:
            self._take(console)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
        if not self._result.stopped and not self._stop.is_set():
            self._progress_file.unlink(missing_ok=True)

    def _take(self, console: Console | None) -> None:
        with (
            (self._folder / MANIFEST).open("ab") as manifest,
            _bar(console, self._result, self._source.total) as tick,
            closing(self._looked_at()) as looked_at,
        ):
            for item, look in looked_at:
                entry = self._settle(item, look)
                if entry is not None:
                    manifest.write(line_of(entry))
                    manifest.flush()
                    self._fresh.append(entry)
                if item.mark is not None:
                    write_whole(self._progress_file, json.dumps(item.mark).encode())
                if len(self._fresh) >= EMBEDDED_AT_ONCE:
                    self._growing.embed(self._fresh, len(self._ledger.pictures))
                    self._fresh.clear()
                tick()
                if self._stop.is_set():
                    return

    def _looked_at(self) -> Generator[tuple[Item | LeftOut, Future[_Look] | None], None, None]:
        """Items in their order, each with what looking at it shows, or nothing where that is known. Some are looked at ahead."""
        workers = min(4, os.cpu_count() or 1)
        ahead: deque[tuple[Item | LeftOut, Future[_Look] | None]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="llmi-corpus")
        try:
            for item in self._items():
                looking = None
                if isinstance(item, Item) and not self._is_there(item):
                    looking = pool.submit(self._look, item)
                ahead.append((item, looking))
                while len(ahead) > 4 * workers:
                    yield ahead.popleft()
            while ahead:
                yield ahead.popleft()
        finally:
            pool.shutdown(cancel_futures=True)

    def _items(self) -> Iterator[Item | LeftOut]:
        mark = self._mark()
        self._result.resumed = int(mark["rows"]) if mark else 0
        try:
            yield from self._source.items(mark)
        except AssetError as error:
            self._result.stopped = str(error)

    def _mark(self) -> dict[str, Any] | None:
        try:
            mark = json.loads(self._progress_file.read_bytes())
        except (OSError, ValueError):
            return None
        return mark if isinstance(mark, dict) and mark.get("key") == self._source.key else None

    def _is_there(self, item: Item) -> bool:
        """Whether neither the file nor what is said of it has changed since it was taken in, as far as can be told without reading it."""
        known = self._ledger.of(item)
        return (
            known is not None
            and known.stamp == item.stamp != ""
            and self._says_the_same(item, known)
            and self._stands(known)
        )

    def _stands(self, known: Known) -> bool:
        return known.linked or (self._folder / known.file).exists()

    def _says_the_same(self, item: Item, known: Known) -> bool:
        return known.about == about(item.entry) and known.linked == self._link

    def _look(self, item: Item) -> _Look:
        """Read a picture and, where it is new, put it into the corpus; in one of several threads."""
        data = self._source.read(item)
        ident = hashlib.sha256(data).hexdigest()[:20]
        known = self._ledger.of(item)
        if known is not None and known.id == ident and known.linked == self._link and self._stands(known):
            return _Look(ident, known.file, known.sha256)
        if ident in self._ledger.pictures and (known is None or known.id != ident):
            return _Look(ident)
        image = pictures.reduced(data)
        if self._link:
            assert item.path is not None
            place = str(item.path.absolute())
            if not place.isprintable():  # the bytes of a name need not be text
                raise ValueError("its path cannot be written down; without --link it can be added")
            return _Look(ident, place, hashlib.sha256(data).hexdigest())
        target = self._folder / "pictures" / ident[:2] / f"{ident}.webp"
        try:
            digest = pictures.store(image, target, self._scratch / f"{threading.get_ident()}.part")
        except OSError as error:
            raise AssetError(f"the corpus in {self._folder} cannot be written to: {error.strerror or error}") from error
        return _Look(ident, target.relative_to(self._folder).as_posix(), digest)

    def _settle(self, item: Item | LeftOut, look: Future[_Look] | None) -> Entry | None:
        """Count an item; the entry to write down, where there is one."""
        if isinstance(item, LeftOut):
            self._leave_out(item.name, item.reason, item.captionless)
            return None
        result = self._result
        if look is None:
            result.known += 1
            return None
        try:
            seen = look.result()
        except AssetError:
            raise
        except Exception as error:  # whatever files, networks and decoders of hostile pictures raise
            self._leave_out(item.name, str(error) or type(error).__name__)
            return None
        known = self._ledger.of(item)
        if known is not None and known.id == seen.id:
            if self._says_the_same(item, known) and known.sha256 == seen.sha256:
                result.known += 1
                return None
        elif seen.id in self._ledger.pictures:
            result.duplicates += 1
            return None
        if known is None:
            result.added += 1
        else:
            result.changed += 1
        entry = replace(
            item.entry,
            id=seen.id,
            file=seen.file,
            sha256=seen.sha256,
            collection=result.collection,
            item=item.name,
            stamp=item.stamp,
            linked=self._link,
        )
        self._ledger.put(entry)
        return entry

    def _leave_out(self, name: str, reason: str, captionless: bool = False) -> None:
        result = self._result
        reason = clean(reason, 300)
        result.left_out += 1
        result.captionless += captionless
        if len(result.failed) < _NAMED:
            result.failed[name] = reason
        result.log = self._log_file
        with self._log_file.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{name}\t{reason}\n")


@contextmanager
def _bar(console: Console | None, result: Added, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar with counts, and what to call after each item."""
    if console is None:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("taking in pictures"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, counts="")

        def tick() -> None:
            counts = f"{result.added} added"
            if result.left_out:
                counts += f", {result.left_out} left out"
            progress.update(task, advance=1, counts=counts)

        yield tick
