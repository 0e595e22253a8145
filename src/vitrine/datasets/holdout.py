"""Which images a training learns from, and which it holds out to validate: the same choice for the training and for
whoever looks at a run later.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vitrine.datasets import Dataset

Rule = Literal["random", "last"]


def hold_out(
    dataset: Dataset, share: float, rule: Rule, seed: int, limit: int = 0, leave_out: Sequence[int] = ()
) -> tuple[Dataset, Dataset]:
    """Training and validation parts, both in the data set's order.

    share: of the images, held out; rule: "random" (the share of each class, by seed) or "last" (the last ones). limit:
    the first so many images only (0: all). leave_out: numbers of classes whose images are in neither part.
    """
    if limit:
        dataset = dataset[:limit]
    if leave_out:
        dataset = dataset[np.flatnonzero(~np.isin(dataset.labels, np.asarray(leave_out, np.int64)))]
    n = len(dataset)
    held = np.zeros(n, bool)  # (n,): in validation?
    if rule == "last":
        held[n - round(n * share) :] = True
    else:
        generator = np.random.default_rng(seed)
        for label in range(len(dataset.class_names["en"])):
            members = np.flatnonzero(dataset.labels == label)
            held[generator.permutation(members)[: round(len(members) * share)]] = True
    return dataset[np.flatnonzero(~held)], dataset[np.flatnonzero(held)]
