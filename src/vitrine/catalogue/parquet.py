"""A catalogue as one Parquet file, which pandas and other programs read, and a catalogue from such a file.

Columns: id, source, label, content, added, vector, thumbnail, and one for each column of the CSV. What model made the
vectors is in the file's metadata, under the key "vitrine"; docs/file-formats.md has all of it. Both ways go through the
file in batches. Needs pyarrow, which comes with the extra [parquet].
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrine import images, storage
from vitrine.catalogue import Catalogue, Columns, Entry, Item, Known, Vectors, copies, folders
from vitrine.catalogue.damage import Whole
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.tables import LARGEST_ID, Meta, Row
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, DataError
from vitrine.progress import Progress, silent

FORMAT_VERSION = 1

_KEY = b"vitrine"
_BATCH = 5_000  # items of a row group: some 10 MB
_TIME = pa.timestamp("ms", "UTC")
_EPOCH = datetime(1970, 1, 1)
_TEXTS = ("source", "label", "content")
_UNIT = 1e-3  # how far from 1 the length of a vector may be

Kind = Literal["integer", "number", "text", "mixed"]
_TYPES = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string(), "mixed": pa.string()}


@dataclass(frozen=True)
class Facts:
    """What a file says of itself. model, identity: see `ModelCard`. dimensions: of a vector. last: the highest id that
    was ever given. columns: the Parquet name of each column of the CSV to its name there and what it holds.
    """

    model: str
    identity: str
    dimensions: int
    items: int
    last: int
    columns: dict[str, tuple[str, Kind]]

    def to_json(self) -> dict[str, Any]:
        columns = {name: {"name": own, "kind": kind} for name, (own, kind) in self.columns.items()}
        return {"format_version": FORMAT_VERSION, **vars(self), "columns": columns}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Facts":
        """Raises KeyError, TypeError, ValueError for what is not like that."""
        columns = {name: (str(one["name"]), one["kind"]) for name, one in fields["columns"].items()}
        dimensions, items, last = (int(fields[key]) for key in ("dimensions", "items", "last"))
        if last > LARGEST_ID:
            raise ValueError(f"an id {last}")
        return cls(str(fields["model"]), str(fields["identity"]), dimensions, items, last, columns)


# --- writing


def export(catalogue: Catalogue, path: Path, thumbnails: bool = True, progress: Progress = silent) -> int:
    """Write every item into a Parquet file at `path`, in place of an older one, and return how many they are.

    Raises StorageError, CatalogueError where somebody writes to it and it cannot be read as of one moment, and what
    the catalogue raises; then there is no new file.
    """
    with catalogue.reading(), storage.writing(path) as part:
        info = catalogue.info()
        columns = _columns(catalogue.listed())
        facts = Facts(info.model, info.identity, info.dimensions, info.items, catalogue.last(), columns)
        schema = _schema(facts, thumbnails)
        done = 0
        # opened here, for pyarrow takes no path that is not UTF-8
        with (
            open(part, "wb") as file,
            pq.ParquetWriter(
                file, schema, compression="zstd", use_dictionary=["label"], write_page_checksum=True
            ) as writer,
        ):
            items = catalogue.entries()
            while batch := list(islice(items, _BATCH)):
                writer.write_batch(_record_batch(batch, facts, schema))
                done += len(batch)
                progress(done, info.items)
        if done != info.items:
            raise CatalogueError(f"{catalogue.name!r} has changed while it was read; run it again when nobody writes.")
    return done


def _columns(items: Iterable[Known]) -> dict[str, tuple[str, Kind]]:
    """The columns of the CSV under names that no other column has, in capitals or not, as some programs want it."""
    kinds: dict[str, set[str]] = {}
    for item in items:
        for name, cell in (item.columns or {}).items():
            kinds.setdefault(name, set()).add(_type(cell))
    taken = {field.name for field in _schema(Facts("", "", 1, 0, 0, {}), True)}
    columns: dict[str, tuple[str, Kind]] = {}
    for own in sorted(kinds):
        name = own
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        columns[name] = own, _kind(kinds[own])
    return columns


def _type(cell: str | int | float) -> str:
    """What a cell holds; "large": a whole number that float64 cannot tell from its neighbours."""
    if isinstance(cell, int):
        if not _fits(cell):
            return "text"
        return "integer" if abs(cell) <= 2**53 else "large"
    return "number" if isinstance(cell, float) else "text"


def _kind(seen: set[str]) -> Kind:
    if "text" in seen or {"number", "large"} <= seen:
        return "text" if seen == {"text"} else "mixed"
    return "number" if "number" in seen else "integer"


def _fits(cell: float) -> bool:
    """Whether Parquet has room for such a whole number; what is larger becomes a text."""
    return -(2**63) <= cell < 2**63


def _schema(facts: Facts, thumbnails: bool) -> pa.Schema:
    fields = [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("content", pa.string(), nullable=False),
        pa.field("added", _TIME, nullable=False),
        pa.field("vector", pa.list_(pa.float32(), facts.dimensions), nullable=False),
        *([pa.field("thumbnail", pa.binary(), nullable=False)] if thumbnails else []),
        *(pa.field(name, _TYPES[kind]) for name, (_, kind) in facts.columns.items()),
    ]
    return pa.schema(fields, metadata={_KEY: json.dumps(facts.to_json(), ensure_ascii=False)})


def _record_batch(batch: list[Entry], facts: Facts, schema: pa.Schema) -> pa.RecordBatch:
    items = [entry.item for entry in batch]
    vectors = np.stack([item.vector for item in items]).astype(np.float32, copy=False).ravel()
    values: dict[str, Any] = {
        "id": [entry.id for entry in batch],
        "source": [item.source for item in items],
        "label": [item.label for item in items],
        "content": [item.content for item in items],
        "added": [datetime.fromisoformat(entry.added) for entry in batch],
        "thumbnail": [item.thumbnail for item in items],
    }
    cells = [item.columns or {} for item in items]
    for name, (own, kind) in facts.columns.items():
        found = [one.get(own) for one in cells]
        plain = kind in ("integer", "number")
        values[name] = found if plain else [None if cell is None else _shown(cell) for cell in found]
    values["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors), facts.dimensions)
    arrays = [
        values[field.name] if field.name == "vector" else pa.array(values[field.name], field.type) for field in schema
    ]
    return pa.record_batch(arrays, schema=schema)


# --- reading


def facts_of(path: Path) -> Facts:
    """What the file says of itself. Raises DataError: missing, no Parquet, none of ours, too new."""
    with _opened(path) as file:
        return _facts(file, path)


def load(path: Path, name: str, encoder: Encoder, progress: Progress = silent) -> None:
    """A new catalogue on this machine of what is in the file, with the same ids. encoder: the model that made the
    vectors.

    Raises DataError for a file that is damaged or that says what cannot be, CatalogueError where there is a catalogue
    of that name, for the vectors of another model, and for an id or a source that is there twice; StorageError. Then
    there is no new catalogue.
    """
    with _opened(path) as file:
        said = _facts(file, path)
        _check_model(said, encoder, path)
        card = encoder.card
        with folders.making(name) as made:
            storage.write_bytes(made / "model.onnx", encoder.content)
            meta = Meta(card.identity, card.name, card.embedding, 1, 0, said.last, 1)
            copies.write(made / "catalogue.sqlite", meta, _items(file, said, path, progress))
            with LocalCatalogue.within(made, name) as loaded:
                loaded.save_index()


def entries(path: Path, encoder: Encoder, progress: Progress = silent) -> Iterator[Entry]:
    """Every item in the file, for a catalogue elsewhere. Raises DataError; CatalogueError as `load`."""
    with _opened(path) as file:
        said = _facts(file, path)
        _check_model(said, encoder, path)
        ids: set[int] = set()
        sources: set[str] = set()
        for whole in _items(file, said, path, progress):
            row = whole.row
            if row.id in ids or row.source in sources:
                what = f"the id {row.id}" if row.id in ids else f"the source {row.source!r}"
                raise CatalogueError(f"Two of the items have {what}; each can be there only once.")
            ids.add(row.id)
            sources.add(row.source)
            vector = np.frombuffer(row.vector, "<f4").astype(np.float32)
            item = Item(row.source, row.label, row.content, vector, whole.thumbnail, row.cells(), whole.stamp)
            yield Entry(row.id, row.added, item)


def _check_model(said: Facts, encoder: Encoder, path: Path) -> None:
    """Raises CatalogueError where another model made the vectors."""
    card = encoder.card
    if (said.identity, said.dimensions) != (card.identity, card.embedding):
        raise CatalogueError(
            f"The vectors in {path} are of the model {said.model} ({said.identity[:8]}, {said.dimensions} numbers),"
            f" not of {card.name} ({card.identity[:8]}, {card.embedding}); name the model that made them."
        )


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Raises DataError."""
    if not path.is_file():
        raise DataError(f"There is no file {path}; name one that `vitrine index export` wrote.")
    with ExitStack() as opened:
        with readable(path):
            source = opened.enter_context(open(path, "rb"))  # pyarrow takes no path that is not UTF-8
            file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
        yield opened.enter_context(file)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What pyarrow says of a file that it cannot read, as a DataError."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be read as Parquet ({reason}); it is damaged or of another kind: export it again."
        ) from error


