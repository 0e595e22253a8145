"""What changes the truth of a catalogue: each write a transaction, all of it on the disk or nothing.

What these raise beside what they say is SQLite's own; sentences.py makes sentences of it.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from vitrine.catalogue import Entry, Item, Known
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import (
    FORMAT_VERSION,
    UPGRADE,
    Meta,
    Row,
    Unsound,
    checksum,
    columns_text,
    insert,
    read_cells,
    write_cells,
    write_last,
    write_meta,
)

_CHUNK = 2000  # rows at a time


def add(store: Store, items: Sequence[Item]) -> list[int]:
    """See `vitrine.catalogue.Catalogue.add`; the vectors have the right size."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with transaction(store) as write:
        for item in items:
            write.delete("source = ?", item.source)
        return [write.insert(item, now) for item in items]


def take(store: Store, entries: Iterable[Entry], last: int) -> None:
    """Put items in under the ids that they have elsewhere; what has such an id or source here goes. last: ids up to
    this one were given elsewhere, too.
    """
    with transaction(store) as write:
        for entry in entries:
            write.delete("source = ?", entry.item.source)
            write.delete("id = ?", entry.id)
            write.take(entry)
        write.given(last)


def remove(store: Store, ids: Iterable[int]) -> int:
    """See `vitrine.catalogue.Catalogue.remove`."""
    with transaction(store) as write:
        return sum(write.delete("id = ?", id) for id in ids)


def refresh(store: Store, items: Iterable[Known]) -> None:
    """See `vitrine.catalogue.Catalogue.refresh`. Raises Unsound."""
    changes = iter(items)
    with transaction(store) as write:
        while chunk := {item.id: item for item in islice(changes, _CHUNK)}:
            for row in store.whole(chunk).values():
                write.refresh(row, chunk[row.id])


def want_index(store: Store, kind: str) -> None:
    """Keep which kind of index is wanted."""
    with transaction(store) as write:
        write.meta = replace(write.meta, index=kind)


def change_model(
    store: Store, identity: str, model: str, dimensions: int, vectors: Iterable[tuple[int, bytes]]
) -> None:
    """Give all items other vectors, made by another model. vectors: by id; ids that are not there are passed over.
    Raises Unsound, also where an item would be left without.
    """
    changes, changed = iter(vectors), 0
    with transaction(store) as write:
        while chunk := dict(islice(changes, _CHUNK)):
            for id in store.whole(chunk):
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


def forget_removed(store: Store, generation: int) -> None:
    """Drop what the table `removed` knows of that generation and earlier ones, if anything."""
    if not store.connection.execute("SELECT 1 FROM removed WHERE generation <= ?", (generation,)).fetchone():
        return
    with transaction(store) as write:
        write.cursor.execute("DELETE FROM removed WHERE generation <= ?", (generation,))
        write.meta = replace(write.meta, removed_since=max(write.meta.removed_since, generation))


@contextmanager
def transaction(store: Store) -> Iterator["Write"]:
    """What is written inside is there as a whole or not at all. A catalogue of format 1 becomes one of format 2 in it.

    That waits for a write because it takes a while, and because a disk that is read-only, or an older vitrine that
    only reads, need not care.
    """
    with store.alone():
        cursor = store.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            store.look()
            if store.version() < FORMAT_VERSION:
                _upgrade(store, cursor)
            write = Write(cursor, store.meta())
            yield write
            write.finish()
            cursor.execute("COMMIT")
        except BaseException:
            if store.connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise
        finally:
            store.wrote()


@dataclass
class Write:
    """A transaction under way, and what it changes in `meta` and `columns`. meta: as it was before."""

    cursor: sqlite3.Cursor
    meta: Meta
    came: int = 0
    went: int = 0
    last: int = 0  # the highest id of what came with its own
    cells: Counter[str] = field(default_factory=Counter)

    def delete(self, condition: str, value: str | int) -> int:
        gone = self.cursor.execute(f"DELETE FROM items WHERE {condition} RETURNING id, columns", (value,)).fetchall()
        for id, columns in gone:
            with suppress(Unsound):  # what is damaged can be taken out, too
                self.cells.subtract((read_cells(columns) or {}).keys())
            self.cursor.execute("INSERT INTO removed VALUES (?, ?)", (self.meta.generation + 1, id))
        self.went += len(gone)
        return len(gone)

    def insert(self, item: Item, now: str) -> int:
        id = max(self.meta.last, self.last) + 1
        self.take(Entry(id, now, item))
        return id

    def take(self, entry: Entry) -> None:
        item = entry.item
        vector = np.asarray(item.vector, "<f4").tobytes()
        row = Row(entry.id, item.source, item.label, item.content, entry.added, columns_text(item), None, None, vector)
        insert(self.cursor, row, item.stamp, item.thumbnail)
        self.cells.update((item.columns or {}).keys())
        self.came += 1
        self.last = max(self.last, entry.id)

    def given(self, last: int) -> None:
        if last > max(self.meta.last, self.last):
            self.last = last
            write_last(self.cursor, last)

    def refresh(self, row: Row, item: Known) -> None:
        columns = columns_text(item)
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
            last=max(before.last, self.last),
        )
        write_meta(self.cursor, after)
        write_cells(self.cursor, self.cells)


def _upgrade(store: Store, cursor: sqlite3.Cursor) -> None:
    """Of format 1 to 2: what is sound gets its checksums."""
    before = store.meta()
    for statement in UPGRADE:
        cursor.execute(statement)
    cursor.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    store.wrote()
    for first in range(0, before.last, _CHUNK):
        span = (first + 1, first + _CHUNK)
        rows = [row for row in store.rows("items.id BETWEEN ? AND ?", span) if row.sound(before.dimensions, 1)]
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
    store.wrote()
