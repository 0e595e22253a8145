"""Catalogues: collections of pictures that can be searched by picture.

local.py    on one machine: SQLite is the truth, FAISS the speed
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """One answer of a search. score: cosine similarity, -1 to 1, 1 for the same embedding."""

    id: int
    score: float
    label: str | None
    source: str


@dataclass(frozen=True)
class Item:
    """What is put into a catalogue. source: where the picture came from, unique; content: hash of its bytes; vector:
    (d,) float32, L2-normalised; thumbnail: a small PNG or JPEG.
    """

    source: str
    label: str | None
    content: str
    vector: Vectors
    thumbnail: bytes


@dataclass(frozen=True)
class Info:
    """items: how many. model: name, identity: see `ModelCard`. dimensions: of a vector. bytes: on disk."""

    name: str
    items: int
    labels: int
    model: str
    identity: str
    dimensions: int
    index: str
    bytes: int
    format_version: int


class Catalogue(Protocol):
    """What every back end can do. Every method raises CatalogueError or StorageError when the back end refuses."""

    name: str

    def add(self, items: Sequence[Item]) -> list[int]:
        """Put items in, all or none, and return their ids, which are never used again. One whose source is there
        already replaces it.
        """
        ...

    def remove(self, ids: Iterable[int]) -> int:
        """Take items out; how many there were."""
        ...

    def search(self, vectors: Vectors, k: int, threshold: float | None = None) -> list[list[Match]]:
        """For each of the vectors (q, d) its at most k best matches, best first, equal scores by id; none below the
        threshold.
        """
        ...

    def contents(self) -> dict[str, str]:
        """Source -> content of every item."""
        ...

    def vectors(self) -> tuple[npt.NDArray[np.int64], Vectors, list[str]]:
        """Ids (n,), vectors (n, d) and sources of every item, by id."""
        ...

    def item(self, id: int) -> Item:
        """Raises CatalogueError when there is none of that id."""
        ...

    def info(self) -> Info: ...
