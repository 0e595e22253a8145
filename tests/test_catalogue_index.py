"""The index of a catalogue follows what is written, and is never believed against the truth."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from pictures import Cli, best, random_items, save_folder
from vitrine import storage
from vitrine.catalogue import Item, folders, index_kinds, kept_index
from vitrine.catalogue.index_kinds import KINDS, Kind
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.vector_index import VectorIndex
from vitrine.cli.fill import Index
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import InputError

SIZE = Encoder.load("default").card.embedding
QUERY = random_items(1, SIZE, seed=99)[0].vector
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def catalogue(encoder: Encoder) -> LocalCatalogue:
    return LocalCatalogue.create("shop", encoder)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Kind]:
    """The kinds of the indexes that are built from now on."""
    kinds: list[Kind] = []
    build = VectorIndex.build

    def heard(kind: Kind, *rest: Any) -> VectorIndex:
        kinds.append(kind)
        return build(kind, *rest)

    monkeypatch.setattr(VectorIndex, "build", heard)
    return kinds


def file() -> Path:
    """The one index file."""
    (found,) = folders.folder("shop").glob("index-*")
    return found


def check(there: dict[int, Item], catalogue: LocalCatalogue, k: int = 10) -> None:
    """Searches find exactly what plain multiplication finds."""
    found = catalogue.search(QUERY[None], k)[0]
    wanted = best(there, QUERY)[:k]
    assert [match.id for match in found] == [id for id, _ in wanted]
    assert [match.score for match in found] == pytest.approx([score for _, score in wanted], abs=1e-5)
    assert [match.source for match in found] == [there[id].source for id, _ in wanted]


def fill(catalogue: LocalCatalogue, count: int, seed: int = 0, start: int = 0) -> dict[int, Item]:
    items = random_items(count, SIZE, seed, start)
    return dict(zip(catalogue.add(items), items, strict=True))


def change(catalogue: LocalCatalogue, there: dict[int, Item], seed: int) -> dict[int, Item]:
    """Ten more, five others under old names, three gone; what is there then."""
    new = fill(catalogue, 10, seed=seed, start=1000 * seed) | fill(catalogue, 5, seed=50 + seed)
    sources = {item.source for item in new.values()}
    there = {id: item for id, item in there.items() if item.source not in sources} | new
    gone = sorted(there)[10:13]
    assert catalogue.remove(gone) == 3
    return {id: item for id, item in there.items() if id not in gone}


@every_kind
def test_it_follows_what_is_written_without_being_built_anew(
    catalogue: LocalCatalogue, kind: Kind, built: list[Kind]
) -> None:
    catalogue.use_index(kind)
    there = fill(catalogue, 200)
    with LocalCatalogue.open("shop") as reader:
        for seed in (1, 2, 3):
            check(there, catalogue)
            check(there, reader)
            there = change(catalogue, there, seed)
        catalogue.save_index()
        with LocalCatalogue.open("shop") as opened:
            check(there, opened)
    assert built == [kind]
    assert VectorIndex.load(file()).kind == kind


def test_its_file_is_written_again_when_much_has_changed(
    catalogue: LocalCatalogue, built: list[Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_index, "_BEHIND", 20)
    there = fill(catalogue, 200)
    catalogue.save_index()
    first = file()
    there |= fill(catalogue, 20, seed=1, start=1000)
    catalogue.save_index()
    assert file() == first
    catalogue.remove([1])
    del there[1]
    with LocalCatalogue.open("shop") as opened:
        check(there, opened)
        opened.save_index()
    assert file() != first
    assert catalogue._store.connection.execute("SELECT count(*) FROM removed").fetchone() == (0,)
    check(there, catalogue)  # its own is older than what is remembered of removals: it takes the one in the file
    assert built == ["exact"]
    there = change(catalogue, there, 2)
    check(there, catalogue)


def test_it_is_built_anew_when_half_of_it_is_gone(catalogue: LocalCatalogue, built: list[Kind]) -> None:
    there = fill(catalogue, 200)
    catalogue.save_index()
    for id in range(1, 101):
        del there[id]
    catalogue.remove(range(1, 101))
    check(there, catalogue)
    assert built == ["exact"]
    catalogue.save_index()
    assert built == ["exact", "exact"]
    assert VectorIndex.load(file()).garbage == 0
    check(there, catalogue)


def test_cells_are_made_anew_for_several_times_as_many_items(catalogue: LocalCatalogue, built: list[Kind]) -> None:
    catalogue.use_index("ivf")
    there = fill(catalogue, 400)
    catalogue.save_index()
    there |= fill(catalogue, 390, seed=1, start=1000)
    check(there, catalogue)
    catalogue.save_index()
    assert built == ["ivf"]
    there |= fill(catalogue, 100, seed=2, start=2000)
    check(there, catalogue)
    catalogue.save_index()
    assert built == ["ivf", "ivf"]
    fill(catalogue, 900, seed=3, start=3000)  # more are new than old: to build is less work than to follow
    catalogue.search(QUERY[None], 1)
    assert built == ["ivf"] * 3


@every_kind
def test_every_kind_answers_nearly_as_exactly(catalogue: LocalCatalogue, kind: Kind) -> None:
    catalogue.use_index(kind)
    there = fill(catalogue, 3000)
    catalogue.save_index()
    with LocalCatalogue.open("shop") as opened:
        assert opened.info().index == kind
        found = opened.search(QUERY[None], 50)[0]
        wanted = dict(best(there, QUERY)[:50])
        assert (
            len({match.id for match in found} & wanted.keys()) >= 35
        )  # nothing is near to anything among such vectors
        for match in found:  # the scores are exact, also where the index only knows them roughly
            assert match.score == pytest.approx(float(there[match.id].vector @ QUERY), abs=1e-5)


def test_the_kind_follows_the_size_and_the_memory_unless_it_is_chosen(
    catalogue: LocalCatalogue, built: list[Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_kinds, "EXACT_UP_TO", 100)
    fill(catalogue, 100)
    catalogue.save_index()
    fill(catalogue, 1, seed=1, start=1000)
    catalogue.save_index()
    assert catalogue.info().index == "ivf"
    monkeypatch.setattr(storage, "memory", lambda: 2**16)
    catalogue.save_index()
    assert catalogue.info().index == "ivf-sq8"
    catalogue.use_index("hnsw")
    assert len(catalogue.search(QUERY[None], 5)[0]) == 5  # by the old one, until the new one is ready
    catalogue.save_index()
    assert catalogue.info().index == "hnsw"
    catalogue.use_index("auto")
    catalogue.save_index()
    assert built == ["exact", "ivf", "ivf-sq8", "hnsw", "ivf-sq8"]
    with pytest.raises(InputError, match="There is no index 'pq'; there are auto, exact, hnsw, ivf, ivf-sq8"):
        catalogue.use_index("pq")


def harmed(content: bytes) -> dict[str, Callable[[], object]]:
    return {
        "missing": lambda: file().unlink(),
        "truncated": lambda: file().write_bytes(content[:-1]),
        "damaged": lambda: file().write_bytes(content[:200] + bytes(8) + content[208:]),
        "foreign": lambda: file().write_bytes(b"text" * 1000),
        "renamed": lambda: file().rename(file().with_name("index-99.faiss")),
    }


@pytest.mark.parametrize("harm", harmed(b""))
def test_a_file_that_cannot_be_believed_is_made_anew(catalogue: LocalCatalogue, harm: str, built: list[Kind]) -> None:
    there = fill(catalogue, 50)
    catalogue.save_index()
    catalogue.close()
    harmed(file().read_bytes())[harm]()
    with LocalCatalogue.open("shop") as opened:
        check(there, opened)
    assert built == ["exact", "exact"]
    with LocalCatalogue.open("shop") as opened:
        check(there, opened)
    assert built == ["exact", "exact"]


@pytest.mark.parametrize("generation", [1, 2])
def test_an_index_of_other_items_is_made_anew(catalogue: LocalCatalogue, generation: int, built: list[Kind]) -> None:
    """As many, but others: of a copy that went another way; and of a generation that there is not yet."""
    there = fill(catalogue, 20)
    others = np.stack([item.vector for item in random_items(20, SIZE, seed=5)])
    other = VectorIndex.build("exact", SIZE, lambda: [(np.arange(100, 120), others)], 20)
    other.save(folders.folder("shop") / f"index-{generation}.faiss", generation)
    built.clear()
    check(there, catalogue)
    assert built == ["exact"]
    check(there, catalogue)
    assert built == ["exact"]


def test_pages_through_exact_copies_follow_each_other(catalogue: LocalCatalogue) -> None:
    one, *others = random_items(50, SIZE)
    catalogue.add(others)
    ids = catalogue.add([replace(one, source=f"copy {number}") for number in range(120)])
    catalogue.add(random_items(30, SIZE, seed=1, start=1000))
    pages = [[match.id for match in catalogue.search(one.vector[None], 9, offset=at)[0]] for at in range(0, 117, 9)]
    assert [id for page in pages for id in page] == ids[:117]
    many = catalogue.search(np.repeat(one.vector[None], 30, axis=0), 12)  # FAISS takes another way for so many
    assert all([match.id for match in matches] == ids[:12] for matches in many)


def test_more_than_there_is_can_be_asked_for(catalogue: LocalCatalogue) -> None:
    there = fill(catalogue, 20)
    assert len(catalogue.search(QUERY[None], 10**12)[0]) == 20
    assert catalogue.search(QUERY[None], 5, offset=10**12) == [[]]
    assert catalogue.search(QUERY[None], 5, offset=20) == [[]]
    assert [match.id for match in catalogue.search(QUERY[None], 5, offset=18)[0]] == [
        id for id, _ in best(there, QUERY)[18:]
    ]
    assert catalogue.search(np.empty((0, SIZE), np.float32), 5) == []
    with pytest.raises(InputError, match="finite"):
        catalogue.search(QUERY[None] * np.nan, 5)


def test_columns_that_change_are_seen_by_who_searched_before(catalogue: LocalCatalogue) -> None:
    there = fill(catalogue, 20)
    (id, _), *_ = best(there, QUERY)

    def columns(opened: LocalCatalogue) -> Any:
        return opened.search(QUERY[None], 1)[0][0].columns

    with LocalCatalogue.open("shop") as reader:
        for price in (5, 6):
            assert columns(reader) == columns(catalogue)
            (known,) = [item for item in catalogue.known() if item.id == id]
            catalogue.refresh([replace(known, columns={"price": price})])
            assert columns(reader) == columns(catalogue) == {"price": price}
            columns(reader)["price"] = 7  # what a caller does with an answer is his own affair
            assert columns(reader) == {"price": price}


def test_no_more_rows_are_kept_in_memory_than_is_said(
    catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrine.catalogue.store._KEPT", 10)
    there = fill(catalogue, 100)
    for _ in range(3):
        check(there, catalogue, 4)
        catalogue.search(random_items(1, SIZE, seed=5)[0].vector[None], 8)
        assert len(catalogue._store._memory.told) <= 10
    check(there, catalogue, 30)  # one answer may be longer


def test_the_command_chooses_an_index(cli: Cli, drawn: Splits, tmp_path: Path) -> None:
    save_folder(drawn.test[:10], tmp_path / "shop")
    for command, kind in (("add", "hnsw"), ("sync", "ivf-sq8")):
        assert cli("index", command, tmp_path / "shop", "--index", kind)[0] == 0
        assert f"index            {kind}\n" in cli("index", "info", "shop")[1]
        assert VectorIndex.load(file()).kind == kind
        assert len(cli("search", "--id", 1, "--catalogue", "shop")[1].splitlines()) == 9
    assert cli("index", "add", tmp_path / "shop")[0] == 0  # says nothing of it: it stays
    assert VectorIndex.load(file()).kind == "ivf-sq8"
    assert get_args(get_args(get_args(Index)[0])[0]) == ("auto", *KINDS)
    code, _, err = cli("index", "add", tmp_path / "shop", "--index", "pq")
    assert code == 2
    assert "'pq' is not one of" in err
