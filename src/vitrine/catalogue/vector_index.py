"""Ids and vectors in, the nearest ids out: the FAISS part of a catalogue. SQLite is the truth; this is the speed, and
can be made again from there at any time.

An index is a base, which FAISS holds (index_kinds.py), and a tail of up to 4,096 vectors that came later and are
compared as they are: so a base that is a view of a file stays one, and a small change costs next to nothing. Items have
positions, those of the base first; an array says which id lies at each. What is removed is only marked, and never comes
back. The owner builds anew when `garbage` is large, and when the index is `outgrown`.

File, format 3: the header (_HEADER) and its CRC-32; the ids, int64; the tail, float32; a bit for
every position that is live; the base as FAISS writes it. Little-endian. An index is for one thread at a time.
"""

import mmap
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.catalogue import index_kinds
from vitrine.catalogue.index_kinds import Block, Ids, Kind, Vectors, faiss
from vitrine.errors import CatalogueError, InputError

FORMAT_VERSION = 3  # 1 did not say how many cells to look into, 2 had no checksum of the whole base
Mask = npt.NDArray[np.bool_]
Exact = Callable[[Ids], Vectors]

_TIES = 4  # extra neighbours: where all of them are equal, more are asked for, so that equal scores are ordered by id
_RESCORED = 128  # candidates of a compressed index that are scored again
_TAIL = 4096  # items that wait outside the base
_SCAN = 20_000  # so few allowed items are copied out and compared
_CHUNK = 2**23  # numbers gathered at a time to score candidates: 32 MiB

_HEADER = struct.Struct("<8sII8sQQQQIII")  # magic, format, d, kind, base, tail, generation, file's size, checksums
_CHECKSUM = struct.Struct("<I")
_FRONT = 72  # where the ids begin
_MAGIC = b"vitrvec\n"
_SPAN = 2**20  # bytes that are read at a time
_SAMPLE, _SAMPLES = 2**18, 64  # bytes, blocks of the base that are checked at opening: all of it up to 16 MiB


