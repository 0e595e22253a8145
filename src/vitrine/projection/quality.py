"""How far a map can be trusted: what is near on it, and what is near in truth. Of many embeddings a sample is asked."""

import numpy as np
import numpy.typing as npt

from vitrine.projection.neighbours import Neighbours

Vectors = npt.NDArray[np.float32]
Points = npt.NDArray[np.floating]
Places = npt.NDArray[np.int64]

K = 15
SAMPLE = 2_000
"""So many points are enough to measure a large map by: their trustworthiness differs from that of all in the fourth
decimal.
"""

_BLOCK = 256  # points whose distances to all are held at once: 20 MB for 10,000


def trustworthiness(embeddings: Vectors, points: Points, k: int = 12, sample: int | None = None) -> float:
    """How far neighbours on the map are neighbours in truth, 0 to 1 (Venna, Kaski 2001), whatever the map's scale:

        1 - 2 / (n k (2 n - 3 k - 1)) * sum_i sum_{j in U_k(i)} (r(i, j) - k)

    U_k(i): those among the k nearest points of i on the map that are not among its k nearest embeddings; r(i, j): the
    rank of j by Euclidean distance from i among the embeddings. embeddings (n, d), points (n, 2); k is made smaller
    where it is not below n / 2. sample: of so many points, always the same, instead of all. In blocks: never a whole
    n x n matrix. Equal distances rank by place.
    """
    n = len(points)
    k = min(k, (n - 1) // 2)
    chosen = _chosen(n, sample)
    near = _others(np.ascontiguousarray(points, np.float32), chosen, k)  # (s, k)
    wide = embeddings.astype(np.float64)
    lengths = np.square(wide).sum(axis=1)  # (n,)
    penalty = 0
    for first in range(0, len(chosen), _BLOCK):
        rows, mapped = chosen[first : first + _BLOCK], near[first : first + _BLOCK]
        distances = lengths[None] - 2 * wide[rows] @ wide.T  # (block, n): squared, less what is the same in a row
        distances[np.arange(len(rows)), rows] = np.inf  # nothing is its own neighbour
        own = np.take_along_axis(distances, mapped, axis=1)  # (block, k)
        for column in range(k):
            mine, place = own[:, column, None], mapped[:, column, None]
            closer = (distances < mine) | ((distances == mine) & (np.arange(n) < place))
            penalty += int(np.maximum(np.count_nonzero(closer, axis=1) + 1 - k, 0).sum())
    return 1 - 2 * penalty / (len(chosen) * k * (2 * n - 3 * k - 1))


def preservation(embeddings: Vectors, points: Points, k: int = K, sample: int | None = None) -> float:
    """Which share of the k nearest embeddings is among the k nearest points, 0 to 1: the mean over all, or over a
    sample. embeddings (n, d), points (n, 2).
    """
    k = min(k, len(points) - 1)
    chosen = _chosen(len(points), sample)
    true = _others(np.ascontiguousarray(embeddings, np.float32), chosen, k)
    near = _others(np.ascontiguousarray(points, np.float32), chosen, k)
    return float((true[:, :, None] == near[:, None, :]).any(axis=2).mean())


def _chosen(n: int, sample: int | None) -> Places:
    if sample is None or sample >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, sample, replace=False))


def _others(vectors: Vectors, rows: Places, k: int) -> Places:
    """Of each of those rows the k other rows that are nearest, exactly: (s, k)."""
    found, _ = Neighbours(vectors, 1).query(vectors[rows], k + 1)
    own = found == rows[:, None]
    own[~own.any(axis=1), -1] = True
    others: Places = found[~own].reshape(len(rows), k)
    return others
