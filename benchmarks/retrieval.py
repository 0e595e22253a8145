"""Time and memory of ranking a whole gallery for each of its items: 70,000 x 70,000 x 128, ten classes.

    python benchmarks/retrieval.py [ITEMS]

The embeddings are drawn at random around a centre per class: time hardly depends on what they are.
"""

import os
import resource
import sys
import time

import numpy as np

from vitrine import evaluation


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 70_000
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, n)
    vectors = (random.normal(size=(10, 128))[labels] + 4 * random.normal(size=(n, 128))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = evaluation.retrieval(vectors, labels, vectors, labels, leave_one_out=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{n:,} x {n:,} x 128 on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: {found}")
    print(f"{seconds:.1f} s; peak memory {peak / 2**20:.2f} GiB ({before / 2**20:.2f} GiB before the search)")


if __name__ == "__main__":
    main()
