import os
import sqlite3
import struct
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from vitrine import modelfile
from vitrine.catalogue import Item, access, folders, vector_index
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, StorageError

SIZE = Encoder.load("default").card.embedding


def items(count: int, seed: int = 0) -> list[Item]:
    vectors = np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Item(f"s{i}", f"class {i % 3}" if i % 4 else None, f"c{i}", vector, b"png") for i, vector in enumerate(vectors)
    ]


@pytest.fixture
def catalogue(encoder: Encoder) -> LocalCatalogue:
    return LocalCatalogue.create("shop", encoder)


@pytest.mark.parametrize("harm", ["missing", "truncated", "empty", "of another size", "of another collection"])
def test_a_damaged_index_is_rebuilt_from_the_truth(catalogue: LocalCatalogue, harm: str) -> None:
    there = items(40)
    catalogue.add(there)
    before = catalogue.search(there[0].vector[None], 5)
    catalogue.close()
    (file,) = folders.folder("shop").glob("index-*.faiss")
    if harm == "missing":
        file.unlink()
    elif harm == "truncated":
        file.write_bytes(file.read_bytes()[:900])
    elif harm == "empty":
        file.write_bytes(b"")
    elif harm == "of another collection":
        faiss.write_index(faiss.IndexIDMap(faiss.IndexFlatIP(SIZE)), str(file))
    else:
        faiss.write_index(faiss.IndexIDMap(faiss.IndexFlatIP(7)), str(file))
    with LocalCatalogue.open("shop") as opened:
        assert opened.search(there[0].vector[None], 5) == before