def _facts(file: pq.ParquetFile, path: Path) -> Facts:
    written = (file.schema_arrow.metadata or {}).get(_KEY)
    if written is None:
        raise DataError(
            f"{path} was not written by `vitrine index export`: its metadata does not say what model made the vectors;"
            " keep the schema's metadata when another program writes the file again."
        )
    try:
        fields = json.loads(written)
        version = int(fields["format_version"])
        if version > FORMAT_VERSION:
            raise DataError(
                f"{path} has format {version}, newer than this vitrine knows ({FORMAT_VERSION}); update vitrine."
            )
        return Facts.from_json(fields)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} has metadata that makes no sense ({error!r}); export it again.") from error


def _items(file: pq.ParquetFile, said: Facts, path: Path, progress: Progress) -> Iterator[Whole]:
    """Every row as an item. Raises DataError."""
    names = _names(file, said, path)
    total, done = file.metadata.num_rows, 0
    batches = file.iter_batches(_BATCH, columns=["id", *_TEXTS, "added", "vector", *names])
    while True:
        with readable(path):
            batch = next(batches, None)
            if batch is None:
                return
            items = list(_whole(batch, said, names, path))
        yield from items
        done += len(items)
        progress(done, total)


def _names(file: pq.ParquetFile, said: Facts, path: Path) -> list[str]:
    """The columns that may be there: thumbnails, and what becomes a column of the CSV."""
    schema = file.schema_arrow
    needed = ("id", *_TEXTS, "added", "vector")
    missing = [name for name in needed if name not in schema.names]
    if missing:
        raise DataError(f"{path} has no column {missing[0]}; needed are {', '.join(needed)}.")
    if len(set(schema.names)) < len(schema.names):
        raise DataError(f"{path} has two columns of the same name; give each its own.")
    names = [name for name in schema.names if name not in needed]
    for name in names:
        kind = schema.field(name).type
        if name != "thumbnail" and cell_reader(kind) is None:
            raise DataError(f"{path} has a column {name} of {kind}; allowed are texts and numbers: leave it out.")
    return names


