import errno
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.catalogue import index_kinds, vector_index
from vitrine.catalogue.index_kinds import KINDS, Block, Ids, Kind, Vectors
from vitrine.catalogue.vector_index import VectorIndex
from vitrine.errors import CatalogueError, InputError, StorageError

SIZE = 12
every_kind = pytest.mark.parametrize("kind", KINDS)


def some(count: int, seed: int = 0, size: int = SIZE) -> Vectors:
    """(n, d) float32, L2-normalised."""
    vectors: Vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def blocks(ids: Ids, vectors: Vectors, size: int = 700) -> Callable[[], Iterator[Block]]:
    return lambda: ((ids[i : i + size], vectors[i : i + size]) for i in range(0, len(ids), size))


def built(kind: Kind, vectors: Vectors, ids: Ids | None = None) -> VectorIndex:
    ids = np.arange(len(vectors)) if ids is None else ids
    return VectorIndex.build(kind, vectors.shape[1], blocks(ids, vectors), len(ids))


def best(ids: Ids, vectors: Vectors, queries: Vectors, k: int) -> Ids:
    """(q, k): by plain sorting, scores in double precision, rounded so that equal vectors are equal; -1 for none."""
    found = np.full((len(queries), k), -1, np.int64)
    for row, query in zip(found, queries, strict=True):
        scores = np.round(vectors.astype(np.float64) @ query.astype(np.float64), 7)
        order = np.lexsort((ids, -scores))[:k]
        row[: len(order)] = ids[order]
    return found


def recall(found: Ids, right: Ids) -> float:
    """The share of the right ids that were found, 1 where there are none."""
    hits = sum(len(set(a) & set(b) - {-1}) for a, b in zip(found.tolist(), right.tolist(), strict=True))
    return hits / max(1, int((right >= 0).sum())) if (right >= 0).any() else 1.0


@pytest.mark.parametrize("queries", [1, 7, 50])  # FAISS takes another way from 20 on
def test_exact_agrees_with_plain_sorting(queries: int) -> None:
    vectors, asked = some(2000), some(queries, seed=1)
    ids = np.arange(2000) * 3
    scores, found = built("exact", vectors, ids).search(asked, 10)
    assert (found == best(ids, vectors, asked, 10)).all()
    assert scores.dtype == np.float32
    assert found.dtype == np.int64
    assert scores == pytest.approx(np.sort(asked @ vectors.T)[:, ::-1][:, :10], abs=1e-6)


@pytest.mark.parametrize("queries", [1, 50])
@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_equal_scores_are_ordered_by_id(kind: Kind, queries: int) -> None:
    """Equal vectors lie everywhere in the base and in the tail, their ids in no order."""
    distinct = some(40, size=187)
    which = np.random.default_rng(2).permutation(np.arange(400) % 40)
    ids = np.random.default_rng(3).permutation(400)
    index = VectorIndex.build(kind, 187, blocks(ids[:300], distinct[which[:300]], size=100), 300)
    index.add(ids[300:], distinct[which[300:]])
    scores, found = index.search(distinct[np.arange(queries) % 40], 5)
    for row, (names, values) in enumerate(zip(found, scores, strict=True)):
        assert names.tolist() == np.sort(ids[which == row % 40])[:5].tolist()
        assert len(set(values.tolist())) == 1


@every_kind
def test_every_kind_finds_nearly_all(kind: Kind) -> None:
    vectors, asked = some(5000), some(60, seed=1)
    found = built(kind, vectors).search(asked, 10, exact=vectors.__getitem__)[1]
    assert recall(found, best(np.arange(5000), vectors, asked, 10)) >= 0.99


