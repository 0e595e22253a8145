"""What every back end does: all of these run on a catalogue on this machine, and on one on a real Milvus server."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from milvus_fixtures import Milvus
from vitrine.catalogue import Catalogue, Item, by_name
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError

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
