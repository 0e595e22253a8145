"""Whole catalogues read and written item by item: what export, backup and rebuild share."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from vitrine.catalogue import Lost, damage
from vitrine.catalogue.damage import Whole
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import TABLES, Meta, Unsound, insert, write_cells, write_last, write_meta
from vitrine.errors import CatalogueError


def entries(store: Store) -> Iterator[Whole]:
    """Every item, by id. Raises Unsound where one is damaged or missing. See `Store.reading`."""
    meta = store.meta()
    count = 0
    for found in damage.sift(store, meta):
        if isinstance(found, Lost):
            raise Unsound("rows")
        count += 1
        yield found
    if count != meta.items:
        raise Unsound("rows")


def write(path: Path, meta: Meta, items: Iterable[Whole]) -> None:
    """A new catalogue.sqlite at `path` that holds these items under their ids. meta: all but their number, and the
    highest id that was ever given, if that is none of these.

    Raises CatalogueError where an id or a source is there twice, and what SQLite raises.
    """
    count, last = 0, meta.last
    cells: Counter[str] = Counter()
    with closing(sqlite3.connect(path, isolation_level=None)) as fresh:
        fresh.executescript(TABLES)
        cursor = fresh.cursor()
        cursor.execute("BEGIN")
        for item in items:
            try:
                insert(cursor, item.row, item.stamp, item.thumbnail)
            except sqlite3.IntegrityError as error:
                what = f"the id {item.row.id}" if "items.id" in str(error) else f"the source {item.row.source!r}"
                raise CatalogueError(f"Two of the items have {what}; each can be there only once.") from error
            cells.update((item.row.cells() or {}).keys())
            count, last = count + 1, max(last, item.row.id)
        write_cells(cursor, cells)
        write_last(cursor, last)
        write_meta(cursor, replace(meta, items=count, last=last))
        cursor.execute("COMMIT")
