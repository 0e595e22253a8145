"""A catalogue beside what else could keep and search a shop's items on this machine: LanceDB, Qdrant's local mode,
Milvus Lite, and hnswlib and usearch with labels in lists, each set as its documentation recommends (peers.py).

    VITRINE_DATA=... python benchmarks/catalogue_peers.py [--json]

70,000 items, the embeddings of Fashion-MNIST, each with a label and a source; the queries are such with noise. Each
contestant is filled in a process of its own, opened three times in new ones, and searched in the last of these, on one
thread, in turns with the others: 20 single queries a turn, then batches of 1,000. Searching is timed by the processor,
all threads of the process together; none of them works in further processes, or it says so. Ratios are medians over
the turns, to FAISS alone, which compares everything and knows no labels. Who may choose an effort is given the smallest
that finds 0.999 of the best ten for 1,000 other queries, else the largest. Every answer is held against what was put
in. To fill and to open is timed by the clock; to open is all from the start of the process to the first answer.

Whoever is not installed is left out; whoever fails has its error in place of figures.
"""

import argparse
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from peers import CONTESTANTS, EFFORTS, K, label, source
from search import embeddings, noisy, truth
from vitrine.catalogue.index_kinds import Ids, Vectors

SINGLE, SINGLE_TURNS, BATCH, BATCH_TURNS = 20, 10, 1000, 3
RECALL, OPENINGS = 0.999, 3
PATIENCE = 3600.0  # seconds that a contestant may take for one request
BASE = "faiss exact"
Facts = dict[str, Any]
ONE_THREAD = dict.fromkeys(
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS", "LANCE_CPU_THREADS"], "1"
)


class PeerError(Exception):
    """A contestant could not do what was asked; one line."""


