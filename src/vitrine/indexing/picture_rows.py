"""A Parquet file of pictures, row by row, as other programs write it.

The pictures are a column of bytes, each a whole picture file, or, as Hugging Face's data sets have it, a struct with
such `bytes`; or a column called `file`, `filename`, `source` or `path` names their files, relative to the Parquet file.
Beside bytes such a column, or `id`, names the picture; else its row does. `label` is the class, as a text or a number
(Hugging Face's metadata may say what the numbers mean); other columns of texts and numbers are columns of the items,
and what is neither is passed over. docs/catalogue.md says it to users. Needs pyarrow.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrine.catalogue import Columns, parquet
from vitrine.datasets import csv_lines
from vitrine.errors import DataError, InputError
from vitrine.indexing.reading import GRAIN, Given, Place, Refused, Wanted, look

FILES = (*csv_lines.FILE_COLUMNS, "path")
_NAMES = (*FILES, "id")
_PICTURES = ("image", "picture", "bytes")
_TOGETHER = 50  # rows of pictures that are read at once
_BUFFER = 2**20  # bytes that are read at once


@dataclass(frozen=True)
class PictureRows:
    """What a Parquet file says of its pictures, all but the pictures. begins: how their sources begin. pictures: the
    column of bytes, by Parquet's name; None where files are named. stamp: what the file looked like.
    """

    path: str
    stamp: str
    changed: float
    begins: str
    pictures: str | None
    rows: dict[str, int]
    firsts: list[int]
    sizes: list[int]
    table: pa.Table
    label_names: Sequence[str]

    @classmethod
    def read(cls, path: str) -> "PictureRows":
        """Raises DataError for what is no Parquet; InputError where it has no pictures, or the columns do not say what
        is meant.
        """
        path = os.path.abspath(path)
        stamp, changed = look(path)
        with _opened(path) as file:
            schema = file.schema_arrow
            pictures = _picture_column(schema, path)
            named = _named(schema, FILES if pictures is None else _NAMES)
            _check(schema, pictures, named, path)
            columns = [field.name for field in schema if field.name == named or _is_cell(field)]
            with parquet.readable(Path(path)):
                table = file.read(columns=columns)
                sources = _sources(table, named, path, pictures, file.metadata.num_rows)
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        firsts = np.cumsum([0, *(group.num_rows for group in groups)]).tolist()
        sizes = [_size(group, pictures) for group in groups]
        begins = path + "#" if pictures else os.path.commonpath(sources or [path])
        kept = table.drop_columns([named]) if named else table
        rows = _by_source(sources, path)
        return cls(path, stamp, changed, begins, pictures, rows, firsts, sizes, kept, _label_names(schema))

    @cached_property
    def sources(self) -> list[str]:
        """In code point order."""
        return sorted(self.rows)

    def place(self, source: str) -> Place | None:
        """Where its bytes are; None where it is a file of its own."""
        if self.pictures is None:
            return None
        row = self.rows[source]
        group = int(np.searchsorted(self.firsts, row, "right")) - 1
        return Place(self.path, group, row - self.firsts[group], self.pictures, self.stamp, self.sizes[group])

    def label(self, source: str) -> str | None:
        name = _named(self.table.schema, ("label",))
        cell = self.table.column(name)[self.rows[source]].as_py() if name else None
        if isinstance(cell, int) and 0 <= cell < len(self.label_names):
            return self.label_names[cell]
        return None if cell is None or cell == "" else str(cell)

    def columns(self, source: str) -> Columns | None:
        row, cells = self.rows[source], {}
        for name, reader in self._readers:
            cell = self.table.column(name)[row].as_py()
            value = None if cell is None else reader(cell)
            if value is not None:
                cells[name] = value
        return cells or None

    @cached_property
    def _readers(self) -> list[tuple[str, Callable[[Any], str | int | float | None]]]:
        found = ((field.name, parquet.cell_reader(field.type)) for field in self.table.schema)
        return [(name, reader) for name, reader in found if reader and name.lower() != "label"]


def loaded(wanted: Iterable[Wanted]) -> Iterator[Wanted]:
    """Pictures that have a place, in the order of these, each with its bytes. Raises DataError."""
    for (path, column), of_file in groupby(wanted, key=lambda one: (_place(one).path, _place(one).column)):
        with _opened(path) as file:
            for group, of_group in groupby(of_file, key=lambda one: _place(one).group):
                yield from _of_group(file, group, column, list(of_group))


def _place(wanted: Wanted) -> Place:
    if wanted.place is None:
        raise ValueError(f"{wanted.file} has no place")
    return wanted.place


def _of_group(file: pq.ParquetFile, group: int, column: str, wanted: Sequence[Wanted]) -> Iterator[Wanted]:
    path = _place(wanted[0]).path
    batches = file.iter_batches(_TOGETHER, row_groups=[group], columns=[column])
    first, rest = 0, iter(wanted)
    one = next(rest, None)
    while one is not None:
        with parquet.readable(Path(path)):
            batch = next(batches)
            array = batch.column(0)
            array = array.field(0) if pa.types.is_struct(array.type) else array
            stamp, changed = look(path)
            sure = stamp == _place(one).stamp and time.time() - changed > GRAIN
        while one is not None and _place(one).row < first + len(array):
            yield _with_bytes(one, array[_place(one).row - first].as_py(), sure)
            one = next(rest, None)
        first += len(array)


def _with_bytes(wanted: Wanted, written: bytes | None, sure: bool) -> Wanted:
    stamp = _place(wanted).stamp if sure else None
    given = Refused(stamp, f"{wanted.file} has no picture.") if written is None else Given(written, stamp)
    return Wanted(wanted.file, wanted.known, wanted.columns, wanted.place, given)


# --- the columns


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    if not os.path.isfile(path):
        raise DataError(f"There is no file {path}; name a folder of pictures, or a Parquet file.")
    with ExitStack() as opened:
        with parquet.readable(Path(path)):
            source = opened.enter_context(open(path, "rb"))
            file = pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER)
        yield opened.enter_context(file)


def _picture_column(schema: pa.Schema, path: str) -> str | None:
    """The column with the pictures' bytes, as Parquet calls it."""
    if b"vitrine" in (schema.metadata or {}):
        raise InputError(
            f"{path} was written by `vitrine index export`; make a catalogue of it with `vitrine index import`."
        )
    found = [name for field in schema if (name := _bytes_of(field))]
    if len(found) < 2:
        return found[0] if found else None
    meant = [name for name in found if name.partition(".")[0].lower() in _PICTURES]
    if len(meant) != 1:
        raise InputError(
            f"{path} has several columns of bytes ({', '.join(found)}); call the one with the pictures `image`, and the"
            " others otherwise."
        )
    return meant[0]


