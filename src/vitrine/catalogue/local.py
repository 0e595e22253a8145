"""A catalogue on one machine, a folder of three files:

    catalogue.sqlite    the truth: items, vectors, thumbnails, the model that made them
    model.onnx          a copy of that model; queries are embedded by it
    index-N.faiss       the speed, as of the N-th write: rebuilt from the truth whenever it is missing or damaged

docs/file-formats.md gives the tables.
"""

import os
import re
import sqlite3
import time
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue import Info, Item, Match, Vectors
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, StorageError, VitrineError

FORMAT_VERSION = 1
_APPLICATION_ID = 0x76697472  # "vitr", so that `file` and sqlite know whose it is

_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL UNIQUE,
    label TEXT,
    content TEXT NOT NULL,
    added TEXT NOT NULL
) STRICT;
CREATE TABLE vectors (id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE, vector BLOB NOT NULL) STRICT;
CREATE TABLE thumbnails (id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE, image BLOB NOT NULL) STRICT;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""

_TIES = 16  # extra neighbours asked of FAISS, so that equal scores at the end of the list are ordered by id too


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

    def __init__(self, name: str, connection: sqlite3.Connection) -> None:
        self.name = name
        self._place = folder(name)
        self._connection = connection
        self._loaded: tuple[int, faiss.IndexIDMap] | None = None  # generation, index

    @classmethod
    def create(cls, name: str, encoder: Encoder) -> "LocalCatalogue":
        """A new, empty catalogue for that model's embeddings. Raises CatalogueError when there is one; StorageError."""
        place = folder(name)
        facts = {
            "identity": encoder.card.identity,
            "model": encoder.card.name,
            "dimensions": str(encoder.card.embedding),
            "generation": "0",
        }
        if exists(name):
            raise CatalogueError(f"There is a catalogue {name!r} already; choose another name.")
        made = storage.make_folder(place.with_name(f".new-{uuid.uuid4().hex}"))  # takes its name when it is whole
        try:
            storage.write_bytes(made / "model.onnx", encoder.content)
            with _translated(place), closing(sqlite3.connect(made / "catalogue.sqlite")) as connection:
                connection.executescript(_TABLES)
                connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
                connection.commit()
            made.rename(place)
        except OSError as error:
            if place.exists():
                raise CatalogueError(
                    f"{place} is in the way of the catalogue {name!r}; choose another name, or delete it with"
                    f" `vitrine index remove {name} --all`."
                ) from error
            raise storage.disk_error(error, place) from error
        finally:
            with suppress(StorageError):
                storage.remove_folder(made)
        return cls.open(name)

    @classmethod
    def open(cls, name: str) -> "LocalCatalogue":
        """The catalogue of that name. Raises CatalogueError: there is none, it is not ours, it is too new, it is
        damaged.
        """
        path = folder(name) / "catalogue.sqlite"
        if not path.exists():
            there = f"there are {', '.join(names())}" if names() else "there is none yet"
            raise CatalogueError(
                f"There is no catalogue {name!r} ({there}); make it with `vitrine index add`, or the one of the demo"
                " with `vitrine demo`."
            )
        with _translated(path):
            connection = _connect(path)
            ours, version = (
                connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("application_id", "user_version")
            )
            if ours != _APPLICATION_ID:
                raise CatalogueError(f"{path} is not a catalogue of vitrine's; move it away.")
            if version > FORMAT_VERSION:
                raise CatalogueError(
                    f"The catalogue {name!r} has format {version}, newer than this vitrine knows ({FORMAT_VERSION});"
                    " update vitrine."
                )
        return cls(name, connection)

    def __enter__(self) -> "LocalCatalogue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def encoder(self) -> Encoder:
        """The model that made this catalogue. Raises ModelFileError when the copy is missing or damaged; CatalogueError
        when it is another.
        """
        encoder = Encoder.load(self._place / "model.onnx")
        self.check_model(encoder.card.identity, encoder.card.name)
        return encoder

    def check_model(self, identity: str, name: str) -> None:
        """Raises CatalogueError when embeddings of that model do not belong here."""
        if identity != self._meta("identity"):
            raise CatalogueError(
                f"The catalogue {self.name!r} was made by the model {self._meta('model')}"
                f" ({self._meta('identity')[:8]}) and takes no vectors of {name} ({identity[:8]}); use its own model,"
                f" add to a new catalogue, or delete this one with `vitrine index remove {self.name} --all`."
            )

    def add(self, items: Sequence[Item]) -> list[int]:
        dimensions = int(self._meta("dimensions"))
        for item in items:
            if item.vector.shape != (dimensions,) or not np.isfinite(item.vector).all():
                raise CatalogueError(
                    f"The vector of {item.source} has shape {item.vector.shape} or is not finite; the catalogue"
                    f" {self.name!r} takes ({dimensions},)."
                )
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ids = []
        with self._writing() as cursor:
            for item in items:
                cursor.execute("DELETE FROM items WHERE source = ?", (item.source,))
                cursor.execute(
                    "INSERT INTO items (source, label, content, added) VALUES (?, ?, ?, ?)",
                    (item.source, item.label, item.content, now),
                )
                ids.append(int(cursor.lastrowid or 0))
            cursor.executemany(
                "INSERT INTO vectors VALUES (?, ?)",
                ((id, np.asarray(item.vector, "<f4").tobytes()) for id, item in zip(ids, items, strict=True)),
            )
            cursor.executemany(
                "INSERT INTO thumbnails VALUES (?, ?)",
                ((id, item.thumbnail) for id, item in zip(ids, items, strict=True)),
            )
        return ids

    def remove(self, ids: Iterable[int]) -> int:
        with self._writing() as cursor:
            return sum(cursor.execute("DELETE FROM items WHERE id = ?", (id,)).rowcount for id in ids)

    def search(self, vectors: Vectors, k: int, threshold: float | None = None) -> list[list[Match]]:
        dimensions = int(self._meta("dimensions"))
        if vectors.ndim != 2 or vectors.shape[1] != dimensions:
            raise CatalogueError(
                f"The catalogue {self.name!r} is searched with vectors (n, {dimensions}); these are {vectors.shape}."
            )
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1.")
        index = self._index()
        if not index.ntotal:
            return [[] for _ in vectors]
        scores, ids = index.search(
            np.ascontiguousarray(vectors, np.float32), min(index.ntotal, k + _TIES)
        )  # (q, k + ties) each
        best = [_best(row_scores, row_ids, k, threshold) for row_scores, row_ids in zip(scores, ids, strict=True)]
        known = self._known({id for row in best for id, _ in row})
        return [[Match(id, score, known[id][0], known[id][1]) for id, score in row if id in known] for row in best]

    def contents(self) -> dict[str, str]:
        with _translated(self._place):
            return dict(self._connection.execute("SELECT source, content FROM items"))

    def vectors(self) -> tuple[npt.NDArray[np.int64], Vectors, list[str]]:
        with _translated(self._place):
            rows = self._connection.execute(
                "SELECT id, vector, source FROM items JOIN vectors USING (id) ORDER BY id"
            ).fetchall()
        table = np.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(len(rows), int(self._meta("dimensions")))
        return (
            np.array([row[0] for row in rows], np.int64),
            table.astype(np.float32, copy=False),
            [row[2] for row in rows],
        )

    def item(self, id: int) -> Item:
        with _translated(self._place):
            row = self._connection.execute(
                "SELECT source, label, content, vector, image FROM items JOIN vectors USING (id) JOIN thumbnails USING"
                " (id) WHERE id = ?",
                (id,),
            ).fetchone()
        if row is None:
            raise CatalogueError(f"The catalogue {self.name!r} has no item {id}.")
        return Item(row[0], row[1], row[2], np.frombuffer(row[3], "<f4").astype(np.float32), row[4])

    def info(self) -> Info:
        with _translated(self._place):
            items, labels = self._connection.execute("SELECT count(*), count(DISTINCT label) FROM items").fetchone()
        size = 0
        for path in self._place.iterdir():
            with suppress(FileNotFoundError):  # SQLite's own files come and go
                size += path.stat().st_size
        return Info(
            self.name,
            items,
            labels,
            self._meta("model"),
            self._meta("identity"),
            int(self._meta("dimensions")),
            "exact",
            size,
            FORMAT_VERSION,
        )

    def save_index(self) -> None:
        """Write the FAISS index for the next opening, where it is not up to date."""
        self._index()

    def _index(self) -> faiss.IndexIDMap:
        """The FAISS index as of the last write."""
        generation = int(self._meta("generation"))
        if self._loaded is None or self._loaded[0] != generation:
            path = self._place / f"index-{generation}.faiss"
            self._loaded = (generation, self._read_index(path) or self._build_index(path))
        return self._loaded[1]

    def _read_index(self, path: Path) -> faiss.IndexIDMap | None:
        """The index in that file, or None where it is missing, damaged, or of another collection."""
        if not path.exists():
            return None
        try:
            # by Python's own reading: FAISS cannot open every path on every system
            index = faiss.deserialize_index(np.fromfile(path, np.uint8))
        except (RuntimeError, MemoryError, OSError):  # what FAISS raises on a damaged file
            return None
        if not isinstance(index, faiss.IndexIDMap) or index.d != int(self._meta("dimensions")):
            return None
        return index if index.ntotal == self._count() else None

    def _count(self) -> int:
        with _translated(self._place):
            return int(self._connection.execute("SELECT count(*) FROM items").fetchone()[0])

    def _build_index(self, path: Path) -> faiss.IndexIDMap:
        """An index of the items as they are, written to that file in place of older ones."""
        ids, vectors, _ = self.vectors()
        index = faiss.IndexIDMap(faiss.IndexFlatIP(int(self._meta("dimensions"))))
        index.add_with_ids(vectors, ids)
        with suppress(
            StorageError, RuntimeError, OSError
        ):  # a disk that refuses costs the next opening a moment, no more
            storage.write_bytes(path, faiss.serialize_index(index).tobytes())
            for old in self._place.glob("index-*.faiss"):
                if old != path:
                    old.unlink()
        return index

    def _known(self, ids: set[int]) -> dict[int, tuple[str | None, str]]:
        """Id -> label and source."""
        with _translated(self._place):
            rows = (
                self._connection.execute("SELECT label, source FROM items WHERE id = ?", (id,)).fetchone() for id in ids
            )
            return {id: row for id, row in zip(ids, rows, strict=True) if row is not None}

    def _meta(self, key: str) -> str:
        with _translated(self._place):
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise CatalogueError(f"The catalogue {self.name!r} is damaged: it does not say its {key}; make it anew.")
        return str(row[0])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        """A transaction: all of it or nothing, and a new generation."""
        with _translated(self._place):
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise


