"""What a large corpus of one's own costs: taking pictures in, embedding captions, making the index, and a search in it.

    python -m benchmarks.corpus            # about ten minutes on two idle cores; makes results/corpus.md
    python -m benchmarks.corpus --quick    # smaller, printed

Times are CPU time unless said otherwise, so that whatever else the machine does weighs little. Nothing is downloaded. Captions are put
together from word lists by a seed, pictures are drawn by it. The meanings of the first 10,000 captions and of all queries are real; those of
the other captions are the real ones, each turned a little at random, because embedding 100,000 takes ten minutes and more, and is linear.
So the figures for 100,000 speak of the index, not of how well the model tells captions apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console

from llmi_env import embeddings
from llmi_env.tools import corpus, corpus_kept, corpus_update
from llmi_env.tools.corpus import Corpus, Entry, add_folder, line_of
from llmi_env.tools.corpus_index import CorpusIndex
from llmi_env.tools.corpus_vectors import CaptionEmbedder, meaning

OUT = Path(__file__).parent / "results" / "corpus.md"
SIZES = (1000, 10_000, 30_000, 100_000)
REAL = 10_000
_CONSOLE = Console(stderr=True)
_LOOKS, _SUBJECTS, _DOINGS, _PLACES = (
    text.split(",")
    for text in (
        "small,red,old,wooden,bright,snowy,striped,tall,golden,broken,quiet,crowded,empty,painted,rusty,green,blue,white,dark,narrow,sunny,"
        "wet,ancient,modern,tiny,giant,round,curved,steep,dusty,frozen,burning,floating,spotted,fluffy,shiny",
        "heron,bridge,lighthouse,tram,bicycle,violin,castle,glacier,market,zebra,orchard,windmill,ferry,telescope,mushroom,waterfall,kitchen,"
        "statue,tiger,canoe,library,fountain,bakery,volcano,penguin,tractor,clock,temple,harbour,tent,owl,piano,greenhouse,rocket,staircase,"
        "sailboat,donkey,chapel,vineyard,cactus,lantern,quarry,tortoise,balloon,barn,cathedral,train,igloo,meadow,robot",
        "standing,waiting,resting,shining,drying,moving,leaning,sleeping,working,glowing,turning,seen,photographed,drawn,hidden",
        "beside a river,on a hill,under a bridge,in the fog,near the sea,behind a fence,in front of a church,at dusk,in a museum,by the road,"
        "in winter,among tall trees,on a pier,at a fair,in a courtyard,above the clouds,in the desert,at night,after the rain,in a valley",
    )
)


@dataclass(frozen=True)
class Searched:
    """One size of corpus, searched both ways: CPU milliseconds a query, CPU seconds to be ready, and how alike the answers are."""

    pictures: int
    whole_ms: float
    whole_ready: float
    kept_ms: float
    kept_ready: float
    words_seconds: float
    graph_seconds: float
    megabytes: float
    graph_recall: float
    answer_recall: float
    same_first: float


def captions(count: int, seed: int = 0) -> list[str]:
    """Captions by a seed, no two alike."""
    source = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        look, subject, doing, place = (source.choice(words) for words in (_LOOKS, _SUBJECTS, _DOINGS, _PLACES))
        found[f"A {look} {subject} {doing} {place}, with a {source.choice(_LOOKS)} {source.choice(_SUBJECTS)}."] = None
    return list(found)


def queries(count: int) -> list[str]:
    """What somebody would look for, in a few words, by a seed of its own."""
    source = random.Random(99)
    return [f"{source.choice(_LOOKS)} {source.choice(_SUBJECTS)} {source.choice(_PLACES)}" for _ in range(count)]


def turned(real: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """`count` unit vectors: the real ones, then these turned at random (a cosine of about 0.96 to where they came from)."""
    source = np.random.default_rng(1)
    noise = source.standard_normal((count, real.shape[1]), dtype=np.float32) * np.float32(0.3 / np.sqrt(real.shape[1]))
    noise[: len(real)] = 0
    made = real[np.arange(count) % len(real)] + noise
    turned_ones: NDArray[np.float32] = made / np.linalg.norm(made, axis=1, keepdims=True)
    return turned_ones


@contextmanager
def known_vectors(vectors: dict[str, NDArray[np.float32]]) -> Iterator[None]:
    """Texts are "embedded" by looking their vectors up."""
    real = CaptionEmbedder.in_batches

    def looked_up(self: object, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        yield list(range(len(texts))), np.stack([vectors[text] for text in texts])

    CaptionEmbedder.in_batches = looked_up  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        CaptionEmbedder.in_batches = real  # type: ignore[method-assign]


@contextmanager
def own_folders() -> Iterator[Path]:
    """Data and cache of their own."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["LLMI_DATA_DIR"], os.environ["LLMI_CACHE_DIR"] = f"{name}/data", f"{name}/cache"
        yield Path(name)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and how many seconds of CPU it took."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def take_in(count: int) -> dict[str, float]:
    """Pictures of 1024 x 768 as JPEG, drawn by a seed, taken in without embedding: seconds, seconds when run again, and megabytes."""
    source = random.Random(3)
    with own_folders() as folder:
        (folder / "in").mkdir()
        with (folder / "in" / "metadata.jsonl").open("w") as table:
            for number, caption in enumerate(captions(count)):
                image = Image.effect_noise((1024, 768), 40).convert("RGB")
                draw = ImageDraw.Draw(image)
                for _ in range(12):
                    x, y = source.randrange(900), source.randrange(700)
                    draw.ellipse(
                        (x, y, x + source.randrange(20, 300), y + 200), fill=tuple(source.choices(range(256), k=3))
                    )
                image.save(folder / "in" / f"{number}.jpg", quality=85)
                table.write(json.dumps({"file_name": f"{number}.jpg", "text": caption}) + "\n")
        available, embeddings.available = embeddings.available, lambda: False
        try:
            result, first = timed(lambda: add_folder(folder / "in"))
            _, again = timed(lambda: add_folder(folder / "in"))
        finally:
            embeddings.available = available
        assert result.added == count
        size = sum(path.stat().st_size for path in (folder / "data").rglob("*.webp"))
        return {"count": count, "first": first, "again": again, "MB": size / 1e6}


