"""Which vectors are nearest, by FAISS: all are compared; where that is too much work, those in near cells."""

import faiss
import numpy as np
import numpy.typing as npt

from vitrine.progress import Progress, silent

Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float32]

EXACT = 20_000**2
"""So many comparisons are made rather than cells: some 5 s on one core."""

_CELLS = 2.0  # cells: so many times the root of the number of vectors
_LOOKED_INTO = 40  # one cell in so many: of the 45 nearest of 60,000 embeddings 98.5 % are found in a tenth of the time
_TRAINED_ON = 40  # vectors a cell
_BLOCK = 2_000  # queries between two reports of progress


class Neighbours:
    """Vectors (n, d) float32 that are asked for the nearest, by Euclidean distance. queries: how many will ask."""

    def __init__(self, vectors: Vectors, queries: int) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._exact = len(vectors) * queries <= EXACT
        self._index = _flat(self._vectors) if self._exact else _cells(self._vectors)

    def fits(self, queries: int) -> bool:
        """Whether this is made for so many."""
        return self._exact and len(self._vectors) * queries <= EXACT

    def query(self, vectors: Vectors, k: int, progress: Progress = silent) -> tuple[Places, Distances]:
        """Of each of the vectors (m, d) the places of the k nearest, nearest first, and the distances: (m, k) int64 and
        float32. k is made smaller where there are not so many.
        """
        k = min(k, len(self._vectors))
        places, squares = np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k), np.float32)
        for first in range(0, len(vectors), _BLOCK):
            part = slice(first, min(first + _BLOCK, len(vectors)))
            wanted = np.ascontiguousarray(vectors[part], np.float32)
            squares[part], places[part] = self._index.search(wanted, k)
            progress(part.stop, len(vectors))
        short = (places < 0).any(axis=1)  # too few in the cells that were looked into
        if short.any():
            squares[short], places[short] = _flat(self._vectors).search(vectors[short], k)
        return places, np.sqrt(np.maximum(squares, 0))

    def of_each(self, k: int, progress: Progress = silent) -> tuple[Places, Distances]:
        """Of each vector the k others that are nearest, as `query`."""
        places, distances = self.query(self._vectors, k + 1, progress)
        own = places == np.arange(len(places))[:, None]  # (n, k + 1)
        own[~own.any(axis=1), -1] = True  # among many copies it may not find itself
        shape = (len(places), places.shape[1] - 1)
        return places[~own].reshape(shape), distances[~own].reshape(shape)


def _flat(vectors: Vectors) -> faiss.Index:
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    return index


def _cells(vectors: Vectors) -> faiss.Index:
    n, d = vectors.shape
    cells = int(_CELLS * n**0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, cells, faiss.METRIC_L2)
    index.cp.niter = 8
    index.nprobe = max(8, cells // _LOOKED_INTO)
    some = np.random.default_rng(0).choice(n, min(n, _TRAINED_ON * cells), replace=False)
    index.train(vectors[some])
    index.add(vectors)
    return index
