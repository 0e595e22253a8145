"""Every kind of index that a catalogue may be searched by, beside plain FAISS, hnswlib and usearch where installed.

    VITRINE_DATA=... python benchmarks/search.py [--items 100000] [--json]

The vectors are what the shipped model makes of Fashion-MNIST, over and over, each time with Gaussian noise of 0.1 times
their length, and normalised: so most have near copies, as in a real catalogue. They lie in SQLite in a temporary
folder, from which everything is built, in a process of its own that says what it took. Searching is timed in this
process, on one thread, in turns: a few queries of one contestant, the same of the next, and so on; times are those of
the processor, for others may be using it too, and ratios are medians over these turns. hnswlib and usearch look as far
as it takes to find as much as the kind that a catalogue of this size is searched by (recall, at most 0.999), and no
further. Whatever would take more than --memory GiB is left out. Peak memory counts all that a building process holds,
0.1 GB of which are Python and its libraries.
"""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.catalogue import index_kinds
from vitrine.catalogue.index_kinds import KINDS, Block, Ids, Vectors, faiss
from vitrine.catalogue.vector_index import VectorIndex

BLOCK, K, TURNS = 10_000, 10, 10
NOISE = 0.1
GRAPH = {"links": 32, "build": 120}  # of hnswlib and usearch: the same as ours
EFFORTS = (10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)  # how many candidates they may keep in mind
ENOUGH = 0.999  # recall
GRAPHS = ("hnswlib", "usearch")
Search = Callable[[Vectors], Ids]  # (q, d) -> (q, 10)


def embeddings(file: Path | None) -> Vectors:
    """The vectors of Fashion-MNIST, shuffled, or those of a .npy file."""
    if file is not None:
        made: Vectors = np.load(file)
    else:
        from vitrine.datasets import fashion_mnist
        from vitrine.encoder import Encoder

        made = Encoder.load().run(fashion_mnist.load().whole().images).embeddings
    return made[np.random.default_rng(5).permutation(len(made))]


