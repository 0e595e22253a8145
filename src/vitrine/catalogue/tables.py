"""The format of catalogue.sqlite: its tables, what a row says and the checksums that tell whether it still does. What
fills the tables goes through here, too. docs/file-formats.md says the same in words.
"""

import json
import sqlite3
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from vitrine.catalogue import Columns, Item, Known
from vitrine.errors import InputError

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
UPGRADE = (  # of format 1 to 2
    "ALTER TABLE items ADD COLUMN columns TEXT",
    "ALTER TABLE items ADD COLUMN stamp TEXT",
    "ALTER TABLE items ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1",
    "ALTER TABLE items ADD COLUMN vector_checksum INTEGER NOT NULL DEFAULT -1",
    "ALTER TABLE items ADD COLUMN thumbnail_checksum INTEGER NOT NULL DEFAULT -1",
    "CREATE TABLE columns (name TEXT PRIMARY KEY, items INTEGER NOT NULL) STRICT",
    "CREATE TABLE removed (generation INTEGER, id INTEGER, PRIMARY KEY (generation, id)) STRICT, WITHOUT ROWID",
)
ITEMS = {  # as they are to be read, by format
    1: "(SELECT id, source, label, content, added, NULL AS columns, NULL AS stamp, NULL AS checksum,"
    " NULL AS vector_checksum, NULL AS thumbnail_checksum FROM items) AS items",
    2: "items",
}
AUTO = "auto"  # of Meta.index
LARGEST_ID = 2**62  # that may come from elsewhere: SQLite counts to 2**63 - 1, and new items get higher ones


class Unsound(Exception):
    """What was read is not what was written. sentences.py makes a sentence of it."""


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
        return texts_checksum(self.id, self.source, self.label, self.content, self.added, self.columns)

    def sound(self, dimensions: int, version: int) -> bool:
        """Whether all of this is what was written. Format 1 has nothing to tell it by but the vector's size."""
        if not isinstance(self.vector, bytes) or len(self.vector) != 4 * dimensions:
            return False
        sums = (self.own_checksum, checksum(self.id, self.vector))
        return version == 1 or (self.checksum, self.vector_checksum) == sums

    def cells(self) -> Columns | None:
        """Raises Unsound."""
        return read_cells(self.columns)


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
        return {**facts, "checksum": str(meta_checksum(facts))}


def texts_checksum(id: int, source: str, label: str | None, content: str, added: str, columns: str | None) -> int:
    """CRC-32 of what a row says beside its vector and thumbnail."""
    shown = "-" if label is None else f"+{label}"
    said = f"{id}\0{source}\0{shown}\0{content}\0{added}\0{'-' if columns is None else f'+{columns}'}\0"
    return zlib.crc32(said.encode())


def checksum(id: int, content: bytes) -> int:
    """CRC-32 that tells whether a vector or thumbnail is the one that was written for that item."""
    return zlib.crc32(content, zlib.crc32(f"{id}\0".encode()))


def meta_checksum(facts: dict[str, str]) -> int:
    """CRC-32 of all that the table `meta` says."""
    return zlib.crc32("\0".join(f"{key}={facts[key]}" for key in sorted(facts)).encode())


def read_cells(columns: str | None) -> Columns | None:
    """What a CSV said of an item, from how it is kept. Raises Unsound."""
    try:
        return None if columns is None else json.loads(columns)
    except ValueError as error:
        raise Unsound("columns") from error


def columns_text(item: Item | Known) -> str | None:
    """The columns as they are kept, or None where there are none. Raises InputError."""
    try:
        return json.dumps(item.columns, ensure_ascii=False, allow_nan=False) if item.columns else None
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The columns of {item.source} cannot be kept ({error}); allowed are texts and finite numbers."
        ) from error


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