def test_exact_vectors_make_compressed_scores_exact() -> None:
    vectors, asked = some(5000), some(30, seed=1)
    index = built("ivf-sq8", vectors)
    seen: list[Ids] = []

    def exact(ids: Ids) -> Vectors:
        seen.append(ids)
        return vectors[ids]

    scores, found = index.search(asked, 10, exact=exact)
    assert scores == pytest.approx(np.einsum("qd,qkd->qk", asked, vectors[found]), abs=1e-6)
    assert all((ids[1:] > ids[:-1]).all() for ids in seen)
    rough, without = index.search(asked, 10)
    assert rough == pytest.approx(scores, abs=0.02)
    assert recall(without, found) >= 0.85


@every_kind
def test_pages_hardly_overlap(kind: Kind) -> None:
    vectors, asked = some(5000, size=64), some(20, seed=1, size=64)
    index = built(kind, vectors)
    ends = range(12, 600, 12)
    pages = [index.search(asked, end, exact=vectors.__getitem__)[1][:, -12:] for end in ends]
    found = np.sort(np.hstack(pages), axis=1)
    assert (found[:, 1:] == found[:, :-1]).mean() <= (0.01 if kind in ("hnsw", "ivf-sq8") else 0)


@every_kind
def test_an_empty_index_finds_nothing_and_takes_what_comes(kind: Kind, tmp_path: Path) -> None:
    index = VectorIndex.build(kind, SIZE, lambda: [], 0)
    scores, found = index.search(some(2), 3)
    assert (found == -1).all()
    assert (scores == -np.inf).all()
    index.save(tmp_path / "index", 1)
    with mock.patch.object(vector_index, "_TAIL", 5):
        for again in (index, VectorIndex.load(tmp_path / "index")):
            vectors = some(30)
            again.add(np.arange(30), vectors)
            found = again.search(vectors, 1, exact=vectors.__getitem__)[1]
            assert (found[:, 0] == np.arange(30)).all()
            assert (again.search(vectors[:1], 40)[1] >= 0).sum() == 30


@every_kind
def test_removed_items_never_come_back_nor_crowd_out_others(kind: Kind) -> None:
    vectors, asked = some(3000), some(1, seed=1)
    index = built(kind, vectors)
    exact = vectors.__getitem__
    nearest = best(np.arange(3000), vectors, asked, 620)[0]
    assert index.remove(np.append(nearest[:600], 99999)) == 600
    assert index.remove(nearest[:600]) == 0
    assert (len(index), index.garbage) == (2400, 0.2)
    assert index.search(asked, 20, exact=exact)[1][0].tolist() == nearest[600:].tolist()
    assert index.ids().tolist() == sorted(set(range(3000)) - set(nearest[:600].tolist()))


