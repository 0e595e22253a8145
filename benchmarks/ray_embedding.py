"""What Ray costs at one worker, and what a second one brings: pictures into a catalogue, by each engine, in turns.

    VITRINE_DATA=... python benchmarks/ray_embedding.py [--data fashion-mnist] [--items 6000] [--turns 3] [--json]

The pictures: photos of clothes in VITRINE_DATA/clothing-photos (as many as there are, several times where more are
asked for), or Fashion-MNIST's test items as PNGs. Each way fills a new catalogue, in a process of its own:

    here    the plain engine on one core
    ray-1   Ray on one core with one worker; who hands out and writes has the other core
    ray-2   Ray on two cores with two workers

`start` is from the call of the engine until the first pictures are back: starting Ray, its workers and their models.
`steady` is the rate from a third of the pictures to nine tenths: after the first pictures Ray still starts processes of
its own, some seconds of a core each, and at the end one worker waits for the other. `whole` is the rate of all of it,
start and end included. Printed are the medians of the turns, and of the shares turn by turn: overhead = whole time of
ray-1 / of here, steady overhead = steady rate of here / of ray-1, speed-up = steady rate of ray-2 / of ray-1, whole
speed-up = whole time of ray-1 / of ray-2. The catalogues must hold the same, bit for bit. `load` is how many processes
wanted a core before: with others at work none of this is to be believed.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

WAYS = {"here": 0, "ray-1": 1, "ray-2": 2}


@dataclass(frozen=True)
class Told:
    """seconds: all of it. start: until the first picture is back. steady, whole: pictures a second."""

    way: str
    seconds: float
    start: float
    steady: float
    whole: float
    digest: str


def pictures(kind: str, count: int, place: Path) -> None:
    """Fill a folder."""
    from vitrine import images
    from vitrine.datasets import fashion_mnist, image_folder

    data = Path(os.environ["VITRINE_DATA"])
    if kind == "fashion-mnist":
        for number, image in enumerate(fashion_mnist.load(data).test.images[:count]):
            (place / f"{number:06d}.png").write_bytes(images.png(image))
        return
    found, _ = image_folder.find(str(data / kind))
    for number in range(count):
        source = Path(found[number % len(found)])
        shutil.copyfile(source, place / f"{number:06d}{source.suffix}")


def fill(way: str, place: str, home: str, answers: Any) -> None:
    """In a process of its own: a new catalogue of that folder."""
    os.environ["VITRINE_HOME"] = home
    workers = WAYS[way]
    if hasattr(os, "sched_setaffinity") and not workers:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from vitrine import choosing
    from vitrine.catalogue.local import LocalCatalogue
    from vitrine.datasets import image_folder
    from vitrine.encoder import Encoder
    from vitrine.indexing.folder import FolderSync
    from vitrine.indexing.here import Here
    from vitrine.indexing.reading import Engine

    engine: Engine = Here()
    if workers:
        from vitrine.indexing.on_ray import OnRay

        engine = OnRay(workers=workers)
    encoder = Encoder.load(choosing.for_files(image_folder.find(place)[0]).model)
    seen: list[tuple[float, int]] = []
    with LocalCatalogue.create(way, encoder) as made:
        begin = time.perf_counter()
        FolderSync(encoder, Path(place), engine=engine).run(
            made, lambda done, total: seen.append((time.perf_counter(), done))
        )
        end = time.perf_counter()
        ids, vectors, sources = made.vectors()
    digest = _digest(ids, vectors, sources)
    answers.put(Told(way, end - begin, seen[0][0] - begin, _steady(seen), seen[-1][1] / (end - begin), digest))


def _steady(seen: list[tuple[float, int]]) -> float:
    """Pictures a second: the slope of the line through how many were done when, without the beginning and the end."""
    count = seen[-1][1]
    times, done = np.array([point for point in seen if count / 3 <= point[1] <= count * 0.9]).T
    return float(np.polyfit(times - times[0], done, 1)[0])


def _digest(ids: Any, vectors: Any, sources: list[str]) -> str:
    import hashlib

    return hashlib.sha256(
        ids.tobytes() + np.ascontiguousarray(vectors).tobytes() + "\0".join(sources).encode()
    ).hexdigest()


def run(way: str, place: Path) -> Told:
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as home:
        process = context.Process(target=fill, args=(way, str(place), home, answers))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{way} ended with {process.exitcode}")
        told: Told = answers.get()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="clothing-photos", help="fashion-mnist, or a folder in VITRINE_DATA")
    parser.add_argument("--items", type=int, default=6000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.items < 200:
        parser.error("with fewer than 200 items nothing is steady")
    load = os.getloadavg()[0]
    turns: list[dict[str, Told]] = []
    with tempfile.TemporaryDirectory() as made:
        pictures(asked.data, asked.items, Path(made))
        for _ in range(asked.turns):
            turns.append({way: run(way, Path(made)) for way in WAYS})
            if not asked.json:
                for told in turns[-1].values():
                    print(
                        f"{told.way:6s} {told.seconds:7.1f} s, start {told.start:5.1f} s, pictures/s: steady"
                        f" {told.steady:8.1f}, whole {told.whole:8.1f}",
                        flush=True,
                    )
    shares = {
        "overhead": [turn["ray-1"].seconds / turn["here"].seconds for turn in turns],
        "steady_overhead": [turn["here"].steady / turn["ray-1"].steady for turn in turns],
        "speed_up": [turn["ray-2"].steady / turn["ray-1"].steady for turn in turns],
        "whole_speed_up": [turn["ray-1"].seconds / turn["ray-2"].seconds for turn in turns],
    }
    facts: dict[str, Any] = {"data": asked.data, "items": asked.items, "turns": asked.turns}
    facts |= {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": round(load, 1)}
    for way in WAYS:
        told_ = [asdict(turn[way]) for turn in turns]
        keys = ("seconds", "start", "steady", "whole")
        facts[way] = {key: round(statistics.median(one[key] for one in told_), 2) for key in keys}
    facts |= {name: round(statistics.median(values), 3) for name, values in shares.items()}
    facts["same"] = len({told.digest for turn in turns for told in turn.values()}) == 1
    if asked.json:
        print(json.dumps(facts))
        return
    print(f"load before {load:.1f}, on {os.cpu_count()} cores")
    for name, values in shares.items():
        print(f"{name:16s} {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
    print("all catalogues hold the same, bit for bit" if facts["same"] else "the catalogues DIFFER")


if __name__ == "__main__":
    main()
