"""Bytes of the truth change on the disk: nothing wrong is answered, what is lost is named, the rest is whole again."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from pictures import random_items
from vitrine.catalogue import Item, Lost, folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, ModelFileError

SIZE = Encoder.load("default").card.embedding
PAGE = 4096


@pytest.fixture
def there(encoder: Encoder) -> list[Item]:
    """A catalogue "shop" of 200 items, with ids from 1."""
    items = random_items(200, SIZE)
    with LocalCatalogue.create("shop", encoder) as catalogue:
        for first in range(0, 200, 40):
            catalogue.add(items[first : first + 40])
    return items


def path() -> Path:
    return folders.folder("shop") / "catalogue.sqlite"


def harm(statement: str, values: Sequence[object] = ()) -> None:
    """Change the tables past their checksums."""
    with closing(sqlite3.connect(path())) as connection:
        connection.execute(statement, values)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "source"),
    [
        ("UPDATE items SET source = 's7 or another' WHERE id = 8", "s7 or another"),
        ("UPDATE items SET label = 'Class 1' WHERE id = 8", "s7"),
        ("UPDATE items SET label = NULL WHERE id = 8", "s7"),
        ("UPDATE items SET content = 'd7' WHERE id = 8", "s7"),
        ("UPDATE items SET added = '2026-01-01T00:00:00Z' WHERE id = 8", "s7"),
        ("UPDATE items SET columns = '{\"price\": 8}' WHERE id = 8", "s7"),
        ("UPDATE items SET columns = '{' WHERE id = 8", "s7"),
        ("UPDATE items SET checksum = checksum + 1 WHERE id = 8", "s7"),
        ("UPDATE items SET content = CAST(x'ff' AS TEXT) WHERE id = 8", "s7"),
        ("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE id = 8", "s7"),
        ("UPDATE vectors SET vector = x'00' WHERE id = 8", "s7"),
        ("DELETE FROM vectors WHERE id = 8", "s7"),
        ("DELETE FROM items WHERE id = 8", None),
    ],
)
def test_a_changed_row_is_never_answered_with(there: list[Item], statement: str, source: str | None) -> None:
    harm(statement)
    says = rf"1 item is lost: 8 \({source or 'its source cannot be read'}\).*vitrine index sync FOLDER --catalogue shop"
    with LocalCatalogue.open("shop") as opened:
        with pytest.raises(CatalogueError, match=says):
            opened.vectors()
        with pytest.raises(CatalogueError, match=says):
            opened.search(there[7].vector[None], 3)  # there is no index yet: it is made of all rows
        with pytest.raises(CatalogueError, match="has no item" if source is None else says):
            opened.item(8)
        assert opened.check().lost == (Lost(8, source),)
        assert opened.repair() == (Lost(8, source),)
        assert opened.repair() == ()
        assert opened.add([there[7]]) == [201]
        check(there, opened)


def check(there: list[Item], catalogue: LocalCatalogue) -> None:
    """All items are there, whatever their ids, and nothing else."""
    assert not catalogue.check().found
    known = {item.source: item for item in there}
    ids, vectors, sources = catalogue.vectors()
    assert sorted(sources) == sorted(known)
    for id, vector, source in zip(ids, vectors, sources, strict=True):
        assert (vector == known[source].vector).all()
        item = catalogue.item(int(id))
        assert (item.label, item.columns) == (known[source].label, known[source].columns)
    assert catalogue.search(there[50].vector[None], 1)[0][0].source == "s50"
    assert catalogue.columns() == {"price": len(there) // 2, "colour": len(there) // 2}
    assert catalogue.info().items == len(there)


def test_a_row_that_an_index_still_knows_is_never_answered_with(there: list[Item]) -> None:
    with LocalCatalogue.open("shop") as opened:
        opened.save_index()
    harm("UPDATE items SET label = 'a lie' WHERE id = 8")
    with LocalCatalogue.open("shop") as opened:
        assert opened.search(there[50].vector[None], 1)[0][0].source == "s50"
        with pytest.raises(CatalogueError, match="8 \\(s7\\)"):
            opened.search(there[7].vector[None], 3)


@pytest.mark.parametrize("harmed", ["zeroblob(length(vector))", "x'00'"])
def test_vectors_that_make_scores_are_checked(there: list[Item], harmed: str) -> None:
    with LocalCatalogue.open("shop") as opened:
        opened.use_index("ivf-sq8")
        opened.save_index()
    harm(f"UPDATE vectors SET vector = {harmed} WHERE id = 8")
    with LocalCatalogue.open("shop") as opened, pytest.raises(CatalogueError, match=r"1 item is lost: 8 \(s7\)"):
        opened.search(there[7].vector[None], 3)


def test_a_thumbnail_is_missed_when_it_is_needed(there: list[Item]) -> None:
    harm("UPDATE thumbnails SET image = x'00' WHERE id = 8")
    harm("DELETE FROM thumbnails WHERE id = 9")
    with LocalCatalogue.open("shop") as opened:
        assert opened.search(there[7].vector[None], 1)[0][0].id == 8
        for id in (8, 9):
            with pytest.raises(CatalogueError, match=r"2 items are lost: 8 \(s7\), 9 \(s8\)"):
                opened.item(id)
        assert opened.repair() == (Lost(8, "s7"), Lost(9, "s8"))
        opened.add(there[7:9])
        check(there, opened)


def test_many_lost_items_are_counted_and_the_first_are_named(there: list[Item]) -> None:
    harm("DELETE FROM vectors WHERE id > 100")
    with LocalCatalogue.open("shop") as opened:
        says = r"100 items are lost: 101 .* and 90 more; .* `vitrine index verify shop --json`"
        with pytest.raises(CatalogueError, match=says):
            opened.vectors()
        assert len(opened.repair()) == 100
        opened.add(there[100:])
        check(there, opened)


def test_what_is_damaged_can_be_removed(there: list[Item]) -> None:
    harm("UPDATE items SET columns = '{' WHERE id = 8")
    with LocalCatalogue.open("shop") as opened:
        assert opened.remove([8]) == 1
        assert not opened.check().lost


def test_facts_that_cannot_be_read_come_from_the_model(there: list[Item]) -> None:
    harm("UPDATE meta SET value = '77' WHERE key = 'dimensions'")
    with LocalCatalogue.open("shop") as opened:
        with pytest.raises(CatalogueError, match="what it says of itself cannot be read"):
            opened.info()
        assert opened.repair() == ()
        check(there, opened)
        assert opened.add([Item("new", None, "c", there[0].vector, b"png")]) == [201]
    harm("DELETE FROM meta")
    (folders.folder("shop") / "model.onnx").write_bytes(b"no model")
    with LocalCatalogue.open("shop") as opened, pytest.raises(ModelFileError):
        opened.repair()


def test_ids_are_not_used_again_when_facts_cannot_be_read(there: list[Item]) -> None:
    for _ in range(2):  # the second time it is the file that the first made
        with LocalCatalogue.open("shop") as opened:
            opened.remove([199, 200])
        harm("UPDATE meta SET value = '7' WHERE key = 'checksum'")
        with LocalCatalogue.open("shop") as opened:
            assert opened.repair() == ()
    with LocalCatalogue.open("shop") as opened:
        assert opened.add([there[199]]) == [201]


@pytest.mark.parametrize("change", ["add", "remove", "exchange"])
def test_facts_of_which_the_disk_has_lost_the_last_write(there: list[Item], change: str) -> None:
    with closing(sqlite3.connect(path())) as connection:
        before = connection.execute("SELECT key, value FROM meta").fetchall()
    with LocalCatalogue.open("shop") as opened:
        opened.save_index()
        if change != "add":
            opened.remove([7, 8])
        if change != "remove":
            opened.add(random_items(2, SIZE, seed=1, start=500))
        sources = {one.source for one in opened.known()}
    with closing(sqlite3.connect(path())) as connection:
        connection.executemany("UPDATE meta SET value = ?2 WHERE key = ?1", before)
        connection.commit()
    with LocalCatalogue.open("shop") as opened:
        with pytest.raises(CatalogueError, match="is damaged on the disk"):
            opened.vectors() if change != "exchange" else opened.add(random_items(1, SIZE, seed=2, start=900))
        assert opened.check().found
        assert opened.repair() == ()
        assert not opened.check().found
        assert {one.source for one in opened.known()} == sources
        found = opened.search(there[50].vector[None], 300)[0]
        assert {match.source for match in found} == sources
        assert opened.add(random_items(1, SIZE, seed=2, start=900)) == [201 if change == "remove" else 203]


def test_a_reader_that_is_open_sees_the_mended_catalogue(there: list[Item]) -> None:
    with LocalCatalogue.open("shop") as reader:
        assert reader.info().items == 200
        harm("DELETE FROM vectors WHERE id = 8")
        with LocalCatalogue.open("shop") as writer:
            writer.repair()
        assert reader.info().items == 199
        assert len(reader.search(there[0].vector[None], 200)[0]) == 199


def test_the_first_page_cannot_be_mended(there: list[Item]) -> None:
    written = path().read_bytes()
    path().write_bytes(bytes(PAGE) + written[PAGE:])
    with pytest.raises(CatalogueError, match="is damaged beyond reading"):
        LocalCatalogue.open("shop")
    path().write_bytes(written[:100] + bytes(PAGE - 100) + written[PAGE:])  # ours by its header, and no tables
    with pytest.raises(CatalogueError, match="is damaged beyond reading"):
        LocalCatalogue.open("shop")
    folders.delete("shop")
    assert folders.names() == []


def random_harm(written: bytes, random: Random) -> bytes:
    """One bit, some bytes or a page, anywhere but on the first page."""
    harmed = bytearray(written)
    at = random.randrange(PAGE, len(harmed))
    kind = random.choice(["bit", "bytes", "page", "zeros"])
    if kind == "bit":
        harmed[at] ^= 1 << random.randrange(8)
    elif kind == "bytes":
        length = min(32, len(harmed) - at)
        harmed[at : at + length] = random.randbytes(length)
    else:
        at = at // PAGE * PAGE
        harmed[at : at + PAGE] = random.randbytes(PAGE) if kind == "page" else bytes(PAGE)
    return bytes(harmed)


def harm_at_random(there: list[Item], seeds: range) -> None:
    """Whatever is harmed: what can be read is right, what is lost is named, and what was added again makes it whole."""
    written = path().read_bytes()
    known = {item.source: item for item in there}
    for seed in seeds:
        for leftover in (*path().parent.glob("catalogue.sqlite-*"), *path().parent.glob("index-*")):
            leftover.unlink()
        path().write_bytes(random_harm(written, Random(seed)))
        with LocalCatalogue.open("shop") as opened:
            try:
                _, vectors, sources = opened.vectors()
            except CatalogueError as error:
                if "is damaged on the disk" not in str(error):
                    raise
            else:
                assert sources == [item.source for item in there]
                pairs = zip(vectors, there, strict=True)
                assert all((vector == item.vector).all() for vector, item in pairs)
            lost = opened.repair()
            left = {item.source for item in opened.known()}
            assert left | {one.source for one in lost} >= known.keys(), f"seed {seed}"
            opened.add([item for item in there if item.source not in left])
            check(there, opened)


def test_random_damage(there: list[Item]) -> None:
    harm_at_random(there, range(20))


@pytest.mark.slow
def test_much_random_damage(there: list[Item]) -> None:
    harm_at_random(there, range(1000, 1400))
