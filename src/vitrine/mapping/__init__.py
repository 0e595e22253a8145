"""The map of a catalogue: computed once, kept in its folder, and brought up to date when items come and go.

confidence.py  how far an item's neighbours bear its label out
page.py        the map as a web page that needs nothing else
scripts.py     modules of JavaScript as one text
atlas.py       a Parquet file for Embedding Atlas
projector.py   a folder for the Embedding Projector of TensorBoard
sprites.py     many thumbnails as one picture
canvas/        the map in a browser, in JavaScript: for that page, and for the server's
templates/     that page

A new item is placed among the others, one that has left is dropped; when more than a tenth has changed since the map
was computed, or the catalogue has moved to another model, it is computed anew.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from vitrine import projection
from vitrine.catalogue import Catalogue, Columns, Known, Vectors, map_file
from vitrine.catalogue.map_file import Near, StoredMap
from vitrine.errors import CatalogueError, InputError, StorageError
from vitrine.mapping.confidence import Confidence, confidence_of
from vitrine.progress import Progress, silent
from vitrine.projection import Map, placing
from vitrine.projection.placing import Ground

Ids = npt.NDArray[np.int64]
Points = npt.NDArray[np.float32]
Made = Literal["computed", "updated", "kept"]

CHANGED = 0.1
"""When more than this share of the items that a map was computed of has come or gone since, it is computed anew."""

CLASSES = 20
"""So many classes have a colour of their own on a map; the smallest of more share one."""

TRUST_K = 15
_SPARE = 8  # more neighbours than wanted, for those that are not on the map yet


@dataclass(frozen=True)
class Found:
    """A catalogue's map as of now. made: whether it was computed, brought up to date, or kept as it was."""

    stored: StoredMap
    made: Made


@dataclass(frozen=True)
class Mapped:
    """What is known of the items of a map, by id. ids: (n,) int64; points: (n, 2) float32; sources, labels (None where
    an item has no class) and columns: n. confidence: None where the map was kept by a vitrine that knew of none.
    """

    ids: Ids
    points: Points
    sources: Sequence[str]
    labels: Sequence[str | None]
    columns: Sequence[Columns]
    confidence: Confidence | None = None


def find(catalogue: Catalogue, seed: int | None = None, again: bool = False, progress: Progress = silent) -> Found:
    """The map of that catalogue as it is now, kept in its folder. seed: of the computation; None for whichever the map
    has. again: compute it, whatever is there.

    Raises InputError for fewer items than a map needs, and what the catalogue raises.
    """
    there = None if again else map_file.read(catalogue.place)
    if there is not None and seed not in (None, there.seed):
        there = None
    with catalogue.reading():  # all of one moment
        meta = catalogue.moment()
        if there is not None and there.identity != meta.identity:
            there = None
        if there is not None and there.generation == meta.generation:
            return Found(there, "kept")
        ids, vectors, _ = catalogue.vectors()
    if len(ids) < projection.LEAST:
        raise InputError(
            f"A map needs {projection.LEAST} items at least; the catalogue {catalogue.name!r} has {len(ids)}: add more"
            " with `vitrine index add`."
        )
    updated = None if there is None else _updated(there, ids, vectors, meta.generation, progress)
    if updated is not None:
        found = Found(updated, "updated")
    else:
        start = projection.SEED if seed is None else seed
        drawn = projection.project(vectors, start, progress)
        trust = projection.trustworthiness(vectors, drawn.points, TRUST_K, projection.SAMPLE)
        near = None if drawn.near is None else drawn.near.astype(np.int32)
        stored = StoredMap(
            ids, drawn.points, meta.generation, len(ids), int(ids[-1]), meta.identity, start, trust, near
        )
        found = Found(stored, "computed")
    _keep(catalogue, found.stored)
    return found


def _updated(there: StoredMap, ids: Ids, vectors: Vectors, generation: int, progress: Progress) -> StoredMap | None:
    """That map with the items of now; None where too much has changed."""
    known = np.isin(ids, there.ids)
    came = int(np.count_nonzero(ids > there.last))
    left = there.computed - int(np.count_nonzero(ids <= there.last))
    if came + left > CHANGED * there.computed or (ids[~known] <= there.last).any():
        return None
    stayed = np.searchsorted(there.ids, ids[known])  # places on that map
    points = np.empty((len(ids), 2), np.float32)
    points[known] = there.points[stayed]
    points[~known], among = Map(vectors[known], points[known]).settle(vectors[~known], progress)
    near = None if there.near is None else _near(there.near, stayed, known, among)
    return replace(there, ids=ids, points=points, generation=generation, near=near)