def _bytes_of(field: pa.Field) -> str | None:
    if _is_bytes(field.type):
        return str(field.name)
    if pa.types.is_struct(field.type) and any(inner.name == "bytes" and _is_bytes(inner.type) for inner in field.type):
        return f"{field.name}.bytes"
    return None


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_cell(field: pa.Field) -> bool:
    return parquet.cell_reader(field.type) is not None


def _named(schema: pa.Schema, names: Sequence[str]) -> str | None:
    """The column that has one of those names, in capitals or not: the first of them."""
    for name in names:
        for field in schema:
            if field.name.lower() == name and (_is_text(field.type) or _is_cell(field)):
                return str(field.name)
    return None


def _check(schema: pa.Schema, pictures: str | None, named: str | None, path: str) -> None:
    names = [name.lower() for name in schema.names]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"{path} has two columns called {min(twice)}, in capitals or not; give each its own name.")
    if pictures is None and (named is None or not _is_text(schema.field(named).type)):
        raise InputError(
            f"{path} has no pictures: neither a column of bytes nor one of file names, called"
            f" {', '.join(FILES[:-1])} or {FILES[-1]}; its columns are {', '.join(schema.names) or 'none'}."
        )


def _sources(table: pa.Table, named: str | None, path: str, pictures: str | None, count: int) -> list[str]:
    """One for each row, of so many."""
    if named is None:
        return [f"{path}#{row}" for row in range(1, count + 1)]
    cells = table.column(named).to_pylist()
    for row, cell in enumerate(cells, 1):
        if cell is None or cell == "":
            raise InputError(f"{path}, row {row}: the column {named} is empty; fill it in or drop the row.")
    if pictures:
        return [f"{path}#{cell}" for cell in cells]
    return [csv_lines.place_of(cell, os.path.dirname(path)) for cell in cells]


def _by_source(sources: list[str], path: str) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, source in enumerate(sources):
        if rows.setdefault(source, row) != row:
            raise InputError(
                f"{path}, row {row + 1}: the picture {source} is in row {rows[source] + 1} already; keep one of"
                " the two."
            )
    return rows


def _label_names(schema: pa.Schema) -> Sequence[str]:
    """What Hugging Face says that the numbers in `label` mean."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = said[_named(schema, ("label",))]["names"]
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return ()


def _size(group: Any, pictures: str | None) -> int:
    """About how many bytes a picture of that row group has."""
    columns = (group.column(number) for number in range(group.num_columns))
    whole = sum(int(one.total_uncompressed_size) for one in columns if one.path_in_schema == pictures)
    return whole // max(1, int(group.num_rows))