@every_kind
def test_a_replaced_item_is_found_at_its_new_place_only(kind: Kind) -> None:
    vectors, others = some(300), some(300, seed=1)
    index = built(kind, vectors)
    index.add(np.array([7, 300]), others[[7, 8]])
    for _ in range(2):  # once more while it is in the tail
        index.add(np.array([7]), others[9:10])
    assert len(index) == 301
    assert index.search(others[9:10], 1)[1].tolist() == [[7]]
    everything = index.search(vectors[7:8], 301)[1][0]
    assert len(set(everything.tolist())) == 301


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@every_kind
def test_any_sequence_of_changes_agrees_with_a_dictionary(kind: Kind, data: st.DataObject) -> None:
    """Few items, so that no kind leaves anything out; a tail of five, so that it comes into the base now and then."""
    pool = some(40, seed=5)[np.random.default_rng(6).integers(0, 40, 400)]  # with exact copies
    model: dict[int, int] = {id: id for id in data.draw(st.sets(st.integers(0, 60), max_size=20))}  # id -> row of pool
    start = np.array(data.draw(st.permutations(sorted(model))), np.int64)
    index = VectorIndex.build(kind, SIZE, blocks(start, pool[start], size=6), len(start))
    path = Path("index")

    def exact(ids: Ids) -> Vectors:
        return pool[[model[id] for id in ids.tolist()]]

    with mock.patch.object(vector_index, "_TAIL", 5), mock.patch.object(vector_index, "_SCAN", 3):
        for step in range(data.draw(st.integers(1, 6))):
            what = data.draw(st.sampled_from(["add", "remove", "reopen"]))
            chosen = np.array(data.draw(st.lists(st.integers(0, 60), unique=True, max_size=9)), np.int64)
            if what == "add":
                rows = [int(id) + 50 * (step + 1) for id in chosen]
                index.add(chosen, pool[rows])
                model |= dict(zip(chosen.tolist(), rows, strict=True))
            elif what == "remove":
                assert index.remove(chosen) == len(model.keys() & set(chosen.tolist()))
                model = {id: row for id, row in model.items() if id not in chosen}
            else:
                index.save(path, step)
                index = VectorIndex.load(path)
            assert index.ids().tolist() == sorted(model)
            allowed = data.draw(st.none() | st.lists(st.integers(0, 70)).map(lambda ids: np.array(ids, np.int64)))
            ids = np.array([id for id in sorted(model) if allowed is None or id in allowed], np.int64)
            asked = some(3, seed=step)
            scores, found = index.search(asked, 4, allowed, exact)
            right = best(ids, exact(ids), asked, 4)
            if kind in ("exact", "hnsw"):
                assert found.tolist() == right.tolist()
            assert ((found >= 0) == (right >= 0)).all()
            assert set(found.ravel().tolist()) <= {*ids.tolist(), -1}
            for names, values, wanted, query in zip(found, scores, right, asked, strict=True):
                there = names >= 0
                assert values[there] == pytest.approx(exact(names[there]) @ query, abs=1e-5)
                assert values[there] == pytest.approx(exact(wanted[there]) @ query, abs=1e-5)
                assert (values[~there] == -np.inf).all()


@every_kind
@pytest.mark.parametrize("scan", [0, 20_000])
def test_filters_of_every_share(kind: Kind, scan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "_SCAN", scan)
    random = np.random.default_rng(0)
    vectors, asked = some(3000), some(25, seed=1)
    index = VectorIndex.build(kind, SIZE, blocks(np.arange(2600), vectors[:2600]), 2600)
    index.add(np.arange(2600, 3000), vectors[2600:])
    index.remove(np.arange(0, 3000, 7))
    near = np.argsort(-(vectors @ asked[0]))  # a filter that has to do with what is asked for
    filters = [random.permutation(3000)[:count] for count in (0, 1, 3, 30, 300, 900, 1800, 2900, 3000)]
    for allowed in (*filters, near[:200], near[-200:], near[:2000], near[-2000:], np.array([-5, 5, 5, 9**15])):
        ids = np.array(sorted(id for id in set(allowed.tolist()) if 0 <= id < 3000 and id % 7), np.int64)
        found = index.search(asked, 10, allowed, vectors.__getitem__)[1]
        assert set(found.ravel().tolist()) <= {*ids.tolist(), -1}
        right = best(ids, vectors[ids], asked, 10)
        assert ((found >= 0) == (right >= 0)).all()
        assert recall(found, right) == (1 if kind == "exact" else pytest.approx(1, abs=0.01))


