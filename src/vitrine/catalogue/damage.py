"""What a damaged disk has left of a catalogue, and a whole file again from that.

Damage shows in three ways: SQLite cannot follow its own pages, a row's checksum is wrong, or rows are missing. Whatever
it is, `rebuild` writes every sound row into a new file and puts that in place of all the old pages at once: readers see
the old state or the new one, and so does the next opening after a power failure.
"""

import contextlib
import functools
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from vitrine.catalogue import Damage, Lost
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import (
    LARGEST_ID,
    TABLES,
    Meta,
    Row,
    Unsound,
    checksum,
    insert,
    write_cells,
    write_last,
    write_meta,
)
from vitrine.progress import Progress, silent

_COLUMNS = (
    "items.id, source, label, content, added, items.columns, checksum, vector_checksum, vector, stamp,"
    " thumbnail_checksum, image"
)
_BATCH = 1000


@dataclass(frozen=True)
class Whole:
    """A sound item."""

    row: Row
    stamp: str | None
    thumbnail: bytes


def check(store: Store, meta: Meta, progress: Progress = silent) -> Damage:
    """Read everything there is. meta: what the file says of itself, or would if it could be read."""
    with store.reading():
        problem = _problem(store)
        whole = highest = 0
        lost: list[Lost] = []
        for found in sift(store, meta):
            if isinstance(found, Lost):
                lost.append(found)
                continue
            whole, highest = whole + 1, max(highest, found.row.id)
            if whole % _BATCH == 0:
                progress(whole, max(whole, meta.items))
        missing = meta.items - whole - len(lost)
        if missing > 0:
            problem = problem or f"{missing} items are gone without a trace"
        elif missing < 0 or highest > meta.last:  # a write of which the disk has kept only a part
            problem = problem or "what it says of itself is older than its items"
    return Damage(problem, tuple(sorted(lost, key=lambda one: one.id)))


def rebuild(store: Store, meta: Meta) -> None:
    """Put a new file with all sound items in place of what there is. The caller is the sole writer.

    Ids stay; the generation rises to that of `meta` plus one. Raises what SQLite raises.
    """
    for leftover in store.path.parent.glob(".mended-*"):
        leftover.unlink()
    path = store.path.with_name(f".mended-{uuid.uuid4().hex}.sqlite")
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as fresh:
            fresh.execute(f"PRAGMA page_size = {store.connection.execute('PRAGMA page_size').fetchone()[0]}")
            fresh.execute("PRAGMA synchronous = OFF")  # it need not outlive a power failure
            fresh.executescript(TABLES)
            fresh.execute("BEGIN")
            _fill(fresh.cursor(), store, meta)
            fresh.execute("COMMIT")
            fresh.backup(store.connection)  # a transaction of the old file
            store.wrote()
    finally:
        for part in path.parent.glob(f"{path.name}*"):
            part.unlink()


def _fill(cursor: sqlite3.Cursor, store: Store, meta: Meta) -> None:
    items, lost, last = 0, 0, max(meta.last, _given(store.connection))
    cells: Counter[str] = Counter()
    for found in sift(store, meta):
        last = max(last, found.id if isinstance(found, Lost) else found.row.id)
        if isinstance(found, Lost):
            lost += 1
        else:
            insert(cursor, found.row, found.stamp, found.thumbnail)
            cells.update((found.row.cells() or {}).keys())
            items += 1
    write_cells(cursor, cells)
    generation = meta.generation + 1
    if items + lost != meta.items or last > meta.last:  # indexes may be of a later generation than `meta`
        generation = max(generation, int(time.time()))
    write_last(cursor, last)
    write_meta(cursor, replace(meta, generation=generation, items=items, last=last, removed_since=generation))


def sift(store: Store, meta: Meta) -> Iterator[Whole | Lost]:
    """Every sound item, and then every one that is known to have been there and is not sound."""
    with store.reading(), _lenient(store.connection):
        seen: set[int] = set()
        named: dict[int, str | None] = {}
        highest = _highest(store.connection)
        given = max(meta.last, _given(store.connection)) or highest
        for found in _all(store, meta, max(given, highest)):
            if isinstance(found, Lost):
                if found.id <= given:  # any other is no id, but damage
                    named[found.id] = found.source
            elif found.row.id not in seen:
                seen.add(found.row.id)
                yield found
        if named or len(seen) != meta.items:
            candidates = {id: source for id, source in _mentioned(store, given) if id not in seen}
            for id in sorted(candidates.keys() | (named.keys() - seen)):
                one = _one(store, meta, id)
                if isinstance(one, Whole):
                    yield one
                else:
                    yield Lost(id, candidates.get(id) or named.get(id))


