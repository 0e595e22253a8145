"""More like these, less like that one: several examples as one query, and what is like them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrine.catalogue import Catalogue, Match, Vectors
from vitrine.catalogue.filters import Filter
from vitrine.errors import InputError

LESS = 0.5
"""How much the unlike count beside the like."""


@dataclass(frozen=True)
class Example:
    """What answers are to be like, or unlike. vector: (d,) float32, L2-normalised. id: of the item, if it is one.
    weight: how much it counts beside the others, 0 and up.
    """

    source: str
    vector: Vectors
    id: int | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Page:
    """Which of the matches are wanted; see `Catalogue.search`."""

    k: int
    offset: int = 0
    threshold: float | None = None
    where: Filter | None = None


def look_alikes(catalogue: Catalogue, like: Sequence[Example], unlike: Sequence[Example], page: Page) -> list[Match]:
    """What is like the ones and unlike the others, without the examples themselves; at least one must be to be like.

    Raises InputError as `combine` does; what the catalogue raises.
    """
    if len(like) == 1 and not unlike:
        query = like[0].vector[None]  # (1, d)
    else:
        query = combine(_weighted(like, like[0]), _weighted(unlike, like[0]))
    left_out = {one.id for one in (*like, *unlike) if one.id is not None}
    wanted = page.offset + page.k
    if not left_out:
        return catalogue.search(query, page.k, page.threshold, page.where, page.offset)[0]
    found = catalogue.search(query, wanted + len(left_out), page.threshold, page.where)[0]
    return [match for match in found if match.id not in left_out][page.offset : wanted]


def _weighted(examples: Sequence[Example], one: Example) -> Vectors:
    """(n, d): their vectors, each times its weight; n may be 0. one: whatever has a vector."""
    rows = [np.float32(example.weight) * example.vector for example in examples]
    return np.stack(rows) if rows else np.empty((0, len(one.vector)), np.float32)


def combine(like: Vectors, unlike: Vectors, less: float = LESS) -> Vectors:
    """One query (1, d), L2-normalised, from examples (n, d) and counter-examples (m, d), which are L2-normalised, or
    that times how much each counts.

        q = mean(like) - less * mean(unlike),  q / |q|

    That is Rocchio's rule (1971) without a query of its own. Raises InputError where nothing is left.

    >>> combine(np.array([[1, 0], [0, 1]], np.float32), np.empty((0, 2), np.float32)).round(3).tolist()
    [[0.7070000171661377, 0.7070000171661377]]
    """
    query = like.mean(axis=0, keepdims=True, dtype=np.float64)  # (1, d)
    if len(unlike):
        query = query - less * unlike.mean(axis=0, keepdims=True, dtype=np.float64)
    length = float(np.linalg.norm(query))
    if length < 1e-6:
        raise InputError("What to be like and what to be unlike cancel each other out; name other examples.")
    combined: Vectors = (query / length).astype(np.float32)
    return combined
