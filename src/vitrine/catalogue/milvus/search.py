"""The nearest items on Milvus, in the order that a catalogue promises.

A server's scores of equal vectors may differ in the last digit, or, by a quantised index, by more; and which of equal
ones it leaves out is its own affair. So a few more are asked for, with their vectors, and scored again here.
"""

import numpy as np

from vitrine.catalogue import Match, Vectors
from vitrine.catalogue.milvus.filters import both
from vitrine.catalogue.milvus.link import MOST, Link, Row
from vitrine.catalogue.milvus.tables import items_of, known_of
from vitrine.catalogue.milvus.writing import Writing

_SPARE = 8  # more than wanted, to see whether the last ones are equal
_TIES = 1e-6  # scores that are nearer to each other than this may be equal
_TRIES = 5


class Search:
    """Searches in one catalogue."""

    def __init__(self, link: Link, writing: Writing, name: str) -> None:
        self._link, self._writing, self._name = link, writing, name

    def best(self, query: Vectors, wanted: int, condition: str) -> list[Match]:
        """The best for a query (d,), best first, equal scores by id: at least as many as are wanted, where there are so
        many that meet the condition.
        """
        ask = min(wanted + _SPARE, MOST)
        while True:
            matches = self._scored(query, ask, condition)
            full = len(matches) >= ask and ask < MOST
            if not full or matches[wanted - 1].score - matches[-1].score > _TIES:
                return matches
            ask = min(4 * ask, MOST)  # more may be as good as the last one

    def _scored(self, query: Vectors, ask: int, condition: str) -> list[Match]:
        """What the server finds, scored again."""
        rows: list[Row] = []
        for _ in range(_TRIES):
            state = self._writing.state()
            collection = items_of(self._name, state.number)
            fields = ["source", "label", "columns", "vector"]
            found = self._link.search(collection, query[None], ask, both(condition, state.seen), fields)[0]
            rows = [row for row in found if state.shows(row["id"])]
            if len(rows) == len(found):
                break  # or somebody has begun to write meanwhile
        if not rows:
            return []
        gathered = np.array([row["vector"] for row in rows], np.float32)  # (at most ask, d)
        scores = np.einsum("cd,d->c", gathered, query.astype(np.float32)).tolist()
        matches = [_match(row, score) for row, score in zip(rows, scores, strict=True)]
        return sorted(matches, key=lambda match: (-match.score, match.id))


def _match(row: Row, score: float) -> Match:
    known = known_of({**row, "content": "", "stamp": None})
    return Match(known.id, score, known.label, known.source, known.columns)
