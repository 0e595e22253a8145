"""Where the items of a catalogue lie on its map, kept in its folder as `map-N.points`, N being the generation that the
catalogue had. The truth is elsewhere: a map can be computed again at any time.

File, format 1, little-endian: the header (_HEADER) and its CRC-32; the ids, int64; the points, float32.
docs/file-formats.md has all of it.
"""

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

FORMAT_VERSION = 1
Points = npt.NDArray[np.float32]

_MAGIC = b"vitrmap\n"
_HEADER = struct.Struct("<8sIIqQQQ16sdI")
_CHECKSUM = struct.Struct("<I")
_FRONT = _HEADER.size + _CHECKSUM.size
_ROW = 8 + 2 * 4  # an id and a point


@dataclass(frozen=True)
class StoredMap:
    """ids: (n,) int64, rising; points: (n, 2) float32. generation: the catalogue's when it was written. computed: how
    many items the map was computed of, last: the highest of their ids; items with a higher one were placed later, and
    some of the others may have left. identity: 32 hex digits, of the model that made the vectors. trust: the map's
    trustworthiness, 0 to 1.
    """

    ids: Ids
    points: Points
    generation: int
    computed: int
    last: int
    identity: str
    seed: int
    trust: float

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
        body = self.ids.astype("<i8").tobytes() + self.points.astype("<f4").tobytes()
        head = _HEADER.pack(
            _MAGIC,
            FORMAT_VERSION,
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
        _demand(version == FORMAT_VERSION, f"it has format {version}, this vitrine writes {FORMAT_VERSION}")
        _demand(
            _CHECKSUM.unpack_from(content, _HEADER.size) == (zlib.crc32(content[: _HEADER.size]),),
            "its header is damaged",
        )
        _demand(len(content) == _FRONT + n * _ROW, "it is truncated")
        _demand(zlib.crc32(memoryview(content)[_FRONT:]) == crc, "it is damaged")
    except (OSError, ValueError, struct.error) as error:
        raise CatalogueError(f"{path} is no map that can be used ({error}); compute it anew.") from error
    ids = np.frombuffer(content, "<i8", n, _FRONT).astype(np.int64)
    points = np.frombuffer(content, "<f4", 2 * n, _FRONT + 8 * n).reshape(n, 2).astype(np.float32)
    return StoredMap(ids, points, generation, computed, last, identity.hex(), seed, trust)


def _files(folder: Path) -> Iterator[Path]:
    """The newest first."""
    return iter(sorted(folder.glob("map-*.points"), key=lambda path: (len(path.name), path.name), reverse=True))


def _demand(met: bool, otherwise: str) -> None:
    if not met:
        raise ValueError(otherwise)