def _whole(batch: pa.RecordBatch, said: Facts, names: list[str], path: Path) -> Iterator[Whole]:
    """The items of a batch. Raises DataError, and pyarrow's own errors for columns of other types."""
    vectors = _vectors(batch.column("vector"), said.dimensions, path)
    ids = _complete(batch, "id", pa.int64(), path)
    sources, contents = (_complete(batch, name, pa.string(), path) for name in ("source", "content"))
    labels = batch.column("label").cast(pa.string()).to_pylist()
    times = _complete(batch, "added", _TIME, path).cast(pa.int64())
    cells = _cells(batch, said, names)
    thumbnails = _thumbnails(batch)
    for place, (id, source) in enumerate(zip(ids.to_pylist(), sources.to_pylist(), strict=True)):
        if not 1 <= id <= LARGEST_ID or not source:
            raise DataError(f"{path} has an item with the id {id} and the source {source!r}; ids go from 1 to 2^62.")
        added = _written_time(times[place].as_py(), id, path)
        columns = json.dumps(cells[place], ensure_ascii=False) if cells[place] else None
        vector = vectors[place].tobytes()
        row = Row(id, source, labels[place], contents[place].as_py(), added, columns, None, None, vector)
        yield Whole(row, None, thumbnails[place])


def _cells(batch: pa.RecordBatch, said: Facts, names: list[str]) -> list[Columns]:
    """What the columns of the CSV say of each item."""
    cells: list[Columns] = [{} for _ in range(len(batch))]
    for name in names:
        if name == "thumbnail":
            continue
        column = batch.column(name)
        own, kind = said.columns.get(name, (name, None))
        reader = cell_reader(column.type) or _text
        read = _mixed if kind == "mixed" and reader is _text else reader
        for row, cell in zip(cells, column.to_pylist(), strict=True):
            value = None if cell is None else read(cell)
            if value is not None:
                row[own] = value
    return cells


