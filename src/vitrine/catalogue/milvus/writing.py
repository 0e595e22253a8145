"""What changes a catalogue on Milvus: each change as a whole, though Milvus promises no more than a row at a time.

What counts is the state, one record. New items get ids above the last one that is seen; when all of them are there, one
write of the state shows them, and hides those that they replace. What is taken out is hidden first and deleted then;
what changes in place is noted in the state first. So whoever comes after a program that died can tell what counts, and
puts the rest in order: `settle`.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import numpy as np

from vitrine.catalogue import Entry, Item, Known
from vitrine.catalogue.milvus.filters import both, source_condition
from vitrine.catalogue.milvus.link import Link, Row
from vitrine.catalogue.milvus.records import Records
from vitrine.catalogue.milvus.tables import (
    WHOLE,
    State,
    entry_of,
    items_of,
    known_of,
    row_of,
    size_of,
    small_thumbnail,
)
from vitrine.catalogue.milvus.writer import Writer
from vitrine.catalogue.tables import columns_text
from vitrine.errors import CatalogueError, InputError

STATE = "state"

_BYTES, _ROWS = 8_000_000, 1_000  # of one request, at most: a proxy of Milvus's takes 64 MiB
_IDS = 5_000  # taken out, and shown as gone, at once
_FULL = 200  # rows read whole at once
_GONE = ["id", "label", "columns", "source", "content", "stamp"]


class Writing:
    """Changes one catalogue. The caller is the sole writer."""

    def __init__(self, link: Link, records: Records, writer: Writer, name: str) -> None:
        self._link, self._records, self._writer, self._name = link, records, writer, name

    def state(self) -> State:
        content = self._records.get(STATE)
        if content is None:
            raise CatalogueError(
                f"The catalogue {self._link.address.text!r} was deleted (or replaced) meanwhile; open it again."
            )
        return State.from_bytes(content, self._link.address.text)

    def keep(self, state: State) -> None:
        self._records.put(STATE, state.to_bytes())

    # --- changes

    def add(self, items: Sequence[Item]) -> list[int]:
        """See `vitrine.catalogue.Catalogue.add`."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        last = self._ready().last
        entries = [Entry(id, now, item) for id, item in enumerate(items, last + 1)]
        self.take(entries)
        return [entry.id for entry in entries]

    def take(self, entries: Sequence[Entry], last: int = 0) -> None:
        """Put items in under their ids. last: no id up to this one is given from now on. A stop may leave out what has
        one of these ids already.
        """
        before = self._ready()
        rows = [row_of(entry) for entry in entries]
        given = [entry.id for entry in entries if entry.id <= before.last]
        if given:  # these are seen as soon as they are written, so they are hidden until all counts
            self.remove(given)
            before = self._ready()
        old = self._replaced(before, entries)
        if rows:
            self.keep(replace(before, adding=True, gone=given))
            self._upsert(before, rows, {entry.id: entry.item.thumbnail for entry in entries})
        self._writer.check()
        after = _counted(before, [known_of(row) for row in rows], [known_of(row) for row in old.values()])
        more = _size(rows, before) - _size(old.values(), before)
        after = replace(
            after,
            adding=False,
            items=before.items + len(rows) - len(old),
            size=max(0, before.size + more),
            last=max(before.last, last, *(entry.id for entry in entries)),
            generation=before.generation + bool(rows),
            gone=sorted(old),
        )
        self.keep(after)
        if old:
            self._swept()

    def remove(self, ids: Iterable[int]) -> int:
        """See `vitrine.catalogue.Catalogue.remove`. So many at once: a stop in between leaves the others in."""
        removed, rest = 0, iter(ids)
        while some := list(islice(rest, _IDS)):
            if any(not -(2**63) <= id < 2**63 for id in some):
                raise InputError("A number is too large for a catalogue; ids are below 2^63.")
            before = self._ready()
            old = self._of_ids(before, some, [*_GONE, "thumbnail"], _ROWS)
            if not old:
                continue
            self._writer.check()
            after = _counted(before, [], [known_of(row) for row in old.values()])
            after = replace(
                after, items=before.items - len(old), size=max(0, before.size - _size(old.values(), before))
            )
            self.keep(replace(after, generation=before.generation + 1, gone=sorted(old)))
            self._swept()
            removed += len(old)
        return removed

    def refresh(self, items: Iterable[Known]) -> None:
        """See `vitrine.catalogue.Catalogue.refresh`."""
        before = self._ready()
        wanted = {item.id: item for item in items}
        there = {id: known_of(row) for id, row in self._of_ids(before, list(wanted), _GONE).items()}
        now = [replace(there[id], label=item.label, columns=item.columns) for id, item in wanted.items() if id in there]
        changes = [[id, wanted[id].label, columns_text(wanted[id]), wanted[id].stamp] for id in there]
        if changes:
            for first in range(0, len(changes), _FULL):  # what is too large is refused before anything counts
                self._changed(before, changes[first : first + _FULL])
            self._writer.check()
            self.keep(replace(_counted(before, now, list(there.values())), changes=changes))
            self._swept()

    def fill(self, state: State, entries: Iterable[Entry], vectors: Iterator[tuple[int, bytes]]) -> int:
        """Put these items, with other vectors, into the collection of that state; how many. Both come by id."""
        count, rest = 0, iter(entries)
        while some := list(islice(rest, _FULL)):
            new = dict(islice(vectors, len(some)))
            some = [one for one in some if one.id in new]
            with_new = [replace(one, item=replace(one.item, vector=np.frombuffer(new[one.id], "<f4"))) for one in some]
            self._upsert(state, [row_of(one) for one in with_new], {one.id: one.item.thumbnail for one in some})
            count += len(some)
        return count

    # --- order

    def settle(self) -> None:
        """Do what the state says is still to be done, by a program that died or by this one."""
        state = self.state()
        if state.adding:
            self._forget(state, f"id > {state.last}")
        if state.changes:
            for first in range(0, len(state.changes), _FULL):
                self._upsert(state, *self._changed(state, state.changes[first : first + _FULL]))
        if state.gone:
            for first in range(0, len(state.gone), _IDS):
                self._forget(state, f"id in [{', '.join(map(str, state.gone[first : first + _IDS]))}]")
        if not state.clean:
            self.keep(replace(state, adding=False, changes=[], gone=[]))

    def _ready(self) -> State:
        """The state, with nothing left to be done: a step before this one may have failed."""
        state = self.state()
        if not state.clean:
            self.settle()
            state = self.state()
        return state

    def _swept(self) -> None:
        """What counts is written; what follows may wait for the next writer."""
        with suppress(CatalogueError):
            self.settle()

    def _forget(self, state: State, condition: str) -> None:
        collection = items_of(self._name, state.number)
        large = self._link.query(collection, f'({condition}) and thumbnail == ""', ["id"])
        self._link.delete(collection, condition)
        for row in large:
            self._records.drop(picture_of(row["id"]))

    def _changed(self, state: State, changes: Sequence[Sequence[object]]) -> tuple[list[Row], dict[int, bytes]]:
        """Rows with their changes in them, and their thumbnails by id."""
        new = {int(str(one[0])): one for one in changes}
        found = self._of_ids(state, list(new), WHOLE, _FULL)
        rows, thumbnails = [], {}
        for id, row in found.items():
            thumbnails[id] = self.thumbnail(row)
            _, row["label"], row["columns"], row["stamp"] = new[id]
            rows.append(row_of(entry_of(row, thumbnails[id])))
        return rows, thumbnails

    def thumbnail(self, row: Row) -> bytes:
        """Of a row: in it, or where it is too large in a record."""
        small = small_thumbnail(row)
        return small if small is not None else self._records.get(picture_of(row["id"])) or b""

    # --- rows

    def _replaced(self, state: State, entries: Sequence[Entry]) -> dict[int, Row]:
        """The items that are there with a source of these."""
        found = self.of_sources(state, [entry.item.source for entry in entries], [*_GONE, "thumbnail"])
        return {int(row["id"]): row for row in found}

    def of_sources(self, state: State, sources: Iterable[str], fields: list[str]) -> Iterator[Row]:
        """The items with those sources that are to be seen."""
        rest = iter(sources)
        while some := list(islice(rest, 500)):
            condition = both(source_condition(some), state.seen)
            yield from self._link.query(items_of(self._name, state.number), condition, fields)

    def _of_ids(self, state: State, ids: Sequence[int], fields: list[str], most: int = _IDS) -> dict[int, Row]:
        """The items of those ids that are to be seen, by id."""
        found = {}
        for first in range(0, len(ids), most):
            listed = ", ".join(str(id) for id in ids[first : first + most])
            condition = both(f"id in [{listed}]", state.seen)
            for row in self._link.query(items_of(self._name, state.number), condition, fields):
                found[int(row["id"])] = row
        return dict(sorted(found.items()))

    def _upsert(self, state: State, rows: list[Row], thumbnails: Mapping[int, bytes]) -> None:
        """The rows, in requests that are small enough; first the thumbnails that do not fit in."""
        for row in rows:
            if not row["thumbnail"] and thumbnails[row["id"]]:
                self._records.put(picture_of(row["id"]), thumbnails[row["id"]])
        for batch in _batches(rows, state.dimensions):
            self._link.upsert(items_of(self._name, state.number), batch)


