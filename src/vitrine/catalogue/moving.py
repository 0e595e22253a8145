"""A catalogue on its way to another model: the new vectors are collected in a file of their own, `rebuild.sqlite` in
the catalogue's folder, until there is one for every item. So a move that was stopped goes on where it was.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from vitrine.errors import StorageError
from vitrine.modelfile import ModelCard

NAME = "rebuild.sqlite"

_TABLES = """
CREATE TABLE model (identity TEXT NOT NULL) STRICT;
CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT;
"""


class Collected:
    """The new vectors so far. Made by `collected`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def ids(self) -> set[int]:
        """Of the items whose new vector is there."""
        return {id for (id,) in self._connection.execute("SELECT id FROM vectors")}

    def add(self, vectors: Iterable[tuple[int, bytes]]) -> None:
        """Keep these, by id: all or none."""
        with self._connection:
            rows = ((id, vector, zlib.crc32(vector)) for id, vector in vectors)
            self._connection.executemany("INSERT INTO vectors VALUES (?, ?, ?)", rows)

    def vectors(self) -> Iterator[tuple[int, bytes]]:
        """By id. Raises StorageError where the disk has damaged one."""
        for id, vector, checksum in self._connection.execute("SELECT * FROM vectors ORDER BY id"):
            if zlib.crc32(vector) != checksum:
                raise StorageError(f"The disk has damaged {self._path}; delete it and run the same command again.")
            yield id, vector


@contextmanager
def collected(folder: Path, card: ModelCard) -> Iterator[Collected]:
    """What there is in that folder of that model's vectors; nothing, where it is of another model or damaged."""
    path = folder / NAME
    if not _is_of(path, card):
        discard(folder)
        with closing(sqlite3.connect(path, isolation_level=None)) as made:
            made.executescript(f"BEGIN; {_TABLES} INSERT INTO model VALUES ('{card.identity}'); COMMIT")
    with closing(sqlite3.connect(path)) as connection:
        yield Collected(connection, path)


def discard(folder: Path) -> None:
    """Delete what was collected in that folder, if anything."""
    for path in folder.glob(f"{NAME}*"):
        path.unlink()


def _is_of(path: Path, card: ModelCard) -> bool:
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            sound = connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
            return sound and connection.execute("SELECT identity FROM model").fetchall() == [(card.identity,)]
    except sqlite3.DatabaseError:
        return False
