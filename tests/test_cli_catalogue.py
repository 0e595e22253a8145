"""vitrine index and vitrine search as people use them, and what they may get wrong."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pictures import Cli, one_sentence, random_items, save_folder
from vitrine import images
from vitrine.catalogue import access, folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.cli import sync
from vitrine.datasets import Splits
from vitrine.encoder import Encoder


@pytest.fixture
def photos(drawn: Splits, tmp_path: Path) -> Path:
    """Twenty pictures, two of each class, with prices."""
    save_folder(drawn.test[:20], tmp_path / "shop")
    lines = [f"{path.relative_to(tmp_path / 'shop')},{int(path.stem)}" for path in (tmp_path / "shop").rglob("*.png")]
    (tmp_path / "shop" / "items.csv").write_text("\n".join(["file,price", *lines]))
    return tmp_path / "shop"


@pytest.fixture
def shop(photos: Path, cli: Cli) -> Path:
    """A catalogue "shop" of them."""
    assert cli("index", "sync", photos)[0] == 0
    return photos


def answer(cli: Cli, *arguments: object) -> Any:
    """What a command answers in JSON."""
    code, out, err = cli(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def ids(cli: Cli, *arguments: object) -> list[int]:
    return [match["id"] for match in answer(cli, "search", *arguments, "--catalogue", "shop")["matches"]]


# --- sync


def test_sync_says_what_it_did(cli: Cli, photos: Path) -> None:
    code, out, err = cli("index", "sync", photos)
    assert (code, out) == (0, "shop: 20 added, 0 replaced, 0 unchanged; 20 items.\n")
    assert "Bring shop up to date ..." in err
    (photos / "Bag" / "0008.png").unlink()
    Image.new("L", (28, 28), 99).save(photos / "Dress" / "0003.png")
    (photos / "broken.jpg").write_text("text")
    facts = answer(cli, "index", "sync", photos, "--catalogue", "shop")
    unreadable, unmatched = facts.pop("unreadable"), facts.pop("unmatched")
    assert facts == {
        "catalogue": "shop",
        "items": 19,
        "added": 0,
        "replaced": 1,
        "removed": 1,
        "unchanged": 18,
        "columns_updated": 0,
        "mended": 0,
        "lost": [],
    }
    assert [Path(one["source"]).name for one in unreadable] == ["broken.jpg"]
    assert [one["file"] for one in unmatched] == ["Bag/0008.png"]
    (photos / "broken.jpg").unlink()
    (photos / "prices.csv").write_text("file,price,size\nDress/0003.png,5,S\n")
    code, out, err = cli("index", "sync", photos, "--columns", photos / "prices.csv")
    assert out == "shop: 0 added, 0 replaced, 19 unchanged (19 with other columns or label); 19 items.\n"
    assert answer(cli, "index", "info", "shop")["columns"] == {"price": 1, "size": 1}
    assert "columns          price (1), size (1)" in cli("index", "info", "shop")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "There is no folder nowhere"),
        ([""], "The folder's name is empty; name a folder of pictures."),
        (["", "--catalogue", "x"], "The folder's name is empty"),
        (["empty"], "holds no pictures"),
        (["unreadable"], "None of the 1 pictures in unreadable could be read"),
        (["shop", "--columns", "none.csv"], "none.csv cannot be read"),
        (["shop", "--columns", "bad.csv"], "bad.csv, line 2: it has 1 cells"),
        (["shop", "--model", "none"], "There is no model 'none'"),
        (["shop", "--catalogue", "a/b"], "cannot name a catalogue"),
    ],
)
def test_what_cannot_be_synced_makes_no_catalogue(cli: Cli, photos: Path, arguments: list[str], says: str) -> None:
    Path("empty").mkdir()
    Path("unreadable").mkdir()
    Path("unreadable/a.jpg").touch()
    Path("shop").symlink_to(photos)
    Path("bad.csv").write_text("file,price\nx\n")
    code, _, err = cli("index", "sync", *arguments)
    assert code == 2
    assert one_sentence(err)
    assert says in err
    assert folders.names() == []


@pytest.mark.parametrize("command", [["index", "add"], ["index", "sync"], ["data", "show"]])
def test_no_name_is_not_the_current_folder(
    cli: Cli, photos: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    code, out, err = cli(*command, "")
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert "name a folder of pictures" in err
    assert folders.names() == []


def test_a_folder_that_lost_its_pictures(cli: Cli, shop: Path) -> None:
    shop.rename(shop.with_name("moved"))
    code, _, err = cli("index", "sync", shop, "--catalogue", "shop")
    assert (code, one_sentence(err)) == (2, True)
    shop.mkdir()
    code, _, err = cli("index", "sync", shop)
    assert (code, one_sentence(err)) == (2, True)
    assert "say --allow-empty" in err
    assert answer(cli, "index", "info", "shop")["items"] == 20
    assert answer(cli, "index", "sync", shop, "--allow-empty")["removed"] == 20
    assert answer(cli, "index", "info", "shop")["items"] == 0


def test_ctrl_c_in_a_sync_says_how_to_go_on(cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vitrine.indexing.folder.Pass.drop", stop)
    code, _, err = cli("index", "sync", photos)
    assert code == 130
    assert "Stopped. shop holds 20 items; run the same command again to go on." in err


def test_a_damaged_catalogue_is_named_mended_and_filled_again(cli: Cli, shop: Path, drawn: Splits) -> None:
    save_folder(drawn.test[20:22], shop.with_name("other"))
    assert cli("index", "add", shop.with_name("other"), "--catalogue", "shop")[0] == 0
    elsewhere = str(next(shop.with_name("other").rglob("*.png")))
    assert answer(cli, "index", "verify", "shop") == {
        "catalogue": "shop",
        "items": 22,
        "sound": True,
        "problem": None,
        "index": "sound",
        "lost": [],
    }
    assert "22 items, all sound" in cli("index", "verify", "shop")[1]
    (index,) = folders.folder("shop").glob("index-*.faiss")
    for as_json in (False, True):
        (index,) = folders.folder("shop").glob("index-*.faiss")
        index.write_bytes(index.read_bytes()[:-9])
        if as_json:
            assert answer(cli, "index", "verify", "shop")["index"] == "deleted"
        else:
            assert "is deleted; the next search makes it" in cli("index", "verify", "shop")[1]
        assert answer(cli, "index", "verify", "shop")["index"] == "missing"
        assert cli("search", "--id", 3, "--catalogue", "shop")[0] == 0
        assert answer(cli, "index", "verify", "shop")["index"] == "sound"
    with closing(sqlite3.connect(folders.folder("shop") / "catalogue.sqlite")) as connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(748) WHERE id IN (3, 5)")
        connection.execute("UPDATE items SET label = 'x' WHERE source = ?", (elsewhere,))
        connection.commit()
    code, out, err = cli("index", "verify", "shop", "--json")
    assert (code, one_sentence(err)) == (2, True)
    facts = json.loads(out)
    assert (facts["sound"], facts["items"], [one["id"] for one in facts["lost"]][:2]) == (False, None, [3, 5])
    code, _, err = cli("search", "--id", 3, "--catalogue", "shop")
    assert (code, one_sentence(err)) == (2, True)
    assert "vitrine index sync FOLDER --catalogue shop" in err
    code, out, err = cli("index", "sync", shop)
    assert code == 2  # one of them came from elsewhere
    assert f"({elsewhere}); this did not come back from here: add it again" in err
    assert "2 added, 0 replaced, 18 unchanged; 21 items. 2 damaged before, read again." in out
    assert cli("index", "add", shop.with_name("other"), "--catalogue", "shop")[0] == 0
    assert answer(cli, "index", "verify", "shop")["items"] == 22


def test_what_is_lost_is_named_even_if_the_rest_fails(cli: Cli, shop: Path) -> None:
    with closing(sqlite3.connect(folders.folder("shop") / "catalogue.sqlite")) as connection:
        source = connection.execute("SELECT source FROM items WHERE id = 3").fetchone()[0]
        connection.execute("UPDATE vectors SET vector = zeroblob(748) WHERE id = 3")
        connection.commit()
    (shop / "items.csv").write_text("nonsense")
    code, _, err = cli("index", "sync", shop)
    assert (code, one_sentence(err)) == (2, True)
    assert f"The disk had damaged shop; 1 item is lost: 3 ({source})." in err
    assert "items.csv, line 1" in err


def test_what_another_adds_to_a_new_catalogue_stays(
    cli: Cli, photos: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who found nothing to put in deletes the catalogue that he made, if it is still empty."""
    (photos / "items.csv").write_text("nonsense")
    delete = folders.delete

    def late(*arguments: Any, **options: Any) -> None:
        with LocalCatalogue.open("shop") as other:
            other.add(random_items(2, encoder.card.embedding))
        delete(*arguments, **options)

    monkeypatch.setattr(folders, "delete", late)
    code, _, err = cli("index", "sync", photos)
    assert (code, one_sentence(err)) == (2, True)
    assert "items.csv, line 1" in err
    assert answer(cli, "index", "info", "shop")["items"] == 2


