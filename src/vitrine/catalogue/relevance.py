"""More like these, less like that one: several examples as one query."""

import numpy as np

from vitrine.catalogue import Vectors
from vitrine.errors import InputError

LESS = 0.5
"""How much the unlike count beside the like."""


def combine(like: Vectors, unlike: Vectors, less: float = LESS) -> Vectors:
    """One query (1, d), L2-normalised, from examples (n, d) and counter-examples (m, d), which are L2-normalised.

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
