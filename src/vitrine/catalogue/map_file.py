"""Where the items of a catalogue lie on its map, kept in its folder as `map-N.points`, N being the generation that the
catalogue had. The truth is elsewhere: a map can be computed again at any time.

File, format 2, little-endian: the header (_HEADER) and its CRC-32; the ids, int64; the points, float32; how many
neighbours each item has, uint32, and their places on the map, int32. Format 1 has no neighbours, and is read, too.
docs/file-formats.md has all of it.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue.index_kinds import Ids
from vitrine.errors import CatalogueError

FORMAT_VERSION = 2
Points = npt.NDArray[np.float32]
Near = npt.NDArray[np.int32]

_MAGIC = b"vitrmap\n"
_HEADER = struct.Struct("<8sIIqQQQ16sdI")
_CHECKSUM = struct.Struct("<I")
_FRONT = _HEADER.size + _CHECKSUM.size
_ROW = 8 + 2 * 4  # an id and a point
_WIDTH = struct.Struct("<I")  # neighbours of an item


@dataclass(frozen=True)
class StoredMap:
    """ids: (n,) int64, rising; points: (n, 2) float32. generation: the catalogue's when it was written. computed: how
    many items the map was computed of, last: the highest of their ids; items with a higher one were placed later, and
    some of the others may have left. identity: 32 hex digits, of the model that made the vectors. trust: the map's
    trustworthiness when it was computed, 0 to 1. near: (n, k) int32, of each item the places on this map of those that
    were nearest when it came, nearest first; -1 for one that has left; None in a file of format 1.
    """

    ids: Ids
    points: Points
    generation: int
    computed: int
    last: int
    identity: str
    seed: int
    trust: float
    near: Near | None = None

    @property
    def placed(self) -> int:
        """How many of the items were placed on the map after it was computed."""
        return int(np.count_nonzero(self.ids > self.last))

    @property
    def left(self) -> int:
        """How many that it was computed of have left."""
        return self.computed - (len(self.ids) - self.placed)

    def save(self, folder: Path) -> Path:
        """Write it into the catalogue's folder in place of older ones, atomically. Raises StorageError."""
        parts = [self.ids.astype("<i8").tobytes(), self.points.astype("<f4").tobytes()]
        if self.near is not None:
            parts += [_WIDTH.pack(self.near.shape[1]), self.near.astype("<i4").tobytes()]
        body = b"".join(parts)
        head = _HEADER.pack(
            _MAGIC,
            1 if self.near is None else FORMAT_VERSION,
            self.computed,
            self.seed,
            self.generation,
            len(self.ids),
            self.last,
            bytes.fromhex(self.identity),
            self.trust,
            zlib.crc32(body),
        )
        path = folder / f"map-{self.generation}.points"
        storage.write_bytes(path, head + _CHECKSUM.pack(zlib.crc32(head)) + body)
        for other in _files(folder):
            if other != path:
                with suppress(OSError):
                    other.unlink()
        return path


def stamp(folder: Path) -> tuple[object, ...]:
    """What changes when another map comes into the catalogue's folder: as long as it is the same, so is `read`."""
    return tuple((path.name, found.st_ino, found.st_mtime_ns, found.st_size) for path, found in _there(folder))


def read(folder: Path) -> StoredMap | None:
    """The map in the catalogue's folder; None where there is none that can be used: then it is computed again."""
    for path in _files(folder):
        with suppress(CatalogueError):
            return load(path)
    return None


def load(path: Path) -> StoredMap:
    """The map in that file, all of it checked. Raises CatalogueError: missing, foreign, newer, truncated, damaged."""
    try:
        content = path.read_bytes()
        magic, version, computed, seed, generation, n, last, identity, trust, crc = _HEADER.unpack_from(content)
        _demand(magic == _MAGIC, "it is not vitrine's")
        _demand(version in (1, FORMAT_VERSION), f"it has format {version}, this vitrine knows up to {FORMAT_VERSION}")
        _demand(
            _CHECKSUM.unpack_from(content, _HEADER.size) == (zlib.crc32(content[: _HEADER.size]),),
            "its header is damaged",
        )
        _demand(len(content) >= _FRONT + n * _ROW, "it is truncated")
        _demand(zlib.crc32(memoryview(content)[_FRONT:]) == crc, "it is truncated or damaged")
        near = None if version == 1 else _near(content, n)
    except (OSError, ValueError, struct.error) as error:
        raise CatalogueError(f"{path} is no map that can be used ({error}); compute it anew.") from error
    ids = np.frombuffer(content, "<i8", n, _FRONT).astype(np.int64)
    points = np.frombuffer(content, "<f4", 2 * n, _FRONT + 8 * n).reshape(n, 2).astype(np.float32)
    return StoredMap(ids, points, generation, computed, last, identity.hex(), seed, trust, near)


def _near(content: bytes, n: int) -> Near:
    """The neighbours of n items. Raises ValueError, struct.error."""
    at = _FRONT + n * _ROW
    (width,) = _WIDTH.unpack_from(content, at)
    near = np.frombuffer(content, "<i4", n * width, at + _WIDTH.size).reshape(n, width).astype(np.int32)
    _demand(bool(((near >= -1) & (near < n)).all()), "it names neighbours that are not on it")
    return near


def _there(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in _files(folder):
        with suppress(OSError):  # it may leave meanwhile
            yield path, path.stat()


def _files(folder: Path) -> Iterator[Path]:
    """The newest first."""
    return iter(sorted(folder.glob("map-*.points"), key=lambda path: (len(path.name), path.name), reverse=True))


def _demand(met: bool, otherwise: str) -> None:
    if not met:
        raise ValueError(otherwise)
