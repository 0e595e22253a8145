"""The map: vitrine's beside scikit-learn's TSNE at 10,000 embeddings and beside openTSNE's at 60,000; and one new
picture on a map of 70,000, beside openTSNE's `transform`.

    VITRINE_DATA=... OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/map.py [--json] [--vectors FILE]

The embeddings of Fashion-MNIST by the shipped model: 60,000, the other 10,000, and 69,000 with 1,000 to place. Each
contestant has its defaults, but for scikit-learn's 500 iterations, which are report A's. One core, one after the
other. Time is wall-clock, for it is what one waits; beside it that of the processor, which others disturb less.
Trustworthiness and neighbour preservation (k = 15) are of the same 2,000 points for both of a race.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import openTSNE
from openTSNE import affinity
from sklearn.manifold import TSNE

from search import embeddings
from vitrine import projection, storage
from vitrine.catalogue.index_kinds import faiss
from vitrine.projection import Map
from vitrine.projection.neighbours import Neighbours

Vectors = npt.NDArray[np.float32]
Points = npt.NDArray[np.floating]

K, SEED, PLACED, MANY = 15, 101, 20, 1_000
TRAIN = 60_000


class Took(NamedTuple):
    """seconds: wall-clock and processor."""

    points: Points
    seconds: float
    processor: float


def timed(compute: Callable[[], Points]) -> Took:
    wall, processor = time.perf_counter(), time.process_time()
    points = compute()
    return Took(points, time.perf_counter() - wall, time.process_time() - processor)


def ours(vectors: Vectors) -> Points:
    return projection.project(vectors, SEED).points


def scikit_learn(vectors: Vectors) -> Points:
    points: Points = TSNE(init="pca", max_iter=500, random_state=SEED, n_jobs=1).fit_transform(vectors)
    return points


def open_tsne(vectors: Vectors) -> Points:
    return np.asarray(openTSNE.TSNE(random_state=SEED, n_jobs=1).fit(vectors))


def race(what: str, vectors: Vectors, other: Callable[[Vectors], Points]) -> dict[str, object]:
    """Both one after the other on the same embeddings."""
    found: dict[str, object] = {"what": what, "items": len(vectors)}
    took = {"ours": timed(lambda: ours(vectors)), "other": timed(lambda: other(vectors))}
    for who, one in took.items():
        found |= {
            f"{who}_seconds": round(one.seconds, 2),
            f"{who}_processor_seconds": round(one.processor, 2),
            f"{who}_trustworthiness": round(projection.trustworthiness(vectors, one.points, K, projection.SAMPLE), 5),
            f"{who}_preservation": round(projection.preservation(vectors, one.points, K, projection.SAMPLE), 4),
        }
    found["ratio"] = round(took["other"].seconds / took["ours"].seconds, 2)
    found["processor_ratio"] = round(took["other"].processor / took["ours"].processor, 2)
    return found


def kept(drawn: Map, new: Vectors, points: Points) -> float:
    """Which share of the 15 nearest embeddings of the map is among the 15 points nearest to each new one."""
    true, _ = Neighbours(drawn.embeddings, 1).query(new, K)
    near, _ = Neighbours(drawn.points, 1).query(points.astype(np.float32), K)
    return float((true[:, :, None] == near[:, None]).any(axis=2).mean())


def prepared(drawn: Map) -> openTSNE.TSNEEmbedding:
    """The map as openTSNE must have it before it takes new points, by its own defaults."""
    affinities = affinity.PerplexityBasedNN(drawn.embeddings, random_state=SEED, n_jobs=1)
    points = drawn.points.astype(np.float64)
    return openTSNE.TSNEEmbedding(points, affinities, random_state=SEED, n_jobs=1, negative_gradient_method="fft")


def placing(vectors: Vectors) -> dict[str, object]:
    """New pictures on a map of nearly all: some are left out of it, and then placed, one by one and together."""
    drawn = projection.project(vectors[:-MANY], SEED)
    new = vectors[-MANY:]
    first = timed(lambda: drawn.place(new[:1])).seconds
    single = [timed(partial(drawn.place, new[row : row + 1])).seconds for row in range(1, PLACED + 1)]
    start = time.perf_counter()
    old = prepared(drawn)
    preparing = time.perf_counter() - start
    theirs = timed(lambda: np.asarray(old.transform(new[:1])))
    others = np.asarray(old.transform(new))
    others = others - (np.asarray(old) - drawn.points).mean(axis=0)  # it has centred the map meanwhile
    mine = drawn.place(new)
    apart = np.linalg.norm(mine - others, axis=1)
    return {
        "what": "one new picture",
        "items": len(drawn.points),
        "first_milliseconds": round(first * 1e3, 1),
        "milliseconds": round(statistics.median(single) * 1e3, 1),
        "most_milliseconds": round(max(single) * 1e3, 1),
        "transform_milliseconds": round(theirs.seconds * 1e3, 1),
        "transform_first_milliseconds": round((preparing + theirs.seconds) * 1e3, 1),
        "preservation": round(kept(drawn, new, mine), 4),
        "transform_preservation": round(kept(drawn, new, others), 4),
        "centred": True,  # the map that transform has moved is moved back before the two are compared
        "median_apart": round(float(np.median(apart)), 2),
        "extent": round(float(np.ptp(drawn.points, axis=0).max()), 1),
    }


def report(found: dict[str, object], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found), flush=True)
    else:
        print(found["what"])
        for key, value in found.items():
            if key != "what":
                print(f"  {key:32s}{value}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--vectors", type=Path, help="a .npy file with these embeddings, not to make them again")
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    warnings.filterwarnings("ignore", module="sklearn|openTSNE")
    vectors = np.ascontiguousarray(embeddings(given.vectors), np.float32)
    projection.project(vectors[:100], SEED)  # whatever is done once only
    report(
        {"what": "machine", "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "used": storage.cores()},
        given.json,
    )
    report(race("scikit-learn TSNE, 500 iterations", vectors[TRAIN:], scikit_learn), given.json)
    report(race("openTSNE, its defaults", vectors[:TRAIN], open_tsne), given.json)
    report(placing(vectors), given.json)


if __name__ == "__main__":
    main()