def _best(scores: Vectors, ids: npt.NDArray[np.int64], k: int, threshold: float | None) -> list[tuple[int, float]]:
    """The first k ids with their scores, best first, equal scores by id."""
    order = np.lexsort((ids, -scores))[:k]
    return [(int(ids[i]), float(scores[i])) for i in order if threshold is None or scores[i] >= threshold]


def delete(name: str) -> None:
    """Delete a whole catalogue, a damaged one too. Raises CatalogueError when there is none; StorageError."""
    place = folder(name)
    if not place.is_dir():
        raise CatalogueError(f"There is no catalogue {name!r}; see `vitrine index list`.")
    if place.is_symlink():
        raise CatalogueError(f"{place} is a link; delete the link and what it points to by hand.")
    gone = place.with_name(f".gone-{uuid.uuid4().hex}")  # first out of sight as a whole: half a catalogue is never seen
    try:
        place.rename(gone)
    except OSError as error:
        raise storage.disk_error(error, place) from error
    for leftover in place.parent.glob(".gone-*"):  # one that could not be deleted before, too
        storage.remove_folder(leftover)


def _connect(path: Path) -> sqlite3.Connection:
    """A read-only disk still lets a catalogue be read."""
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    waiting = path.with_name(f"{path.name}-wal")
    mode = "rw" if writable else "ro" if waiting.exists() else "ro&immutable=1"  # in use, or left by a killed process
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5, isolation_level=None)
    if writable:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's refusals as ours."""
    try:
        yield
    except VitrineError:
        raise
    except (sqlite3.DatabaseError, UnicodeEncodeError, OverflowError) as error:
        text = str(error)
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
        raise CatalogueError(
            f"The catalogue in {path} refused ({text}); if it is damaged, delete its folder and add the pictures anew."
        ) from error