def test_a_second_writer_is_told(catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    other = sqlite3.connect(folders.folder("shop") / "catalogue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(access, "SECONDS_TO_WAIT", 0.01)
    catalogue._store.connection.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(CatalogueError, match="Another program is writing"):
        catalogue.add(items(1))
    other.execute("ROLLBACK")
    other.close()
    assert catalogue.add(items(1)) == [1]


def test_a_full_disk_loses_nothing(catalogue: LocalCatalogue) -> None:
    catalogue.add(items(5))
    pages = catalogue._store.connection.execute("PRAGMA page_count").fetchone()[0]
    catalogue._store.connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to say: the disk is full
    with pytest.raises(StorageError, match="the disk is full"):
        catalogue.add([replace(item, source=f"more {item.source}") for item in items(500)])
    assert catalogue.info().items == 5
    assert len(catalogue.search(items(1)[0].vector[None], 10)[0]) == 5


def test_mistakes_of_a_caller_are_not_taken_for_damage(catalogue: LocalCatalogue) -> None:
    catalogue.add(items(5))
    with pytest.raises(InputError, match="A number is too large for a catalogue"):
        catalogue.remove([1, 2**63])
    assert len(catalogue) == 5
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(sqlite3.ProgrammingError, match="created in a thread can only be used in that same thread"),
    ):
        pool.submit(len, catalogue).result()
    with (
        pytest.raises(CatalogueError, match=r"of 5 items 0 have a new vector\), and nothing in it is damaged"),
        catalogue.moving(Encoder.load("compact")),
    ):
        pass
    catalogue.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        len(catalogue)


def test_what_else_sqlite_refuses_is_to_be_looked_at(catalogue: LocalCatalogue) -> None:
    catalogue._store.connection.execute("DROP TABLE vectors")
    with pytest.raises(CatalogueError, match=r"no such table: vectors\); see `vitrine index verify shop`\."):
        catalogue.add(items(1))


def test_create_open_delete_and_their_refusals(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    with pytest.raises(CatalogueError, match="already"):
        LocalCatalogue.create("shop", encoder)
    with pytest.raises(CatalogueError, match=r"There is no catalogue 'other' \(there are shop\)"):
        LocalCatalogue.open("other")
    for name in ("", "../up", "a/b", ".hidden", "x" * 61, "-k"):
        with pytest.raises(InputError, match="cannot name a catalogue"):
            LocalCatalogue.open(name)
    catalogue.close()
    folders.delete("shop")
    assert folders.names() == []


def test_nothing_of_a_deleted_catalogue_comes_back(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    catalogue.add(items(5))
    catalogue.save_index()
    catalogue.close()
    folders.delete("shop")
    assert list(folders.folder("shop").parent.iterdir()) == []
    with LocalCatalogue.create("shop", encoder) as anew:
        there = items(5, seed=9)
        anew.add(there)
        assert anew.search(there[3].vector[None], 1)[0][0].source == "s3"


def test_what_another_writes_while_one_deletes(catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged that goes with it: neither just before it is gone nor afterwards."""
    monkeypatch.setattr(access, "SECONDS_TO_WAIT", 0.01)
    rename = Path.rename

    def write(path: Path, target: Path) -> Path:
        with pytest.raises(CatalogueError, match="Another program is writing"):
            catalogue.add(items(1))
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", write)
        folders.delete("shop")
    with pytest.raises(CatalogueError, match="was deleted"):
        catalogue.add(items(1))


def test_an_open_catalogue_does_not_write_into_its_successor(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    folders.delete("shop")
    with LocalCatalogue.create("shop", encoder) as anew:
        for write in (
            lambda: catalogue.add(items(1)),
            lambda: catalogue.remove([1]),
            lambda: catalogue.use_index("hnsw"),
        ):
            with pytest.raises(CatalogueError, match=r"was deleted \(or replaced\) meanwhile"):
                write()
        assert anew.add(items(1)) == [1]


def test_who_waits_for_the_lock_of_a_deleted_catalogue_is_told(
    catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = access.writer_lock

    @contextmanager
    def late(place: Path) -> Iterator[None]:
        with lock(place):
            place.rename(place.with_name(".gone"))  # between the first look and the lock
            yield

    monkeypatch.setattr(access, "writer_lock", late)
    with pytest.raises(CatalogueError, match="was deleted"):
        catalogue.add(items(1))


def test_only_an_empty_one_is_deleted(catalogue: LocalCatalogue) -> None:
    catalogue.add(items(1))
    folders.delete("shop", only_empty=True)
    assert len(catalogue) == 1
    catalogue.remove([1])
    folders.delete("shop", only_empty=True)
    assert folders.names() == []


def test_two_who_make_the_same_catalogue(encoder: Encoder) -> None:
    def make() -> None:
        with folders.making("both"):
            LocalCatalogue.create("both", encoder).close()

    with pytest.raises(CatalogueError, match="Another program has just made a catalogue 'both'; run it again"):
        make()
    assert folders.names() == ["both"]
    assert [path.name for path in folders.folder("both").parent.iterdir()] == ["both"]


def test_what_a_killed_program_left_goes_once_it_is_old(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    catalogues = folders.folder("shop").parent
    for name in (".new-1", ".new-2"):
        (catalogues / name).mkdir()
        (catalogues / name / "catalogue.sqlite").touch()
    for name in (".1.part", ".2.part"):
        (catalogues / "shop" / name).touch()
    for old in (".new-1/catalogue.sqlite", ".new-1", "shop/.1.part"):
        os.utime(catalogues / old, (0, 0))
    os.utime(catalogues / ".new-2", (0, 0))  # what is in it is young
    catalogue.add(items(1))
    LocalCatalogue.create("other", encoder).close()
    assert sorted(path.name for path in catalogues.iterdir()) == [".new-2", "other", "shop"]
    assert sorted(path.name for path in (catalogues / "shop").glob(".*")) == [".2.part"]
    os.utime(catalogues / ".new-2" / "catalogue.sqlite", (0, 0))
    folders.delete("other")
    assert [path.name for path in catalogues.iterdir()] == ["shop"]


def test_a_folder_that_vanishes_is_one_sentence(catalogue: LocalCatalogue) -> None:
    folders.folder("shop").rename(folders.folder("away"))
    with pytest.raises(CatalogueError, match="was deleted meanwhile"):
        catalogue.info()


def test_a_name_in_decomposed_letters_is_the_same_name(encoder: Encoder) -> None:
    LocalCatalogue.create("мій", encoder).close()
    assert folders.exists(unicodedata.normalize("NFD", "мій"))
    assert folders.names() == ["мій"]


def test_a_folder_or_a_link_in_the_way(encoder: Encoder, catalogue: LocalCatalogue) -> None:
    (folders.folder("ghost") / "something").mkdir(parents=True)
    with pytest.raises(CatalogueError, match="is in the way"):
        LocalCatalogue.create("ghost", encoder)
    folders.delete("ghost")
    LocalCatalogue.create("ghost", encoder).close()
    folders.folder("link").symlink_to(folders.folder("shop"))
    with pytest.raises(CatalogueError, match="is a link"):
        folders.delete("link")
    assert folders.names() == ["ghost", "link", "shop"]


def test_a_failed_creation_leaves_nothing(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        LocalCatalogue.create("shop", encoder)
    assert list(folders.folder("shop").parent.iterdir()) == []


def test_a_copy_of_another_model_is_refused(catalogue: LocalCatalogue, encoder: Encoder) -> None:
    card = replace(encoder.card, identity="0" * 32)
    modelfile.write(folders.folder("shop") / "model.onnx", encoder.content, card)
    with pytest.raises(CatalogueError, match="was made by the model"):
        catalogue.encoder()


def test_other_newer_and_damaged_files_are_one_sentence(catalogue: LocalCatalogue) -> None:
    catalogue.add(items(100))
    catalogue.close()
    path = folders.folder("shop") / "catalogue.sqlite"
    whole = path.read_bytes()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CatalogueError, match="newer than this vitrine knows"):
        LocalCatalogue.open("shop")
    path.write_bytes(b"no database at all, but quite long text" * 50)
    with pytest.raises(CatalogueError, match="is damaged beyond reading"):
        LocalCatalogue.open("shop")
    path.write_bytes(whole[:6000])
    with pytest.raises(CatalogueError):
        LocalCatalogue.open("shop").vectors()
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(CatalogueError, match="is not a catalogue of vitrine's"):
        LocalCatalogue.open("shop")


def test_a_read_only_catalogue_can_be_searched(catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    there = items(5)
    catalogue.add(there)
    catalogue.close()
    monkeypatch.setattr("os.access", lambda *_: False)
    with LocalCatalogue.open("shop") as opened:
        assert opened.search(there[2].vector[None], 1)[0][0].source == "s2"
        with pytest.raises(StorageError, match="read-only"):
            opened.add(there)


@contextmanager
def without_rights() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.access", lambda *_: False)
        yield


@pytest.mark.parametrize("writing", [True, False])
def test_who_may_not_write_sees_what_others_write(catalogue: LocalCatalogue, writing: bool) -> None:
    there = items(60)
    catalogue.add(there[:40])
    catalogue.save_index()
    catalogue.close()
    with without_rights():
        reader = LocalCatalogue.open("shop")
        assert reader.search(there[2].vector[None], 1)[0][0].source == "s2"
    for first in (1, 10):  # what is seen once is seen again
        writer = LocalCatalogue.open("shop")
        writer.remove(range(first, first + 5))
        writer.add(there[40 + first : 45 + first])
        if not writing:
            writer.close()
        with without_rights():
            assert len(reader) == 40
            assert reader.search(there[first].vector[None], 1)[0][0].source != f"s{first}"
            assert reader.search(there[40 + first].vector[None], 1)[0][0].source == f"s{40 + first}"
            assert not reader.check().found
            with pytest.raises(StorageError, match="read-only"):
                reader.remove([20])
        writer.close()
    reader.close()


def test_who_may_not_write_is_told_of_a_write_in_between(catalogue: LocalCatalogue) -> None:
    catalogue.add(items(40))
    catalogue.close()
    with without_rights():
        reader = LocalCatalogue.open("shop")

    def read() -> None:
        with reader.reading() as opened:
            assert opened.meta().items == 40
            with LocalCatalogue.open("shop") as writer:
                writer.remove(range(1, 30))

    with pytest.raises(CatalogueError, match="while it was read; run it again"):
        read()
    with without_rights():
        assert len(reader.vectors()[0]) == 11
    reader.close()


def test_a_source_that_is_no_text(catalogue: LocalCatalogue) -> None:
    with pytest.raises(CatalogueError, match=r"'\\udcff' is no text in UTF-8"):
        catalogue.ids(["\udcff"])


def test_an_index_that_is_damaged_unseen_is_made_anew(
    catalogue: LocalCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = items(40)
    catalogue.add(there)
    catalogue.use_index("ivf-sq8")
    catalogue.save_index()
    (path,) = folders.folder("shop").glob("index-*.faiss")
    content = bytearray(path.read_bytes())
    place = content.rfind(struct.pack("<qq", 20, 21))
    content[place : place + 8] = struct.pack("<q", 2**40)
    path.write_bytes(content)
    head = vector_index._HEADER.unpack_from(content)
    monkeypatch.setattr(vector_index, "_checksums", lambda *_: head[-3:-1])
    with LocalCatalogue.open("shop") as opened:
        assert len(opened.search(there[2].vector[None], 40)[0]) == 40
