"""Catalogues of format 1, made by the first vitrine and kept in tests/files, open for ever."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from pictures import random_items
from vitrine.catalogue import filters, folders, tables, writing
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError

FILES = Path(__file__).parent / "files"
HELD = {  # ids, and how many numbers a vector has
    "catalogue-1": ([1, 2, 3, 4, 5], 128),
    "catalogue-1-killed": ([3, 4, 5, 6, 7, 8, 9], 187),  # its program was killed: the last write is in the WAL
}


@pytest.fixture(params=HELD)
def old(request: pytest.FixtureRequest) -> str:
    """A catalogue of format 1, by the name of its folder."""
    name = str(request.param)
    shutil.copytree(FILES / name, folders.folder(name))
    return name


def test_it_can_be_searched_as_it_is(old: str) -> None:
    with LocalCatalogue.open(old) as opened:
        ids, vectors, sources = opened.vectors()
        assert ids.tolist() == HELD[old][0]
        assert sources[2] == f"drawn/test/0000{4 if 'killed' in old else 2}"
        for id, vector, source in zip(ids, vectors, sources, strict=True):
            match = opened.search(vector[None], 1)[0][0]
            assert (match.id, match.source, match.columns) == (id, source, None)
        nulls = opened.search(vectors[:1], 9, where=filters.parse("label is null", opened.columns()))[0]
        assert [match.id for match in nulls] == ([7, 8] if "killed" in old else [])[:1]
        assert opened.item(int(ids[0])).thumbnail.startswith(b"\x89PNG")
        assert opened.ids(sources) == dict(zip(sources, ids.tolist(), strict=True))
        assert not opened.check().found
        assert (opened.info().format_version, opened.info().columns) == (1, {})


def test_it_can_be_searched_on_a_read_only_disk(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with LocalCatalogue.open(old) as opened:
        _, vectors, _ = opened.vectors()
        assert opened.search(vectors[:1], 1)[0][0].id == HELD[old][0][0]
        assert opened.info().format_version == 1


def test_the_first_write_makes_it_format_2(old: str) -> None:
    with LocalCatalogue.open(old) as opened, LocalCatalogue.open(old) as reader:
        before = opened.vectors()
        items = [opened.item(id) for id in HELD[old][0]]
        held = reader.search(before[1][:1], 3)
        (new,) = opened.add(random_items(1, HELD[old][1], start=1))
        assert new == HELD[old][0][-1] + 1
        assert opened.info().format_version == tables.FORMAT_VERSION == 2
        assert not opened.check().found
        for id, item in zip(HELD[old][0], items, strict=True):
            again = opened.item(id)
            assert (again.source, again.label, again.content, again.thumbnail) == (
                item.source,
                item.label,
                item.content,
                item.thumbnail,
            )
        assert (opened.vectors()[1][:-1] == before[1]).all()
        assert held[0][0] == reader.search(before[1][:1], 3)[0][0]  # who had it open goes on
        cheap = filters.parse("price < 2", reader.columns())
        assert [match.id for match in reader.search(before[1][:1], 9, where=cheap)[0]] == [new]
        assert opened.remove([new]) == 1
        assert opened.columns() == {}


def test_an_upgrade_is_whole_or_not_at_all(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with LocalCatalogue.open(old) as opened:
        with monkeypatch.context() as stopped:
            stopped.setattr(writing, "write_meta", stop)
            with pytest.raises(KeyboardInterrupt):
                opened.remove([3])
        assert opened.info().format_version == 1
        assert opened.vectors()[0].tolist() == HELD[old][0]
    with LocalCatalogue.open(old) as opened:
        assert opened.remove([3]) == 1
        assert opened.info().format_version == 2


def test_damage_that_shows_in_format_1_is_mended_into_format_2(old: str) -> None:
    with LocalCatalogue.open(old) as opened:
        opened._store.connection.execute("DELETE FROM vectors WHERE id = 4")
        assert [one.id for one in opened.check().lost] == [4]
    model = "compact" if HELD[old][1] == 128 else "default"
    shutil.copy(Path(tables.__file__).parents[1] / "models" / f"{model}.onnx", folders.folder(old) / "model.onnx")
    with LocalCatalogue.open(old) as opened:
        assert [one.id for one in opened.repair()] == [4]
        assert opened.info().format_version == 2
        assert opened.vectors()[0].tolist() == [id for id in HELD[old][0] if id != 4]


def test_a_damaged_row_of_format_1_stays_damaged(old: str) -> None:
    """What has no vector when the checksums are first made gets none."""
    with LocalCatalogue.open(old) as opened:
        opened._store.connection.execute("DELETE FROM vectors WHERE id = 4")
        opened.remove([3])
        assert [one.id for one in opened.check().lost] == [4]


def test_an_old_catalogue_takes_only_its_own_model(old: str, encoder: Encoder) -> None:
    with LocalCatalogue.open(old) as opened:
        shutil.copy(Path(tables.__file__).parents[1] / "models" / "default.onnx", folders.folder(old) / "model.onnx")
        if old == "catalogue-1-killed":
            assert opened.encoder().card.identity == opened.info().identity == encoder.card.identity
        else:  # of a model that is no longer shipped
            with pytest.raises(CatalogueError, match="takes no vectors of"):
                opened.encoder()


def test_what_came_and_went_since_a_generation_can_be_told(encoder: Encoder) -> None:
    """For an index that is brought up to date instead of being made anew."""
    with LocalCatalogue.create("shop", encoder) as catalogue:
        kept = catalogue._store
        catalogue.add(random_items(5, HELD["catalogue-1-killed"][1]))
        generation, last = kept.meta().generation, kept.meta().last
        catalogue.remove([2, 4])
        catalogue.add(random_items(3, HELD["catalogue-1-killed"][1], start=4))
        assert [block.ids.tolist() for block in kept.blocks(after=last)] == [[6, 7, 8]]
        assert _listed(kept.removed_since(generation)) == [2, 4, 5]
        assert _listed(kept.removed_since(generation + 1)) == [5]
        writing.forget_removed(kept, generation + 1)
        assert kept.removed_since(generation) is None
        assert _listed(kept.removed_since(generation + 1)) == [5]
        refreshed = kept.meta().generation
        catalogue.refresh(catalogue.known())
        assert kept.meta().generation == refreshed  # no vector came or went


def _listed(ids: "np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None") -> list[int]:
    assert ids is not None
    return sorted(ids.tolist())


def test_a_file_of_format_2_says_so(encoder: Encoder) -> None:
    LocalCatalogue.create("shop", encoder).close()
    connection = sqlite3.connect(folders.folder("shop") / "catalogue.sqlite")
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("PRAGMA application_id").fetchone() == (0x76697472,)
    connection.close()
