"""A catalogue into one file and back, while others write, and from a damaged one."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pictures import Cli, one_sentence, random_items
from vitrine.catalogue import backup, damage, folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import StorageError
from vitrine.progress import Progress

FILE = Path("shop.vitrine")


@pytest.fixture
def shop(encoder: Encoder) -> LocalCatalogue:
    catalogue = LocalCatalogue.create("shop", encoder)
    catalogue.add(random_items(60, encoder.card.embedding))
    catalogue.remove([7, 60])
    return catalogue


def contents(name: str) -> list[object]:
    """Everything in a catalogue, but what is kept for an older index only."""
    with LocalCatalogue.open(name) as opened, opened.reading() as store:
        tables = ("items", "vectors", "thumbnails", "columns", "meta WHERE key NOT IN ('removed_since', 'checksum')")
        return [store.connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]


def test_there_and_back(shop: LocalCatalogue, encoder: Encoder) -> None:
    told: list[tuple[int, int]] = []
    assert backup.write(shop, FILE, lambda done, total: told.append((done, total))) == 58
    assert told
    assert all(0 <= done <= total for done, total in told)
    assert [path.name for path in Path().iterdir()] == [FILE.name]
    before = contents("shop")
    folders.delete("shop")
    assert backup.restore(FILE, "again") == ()
    assert contents("again") == before
    with LocalCatalogue.open("again") as again:
        assert again.encoder().content == encoder.content
        assert again.add(random_items(1, encoder.card.embedding, start=90)) == [61]
        with again.reading() as store:
            assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert store.connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'model'").fetchone() is None


def test_others_may_write_meanwhile(shop: LocalCatalogue, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each page that is copied another writer adds items; the backup is of the moment when it began."""
    monkeypatch.setattr(backup, "_PAGES", 1)
    monkeypatch.setattr(backup, "_PIECE", 1000)
    before = contents("shop")
    writes = 0

    def write(done: int, total: int, /) -> None:
        nonlocal writes
        if writes < 20:
            writes += 1
            with LocalCatalogue.open("shop") as other:
                other.add(random_items(3, encoder.card.embedding, seed=writes, start=100 * writes))
                other.remove([writes])

    backup.write(shop, FILE, write)
    assert writes == 20
    assert shop.info().items == 58 + 60 - 19  # 7 was gone
    backup.restore(FILE, "again")
    assert contents("again") == before


def test_an_older_backup_is_replaced_only_by_a_whole_one(shop: LocalCatalogue, encoder: Encoder) -> None:
    backup.write(shop, FILE)
    old = FILE.read_bytes()
    shop.add(random_items(500, encoder.card.embedding, start=100))

    def stop(done: int, total: int, /) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.write(shop, FILE, stop)
    assert FILE.read_bytes() == old
    assert [path.name for path in Path().iterdir()] == [FILE.name]
    assert backup.write(shop, FILE) == 558