def embed(texts: Sequence[str]) -> tuple[NDArray[np.float32], float, float]:
    """Vectors of `texts` in batches; CPU milliseconds a caption in batches, and one by one (a sample)."""
    embedder = CaptionEmbedder()
    embedder(["warm"])
    sample = texts[: min(200, len(texts))]
    cpu = time.process_time()
    embedder(sample)
    single = (time.process_time() - cpu) / len(sample)
    found = np.empty((len(texts), embeddings.DIMENSIONS), dtype=np.float32)
    cpu = time.process_time()
    for start in range(0, len(texts), 512):
        for places, vectors in embedder.in_batches(texts[start : start + 512]):
            found[[start + place for place in places]] = vectors
    return found, 1000 * (time.process_time() - cpu) / len(texts), 1000 * single


def search(
    texts: Sequence[str], vectors: NDArray[np.float32], asked: dict[str, NDArray[np.float32]]
) -> tuple[Searched, dict[str, float]]:
    """The same corpus compared whole, and by its kept index, the embedding of queries not counted; and a start in a new process."""
    entries = [
        Entry(id=f"{n}", file=f"{n}.webp", title=text[:80], caption=text, kind="photograph")
        for n, text in enumerate(texts)
    ]
    table = {meaning(entry): vector for entry, vector in zip(entries, vectors, strict=True)}
    with own_folders() as root, known_vectors(table), bounds(0):
        folder = corpus.user_folder()
        folder.mkdir(parents=True)
        (folder / "manifest.jsonl").write_bytes(b"".join(map(line_of, entries)))
        _, words_seconds = timed(lambda: corpus_update.update(folder, graph=False))
        _, both_seconds = timed(lambda: corpus_update.update(folder))
        kept, kept_ready = timed(lambda: corpus_kept.opened(folder, semantic=True))
        assert kept is not None
        index = CorpusIndex([Corpus(folder, (), "")], kept=kept)
        real, embeddings.embed = embeddings.embed, lambda said: np.stack([asked[text] for text in said])  # type: ignore[assignment]
        try:
            kept_ms, found = latency(index, list(asked))
            whole, whole_ready = timed(lambda: CorpusIndex([Corpus.load(folder, grows=True)]))
            whole_ms, right = latency(whole, list(asked))
        finally:
            embeddings.embed = real
        path = corpus_kept.Place(folder).path
        alike = [len(set(a) & set(b)) / max(len(b), 1) for a, b in zip(found, right, strict=True)]
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return Searched(
            pictures=len(texts),
            whole_ms=whole_ms,
            whole_ready=whole_ready,
            kept_ms=kept_ms,
            kept_ready=kept_ready,
            words_seconds=words_seconds,
            graph_seconds=both_seconds - words_seconds,
            megabytes=size / 1e6,
            graph_recall=graph_recall(kept, np.asarray(vectors, dtype=np.float16), list(asked.values())),
            answer_recall=statistics.mean(alike),
            same_first=statistics.mean(a[:1] == b[:1] for a, b in zip(found, right, strict=True)),
        ), cold() | one_more(root / "more")