@every_kind
def test_reopening_gives_the_same_answers(kind: Kind, tmp_path: Path) -> None:
    vectors, asked = some(1000), some(9, seed=1)
    index = built(kind, vectors, np.random.default_rng(0).permutation(1000))
    index.add(np.arange(1000, 1100), some(100, seed=2))
    index.remove(np.arange(0, 1100, 9))
    path = tmp_path / "мій каталог" / "index"
    index.save(path, 41)
    opened = VectorIndex.load(path)
    assert (opened.kind, opened.dimensions, opened.generation, len(opened)) == (kind, SIZE, 41, len(index))
    scores, found = index.search(asked, 20)
    assert opened.search(asked, 20)[0].tolist() == scores.tolist()
    assert opened.search(asked, 20)[1].tolist() == found.tolist()
    assert path.stat().st_size < 1.1 * 1100 * index_kinds.item_bytes(kind, SIZE) + 5000
    opened.save(path, 42)  # over the file it is a view of
    path.with_name("another").write_bytes(path.read_bytes())
    path.with_name("another").replace(path)
    path.unlink()
    assert opened.search(asked, 20)[1].tolist() == found.tolist()
    opened.add(np.arange(2000, 9000), some(7000, seed=3))  # more than waits outside of the base
    assert len(opened) == len(index) + 7000
    assert opened.search(some(7000, seed=3)[:3], 1)[1].ravel().tolist() == [2000, 2001, 2002]
    assert list(path.parent.iterdir()) == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An index of 200 items in the base and 20 in the tail."""
    index = built("hnsw", some(200))
    index.add(np.arange(200, 220), some(20, seed=1))
    index.save(tmp_path / "index", 3)
    return tmp_path / "index"


def refused(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match="build it anew"):
        VectorIndex.load(path)
    return True


def test_a_truncated_file_is_refused(file: Path) -> None:
    content = file.read_bytes()
    assert all(refused(file, content[:size]) for size in (*range(0, 100, 7), *range(100, len(content), 997)))
    assert refused(file, content[:-1])
    assert refused(file, content + b"\0")


def test_a_damaged_file_is_refused(file: Path) -> None:
    """Every byte of the header, and many of what follows, which is small enough to be checked as a whole."""
    content = file.read_bytes()
    for at in (*range(72), *range(72, len(content), 499), len(content) - 1):
        for flip in (0x01, 0x80):
            assert refused(file, content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])


def test_links_to_nowhere_are_refused_even_when_no_checksum_tells(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when damage lies between the blocks that are checked."""
    content = bytearray(file.read_bytes())
    links = content.rfind(struct.pack("<i", -1) * 20)
    content[links : links + 4] = struct.pack("<i", 2**30)
    head = vector_index._HEADER.unpack_from(content)
    monkeypatch.setattr(vector_index, "_checksums", lambda *_: head[-3:-1])
    assert refused(file, bytes(content))


def test_damage_between_the_samples_is_found_in_the_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "_SAMPLE", 16)
    VectorIndex.build("exact", SIZE, lambda: [(np.arange(200), some(200))], 200).save(file, 3)
    assert len(VectorIndex.load(file, whole=True)) == 200
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    assert len(VectorIndex.load(file)) == 200
    with pytest.raises(CatalogueError, match="it is damaged"):
        VectorIndex.load(file, whole=True)


@pytest.mark.parametrize("kind", ["ivf", "ivf-sq8"])
def test_as_many_cells_are_looked_into_as_it_takes(kind: Kind, tmp_path: Path) -> None:
    """A few where items lie in clusters, most where they lie anywhere; and so they are by an index that was saved."""
    random = np.random.default_rng(0)
    anywhere = random.standard_normal((8000, 32), np.float32)
    clusters = np.repeat(anywhere[:200], 40, axis=0) + 0.02 * random.standard_normal((8000, 32), np.float32)
    probes = []
    for rows in (clusters, anywhere):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        blocks = [(np.arange(len(rows)), rows)]
        VectorIndex.build(kind, 32, blocks.copy, len(rows)).save(tmp_path / "index", 1)
        index = VectorIndex.load(tmp_path / "index")
        probes.append(index._base.nprobe)
        found = index.search(rows[::80], 10)[1]
        right = np.argsort(-rows[::80] @ rows.T, axis=1)[:, :10]
        if kind == "ivf":
            assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, right, strict=True)]) > 0.99
    assert probes[0] <= 8 < 64 <= probes[1]


