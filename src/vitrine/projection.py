"""t-SNE (van der Maaten, Hinton 2008): embeddings as points of a plane, and new points onto an old map.

openTSNE does the work, FAISS finds the neighbours, the first two principal components are the start.
"""

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
import openTSNE
from openTSNE import affinity, initialization

from vitrine import storage
from vitrine.errors import InputError
from vitrine.progress import Progress, silent

Vectors = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

SEED = 101
PERPLEXITY = 30.0
EARLY, ITERATIONS = 250, 500  # with clusters pulled together, then without
LEAST = 10
"""A map needs so many embeddings."""

FEW, MANY = 2_000, 10_000

_EVERY = 10  # iterations between two reports of progress
_BLOCK = 256  # points whose distances to all are held at once: 20 MB for 10,000


@dataclass(frozen=True)
class Map:
    """Where embeddings lie in the plane. embeddings: (n, d) float32; points: (n, 2) float64. The two arrays are all of
    it: stored and put together again, a map takes new points as before.
    """

    embeddings: Vectors
    points: Points

    def place(self, embeddings: Vectors) -> Points:
        """New embeddings (m, d) as points (m, 2) float64 of this map, which stays as it is. Raises InputError where
        they have another size.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embeddings.shape[1]:
            raise InputError(
                f"This map takes embeddings of {self.embeddings.shape[1]} numbers each; these are of shape"
                f" {embeddings.shape}."
            )
        if not len(embeddings):
            return np.empty((0, 2))
        old = _embedding(self.points, _affinities(self.embeddings), SEED)
        new = old.transform(embeddings, perplexity=min(5.0, perplexity(len(self.points))))
        return np.array(new, np.float64)


def project(embeddings: Vectors, seed: int = SEED, progress: Progress = silent) -> Map:
    """A map of embeddings (n, d) float32. The same embeddings and seed give the same map on the same machine.

    Raises InputError for fewer than `LEAST`.
    """
    if len(embeddings) < LEAST:
        raise InputError(f"A map needs {LEAST} images at least; here are {len(embeddings)}.")
    affinities = _affinities(embeddings)
    start = _start(embeddings, seed)
    found = _embedding(start, affinities, seed)
    steps = EARLY + ITERATIONS

    for before, count, exaggeration in ((0, EARLY, 12.0), (EARLY, ITERATIONS, 1.0)):

        def report(iteration: int, error: float, points: Points, before: int = before) -> None:
            progress(before + iteration, steps)

        found = found.optimize(
            count,
            learning_rate="auto",
            exaggeration=exaggeration,
            callbacks=report,
            callbacks_every_iters=_EVERY,
        )
    progress(steps, steps)
    return Map(embeddings, np.array(found, np.float64))


def trustworthiness(embeddings: Vectors, points: Points, k: int = 12) -> float:
    """How far neighbours on the map are neighbours in truth, 0 to 1 (Venna, Kaski 2001), whatever the map's scale:

        1 - 2 / (n k (2 n - 3 k - 1)) * sum_i sum_{j in U_k(i)} (r(i, j) - k)

    U_k(i): those among the k nearest points of i on the map that are not among its k nearest embeddings; r(i, j): the
    rank of j by Euclidean distance from i among the embeddings. embeddings (n, d), points (n, 2); k is made smaller
    where it is not below n / 2. In blocks: never a whole n x n matrix. Equal distances rank by place.
    """
    n = len(points)
    k = min(k, (n - 1) // 2)
    near, _ = _Neighbours(np.ascontiguousarray(points, np.float32), k).build()
    wide = embeddings.astype(np.float64)
    lengths = np.square(wide).sum(axis=1)  # (n,)
    penalty = 0
    for first in range(0, n, _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, n))
        distances = lengths[None] - 2 * wide[rows] @ wide.T  # (block, n): squared, less what is the same in a row
        distances[np.arange(len(rows)), rows] = np.inf  # nothing is its own neighbour
        own = np.take_along_axis(distances, near[rows], axis=1)  # (block, k)
        for column in range(k):
            mine, place = own[:, column, None], near[rows, column, None]
            closer = (distances < mine) | ((distances == mine) & (np.arange(n) < place))
            penalty += int(np.maximum(np.count_nonzero(closer, axis=1) + 1 - k, 0).sum())
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))


class _Neighbours:
    """Exact nearest neighbours by FAISS, in the form that openTSNE takes: `k`, `n_samples`, `build` and `query`."""

    def __init__(self, vectors: Vectors, k: int) -> None:
        self.k, self.n_samples = k, len(vectors)
        self._vectors = vectors
        self._index = faiss.IndexFlatL2(vectors.shape[1])
        self._index.add(vectors)

    def build(self) -> tuple[Places, Points]:
        """Of each vector, the places of the k others that are nearest, and their distances: (n, k) both."""
        places, distances = self.query(self._vectors, self.k + 1)
        own = places == np.arange(self.n_samples)[:, None]  # (n, k + 1)
        own[~own.any(axis=1), -1] = True  # among many copies it may not find itself
        shape = (self.n_samples, self.k)
        return places[~own].reshape(shape), distances[~own].reshape(shape)

    def query(self, vectors: Vectors, k: int) -> tuple[Places, Points]:
        squares, places = self._index.search(np.ascontiguousarray(vectors, np.float32), k)
        return places, np.sqrt(np.maximum(squares.astype(np.float64), 0))


def _affinities(embeddings: Vectors) -> affinity.PerplexityBasedNN:
    neighbourhood = perplexity(len(embeddings))
    neighbours = _Neighbours(np.ascontiguousarray(embeddings, np.float32), int(3 * neighbourhood))
    return affinity.PerplexityBasedNN(knn_index=neighbours, perplexity=neighbourhood, n_jobs=_jobs(len(embeddings)))


def _embedding(points: Points, affinities: affinity.PerplexityBasedNN, seed: int) -> openTSNE.TSNEEmbedding:
    """Points (n, 2) that openTSNE can move. Few are moved by Barnes-Hut, whose time hangs on their number, many by FFT,
    whose time hangs on how far they spread.
    """
    gradient = "bh" if len(points) < MANY else "fft"
    return openTSNE.TSNEEmbedding(
        points, affinities, random_state=seed, n_jobs=_jobs(len(points)), negative_gradient_method=gradient
    )


def perplexity(n: int) -> float:
    """30, or a third of the others where there are fewer than 91."""
    return min(PERPLEXITY, (n - 1) / 3)


def _start(embeddings: Vectors, seed: int) -> Points:
    """The first two principal components, small; noise where all embeddings are the same and have none."""
    if not np.ptp(embeddings, axis=0).any():
        return np.random.default_rng(seed).normal(scale=1e-4, size=(len(embeddings), 2))
    start: Points = initialization.pca(embeddings.astype(np.float64), random_state=seed)
    return start


def _jobs(n: int) -> int:
    """Threads for n points. Few are done sooner than threads have met, on a busy machine by far."""
    return 1 if n < FEW else storage.cores()
