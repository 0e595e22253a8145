"""A catalogue on one machine, a folder of three files:

    catalogue.sqlite    the truth: items, vectors, thumbnails, the model that made them
    model.onnx          a copy of that model; queries are embedded by it
    index-N.faiss       the speed, as of the N-th write: caught up from the truth where it is older, and made anew where
                        it is missing or damaged

and `writer.lock`, which is empty. docs/file-formats.md gives the tables.
"""

import hashlib
import os
import re
import sqlite3
import time
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue import Damage, Info, Item, Known, Lost, Match, Vectors, damage, index_kinds, moving
from vitrine.catalogue.filters import Filter
from vitrine.catalogue.index_kinds import Block, Ids, Kind
from vitrine.catalogue.moving import Collected
from vitrine.catalogue.store import AUTO, Meta, Store, Unsound, writer_lock
from vitrine.catalogue.vector_index import VectorIndex
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, ItemError, ModelFileError, StorageError, VitrineError
from vitrine.progress import Progress, silent

_NAMED = 10  # of the lost items, in a sentence
_BEHIND = 2000  # items that may come or go before the index is written again: to catch up on them takes some 20 ms
_STALE = 86_400.0  # seconds: what has no name yet and is older was left by a program that was killed
_GARBAGE = 0.25  # so much of an index may be items that are gone, before it is made anew


def folder(name: str) -> Path:
    """Where the catalogue of that name lives. Raises InputError for what is no name."""
    name = unicodedata.normalize("NFC", name)  # macOS hands over names decomposed
    if name.endswith(".") or not re.fullmatch(r"\w[\w.-]{0,59}", name):
        raise InputError(
            f"{name!r} cannot name a catalogue (--catalogue); allowed: up to 60 letters, digits, '-', '_' and '.', not"
            " '.' or '-' first."
        )
    return storage.data_folder() / "catalogues" / name


def exists(name: str) -> bool:
    """Whether there is a catalogue of that name. Raises InputError for what is no name."""
    return (folder(name) / "catalogue.sqlite").exists()


def names() -> list[str]:
    """The catalogues that there are."""
    found = (path.parent.name for path in (storage.data_folder() / "catalogues").glob("*/catalogue.sqlite"))
    return sorted(name for name in found if not name.startswith("."))


