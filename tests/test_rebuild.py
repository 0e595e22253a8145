"""A catalogue moved to another model: from files, from small pictures, stopped at any moment, while others look on."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import Cli, one_sentence, random_items, save_folder
from vitrine import images, storage
from vitrine.catalogue import Vectors, access, folders, moving, writing
from vitrine.catalogue.local import LocalCatalogue
from vitrine.cli import sync
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, DataError
from vitrine.indexing import data_set, folder, rebuild


@pytest.fixture(scope="session")
def compact() -> Encoder:
    return Encoder.load("compact")


@pytest.fixture
def shop(drawn: Splits, encoder: Encoder, tmp_path: Path) -> Path:
    """A folder of 20 pictures, as the catalogue "shop"."""
    place = tmp_path / "shop"
    save_folder(drawn.test[:20], place)
    with LocalCatalogue.create("shop", encoder) as catalogue:
        folder.add_folder(catalogue, encoder, place)
        catalogue.remove([3])
        catalogue.save_index()
    return place


def of_folder(name: str, encoder: Encoder, place: Path) -> dict[str, Vectors]:
    """Source -> vector, of a new catalogue of that folder."""
    with LocalCatalogue.create(name, encoder) as fresh:
        folder.add_folder(fresh, encoder, place)
        return by_source(fresh)


def by_source(catalogue: LocalCatalogue) -> dict[str, Vectors]:
    _, vectors, sources = catalogue.vectors()
    return dict(zip(sources, vectors, strict=True))


def files(name: str = "shop") -> set[str]:
    found = {path.name for path in folders.folder(name).iterdir()}
    return {name for name in found if not name.startswith("index-") and not name.endswith(("-wal", "-shm"))}


def test_moved_is_as_made_by_the_new_model(shop: Path, encoder: Encoder, compact: Encoder) -> None:
    fresh = of_folder("fresh", compact, shop)
    with LocalCatalogue.open("shop") as catalogue:
        ids = catalogue.ids(fresh)
        told: list[tuple[int, int]] = []
        done = rebuild.rebuild(catalogue, compact, lambda *now: told.append(now))
        assert (done.items, done.kept, done.thumbnails, told[-1]) == (19, 0, 0, (19, 19))
        moved = by_source(catalogue)
        assert len(moved) == 19
        assert all(np.allclose(vector, fresh[source], atol=1e-6) for source, vector in moved.items())
        assert catalogue.ids(fresh) == ids  # they stay
        assert catalogue.encoder().card.identity == catalogue.info().identity == compact.card.identity
        assert not catalogue.check().found
        source, query = next(iter(moved.items()))
        assert catalogue.search(query[None], 1)[0][0].source == source
        again = rebuild.rebuild(catalogue, compact)
        assert (again.items, again.kept) == (19, 19)
    assert files() == {"catalogue.sqlite", "model.onnx", "writer.lock"}


def test_pictures_of_a_data_set_are_there_pixel_by_pixel(drawn: Splits, encoder: Encoder, compact: Encoder) -> None:
    with LocalCatalogue.create("fresh", compact) as fresh, LocalCatalogue.create("shop", encoder) as catalogue:
        data_set.add_dataset(fresh, compact, drawn.test)
        data_set.add_dataset(catalogue, encoder, drawn.test)
        assert rebuild.rebuild(catalogue, compact).thumbnails == 0
        old = by_source(fresh)
        assert all(np.allclose(vector, old[source], atol=1e-6) for source, vector in by_source(catalogue).items())


def test_images_of_a_data_set_are_kept_whole_at_any_size(
    drawn: Splits, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Encoder.run
    monkeypatch.setattr(Encoder, "run", lambda self, batch: run(self, images.resize(batch, encoder.card.image)))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 120, 120, 1), np.uint8)
    with LocalCatalogue.create("shop", encoder) as catalogue:
        data_set.add_dataset(catalogue, encoder, replace(drawn.test[:3], images=pixels))
        assert all((images.read(catalogue.item(id).thumbnail) == pixels[id - 1]).all() for id in (1, 2, 3))
        assert rebuild.rebuild(catalogue, Encoder.load("compact")).thumbnails == 0


def test_what_is_gone_or_changed_comes_from_its_small_picture(shop: Path, compact: Encoder) -> None:
    gone, other, *_ = sorted(shop.rglob("*.png"))
    expected = compact.embed([gone, other])
    Image.new("L", (50, 40), 99).save(other)
    gone.unlink()
    with LocalCatalogue.open("shop") as catalogue:
        assert rebuild.rebuild(catalogue, compact).thumbnails == 2
        moved = by_source(catalogue)
    assert np.allclose(moved[str(gone)], expected[0], atol=1e-6)  # PNGs of 28 pixels lose nothing
    assert np.allclose(moved[str(other)], expected[1], atol=1e-6)


@pytest.mark.parametrize("thumbnail", [b"nonsense", b"", images.blank()])
def test_without_any_picture_nothing_moves(shop: Path, encoder: Encoder, compact: Encoder, thumbnail: bytes) -> None:
    with LocalCatalogue.open("shop") as catalogue:
        (lost,) = catalogue.add([replace(one, thumbnail=thumbnail) for one in random_items(1, encoder.card.embedding)])
        with pytest.raises(DataError, match=rf"1 items of 'shop' cannot be embedded anew.* {lost} \(s0\)"):
            rebuild.rebuild(catalogue, compact)
        assert catalogue.info().identity == encoder.card.identity
        catalogue.remove([lost])
        done = rebuild.rebuild(catalogue, compact)
        assert (done.items, done.kept) == (19, 19)
        assert catalogue.info().identity == compact.card.identity


# --- stopped


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def at_write(number: int) -> Callable[[Path, bytes], None]:
    """`storage.write_bytes` that stops at its n-th file."""
    whole, count = storage.write_bytes, 0

    def write(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        if count == number:
            stop()
        whole(path, content)

    return write


STOPS: list[Callable[[pytest.MonkeyPatch], None]] = [
    lambda patch: patch.setattr(moving.Collected, "add", stop),
    lambda patch: patch.setattr(storage, "write_bytes", at_write(1)),
    lambda patch: patch.setattr(writing, "change_model", stop),
    lambda patch: patch.setattr(storage, "write_bytes", at_write(2)),
    lambda patch: patch.setattr(moving, "discard", stop),
]


@pytest.mark.parametrize("halt", STOPS)
def test_a_stop_at_any_step_does_no_harm(
    shop: Path, encoder: Encoder, compact: Encoder, halt: Callable[[pytest.MonkeyPatch], None]
) -> None:
    fresh = of_folder("fresh", compact, shop)
    with LocalCatalogue.open("shop") as catalogue, moving.collected(folders.folder("shop"), compact.card):
        before = by_source(catalogue)
    with pytest.MonkeyPatch.context() as patch, LocalCatalogue.open("shop") as catalogue:
        halt(patch)
        with pytest.raises(KeyboardInterrupt):
            rebuild.rebuild(catalogue, compact)
    with LocalCatalogue.open("shop") as catalogue:
        now = catalogue.encoder().card.identity  # it opens, and model and vectors agree
        expected = before if now == encoder.card.identity else fresh
        assert all(np.allclose(vector, expected[source], atol=1e-6) for source, vector in by_source(catalogue).items())
        rebuild.rebuild(catalogue, compact)
        assert all(np.allclose(vector, fresh[source], atol=1e-6) for source, vector in by_source(catalogue).items())
        assert not catalogue.check().found
    assert files() == {"catalogue.sqlite", "model.onnx", "writer.lock"}


def test_it_goes_on_where_it_was(
    shop: Path, compact: Encoder, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile one item went, and another came."""
    monkeypatch.setattr(rebuild, "BATCH", 5)
    told = 0

    def halt(done: int, total: int, /) -> None:
        nonlocal told
        told += 1
        if told == 2:
            stop()

    with LocalCatalogue.open("shop") as catalogue, pytest.raises(KeyboardInterrupt):
        rebuild.rebuild(catalogue, compact, halt)
    with LocalCatalogue.open("shop") as catalogue:
        assert catalogue.remove([1]) == 1
        Image.new("L", (28, 28), 99).save(shop / "new.png")
        folder.add_folder(catalogue, encoder, shop)  # brings 1 and 3 back under other ids
        done = rebuild.rebuild(catalogue, compact)
        assert (done.items, done.kept) == (21, 9)
        fresh = of_folder("fresh", compact, shop)
        assert all(np.allclose(vector, fresh[source], atol=1e-6) for source, vector in by_source(catalogue).items())