def noisy(vectors: Vectors, count: int, seed: int) -> Iterator[Block]:
    """Blocks of `count` vectors: the given ones, as often as it takes, with noise."""
    random = np.random.default_rng(seed)
    for first in range(0, count, BLOCK):
        ids = np.arange(first, min(count, first + BLOCK))
        rows = vectors[ids % len(vectors)]
        rows = rows + random.standard_normal(rows.shape, np.float32) * np.float32(NOISE / rows.shape[1] ** 0.5)
        yield ids, rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Store:
    """The vectors in SQLite, as a catalogue has them."""

    def __init__(self, folder: Path) -> None:
        self.connection = sqlite3.connect(folder / "vectors.sqlite")

    def fill(self, blocks: Iterator[Block]) -> None:
        self.connection.execute("CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT")
        for ids, vectors in blocks:
            rows = ((int(id), vector.tobytes()) for id, vector in zip(ids, vectors, strict=True))
            self.connection.executemany("INSERT INTO vectors VALUES (?, ?)", rows)
        self.connection.commit()

    def blocks(self) -> Iterator[Block]:
        cursor = self.connection.execute("SELECT id, vector FROM vectors ORDER BY id")
        while rows := cursor.fetchmany(BLOCK):
            ids = np.array([row[0] for row in rows], np.int64)
            yield ids, np.frombuffer(b"".join(row[1] for row in rows), np.float32).reshape(len(rows), -1)

    def exact(self, ids: Ids) -> Vectors:
        """By `VectorIndex.search`'s promise the ids rise, so the rows come in their order."""
        found: list[bytes] = []
        for part in np.array_split(ids, len(ids) // 10_000 + 1):  # SQLite takes 32,766 at a time
            asked = f"SELECT vector FROM vectors WHERE id IN ({','.join('?' * len(part))}) ORDER BY id"
            found += (row[0] for row in self.connection.execute(asked, part.tolist()))
        return np.frombuffer(b"".join(found), np.float32).reshape(len(ids), -1)


def build(name: str, folder: Path, count: int, dimensions: int) -> dict[str, float]:
    """Build one contestant into a file, in this process; seconds of the processor, of all threads together, and bytes
    of memory at the worst moment.
    """
    store, file = Store(folder), str(folder / name)
    start = time.process_time()
    if name in KINDS:
        VectorIndex.build(name, dimensions, store.blocks, count).save(folder / name, 1)
    elif name == "faiss exact":
        flat = faiss.IndexFlatIP(dimensions)
        for _, vectors in store.blocks():
            flat.add(vectors)
        faiss.write_index(flat, file)
    elif name == "hnswlib":
        graph = importlib.import_module("hnswlib").Index("ip", dimensions)
        graph.init_index(count, GRAPH["links"], GRAPH["build"])
        for ids, vectors in store.blocks():
            graph.add_items(vectors, ids, num_threads=1)
        graph.save_index(file)
    else:
        index = usearch(dimensions)
        for ids, vectors in store.blocks():
            index.add(ids, vectors, threads=1)
        index.save(file)
    took = time.process_time() - start
    return {"build_s": took, "peak_bytes": peak()}


def peak() -> int:
    """Bytes of memory of this process at its worst moment. Linux's ru_maxrss would count what started it, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status does not say VmHWM")


def usearch(dimensions: int) -> Any:
    index = importlib.import_module("usearch.index").Index
    widths = {"connectivity": GRAPH["links"], "expansion_add": GRAPH["build"]}
    return index(ndim=dimensions, metric="ip", dtype="f32", **widths)


def opened(name: str, folder: Path, dimensions: int, effort: int = EFFORTS[-1]) -> Search:
    """A built contestant, ready to answer. effort: of the graphs that are not ours."""
    file = folder / name.removesuffix(", rescored")
    if file.name in KINDS:
        ours, exact = VectorIndex.load(file), Store(folder).exact if name != file.name else None
        return lambda queries: ours.search(queries, K, exact=exact)[1]
    if name == "faiss exact":
        flat = faiss.read_index(str(file))
        return lambda queries: np.asarray(flat.search(queries, K)[1])
    if name == "hnswlib":
        graph = importlib.import_module("hnswlib").Index("ip", dimensions)
        graph.load_index(str(file))
        graph.set_ef(effort)
        return lambda queries: graph.knn_query(queries, K, num_threads=1)[0].astype(np.int64)
    index = usearch(dimensions)
    index.view(str(file))
    index.expansion_search = effort
    return lambda queries: np.asarray(index.search(queries, K, threads=1).keys, np.int64).reshape(len(queries), -1)


def contestants(count: int, dimensions: int, memory: float, without: list[str]) -> tuple[list[str], list[str]]:
    """Those that fit into memory while they are built, and those that do not, are not wanted or not installed."""
    need: dict[str, float] = {"faiss exact": 4 * dimensions}
    need |= {kind: 1.5 * index_kinds.item_bytes(kind, dimensions) for kind in KINDS}
    need |= {"hnswlib": need["hnsw"], "usearch": need["hnsw"]}
    missing = [*without, *(name for name in GRAPHS if not importlib.util.find_spec(name))]
    taken = [name for name in need if name not in missing and need[name] * count <= memory * 2**30]
    return taken, [name for name in need if name not in taken]


def recall(answers: Ids, right: Ids) -> float:
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(answers, right, strict=True)]))


def least_effort(name: str, folder: Path, queries: Vectors, right: Ids, wanted: float) -> int:
    """The smallest by which that recall is reached, or the greatest."""
    for effort in EFFORTS:
        if recall(opened(name, folder, queries.shape[1], effort)(queries), right) >= wanted:
            break
    return effort


def truth(blocks: Iterator[Block], queries: Vectors) -> Ids:
    """(q, 10): the nearest of all, block by block."""
    scores = np.full((len(queries), K), -np.inf, np.float32)
    best = np.full((len(queries), K), -1, np.int64)
    for ids, vectors in blocks:
        more, which = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
        scores, best = np.hstack([scores, more]), np.hstack([best, ids[which]])
        order = np.argsort(-scores, axis=1)[:, :K]
        scores, best = np.take_along_axis(scores, order, 1), np.take_along_axis(best, order, 1)
    return best


def in_turns(searches: dict[str, Search], parts: list[Vectors]) -> dict[str, list[float]]:
    """Seconds of every contestant for each of the parts."""
    times: dict[str, list[float]] = {name: [] for name in searches}
    for part in parts:
        for name, search in searches.items():
            start = time.process_time()
            search(part)
            times[name].append(time.process_time() - start)
    return times


def one_by_one(search: Search) -> Search:
    return lambda queries: np.concatenate([search(query[None]) for query in queries])


def measure(names: list[str], ours: str, folder: Path, count: int, queries: Vectors) -> dict[str, dict[str, float]]:
    """Name -> what was measured of it. ours: the one whose recall the others' is to reach."""
    dimensions = queries.shape[1]
    found: dict[str, dict[str, float]] = {}
    for name in names:
        again = [sys.executable, __file__, "--items", str(count), "--build", name, str(folder), str(dimensions)]
        print(f"building {name}", file=sys.stderr, flush=True)
        found[name] = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
        found[name]["bytes_per_item"] = (folder / name).stat().st_size / count
    if "ivf-sq8" in names:
        found["ivf-sq8, rescored"] = dict(found["ivf-sq8"])
    right = truth(Store(folder).blocks(), queries)
    searches = {}
    for name, facts in found.items():
        effort = EFFORTS[-1]
        if name in GRAPHS:
            effort = facts["effort"] = least_effort(name, folder, queries, right, min(ENOUGH, found[ours]["recall"]))
        opened(name, folder, dimensions)(queries[:1])  # the file comes into the system's cache
        start = time.perf_counter()
        searches[name] = opened(name, folder, dimensions, effort)
        searches[name](queries[:1])
        facts["reopen_s"] = time.perf_counter() - start
        facts["recall"] = recall(searches[name](queries), right)
    singly = {name: one_by_one(search) for name, search in searches.items()}
    for what, turns in (
        ("single", in_turns(singly, np.array_split(queries[: 20 * TURNS], TURNS))),
        ("batch", in_turns(searches, [queries] * 3)),
    ):
        first = turns[next(iter(turns))]
        for name, times in turns.items():
            asked = 20 if what == "single" else len(queries)
            found[name][f"{what}_per_s"] = asked / statistics.median(times)
            found[name][f"{what}_ratio"] = statistics.median(a / b for a, b in zip(times, first, strict=True))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--memory", type=float, default=4.0, help="GiB that building may take")
    parser.add_argument(
        "--without", action="append", default=[], help="a contestant to leave out; as often as you like"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of FAISS while it builds; the others use one")
    parser.add_argument(
        "--vectors", type=Path, help="a .npy file (n, d) float32 in place of Fashion-MNIST's embeddings"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        print(json.dumps(build(given.build[0], Path(given.build[1]), given.items, int(given.build[2]))))
        return
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # for the processes that build
    faiss.omp_set_num_threads(1)
    source = embeddings(given.vectors)
    names, left_out = contestants(given.items, source.shape[1], given.memory, given.without)
    ours = index_kinds.choose(given.items, source.shape[1], int(given.memory * 2**30))
    _, queries = next(noisy(source, min(1000, len(source)), seed=9))
    with tempfile.TemporaryDirectory() as place:
        with closing(Store(Path(place)).connection):
            Store(Path(place)).fill(noisy(source, given.items, seed=0))
        found = measure(names, ours, Path(place), given.items, queries)
    if given.json:
        shape = {"items": given.items, "dimensions": source.shape[1], "build_threads": given.threads, "chosen": ours}
        print(json.dumps({**shape, "left_out": left_out}))
        for name, facts in found.items():
            print(json.dumps({"what": name, "items": given.items, **facts}))
        return
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{given.items:,} x {source.shape[1]}, {machine}; left out: {', '.join(left_out) or 'nothing'}")
    print(f"{'':18s} recall@10  one/s (time to 1st)  of 1,000/s (time)  build s  peak GB  bytes/item  reopen ms")
    for name, facts in found.items():
        print(
            f"{name:18s} {facts['recall']:9.4f} {facts['single_per_s']:7,.0f} {facts['single_ratio']:11.3f}"
            f" {facts['batch_per_s']:11,.0f} {facts['batch_ratio']:7.3f} {facts['build_s']:9.1f}"
            f" {facts['peak_bytes'] / 1e9:8.2f} {facts['bytes_per_item']:11.0f} {1000 * facts['reopen_s']:10.1f}"
        )


if __name__ == "__main__":
    main()