def whole(store: Store, after: int) -> Iterator[Whole]:
    """Every item with an id above that, by id. Raises Unsound where one is damaged or missing. See `Store.reading`."""
    meta, version, count = store.meta(), store.version(), 0
    selected = f"SELECT {_COLUMNS} FROM {_joined(store)} WHERE items.id > ? ORDER BY items.id"
    for values in store.connection.execute(selected, (after,)):
        found = _sifted(values, meta, version)
        if isinstance(found, Lost):
            raise Unsound("rows")
        count += 1
        yield found
    if not after and count != meta.items:
        raise Unsound("rows")


def _all(store: Store, meta: Meta, highest: int) -> Iterator[Whole | Lost]:
    for values in _scan(store.connection, f"SELECT {_COLUMNS} FROM {_joined(store)} WHERE items.id > ?", highest):
        yield _sifted(values, meta, store.version())


def _one(store: Store, meta: Meta, id: int) -> Whole | Lost | None:
    with contextlib.suppress(sqlite3.DatabaseError):
        values = store.connection.execute(
            f"SELECT {_COLUMNS} FROM {_joined(store)} WHERE items.id = ?", (id,)
        ).fetchone()
        return None if values is None else _sifted(values, meta, store.version())
    return None


def _joined(store: Store) -> str:
    return f"{store.items()} LEFT JOIN vectors USING (id) LEFT JOIN thumbnails ON thumbnails.id = items.id"


def _sifted(values: tuple[Any, ...], meta: Meta, version: int) -> Whole | Lost:
    row = Row(*values[:9])
    stamp, expected, image = values[9:]
    with contextlib.suppress(Unsound):
        if row.sound(meta.dimensions, version) and isinstance(image, bytes) and isinstance(stamp, str | None):
            row.cells()
            if version == 1 or expected == checksum(row.id, image):
                return Whole(row, stamp, image)
    return Lost(row.id, row.source if isinstance(row.source, str) else None)


def _mentioned(store: Store, highest: int) -> Iterator[tuple[int, str | None]]:
    """Ids, and sources where they are told, that any of the other pages know."""
    for table in ("vectors", "thumbnails"):
        for (id,) in _scan(store.connection, f"SELECT items.id FROM {table} AS items WHERE items.id > ?", highest):
            if 0 < id <= highest:
                yield id, None
    for direction in ("ASC", "DESC"):  # up to the damage, from both ends
        with contextlib.suppress(sqlite3.DatabaseError):
            for id, source in store.connection.execute(f"SELECT id, source FROM items ORDER BY source {direction}"):
                if isinstance(id, int) and 0 < id <= highest:
                    yield id, source if isinstance(source, str) else None


def _scan(connection: sqlite3.Connection, selected: str, highest: int) -> Iterator[tuple[Any, ...]]:
    """All rows that can be read, by id, over what cannot: in steps that grow, so that no id takes them for ever."""
    at, step = 0, 1
    while at < highest:
        try:
            for row in connection.execute(f"{selected} ORDER BY items.id", (at,)):
                id = row[0]
                if isinstance(id, int) and 0 < id <= highest:
                    at, step = max(at, id), 1
                    yield row
            return
        except sqlite3.DatabaseError:
            at, step = at + step, 2 * step


def _highest(connection: sqlite3.Connection) -> int:
    """The highest id that the tables know: `meta` may be older than they are, or damaged."""
    return max(_number(connection, f"SELECT max(id) FROM {table}") for table in ("items", "vectors", "thumbnails"))


def _given(connection: sqlite3.Connection) -> int:
    """The highest id that was ever given, as SQLite knows it; 0 where that cannot be read."""
    return _number(connection, "SELECT max(seq) FROM sqlite_sequence WHERE name = 'items'")


def _number(connection: sqlite3.Connection, selected: str) -> int:
    with contextlib.suppress(sqlite3.DatabaseError):
        found = connection.execute(selected).fetchone()[0]
        if isinstance(found, int) and 0 < found <= LARGEST_ID:
            return found
    return 0


def _problem(store: Store) -> str | None:
    """What SQLite itself finds wrong with the file."""
    try:
        found = [str(line) for (line,) in store.connection.execute("PRAGMA integrity_check(1)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ["ok"] else found[0].splitlines()[-1]


@contextmanager
def _lenient(connection: sqlite3.Connection) -> Iterator[None]:
    """Texts that are no UTF-8 can be read, so that their rows can be named; their checksums are wrong."""
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
    try:
        yield
    finally:
        connection.text_factory = str
