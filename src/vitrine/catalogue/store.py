"""The truth of a local catalogue: one SQLite file in WAL mode, with a checksum for every row.

One program writes at a time; any number may read meanwhile, and see each write as a whole or not at all. What was
committed is on the disk. docs/file-formats.md gives the tables; what this file raises is SQLite's own, or `Unsound`:
`local.py` makes sentences of it.
"""

import json
import os
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue import Columns, Item, Known, Vectors
from vitrine.catalogue.filters import Filter
from vitrine.errors import CatalogueError, InputError, StorageError

Ids = npt.NDArray[np.int64]
Told = tuple[str | None, str, Columns | None]
"""What a match says of its item beside the score: label, source, columns."""

FORMAT_VERSION = 2
APPLICATION_ID = 0x76697472  # "vitr", so that `file` and sqlite know whose it is

TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL UNIQUE,
    label TEXT,
    content TEXT NOT NULL,
    added TEXT NOT NULL,
    columns TEXT,
    stamp TEXT,
    checksum INTEGER NOT NULL DEFAULT -1,
    vector_checksum INTEGER NOT NULL DEFAULT -1,
    thumbnail_checksum INTEGER NOT NULL DEFAULT -1
) STRICT;
CREATE TABLE vectors (id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE, vector BLOB NOT NULL) STRICT;
CREATE TABLE thumbnails (id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE, image BLOB NOT NULL) STRICT;
CREATE TABLE columns (name TEXT PRIMARY KEY, items INTEGER NOT NULL) STRICT;
CREATE TABLE removed (generation INTEGER, id INTEGER, PRIMARY KEY (generation, id)) STRICT, WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""
_UPGRADE = (  # of format 1 to 2
    "ALTER TABLE items ADD COLUMN columns TEXT",
    "ALTER TABLE items ADD COLUMN stamp TEXT",
    "ALTER TABLE items ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1",
    "ALTER TABLE items ADD COLUMN vector_checksum INTEGER NOT NULL DEFAULT -1",
    "ALTER TABLE items ADD COLUMN thumbnail_checksum INTEGER NOT NULL DEFAULT -1",
    "CREATE TABLE columns (name TEXT PRIMARY KEY, items INTEGER NOT NULL) STRICT",
    "CREATE TABLE removed (generation INTEGER, id INTEGER, PRIMARY KEY (generation, id)) STRICT, WITHOUT ROWID",
)
_LISTED = "SELECT value FROM json_each(?)"  # ids, however many
_ITEMS = {  # as they are to be read, by format
    1: "(SELECT id, source, label, content, added, NULL AS columns, NULL AS stamp, NULL AS checksum,"
    " NULL AS vector_checksum, NULL AS thumbnail_checksum FROM items) AS items",
    2: "items",
}
AUTO = "auto"
_CHUNK = 2000
_AT_ONCE = 500  # ids in a question: SQLite looks them up one by one, quicker than out of a list in JSON
_KEPT = 100_000  # rows that are kept in memory once they were checked: some 50 MB
SECONDS_TO_WAIT = 5.0  # for another writer
LARGEST_ID = 2**62  # that may come from elsewhere: SQLite counts to 2**63 - 1, and new items get higher ones

FileState = tuple[int, int, int]
"""Of a file: inode, size, time in nanoseconds."""


class Unsound(Exception):
    """What was read is not what was written. `local.py` makes a sentence of it."""


