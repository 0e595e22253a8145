"""Embeddings as points of a plane, by t-SNE (van der Maaten, Hinton 2008), and new points onto an old map.

neighbours.py   which embeddings are nearest, by FAISS
tsne.py         the map, by openTSNE
placing.py      where a new one falls on an old map
quality.py      how far a map can be trusted
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vitrine.errors import InputError
from vitrine.progress import Progress, silent
from vitrine.projection import placing
from vitrine.projection.neighbours import Neighbours, Places
from vitrine.projection.placing import Ground
from vitrine.projection.quality import SAMPLE, preservation, trustworthiness

__all__ = ["LEAST", "NEAR", "SAMPLE", "SEED", "Map", "perplexity", "preservation", "project", "trustworthiness"]

Vectors = npt.NDArray[np.float32]
Points = npt.NDArray[np.float32]

SEED = 101
PERPLEXITY = 30.0
LEAST = 10
"""A map needs so many embeddings."""

MOST = 250_000
"""Of more embeddings a sample is mapped, and the others are placed among it."""

NEAR = placing.K
"""So many nearest neighbours of each embedding a map tells of."""


@dataclass(frozen=True)
class Map:
    """Where embeddings lie in the plane. embeddings: (n, d) float32; points: (n, 2) float32. These two arrays are all
    of it: stored and put together again, a map takes new points as before. near: places of the `NEAR` embeddings that
    are nearest to each, nearest first, (n, NEAR) or fewer, where the map was computed here; else None.
    """

    embeddings: Vectors
    points: Points
    near: Places | None = None

    def place(self, embeddings: Vectors, progress: Progress = silent) -> Points:
        """New embeddings (m, d) as points (m, 2) float32 of this map, which stays as it is; each by itself, whatever
        comes with it. Raises InputError where they have another size.
        """
        return self.settle(embeddings, progress)[0]

    def settle(self, embeddings: Vectors, progress: Progress = silent) -> tuple[Points, Places]:
        """As `place`, and also the places of each one's nearest on this map: (m, NEAR), or fewer."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embeddings.shape[1]:
            raise InputError(
                f"This map takes embeddings of {self.embeddings.shape[1]} numbers each; these are of shape"
                f" {embeddings.shape}."
            )
        places, distances = self._neighbours(len(embeddings)).query(embeddings, placing.K, progress)
        return self._ground.settle(places, distances), places

    @cached_property
    def _ground(self) -> Ground:
        return Ground(self.points)

    @cached_property
    def _neighbours(self) -> Callable[[int], Neighbours]:
        """Neighbours for so many queries: exact for few, made once."""
        exact = Neighbours(self.embeddings, 1)
        return lambda queries: exact if exact.fits(queries) else Neighbours(self.embeddings, queries)


def project(embeddings: Vectors, seed: int = SEED, progress: Progress = silent) -> Map:
    """A map of embeddings (n, d) float32. The same embeddings and seed give the same map on the same machine.

    Raises InputError for fewer than `LEAST`.
    """
    from vitrine.projection import tsne  # openTSNE takes a second to load, and placing does without

    if len(embeddings) < LEAST:
        raise InputError(f"A map needs {LEAST} images at least; here are {len(embeddings)}.")
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    if len(embeddings) <= MOST:
        points, near = tsne.points(embeddings, perplexity(len(embeddings)), seed, progress)
        return Map(embeddings, points, near[:, :NEAR])
    chosen = np.sort(np.random.default_rng(seed).choice(len(embeddings), MOST, replace=False))
    mapped, found = tsne.points(embeddings[chosen], PERPLEXITY, seed, progress)
    others = np.setdiff1d(np.arange(len(embeddings)), chosen)
    settled, among = Map(embeddings[chosen], mapped).settle(embeddings[others], progress)
    points, near = np.empty((len(embeddings), 2), np.float32), np.empty((len(embeddings), NEAR), np.int64)
    points[chosen], points[others] = mapped, settled
    near[chosen], near[others] = chosen[found[:, :NEAR]], chosen[among]  # of the sample, for all
    return Map(embeddings, points, near)


def perplexity(n: int) -> float:
    """30, or a third of the others where there are fewer than 91."""
    return min(PERPLEXITY, (n - 1) / 3)
