"""What a catalogue of so many items takes: memory, disk, machines, and the kind of index. All of it is by rules, which
are printed with the answer; those of an index on one machine are held to benchmarks/results/search.jsonl by a test.

n is the number of items, d that of the numbers of a vector, G = 10^9 bytes.
"""

import math
from dataclasses import dataclass
from typing import Literal

from vitrine.catalogue import index_kinds
from vitrine.catalogue.index_kinds import Kind
from vitrine.errors import InputError

Where = Literal["local", "milvus"]

TEXTS = 100  # bytes of an item's source, label and columns, unless said otherwise
THUMBNAIL = 3000  # bytes of a small picture: of photos, half have 2,300 to 3,400
MEMORY = 64.0  # GB of a machine
FEW = 4  # machines up to which the quickest index is kept
DAY = 86_400.0

_PROGRAM = 100e6  # bytes: what a program takes that builds
_DEGREE, _CODES, _CACHE = 56, 0.125, 0.1  # DiskANN's max_degree and its shares of the raw vectors, Milvus's defaults
_LINKS = 32  # M of HNSW
_LOADED = 0.9  # of the memory of all query nodes
_STANDALONE = 100_000_000
_PAGE = 4096  # of SQLite and of a disk

RULES: tuple[tuple[str, str], ...] = (
    (
        "Here, an item in memory: exact 4d + 9 bytes, hnsw 4d + 286, ivf 4d + 17, ivf-sq8 d + 17, d filled up to a"
        " multiple of 16; with cells, 4d bytes for each of 2 sqrt(n) of them.",
        "index_kinds.py; FAISS wiki, 'Faiss indexes': 4d, 4d + 8 M, 4d + 8, d + 8",
    ),
    (
        "Building takes the index, 0.1 GB, and with cells 8 bytes an item and 50 vectors a cell.",
        "measured: search.jsonl, within 10 % at 1 and 10 million",
    ),
    (
        "Building on one core takes, in microseconds an item: 14 and 0.00002 for each cell and number with cells;"
        " 178 (n / 1,000,000)^0.18 for hnsw; 2 for exact.",
        "a fit to search.jsonl, within 15 % at 1 and 10 million; beyond that nothing was measured",
    ),
    (
        "On disk, here: SQLite's pages of 4,096 bytes with vectors, small pictures, texts twice; and the index.",
        "measured on a catalogue that a test makes, within 10 %",
    ),
    (
        "One machine does where building takes at most half of its memory and a day of one core.",
        "index_kinds.choose, which leaves the other half to everything else",
    ),
    (
        "Milvus, an item in memory: HNSW 4d + 8 M, M = 32; IVF_SQ8 d + 8; IVF_PQ m + 8, m the largest divisor of d up"
        " to d / 4; DISKANN 0.125 and 0.1 of the 4d bytes, for codes and cache; and 8 bytes for the id.",
        "FAISS wiki, 'Guidelines to choose an index'; Milvus docs, 'DISKANN' and 'knowhere-related configurations'",
    ),
    (
        "On the query nodes' disks: the fields, mapped there instead of loaded (queryNode.mmap.scalarField: true); the"
        " vectors themselves, where the index has them in bytes or codes; DISKANN's graph with vectors, 4d + 4 + 4 * 56"
        " bytes, as many as fit into 4,096.",
        "Milvus docs, 'Use mmap' and 'DISKANN'; DiskANN's layout",
    ),
    (
        "An item's fields: texts three times (as they are, for filters, in an index), 150 bytes besides, and the small"
        " picture in base64.",
        "vitrine's tables on Milvus",
    ),
    (
        "What is loaded may be 0.9 of the memory of all query nodes; each replica takes all of it again.",
        "Milvus docs, 'Load a collection'",
    ),
    (
        "In the object store, once: vectors, fields and index. Copies that it keeps for itself, and Milvus's other"
        " parts (proxy, coordinators, data nodes, etcd, log), come on top.",
        "Milvus docs; Zilliz's sizing tool counts them",
    ),
    (
        f"Of Milvus's kinds, HNSW is taken up to {FEW} machines a replica, then DISKANN, which needs NVMe disks;"
        " without such disks IVF_SQ8. IVF_PQ is the smallest and ranks worst: measure it on your own data first.",
        "FAISS wiki, 'Guidelines to choose an index'; Milvus docs, 'Index explained'",
    ),
    (
        "Milvus runs on one machine (standalone) up to 100 million items, and beyond that distributed, on Kubernetes.",
        "Milvus docs, 'Overview of Milvus deployment options'",
    ),
)


@dataclass(frozen=True)
class Choice:
    """One kind of index. index: its name there. bytes_per_item, memory: to serve it, all replicas. building, seconds:
    the most memory while it is built, and how long one core takes; None where the server does that. disk: here, or in
    the object store. node_disk: on the disks of all query nodes. machines: with that memory; None where one machine
    does not do.
    """

    where: Where
    index: str
    bytes_per_item: float
    memory: int
    building: int | None
    seconds: float | None
    disk: int
    node_disk: int
    machines: int | None


@dataclass(frozen=True)
class Plan:
    """choices: all kinds. advice: the one to take. why: in a sentence."""

    items: int
    dimensions: int
    choices: tuple[Choice, ...]
    advice: Choice
    why: str


@dataclass(frozen=True)
class Terms:
    """memory: bytes of a machine. replicas: of a catalogue on Milvus. thumbnail, texts: bytes of an item."""

    memory: float = MEMORY * 1e9
    replicas: int = 1
    thumbnail: int = THUMBNAIL
    texts: int = TEXTS