@contextmanager
def bounds(rows: int) -> Iterator[None]:
    """Corpora of more than `rows` pictures are kept, all of them covered by the graph."""
    before = corpus_kept.EXACT_ROWS, corpus_update.EXACT_ROWS, corpus_update._TAIL
    corpus_kept.EXACT_ROWS = corpus_update.EXACT_ROWS = rows
    corpus_update._TAIL = 0
    try:
        yield
    finally:
        corpus_kept.EXACT_ROWS, corpus_update.EXACT_ROWS, corpus_update._TAIL = before


def latency(index: CorpusIndex, texts: Sequence[str]) -> tuple[float, list[list[str]]]:
    """Median CPU milliseconds of a query, and the ten answers of each."""
    for text in texts[:10]:
        index.search(text, limit=10, floor=0.01)
    answers, times = [], []
    for text in texts:
        hits, seconds = timed(lambda text=text: index.search(text, limit=10, floor=0.01))  # type: ignore[misc]
        answers.append([hit.entry.id for hit in hits])
        times.append(seconds)
    return 1000 * statistics.median(times), answers


def graph_recall(
    kept: corpus_kept.KeptIndex, vectors: NDArray[np.float16], asked: Sequence[NDArray[np.float32]]
) -> float:
    """Share of the ten nearest captions that the graph alone finds when it is asked for ten."""
    assert kept._graph is not None
    exact = np.asarray(vectors, dtype=np.float32)
    shares = []
    for vector in asked:
        near = kept._order[np.isin(kept._sorted, kept._graph.near(vector, 10))]
        shares.append(len(set(np.argsort(-(exact @ vector))[:10].tolist()) & set(near.tolist())) / 10)
    return statistics.mean(shares)


_COLD = """
import re, time
from pathlib import Path
from llmi_env import embeddings
from llmi_env.tools.search import SearchTool

def resident():
    return [int(kb) / 1024 for kb in re.findall(r"Rss(?:Anon|File):\\s+(\\d+)", Path("/proc/self/status").read_text())]

embeddings.embed(["warm"])
before, wall, cpu = resident(), time.perf_counter(), time.process_time()
tool = SearchTool()
tool.hits("old lighthouse at dusk")
print(time.perf_counter() - wall, time.process_time() - cpu, *(b - a for a, b in zip(before, resident())))
"""


