"""The kinds of FAISS index that a catalogue is searched by, and what each takes.

    kind       what it is                                                       bytes an item
    exact      all vectors, all compared                                        4 d
    hnsw       all vectors and a graph over them, M = 32                        4 d + 277
    ivf        all vectors, in 2 sqrt(n) cells, a few of them looked into       4 d + 8
    ivf-sq8    the same cells, a byte a number, d filled up to a multiple of 16 d + 8

and 9 bytes each for the id and for whether it is still there. Ten million items of 187 numbers: ivf-sq8 takes 2.1 GB,
and up to 1.5 times that while it is built, so less than 4 GiB by this sum. HNSW over bytes would take 4.8 GB (with
M = 16: 3.5 GB, before its arrays grow); it is built several times as slowly, and nothing can be filtered inside of it.
Product quantisation would be smaller still, which nothing asks for, and ranks worse.

How many cells are looked into is settled when the index is built: as few as it takes to find what all cells hold for a
sample of the items. A byte a number tells near copies badly apart, so the best are scored again by exact vectors:
recall@10 of 0.92 becomes 0.999 (docs/performance.md, 100,000 items). HNSW is fragile where many items are exact copies,
for these link to each other only, and searches for other items are caught among them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import faiss as faiss_
import numpy as np
import numpy.typing as npt

Kind = Literal["exact", "hnsw", "ivf", "ivf-sq8"]
Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Block = tuple[Ids, Vectors]  # ids (n,), vectors (n, d)

KINDS: tuple[Kind, ...] = get_args(Kind)
EXACT_UP_TO = 200_000  # items; to compare one picture with all of them takes about 15 ms
LARGE: Kind = "ivf"  # above that, where the memory suffices

faiss: Any = faiss_  # its own type stubs lack half of what is used here, and are wrong about the rest
_LINKS, _BUILD_WIDTH, _SEARCH_WIDTH = 32, 120, 96  # HNSW's M, efConstruction, efSearch
_CELLS, _TRAINING = 2, 50  # cells per sqrt(items); vectors a cell is found by
_PROBES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # cells looked into
_ENOUGH, _ASKED, _NEAREST = 0.999, 500, 11  # recall that settles how many; items that are asked, and found for each
_FEW = 1000  # vectors


def on_one_thread() -> None:
    """From now on, what this thread searches is searched by it alone: for many that search at once."""
    faiss.omp_set_num_threads(1)


def item_bytes(kind: Kind, dimensions: int) -> int:
    """Bytes of memory that an item takes in an index of that kind."""
    numbers = _width(kind, dimensions) * (1 if kind == "ivf-sq8" else 4)
    beside = {"exact": 0, "hnsw": 4 * (2 * _LINKS + 2) + 13, "ivf": 8, "ivf-sq8": 8}
    return numbers + beside[kind] + 9


def choose(count: int, dimensions: int, memory: int) -> Kind:
    """The kind for so many items where `memory` bytes are there for building it, which takes 1.5 times the index."""
    if count <= EXACT_UP_TO:
        return "exact"
    return LARGE if 1.5 * count * item_bytes(LARGE, dimensions) <= memory else "ivf-sq8"


def widened(kind: Kind, vectors: Vectors) -> Vectors:
    """(n, d) as FAISS is given them, filled up with zeros for "ivf-sq8": bytes are decoded 16 at a time, or slowly."""
    more = _width(kind, vectors.shape[1]) - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, more))) if more else vectors


def _width(kind: Kind, dimensions: int) -> int:
    return -(-dimensions // 16) * 16 if kind == "ivf-sq8" else dimensions


def cells(count: int) -> int:
    """How many cells so many items are sorted into."""
    return max(1, min(int(_CELLS * count**0.5), count // _TRAINING))


def empty(kind: Kind, dimensions: int, count: int) -> Any:
    """A FAISS index of that kind for inner products, still without items; with cells for `count`, not yet trained."""
    if kind == "exact":
        return faiss.IndexFlatIP(dimensions)
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimensions, _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _BUILD_WIDTH
        return graph
    wide = _width(kind, dimensions)
    shape = (faiss.IndexFlatIP(wide), wide, cells(count))
    if kind == "ivf":
        index = faiss.IndexIVFFlat(*shape, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFScalarQuantizer(*shape, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # no warning on standard error where there are few
    return index


def fill(index: Any, kind: Kind, dimensions: int, blocks: Callable[[], Iterable[Block]], count: int) -> Ids:
    """Put all of `blocks()`, `count` vectors (n, d), into an empty index; their ids (n,). Room is made first: an array
    that has to grow takes twice its memory for a moment, and leaves holes.
    """
    if kind.startswith("ivf"):
        return _fill_cells(index, kind, dimensions, blocks, count)
    if kind == "hnsw":
        index.hnsw.neighbors.resize(count * (2 * _LINKS + 2))
        index.hnsw.neighbors.resize(0)
    codes = flat(index, kind).codes
    codes.resize(count * 4 * dimensions)
    codes.resize(0)
    added: list[Ids] = [np.empty(0, np.int64)]
    for ids, vectors in blocks():
        index.add(vectors)
        added.append(ids)
    return np.concatenate(added)


def _fill_cells(index: Any, kind: Kind, dimensions: int, blocks: Callable[[], Iterable[Block]], count: int) -> Ids:
    """Find the cells; sort all into them, to know how much room each needs; fill them; settle how many to look into."""
    index.train(widened(kind, _sample(blocks(), dimensions, count, index.nlist)))
    added: list[Ids] = [np.empty(0, np.int64)]
    cells = [np.empty(0, np.int64)]
    asked = [np.empty((0, index.d), np.float32)]
    apart = (count // _ASKED) | 1  # odd, so that most of these are none that the cells were found by
    passed = 0
    for ids, vectors in blocks():
        rows = widened(kind, vectors)
        added.append(ids)
        cells.append(index.quantizer.assign(rows, 1)[:, 0])
        asked.append(rows[-passed % apart :: apart].copy())
        passed += len(rows)
    for cell, size in enumerate(np.bincount(np.concatenate(cells), minlength=index.nlist).tolist()):
        index.invlists.resize(cell, size)
        index.invlists.resize(cell, 0)
    for (_, vectors), assigned in zip(blocks(), cells[1:], strict=True):
        rows = widened(kind, vectors)
        if len(rows) != len(assigned):
            raise ValueError("The blocks are others than a moment ago.")
        index.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(assigned))
    _settle(index, np.concatenate(asked))
    return np.concatenate(added)


def _settle(index: Any, asked: Vectors) -> None:
    """Have a full index look into as few of its cells as it takes to find, for the vectors (s, d) of some of its items,
    nearly all of the ten nearest other ones. Equal scores count as found; as truth counts what many more cells hold.
    """
    index.nprobe = min(index.nlist, max(2 * _PROBES[-1], index.nlist // 8))
    if not len(asked):
        return
    least = searched(index, asked, _NEAREST, None)[0][:, -1:] - 1e-6
    for probes in (*(probes for probes in _PROBES if probes < index.nlist), index.nlist):
        index.nprobe = probes
        if (searched(index, asked, _NEAREST, None)[0][:, 1:] >= least).mean() >= _ENOUGH:
            return


def _sample(blocks: Iterable[Block], dimensions: int, count: int, cells: int) -> Vectors:
    """(n, d): vectors to find so many cells by, about 50 each, evenly from all blocks. Where they are too few to say
    how far numbers range, the ends of the axes besides.
    """
    stride = max(1, count // (_TRAINING * cells))
    taken, passed = [], 0
    for _, vectors in blocks:
        taken.append(vectors[-passed % stride :: stride].copy())  # a view would keep the whole block
        passed += len(vectors)
    if passed < _FEW:
        taken += [np.eye(dimensions, dtype=np.float32), -np.eye(dimensions, dtype=np.float32)]
    return np.concatenate(taken)


def flat(index: Any, kind: Kind) -> Any:
    """Where the vectors of "exact" and "hnsw" lie."""
    return faiss.downcast_index(index.storage) if kind == "hnsw" else index


def effort(kind: Kind, wanted: int) -> Any:
    """FAISS's parameters of a search for so many neighbours, beside those of the index itself."""
    return faiss.SearchParametersHNSW(efSearch=max(_SEARCH_WIDTH, wanted)) if kind == "hnsw" else None


def searched(index: Any, queries: Vectors, wanted: int, params: Any) -> tuple[Vectors, Ids]:
    """Inner products and positions (q, wanted) as FAISS finds them.

    faiss.contrib.torch_utils, which other libraries import, puts a `search` that knows no parameters in its place, for
    the whole process; FAISS's own is then called search_numpy.
    """
    search = getattr(index, "search_numpy", index.search)
    found: tuple[Vectors, Ids] = search(queries, wanted, params=params)
    return found