def plan(items: int, dimensions: int, terms: Terms | None = None) -> Plan:
    """Raises InputError for numbers that cannot be."""
    terms = terms or Terms()
    _check(items, dimensions, terms)
    here = [_local(kind, items, dimensions, terms) for kind in index_kinds.KINDS]
    there = [_milvus(index, items, dimensions, terms) for index in ("HNSW", "IVF_SQ8", "IVF_PQ", "DISKANN")]
    advice, why = _advice(items, dimensions, terms, here, there)
    return Plan(items, dimensions, (*here, *there), advice, why)


def _check(items: int, dimensions: int, terms: Terms) -> None:
    if not 1 <= items <= 10**11:
        raise InputError(f"{items:,} items cannot be planned for; allowed are 1 to 100,000,000,000.")
    if not 2 <= dimensions <= 32_768:
        raise InputError(f"A vector of {dimensions:,} numbers cannot be planned for; allowed are 2 to 32,768.")
    if not (1e9 <= terms.memory <= 1e14) or not 1 <= terms.replicas <= 100:
        raise InputError("A machine has 1 to 100,000 GB of memory, and there are 1 to 100 replicas; give such numbers.")
    if not 0 <= terms.thumbnail <= 10**6 or not 0 <= terms.texts <= 10**6:
        raise InputError("Small pictures and texts have up to 1,000,000 bytes an item; give such numbers.")


def _advice(items: int, dimensions: int, terms: Terms, here: list[Choice], there: list[Choice]) -> tuple[Choice, str]:
    usual = index_kinds.choose(items, dimensions, int(terms.memory // 2))
    local = next(choice for choice in here if choice.index == usual)
    if local.machines:
        return local, f"one machine does, with the index {usual} that it chooses by itself"
    hnsw, _, _, disk = there
    if hnsw.machines and hnsw.machines <= FEW * terms.replicas:
        way = "standalone" if hnsw.machines == 1 and items <= _STANDALONE else "distributed"
        return hnsw, f"more than one machine does here, so Milvus ({way}), with HNSW in memory"
    return disk, "more than a few machines could hold in memory, so Milvus (distributed), with DISKANN on NVMe disks"


# --- on one machine


def _local(kind: Kind, items: int, dimensions: int, terms: Terms) -> Choice:
    index, building = index_bytes(kind, items, dimensions), building_bytes(kind, items, dimensions)
    seconds = building_seconds(kind, items, dimensions)
    fits = building <= terms.memory / 2 and seconds <= DAY
    disk = index + items * table_bytes(dimensions, terms.thumbnail, terms.texts)
    return Choice(
        "local", kind, index / items, round(index), round(building), seconds, round(disk), 0, 1 if fits else None
    )


def index_bytes(kind: Kind, items: int, dimensions: int) -> float:
    """Of an index on one machine, in memory and in its file."""
    return items * index_kinds.item_bytes(kind, dimensions) + 4 * _cells(kind, items) * dimensions


def building_bytes(kind: Kind, items: int, dimensions: int) -> float:
    """The most memory while it is built."""
    cells = _cells(kind, items)
    sample = 8 * items + 50 * cells * 4 * dimensions if cells else 0
    return index_bytes(kind, items, dimensions) + _PROGRAM + sample


def building_seconds(kind: Kind, items: int, dimensions: int) -> float:
    """On one core."""
    if kind == "exact":
        return 2e-6 * items
    if kind == "hnsw":
        return 178e-6 * items * math.pow(items / 1e6, 0.18)
    return items * (14e-6 + 2e-11 * _cells(kind, items) * dimensions)


def _cells(kind: Kind, items: int) -> int:
    return index_kinds.cells(items) if kind.startswith("ivf") else 0


def table_bytes(dimensions: int, thumbnail: int, texts: int) -> float:
    """Of an item in SQLite's tables and their index by source."""
    return _paged(4 * dimensions) + _paged(thumbnail) + 1.2 * (2 * texts + 110)


def _paged(size: int) -> float:
    """Bytes that a row of that size takes in SQLite's pages."""
    if size + 9 > _PAGE - 35:
        return math.ceil(size / (_PAGE - 4)) * _PAGE + 500
    return _PAGE / ((_PAGE - 8) // (size + 9))


# --- on Milvus


def _milvus(index: str, items: int, dimensions: int, terms: Terms) -> Choice:
    raw, fields = 4 * dimensions, 3 * terms.texts + 150 + 4 * math.ceil(terms.thumbnail / 3)
    packed, beside = {  # bytes of the index in memory, and on the nodes' disks
        "HNSW": (raw + 8 * _LINKS, 0.0),
        "IVF_SQ8": (dimensions + 8, raw),
        "IVF_PQ": (codes(dimensions) + 8, raw),
        "DISKANN": (raw * (_CODES + _CACHE), _on_disk(dimensions)),
    }[index]
    each = packed + 8
    memory = terms.replicas * items * each
    machines = terms.replicas * math.ceil(items * each / (_LOADED * terms.memory))
    stored = items * (raw + fields + max(packed, beside if index == "DISKANN" else 0))
    node_disk = terms.replicas * items * (fields + beside)
    return Choice("milvus", index, each, round(memory), None, None, round(stored), round(node_disk), machines)


def codes(dimensions: int) -> int:
    """Bytes that IVF_PQ makes of a vector: the largest divisor of its size up to a quarter of it.

    >>> codes(128), codes(187), codes(127)
    (32, 17, 1)
    """
    return max(parts for parts in range(1, max(2, dimensions // 4 + 1)) if dimensions % parts == 0)


def _on_disk(dimensions: int) -> float:
    """Bytes of a node of DiskANN's graph, whole nodes to a page, or whole pages to a node."""
    node = 4 * dimensions + 4 + 4 * _DEGREE
    return _PAGE / (_PAGE // node) if node <= _PAGE else math.ceil(node / _PAGE) * _PAGE