class LocalCatalogue:
    """See `vitrine.catalogue.Catalogue`. Made by `create` or `open`; a context manager, or to be closed."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self._place = store.path.parent
        self._store = store
        self._identity: str | None = None  # of the model that was asked for
        self._index: VectorIndex | None = None

    @classmethod
    def create(cls, name: str, encoder: Encoder) -> "LocalCatalogue":
        """A new, empty catalogue for that model's embeddings. Raises CatalogueError when there is one; StorageError."""
        card = encoder.card
        with making(name) as made:
            storage.write_bytes(made / "model.onnx", encoder.content)
            Store.create(made / "catalogue.sqlite", Meta(card.identity, card.name, card.embedding, 0, 0, 0, 0))
        return cls.open(name)

    @classmethod
    def open(cls, name: str) -> "LocalCatalogue":
        """The catalogue of that name. Raises CatalogueError: there is none, it is not ours, it is too new, it is
        damaged.
        """
        if not exists(name):
            there = f"there are {', '.join(names())}" if names() else "there is none yet"
            raise CatalogueError(
                f"There is no catalogue {name!r} ({there}); make it with `vitrine index add`, or the one of the demo"
                " with `vitrine demo`."
            )
        return cls.within(folder(name), name)

    @classmethod
    def within(cls, place: Path, name: str) -> "LocalCatalogue":
        """The catalogue in that folder, which does not have its name yet: see `making`. Raises as `open`."""
        path = place / "catalogue.sqlite"
        with _final(name, path):
            return cls(name, Store.open(name, path))

    def __enter__(self) -> "LocalCatalogue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()

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
        meta = self._meta()
        self._check_unmoved(meta)
        dimensions = meta.dimensions
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
        with self._told():
            return self._store.add(items)

    def remove(self, ids: Iterable[int]) -> int:
        with self._told():
            return self._store.remove(ids)

    def refresh(self, items: Iterable[Known]) -> None:
        with self._told():
            self._store.refresh(items)

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
            for index in self._indexes(meta):
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
            _kind(meta),
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
                if _is_stale(part):
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
                self._store.change_model(card.identity, card.name, card.embedding, collected.vectors())
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
                self._store.want_index(kind)

    def save_index(self) -> None:
        """Make the index ready for the next opening: bring it up to date, make it anew where it is worn, and write it
        where its file has fallen behind.
        """
        with self._told(), self._store.reading():
            meta = self._store.meta()
            index = self._current(meta)
            if _worn(index, meta):
                index = self._index = self._build(meta)
            elif index.unsaved > _BEHIND:
                self._write(index)
        if not index.unsaved and self._store.writable:
            with suppress(VitrineError), self._told():  # it may wait
                self._store.forget_removed(index.generation)

    def check(self, progress: Progress = silent) -> Damage:
        """Read everything and say what the disk has damaged. Raises CatalogueError when nothing can be read."""
        with _final(self.name, self._place):
            meta, readable = self._meta_or_guess()
            found = damage.check(self._store, meta, progress)
        return found if readable else replace(found, problem="what it says of itself cannot be read")

    def check_index(self) -> bool:
        """Read the whole index file. False where it is damaged, or cannot be used for another reason; then it is made
        anew.
        """
        with self._told(), self._store.reading():
            try:
                for path in self._place.glob("index-*.faiss"):
                    VectorIndex.load(path, whole=True)
            except CatalogueError:
                self._index = self._build(self._store.meta())
                return False
        return True

    def repair(self, progress: Progress = silent) -> tuple[Lost, ...]:
        """Make a damaged catalogue whole again, without the items that it has lost, which are returned: they can be
        added again from where they came. One that is sound is left as it is.
        """
        with _final(self.name, self._place), self._store.alone():
            found = self.check(progress)
            if found.found:
                damage.rebuild(self._store, self._meta_or_guess()[0])
                self._index = None
            return found.lost

    def _indexes(self, meta: Meta) -> Iterator[VectorIndex]:
        """The index; and, for whoever finds that it is one of other items, one that is made anew."""
        yield self._current(meta)
        self._index = self._build(meta)
        yield self._index

    def _current(self, meta: Meta) -> VectorIndex:
        """The index as of the last write: the one in memory or the one in the file, caught up, else a new one."""
        index, self._index = self._index, None  # what is half caught up is lost
        if index is None or not self._catch_up(index, meta):
            index = self._read()
            if index is None or not self._catch_up(index, meta):
                index = self._build(meta)
        self._index = index
        return index

    def _read(self) -> VectorIndex | None:
        """The index in the file, if there is a sound one."""
        for path in sorted(self._place.glob("index-*.faiss")):
            with suppress(CatalogueError):
                index = VectorIndex.load(path)
                if path == self._index_path(index.generation):
                    return index
        return None

    def _catch_up(self, index: VectorIndex, meta: Meta) -> bool:
        """Put in and take out what came and went since that index was made; False where that cannot be told, or is
        more work than a new one.
        """
        if index.dimensions != meta.dimensions or index.generation > meta.generation:
            return False
        if index.generation < meta.generation:
            gone = self._store.removed_since(index.generation)
            if gone is None:
                return False
            index.remove(gone)
            if meta.items > 2 * len(index):
                return False
            for block in self._store.blocks(index.last):
                index.add(block.ids, block.vectors)
            index.generation = meta.generation
        return len(index) == meta.items

    def _build(self, meta: Meta) -> VectorIndex:
        """An index of the items as they are, written into its file."""

        def blocks() -> Iterator[Block]:
            return ((block.ids, block.vectors) for block in self._store.blocks())

        index = VectorIndex.build(_kind(meta), meta.dimensions, blocks, meta.items)
        index.generation = meta.generation
        self._write(index)
        return index

    def _write(self, index: VectorIndex) -> None:
        """Write the index into its file, in place of older ones, if the disk lets us: without it the next opening
        takes longer, no more.
        """
        path = self._index_path(index.generation)
        with suppress(StorageError, RuntimeError, OSError):
            index.save(path, index.generation)
            for old in self._place.glob("index-*.faiss"):
                if old != path:
                    old.unlink()

    def _index_path(self, generation: int) -> Path:
        return self._place / f"index-{generation}.faiss"

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
            with _translated(self.name, self._place):
                yield
        except Unsound as error:
            found = self.check()
            if found.found:
                raise CatalogueError(sentence(self.name, found)) from error
            raise CatalogueError(
                f"The catalogue {self.name!r} refused ({error}), and nothing in it is damaged; run it again."
            ) from error