_ONE_MORE = """
import re, sys, time
from pathlib import Path
from llmi_env.tools import corpus_kept, corpus_update
from llmi_env.tools.corpus import add_folder

cpu = time.process_time()
result = add_folder(sys.argv[1])
assert (result.added, result.stopped) == (1, ""), result
print(time.process_time() - cpu, int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def one_more(folder: Path) -> dict[str, float]:
    """A process of its own that adds one picture to the corpus: seconds, and MiB at most, torch and the model included."""
    folder.mkdir()
    Image.new("RGB", (400, 300), "teal").save(folder / "a teal rectangle.png")
    command = [sys.executable, "-c", _ONE_MORE, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {"more": float(said[0]), "most": float(said[1])}


def cold() -> dict[str, float]:
    """A process of its own that makes the search tool and asks it once, the model being loaded: seconds and MiB."""
    command = [sys.executable, "-c", _COLD]
    # the first run also embeds the bundled pictures, which 'llmi prepare' does otherwise
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    best = min(([float(each) for each in run.split()] for run in runs[1:]), key=lambda row: row[1])
    return dict(zip(("wall", "cpu", "private", "mapped"), best, strict=True))


def report(
    taken: dict[str, float], batch: float, single: float, rows: Sequence[Searched], start: dict[str, float], asked: int
) -> str:
    """The page."""
    last, each = rows[-1], 1000 / taken["count"]
    lines = [
        "# A large corpus of one's own",
        "",
        f"Made by `python -m benchmarks.corpus` (its text says what is done): {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}. Times are CPU time. Captions are put together from word lists, "
        f"pictures are drawn by a seed. The meanings of {min(REAL, last.pictures):,} captions and of all {asked} queries are MiniLM's; those "
        "of further captions are these, each turned a little at random: the figures for more captions speak of the index alone. The searched "
        "corpora have no picture files, as the index reads none.",
        "",
        f"**Taking in** {taken['count']:.0f} JPEG pictures of 1024 x 768: {taken['first'] * each:.0f} ms each, "
        f"{taken['MB'] * each:.0f} kB each as stored. Again, all of them known: {taken['again'] * each:.2f} ms each.",
        "",
        f"**Embedding** a caption: {batch:.1f} ms in batches, {single:.1f} ms one by one.",
        "",
        "**Searching**, the embedding of the query not counted. *Whole* reads the manifest and compares every picture; *kept* is the "
        "index on disk. ms: median of a query. Ready, words and graph: seconds. Graph recall: share of the ten nearest captions that the "
        "graph finds when asked for ten; a search asks it for 200. Answer recall: share of the ten best pictures, words and meanings "
        "together, that are found. First: how often the best one is.",
        "",
        "| pictures | whole, ms | whole ready | kept, ms | kept ready | words made | graph made | index, MB | graph recall@10 "
        "| answer recall@10 | first |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = (
            f"{row.pictures:,}",
            f"{row.whole_ms:.1f}",
            f"{row.whole_ready:.2f}",
            f"{row.kept_ms:.1f}",
            f"{row.kept_ready:.2f}",
            f"{row.words_seconds:.1f}",
            f"{row.graph_seconds:.1f}",
            f"{row.megabytes:.0f}",
            f"{row.graph_recall:.3f}",
            f"{row.answer_recall:.3f}",
            f"{row.same_first:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"**A start** with {last.pictures:,} pictures, in a new process with the model loaded: from making the search tool to its first answer "
        f"{start['cpu']:.1f} s ({start['wall']:.1f} s by the clock), and {start['private']:.0f} MiB of memory more, besides "
        f"{start['mapped']:.0f} MiB of mapped files, which the system may take back.",
        "",
        f"**One picture more**, added to these {last.pictures:,}: {start['more']:.0f} s, of which the model takes some, and at most "
        f"{start['most']:.0f} MiB of memory, torch and the model included.",
        "",
        f"Corpora of more than {corpus_kept.EXACT_ROWS:,} pictures (`EXACT_ROWS`) are searched by the kept index: up to there, comparing every "
        "picture costs no more than asking it.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, printed")
    options = parser.parse_args()
    tenth = 10 if options.quick else 1
    sizes = [size // tenth for size in SIZES]
    _CONSOLE.print("taking in ...")
    taken = take_in(1000 // tenth)
    _CONSOLE.print("embedding ...")
    texts, asked = captions(sizes[-1]), queries(300 // tenth)
    entries = [Entry(id="", file="", title=text[:80], caption=text) for text in texts[: REAL // tenth]]
    real, batch_ms, single_ms = embed([meaning(entry) for entry in entries])
    vectors = turned(real, len(texts))
    questions = dict(zip(asked, embeddings.embed(asked), strict=True))
    rows, start = [], {}
    for size in sizes:
        _CONSOLE.print(f"searching {size:,} ...")
        row, start = search(texts[:size], vectors[:size], questions)
        rows.append(row)
    page = report(taken, batch_ms, single_ms, rows, start, len(questions))
    if options.quick:
        print(page)
    else:
        OUT.write_text(page, encoding="utf-8")
        _CONSOLE.print(f"made {OUT}")


if __name__ == "__main__":
    main()