class Row(NamedTuple):
    """An item as it lies in the tables; what is damaged may be of any type. The checksums: None in format 1."""

    id: int
    source: str
    label: str | None
    content: str
    added: str
    columns: str | None
    checksum: int | None
    vector_checksum: int | None
    vector: bytes

    @property
    def own_checksum(self) -> int:
        """CRC-32 of what the row says; see docs/file-formats.md."""
        return _texts_checksum(self.id, self.source, self.label, self.content, self.added, self.columns)

    def sound(self, dimensions: int, version: int) -> bool:
        """Whether all of this is what was written. Format 1 has nothing to tell it by but the vector's size."""
        if not isinstance(self.vector, bytes) or len(self.vector) != 4 * dimensions:
            return False
        sums = (self.own_checksum, checksum(self.id, self.vector))
        return version == 1 or (self.checksum, self.vector_checksum) == sums

    def cells(self) -> Columns | None:
        """Raises Unsound."""
        return _cells(self.columns)


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """While it lasts nobody else writes to the catalogue in that folder. Raises StorageError, or SQLite's "locked".

    The lock is SQLite's, on an empty file: the system takes it back from a program that dies.
    """
    place = folder / "writer.lock"
    try:
        place.touch()
    except OSError as error:
        raise storage.disk_error(error, place) from error
    with closing(sqlite3.connect(place, timeout=SECONDS_TO_WAIT, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield


class Block(NamedTuple):
    """Some items: ids (n,), vectors (n, d) and sources."""

    ids: Ids
    vectors: Vectors
    sources: list[str]


def _texts_checksum(id: int, source: str, label: str | None, content: str, added: str, columns: str | None) -> int:
    shown = "-" if label is None else f"+{label}"
    said = f"{id}\0{source}\0{shown}\0{content}\0{added}\0{'-' if columns is None else f'+{columns}'}\0"
    return zlib.crc32(said.encode())


def checksum(id: int, content: bytes) -> int:
    """CRC-32 that tells whether a vector or thumbnail is the one that was written for that item."""
    return zlib.crc32(content, zlib.crc32(f"{id}\0".encode()))


@dataclass(frozen=True)
class Meta:
    """identity, model, dimensions: of what made the vectors. generation: rises when items come or go. items: how many.
    last: the highest id that was ever given. removed_since: the table `removed` is complete from this generation on.
    index: the kind of index that is wanted, or "auto".
    """

    identity: str
    model: str
    dimensions: int
    generation: int
    items: int
    last: int
    removed_since: int
    index: str = AUTO

    def rows(self) -> dict[str, str]:
        """As the table `meta` has it, with its checksum."""
        facts = {key: str(value) for key, value in vars(self).items()}
        return {**facts, "checksum": str(_meta_checksum(facts))}


def _meta_checksum(facts: dict[str, str]) -> int:
    return zlib.crc32("\0".join(f"{key}={facts[key]}" for key in sorted(facts)).encode())


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
        state: FileState | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.connection = connection
        self.writable = writable
        self._state = state  # see _connect
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
        connection, writable, state = _connect(path)
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
            self._look()
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
        if self._state is None or (self._state == _state(self.path) and not _waiting(self.path).exists()):
            return
        old = self.connection
        self.connection, self.writable, self._state = _connect(self.path)
        old.close()
        self.wrote()

    def _check_unchanged(self) -> None:
        if self._state is not None and self._state != _state(self.path):
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
        with writer_lock(self.path.parent):
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

    @contextmanager
    def _writing(self) -> Iterator["_Write"]:
        """A transaction: all of it or nothing. A catalogue of format 1 becomes one of format 2 in it.

        That waits for a write because it takes a while, and because a disk that is read-only, or an older vitrine that
        only reads, need not care.
        """
        with self.alone():
            cursor = self.connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                self._look()
                if self.version() < FORMAT_VERSION:
                    self._upgrade(cursor)
                write = _Write(cursor, self.meta())
                yield write
                write.finish()
                cursor.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
            finally:
                self.wrote()

    def _upgrade(self, cursor: sqlite3.Cursor) -> None:
        before = self.meta()
        for statement in _UPGRADE:
            cursor.execute(statement)
        cursor.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        self.wrote()
        for first in range(0, before.last, _CHUNK):
            span = (first + 1, first + _CHUNK)
            rows = [row for row in self.rows("items.id BETWEEN ? AND ?", span) if row.sound(before.dimensions, 1)]
            cursor.executemany(
                "UPDATE items SET checksum = ?, vector_checksum = ? WHERE id = ?",
                [(row.own_checksum, checksum(row.id, row.vector), row.id) for row in rows],
            )
            images = cursor.execute("SELECT id, image FROM thumbnails WHERE id BETWEEN ? AND ?", span).fetchall()
            cursor.executemany(
                "UPDATE items SET thumbnail_checksum = ? WHERE id = ?",
                [(checksum(id, image), id) for id, image in images],
            )
        write_meta(cursor, before)
        self.wrote()

    def wrote(self) -> None:
        """What was read before need no longer be true."""
        self._writes += 1
        self._memory = _Memory()

    def _look(self) -> None:
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
        return _ITEMS[self.version()]

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
            elif facts.pop("checksum") != str(_meta_checksum(facts)):
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
                    if known and expected != _texts_checksum(id, source, label, content, added, columns):
                        raise Unsound("rows")
                    told[id] = (label, source, None if columns is None else _cells(columns))
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
                yield Known(id, source, label, content, _cells(columns), stamp)

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

    # --- writing

    def add(self, items: Sequence[Item]) -> list[int]:
        """See `Catalogue.add`; the vectors have the right size."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._writing() as write:
            for item in items:
                write.delete("source = ?", item.source)
            return [write.insert(item, now) for item in items]

    def remove(self, ids: Iterable[int]) -> int:
        """See `Catalogue.remove`."""
        with self._writing() as write:
            return sum(write.delete("id = ?", id) for id in ids)

    def refresh(self, items: Iterable[Known]) -> None:
        """See `Catalogue.refresh`. Raises Unsound."""
        changes = iter(items)
        with self._writing() as write:
            while chunk := {item.id: item for item in islice(changes, _CHUNK)}:
                for row in self.whole(chunk).values():
                    write.refresh(row, chunk[row.id])

    def want_index(self, kind: str) -> None:
        """Keep which kind of index is wanted."""
        with self._writing() as write:
            write.meta = replace(write.meta, index=kind)

    def change_model(self, identity: str, model: str, dimensions: int, vectors: Iterable[tuple[int, bytes]]) -> None:
        """Give all items other vectors, made by another model. vectors: by id; ids that are not there are passed over.
        Raises Unsound, also where an item would be left without.
        """
        changes, changed = iter(vectors), 0
        with self._writing() as write:
            while chunk := dict(islice(changes, _CHUNK)):
                for id in self.whole(chunk):
                    changed += 1
                    sums = (checksum(id, chunk[id]), id)
                    write.cursor.execute("UPDATE vectors SET vector = ? WHERE id = ?", (chunk[id], id))
                    write.cursor.execute("UPDATE items SET vector_checksum = ? WHERE id = ?", sums)
            if changed != write.meta.items:
                raise Unsound(f"of {write.meta.items:,} items {changed:,} have a new vector")
            now = write.meta.generation + 1  # no index of an earlier one can be brought up to date
            write.cursor.execute("DELETE FROM removed")
            write.meta = replace(
                write.meta, identity=identity, model=model, dimensions=dimensions, generation=now, removed_since=now
            )

    def forget_removed(self, generation: int) -> None:
        """Drop what the table `removed` knows of that generation and earlier ones, if anything."""
        if not self.connection.execute("SELECT 1 FROM removed WHERE generation <= ?", (generation,)).fetchone():
            return
        with self._writing() as write:
            write.cursor.execute("DELETE FROM removed WHERE generation <= ?", (generation,))
            write.meta = replace(write.meta, removed_since=max(write.meta.removed_since, generation))


@dataclass
class _Write:
    """A transaction under way, and what it changes in `meta` and `columns`. meta: as it was before."""

    cursor: sqlite3.Cursor
    meta: Meta
    came: int = 0
    went: int = 0
    cells: Counter[str] = field(default_factory=Counter)

    def delete(self, condition: str, value: str | int) -> int:
        gone = self.cursor.execute(f"DELETE FROM items WHERE {condition} RETURNING id, columns", (value,)).fetchall()
        for id, columns in gone:
            with suppress(Unsound):  # what is damaged can be taken out, too
                self.cells.subtract((_cells(columns) or {}).keys())
            self.cursor.execute("INSERT INTO removed VALUES (?, ?)", (self.meta.generation + 1, id))
        self.went += len(gone)
        return len(gone)

    def insert(self, item: Item, now: str) -> int:
        self.came += 1
        id = self.meta.last + self.came
        vector = np.asarray(item.vector, "<f4").tobytes()
        row = Row(id, item.source, item.label, item.content, now, _columns_text(item), None, None, vector)
        insert(self.cursor, row, item.stamp, item.thumbnail)
        self.cells.update((item.columns or {}).keys())
        return id

    def refresh(self, row: Row, item: Known) -> None:
        columns = _columns_text(item)
        self.cells.subtract((row.cells() or {}).keys())
        self.cells.update((item.columns or {}).keys())
        self.cursor.execute(
            "UPDATE items SET label = ?, columns = ?, stamp = ?, checksum = ? WHERE id = ?",
            (item.label, columns, item.stamp, row._replace(label=item.label, columns=columns).own_checksum, row.id),
        )

    def finish(self) -> None:
        before = self.meta
        after = replace(
            before,
            generation=before.generation + bool(self.came or self.went),
            items=before.items + self.came - self.went,
            last=before.last + self.came,
        )
        write_meta(self.cursor, after)
        write_cells(self.cursor, self.cells)


def insert(cursor: sqlite3.Cursor, row: Row, stamp: str | None, thumbnail: bytes) -> None:
    """A row into the tables, with its checksums."""
    cursor.execute(
        "INSERT INTO items (id, source, label, content, added, columns, stamp, checksum, vector_checksum,"
        " thumbnail_checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row[:6], stamp, row.own_checksum, checksum(row.id, row.vector), checksum(row.id, thumbnail)),
    )
    cursor.execute("INSERT INTO vectors VALUES (?, ?)", (row.id, row.vector))
    cursor.execute("INSERT INTO thumbnails VALUES (?, ?)", (row.id, thumbnail))


def write_cells(cursor: sqlite3.Cursor, cells: Counter[str]) -> None:
    """How many items more, or less, have something in each column."""
    changed = [(name, count) for name, count in cells.items() if count]
    cursor.executemany(
        "INSERT INTO columns VALUES (?, ?) ON CONFLICT DO UPDATE SET items = items + excluded.items", changed
    )
    cursor.execute("DELETE FROM columns WHERE items <= 0")


def write_last(cursor: sqlite3.Cursor, last: int) -> None:
    """The highest id that was ever given, where SQLite keeps it, too: `meta` may be damaged one day."""
    cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'items'")
    cursor.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", (last,))


def write_meta(cursor: sqlite3.Cursor, meta: Meta) -> None:
    cursor.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.rows().items())


def _cells(columns: str | None) -> Columns | None:
    try:
        return None if columns is None else json.loads(columns)
    except ValueError as error:
        raise Unsound("columns") from error


def _columns_text(item: Item | Known) -> str | None:
    """The columns as they are kept, or None where there are none. Raises InputError."""
    try:
        return json.dumps(item.columns, ensure_ascii=False, allow_nan=False) if item.columns else None
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The columns of {item.source} cannot be kept ({error}); allowed are texts and finite numbers."
        ) from error


def _waiting(path: Path) -> Path:
    """SQLite's file of what was written last. It is there while the catalogue is in use, and after a killed process."""
    return path.with_name(f"{path.name}-wal")


def _state(path: Path) -> FileState:
    """What changes when the file is written to; zeros where it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _connect(path: Path) -> tuple[sqlite3.Connection, bool, FileState | None]:
    """A connection, and whether it can write: a read-only disk still lets a catalogue be read. Where nobody is at the
    file and we may not write, SQLite can only read it as one that never changes: then its state, to see if it does.
    """
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    state = None if writable or _waiting(path).exists() else _state(path)
    mode = "rw" if writable else "ro" if state is None else "ro&immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=SECONDS_TO_WAIT, isolation_level=None
    )
    if not writable and state is None:
        try:
            connection.execute("PRAGMA schema_version")  # from here on the last writer leaves its file to us
        except sqlite3.OperationalError:
            connection.close()
            if _waiting(path).exists():
                raise
            return _connect(path)  # the writer has ended meanwhile
    if writable:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # where there is such a thing (macOS), and it is needed
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cell_size_check = ON")  # finds some damage earlier
    return connection, writable, state
