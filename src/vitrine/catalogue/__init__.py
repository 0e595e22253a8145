"""Catalogues: collections of pictures that can be searched by picture.

by_name.py        any catalogue, by its name: on this machine or on Milvus
local.py          on one machine: SQLite is the truth, FAISS the speed
folders.py        where catalogues live, by name; how one is made and deleted
sentences.py      what a catalogue refuses, and what it has lost, in words
store.py          that truth: what is read from it, all of one moment
writing.py        what changes it, each time all or nothing
tables.py         its format: tables, rows, a checksum for each
access.py         who gets at its file: connections, the lock of who writes
damage.py         what is lost where the disk has damaged it, and a whole file again from the rest
kept_index.py     the index beside it: caught up, made anew, kept in a file
vector_index.py   that speed: ids and vectors in, the nearest ids out
index_kinds.py    the kinds of index, by size and memory
filters.py        what a search may be narrowed by, as SQL
relevance.py      more like these, less like that one, as one query
duplicates.py     items that show the same picture
copies.py         whole catalogues, item by item
parquet.py        a catalogue as a Parquet file, and from one
moving.py         new vectors, on the way to another model
copying.py        from one catalogue into another, of any kind; staging.py, milvus/staging.py: where that is done
plan.py           what so many items take, by rules
milvus/           on a Milvus server
backup.py         a catalogue in one file with its model, and from one
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from vitrine.catalogue.filters import Filter
from vitrine.progress import Progress, silent

if TYPE_CHECKING:
    from vitrine.encoder import Encoder

Vectors = npt.NDArray[np.float32]
Columns = dict[str, str | int | float]
"""What a CSV says of an item: the name of a column to its cell; empty cells are left out."""


def content_hash(content: bytes) -> str:
    """What an item's content is known by. content: the bytes of the picture's file, or the pixels of an image of a
    data set.
    """
    return hashlib.sha256(content).hexdigest()[:32]


class Match(NamedTuple):
    """One answer of a search. score: cosine similarity, -1 to 1, 1 for the same embedding."""

    id: int
    score: float
    label: str | None
    source: str
    columns: Columns | None = None


@dataclass(frozen=True)
class Item:
    """What is put into a catalogue. source: where the picture came from, unique; content: hash of its bytes; vector:
    (d,) float32, L2-normalised; thumbnail: a small PNG or JPEG, for an image of a data set all of it as a PNG;
    columns: what a CSV says of it; stamp: what its file looked like from outside, so that one which still looks like
    that need not be read again.
    """

    source: str
    label: str | None
    content: str
    vector: Vectors
    thumbnail: bytes
    columns: Columns | None = None
    stamp: str | None = None


@dataclass(frozen=True)
class Known:
    """An item without its vector and thumbnail: what is to be compared with its source."""

    id: int
    source: str
    label: str | None
    content: str
    columns: Columns | None
    stamp: str | None


@dataclass(frozen=True)
class Entry:
    """An item with what its catalogue gave it. added: when it came, in UTC, as 2026-01-31T05:00:30Z."""

    id: int
    added: str
    item: Item


@dataclass(frozen=True)
class Moment:
    """A state of a catalogue. identity: of its model. generation: rises when items come or go."""

    identity: str
    generation: int


@dataclass(frozen=True)
class Lost:
    """An item that can no longer be read whole. source: None where that cannot be read, either."""

    id: int
    source: str | None


@dataclass(frozen=True)
class Damage:
    """What a check found. problem: of the file itself, None where that is sound. lost: by id. advice: what to do, where
    `index sync` does not mend it.
    """

    problem: str | None
    lost: tuple[Lost, ...]
    advice: str = ""

    @property
    def found(self) -> bool:
        return self.problem is not None or bool(self.lost)


@dataclass(frozen=True)
class Info:
    """items: how many. model: name, identity: see `ModelCard`. dimensions: of a vector. index: its kind. bytes: on
    disk. columns: the names of the CSV's columns to the number of items that have something there.
    """

    name: str
    items: int
    labels: int
    model: str
    identity: str
    dimensions: int
    index: str
    bytes: int
    format_version: int
    columns: dict[str, int]


class Collecting(Protocol):
    """New vectors, on the way to another model."""

    def ids(self) -> set[int]:
        """Of the items whose new vector is there."""
        ...

    def add(self, vectors: Iterable[tuple[int, bytes]]) -> None:
        """Keep these, by id: all or none. bytes: float32, little-endian."""
        ...


class Catalogue(Protocol):
    """What every back end can do; for one thread at a time. Every method raises CatalogueError or StorageError when the
    back end refuses.
    """

    @property
    def name(self) -> str:
        """As it is named on the command line."""
        ...

    @property
    def place(self) -> Path:
        """The folder where this machine keeps the catalogue's map."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def close(self) -> None: ...

    # --- changes

    def add(self, items: Sequence[Item]) -> list[int]:
        """Put items in, all or none, and return their ids, which are never used again. One whose source is there
        already replaces it, under a new id: the vector of an id never changes.
        """
        ...

    def remove(self, ids: Iterable[int]) -> int:
        """Take items out; how many there were."""
        ...

    def refresh(self, items: Iterable[Known]) -> None:
        """Give items, by id, another label, other columns and another stamp; all or none. Ids that are not there are
        passed over.
        """
        ...

    def sole_writer(self) -> AbstractContextManager[None]:
        """While it lasts, nobody else can write. Raises CatalogueError when somebody does."""
        ...

    # --- searching

    def search(
        self, vectors: Vectors, k: int, threshold: float | None = None, where: Filter | None = None, offset: int = 0
    ) -> list[list[Match]]:
        """For each of the vectors (q, d) its best matches, best first, equal scores by id: at most k, after the first
        `offset`; none below the threshold, only items that meet the filter.
        """
        ...

    def use_index(self, kind: str) -> None:
        """Search by that kind of index from the next `save_index` on; "auto" chooses. Raises InputError for what is no
        kind.
        """
        ...

    def save_index(self) -> None:
        """Make the index ready for the next opening, where that is not done by itself."""
        ...

    def give_up_when(self, given_up: Callable[[], bool]) -> None:
        """From now on, what takes long asks this now and then, and raises InputError when it is so."""
        ...

    # --- reading

    def known(self, folder: str = "") -> Iterator[Known]:
        """Every item whose source begins with that text, by source in code point order. Nothing may be written before
        the last was taken.
        """
        ...

    def ids(self, sources: Iterable[str]) -> dict[str, int]:
        """Source -> id of those items that are there."""
        ...

    def vectors(self) -> tuple[npt.NDArray[np.int64], Vectors, list[str]]:
        """Ids (n,), vectors (n, d) and sources of every item, by id."""
        ...

    def item(self, id: int) -> Item:
        """Raises CatalogueError when there is none of that id."""
        ...

    def sample(self, most: int) -> list[bytes]:
        """The small pictures of at most so many items, from all over the catalogue."""
        ...

    def columns(self) -> dict[str, int]:
        """The names of the CSV's columns to the number of items that have something there."""
        ...

    def labels(self, most: int) -> dict[str, int]:
        """The labels that most items have, to the number of those items, most first."""
        ...

    def info(self) -> Info: ...

    def reading(self) -> AbstractContextManager[object]:
        """While it lasts, all that is read is of one moment, whatever others write: where the back end can do that."""
        ...

    def moment(self) -> Moment:
        """Which state this is."""
        ...

    def changes(self) -> tuple[object, ...]:
        """What changes with every change, of a label, too, which the generation does not tell. It may change at other
        times.
        """
        ...

    def replaced(self) -> bool:
        """Whether it was deleted since it was opened; another may be there by its name."""
        ...

    def version(self) -> str:
        """A word that changes when another catalogue takes this one's name: with it an id always means the same
        picture. It may change at other times, too.
        """
        ...

    # --- from and to another catalogue

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """Every item with an id above that, whole, by id. Nothing may be written before the last was taken."""
        ...

    def listed(self) -> Iterator[Known]:
        """Every item without its vector and small picture, by id. Nothing may be written before the last was taken."""
        ...

    def take(self, entries: Sequence[Entry], last: int = 0) -> None:
        """Put items in under the ids that they have elsewhere, all or none; what has such an id or such a source here
        is replaced. last: ids up to this one were given elsewhere, and are never given here.
        """
        ...

    def last(self) -> int:
        """The highest id that was ever given."""
        ...

    # --- its model

    def encoder(self) -> "Encoder":
        """The model that made this catalogue; a query against it is embedded by that. Raises ModelFileError when it is
        missing or damaged; CatalogueError when it is another.
        """
        ...

    def check_model(self, identity: str, name: str) -> None:
        """Raises CatalogueError when embeddings of that model do not belong here."""
        ...

    def moving(self, encoder: "Encoder") -> AbstractContextManager[Collecting]:
        """Move to another model: what is done inside collects a vector for every item, and at the end all of them are
        changed at once. What was collected is kept where that fails.
        """
        ...

    def moved(self, encoder: "Encoder") -> bool:
        """Whether that is its model already. What a move that was stopped at its end has left is put in order."""
        ...

    # --- damage

    def check(self, progress: Progress = silent) -> Damage:
        """Read everything and say what is damaged. Raises CatalogueError when nothing can be read."""
        ...

    def check_index(self) -> str | None:
        """Read the whole index: "sound", "missing", or "deleted" where it was damaged; None where nobody can tell."""
        ...

    def repair(self, progress: Progress = silent) -> tuple[Lost, ...]:
        """Make a damaged catalogue whole again, without the items that it has lost, which are returned."""
        ...