def _kind(meta: Meta) -> Kind:
    """The kind of index for that catalogue: the one that was asked for, or by its size."""
    for kind in index_kinds.KINDS:
        if kind == meta.index:
            return kind
    return index_kinds.choose(meta.items, meta.dimensions, storage.memory() // 2)


def _worn(index: VectorIndex, meta: Meta) -> bool:
    """Whether a new index would be better."""
    return index.kind != _kind(meta) or index.garbage > _GARBAGE or index.outgrown


def sentence(name: str, found: Damage) -> str:
    """What a damaged catalogue has lost, and what to do."""
    more = len(found.lost) > _NAMED
    return (
        f"The catalogue {name!r} is damaged on the disk"
        f" ({found.problem or 'checksums are wrong'}); {named(found.lost)};"
        f" `vitrine index sync FOLDER --catalogue {name}` mends it and brings back what still lies in FOLDER"
        + (f" (all that is lost: `vitrine index verify {name} --json`)." if more else ".")
    )


def named(lost: Sequence[Lost]) -> str:
    """Which items are lost, as a part of a sentence."""
    if not lost:
        return "no item is known to be lost"
    shown = ", ".join(f"{one.id} ({one.source or 'its source cannot be read'})" for one in lost[:_NAMED])
    more = f" and {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
    return f"{len(lost):,} {'item is' if len(lost) == 1 else 'items are'} lost: {shown}{more}"


@contextmanager
def making(name: str) -> Iterator[Path]:
    """An empty folder that becomes the catalogue of that name if all goes well, and goes away if not.

    Raises CatalogueError when there is one already; StorageError.
    """
    place = folder(name)
    if exists(name):
        raise CatalogueError(f"There is a catalogue {name!r} already; choose another name.")
    _sweep(place.parent)
    made = storage.make_folder(place.with_name(f".new-{uuid.uuid4().hex}"))
    try:
        with _final(name, place):
            yield made
        made.rename(place)
        storage.settle(place.parent)
    except OSError as error:
        if exists(name):
            raise CatalogueError(f"Another program has just made a catalogue {name!r}; run it again.") from error
        if place.exists():
            raise CatalogueError(
                f"{place} is in the way of the catalogue {name!r}; choose another name, or delete it with"
                f" `vitrine index remove {name} --all`."
            ) from error
        raise storage.disk_error(error, place) from error
    finally:
        with suppress(StorageError):
            storage.remove_folder(made)


def delete(name: str, only_empty: bool = False) -> None:
    """Delete a whole catalogue, a damaged one too; or only if it holds no items. Raises CatalogueError when there is
    none, or somebody else writes; StorageError.
    """
    place = folder(name)
    if not place.is_dir():
        raise CatalogueError(f"There is no catalogue {name!r}; see `vitrine index list`.")
    if place.is_symlink():
        raise CatalogueError(f"{place} is a link; delete the link and what it points to by hand.")
    gone = place.with_name(f".gone-{uuid.uuid4().hex}")  # first out of sight as a whole: half a catalogue is never seen
    with _translated(name, place), ExitStack() as lock:
        lock.enter_context(writer_lock(place))  # nobody is at it, and whoever waits finds that it is gone
        if only_empty:
            with LocalCatalogue.open(name) as there:
                if len(there):
                    return
        if os.name == "nt":
            lock.close()  # there, what holds a lock cannot be moved
        try:
            place.rename(gone)
        except OSError as error:
            raise storage.disk_error(error, place) from error
    for leftover in place.parent.glob(".gone-*"):  # one that could not be deleted before, too
        storage.remove_folder(leftover)
    _sweep(place.parent)


def _sweep(catalogues: Path) -> None:
    """Delete what programs that were killed were making."""
    for made in catalogues.glob(".new-*"):
        if all(_is_stale(path) for path in (made, *made.glob("*"))):
            with suppress(StorageError):
                storage.remove_folder(made)


def _is_stale(path: Path) -> bool:
    """Whether nobody has written there for so long that nobody will."""
    try:
        return time.time() - path.stat().st_mtime > _STALE
    except OSError:
        return False


@contextmanager
def _final(name: str, path: Path) -> Iterator[None]:
    """As `_translated`, where nothing can be saved from damage."""
    try:
        with _translated(name, path):
            yield
    except Unsound as error:
        raise CatalogueError(
            f"The catalogue in {path} is damaged beyond reading ({error}); delete it with `vitrine index remove {name}"
            " --all` and add the pictures anew."
        ) from error


@contextmanager
def _translated(name: str, path: Path) -> Iterator[None]:
    """SQLite's refusals as ours; where pages are damaged, Unsound. A catalogue that is closed, or used by another
    thread than opened it, is the caller's mistake: sqlite3.ProgrammingError.
    """
    try:
        yield
    except (VitrineError, Unsound, sqlite3.ProgrammingError):
        raise
    except OverflowError as error:
        raise InputError(f"A number is too large for a catalogue ({error}); ids are below 2^63.") from error
    except UnicodeEncodeError as error:
        raise CatalogueError(
            f"{error.object!r} is no text in UTF-8, as all is in a catalogue; name something else."
        ) from error
    except sqlite3.DatabaseError as error:
        text = str(error)
        if any(sign in text for sign in ("malformed", "Could not decode", "not a database", "UNIQUE constraint")):
            raise Unsound(text) from error
        if "locked" in text or "busy" in text:
            raise CatalogueError(
                f"Another program is writing to the catalogue in {path}; wait for it to end and run it again."
            ) from error
        if "full" in text:
            raise StorageError(
                f"Cannot write {path}: the disk is full; free some space and run it again. What was in the catalogue is"
                " still there."
            ) from error
        if "readonly" in text or "read-only" in text:
            raise StorageError(
                f"Cannot write {path}: it is read-only; choose another place with VITRINE_HOME."
            ) from error
        if "disk I/O" in text or "unable to open" in text:
            raise StorageError(
                f"Cannot use {path}: the disk refuses ({text}); see whether it is full, read-only or failing, and run"
                " it again. What was in the catalogue is still there."
            ) from error
        raise CatalogueError(f"The catalogue in {path} refused ({text}); see `vitrine index verify {name}`.") from error
