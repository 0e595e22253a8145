"""A catalogue on one machine, a folder of three files:

    catalogue.sqlite    the truth: items, vectors, thumbnails, the model that made them
    model.onnx          a copy of that model; queries are embedded by it
    index-N.faiss       the speed, as of the N-th write: caught up from the truth where it is older, and made anew where
                        it is missing or damaged

and `writer.lock`, which is empty. docs/file-formats.md gives the tables.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue import (
    Damage,
    Entry,
    Info,
    Item,
    Known,
    Lost,
    Match,
    Moment,
    Vectors,
    access,
    damage,
    folders,
    index_kinds,
    moving,
    sampling,
    sentences,
    writing,
)
from vitrine.catalogue.filters import Filter
from vitrine.catalogue.index_kinds import Ids
from vitrine.catalogue.kept_index import KeptIndex, State, kind_for
from vitrine.catalogue.moving import Collected
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import AUTO, Meta, Unsound
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, ItemError, ModelFileError, VitrineError
from vitrine.progress import Progress, silent


class LocalCatalogue:
    """See `vitrine.catalogue.Catalogue`. Made by `create` or `open`; a context manager, or to be closed."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self._place = store.path.parent
        self._store = store
        self._identity: str | None = None  # of the model that was asked for
        self._index = KeptIndex(store)

    @classmethod
    def create(cls, name: str, encoder: Encoder) -> "LocalCatalogue":
        """A new, empty catalogue for that model's embeddings. Raises CatalogueError when there is one; StorageError."""
        card = encoder.card
        with folders.making(name) as made:
            storage.write_bytes(made / "model.onnx", encoder.content)
            Store.create(made / "catalogue.sqlite", Meta(card.identity, card.name, card.embedding, 0, 0, 0, 0))
        return cls.open(name)

    @classmethod
    def open(cls, name: str) -> "LocalCatalogue":
        """The catalogue of that name. Raises CatalogueError: there is none, it is not ours, it is too new, it is
        damaged.
        """
        return cls.within(folders.find(name), name)

    @classmethod
    def within(cls, place: Path, name: str) -> "LocalCatalogue":
        """The catalogue in that folder, which does not have its name yet: see `folders.making`. Raises as `open`."""
        path = place / "catalogue.sqlite"
        with sentences.final(name, path):
            return cls(name, Store.open(name, path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()

    @property
    def place(self) -> Path:
        return self._place

    def moment(self) -> Moment:
        meta = self._meta()
        return Moment(meta.identity, meta.generation)

    def changes(self) -> tuple[object, ...]:
        found: list[object] = []
        for one in (self._store.path, access.waiting(self._store.path)):
            with suppress(OSError):
                stat = one.stat()
                found += [stat.st_ino, stat.st_mtime_ns, stat.st_size]
        return tuple(found)

    def sample(self, most: int) -> list[bytes]:
        with self.reading() as store:
            return sampling.thumbnails(store, most)

    def give_up_when(self, given_up: Callable[[], bool]) -> None:
        """From now on, what takes long in the tables, as a long filter may, asks this now and then, and raises
        InputError when it is so.
        """
        self._store.give_up_when(given_up)

    def replaced(self) -> bool:
        """Whether it was deleted since it was opened; another may be there by its name."""
        return not self._store.there()

    def version(self) -> str:
        """A word that changes when another catalogue takes this one's name: with it an id always means the same
        picture. It may change at other times, too.
        """
        with self._told(), self._store.reading():
            first = next(self._store.rows("items.id = (SELECT min(id) FROM items)"), None)
        facts = (storage.identity(self._store.path), first and (first.id, first.source, first.added))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def encoder(self) -> Encoder:
        """The model that made this catalogue. Raises ModelFileError when the copy is missing or damaged; CatalogueError
        when it is another.
        """
        for _ in range(2):  # it may move to another model while the file is read
            try:
                encoder = Encoder.load(self._moved_model(self._meta().identity))  # left by a move that was stopped
            except ModelFileError:
                encoder = Encoder.load(self._place / "model.onnx")
            if encoder.card.identity == self._meta().identity:
                break
        self.check_model(encoder.card.identity, encoder.card.name)
        return encoder

    def check_model(self, identity: str, name: str) -> None:
        """Raises CatalogueError when embeddings of that model do not belong here."""
        meta = self._meta()
        if identity == meta.identity:
            self._identity = identity
        else:
            raise CatalogueError(
                f"The catalogue {self.name!r} was made by the model {meta.model}"
                f" ({meta.identity[:8]}) and takes no vectors of {name} ({identity[:8]}); use its own model,"
                f" add to a new catalogue, or delete this one with `vitrine index remove {self.name} --all`."
            )

    def __len__(self) -> int:
        return self._meta().items

    def add(self, items: Sequence[Item]) -> list[int]:
        with self.sole_writer():  # nobody moves it to another model meanwhile
            return self._add(items)

    def _add(self, items: Sequence[Item]) -> list[int]:
        self._check_unmoved(self._meta())
        self._check_items(items)
        with self._told():
            return writing.add(self._store, items)

    def take(self, entries: Sequence[Entry], last: int = 0) -> None:
        """See `Catalogue`."""
        with self.sole_writer(), self._told():
            self._check_items([entry.item for entry in entries])
            writing.take(self._store, entries, last)

    def _check_items(self, items: Sequence[Item]) -> None:
        """Raises CatalogueError for vectors of another shape, and for a source that comes twice."""
        dimensions = self._meta().dimensions
        sources: set[str] = set()
        for item in items:
            if item.vector.shape != (dimensions,) or not np.isfinite(item.vector).all():
                raise CatalogueError(
                    f"The vector of {item.source} has shape {item.vector.shape} or is not finite; the catalogue"
                    f" {self.name!r} takes ({dimensions},)."
                )
            if item.source in sources:
                raise CatalogueError(f"Two of the items come from {item.source}; a source can be there only once.")
            sources.add(item.source)

    def remove(self, ids: Iterable[int]) -> int:
        with self._told():
            return writing.remove(self._store, ids)

    def refresh(self, items: Iterable[Known]) -> None:
        with self._told():
            writing.refresh(self._store, items)

    def search(
        self, vectors: Vectors, k: int, threshold: float | None = None, where: Filter | None = None, offset: int = 0
    ) -> list[list[Match]]:
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1.")
        if offset < 0:
            raise InputError(f"The offset is {offset}; it must be at least 0.")
        with self._told(), self._store.reading():
            meta = self._store.meta()
            self._check_unmoved(meta)
            if vectors.ndim != 2 or vectors.shape[1] != meta.dimensions:
                raise CatalogueError(
                    f"The catalogue {self.name!r} is searched with vectors (n, {meta.dimensions}); these are"
                    f" {vectors.shape}."
                )
            wanted = min(offset + k, meta.items)
            if wanted <= offset or not len(vectors):
                return [[] for _ in vectors]
            allowed = None if where is None else self._store.matching(where)
            for index in self._index.candidates(meta):
                try:
                    scores, ids = index.search(vectors, wanted, allowed, self._store.exact)
                except CatalogueError:
                    continue  # its file is damaged where no checksum looks
                matches = self._matches(scores[:, offset:], ids[:, offset:], threshold)
                if matches is not None:
                    return matches
            raise Unsound("rows")

    def known(self, folder: str = "") -> Iterator[Known]:
        with self._told():
            yield from self._store.known(folder)

    def ids(self, sources: Iterable[str]) -> dict[str, int]:
        with self._told():
            return self._store.ids(sources)

    def vectors(self) -> tuple[npt.NDArray[np.int64], Vectors, list[str]]:
        with self._told():
            return self._store.vectors()

    def item(self, id: int) -> Item:
        with self._told():
            item = self._store.item(id)
        if item is None:
            raise ItemError(f"The catalogue {self.name!r} has no item {id}.")
        return item

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """See `Catalogue`."""
        with self._told(), self._store.reading():
            for found in damage.whole(self._store, after):
                row = found.row
                vector = np.frombuffer(row.vector, "<f4").astype(np.float32)
                item = Item(row.source, row.label, row.content, vector, found.thumbnail, row.cells(), found.stamp)
                yield Entry(row.id, row.added, item)

    def listed(self) -> Iterator[Known]:
        """See `Catalogue`."""
        with self._told():
            yield from self._store.listed()

    def last(self) -> int:
        """See `Catalogue`."""
        return self._meta().last

    def columns(self) -> dict[str, int]:
        with self._told():
            return self._store.columns()

    def labels(self, most: int) -> dict[str, int]:
        """The labels that most items have, to the number of those items, most first."""
        with self._told(), self._store.reading():
            found = self._store.connection.execute(
                "SELECT label, count(*) FROM items WHERE label IS NOT NULL GROUP BY label ORDER BY 2 DESC, 1 LIMIT ?",
                (most,),
            )
            return dict(found.fetchall())

    def info(self) -> Info:
        with self._told(), self._store.reading():
            meta, version = self._store.meta(), self._store.version()
            labels = self._store.connection.execute("SELECT count(DISTINCT label) FROM items").fetchone()[0]
            columns = self._store.columns()
        size = 0
        try:
            for path in self._place.iterdir():
                with suppress(FileNotFoundError):  # SQLite's own files come and go
                    size += path.stat().st_size
        except FileNotFoundError as error:
            raise CatalogueError(f"The catalogue {self.name!r} was deleted meanwhile; make it anew.") from error
        return Info(
            self.name,
            meta.items,
            labels,
            meta.model,
            meta.identity,
            meta.dimensions,
            kind_for(meta),
            size,
            version,
            columns,
        )

    @contextmanager
    def sole_writer(self) -> Iterator[None]:
        with ExitStack() as held:
            with self._told():
                held.enter_context(self._store.alone())
            for part in self._place.glob(".*.part"):  # what a program that was killed was writing
                if folders.is_stale(part):
                    part.unlink(missing_ok=True)
            yield

    @contextmanager
    def moving(self, encoder: Encoder) -> Iterator[Collected]:
        """Move to another model: what is done inside collects a vector for every item, and at the end all of them are
        changed at once. What was collected is kept where that fails.
        """
        card = encoder.card
        with self.sole_writer(), self._told():
            with moving.collected(self._place, card) as collected:
                yield collected
                # first a second model file, then the vectors, then the model file: a stop in between does no harm
                storage.write_bytes(self._moved_model(card.identity), encoder.content)
                writing.change_model(self._store, card.identity, card.name, card.embedding, collected.vectors())
            self.moved(encoder)

    def moved(self, encoder: Encoder) -> bool:
        """Whether that is its model already. What a move that was stopped at its end has left is put in order."""
        if encoder.card.identity != self._meta().identity:
            return False
        with self.sole_writer(), self._told():
            storage.write_bytes(self._place / "model.onnx", encoder.content)
            for other in self._place.glob("model-*.onnx"):
                other.unlink()
            moving.discard(self._place)
        return True

    def _moved_model(self, identity: str) -> Path:
        return self._place / f"model-{identity}.onnx"

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """The truth itself, all of one moment, for what copies a whole catalogue."""
        with self._told(), self._store.reading():
            yield self._store

    def use_index(self, kind: str) -> None:
        """Search by that kind of index from the next `save_index` on; "auto" chooses by size and memory. Raises
        InputError for what is no kind.
        """
        if kind not in (AUTO, *index_kinds.KINDS):
            raise InputError(f"There is no index {kind!r}; there are {AUTO}, {', '.join(index_kinds.KINDS)}.")
        with self._told():
            if self._meta().index != kind:
                writing.want_index(self._store, kind)

    def save_index(self) -> None:
        """Make the index ready for the next opening: bring it up to date, make it anew where it is worn, and write it
        where its file has fallen behind.
        """
        with self._told(), self._store.reading():
            index = self._index.ready(self._store.meta())
        if not index.unsaved and self._store.writable:
            with suppress(VitrineError), self._told():  # it may wait
                writing.forget_removed(self._store, index.generation)

    def check(self, progress: Progress = silent) -> Damage:
        """Read everything and say what the disk has damaged. Raises CatalogueError when nothing can be read."""
        with sentences.final(self.name, self._place):
            meta, readable = self._meta_or_guess()
            found = damage.check(self._store, meta, progress)
        return found if readable else replace(found, problem="what it says of itself cannot be read")

    def check_index(self) -> State:
        """Read the whole index file: "sound", "missing", or "deleted" where it was damaged or could not be used for
        another reason: the next search makes it anew. Raises StorageError where it cannot be deleted.
        """
        with self._told(), self._store.reading():
            return self._index.check()

    def repair(self, progress: Progress = silent) -> tuple[Lost, ...]:
        """Make a damaged catalogue whole again, without the items that it has lost, which are returned: they can be
        added again from where they came. One that is sound is left as it is.
        """
        with sentences.final(self.name, self._place), self._store.alone():
            found = self.check(progress)
            if found.found:
                damage.rebuild(self._store, self._meta_or_guess()[0])
                self._index.forget()
            return found.lost

    def _matches(self, scores: Vectors, ids: Ids, threshold: float | None) -> list[list[Match]] | None:
        """What the index found (q, k), with what is known of the items; None where some of them are not there."""
        good = ids >= 0
        if threshold is not None:
            good &= scores >= threshold
        found: list[int] = ids[good].tolist()
        told = self._store.told(set(found))
        try:
            matches = [
                Match(id, score, label, source, columns and columns.copy())
                for id, score, (label, source, columns) in zip(
                    found, scores[good].tolist(), map(told.__getitem__, found), strict=True
                )
            ]
        except KeyError:
            return None
        rest = iter(matches)
        return [list(islice(rest, count)) for count in good.sum(axis=1).tolist()]

    def _check_unmoved(self, meta: Meta) -> None:
        """Raises CatalogueError where the model that was asked for since the opening is not that of now."""
        if self._identity not in (None, meta.identity):
            raise CatalogueError(
                f"The catalogue {self.name!r} has moved to the model {meta.model} ({meta.identity[:8]}) meanwhile; run"
                " it again."
            )

    def _meta(self) -> Meta:
        with self._told(), self._store.reading():
            return self._store.meta()

    def _meta_or_guess(self) -> tuple[Meta, bool]:
        """What the file says of itself, True; or what it would, by its model, False."""
        try:
            with self._store.reading():
                return self._store.meta(), True
        except (Unsound, sqlite3.DatabaseError):
            card = Encoder.load(self._place / "model.onnx").card
            now = int(time.time())  # more than any generation before
            return Meta(card.identity, card.name, card.embedding, now, 0, 0, now), False

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite refuses, and what is damaged, as sentences; what is lost is named."""
        try:
            with sentences.translated(self.name, self._place):
                yield
        except Unsound as error:
            found = self.check()
            if found.found:
                raise CatalogueError(sentences.damaged(self.name, found)) from error
            raise CatalogueError(
                f"The catalogue {self.name!r} refused ({error}), and nothing in it is damaged; run it again."
            ) from error
