"""Items of a catalogue that show the same picture: exact copies, told by the hash of their content, and
near-duplicates, told by their embeddings.

Near is not handed on: a chain of small steps leads from a shirt to a coat. So a group is not what hangs together, but
what is alike to its first item, the oldest one: whoever keeps that one loses nothing by removing the others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrine.catalogue import Catalogue, Vectors
from vitrine.errors import InputError
from vitrine.progress import Progress, silent

Places = npt.NDArray[np.int64]

THRESHOLD = 0.997
"""Measured: see docs/catalogue.md."""

_ROWS, _COLUMNS = 1024, 8192  # compared at once: 34 MB of scores
_ROUNDING = 1e-6  # float32 makes 0.9999999 of 1


@dataclass(frozen=True)
class Member:
    """An item of a group. score: its cosine similarity to the group's first item; exact: its content is the same."""

    id: int
    source: str
    score: float
    exact: bool


@dataclass(frozen=True)
class Group:
    """An item and what is alike to it: exact copies and then the others, both by id."""

    first: Member
    others: tuple[Member, ...]

    @property
    def score(self) -> float:
        """Of the most alike."""
        return max(member.score for member in self.others)


def find(catalogue: Catalogue, threshold: float = THRESHOLD, progress: Progress = silent) -> list[Group]:
    """All groups of two and more, the most alike first, equal ones by id. Every item is in one group at most.

    In the order of their ids, each item that is in no group yet takes in all later ones that score at least the
    threshold with it. Exact, in blocks; the time grows with the square of the number of items. Raises InputError for a
    threshold outside 0 to 1, and what the catalogue raises.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"The threshold is {threshold}; it must lie between 0 and 1.")
    ids, vectors, sources = catalogue.vectors()
    contents = {item.id: item.content for item in catalogue.known()}
    original = _originals([contents.get(int(id), f"gone {id}") for id in ids])  # (n,)
    distinct = np.flatnonzero(original == np.arange(len(ids)))
    leader = distinct[leaders(vectors[distinct], threshold, progress)]  # (distinct,)
    first = leader[np.searchsorted(distinct, original)]  # (n,)
    members: dict[int, list[Member]] = {}
    for place in np.flatnonzero(first != np.arange(len(ids))):
        exact = bool(original[place] == first[place])
        score = 1.0 if exact else float(vectors[first[place]].astype(np.float64) @ vectors[place].astype(np.float64))
        members.setdefault(int(first[place]), []).append(Member(int(ids[place]), sources[place], score, exact))
    groups = [
        Group(Member(int(ids[place]), sources[place], 1.0, True), tuple(sorted(others, key=lambda one: not one.exact)))
        for place, others in members.items()
    ]
    return sorted(groups, key=lambda group: (-group.score, group.first.id))


def _originals(contents: list[str]) -> Places:
    """(n,): for each content the place where it is first."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(content, place) for place, content in enumerate(contents)], np.int64)


def leaders(vectors: Vectors, threshold: float, progress: Progress = silent) -> Places:
    """(n,): for each of the vectors (n, d), L2-normalised, the place of the first one that it is alike to and that is
    alike to none before it; its own where there is none.
    """
    count, least = len(vectors), threshold - _ROUNDING
    leader = np.arange(count)
    for begin in range(0, count, _ROWS):
        end = min(begin + _ROWS, count)
        rows = _free(leader, begin, end)
        alike = vectors[rows] @ vectors[rows].T >= least
        for place, row in enumerate(rows):  # one after another: each may be taken by the one before
            if leader[row] == row:
                mates = rows[place + 1 :][alike[place, place + 1 :]]
                leader[mates[leader[mates] == mates]] = row
        rows = _free(leader, begin, end)
        block = vectors[rows]
        for start in range(end, count, _COLUMNS):
            columns = _free(leader, start, start + _COLUMNS)
            alike = block @ vectors[columns].T >= least
            taken = alike.any(axis=0)
            if taken.any():
                leader[columns[taken]] = rows[alike[:, taken].argmax(axis=0)]
        progress(count - (count - end) ** 2 // count, count)  # by the pairs that are left
    return leader


def _free(leader: Places, begin: int, end: int) -> Places:
    """The places from `begin` to before `end` that no other has taken."""
    part = leader[begin:end]
    return begin + np.flatnonzero(part == begin + np.arange(len(part)))
