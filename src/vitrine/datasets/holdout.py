"""Which images a training learns from, and which it holds out to validate: the same choice for the training and for
whoever looks at a run later.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from vitrine.datasets import Dataset

Rule = Literal["random", "last"]


def hold_out(
    dataset: Dataset,
    share: float,
    rule: Rule,
    seed: int,
    limit: int = 0,
    leave_out: Sequence[int] = (),
    limited: Literal["all", "training"] = "all",
) -> tuple[Dataset, Dataset]:
    """Training and validation parts, both in the data set's order.

    share: of the images, held out; rule: "random" (the share of each class, by seed) or "last" (the last ones).
    leave_out: numbers of classes whose images are in neither part. limit (0: none): of "all" images the first so many
    only; or of those to train on so many, by seed, of each class its share, so that the validation part is the same
    whatever the limit, and fewer images are some of more.
    """
    if limit and limited == "all":
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
    kept = np.flatnonzero(~held)
    if limit and limited == "training":
        kept = kept[_spread(dataset.labels[kept], seed)[:limit]]
    return dataset[np.sort(kept)], dataset[np.flatnonzero(held)]


def _spread(labels: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.intp]:
    """The places of labels (n,) in an order of which every beginning has of each label about its share."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels))
    for label in np.unique(labels):
        places = order[labels[order] == label]
        turn[places] = (np.arange(len(places)) + 0.5) / len(places)  # evenly from 0 to 1
    return order[np.argsort(turn[order], kind="stable")]
