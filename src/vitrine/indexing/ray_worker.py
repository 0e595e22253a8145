"""What runs on the machines of a Ray cluster: workers with their models, who reads pictures for them where they cannot,
and a look at whether they can. Nothing here is about Ray itself, but that the models come out of its object store.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

import vitrine
from vitrine import bridging, images
from vitrine.bridging import Bridge, View
from vitrine.catalogue import Known
from vitrine.choosing import Opened
from vitrine.encoder import Encoder
from vitrine.indexing.picture_rows import loaded
from vitrine.indexing.reading import PART, Decoded, Given, Place, Reader, Refused, Wanted, fetch
from vitrine.modelfile import ModelCard

TASKS = pa.schema(
    [
        ("number", pa.int64()),
        ("file", pa.string()),
        ("content", pa.string()),
        ("path", pa.string()),
        ("group", pa.int64()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("stamp", pa.string()),
        ("written", pa.large_binary()),
        ("reason", pa.string()),
    ]
)
"""A picture to be read, by its number. content: what the catalogue has for it, or null. path to stamp: its `Place`;
path is null where it is a file. written, with its stamp: its bytes, or in reason why there are none; null where it is
to be read by who embeds it.
"""

ANSWERS = pa.schema(
    [
        ("number", pa.int64()),
        ("content", pa.string()),
        ("stamp", pa.string()),
        ("thumbnail", pa.binary()),
        ("vector", pa.binary()),
        ("reason", pa.string()),
    ]
)
"""What became of it. vector: float32, little-endian; null where the content is known. reason: why it was refused."""

_PART = "part"


def packed(table: pa.Table) -> pa.Table:
    """A table as the only cell of another: Ray Data cuts tables into blocks by their bytes, and pictures that are
    embedded together must stay together.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return pa.table({_PART: pa.array([sink.getvalue().to_pybytes()], pa.large_binary())})


def unpacked(block: pa.Table) -> Iterator[pa.Table]:
    """The tables that were packed into the rows of this one."""
    for cell in block.column(_PART):
        yield pa.ipc.open_stream(cell.as_buffer()).read_all()


@dataclass(frozen=True)
class Packed:
    """A model as it travels: its file's bytes and its card."""

    content: bytes
    card: ModelCard

    @classmethod
    def of(cls, encoder: Encoder) -> "Packed":
        return cls(encoder.content, encoder.card)

    def unpacked(self) -> Encoder:
        """On one thread, as a worker has one core. Raises ModelFileError."""
        return Encoder.from_content(self.content, self.card, threads=1)


@dataclass(frozen=True)
class Kit:
    """What a worker needs. photo: the model beside the catalogue's, where photos are seen by both."""

    own: Packed
    photo: Packed | None


class _Eyes:
    """See `bridging.Sees`; the photo model is made when the first photo comes."""

    def __init__(self, own: Encoder, photo: Packed) -> None:
        self._own, self._photo = own, photo

    @cached_property
    def _bridge(self) -> Bridge:
        return Bridge(self._own, self._photo.unpacked())

    def see(self, opened: Opened) -> View:
        return bridging.see(opened, self._own, self._bridge if opened.is_photo else None)


class Worker:
    """One core of the cluster. Its models are made once, when it starts."""

    def __init__(self, kit: "Sequence[Any]") -> None:
        """kit: a reference to a `Kit` in Ray's object store, in a list, so that Ray leaves it to us."""
        import ray

        given: Kit = ray.get(kit[0])
        own = given.own.unpacked()
        self._reader = Reader(own, _Eyes(own, given.photo) if given.photo else None)
        images.keep_memory()

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Packed `TASKS` -> packed `ANSWERS`, in the same order."""
        for tasks in unpacked(block):
            rows = tasks.to_pylist()
            answers: list[dict[str, Any]] = []
            for first in range(0, len(rows), PART):
                part = rows[first : first + PART]
                pictures = self._reader.embed([wanted(row) for row in part])
                answers += [_answer(row["number"], picture) for row, picture in zip(part, pictures, strict=True)]
            yield packed(pa.Table.from_pylist(answers, schema=ANSWERS))


def read(block: pa.Table, size: int) -> Iterator[pa.Table]:
    """Pictures read but not looked at, a Parquet file from one end to the other: packed `TASKS` -> the same with their
    bytes, in parts of so many.
    """
    for tasks in unpacked(block):
        rows = tasks.to_pylist()
        filled = zip(rows, _with_bytes([wanted(row) for row in rows]), strict=True)
        while part := [_filled(row, one) for row, one in islice(filled, size)]:
            yield packed(pa.Table.from_pylist(part, schema=TASKS))


def _with_bytes(pictures: list[Wanted]) -> Iterator[Wanted]:
    if pictures[0].place:
        return loaded(pictures)
    return (replace(one, given=fetch(one.file)) for one in pictures)


def _filled(row: dict[str, Any], one: Wanted) -> dict[str, Any]:
    """One of `TASKS`, with the bytes; what is known already need not travel."""
    given = one.given
    if isinstance(given, Refused):
        return {**row, "path": None, "stamp": given.stamp, "reason": given.reason}
    if given is None:
        raise ValueError(f"{one.file} was not read")
    return {**row, "path": None, "stamp": given.stamp, "written": given.written}


def task(number: int, one: Wanted) -> dict[str, Any]:
    """One of `TASKS`."""
    row = {"number": number, "file": one.file, "content": one.known.content if one.known else None}
    if one.place is not None:
        row |= one.place._asdict()
        del row["size"]
    return row


def wanted(row: dict[str, Any]) -> Wanted:
    """One of `TASKS` as it was."""
    known = None if row["content"] is None else Known(0, row["file"], None, row["content"], None, None)
    place = None
    if row["path"] is not None:
        place = Place(row["path"], row["group"], row["row"], row["column"], row["stamp"], 0)
    given: Given | Refused | None = None
    if row["reason"] is not None:
        given = Refused(row["stamp"], row["reason"])
    elif row["written"] is not None:
        given = Given(row["written"], row["stamp"])
    return Wanted(row["file"], known, None, place, given)


def _answer(number: int, picture: Decoded | Refused) -> dict[str, Any]:
    if isinstance(picture, Refused):
        return {"number": number, "stamp": picture.stamp, "reason": picture.reason}
    vector = None if picture.vector is None else np.asarray(picture.vector, "<f4").tobytes()
    facts = {"number": number, "stamp": picture.stamp, "content": picture.content}
    return {**facts, "thumbnail": picture.thumbnail, "vector": vector}


def picture(row: dict[str, Any]) -> Decoded | Refused:
    """One of `ANSWERS` as it was on the worker."""
    if row["reason"] is not None:
        return Refused(row["stamp"], row["reason"])
    vector = None if row["vector"] is None else np.frombuffer(row["vector"], "<f4")
    return Decoded(row["content"], row["stamp"], None, row["thumbnail"], vector)


@dataclass(frozen=True)
class Sight:
    """What a machine of the cluster says of itself. version: of vitrine there. sizes: of some files, None for one that
    it does not see.
    """

    version: str
    sizes: list[int | None]


def sight(files: Sequence[str]) -> Sight:
    """On the machine where it runs; one that hangs over a network drive is given up by who asked."""
    with ThreadPoolExecutor(max(1, len(files))) as pool:
        return Sight(vitrine.__version__, list(pool.map(size_of, files)))


def size_of(file: str) -> int | None:
    try:
        return os.stat(file).st_size
    except OSError:
        return None