def picture_of(id: int) -> str:
    """The record of a thumbnail that is too large for a row."""
    return f"thumbnail-{id}"


def _counted(state: State, came: Sequence[Known], went: Sequence[Known]) -> State:
    """With the labels and columns of these counted, and those of the others no more."""
    labels, columns = Counter(state.labels), Counter(state.columns)
    for sign, items in ((1, came), (-1, went)):
        for item in items:
            if item.label is not None:
                labels[item.label] += sign
            for name in item.columns or {}:
                columns[name] += sign
    return replace(state, labels=dict(+labels), columns=dict(+columns))


def _size(rows: Iterable[Row], state: State) -> int:
    return sum(size_of(row, state.dimensions) for row in rows)


def _batches(rows: list[Row], dimensions: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        more = 2 * size_of(row, dimensions)  # texts twice, thumbnails in base64
        if batch and (size + more > _BYTES or len(batch) >= _ROWS):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    if batch:
        yield batch


def check_items(items: Sequence[Item], dimensions: int, name: str) -> None:
    """Raises CatalogueError for vectors of another shape, and for a source that comes twice."""
    sources: set[str] = set()
    for item in items:
        if item.vector.shape != (dimensions,) or not np.isfinite(item.vector).all():
            raise CatalogueError(
                f"The vector of {item.source} has shape {item.vector.shape} or is not finite; the catalogue"
                f" {name!r} takes ({dimensions},)."
            )
        if item.source in sources:
            raise CatalogueError(f"Two of the items come from {item.source}; a source can be there only once.")
        sources.add(item.source)