class VectorIndex:
    """Made by `build` or `load`. dimensions: d. generation: the owner's, kept in the file. unsaved: how many items came
    or went since the file was written, or since the index was built.
    """

    def __init__(self, kind: Kind, dimensions: int, base: Any) -> None:
        self.kind = kind
        self.dimensions = dimensions
        self.generation = self.unsaved = 0
        self._base = base
        self._file: tuple[mmap.mmap, int] | None = None  # what the base is a view of, and from which byte
        self._ids: Ids = np.empty(0, np.int64)  # (base + tail,)
        self._live: Mask = np.empty(0, np.bool_)  # (base + tail,)
        self._dead = 0
        self._tail: Vectors = np.empty((0, dimensions), np.float32)
        self._arrange()

    @classmethod
    def build(cls, kind: Kind, dimensions: int, blocks: Callable[[], Iterable[Block]], count: int) -> "VectorIndex":
        """An index of all that `blocks()` yields: ids (n,) int64 and vectors (n, d) float32, L2-normalised, some 10,000
        at a time. It is called anew for each pass; "ivf" and "ivf-sq8" take three. count: how many there will be, for
        which memory and cells are made ready. Raises InputError for other arrays, and when an id comes twice.
        """
        base = index_kinds.empty(kind, dimensions, count)
        index = cls(kind, dimensions, base)
        index._ids = index_kinds.fill(
            base, kind, dimensions, lambda: (index._checked(*block) for block in blocks()), count
        )
        index._live = np.ones(len(index._ids), np.bool_)
        index._arrange()
        if (index._sorted[1:] == index._sorted[:-1]).any():
            raise InputError("An id came twice; an index takes each once.")
        return index

    def __len__(self) -> int:
        return len(self._live) - self._dead

    @property
    def garbage(self) -> float:
        """The share of removed items in what lies here, 0 to 1."""
        return self._dead / max(1, len(self._live))

    @property
    def last(self) -> int:
        """The highest id that lies here, removed or not; 0 where there is none."""
        return int(self._ids.max(initial=0))

    @property
    def outgrown(self) -> bool:
        """Whether there are several times as many items as the cells, if it has any, were made for."""
        return self.kind.startswith("ivf") and index_kinds.cells(len(self)) >= 2 * self._base.nlist

    def ids(self) -> Ids:
        """(n,) int64, rising: what is in the index."""
        return np.sort(self._ids[self._live])

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Put in ids (n,) int64 with vectors (n, d) float32, L2-normalised; what has one of the ids is replaced. Raises
        InputError for other arrays, and then nothing has happened.
        """
        ids, vectors = self._checked(ids, vectors)
        self.remove(ids)
        self._ids = np.concatenate([self._ids, ids])
        self._live = np.concatenate([self._live, np.ones(len(ids), np.bool_)])
        self._tail = np.concatenate([self._tail, vectors])
        self.unsaved += len(ids)
        if len(self._tail) > _TAIL:
            self._fold()

    def remove(self, ids: Ids) -> int:
        """Take out ids (n,) int64; how many of them were there."""
        positions = self._positions(ids)
        self._live[positions] = False
        self._dead += len(positions)
        self.unsaved += len(positions)
        return len(positions)

    def search(
        self, queries: Vectors, k: int, allowed: Ids | None = None, exact: Exact | None = None
    ) -> tuple[Vectors, Ids]:
        """The k nearest items of each query (q, d): inner products (q, k) float32, falling, and ids (q, k) int64, equal
        scores by id; -inf and -1 where there are no more. allowed: only these ids (n,); unknown ones do no harm. exact:
        rising ids (m,) -> their vectors (m, d), by which "ivf-sq8" scores its best candidates again; the other kinds
        need none.

        Raises InputError for queries of another shape, for numbers that are not finite, for k below 1; CatalogueError
        where damage shows that `load` did not see.
        """
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1.")
        queries = self._finite(queries)
        rescored = self.kind == "ivf-sq8" and exact is not None
        wanted = min(k, len(self)) + _TIES
        if rescored:  # in steps: what is scored again is the same for most pages, so that they do not overlap
            wanted = max(_RESCORED, 1 << (wanted - 1).bit_length())
        mask = self._mask(allowed)
        step = max(1, _CHUNK // (wanted * self.dimensions))
        if len(queries) <= step:
            return self._best(queries, k, wanted, mask, exact)
        parts = [
            self._best(queries[first : first + step], k, wanted, mask, exact) for first in range(0, len(queries), step)
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def save(self, path: Path, generation: int) -> None:
        """Write the index to that file, atomically and without a second copy in memory. Raises StorageError."""
        with storage.writing(path) as part:
            with open(part, "wb") as file:
                file.write(bytes(_FRONT))
                for array in (self._ids, self._tail, np.packbits(self._live, bitorder="little")):
                    file.write(np.ascontiguousarray(array).data)
                start, whole = file.tell(), 0

                def write(part: bytes) -> int:
                    nonlocal whole
                    whole = zlib.crc32(part, whole)
                    return file.write(part)

                faiss.write_index(self._base, faiss.PyCallbackIOWriter(write))
                end = file.tell()
            with open(part, "r+b") as again, mmap.mmap(again.fileno(), 0, access=mmap.ACCESS_READ) as content:
                facts = (self.dimensions, self.kind.encode(), self._base.ntotal, len(self._tail), generation, end)
                checksums = (*_checksums(content, start), whole)
                head = _HEADER.pack(_MAGIC, FORMAT_VERSION, *facts, *checksums)
                again.write(head + _CHECKSUM.pack(zlib.crc32(head)))
        self.generation, self.unsaved = generation, 0

    @classmethod
    def load(cls, path: Path, whole: bool = False) -> "VectorIndex":
        """The index in that file, as a view of it: the file may be replaced meanwhile, but not written into.

        Raises CatalogueError for what is missing, foreign, newer, truncated or damaged; build it anew then. Ids, tail
        and marks are checked as a whole, and the links by FAISS; of cells and vectors 16 MiB, or, with `whole`, all:
        damage that is not found gives wrong scores.
        """
        try:
            with open(path, "rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            index, checksum = cls._read(content)
            if whole and index._file is not None:
                _demand(_whole_checksum(path, index._file[1]) == checksum, "it is damaged")
            return index
        except (OSError, ValueError, struct.error, RuntimeError, MemoryError) as error:  # the last two are FAISS's
            raise CatalogueError(f"{path} is no index that can be used ({error}); build it anew.") from error

    @classmethod
    def _read(cls, content: mmap.mmap) -> tuple["VectorIndex", int]:
        """See `load`; and the checksum of the base. Raises ValueError, struct.error, RuntimeError, MemoryError."""
        magic, version, dimensions, name, base, tail, generation, end, *checksums = _HEADER.unpack_from(content)
        _demand(magic == _MAGIC, "it is not vitrine's")
        _demand(version == FORMAT_VERSION, f"it has format {version}, this vitrine writes {FORMAT_VERSION}")
        crc = zlib.crc32(content[: _HEADER.size])
        _demand(_CHECKSUM.unpack_from(content, _HEADER.size) == (crc,), "its header is damaged")
        _demand(len(content) == end, "it is truncated")
        at = np.cumsum((_FRONT, 8 * (base + tail), 4 * dimensions * tail, (base + tail + 7) // 8)).tolist()
        _demand(_checksums(content, at[3]) == tuple(checksums[:2]), "it is damaged")
        index = cls(name.rstrip(b"\0").decode(), dimensions, _view(content, at[3]))
        index.generation = generation
        index._file = (content, at[3])
        index._ids = np.frombuffer(content, np.int64, base + tail, at[0])
        index._tail = np.frombuffer(content, np.float32, tail * dimensions, at[1]).reshape(tail, dimensions)
        bits = np.frombuffer(content, np.uint8, at[3] - at[2], at[2])
        index._live = np.unpackbits(bits, count=base + tail, bitorder="little").view(np.bool_)
        index._dead = len(index) - int(np.count_nonzero(index._live))
        _demand(index._base.ntotal == base, "its parts do not fit together")
        index._arrange()
        return index, checksums[2]

    def _checked(self, ids: Ids, vectors: Vectors) -> tuple[Ids, Vectors]:
        """Both, or InputError."""
        vectors = self._finite(vectors)
        if ids.dtype != np.int64 or ids.shape != vectors.shape[:1] or (ids < 0).any() or len(np.unique(ids)) < len(ids):
            raise InputError(
                f"{len(vectors)} vectors need as many ids, int64, all different, none negative; these are {ids.shape}"
                f" {ids.dtype}."
            )
        return ids, vectors

    def _finite(self, vectors: Vectors) -> Vectors:
        """As FAISS wants them, or InputError."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimensions or not np.isfinite(vectors).all():
            raise InputError(
                f"Vectors here have the shape (n, {self.dimensions}) and finite numbers; these are {vectors.shape}."
            )
        return np.ascontiguousarray(vectors, np.float32)

    def _arrange(self) -> None:
        """Make id -> position ready for the base: nothing to do where the ids rise, as they mostly do."""
        ids = self._ids[: self._base.ntotal]
        self._order: Ids | None = None if (ids[1:] > ids[:-1]).all() else np.argsort(ids, kind="stable")
        self._sorted = ids if self._order is None else ids[self._order]

    def _fold(self) -> None:
        """Put the tail into the base, which first comes into memory: FAISS ends a process that adds to a view."""
        if self._file is not None:
            content, start = self._file
            content.seek(start)
            self._base, self._file = faiss.read_index(faiss.PyCallbackIOReader(content.read)), None
        self._base.add(index_kinds.widened(self.kind, self._tail))
        self._tail = self._tail[:0].copy()
        self._arrange()

    def _positions(self, ids: Ids) -> Ids:
        """Where those of the ids (n,) lie that are live: (m,)."""
        ids = np.unique(ids)
        n = self._base.ntotal
        order = np.argsort(self._ids[n:], kind="stable")
        late = n + _looked_up(ids, self._ids[n:][order], order)
        positions: Ids = np.concatenate([_looked_up(ids, self._sorted, self._order), late])
        return positions[self._live[positions]]

    def _mask(self, allowed: Ids | None) -> Mask | None:
        """(base + tail,): which positions may be answered; None for all."""
        if allowed is None:
            return self._live if self._dead else None
        if 20 * len(allowed) > len(self._live):
            return np.isin(self._ids, allowed) & self._live
        mask = np.zeros(len(self._live), np.bool_)
        mask[self._positions(allowed)] = True
        return mask

    def _best(
        self, queries: Vectors, k: int, wanted: int, mask: Mask | None, exact: Exact | None
    ) -> tuple[Vectors, Ids]:
        """What `search` returns, of as many queries as may be scored at a time."""
        scores, positions = self._candidates(queries, wanted, mask)
        if scores.shape[1] < k:
            more = ((0, 0), (0, k - scores.shape[1]))
            scores, positions = (
                np.pad(scores, more, constant_values=-np.inf),
                np.pad(positions, more, constant_values=-1),
            )
        ids = self._ids[positions] if len(self._ids) else positions
        ids[positions < 0] = -1
        scores = self._scored(queries, scores, positions, ids, exact)
        if (scores[:, 1:] < scores[:, :-1]).all():  # in order already, and nothing is equal
            return scores[:, :k], ids[:, :k]
        order = np.lexsort((ids, -scores), axis=-1)
        rows = np.arange(len(queries))[:, None]
        scores, ids = scores[rows, order], ids[rows, order]
        if wanted < len(self):  # where the last scores are equal there may be more of them, with lower ids
            for row in np.flatnonzero((scores[:, k - 1] == scores[:, -1]) & (ids[:, -1] >= 0)).tolist():
                again = self._best(queries[row : row + 1], k, min(len(self), 4 * wanted), mask, exact)
                scores[row, :k], ids[row, :k] = again[0][0], again[1][0]
        return scores[:, :k], ids[:, :k]

    def _candidates(self, queries: Vectors, wanted: int, mask: Mask | None) -> tuple[Vectors, Ids]:
        """Scores and positions (q, about `wanted`) of the best of base and tail; -inf and -1 for none."""
        n = self._base.ntotal
        scores, positions = self._of_base(queries, wanted, None if mask is None else mask[:n])
        if len(self._tail):
            there = np.arange(len(self._tail)) if mask is None else np.flatnonzero(mask[n:])
            rows = self._tail if len(there) == len(self._tail) else self._tail[there]
            more = _nearest(queries, rows, n + there, wanted)
            scores, positions = np.hstack([scores, more[0]]), np.hstack([positions, more[1]])
        if scores.shape[1] <= wanted:
            return scores, positions
        order = np.argsort(-scores, axis=1, kind="stable")[:, :wanted]
        each = np.arange(len(queries))[:, None]
        return scores[each, order], positions[each, order]

    def _of_base(self, queries: Vectors, wanted: int, mask: Mask | None) -> tuple[Vectors, Ids]:
        """The same of the base alone. Where at least half is allowed, more neighbours are asked for and sifted: what
        graph and cells find unfiltered are the nearest, what they find through a filter need not be. Where too few
        remain, and where less is allowed, all that is allowed is compared.
        """
        n = self._base.ntotal
        allowed = n if mask is None else int(np.count_nonzero(mask))
        if allowed == 0:
            return _nothing(queries)
        if mask is not None and 2 * allowed < n:
            return self._compared(queries, wanted, mask)
        ask = min(n, wanted if allowed == n else 2 * wanted * n // allowed)
        scores, positions = index_kinds.searched(
            self._base, index_kinds.widened(self.kind, queries), ask, index_kinds.effort(self.kind, ask)
        )
        if mask is None and self.kind == "exact":
            return scores, positions
        good = (positions >= 0) & (positions < n)
        if mask is not None:
            good &= mask[np.where(good, positions, 0)]
        short = good.sum(axis=1) < min(wanted, allowed)
        good[short] = False
        scores[~good], positions[~good] = -np.inf, -1
        if short.any():
            again = self._compared(queries[short], wanted, mask)
            columns = again[0].shape[1]
            scores[short, :columns], positions[short, :columns] = again
        return scores, positions

    def _compared(self, queries: Vectors, wanted: int, mask: Mask | None) -> tuple[Vectors, Ids]:
        """The same, by comparing all of the base that is allowed."""
        base = index_kinds.flat(self._base, self.kind)
        cells = self.kind.startswith("ivf")
        if mask is not None and not cells and np.count_nonzero(mask) <= _SCAN:
            positions = np.flatnonzero(mask)
            return _nearest(queries, self._rows(positions), positions, wanted)
        bits = None if mask is None else np.packbits(mask, bitorder="little")
        selector = faiss.IDSelectorAll() if bits is None else faiss.IDSelectorBitmap(bits)
        if cells:
            params = faiss.SearchParametersIVF(sel=selector, nprobe=base.nlist)
        else:
            params = faiss.SearchParameters(sel=selector)
        scores, positions = index_kinds.searched(
            base, index_kinds.widened(self.kind, queries), min(wanted, self._base.ntotal), params
        )
        if ((positions < -1) | (positions >= self._base.ntotal)).any():
            raise CatalogueError("The index is damaged: it knows positions that it does not have; build it anew.")
        scores[positions < 0] = -np.inf
        return scores, positions

    def _scored(self, queries: Vectors, scores: Vectors, positions: Ids, ids: Ids, exact: Exact | None) -> Vectors:
        """Scores (q, c) made again vector by vector, so that equal vectors have equal scores wherever they lie. As they
        are where FAISS has done just that, and where it alone has the vectors.
        """
        rescored = self.kind == "ivf-sq8" and exact is not None
        one_by_one = self.kind == "exact" and len(queries) < faiss.cvar.distance_compute_blas_threshold
        if one_by_one or (self.kind.startswith("ivf") and not rescored):
            return scores
        there = ids >= 0
        gathered = np.zeros((*ids.shape, self.dimensions), np.float32)
        if exact is not None and rescored:
            known, which = np.unique(ids[there], return_inverse=True)
            gathered[there] = self._finite(exact(known))[which]
        else:
            gathered[there] = self._rows(positions[there])
        return np.where(there, np.einsum("qcd,qd->qc", gathered, queries), np.float32(-np.inf))

    def _rows(self, positions: Ids) -> Vectors:
        """(m, d): the vectors at positions (m,) of "exact" and "hnsw"."""
        n = self._base.ntotal
        late = positions >= n
        rows: Vectors = np.empty((len(positions), self.dimensions), np.float32)
        rows[late] = self._tail[positions[late] - n]
        if not late.all():
            numbers = faiss.rev_swig_ptr(index_kinds.flat(self._base, self.kind).get_xb(), n * self.dimensions)
            matrix = numbers.reshape(n, self.dimensions)
            rows[~late] = matrix[positions[~late]]
        return rows


def _nearest(queries: Vectors, rows: Vectors, positions: Ids, wanted: int) -> tuple[Vectors, Ids]:
    """Scores and positions (q, at most `wanted`) of the best of rows (m, d) that lie at positions (m,)."""
    if not len(rows):
        return _nothing(queries)
    scores, which = faiss.knn(queries, rows, min(wanted, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
    return scores, positions[which]


def _nothing(queries: Vectors) -> tuple[Vectors, Ids]:
    return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)


def _looked_up(ids: Ids, there: Ids, order: Ids | None) -> Ids:
    """Where those of the ids lie that `there`, which is sorted, has; the last of equal ones; through `order` if any."""
    at = np.searchsorted(there, ids, side="right") - 1
    at = at[(at >= 0) & (there[at] == ids)] if len(there) else at[:0]
    return at if order is None else order[at]


def _checksums(content: mmap.mmap, start: int) -> tuple[int, int]:
    """CRC-32 of what lies before the base, and of blocks of the base, evenly from its first to its last byte."""
    with memoryview(content) as view:
        front, sampled = zlib.crc32(view[_FRONT:start]), 0
        for first in np.linspace(start, max(start, len(view) - _SAMPLE), _SAMPLES).astype(int).tolist():
            sampled = zlib.crc32(view[first : first + _SAMPLE], sampled)
    return front, sampled


def _whole_checksum(path: Path, start: int) -> int:
    """CRC-32 of all of the base, which begins at byte `start`; read, not mapped, so that it takes no memory."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(start)
        while part := file.read(_SPAN):
            crc = zlib.crc32(part, crc)
    return crc


def _view(content: mmap.mmap, start: int) -> Any:
    """The FAISS index that lies there from byte `start` on, its arrays a view. Raises RuntimeError, MemoryError."""
    base = np.frombuffer(content, np.uint8, -1, start)
    return faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(base), base.size))


def _demand(true: bool, what: str) -> None:
    if not true:
        raise ValueError(what)
