"""A catalogue on a Milvus server, as every catalogue is used."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue import Damage, Entry, Info, Item, Known, Lost, Match, Moment, Vectors, moving
from vitrine.catalogue.filters import Filter
from vitrine.catalogue.milvus import model as milvus_model
from vitrine.catalogue.milvus.filters import ALL, begins, both, expression
from vitrine.catalogue.milvus.link import MOST, Link, Row
from vitrine.catalogue.milvus.records import Records
from vitrine.catalogue.milvus.search import Search
from vitrine.catalogue.milvus.tables import (
    FORMAT_VERSION,
    KNOWN,
    WHOLE,
    State,
    checksum_of,
    create_items,
    entry_of,
    index_of,
    items_of,
    known_of,
    records_of,
)
from vitrine.catalogue.milvus.writer import Writer
from vitrine.catalogue.milvus.writing import Writing, check_items
from vitrine.catalogue.moving import Collected
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, ItemError, StorageError
from vitrine.progress import Progress, silent

_BATCH = 16_000_000  # bytes read at once


class MilvusCatalogue:
    """See `vitrine.catalogue.Catalogue`. Made by `making.create` or `open_`; a context manager, or to be closed.

    For one thread at a time.
    """

    def __init__(self, link: Link) -> None:
        self.name = link.address.text
        self._link = link
        self._short = link.address.catalogue
        self._records = Records(link, records_of(self._short), self.name)
        self._writer = Writer(link, self._records, self._short)
        self._writing = Writing(link, self._records, self._writer, self._short)
        self._search = Search(link, self._writing, self._short)
        self._identity: str | None = None  # of the model that was asked for
        self._given_up: Callable[[], bool] = lambda: False
        self._made = self._writing.state().made
        with suppress(StorageError):  # then it does without
            storage.make_folder(self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._link.close()

    def give_up_when(self, given_up: Callable[[], bool]) -> None:
        """See `Catalogue.give_up_when`."""
        self._given_up = given_up

    @property
    def place(self) -> Path:
        """Where this machine keeps what it has of this catalogue: its map, a copy of its model."""
        return storage.cache_folder() / "milvus" / f"{self._short}-{self._made[:12]}"

    def replaced(self) -> bool:
        try:
            return self._writing.state().made != self._made
        except CatalogueError:
            if self._link.has(self._records.collection):
                raise
            return True

    def version(self) -> str:
        return self._state().made[:16]

    def changes(self) -> tuple[object, ...]:
        return (self._records.version("state"),)

    def moment(self) -> Moment:
        state = self._state()
        return Moment(state.identity, state.generation)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Milvus cannot read several things as of one moment; what is read inside may be of later ones."""
        yield

    # --- its model

    def encoder(self) -> Encoder:
        encoder = milvus_model.encoder(self._records, self._state(), self.place, self.name)
        self.check_model(encoder.card.identity, encoder.card.name)
        return encoder

    def check_model(self, identity: str, name: str) -> None:
        state = self._state()
        if identity != state.identity:
            raise CatalogueError(
                f"The catalogue {self.name!r} was made by the model {state.model} ({state.identity[:8]}) and takes no"
                f" vectors of {name} ({identity[:8]}); use its own model, add to a new catalogue, or delete this one"
                f" with `vitrine index remove {self.name} --all`."
            )
        self._identity = identity

    # --- changes

    def add(self, items: Sequence[Item]) -> list[int]:
        with self.sole_writer():
            self._check_unmoved(state := self._state())
            check_items(items, state.dimensions, self.name)
            return self._writing.add(items)

    def take(self, entries: Sequence[Entry], last: int = 0) -> None:
        """See `Catalogue`."""
        with self.sole_writer():
            check_items([entry.item for entry in entries], self._state().dimensions, self.name)
            self._writing.take(entries, last)

    def remove(self, ids: Iterable[int]) -> int:
        with self.sole_writer():
            return self._writing.remove(ids)

    def refresh(self, items: Iterable[Known]) -> None:
        with self.sole_writer():
            self._writing.refresh(items)

    @contextmanager
    def sole_writer(self) -> Iterator[None]:
        if self._writer.held:
            yield
            return
        with self._writer.alone():
            if self._state().made != self._made:
                raise CatalogueError(f"The catalogue {self.name!r} was deleted (or replaced) meanwhile; open it again.")
            self._writing.settle()
            yield

    # --- searching

    def search(
        self, vectors: Vectors, k: int, threshold: float | None = None, where: Filter | None = None, offset: int = 0
    ) -> list[list[Match]]:
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1.")
        if offset < 0:
            raise InputError(f"The offset is {offset}; it must be at least 0.")
        self._check_unmoved(state := self._state())
        if vectors.ndim != 2 or vectors.shape[1] != state.dimensions:
            raise CatalogueError(
                f"The catalogue {self.name!r} is searched with vectors (n, {state.dimensions}); these are"
                f" {vectors.shape}."
            )
        wanted = min(offset + k, state.items)
        if wanted <= offset or not len(vectors):
            return [[] for _ in vectors]
        if wanted > MOST:
            raise InputError(
                f"Milvus finds the best {MOST:,} at most; these are {offset + k:,}: take a smaller offset, or k."
            )
        condition = "" if where is None else expression(where)
        found: list[list[Match]] = []
        for query in vectors:
            best = self._search.best(query, wanted, condition)[offset:wanted]
            found.append([match for match in best if threshold is None or match.score >= threshold])
        return found

    # --- reading

    def __len__(self) -> int:
        return self._state().items

    def known(self, folder: str = "") -> Iterator[Known]:
        """See `Catalogue.known`. All of it is in memory meanwhile, for Milvus sorts by id only."""
        rows = self._all(begins("source", folder) if folder else "", KNOWN)
        yield from sorted((known_of(row) for row in rows), key=lambda item: item.source)

    def ids(self, sources: Iterable[str]) -> dict[str, int]:
        found = self._writing.of_sources(self._state(), sources, ["id", "source"])
        return {row["source"]: row["id"] for row in found}

    def vectors(self) -> tuple[npt.NDArray[np.int64], Vectors, list[str]]:
        state = self._state()
        ids: list[int] = []
        sources: list[str] = []
        vectors = np.empty((state.items, state.dimensions), np.float32)
        for row in self._all("", ["id", "source", "vector"]):
            if len(ids) < state.items:  # else one has come meanwhile
                vectors[len(ids)] = row["vector"]
                ids.append(row["id"])
                sources.append(row["source"])
        return np.array(ids, np.int64), vectors[: len(ids)], sources

    def item(self, id: int) -> Item:
        state = self._state()
        condition = f"id in [{id}]"
        rows = self._link.query(items_of(self._short, state.number), condition, WHOLE) if state.shows(id) else []
        if not rows:
            raise ItemError(f"The catalogue {self.name!r} has no item {id}.")
        return entry_of(rows[0], self._writing.thumbnail(rows[0])).item

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """See `Catalogue`. Raises CatalogueError where one is damaged."""
        for row in self._all(f"id > {after}", WHOLE):
            thumbnail = self._writing.thumbnail(row)
            if checksum_of(row, thumbnail) != row["checksum"]:
                raise CatalogueError(
                    f"The item {row['id']} of {self.name!r} is damaged ({row['source']}); see `vitrine index verify"
                    f" {self.name}`."
                )
            yield entry_of(row, thumbnail)

    def listed(self) -> Iterator[Known]:
        """See `Catalogue`."""
        return map(known_of, self._all("", KNOWN))

    def last(self) -> int:
        """See `Catalogue`."""
        return self._state().last

    @property
    def unfinished(self) -> dict[str, Any] | None:
        """What it is a copy of, where that is under way."""
        return self._state().unfinished

    def finish(self) -> None:
        """From now on it is a whole copy. The caller is the sole writer."""
        self._writing.keep(replace(self._state(), unfinished=None))

    def sample(self, most: int) -> list[bytes]:
        state = self._state()
        places = sorted({1 + i * state.last // most for i in range(most)}) if state.items else []
        collection = items_of(self._short, state.number)
        rows = self._link.query(collection, both(f"id in {places}", state.seen), ["id", "thumbnail"]) if places else []
        if len(rows) < min(most, state.items):
            rows += self._link.query(collection, both(ALL, state.seen), ["id", "thumbnail"], most - len(rows))
        chosen = {int(row["id"]): row for row in rows}
        return [self._writing.thumbnail(chosen[id]) for id in sorted(chosen)]

    def columns(self) -> dict[str, int]:
        return dict(sorted(self._state().columns.items()))

    def labels(self, most: int) -> dict[str, int]:
        return dict(sorted(self._state().labels.items(), key=lambda one: (-one[1], one[0]))[:most])

    def info(self) -> Info:
        state = self._state()
        facts = (state.items, len(state.labels), state.model, state.identity, state.dimensions, state.index.lower())
        return Info(self.name, *facts, state.size, FORMAT_VERSION, dict(sorted(state.columns.items())))

    # --- another model

    @contextmanager
    def moving(self, encoder: Encoder) -> Iterator[Collected]:
        """See `Catalogue.moving`. What is collected lies on this machine."""
        with self.sole_writer():
            storage.make_folder(self.place)
            with moving.collected(self.place, encoder.card) as collected:
                yield collected
                self._move(encoder, collected.vectors())
            self.moved(encoder)

    def _move(self, encoder: Encoder, vectors: Iterator[tuple[int, bytes]]) -> None:
        """A new collection with the new vectors, which counts from one moment on."""
        card, before = encoder.card, self._state()
        after = replace(
            before,
            identity=card.identity,
            model=card.name,
            dimensions=card.embedding,
            number=before.number + 1,
            generation=before.generation + 1,
        )
        self._link.drop(items_of(self._short, after.number))  # left by a move that was stopped
        create_items(self._link, self._short, after, index_of(self._link, before.index))
        self._records.put(milvus_model.record_of(card.identity), encoder.content)
        changed = self._writing.fill(after, self.entries(), vectors)
        if changed != before.items:
            raise CatalogueError(
                f"The catalogue {self.name!r} refused (of {before.items:,} items {changed:,} have a new vector), and"
                " nothing in it has changed; run it again."
            )
        self._writer.check()
        self._writing.keep(after)
        with suppress(CatalogueError):  # what counts is done
            self._records.drop(milvus_model.record_of(before.identity))

    def moved(self, encoder: Encoder) -> bool:
        """See `Catalogue.moved`."""
        if encoder.card.identity != self._state().identity:
            return False
        with self.sole_writer():
            number = self._state().number
            for other in self._link.collections():
                if other.startswith(items_of(self._short, 0)[:-1]) and other != items_of(self._short, number):
                    self._link.drop(other)
            moving.discard(self.place)
        return True

    # --- keeping

    def use_index(self, kind: str) -> None:
        """See `Catalogue.use_index`. Milvus makes its indexes itself, in the background."""
        wanted, build = index_of(self._link, kind)
        with self.sole_writer():
            state = self._state()
            if wanted != state.index:
                collection = items_of(self._short, state.number)
                self._link.reindex(collection, wanted, build)
                self._writing.keep(replace(state, index=wanted))  # before it is built, which may take hours
                self._link.load(collection)

    def save_index(self) -> None:
        """Milvus does that."""

    def check(self, progress: Progress = silent) -> Damage:
        """Read everything, and compare it with its checksums."""
        state, lost, count = self._state(), [], 0
        for row in self._all("", WHOLE):
            count += 1
            if checksum_of(row, self._writing.thumbnail(row)) != row["checksum"]:
                lost.append(Lost(row["id"], row["source"]))
            if count % 1000 == 0:
                progress(count, max(count, state.items))
        differ = f"it says that it has {state.items:,} items, and has {count:,}" if count != state.items else None
        advice = f"`vitrine index copy {self.name} NAME` makes one that is counted anew"
        if lost:
            advice = (
                f"take out what is lost with `vitrine index remove {self.name} IDS`, and bring back what still lies in"
                f" FOLDER with `vitrine index sync FOLDER --catalogue {self.name}`"
            )
        return Damage(differ, tuple(lost), advice)

    def check_index(self) -> None:
        """Nobody can tell from here."""

    def repair(self, progress: Progress = silent) -> tuple[Lost, ...]:
        """Milvus keeps what it has acknowledged, and each writer puts in order what was begun and not finished. To read
        everything at each sync takes too long there: `check` says what to do.
        """
        return ()

    # --- parts

    def _state(self) -> State:
        return self._writing.state()

    def _all(self, condition: str, fields: list[str]) -> Iterator[Row]:
        """The items that are to be seen and meet the condition, by id."""
        state = self._state()
        each = 200 + (8 * state.dimensions if "vector" in fields else 0) + (8_000 if "thumbnail" in fields else 0)
        seen = replace(state, adding=True).seen  # whatever is added meanwhile
        rows = self._link.all(
            items_of(self._short, state.number), both(condition, seen), fields, min(5_000, max(50, _BATCH // each))
        )
        for number, row in enumerate(rows):
            if number % 500 == 0 and self._given_up():
                raise InputError("This takes longer than it may; ask for less, as with a shorter filter.")
            yield row

    def _check_unmoved(self, state: State) -> None:
        """Raises CatalogueError where the model that was asked for since the opening is not that of now."""
        if self._identity not in (None, state.identity):
            raise CatalogueError(
                f"The catalogue {self.name!r} has moved to the model {state.model} ({state.identity[:8]}) meanwhile;"
                " run it again."
            )