def test_what_was_collected_for_another_model_or_is_damaged_is_thrown_away(
    shop: Path, encoder: Encoder, compact: Encoder
) -> None:
    path = folders.folder("shop") / moving.NAME
    for content in (b"", b"nonsense" * 1000):
        path.write_bytes(content)
        with moving.collected(path.parent, compact.card) as collected:
            assert collected.ids() == set()
            collected.add([(2, b"abc")])
        with moving.collected(path.parent, compact.card) as collected:
            assert collected.ids() == {2}
    with moving.collected(path.parent, encoder.card) as collected:
        assert collected.ids() == set()


# --- others meanwhile


def test_it_is_searched_and_not_written_meanwhile(
    shop: Path, encoder: Encoder, compact: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalCatalogue.open("shop") as reader:
        query = reader.encoder().embed([next(shop.rglob("*.png"))])
        before = reader.search(query, 5)

        def look(done: int, total: int, /) -> None:
            assert reader.search(query, 5) == before
            with LocalCatalogue.open("shop") as writer, pytest.raises(CatalogueError, match="is writing to"):
                writer.remove([1])

        monkeypatch.setattr("vitrine.catalogue.access.SECONDS_TO_WAIT", 0.01)
        with LocalCatalogue.open("shop") as catalogue:
            rebuild.rebuild(catalogue, compact, look)
        with pytest.raises(CatalogueError, match="has moved to the model compact"):
            reader.search(query, 5)
        with pytest.raises(CatalogueError, match="has moved to the model compact"):
            reader.add(random_items(1, encoder.card.embedding))


def test_who_reads_the_model_while_it_changes_gets_the_new_one(
    shop: Path, compact: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Encoder.load

    def late(path: Path) -> Encoder:
        found = load(path)
        with LocalCatalogue.open("shop") as other:
            rebuild.rebuild(other, compact)
        return found

    with LocalCatalogue.open("shop") as reader:
        monkeypatch.setattr(Encoder, "load", late)
        found = reader.encoder()
        assert found.card.identity == compact.card.identity
        assert len(reader.search(found.embed([next(shop.rglob("*.png"))]), 5)[0]) == 5


def test_a_watch_takes_the_new_model(shop: Path, encoder: Encoder, compact: Encoder) -> None:
    looking = folder.FolderSync(encoder, shop)
    with LocalCatalogue.open("shop") as catalogue:
        rebuild.rebuild(catalogue, compact)
    Image.new("L", (28, 28), 99).save(shop / "new.png")
    with LocalCatalogue.open("shop") as catalogue:
        assert sync._look_again(looking, catalogue).report.added == 2
        new = by_source(catalogue)[str(shop / "new.png")]
        assert np.allclose(new, compact.embed([shop / "new.png"])[0], atol=1e-6)


# --- the command


def test_the_command(shop: Path, cli: Cli, compact: Encoder) -> None:
    code, out, _ = cli("index", "rebuild", "shop", "--model", "compact", "--json")
    assert (code, json.loads(out)) == (
        0,
        {
            "catalogue": "shop",
            "items": 19,
            "model": compact.card.name,
            "identity": compact.card.identity,
            "moved": True,
            "kept": 0,
            "thumbnails": 0,
        },
    )
    code, out, _ = cli("index", "rebuild", "shop", "--model", "compact")
    assert (code, out) == (0, f"shop is of the model {compact.card.name} ({compact.card.identity[:8]}) already.\n")
    code, out, _ = cli("index", "rebuild", "shop", "--model", "default")
    assert out == "shop: 19 items moved from the model compact to siamese.\n"
    next(shop.rglob("*.png")).unlink()
    code, _, err = cli("index", "rebuild", "shop", "--model", "compact")
    assert code == 0
    assert "1 of them were embedded from their small pictures" in err


def test_ctrl_c_says_how_to_go_on(shop: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving.Collected, "add", stop)
    code, _, err = cli("index", "rebuild", "shop", "--model", "compact")
    assert code == 130
    assert "Stopped. shop still has its old model; run the same command again to go on." in err


def test_nobody_writes_before_a_move_is_put_in_order(
    shop: Path, compact: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "SECONDS_TO_WAIT", 0.01)
    whole, tried = LocalCatalogue.moved, list[str]()

    def moved(catalogue: LocalCatalogue, encoder: Encoder) -> bool:
        with LocalCatalogue.open("shop") as other, pytest.raises(CatalogueError, match="Another program is writing"):
            other.remove([1])
        tried.append("remove")
        return whole(catalogue, encoder)

    with LocalCatalogue.open("shop") as catalogue:
        with catalogue.moving(compact) as collected:
            new = np.eye(compact.card.embedding, dtype="<f4")
            collected.add((id, new[id].tobytes()) for id in catalogue.vectors()[0].tolist())
            monkeypatch.setattr(LocalCatalogue, "moved", moved)
        assert catalogue.info().identity == compact.card.identity
    assert tried == ["remove"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none", "--model", "compact"], "There is no catalogue 'none'"),
        (["shop", "--model", "none"], "There is no model 'none'"),
    ],
)
def test_what_cannot_be_done(shop: Path, cli: Cli, arguments: list[str], says: str) -> None:
    code, out, err = cli("index", "rebuild", *arguments)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err


def test_a_damaged_catalogue_does_not_move(shop: Path, cli: Cli) -> None:
    with closing(sqlite3.connect(folders.folder("shop") / "catalogue.sqlite")) as connection:
        connection.execute("UPDATE items SET label = 'x' WHERE id = 5")
        connection.commit()
    code, _, err = cli("index", "rebuild", "shop", "--model", "compact")
    assert (code, one_sentence(err)) == (2, True)
    assert "1 item is lost: 5" in err
