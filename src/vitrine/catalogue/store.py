"""The truth of a local catalogue, and what is read from it: one SQLite file in WAL mode, with a checksum for every row.

One program writes at a time (writing.py); any number may read meanwhile, and see each write as a whole or not at all.
What was committed is on the disk. tables.py has the tables; what is raised here is SQLite's own, or `Unsound`:
sentences.py makes sentences of it.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue import Columns, Item, Known, Vectors, access
from vitrine.catalogue.filters import Filter
from vitrine.catalogue.tables import (
    APPLICATION_ID,
    AUTO,
    FORMAT_VERSION,
    ITEMS,
    TABLES,
    Meta,
    Row,
    Unsound,
    checksum,
    meta_checksum,
    read_cells,
    texts_checksum,
)
from vitrine.errors import CatalogueError, StorageError

Ids = npt.NDArray[np.int64]
Told = tuple[str | None, str, Columns | None]
"""What a match says of its item beside the score: label, source, columns."""

_LISTED = "SELECT value FROM json_each(?)"  # ids, however many
_CHUNK = 2000  # rows at a time
_BETWEEN_LOOKS = 20_000  # SQLite's own steps, some tenths of a millisecond, from one look at the clock to the next
_AT_ONCE = 500  # ids in a question: SQLite looks them up one by one, quicker than out of a list in JSON
_KEPT = 100_000  # rows that are kept in memory once they were checked: some 50 MB


class Block(NamedTuple):
    """Some items: ids (n,), vectors (n, d) and sources."""

    ids: Ids
    vectors: Vectors
    sources: list[str]


@dataclass
class _Memory:
    """What was read already, and is true as long as nobody writes. data_version, writes: what tells that. told: of rows
    that were checked.
    """

    data_version: int = -1
    writes: int = -1
    version: int | None = None
    meta: Meta | None = None
    told: dict[int, Told] = field(default_factory=dict)


class Store:
    """The tables of one catalogue. Made by `create` or `open`; to be closed."""

    def __init__(
        self,
        name: str,
        path: Path,
        connection: sqlite3.Connection,
        writable: bool,
        file: tuple[int, int] | None = None,
        state: access.FileState | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.connection = connection
        self.writable = writable
        self._state = state  # see access.connect
        self._file = file  # which one is open, for what writes
        self._alone = False
        self._writes = 0  # of our own
        self._memory = _Memory()

    @staticmethod
    def create(path: Path, meta: Meta) -> None:
        """A new file with empty tables."""
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(TABLES)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.rows().items())

    @classmethod
    def open(cls, name: str, path: Path) -> "Store":
        """The file at `path`. Raises CatalogueError where it is not ours or too new."""
        file = storage.identity(path)  # before it is opened: one that takes its place meanwhile is not taken for it
        connection, writable, state = access.connect(path)
        try:
            ours, version = (
                connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("application_id", "user_version")
            )
            if ours != APPLICATION_ID:
                raise CatalogueError(f"{path} is not a catalogue of vitrine's; move it away.")
            if version > FORMAT_VERSION:
                raise CatalogueError(
                    f"The catalogue {name!r} has format {version}, newer than this vitrine knows ({FORMAT_VERSION});"
                    " update vitrine."
                )
        except BaseException:
            connection.close()
            raise
        return cls(name, path, connection, writable, file, state)

    def close(self) -> None:
        self.connection.close()

    def give_up_when(self, given_up: Callable[[], bool]) -> None:
        """From now on, SQLite asks this now and then, and raises "interrupted" when it is so."""
        self.connection.set_progress_handler(given_up, _BETWEEN_LOOKS)

    # --- transactions

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever is written meanwhile. Raises CatalogueError at the end
        where that cannot be had, because we may not write and so cannot tell others that we read.
        """
        if self.connection.in_transaction:
            yield
            return
        self._open_again()
        self.connection.execute("BEGIN")
        try:
            self.look()
            yield
        except (Unsound, sqlite3.DatabaseError):
            self._check_unchanged()
            raise
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        self._check_unchanged()

    def _open_again(self) -> None:
        """Where the file was opened as one that nobody writes, and somebody does, or did."""
        if self._state is None or (
            self._state == access.state_of(self.path) and not access.waiting(self.path).exists()
        ):
            return
        old = self.connection
        self.connection, self.writable, self._state = access.connect(self.path)
        old.close()
        self.wrote()

    def _check_unchanged(self) -> None:
        if self._state is not None and self._state != access.state_of(self.path):
            raise CatalogueError(
                f"Another program wrote to the catalogue {self.name!r} while it was read; run it again."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts nobody else writes. It may lie within itself. Raises CatalogueError where the catalogue is no
        longer there: what is written then would be lost.
        """
        if not self.writable:
            raise StorageError(f"Cannot write {self.path}: it is read-only; choose another place with VITRINE_HOME.")
        if self._alone:
            yield
            return
        self._check_there()  # a lock in no folder is another sentence
        with access.writer_lock(self.path.parent):
            self._check_there()
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def there(self) -> bool:
        """Whether the file by that name is the one that was opened."""
        return storage.identity(self.path) == self._file

    def _check_there(self) -> None:
        if not self.there():
            raise CatalogueError(
                f"The catalogue {self.name!r} was deleted (or replaced) meanwhile, and nothing was written; open it"
                " anew, or run it again."
            )

    def wrote(self) -> None:
        """What was read before need no longer be true."""
        self._writes += 1
        self._memory = _Memory()

    def look(self) -> None:
        """Forget what was read before, if somebody has written since."""
        data_version = self.connection.execute("PRAGMA data_version").fetchone()[0]
        if (data_version, self._writes) != (self._memory.data_version, self._memory.writes):
            self._memory = _Memory(data_version, self._writes)

    # --- reading

    def version(self) -> int:
        with self.reading():
            if self._memory.version is None:
                self._memory.version = int(self.connection.execute("PRAGMA user_version").fetchone()[0])
            return self._memory.version

    def items(self) -> str:
        """What to select items from, in this format: a table that is called items."""
        return ITEMS[self.version()]

    def meta(self) -> Meta:
        """What the file says of itself. Raises Unsound."""
        with self.reading():
            if self._memory.meta is None:
                self._memory.meta = self._meta()
            return self._memory.meta

    def _meta(self) -> Meta:
        facts = dict(self.connection.execute("SELECT key, value FROM meta"))
        try:
            if self.version() == 1:
                items, last = self.connection.execute("SELECT count(*), coalesce(max(id), 0) FROM items").fetchone()
                given = self.connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()[0]
                facts |= {"items": items, "last": max(last, given), "removed_since": facts["generation"], "index": AUTO}
            elif facts.pop("checksum") != str(meta_checksum(facts)):
                raise Unsound("meta")
            return Meta(
                facts["identity"],
                facts["model"],
                dimensions=int(facts["dimensions"]),
                generation=int(facts["generation"]),
                items=int(facts["items"]),
                last=int(facts["last"]),
                removed_since=int(facts["removed_since"]),
                index=facts["index"],
            )
        except (KeyError, ValueError) as error:
            raise Unsound("meta") from error

    def rows(self, condition: str = "TRUE", values: Sequence[object] = ()) -> Iterator[Row]:
        """Items as they lie there, by id, whether sound or not."""
        found = self.connection.execute(
            "SELECT items.id, source, label, content, added, items.columns, checksum, vector_checksum, vector"
            f" FROM {self.items()} LEFT JOIN vectors ON vectors.id = items.id WHERE {condition} ORDER BY items.id",
            values,
        )
        return map(Row._make, found)

    def vectors(self) -> tuple[Ids, Vectors, list[str]]:
        """See `Catalogue.vectors`. Raises Unsound."""
        with self.reading():
            meta = self.meta()
            ids, table = np.empty(meta.items, np.int64), np.empty((meta.items, meta.dimensions), np.float32)
            sources: list[str] = []
            for block in self.blocks():
                part = slice(len(sources), len(sources) + len(block.ids))
                ids[part], table[part] = block.ids, block.vectors
                sources += block.sources
        return ids, table, sources

    def blocks(self, after: int = 0) -> Iterator[Block]:
        """The items with an id above `after`, by id, so many at a time that memory does not matter. Raises Unsound, at
        the end where some are missing. Nothing may be written before the last was taken.
        """
        with self.reading():
            meta, version = self.meta(), self.version()
            left = meta.items
            if after:
                left = self.connection.execute("SELECT count(*) FROM items WHERE id > ?", (after,)).fetchone()[0]
            rows = self.rows("items.id > ?", (after,))
            while chunk := list(islice(rows, _CHUNK)):
                left -= len(chunk)
                if left < 0 or not all(row.sound(meta.dimensions, version) for row in chunk):
                    raise Unsound("rows")
                vectors = np.frombuffer(b"".join(row.vector for row in chunk), "<f4").reshape(len(chunk), -1)
                ids = np.array([row.id for row in chunk], np.int64)
                yield Block(ids, vectors.astype(np.float32, copy=False), [row.source for row in chunk])
            if left:
                raise Unsound("rows")

    def item(self, id: int) -> Item | None:
        """The item of that id, whole, or None. Raises Unsound."""
        with self.reading():
            (row,) = self.whole([id]).values() or (None,)
            if row is None:
                return None
            image, expected, stamp = self.connection.execute(
                f"SELECT image, thumbnail_checksum, stamp FROM {self.items()} LEFT JOIN thumbnails USING (id)"
                " WHERE id = ?",
                (id,),
            ).fetchone()
            if not isinstance(image, bytes) or (self.version() > 1 and expected != checksum(id, image)):
                raise Unsound("thumbnail")
        vector = np.frombuffer(row.vector, "<f4").astype(np.float32)
        return Item(row.source, row.label, row.content, vector, image, row.cells(), stamp)

    def whole(self, ids: Iterable[int]) -> dict[int, Row]:
        """The rows of those ids that are there. Raises Unsound."""
        with self.reading():
            dimensions, version = self.meta().dimensions, self.version()
            found = {row.id: row for row in self.rows(f"items.id IN ({_LISTED})", (json.dumps([*ids]),))}
        if not all(row.sound(dimensions, version) for row in found.values()):
            raise Unsound("rows")
        return found

    def told(self, ids: Collection[int]) -> dict[int, Told]:
        """What is to be said of those ids that are there, and of others perhaps. A row is read and checked once, for as
        long as nobody writes. Raises Unsound.
        """
        with self.reading():
            told, known = self._memory.told, self.version() > 1
            new = [id for id in ids if id not in told]
            if len(told) + len(new) > _KEPT:
                told = self._memory.told = {}
                new = [*ids]
            for first in range(0, len(new), _AT_ONCE):
                part = new[first : first + _AT_ONCE]
                found = self.connection.execute(
                    f"SELECT id, source, label, content, added, columns, checksum FROM {self.items()}"
                    f" WHERE id IN ({','.join('?' * len(part))})",
                    part,
                )
                for id, source, label, content, added, columns, expected in found:
                    if known and expected != texts_checksum(id, source, label, content, added, columns):
                        raise Unsound("rows")
                    told[id] = (label, source, None if columns is None else read_cells(columns))
        return told

    def exact(self, ids: Ids) -> Vectors:
        """(n, d) the vectors of the ids (n,), which rise; zeros where there is none. Raises Unsound."""
        vectors = np.zeros((len(ids), self.meta().dimensions), np.float32)
        known = self.version() > 1
        found = self.connection.execute(
            f"SELECT items.id, vector, vector_checksum FROM {self.items()} JOIN vectors ON vectors.id = items.id"
            f" WHERE items.id IN ({_LISTED}) ORDER BY items.id",
            (json.dumps(ids.tolist()),),
        ).fetchall()
        for id, vector, expected in found:
            sound = isinstance(vector, bytes) and len(vector) == 4 * vectors.shape[1]
            if not sound or (known and expected != checksum(id, vector)):
                raise Unsound("vectors")
        if found:
            rows = np.frombuffer(b"".join(vector for _, vector, _ in found), "<f4").reshape(len(found), -1)
            vectors[np.searchsorted(ids, [id for id, _, _ in found])] = rows
        return vectors

    def matching(self, where: Filter) -> Ids:
        """(n,) ids of the items that meet the filter, ascending."""
        condition, values = where.sql()
        found = self.connection.execute(f"SELECT items.id FROM {self.items()} WHERE {condition} ORDER BY 1", values)
        return np.fromiter((id for (id,) in found), np.int64)

    def known(self, prefix: str) -> Iterator[Known]:
        """See `Catalogue.known`."""
        with self.reading():
            found = self.connection.execute(
                f"SELECT id, source, label, content, items.columns, stamp FROM {self.items()} WHERE source >= ?"
                " ORDER BY source",
                (prefix,),
            )
            for id, source, label, content, columns, stamp in found:
                if not source.startswith(prefix):
                    break
                yield Known(id, source, label, content, read_cells(columns), stamp)

    def listed(self) -> Iterator[Known]:
        """Every item, by id. Raises Unsound."""
        with self.reading():
            found = self.connection.execute(
                f"SELECT id, source, label, content, items.columns, stamp FROM {self.items()} ORDER BY id"
            )
            for id, source, label, content, columns, stamp in found:
                yield Known(id, source, label, content, read_cells(columns), stamp)

    def ids(self, sources: Iterable[str]) -> dict[str, int]:
        """Source -> id of those that are there."""
        with self.reading():
            rows = (
                (source, self.connection.execute("SELECT id FROM items WHERE source = ?", (source,)).fetchone())
                for source in sources
            )
            return {source: row[0] for source, row in rows if row is not None}

    def columns(self) -> dict[str, int]:
        """The names of the CSV's columns to the number of items that have something there."""
        with self.reading():
            if self.version() == 1:
                return {}
            return dict(self.connection.execute("SELECT name, items FROM columns ORDER BY name"))

    def removed_since(self, generation: int) -> Ids | None:
        """(n,) ids of the items that were taken out after that generation, or None where it is too long ago to know.

        With `blocks(after)` this tells what an index of that generation lacks: new items have higher ids.
        """
        with self.reading():
            if generation < self.meta().removed_since or self.version() == 1:
                return None
            found = self.connection.execute("SELECT id FROM removed WHERE generation > ?", (generation,))
            return np.fromiter((id for (id,) in found), np.int64)