def _near(before: Near, stayed: Ids, known: npt.NDArray[np.bool_], among: Ids) -> Near:
    """The neighbours of the items of now, which were `known` or not: (n, k). before: of the map before, on which those
    that are still there had the places `stayed`; among: of those that came, (m, any), places among the known ones.
    """
    places = np.flatnonzero(known)
    now = np.full(len(before) + 1, -1)  # what has left is nowhere, and so is what was nowhere: place -1 finds the last
    now[stayed] = places
    near = np.full((len(known), before.shape[1]), -1, np.int32)
    near[known] = now[before[stayed]]
    width = min(before.shape[1], among.shape[1])
    near[~known, :width] = places[among[:, :width]]
    return near


def _keep(catalogue: Catalogue, stored: StoredMap) -> None:
    """Write it, if the disk lets us: without it the next time takes longer, no more."""
    with suppress(StorageError):
        if catalogue.place.is_dir():  # the catalogue may have been deleted meanwhile
            stored.save(catalogue.place)


def items(catalogue: Catalogue, stored: StoredMap) -> Mapped:
    """What the catalogue knows of the items of the map. One that has left since is not there any more."""
    known = {item.id: item for item in catalogue.known()}
    there = np.array([id in known for id in stored.ids.tolist()], np.bool_)
    found = [known[id] for id in stored.ids[there].tolist()]
    sure = None if stored.near is None else _confidence(stored.ids, stored.near, known)
    return Mapped(
        stored.ids[there],
        stored.points[there],
        [item.source for item in found],
        [item.label for item in found],
        [item.columns or {} for item in found],
        None if sure is None else Confidence(sure.agree[there], sure.of[there]),
    )


def _confidence(ids: Ids, near: Near, known: dict[int, Known]) -> Confidence:
    """Of all items of a map, by the labels that they have now."""
    labels = [known[id].label if id in known else None for id in ids.tolist()]
    return confidence_of(labels, near)


@dataclass(frozen=True)
class Classes:
    """What a map is coloured by. names: of the classes; the first `own` have a colour of their own. which: (n,) int64,
    the class of each item.
    """

    names: list[str]
    own: int
    which: npt.NDArray[np.int64]


def classes(labels: Sequence[str | None]) -> Classes:
    """The most frequent `CLASSES` by name, then what the others share, then the items without a class.

    >>> found = classes(["b", "a", None, "b"])
    >>> found.names, found.own, found.which.tolist()
    (['a', 'b', 'no class'], 2, [1, 0, 2, 1])
    """
    counts = Counter(label for label in labels if label is not None)
    own = sorted(sorted(counts, key=lambda name: (-counts[name], name))[:CLASSES])
    names = [*own]
    if len(counts) > len(own):
        names.append(f"{len(counts) - len(own)} other classes")
    rest = len(names) - 1
    if None in labels:
        names.append("no class")
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(own)}
    which = [len(names) - 1 if name is None else numbers.get(name, rest) for name in labels]
    return Classes(names, len(own), np.array(which, np.int64))


class Placing:
    """Places pictures on a catalogue's map, one by one and quickly: the catalogue's own index finds the neighbours."""

    def __init__(self, catalogue: Catalogue, stored: StoredMap) -> None:
        self._catalogue, self._stored = catalogue, stored
        self._ground = Ground(stored.points)

    def place(self, vectors: Vectors) -> Points:
        """Where embeddings (m, d) fall: (m, 2) float32. Raises CatalogueError where none of its neighbours is on the
        map, which then is too old, and what a search raises.
        """
        k = min(placing.K, len(self._stored.ids))
        places, distances = np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k), np.float32)
        for row, matches in enumerate(self._catalogue.search(vectors, k + _SPARE)):
            at = np.searchsorted(self._stored.ids, [match.id for match in matches]).clip(max=len(self._stored.ids) - 1)
            near = [
                (place, match.score)
                for place, match in zip(at.tolist(), matches, strict=True)
                if self._stored.ids[place] == match.id
            ][:k]
            if not near:
                raise CatalogueError(
                    f"The map of {self._catalogue.name!r} lacks all that is near here; bring it up to date with"
                    f" `vitrine map --catalogue {self._catalogue.name}`."
                )
            near += [near[-1]] * (k - len(near))
            places[row] = [place for place, _ in near]
            distances[row] = [max(0.0, 2 - 2 * score) ** 0.5 for _, score in near]  # of unit vectors
        return self._ground.settle(places, distances)
