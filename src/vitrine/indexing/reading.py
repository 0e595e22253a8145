"""Pictures read, decoded and embedded: the same wherever that happens, and whoever hands them out (`Engine`)."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from vitrine import images
from vitrine.bridging import Sees
from vitrine.catalogue import Columns, Known, Vectors, content_hash
from vitrine.choosing import Opened
from vitrine.encoder import Encoder
from vitrine.errors import ImageError
from vitrine.images import Pixels
from vitrine.progress import Progress

PART = 25  # pictures that are embedded together, at most
GRAIN = 2.0  # seconds: FAT's times are the coarsest


class Place(NamedTuple):
    """Where the bytes of a picture are in a Parquet file. path, group, row: in the order in which they are read.
    column: by Parquet's name. stamp: of the file, as `look` has it. size: about how many bytes.
    """

    path: str
    group: int
    row: int
    column: str
    stamp: str
    size: int


@dataclass(frozen=True)
class Given:
    """The bytes of a picture. stamp: from before they were read, None where that proves nothing."""

    written: bytes
    stamp: str | None


@dataclass(frozen=True)
class Refused:
    """A picture that cannot be taken, and why."""

    stamp: str | None
    reason: str


@dataclass(frozen=True)
class Wanted:
    """A picture that is to be read. file: its source, and its path but where it has a place. known: the item that the
    catalogue has for it. columns: what it is to have. given: its bytes, or why there are none, where that is known.
    """

    file: str
    known: Known | None
    columns: Columns | None
    place: Place | None = None
    given: Given | Refused | None = None


@dataclass(frozen=True)
class Decoded:
    """A picture that was read. image: as the model wants it, until it is embedded. vector: (d,), from then on. Neither
    is there where the catalogue has the same content already.
    """

    content: str
    stamp: str | None
    image: Pixels | None = None
    thumbnail: bytes = b""
    vector: Vectors | None = None


Take = Callable[[Sequence[Wanted], Sequence[Decoded | Refused]], None]
"""What is done with pictures that were read: each with what became of it."""


@dataclass(frozen=True)
class Reader:
    """Decodes and embeds pictures. encoder: on one thread. viewer: where photos are embedded by two models. stopped:
    when set, no further picture is begun.
    """

    encoder: Encoder
    viewer: Sees | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def embed(self, wanted: Sequence[Wanted]) -> list[Decoded | Refused]:
        """Those pictures, decoded and embedded. Raises CancelledError where it was stopped."""
        pictures: list[Decoded | Refused] = []
        for one in wanted:
            if self.stopped.is_set():
                raise CancelledError
            known = one.known.content if one.known else None
            if one.given is None:
                pictures.append(decode(one.file, known, self))
            else:
                pictures.append(understand(one.given, one.file, known, self))
        shown = [one.image for one in pictures if isinstance(one, Decoded) and one.image is not None]
        vectors = iter(self.encoder.run(np.stack(shown)).embeddings if shown else ())
        return [
            replace(one, image=None, vector=next(vectors))
            if isinstance(one, Decoded) and one.image is not None
            else one
            for one in pictures
        ]

    def see(self, written: bytes, file: str) -> tuple[Pixels | None, bytes, Vectors | None]:
        """A picture's bytes -> image, thumbnail and vector, as `Decoded` has them: many images are embedded together, a
        photo that two models see is embedded here. Raises ImageError; ModelFileError where `photo` is damaged.
        """
        spec = self.encoder.card.image
        if self.viewer is None:
            picture = images.opened(written, file, spec)
            return images.prepare(picture, spec), images.thumbnail(picture), None
        view = self.viewer.see(Opened.read(written, file))
        small = images.thumbnail(view.picture)
        return (None, small, view.run().vectors[0]) if view.bridge else (view.own, small, None)


class Engine(Protocol):
    """Where pictures are read, decoded and embedded."""

    def read(self, wanted: Sequence[Wanted], reader: Reader, take: Take, progress: Progress) -> None:
        """Hand over each of these pictures once, batch by batch, in their order and on the thread of the caller.
        reader: with the models. Raises what `take` and `progress` do, and what is in the way of the engine itself.
        """
        ...


def look(file: str) -> tuple[str, float]:
    """What a file looks like from outside, and when that changed last, in seconds since 1970."""
    try:
        status = os.stat(file)
    except OSError as error:
        return f"error {error.errno}", 0.0
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}", changed / 1e9


def fetch(file: str) -> Given | Refused:
    """The bytes of a picture file, or why there are none."""
    now = time.time()
    before, changed = look(file)
    stamp = None
    try:
        try:
            written = images.content(Path(file))
        finally:
            if now - changed > GRAIN and look(file)[0] == before:
                stamp = before
        return Given(written, stamp)
    except ImageError as error:
        return Refused(stamp, str(error))


def decode(file: str, known: str | None, reader: Reader) -> Decoded | Refused:
    """The picture, or why it cannot be taken. known: the content that the catalogue has for it."""
    return understand(fetch(file), file, known, reader)


def understand(given: Given | Refused, name: str, known: str | None, reader: Reader) -> Decoded | Refused:
    """The same of bytes. name: what to call them in an error."""
    if isinstance(given, Refused):
        return given
    content = content_hash(given.written)
    if content == known:
        return Decoded(content, given.stamp)
    try:
        return Decoded(content, given.stamp, *reader.see(given.written, name))
    except ImageError as error:
        return Refused(given.stamp, str(error))