def test_who_waits_for_a_new_catalogue_keeps_it(cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "items.csv").write_text("nonsense")
    monkeypatch.setattr(access, "SECONDS_TO_WAIT", 0.01)
    delete = folders.delete

    def late(*arguments: Any, **options: Any) -> None:
        with LocalCatalogue.open("shop") as other, other.sole_writer():
            delete(*arguments, **options)

    monkeypatch.setattr(folders, "delete", late)
    code, _, err = cli("index", "sync", photos)
    assert (code, one_sentence(err)) == (2, True)
    assert "items.csv, line 1" in err  # why it failed, not that somebody else is at it
    assert folders.names() == ["shop"]


# --- watching


def test_watching(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rest is a chance to change the folder; the last one is Ctrl-C."""
    monkeypatch.setattr(sync, "_CALM", 0.0)
    csv = (shop / "items.csv").read_text()
    rests: Iterator[Callable[[], object]] = iter(
        [
            lambda: Image.new("L", (28, 28), 99).save(shop / "Dress" / "new.png"),
            lambda: None,
            lambda: shop.rename(shop.with_name("moved")),
            lambda: None,
            lambda: shop.with_name("moved").rename(shop),
            lambda: (shop / "broken.jpg").write_text("text"),
            lambda: None,
            lambda: (shop / "items.csv").write_text("nonsense"),
            lambda: (shop / "items.csv").write_text(csv + "\nDress/new.png,3"),
            lambda: (shop / "Dress" / "new.png").unlink(),
        ]
    )

    def rest(seconds: float) -> None:
        assert seconds >= 3
        change = next(rests, None)
        if change is None:
            raise KeyboardInterrupt
        change()

    monkeypatch.setattr(time, "sleep", rest)
    code, out, err = cli("index", "sync", shop, "--watch", "--interval", 3, "--json")
    assert code == 130
    done = [json.loads(line) for line in out.splitlines()]
    keys = ("added", "removed", "columns_updated", "items")
    assert [tuple(line[key] for key in keys) for line in done] == [
        (0, 0, 0, 20),
        (1, 0, 0, 21),
        (0, 0, 0, 21),  # what could not be read
        (0, 0, 1, 21),
        (0, 1, 0, 20),
    ]
    assert len(done[2]["unreadable"]) == 1
    assert err.count("There is no folder") == 1
    assert err.count("items.csv, line 1") == 1
    assert "Watching" in err


def do_in_rests(monkeypatch: pytest.MonkeyPatch, *changes: Callable[[], object]) -> list[float]:
    """While watching: each rest is a chance to change something, after the last one comes Ctrl-C. How long they were
    meant to be.
    """
    left, rests = iter(changes), list[float]()

    def rest(seconds: float) -> None:
        rests.append(seconds)
        change = next(left, None)
        if change is None:
            raise KeyboardInterrupt
        change()

    monkeypatch.setattr(time, "sleep", rest)
    return rests


def test_watching_a_catalogue_that_is_away_for_a_moment(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folders.folder("shop")
    monkeypatch.setattr(sync, "_CALM", 0.0)
    do_in_rests(
        monkeypatch,
        lambda: place.rename(place.with_name(".away")),
        lambda: None,
        lambda: place.with_name(".away").rename(place),
        lambda: Image.new("L", (28, 28), 99).save(shop / "Dress" / "new.png"),
    )
    code, out, err = cli("index", "sync", shop, "--watch")
    assert code == 130
    assert err.count("There is no catalogue 'shop'") == 1
    assert "1 added" in out


def test_watching_a_folder_of_which_nothing_can_be_read(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "texts"
    place.mkdir()
    (place / "a.jpg").write_text("text")
    monkeypatch.setattr(sync, "_CALM", 0.0)
    do_in_rests(monkeypatch, lambda: (place / "b.jpg").write_text("text"), *[lambda: None] * 3)
    code, out, err = cli("index", "sync", place, "--watch", "--json")
    assert code == 130
    assert [len(json.loads(line)["unreadable"]) for line in out.splitlines()] == [1, 2]
    assert (err.count("None of the 1 pictures"), err.count("None of the 2 pictures")) == (1, 1)


def test_watching_counts_what_others_added(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change() -> None:
        with LocalCatalogue.open("shop") as other:
            other.add(random_items(3, other.info().dimensions))
        (shop / "broken.jpg").write_text("text")

    monkeypatch.setattr(sync, "_CALM", 0.0)
    do_in_rests(monkeypatch, change)
    _, out, _ = cli("index", "sync", shop, "--watch", "--json")
    assert [json.loads(line)["items"] for line in out.splitlines()] == [20, 23]


def test_a_rest_is_by_the_time_of_looking_not_of_embedding(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, run = time.sleep, Encoder.run

    def slow(*arguments: Any) -> Any:
        sleep(1)
        return run(*arguments)

    monkeypatch.setattr(sync, "_CALM", 0.0)
    monkeypatch.setattr(Encoder, "run", slow)
    rests = do_in_rests(monkeypatch, lambda: Image.new("L", (28, 28), 99).save(photos / "Dress" / "new.png"))
    _, out, _ = cli("index", "sync", photos, "--watch", "--interval", 0.1)
    assert "1 added" in out
    assert len(rests) == 2
    assert max(rests) < 9


@pytest.mark.parametrize("interval", ["inf", "nan", "0", "1e9"])
def test_what_is_no_interval(cli: Cli, photos: Path, interval: str) -> None:
    code, _, err = cli("index", "sync", photos, "--watch", "--interval", interval)
    assert (code, "Traceback" in err) == (2, False)
    assert "--interval" in err
    assert folders.names() == []


@pytest.mark.slow
def test_watching_for_real(shop: Path) -> None:
    """A process of its own sees a new picture and ends with Ctrl-C."""
    # a process that was started in the background may have been told to ignore Ctrl-C, and hands that on
    script = "import signal, vitrine.cli\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nvitrine.cli.main()"
    command = [sys.executable, "-c", script, "index", "sync", str(shop), "--watch", "--interval", "0.2", "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["unchanged"] == 20
        Image.new("L", (28, 28), 99).save(shop / "Dress" / "new.png")
        assert json.loads(watching.stdout.readline())["added"] == 1
        watching.send_signal(signal.SIGINT)
        try:
            assert watching.wait(60) == 130
        finally:
            watching.kill()


# --- searching


def test_search_with_a_filter(cli: Cli, shop: Path) -> None:
    matches = answer(cli, "search", "--id", 1, "--where", "price < 5", "--catalogue", "shop")["matches"]
    assert len(matches) == 5  # item 1 costs 9
    assert all(match["columns"]["price"] < 5 for match in matches)
    dresses = "label = 'Dress' and added > 2020-01-01"
    matches = answer(cli, "search", shop / "Dress" / "0003.png", "--where", dresses, "--catalogue", "shop")["matches"]
    assert [Path(match["source"]).name for match in matches] == ["0003.png", "0013.png"]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("", "The filter is empty"),
        ("prize < 5", "did you mean price?"),
        ("price < 5; DROP TABLE items", "this character has no meaning here"),
        ("label like 'D%'", "write contains or starts with"),
    ],
)
def test_what_is_no_filter(cli: Cli, shop: Path, where: str, says: str) -> None:
    code, out, err = cli("search", "--id", 1, "--where", where, "--catalogue", "shop")
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err


def test_pages_follow_each_other(cli: Cli, shop: Path) -> None:
    picture = shop / "Dress" / "0003.png"
    whole = ids(cli, picture, "-k", 20)
    assert len(whole) == 20
    pages = [ids(cli, picture, "-k", 6, "--offset", first) for first in range(0, 30, 6)]
    assert [id for page in pages for id in page] == whole
    beyond = cli("search", picture, "--offset", 50, "--catalogue", "shop")[1]
    assert beyond == "Nothing in shop comes after the best 20; take a smaller --offset.\n"
    beyond = cli("search", picture, "--offset", 5, "--where", "price < 5", "--catalogue", "shop")[1]
    assert beyond == "Nothing in shop comes after the best 5; take a smaller --offset.\n"
    others = ids(cli, "--id", 1, "-k", 20)
    assert sorted([1, *others]) == sorted(whole)
    pages = [ids(cli, "--id", 1, "-k", 6, "--offset", first) for first in range(0, 30, 6)]
    assert [id for page in pages for id in page] == others


def test_more_like_these_and_less_like_that(cli: Cli, shop: Path, encoder: Encoder) -> None:
    boot, bag, dress = (shop / name for name in ("Ankle boot/0009.png", "Bag/0008.png", "Dress/0003.png"))
    plain = answer(cli, "search", boot, "-k", 20, "--catalogue", "shop")
    assert plain["source"] == str(boot)
    known = {Path(match["source"]): match["id"] for match in plain["matches"]}
    both = answer(cli, "search", "--like", known[boot], "--like", bag, "-k", 20, "--catalogue", "shop")
    assert (both["source"], both["like"], both["unlike"]) == (None, [str(boot), str(bag)], [])
    found = [Path(match["source"]) for match in both["matches"]]
    assert boot not in found  # an item that is named is left out
    assert found[0] == bag  # a picture that is named may be there
    middle = encoder.embed([boot, bag]).mean(axis=0)
    middle /= (middle**2).sum() ** 0.5
    assert both["matches"][0]["score"] == pytest.approx(float(middle @ encoder.embed([bag])[0]), abs=1e-4)
    fewer = answer(cli, "search", boot, "--unlike", known[dress], "-k", 20, "--catalogue", "shop")
    assert (fewer["like"], fewer["unlike"]) == ([str(boot)], [str(dress)])

    def score(matches: list[dict[str, Any]], item: int) -> float:
        return next(float(match["score"]) for match in matches if match["id"] == item)

    other = known[shop / "Dress" / "0013.png"]
    assert score(fewer["matches"], other) < score(plain["matches"], other)
    code, _, _ = cli(
        "search", "--like", known[boot], "--unlike", bag, "--catalogue", "shop", "--out", "found.png", "-k", 3
    )
    assert code == 0
    assert images.read(Path("found.png")).shape[1] > 300


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--unlike", "7"], "Name one picture"),
        (["--like", "999"], "has no item 999"),
        (["--like", "none.jpg"], "There is no file or folder none.jpg"),
        (["--like", ""], "A picture's name is empty"),
        ([""], "A picture's name is empty"),
        (["http://example.org/boot.jpg"], "http://example.org/boot.jpg is a web address"),
        (["--id", "1", "--unlike", "1"], None),
        (["--like", "1", "--like", "0"], "There is no file or folder 0"),
        (["--like", "9" * 19], "There is no file or folder 9999"),
        (["--like", "9" * 30], "There is no file or folder 9999"),
        (["--like", "0" * 10 + "1" * 5000], "0000"),
    ],
)
def test_examples_that_cannot_be_used(cli: Cli, shop: Path, arguments: list[str], says: str | None) -> None:
    code, _, err = cli("search", *arguments, "--catalogue", "shop")
    assert code == (0 if says is None else 2)
    if says is not None:
        assert one_sentence(err)
        assert says in err


def test_like_and_unlike_may_cancel_each_other_out() -> None:
    import numpy as np

    from vitrine.catalogue import relevance
    from vitrine.errors import InputError

    one = np.eye(3, dtype=np.float32)[:1]
    with pytest.raises(InputError, match="cancel each other out"):
        relevance.combine(one, one, less=1.0)
    assert relevance.combine(one, one) == pytest.approx(one)