def test_foreign_missing_and_newer_files_are_refused(file: Path) -> None:
    content = file.read_bytes()
    for other in (b"", b"x" * 72, b"SQLite format 3\0" + bytes(5000), content[72:]):
        assert refused(file, other)
    head = bytearray(content[:68])
    head[8:12] = struct.pack("<I", vector_index.FORMAT_VERSION + 1)
    assert refused(file, bytes(head) + struct.pack("<I", zlib.crc32(head)) + content[72:])
    with pytest.raises(CatalogueError, match=r"\(it has format \d, "):
        VectorIndex.load(file)
    for path in (file.parent, file.with_name("missing")):
        with pytest.raises(CatalogueError):
            VectorIndex.load(path)


def test_a_disk_that_refuses_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vitrine.catalogue.vector_index.faiss.write_index", full)
    with pytest.raises(StorageError, match="the disk is full"):
        VectorIndex.load(file).save(file, 9)
    assert file.read_bytes() == content
    assert list(file.parent.glob(".*.part")) == []


def test_what_cannot_be_used_is_refused_and_changes_nothing() -> None:
    index = built("exact", some(10))
    good = some(2)
    ids = np.array([3, 4])
    pairs: list[tuple[npt.NDArray[Any], Vectors]] = [
        (ids, good[:, :5]),
        (ids, good[0]),
        (ids, good * np.nan),
        (ids[:1], good),
        (ids.astype(np.int32), good),
        (np.array([3, 3]), good),
        (np.array([-1, 3]), good),
    ]
    for wrong, vectors in pairs:
        with pytest.raises(InputError):
            index.add(wrong, vectors)
    for queries, k in ((good[:, :5], 1), (good * np.inf, 1), (good, 0)):
        with pytest.raises(InputError):
            index.search(queries, k)
    assert (len(index), index.garbage) == (10, 0)
    with pytest.raises(InputError, match="twice"):
        VectorIndex.build("exact", SIZE, blocks(np.array([1, 2, 1]), some(3), size=2), 3)


def test_the_kind_is_chosen_by_size_and_memory() -> None:
    assert index_kinds.choose(1, 187, 0) == "exact"
    assert index_kinds.choose(index_kinds.EXACT_UP_TO, 187, 2**30) == "exact"
    assert index_kinds.choose(1_000_000, 187, 4 * 2**30) == index_kinds.LARGE
    assert index_kinds.choose(1_000_000, 187, 2**30) == "ivf-sq8"
    assert index_kinds.choose(10_000_000, 187, 4 * 2**30) == "ivf-sq8"
    assert 1.5 * 10_000_000 * index_kinds.item_bytes("ivf-sq8", 187) < 4 * 2**30


@every_kind
def test_memory_per_item_is_what_is_said(kind: Kind, tmp_path: Path) -> None:
    built(kind, some(4000, size=64)).save(tmp_path / "index", 0)
    file = (tmp_path / "index").stat().st_size
    cells = 80 * 4 * 64 if kind.startswith("ivf") else 0  # their centres
    assert file - cells == pytest.approx(4000 * index_kinds.item_bytes(kind, 64), rel=0.05)


@pytest.mark.slow
def test_beside_a_library_that_changes_faiss() -> None:
    """pytorch-metric-learning and others import faiss.contrib.torch_utils, which replaces methods of every index."""
    program = """
import faiss.contrib.torch_utils
import numpy as np
from vitrine.catalogue.index_kinds import KINDS
from vitrine.catalogue.vector_index import VectorIndex
vectors = np.eye(12, dtype=np.float32)[np.arange(3000) % 12] + np.random.default_rng(0).normal(0, 0.1, (3000, 12))
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
for kind in KINDS:
    index = VectorIndex.build(kind, 12, lambda: [(np.arange(3000), vectors)], 3000)
    index.remove(np.arange(5))
    for allowed in (None, np.arange(1, 3000, 2)):
        print(kind, index.search(vectors[7:8], 1, allowed)[1].item())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [word for kind in KINDS for word in (kind, "7") * 2]
