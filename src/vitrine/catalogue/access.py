"""Who gets at catalogue.sqlite, and how: connections that may write or only read, and the lock of who writes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitrine import storage

SECONDS_TO_WAIT = 5.0  # for another writer

FileState = tuple[int, int, int]
"""Of a file: inode, size, time in nanoseconds."""


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """While it lasts nobody else writes to the catalogue in that folder. Raises StorageError, or SQLite's "locked"."""
    with storage.locked(folder / "writer.lock", SECONDS_TO_WAIT):
        yield


def connect(path: Path) -> tuple[sqlite3.Connection, bool, FileState | None]:
    """A connection, and whether it can write: a read-only disk still lets a catalogue be read. Where nobody is at the
    file and we may not write, SQLite can only read it as one that never changes: then its state, to see if it does.
    """
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    state = None if writable or waiting(path).exists() else state_of(path)
    mode = "rw" if writable else "ro" if state is None else "ro&immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=SECONDS_TO_WAIT, isolation_level=None
    )
    if not writable and state is None:
        try:
            connection.execute("PRAGMA schema_version")  # from here on the last writer leaves its file to us
        except sqlite3.OperationalError:
            connection.close()
            if waiting(path).exists():
                raise
            return connect(path)  # the writer has ended meanwhile
    if writable:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # where there is such a thing (macOS), and it is needed
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cell_size_check = ON")  # finds some damage earlier
    return connection, writable, state


def waiting(path: Path) -> Path:
    """SQLite's file of what was written last. It is there while the catalogue is in use, and after a killed process."""
    return path.with_name(f"{path.name}-wal")


def state_of(path: Path) -> FileState:
    """What changes when the file is written to; zeros where it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
