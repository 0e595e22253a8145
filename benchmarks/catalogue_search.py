"""What a catalogue adds to FAISS: a search for the best ten, with scores, labels and sources, beside FAISS alone.

    VITRINE_DATA=... python benchmarks/catalogue_search.py [--json]

70,000 items, the embeddings of Fashion-MNIST; the queries are others of them, with noise of a norm of 0.1. Both take
turns: single queries, 20 a turn, and batches of 1,000, every one of other queries. A catalogue remembers the rows that
it has read, so the first turn, right after opening, and the later ones are told apart. Times are those of the
processor, one thread; printed is the median of the ratios of the turns.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from search import K, embeddings, noisy
from vitrine.catalogue import Item, Vectors
from vitrine.catalogue.index_kinds import faiss
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder

TURNS, SINGLE, BATCH = 12, 20, 1000
Search = Callable[[Vectors], object]


def fill(catalogue: LocalCatalogue, vectors: Vectors) -> None:
    for first in range(0, len(vectors), BATCH):
        part = vectors[first : first + BATCH]
        catalogue.add(
            [Item(f"{first + i:06d}.png", f"class {i % 10}", f"{i:032x}", row, b"png") for i, row in enumerate(part)]
        )


def seconds(search: Search, queries: Vectors) -> float:
    start = time.process_time()
    search(queries)
    return time.process_time() - start


def in_parts(search: Callable[[Vectors, int], object], size: int) -> Search:
    """So many queries at a time, the best ten of each."""
    return lambda queries: [search(queries[first : first + size], K) for first in range(0, len(queries), size)]


def ratios(ours: Search, raw: Search, turns: list[Vectors]) -> list[float]:
    """How many times as long ours takes, turn by turn; which of both is first changes."""
    found = []
    for number, queries in enumerate(turns):
        if number % 2:
            mine, other = seconds(ours, queries), seconds(raw, queries)
        else:
            other, mine = seconds(raw, queries), seconds(ours, queries)
        found.append(mine / other)
    return found


def report(what: str, found: list[float], as_json: bool) -> None:
    first, *later = (round(ratio, 3) for ratio in found)
    median, least, most = round(statistics.median(later), 3), min(later), max(later)
    if as_json:
        print(json.dumps({"what": what, "first": first, "later": median, "least": least, "most": most}), flush=True)
    else:
        print(f"{what:18s} first {first:6.3f}   later {median:6.3f}  ({least:.3f} to {most:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--vectors", type=Path, help="a .npy file with these embeddings, not to make them again")
    given = parser.parse_args()
    as_json = given.json
    faiss.omp_set_num_threads(1)
    vectors = embeddings(given.vectors)
    _, queries = next(noisy(vectors, 10_000, seed=9))
    more = [rows for _, rows in noisy(vectors[::-1], TURNS * BATCH, seed=10)]
    batches = np.array_split(np.concatenate(more), TURNS)
    singles = np.array_split(queries[: TURNS * SINGLE], TURNS)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    facts = {"items": len(vectors), "dimensions": vectors.shape[1], "machine": machine, "threads": 1}
    print(json.dumps(facts) if as_json else ", ".join(f"{key} {value}" for key, value in facts.items()))
    raw = faiss.IndexFlatIP(vectors.shape[1])
    raw.add(vectors)
    with tempfile.TemporaryDirectory() as home:
        os.environ["VITRINE_HOME"] = home
        with LocalCatalogue.create("shop", Encoder.load()) as catalogue:
            fill(catalogue, vectors)
            catalogue.save_index()
        for what, turns in (("one query", singles), (f"{BATCH:,} queries", batches)):
            with LocalCatalogue.open("shop") as opened:
                opened.search(queries[:1], 1)  # the index is read
                size = 1 if what == "one query" else BATCH
                found = ratios(in_parts(opened.search, size), in_parts(raw.search, size), turns)
            report(what, found, as_json)


if __name__ == "__main__":
    main()
