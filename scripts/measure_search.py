"""Measure the search tool: recall at 1 and 5 for pictures that are there, and how often something is found that is not.

    python scripts/measure_search.py [--sweep]

The queries stand in `search_queries.psv` beside this file. `--sweep` prints the trade-off over floors, from which the floor was chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from llmi_env.tools.corpus import bundled
from llmi_env.tools.corpus_index import CorpusIndex

QUERIES = Path(__file__).with_name("search_queries.psv")


def read() -> tuple[list[tuple[str, set[str]]], list[str]]:
    present: list[tuple[str, set[str]]] = []
    absent: list[str] = []
    for line in QUERIES.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        wanted, *queries = line.split("|")
        if wanted == "-":
            absent.extend(queries)
        else:
            present.extend((query, set(wanted.split(","))) for query in queries)
    return present, absent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", action="store_true", help="print the figures for a range of floors")
    parser.add_argument("--misses", action="store_true", help="print what went wrong")
    options = parser.parse_args()
    corpus = bundled()
    present, absent = read()
    known = {entry.id for entry in corpus.entries}
    for query, wanted in present:
        if not wanted <= known:
            raise SystemExit(f"{query!r}: no such pictures: {', '.join(sorted(wanted - known))}")
    print(
        f"{len(corpus.entries)} pictures; {len(present)} queries for pictures that are there, {len(absent)} for subjects that are not"
    )
    for semantic in (True, False):
        index = CorpusIndex([corpus], semantic=semantic)
        floors = np.arange(0.2, 0.66, 0.05) if options.sweep else [index.floor]
        answers = [(query, wanted, _ranked(index, query)) for query, wanted in present]
        empty = [(query, _ranked(index, query)) for query in absent]
        for floor in floors:
            first = sum(bool(r) and r[0][1] >= floor and r[0][0] in wanted for _, wanted, r in answers)
            five = sum(any(score >= floor and name in wanted for name, score in r[:5]) for _, wanted, r in answers)
            none = sum(not r or r[0][1] < floor for _, _, r in answers)
            false = sum(bool(r) and r[0][1] >= floor for _, r in empty)
            print(
                f"{'words and meanings' if semantic else 'words alone':18s} floor {floor:.2f}: recall@1 {first / len(answers):.2f}, "
                f"recall@5 {five / len(answers):.2f}, nothing found {none / len(answers):.2f}; "
                f"false positives {false / len(empty):.2f} ({false} of {len(empty)})"
            )
        if options.misses:
            for query, wanted, ranked in answers:
                if not ranked or ranked[0][1] < index.floor or ranked[0][0] not in wanted:
                    best = max((score for name, score in ranked if name in wanted), default=0.0)
                    print(f"  miss  {query!r}: wanted {best:.2f}, got {ranked[:1]}")
            for query, ranked in empty:
                if ranked and ranked[0][1] >= index.floor:
                    print(f"  false {query!r}: {ranked[0]}")


def _ranked(index: CorpusIndex, query: str) -> list[tuple[str, float]]:
    return [(hit.entry.id, hit.score) for hit in index.search(query, limit=20, floor=1e-4)]


if __name__ == "__main__":
    main()
