"""Time and memory of ranking a whole gallery for each of its items: 70,000 x 70,000 x 128, ten classes.

    python benchmarks/retrieval.py [ITEMS] [--json]

The embeddings are drawn at random around a centre per class: time hardly depends on what they are.
"""

import argparse
import json
import os
import resource
import time

import numpy as np

from vitrine import evaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", nargs="?", type=int, default=70_000)
    parser.add_argument("--json", action="store_true", help="a line of JSON, for results/retrieval.jsonl")
    options = parser.parse_args()
    n = options.items
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, n)
    vectors = (random.normal(size=(10, 128))[labels] + 4 * random.normal(size=(n, 128))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before = peak_gib()
    start = time.perf_counter()
    found = evaluation.retrieval(vectors, labels, vectors, labels, leave_one_out=True)
    seconds = time.perf_counter() - start
    peak = peak_gib()
    if options.json:
        line = {"items": n, "dimensions": 128, "seconds": seconds, "peak_gib": peak, "peak_gib_before": before}
        print(json.dumps({key: round(value, 2) for key, value in line.items()}))
        return
    print(f"{n:,} x {n:,} x 128 on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: {found}")
    print(f"{seconds:.1f} s; peak memory {peak:.2f} GiB ({before:.2f} GiB before the search)")


def peak_gib() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
