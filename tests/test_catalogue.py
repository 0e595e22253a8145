"""What every back end does: all of these run on a catalogue on this machine, and on one on a real Milvus server."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from milvus_fixtures import Milvus
from vitrine.catalogue import Catalogue, Columns, Item, Known, access, by_name, filters
from vitrine.catalogue.milvus import writer as milvus_writer
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, ItemError

SIZE = Encoder.load("default").card.embedding


def items(count: int, seed: int = 0) -> list[Item]:
    vectors = np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Item(f"s{i}", f"class {i % 3}" if i % 4 else None, f"c{i}", vector, b"png") for i, vector in enumerate(vectors)
    ]


@pytest.fixture(params=["here", "milvus"])
def name(request: pytest.FixtureRequest) -> str:
    """How the catalogue is called that the test is about."""
    if request.param == "here":
        return "shop"
    server: Milvus = request.getfixturevalue("milvus")
    return server.name()


@pytest.fixture
def catalogue(name: str, encoder: Encoder) -> Iterator[Catalogue]:
    made = by_name.create(name, encoder)
    yield made
    made.close()


def test_search_agrees_with_plain_loops(catalogue: Catalogue) -> None:
    there = items(300)
    ids = catalogue.add(there)
    queries = np.stack([item.vector for item in items(7, seed=1)])
    for query, matches in zip(queries, catalogue.search(queries, 10), strict=True):
        scores = {
            id: sum(float(a) * float(b) for a, b in zip(query, item.vector, strict=True))
            for id, item in zip(ids, there, strict=True)
        }
        best = sorted(scores, key=lambda id: (-scores[id], id))[:10]
        assert [match.id for match in matches] == best
        for match in matches:
            assert match.score == pytest.approx(scores[match.id], abs=1e-5)
            assert (match.source, match.label) == (there[ids.index(match.id)].source, there[ids.index(match.id)].label)


def test_equal_scores_are_ordered_by_id(catalogue: Catalogue) -> None:
    one = items(1)[0]
    ids = catalogue.add([replace(one, source=f"copy {i}") for i in range(9)])
    assert [match.id for match in catalogue.search(one.vector[None], 5)[0]] == ids[:5]


def test_threshold_and_k(catalogue: Catalogue) -> None:
    there = items(20)
    catalogue.add(there)
    assert len(catalogue.search(there[0].vector[None], 100)[0]) == 20
    matches = catalogue.search(there[0].vector[None], 100, threshold=0.99)[0]
    assert [match.source for match in matches] == ["s0"]
    with pytest.raises(InputError, match="k is 0"):
        catalogue.search(there[0].vector[None], 0)


def test_an_empty_catalogue_has_no_matches(catalogue: Catalogue) -> None:
    assert catalogue.search(np.zeros((2, SIZE), np.float32), 5) == [[], []]
    assert catalogue.info().items == 0


def test_reopening_gives_the_same_answers(catalogue: Catalogue, encoder: Encoder) -> None:
    there = items(50)
    catalogue.add(there)
    before = catalogue.search(there[3].vector[None], 10)
    catalogue.close()
    with by_name.open_(catalogue.name) as opened:
        assert opened.search(there[3].vector[None], 10) == before
        assert opened.encoder().card.name == encoder.card.name


def test_remove_really_removes_and_ids_are_not_used_again(catalogue: Catalogue) -> None:
    there = items(10)
    ids = catalogue.add(there)
    assert catalogue.remove([ids[9], 12345]) == 1
    assert ids[9] not in [match.id for match in catalogue.search(there[9].vector[None], 10)[0]]
    with pytest.raises(CatalogueError, match="has no item"):
        catalogue.item(ids[9])
    assert catalogue.add([there[9]])[0] > ids[9]


def test_the_same_source_replaces(catalogue: Catalogue) -> None:
    first, second = items(2)
    catalogue.add([first])
    catalogue.add([replace(second, source=first.source)])
    assert catalogue.info().items == 1
    assert catalogue.search(second.vector[None], 1)[0][0].score == pytest.approx(1, abs=1e-5)


def test_all_or_none_are_added(catalogue: Catalogue) -> None:
    good, bad = items(2)
    for wrong in (np.zeros(5, np.float32), np.full(SIZE, np.nan, np.float32)):
        with pytest.raises(CatalogueError, match="The vector of s1"):
            catalogue.add([good, replace(bad, vector=wrong)])
    with pytest.raises(CatalogueError):
        catalogue.add([good, replace(bad, source="\udcff")])  # a name that is not UTF-8
    assert catalogue.info().items == 0
    assert catalogue.add([good]) == [1]


def test_another_reader_sees_what_was_added(catalogue: Catalogue) -> None:
    there = items(3)
    with by_name.open_(catalogue.name) as reader:
        assert reader.search(there[0].vector[None], 3) == [[]]
        catalogue.add(there)
        assert len(reader.search(there[0].vector[None], 3)[0]) == 3


def test_vectors_of_another_model_are_refused(catalogue: Catalogue, encoder: Encoder) -> None:
    catalogue.check_model(encoder.card.identity, "x")
    with pytest.raises(CatalogueError, match=f"was made by the model {encoder.card.name}"):
        catalogue.check_model("0" * 32, "other")
    with pytest.raises(CatalogueError, match="is searched with vectors"):
        catalogue.search(np.zeros((1, 5), np.float32), 1)


def test_pages_follow_each_other(catalogue: Catalogue) -> None:
    there = items(40)
    catalogue.add([*there, *(replace(one, source=f"{one.source} again") for one in there)])  # each score twice
    query = items(1, seed=5)[0].vector[None]
    whole = catalogue.search(query, 80)[0]
    pages = [catalogue.search(query, 7, offset=first)[0] for first in range(0, 91, 7)]
    assert [match for page in pages for match in page] == whole
    assert whole == sorted(whole, key=lambda match: (-match.score, match.id))
    assert len({match.id for match in whole}) == 80
    with pytest.raises(InputError, match="The offset is -1"):
        catalogue.search(query, 1, offset=-1)


def test_an_item_is_what_was_added(catalogue: Catalogue) -> None:
    one = items(1)[0]
    columns: Columns = {"price": 39.5, "size, EU": 42, "näme\n\"'\\": "50 % of_it\t"}
    whole = replace(one, columns=columns, stamp="1 2 3", thumbnail=bytes(range(256)) * 300, source='/a "b"/\\n\'.jpg')
    (id,) = catalogue.add([whole])
    found = catalogue.item(id)
    assert np.array_equal(found.vector, whole.vector)
    assert replace(found, vector=whole.vector) == whole
    assert list(catalogue.known()) == [Known(id, whole.source, None, "c0", columns, "1 2 3")]
    assert catalogue.search(one.vector[None], 1)[0][0].columns == columns
    assert catalogue.ids([whole.source, "s1"]) == {whole.source: id}
    assert catalogue.columns() == {name: 1 for name in sorted(columns)}
    with pytest.raises(ItemError, match="has no item 99"):
        catalogue.item(99)


def test_replacing_counts_and_gives_new_ids(catalogue: Catalogue) -> None:
    there = [replace(one, columns={"price": 1}) for one in items(6)]
    ids = catalogue.add(there)
    before = catalogue.moment()
    again = catalogue.add([replace(there[2], label="new", columns={"colour": "red"}), items(9)[8]])
    assert min(again) > max(ids)
    assert len(catalogue) == catalogue.info().items == 7
    assert ids[2] not in [item.id for item in catalogue.known()]
    assert catalogue.columns() == {"colour": 1, "price": 5}
    assert catalogue.labels(2) == {"class 0": 1, "class 1": 1}
    assert catalogue.info().labels == 4
    assert catalogue.moment().generation > before.generation
    assert catalogue.moment().identity == before.identity


def test_refreshing_keeps_vector_and_id(catalogue: Catalogue) -> None:
    there = items(5)
    ids = catalogue.add(there)
    before, changes = catalogue.moment(), catalogue.changes()
    wanted = Known(ids[1], "s1", "another", "c1", {"price": 7}, "9")
    catalogue.refresh([wanted, replace(wanted, id=4711)])
    assert next(item for item in catalogue.known() if item.id == ids[1]) == wanted
    found = catalogue.search(there[1].vector[None], 1)[0][0]
    assert (found.id, found.label, found.columns) == (ids[1], "another", {"price": 7})
    assert catalogue.moment() == before
    assert catalogue.changes() != changes
    assert catalogue.item(ids[1]).thumbnail == b"png"
    assert catalogue.labels(9)["another"] == 1
    with pytest.raises(InputError, match="The columns of s1 cannot be kept"):
        catalogue.refresh([replace(wanted, columns={"price": float("nan")})])
    assert catalogue.columns() == {"price": 1}


def test_what_is_known_comes_by_source_and_by_folder(catalogue: Catalogue) -> None:
    names = ["/b/1", "/a_b/1", "/a%/1", "/a/2", "/a/10", "/a", "/ab/1", "/ä/1", "/a/\U0001f457"]
    catalogue.add([replace(one, source=name) for one, name in zip(items(len(names)), names, strict=True)])
    assert [item.source for item in catalogue.known()] == sorted(names)
    assert [item.source for item in catalogue.known("/a/")] == ["/a/10", "/a/2", "/a/\U0001f457"]
    assert [item.source for item in catalogue.known("/a_")] == ["/a_b/1"]
    assert list(catalogue.known("/c")) == []
    ids, vectors, sources = catalogue.vectors()
    assert ids.tolist() == sorted(ids.tolist())
    assert sources == names
    assert np.array_equal(vectors, np.stack([item.vector for item in items(len(names))]))


def test_a_filter_narrows_a_search(catalogue: Catalogue) -> None:
    there = [replace(one, columns={"price": i} if i % 2 else None) for i, one in enumerate(items(30))]
    catalogue.add(there)
    found = catalogue.search(there[0].vector[None], 30, where=filters.parse("price > 10 and id < 20", ["price"]))[0]
    assert sorted(match.source for match in found) == ["s11", "s13", "s15", "s17"]
    assert catalogue.search(there[0].vector[None], 3, where=filters.parse("id > 99", [])) == [[]]


def test_one_writes_at_a_time(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (access, milvus_writer):
        monkeypatch.setattr(module, "SECONDS_TO_WAIT", 0.1)
    monkeypatch.setattr(milvus_writer, "BEAT", 0.1)
    with by_name.open_(catalogue.name) as other:
        with catalogue.sole_writer(), catalogue.sole_writer():
            catalogue.add(items(1))
            for write in (lambda: other.add(items(2)), lambda: other.remove([1]), lambda: other.refresh([])):
                with pytest.raises(CatalogueError, match="Another program is writing"):
                    write()
            assert len(other.search(items(1)[0].vector[None], 5)[0]) == 1
        assert other.add(items(2)) == [2, 3]
        assert len(catalogue) == 2


def test_a_sample_is_at_most_so_large(catalogue: Catalogue) -> None:
    assert catalogue.sample(5) == []
    catalogue.add(items(20))
    assert catalogue.sample(5) == [b"png"] * 5
    assert len(catalogue.sample(50)) == 20


def test_all_is_read_and_found_sound(catalogue: Catalogue) -> None:
    catalogue.add(items(20))
    assert not catalogue.check().found
    assert catalogue.repair() == ()


def test_making_and_deleting(catalogue: Catalogue, encoder: Encoder) -> None:
    with pytest.raises(CatalogueError, match="already"):
        by_name.create(catalogue.name, encoder)
    catalogue.add(items(1))
    version = catalogue.version()
    by_name.delete(catalogue.name, only_empty=True)
    assert by_name.exists(catalogue.name)
    assert not catalogue.replaced()
    by_name.delete(catalogue.name)
    assert not by_name.exists(catalogue.name)
    assert catalogue.replaced()
    with pytest.raises(CatalogueError, match="was deleted"):
        catalogue.add(items(1))
    with pytest.raises(CatalogueError, match="There is no catalogue"):
        by_name.open_(catalogue.name)
    with pytest.raises(CatalogueError, match="There is no catalogue"):
        by_name.delete(catalogue.name)
    with by_name.create(catalogue.name, encoder) as anew:
        assert catalogue.replaced()
        assert anew.version() != version
        with pytest.raises(CatalogueError, match="was deleted"):
            catalogue.add(items(1))


def test_another_model_takes_over(catalogue: Catalogue) -> None:
    ids, compact = catalogue.add(items(6)), Encoder.load("compact")
    with by_name.open_(catalogue.name) as other:
        other.encoder()
        with (
            pytest.raises(CatalogueError, match=r"of 6 items . have a new vector"),
            catalogue.moving(compact) as moving,
        ):
            moving.add((id, bytes(4 * compact.card.embedding)) for id in ids[:4])
        assert catalogue.info().dimensions == SIZE
        vectors = np.eye(6, compact.card.embedding, dtype="<f4")
        with catalogue.moving(compact) as moving:
            moving.add(zip(ids[4:], (vector.tobytes() for vector in vectors[4:]), strict=True))
        assert moving is not None
        assert catalogue.moved(compact)
        assert catalogue.encoder().card.identity == compact.card.identity
        assert catalogue.search(vectors[5:6], 1)[0][0].id == ids[5]
        with pytest.raises(CatalogueError, match="has moved to the model"):
            other.search(np.zeros((1, SIZE), np.float32), 1)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-sq8", "exact", "auto"])
def test_any_index_finds_the_nearest(catalogue: Catalogue, kind: str) -> None:
    there = items(60)
    catalogue.add(there)
    catalogue.use_index(kind)
    catalogue.save_index()
    found = catalogue.search(there[7].vector[None], 3)[0]
    assert found[0].source == "s7"
    assert found[0].score == pytest.approx(1, abs=1e-5)
    with pytest.raises(InputError, match="There is no index 'tree'"):
        catalogue.use_index("tree")
