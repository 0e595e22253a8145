"""The map of embeddings, by openTSNE: FAISS finds the neighbours, the first two principal components are the start.

`schedule` says how they are moved; docs/decisions/0007-map.md has what was tried, and its figures.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import openTSNE
from openTSNE import affinity, initialization

from vitrine import storage
from vitrine.progress import Progress
from vitrine.projection.neighbours import Neighbours, Places

Vectors = npt.NDArray[np.float32]
Points = npt.NDArray[np.float32]

FEW, MANY = 2_000, 3_000

_EVERY = 10  # iterations between two reports of progress
_SEARCH = 100  # the neighbours' search counts as so many iterations


class Phase(NamedTuple):
    """iterations: how many, all with that exaggeration of what pulls, and that momentum. cell: the side of a cell of
    the grid by which many points push each other away, in units of the map.
    """

    iterations: int
    exaggeration: float
    momentum: float
    cell: float = 1.0


_SLOW = (Phase(250, 12, 0.8), Phase(500, 1, 0.8))
"""As everybody has it: exact enough for few points, which cost nothing."""


def schedule(n: int) -> tuple[Phase, ...]:
    """How n points are moved. Many by a coarser grid, which costs a quarter, and with more momentum, which takes the
    map apart in half the iterations, but for the last ones; the more points, the longer that takes.
    """
    if n < MANY:
        return _SLOW
    root = (n / 60_000) ** 0.5
    together, apart = max(100, round(200 * root)), max(120, round(300 * root))
    return Phase(together, 12, 0.8, 2), Phase(apart, 1, 0.95, 2), Phase(30, 1, 0.8)


def points(embeddings: Vectors, perplexity: float, seed: int, progress: Progress) -> tuple[Points, Places]:
    """Where the embeddings (n, d) float32 lie, (n, 2) float32, and the neighbours by which they were laid out, nearest
    first: (n, k) places, k at least 45 where there are so many others. n is at least 3.
    """
    phases = schedule(len(embeddings))
    total = _SEARCH + sum(phase.iterations for phase in phases)

    def searched(done: int, count: int) -> None:
        progress(_SEARCH * done // count, total)

    affinities, near = _affinities(embeddings, perplexity, searched)
    found = _embedding(_start(embeddings, seed), affinities, seed)
    done = _SEARCH
    for phase in phases:

        def report(iteration: int, error: float, points: Points, before: int = done) -> None:
            progress(before + iteration, total)

        found = found.optimize(
            phase.iterations,
            learning_rate="auto",
            exaggeration=phase.exaggeration,
            momentum=phase.momentum,
            ints_in_interval=phase.cell,
            inplace=True,
            callbacks=report,
            callbacks_every_iters=_EVERY,
        )
        done += phase.iterations
    progress(total, total)
    return np.array(found, np.float32), near


def _affinities(embeddings: Vectors, perplexity: float, progress: Progress) -> tuple[affinity.Affinities, Places]:
    """Who is pulled to whom, and how much; and these neighbours. Of many only half as many are asked as t-SNE mostly
    has: the further ones hardly pull, and the map is no worse.
    """
    n = len(embeddings)
    k = int((3 if n < MANY else 1.5) * perplexity)
    places, distances = Neighbours(embeddings, n).of_each(min(k, n - 1), progress)
    joint = affinity.joint_probabilities_nn(
        places, distances.astype(np.float64), [perplexity], symmetrize=True, n_jobs=_jobs(n)
    )
    return affinity.PrecomputedAffinities(joint, normalize=True), places


def _embedding(start: npt.NDArray[np.float64], affinities: affinity.Affinities, seed: int) -> openTSNE.TSNEEmbedding:
    """Points (n, 2) that openTSNE can move. Few are moved by Barnes-Hut, whose time hangs on their number, many by FFT,
    whose time hangs on how far they spread.
    """
    gradient = "bh" if len(start) < MANY else "fft"
    return openTSNE.TSNEEmbedding(
        start, affinities, random_state=seed, n_jobs=_jobs(len(start)), negative_gradient_method=gradient
    )


def _start(embeddings: Vectors, seed: int) -> npt.NDArray[np.float64]:
    """The first two principal components, small; noise where all embeddings are the same and have none."""
    if not np.ptp(embeddings, axis=0).any():
        return np.random.default_rng(seed).normal(scale=1e-4, size=(len(embeddings), 2))
    start: npt.NDArray[np.float64] = initialization.pca(embeddings.astype(np.float64), random_state=seed)
    return start


def _jobs(n: int) -> int:
    """Threads for n points. Few are done sooner than threads have met, on a busy machine by far."""
    return 1 if n < FEW else storage.cores()