def _thumbnails(batch: pa.RecordBatch) -> list[bytes]:
    """A picture for each item; plain grey where the file has none."""
    grey = images.blank()
    if "thumbnail" not in batch.schema.names:
        return [grey] * len(batch)
    return [given or grey for given in batch.column("thumbnail").cast(pa.binary()).to_pylist()]


def _written_time(milliseconds: int, id: int, path: Path) -> str:
    """As catalogues keep times."""
    try:
        return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="seconds") + "Z"
    except OverflowError as error:
        raise DataError(f"{path}: the item {id} was added at no time that there is ({milliseconds}).") from error


def _complete(batch: pa.RecordBatch, name: str, kind: pa.DataType, path: Path) -> pa.Array:
    column = batch.column(name)
    if column.null_count:
        raise DataError(f"{path} has items without {name}; fill it in, or leave them out.")
    return column.cast(kind)


def _vectors(column: pa.Array, dimensions: int, path: Path) -> Vectors:
    """(n, d) little-endian float32. Raises DataError for vectors of another size, or not of length 1."""
    if column.null_count:
        raise DataError(f"{path} has items without vector; leave them out.")
    listed = column.cast(pa.list_(pa.float32()))
    flat = listed.flatten()
    lengths = set(listed.value_lengths().unique().to_pylist())
    if lengths - {dimensions} or flat.null_count:
        raise DataError(f"{path} has vectors of {sorted(lengths)} numbers; its model makes {dimensions}.")
    vectors: Vectors = flat.to_numpy(zero_copy_only=False).reshape(len(column), dimensions).astype("<f4")
    lengths_off = np.abs(np.linalg.norm(vectors, axis=1) - 1)
    if not (lengths_off <= _UNIT).all():
        raise DataError(f"{path} has vectors that are not of length 1, or not finite; export it again.")
    return vectors


Reader = Callable[[Any], str | int | float | None]


def cell_reader(kind: pa.DataType) -> Reader | None:
    """How to read a cell of a column of that type, or None where it becomes no column of a CSV."""
    if pa.types.is_integer(kind):
        return int
    if pa.types.is_floating(kind):
        return _finite
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text
    return None


def _finite(cell: float) -> float | None:
    """What is missing is written as not a number by pandas."""
    return cell if math.isfinite(cell) else None


def _text(cell: str) -> str | None:
    return cell or None


def _shown(cell: str | int | float) -> str:
    """A cell of a column that holds texts, too: numbers without an exponent, as those of a CSV."""
    return np.format_float_positional(cell, trim="0") if isinstance(cell, float) else str(cell)


def _mixed(cell: str) -> str | int | float | None:
    """What was written by `_shown`.

    >>> [_mixed(cell) for cell in ("38", "39.5", "S", "007", "nan", "1e+16")]
    [38, 39.5, 'S', '007', 'nan', '1e+16']
    """
    for kind, good in ((int, _fits), (float, math.isfinite)):
        with suppress(ValueError):
            value = kind(cell)
            if good(value) and _shown(value) == cell:
                return value
    return cell or None
