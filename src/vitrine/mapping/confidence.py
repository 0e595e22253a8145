"""How far the nearest neighbours of an item bear its label out: what is low, its label or the model may have wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrine.catalogue.map_file import Near

Counts = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Confidence:
    """Counted among the 15 items whose embeddings are nearest to that of an item. agree: (n,) uint8, how many bear its
    label; of: (n,) uint8, how many bear any, 0 where it has none itself.
    """

    agree: Counts
    of: Counts

    @property
    def share(self) -> npt.NDArray[np.float32]:
        """Which part of them agrees: (n,) float32, 0 to 1, NaN where `of` is 0. Each neighbour counts the same."""
        found: npt.NDArray[np.float32] = np.divide(
            self.agree, self.of, out=np.full(len(self.of), np.nan, np.float32), where=self.of > 0, dtype=np.float32
        )
        return found


def confidence_of(labels: Sequence[str | None], near: Near) -> Confidence:
    """Of the items of a map with these labels, n, None for an item without one or one that has left. near: (n, k)
    int32, the places of each one's neighbours, -1 for none; k at most 255.

    >>> found = confidence_of(["coat", "coat", "dress", None], np.array([[1, 2], [0, -1], [0, 3], [0, 1]], np.int32))
    >>> found.agree.tolist(), found.of.tolist(), found.share.tolist()
    ([1, 1, 0, 0], [2, 1, 1, 0], [0.5, 1.0, 0.0, nan])
    """
    numbers: dict[str, int] = {}
    own = [-1 if label is None else numbers.setdefault(label, len(numbers)) for label in labels]
    which = np.array([*own, -1], np.int32)  # the last is what place -1 finds
    theirs, mine = which[near], which[:-1, None]  # (n, k), (n, 1)
    counted = (theirs >= 0) & (mine >= 0)
    return Confidence(
        np.count_nonzero(counted & (theirs == mine), axis=1).astype(np.uint8),
        np.count_nonzero(counted, axis=1).astype(np.uint8),
    )