def test_what_was_written_is_read_again(shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = backup._copy

    def harmed(source: sqlite3.Connection, path: Path, progress: Progress) -> None:
        copy(source, path, progress)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE id = 5")
            connection.commit()

    monkeypatch.setattr(backup, "_copy", harmed)
    with pytest.raises(StorageError, match="reads back wrong"):
        backup.write(shop, FILE)
    assert not FILE.exists()


def harm(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_damaged_catalogue_is_not_backed_up(shop: LocalCatalogue, cli: Cli) -> None:
    harm(folders.folder("shop") / "catalogue.sqlite", "UPDATE items SET label = 'x' WHERE id = 5")
    code, _, err = cli("index", "backup", "shop", FILE)
    assert (code, one_sentence(err), FILE.exists()) == (2, True, False)
    assert "1 item is lost: 5 (s4)" in err


def test_a_damaged_backup_gives_what_is_sound(shop: LocalCatalogue, cli: Cli) -> None:
    backup.write(shop, FILE)
    harm(FILE, "UPDATE items SET label = 'x' WHERE id IN (5, 6)")
    code, out, err = cli("index", "restore", FILE, "--catalogue", "again", "--json")
    assert (code, one_sentence(err)) == (2, True)
    assert "2 items are lost: 5 (s4), 6 (s5); the others are in 'again' now" in err
    assert (json.loads(out)["items"], [one["id"] for one in json.loads(out)["lost"]]) == (56, [5, 6])
    with LocalCatalogue.open("again") as again:
        assert not again.check().found


@pytest.mark.parametrize("step", ["check", "rebuild"])
def test_a_restore_that_is_stopped_leaves_nothing(
    shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    backup.write(shop, FILE)
    harm(FILE, "UPDATE items SET label = 'x' WHERE id = 5")

    def stop(*_: object) -> None:
        assert folders.names() == ["shop"]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(damage, step, stop)
        with pytest.raises(KeyboardInterrupt):
            backup.restore(FILE, "again")
    assert [path.name for path in folders.folder("shop").parent.iterdir()] == ["shop"]
    assert [one.id for one in backup.restore(FILE, "again")] == [5]
    assert len([*folders.folder("again").glob("index-*.faiss")]) == 1


@pytest.mark.parametrize("place", [16, 28, 47])  # the size of a page, how many there are, the schema's format
def test_a_backup_that_is_damaged_beyond_reading(shop: LocalCatalogue, cli: Cli, place: int) -> None:
    backup.write(shop, FILE)
    sound = FILE.read_bytes()
    FILE.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
    code, out, err = cli("index", "restore", FILE, "--catalogue", "again")
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert "or damaged beyond reading" in err
    assert folders.names() == ["shop"]


def test_a_damaged_model_comes_from_those_known(shop: LocalCatalogue, encoder: Encoder, cli: Cli) -> None:
    before = contents("shop")
    backup.write(shop, FILE)
    sound = FILE.read_bytes()
    place = sound.index(encoder.content[500_000:500_050])  # among the weights
    FILE.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
    assert backup.restore(FILE, "again") == ()
    assert contents("again") == before
    with LocalCatalogue.open("again") as again:
        assert again.encoder().content == encoder.content
    harm(FILE, "DELETE FROM model WHERE part = 1")
    assert backup.restore(FILE, "and-again") == ()
    harm(FILE, "UPDATE meta SET value = 'x' WHERE key = 'identity'")
    code, _, err = cli("index", "restore", FILE, "--catalogue", "not-again")
    assert (code, one_sentence(err)) == (2, True)
    assert "the same is not among those known here" in err
    assert not folders.exists("not-again")


def test_a_full_disk_of_the_backup_is_told_as_such(shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(backup, "_copy", full)
    with pytest.raises(StorageError, match=r"Cannot write shop\.vitrine: the disk refuses"):
        backup.write(shop, FILE)
    assert [*Path().iterdir()] == []


def test_bytes_that_were_changed_are_told(shop: LocalCatalogue, cli: Cli) -> None:
    """Whatever byte it is, what is restored is right, or told to be lost, or nothing."""
    backup.write(shop, FILE)
    sound, before = FILE.read_bytes(), contents("shop")
    for place in np.random.default_rng(0).integers(0, len(sound), 25):
        FILE.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        code, _, err = cli("index", "restore", FILE, "--catalogue", "again")
        if code == 0:
            assert contents("again")[:4] == before[:4]
        else:
            assert (code, one_sentence(err)) == (2, True)
        if folders.exists("again"):
            folders.delete("again")


def test_the_commands(shop: LocalCatalogue, cli: Cli) -> None:
    code, out, _ = cli("index", "backup", "shop", FILE, "--json")
    assert (code, json.loads(out)) == (
        0,
        {"catalogue": "shop", "file": str(FILE), "items": 58, "bytes": FILE.stat().st_size},
    )
    assert "58 items in shop.vitrine" in cli("index", "backup", "shop", FILE)[1]
    code, out, _ = cli("index", "restore", FILE, "--catalogue", "again")
    assert (code, out) == (0, "again: 58 items from shop.vitrine.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["backup", "none", "x"], "There is no catalogue 'none'"),
        (["backup", "shop", "folder"], "folder is a folder"),
        (["backup", "shop", "notes.txt"], "notes.txt is there already and is no backup"),
        (["backup", "shop", "live"], "live is there already and is no backup"),
        (["backup", "shop", "notes.txt/x"], "a file is in the way"),
        (["backup", "shop", "newer"], "newer has format 99, newer than"),
        (["restore", "none", "--catalogue", "x"], "There is no file none"),
        (["restore", "folder", "--catalogue", "x"], "There is no file folder"),
        (["restore", "notes.txt", "--catalogue", "x"], "notes.txt is no backup"),
        (["restore", "live", "--catalogue", "x"], "live is no backup"),
        (["restore", "empty", "--catalogue", "x"], "empty is no backup"),
        (["restore", "newer", "--catalogue", "x"], "newer has format 99, newer than"),
        (["restore", FILE, "--catalogue", "shop"], "There is a catalogue 'shop' already"),
        (["restore", FILE, "--catalogue", "a/b"], "cannot name a catalogue"),
    ],
)
def test_what_cannot_be_done(shop: LocalCatalogue, cli: Cli, arguments: list[object], says: str) -> None:
    backup.write(shop, FILE)
    Path("folder").mkdir()
    Path("empty").touch()
    Path("notes.txt").write_text("notes" * 500)
    Path("live").symlink_to(folders.folder("shop") / "catalogue.sqlite")
    Path("newer").write_bytes(FILE.read_bytes())
    harm(Path("newer"), "PRAGMA user_version = 99")
    there = {path.name for path in Path().iterdir()}
    before = contents("shop")
    code, out, err = cli("index", *arguments)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err
    assert {path.name for path in Path().iterdir()} == there
    assert contents("shop") == before
    assert folders.names() == ["shop"]
    assert [path.name for path in folders.folder("shop").parent.iterdir()] == ["shop"]
