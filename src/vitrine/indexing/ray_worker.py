"""What runs on the machines of a Ray cluster: a worker with its models, and a look at whether it can see the pictures.
Nothing here is about Ray itself, but that the models come out of its object store.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

import vitrine
from vitrine import bridging, images
from vitrine.bridging import Bridge, View
from vitrine.catalogue import Known
from vitrine.choosing import Opened
from vitrine.encoder import Encoder
from vitrine.indexing.reading import PART, Decoded, Reader, Refused, Wanted
from vitrine.modelfile import ModelCard

TASKS = pa.schema([("place", pa.int64()), ("file", pa.string()), ("content", pa.string())])
"""A picture to be read. place: its number. content: what the catalogue has for it, or null."""

ANSWERS = pa.schema(
    [
        ("place", pa.int64()),
        ("content", pa.string()),
        ("stamp", pa.string()),
        ("thumbnail", pa.binary()),
        ("vector", pa.binary()),
        ("reason", pa.string()),
    ]
)
"""What became of it. vector: float32, little-endian; null where the content is known. reason: why it was refused."""


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

    def __call__(self, tasks: pa.Table) -> pa.Table:
        """`TASKS` -> `ANSWERS`, in the same order."""
        rows = tasks.to_pylist()
        answers: list[dict[str, Any]] = []
        for first in range(0, len(rows), PART):
            part = rows[first : first + PART]
            pictures = self._reader.embed([_wanted(row) for row in part])
            answers += [_answer(row["place"], picture) for row, picture in zip(part, pictures, strict=True)]
        return pa.Table.from_pylist(answers, schema=ANSWERS)


def _wanted(row: dict[str, Any]) -> Wanted:
    known = None if row["content"] is None else Known(0, row["file"], None, row["content"], None, None)
    return Wanted(row["file"], known, None)


def _answer(place: int, picture: Decoded | Refused) -> dict[str, Any]:
    if isinstance(picture, Refused):
        return {"place": place, "stamp": picture.stamp, "reason": picture.reason}
    vector = None if picture.vector is None else np.asarray(picture.vector, "<f4").tobytes()
    facts = {"place": place, "stamp": picture.stamp, "content": picture.content}
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