class Running:
    """A contestant in a process of its own."""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("peers.py")), name, str(folder), *options]
        self.complaints = folder.with_suffix(".err")
        with self.complaints.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | ONE_THREAD,
            )

    def reply(self) -> Facts:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.process.kill()
            raise PeerError(f"no answer in {PATIENCE:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            said = self.complaints.read_text().splitlines()
            raise PeerError(f"ended with {self.process.wait()}: {said[-1] if said else 'nothing was said'}")
        facts: Facts = json.loads(line)
        if "error" in facts:
            raise PeerError(facts["error"])
        return facts

    def ask(self, first: int, count: int, size: int, effort: int, show: bool = False) -> Facts:
        """Search for the queries from `first` on, `size` at a time."""
        assert self.process.stdin is not None
        request = {"first": first, "last": first + count, "size": size, "effort": effort, "show": show}
        with suppress(BrokenPipeError):  # it has said why
            print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.reply()

    def children(self) -> int:
        """How many processes it has started that still run; Linux only."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return sum(len(task.read_text().split()) for task in tasks)

    def close(self) -> None:
        self.process.communicate()


def recall(answers: list[list[tuple[int, float, str, str]]], queries: Vectors, vectors: Vectors, right: Ids) -> float:
    """Of the first queries, by their ten nearest (q, 10). Raises PeerError where an answer is not what was put in."""
    for query, row in zip(queries, answers, strict=False):
        scores = vectors[[id for id, *_ in row]] @ query
        for (id, score, *words), exact in zip(row, scores.tolist(), strict=True):
            if words != [label(id), source(id)] or abs(score - exact) > 1e-3:
                raise PeerError(f"item {id} came back with {score:.4f}, {words}; its score is {exact:.4f}")
    shared = (len({id for id, *_ in row} & set(best)) for row, best in zip(answers, right.tolist(), strict=True))
    return sum(shared) / right.size


def opened(name: str, folder: Path) -> tuple[Running, Facts]:
    """A contestant that has answered once, and the seconds until then: the least of some openings, for the file lies in
    the system's cache after the first. What takes long is opened once.
    """
    took: list[tuple[float, float]] = []
    while True:
        start = time.perf_counter()
        running = Running(name, folder)
        cpu = running.ask(0, 1, 1, min(EFFORTS))["cpu_so_far"]
        took.append((time.perf_counter() - start, cpu))
        if len(took) == OPENINGS or took[0][0] > 10:
            wall, cpu = map(min, zip(*took, strict=True))
            return running, {"reopen_s": wall, "reopen_cpu_s": cpu, "other_processes": running.children()}
        running.close()


def prepared(name: str, folder: Path, vectors: Vectors, queries: Vectors) -> tuple[Running, Facts]:
    """A contestant, filled, open and at its effort, and what that took. Raises PeerError."""
    folder.mkdir()
    filling = Running(name, folder, "--fill")
    facts = filling.reply()
    filling.close()
    facts["bytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    running, opening = opened(name, folder)
    facts |= opening
    right = truth(iter([(np.arange(len(vectors)), vectors)]), queries)
    ladder = CONTESTANTS[name]().ladder
    for effort in ladder or (0,):
        answers = running.ask(0, len(queries), BATCH, effort, show=True)["answers"]
        facts["effort"], facts["recall"] = effort if ladder else None, recall(answers, queries, vectors, right)
        if facts["recall"] >= RECALL:
            break
    return running, facts


def in_turns(running: dict[str, Running], found: dict[str, Facts], what: str, first: int, size: int) -> None:
    """Search so many turns, other queries each; who comes first changes. Adds milliseconds a request and ratios."""
    asked, turns = (SINGLE, SINGLE_TURNS) if what == "single" else (size, BATCH_TURNS)
    times: dict[str, list[Facts]] = {name: [] for name in running}
    for turn in range(turns):
        names = list(running)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            try:
                effort = found[name]["effort"] or 0
                times[name].append(running[name].ask(first + turn * asked, asked, size, effort))
            except PeerError as error:
                found[name] = {"error": str(error)}
                del running[name]
    base = [time["cpu"] for time in times[BASE]]
    for name in running:
        for clock in ("cpu", "wall"):
            each = statistics.median(time[clock] for time in times[name]) * size / asked
            found[name][f"{what}_{clock}_ms"] = 1000 * each
        ratios = [time["cpu"] / other for time, other in zip(times[name], base, strict=True)]
        found[name][f"{what}_ratio"] = statistics.median(ratios)


def measure(names: list[str], place: Path, vectors: Vectors, queries: Vectors) -> dict[str, Facts]:
    """Name to what was measured of it, or to its error."""
    np.save(place / "vectors.npy", vectors)
    np.save(place / "queries.npy", queries)
    found: dict[str, Facts] = {}
    running: dict[str, Running] = {}
    for name in names:
        print(f"filling {name}", file=sys.stderr, flush=True)
        try:
            running[name], found[name] = prepared(name, place / name.replace(" ", "-"), vectors, queries[:BATCH])
        except PeerError as error:
            found[name] = {"error": str(error)}
    in_turns(running, found, "single", BATCH, 1)
    in_turns(running, found, "batch", BATCH + SINGLE * SINGLE_TURNS, BATCH)
    for one in running.values():
        one.close()
    return found


def version(name: str) -> str | None:
    """Of all that a contestant needs; None where something is not installed."""
    try:
        return ", ".join(f"{part} {metadata.version(part)}" for part in CONTESTANTS[name]().distributions)
    except metadata.PackageNotFoundError:
        return None


def shown(name: str, facts: Facts) -> str:
    if "error" in facts:
        return f"{name:17s} {facts['error']}"
    return (
        f"{name:17s} {facts['recall']:9.4f} {facts['effort'] or '':>6}"
        f" {facts['single_cpu_ms']:8.2f} {facts['single_ratio']:7.2f}"
        f" {facts['batch_cpu_ms']:10,.0f} {facts['batch_ratio']:7.2f}"
        f" {facts['add_s']:8.1f} {facts['add_cpu_s']:7.1f} {facts['bytes'] / 1e6:7.1f}"
        f" {facts['reopen_s']:8.2f} {facts['reopen_cpu_s']:7.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=70_000)
    parser.add_argument("--vectors", type=Path, help="a .npy file with these embeddings, not to make them again")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, help="these alone, and FAISS")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    versions = {name: version(name) for name in CONTESTANTS}
    wanted = [name for name in CONTESTANTS if name == BASE or not given.only or name in given.only]
    names = [name for name in wanted if versions[name]]
    vectors = embeddings(given.vectors)[: given.items]
    _, queries = next(noisy(vectors, BATCH + SINGLE * SINGLE_TURNS + BATCH * BATCH_TURNS, seed=9))
    facts = {
        "items": len(vectors),
        "dimensions": vectors.shape[1],
        "k": K,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "threads": 1,
        "left_out": [name for name in wanted if name not in names],
    }
    print(json.dumps(facts) if given.json else ", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    with tempfile.TemporaryDirectory() as place:
        found = measure(names, Path(place), vectors, queries)
    if given.json:
        for name in names:
            rounded = {
                key: round(value, 4) if isinstance(value, float) else value for key, value in found[name].items()
            }
            print(json.dumps({"contestant": name, "version": versions[name], **rounded}))
        return
    print(f"{'':17s} recall@10 effort   one ms FAISS=1   1,000 ms FAISS=1    add s (cpu s)      MB reopen s (cpu s)")
    for name in names:
        print(shown(name, found[name]))


if __name__ == "__main__":
    main()
