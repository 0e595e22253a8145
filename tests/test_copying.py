"""Catalogues copied: stopped at any moment, changed meanwhile, and what is refused."""

import json
import multiprocessing
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import killed
from pictures import Cli, one_sentence, random_items
from small_models import small_model
from vitrine.catalogue import Entry, Item, Known, copying, folders
from vitrine.catalogue.copying import Copied, copy
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.staging import RECORD, LocalStaging
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError, StorageError

SIZE = 16
Halt = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """A model of a few kilobytes."""
    return small_model()


@pytest.fixture
def shop(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> LocalCatalogue:
    """The catalogue "shop" of 41 items, the last and some others of which are gone; copied five at a time."""
    monkeypatch.setattr(copying, "BATCH", 5)
    monkeypatch.setattr(copying, "_TOLD", 7)
    catalogue = LocalCatalogue.create("shop", encoder)
    catalogue.add([replace(item, stamp=f"stamp {item.source}") for item in random_items(45, SIZE)])
    catalogue.remove([1, 7, 8, 45])
    return catalogue


def run(source: LocalCatalogue, finish: bool = True) -> Copied:
    return copy(source, LocalStaging("other"), finish)


def state(catalogue: LocalCatalogue) -> dict[int, tuple[object, ...]]:
    """All that a catalogue holds, by id."""
    return {
        entry.id: (
            *(entry.added, entry.item.source, entry.item.label, entry.item.content, entry.item.columns),
            *(entry.item.stamp, entry.item.vector.tobytes(), entry.item.thumbnail),
        )
        for entry in catalogue.entries()
    }


def check_same(source: LocalCatalogue, name: str = "other") -> None:
    """The catalogue of that name is like the source, sound, and answers like it."""
    with LocalCatalogue.open(name) as opened:
        assert not opened.check().found
        assert state(opened) == state(source)
        assert opened.columns() == source.columns()
        queries = np.stack([item.vector for item in random_items(3, SIZE, seed=9)])
        assert opened.search(queries, 10) == source.search(queries, 10)
        assert opened.encoder().content == source.encoder().content
        assert opened.last() == source.last()
    left = {path.name for path in folders.folder(name).parent.iterdir()}
    assert left == {"shop", name}
    assert not (folders.folder(name) / RECORD).exists()


def test_a_copy_is_the_same_with_ids_and_times(shop: LocalCatalogue) -> None:
    told: list[tuple[int, int]] = []
    done = copy(shop, LocalStaging("other"), progress=lambda *now: told.append(now))
    assert (done.items, done.copied, done.kept, done.removed, done.updated) == (41, 41, 0, 0, 0)
    assert done.finished
    assert not done.already
    assert told == sorted(told)
    assert told[-1] == (41, 41)
    check_same(shop)
    with LocalCatalogue.open("other") as opened:
        assert opened.add(random_items(1, SIZE, start=99)) == [46]  # 45 was given in the source, and is gone


def test_an_empty_catalogue_is_copied_too(encoder: Encoder) -> None:
    with LocalCatalogue.create("shop", encoder) as empty:
        assert run(empty).items == 0
        check_same(empty)


# --- stopped


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def at_call(owner: object, name: str, number: int, after: bool = False) -> Halt:
    """Stop at the n-th call of that function, before or after its work."""

    def halt(patch: pytest.MonkeyPatch) -> None:
        whole, count = getattr(owner, name), 0

        def stopping(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == number and not after:
                stop()
            found = whole(*arguments, **named)
            if count == number:
                stop()
            return found

        patch.setattr(owner, name, stopping)

    return halt


STOPS: dict[str, Halt] = {
    "making": at_call(LocalStaging, "begin", 1),
    "made": at_call(LocalStaging, "begin", 1, after=True),
    "first batch": at_call(LocalCatalogue, "take", 1),
    "third batch": at_call(LocalCatalogue, "take", 3, after=True),
    "last batch": at_call(LocalCatalogue, "take", 9, after=True),
    "compared": at_call(copying, "_differences", 1, after=True),
    "read one": at_call(copying, "summed", 1),
    "read both": at_call(copying, "summed", 2, after=True),
    "index": at_call(LocalCatalogue, "save_index", 1),
    "closed": at_call(folders, "publish", 2),
    "named": at_call(folders, "publish", 2, after=True),
}


@pytest.mark.parametrize("halt", STOPS.values(), ids=STOPS)
def test_after_a_stop_it_goes_on_and_copies_nothing_twice(
    shop: LocalCatalogue, halt: Halt, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: Counter[int] = Counter()
    take = LocalCatalogue.take

    def counting(self: LocalCatalogue, entries: Sequence[Entry], last: int = 0) -> None:
        take(self, entries, last)
        taken.update(entry.id for entry in entries)

    monkeypatch.setattr(LocalCatalogue, "take", counting)
    before = state(shop)
    with pytest.MonkeyPatch.context() as patch:
        halt(patch)
        with pytest.raises(KeyboardInterrupt):
            run(shop)
    assert state(shop) == before
    assert folders.names() in (["shop"], ["other", "shop"])
    had = len(taken)
    done = run(shop)
    assert (done.items, done.finished, done.kept) == (41, True, had)
    assert set(taken.values()) == {1}
    assert len(taken) == 41
    (folders.folder("other") / RECORD).unlink(missing_ok=True)  # may be left where it was stopped right there
    check_same(shop)


def test_it_is_not_there_until_it_is_whole(shop: LocalCatalogue) -> None:
    seen = 0

    def look(done: int, total: int, /) -> None:
        nonlocal seen
        seen += 1
        assert folders.names() == ["shop"]
        with pytest.raises(CatalogueError, match=r"'other' is an unfinished copy; finish it with `vitrine index copy`"):
            LocalCatalogue.open("other")

    copy(shop, LocalStaging("other"), progress=look)
    assert seen > 10
    check_same(shop)


# --- meanwhile


def test_others_read_and_write_meanwhile_and_the_copy_is_of_one_moment(shop: LocalCatalogue) -> None:
    before = state(shop)
    query = random_items(1, SIZE, seed=9)[0].vector[None]
    number = 0

    def meddle(done: int, total: int, /) -> None:
        nonlocal number
        number += 1
        with LocalCatalogue.open("shop") as other:
            other.add(random_items(2, SIZE, seed=number, start=100 * number))
            other.remove([number + 1])
            assert other.search(query, 3)[0]

    with LocalCatalogue.open("shop") as source:
        assert copy(source, LocalStaging("other"), progress=meddle).items == 41
    with LocalCatalogue.open("other") as opened:
        assert state(opened) == before
    assert number > 10


def change(shop: LocalCatalogue) -> None:
    """Some go, the last among them, some come, one has other content, one another label, one other columns."""
    known = {item.source: item for item in shop.known()}
    shop.remove([2, 3, 44])
    again = next(item for item in random_items(45, SIZE) if item.source == "s10")
    shop.add([*random_items(3, SIZE, seed=5, start=200), replace(again, content="other", vector=-again.vector)])
    shop.refresh([replace(known["s20"], label="new"), replace(known["s21"], columns={"size": "S"}, stamp="new")])


@pytest.mark.parametrize("finish", [True, False])
def test_what_changed_between_two_runs_is_brought_over(shop: LocalCatalogue, finish: bool) -> None:
    """After a stop, and after --prepare."""
    if finish:
        with pytest.MonkeyPatch.context() as patch:
            at_call(folders, "publish", 2)(patch)
            with pytest.raises(KeyboardInterrupt):
                run(shop)
    else:
        assert not run(shop, finish=False).finished
        assert folders.names() == ["shop"]
    change(shop)
    done = run(shop)
    # s10 came under a new id, and its old one went with it
    assert (done.items, done.copied, done.kept, done.removed, done.updated) == (41, 4, 37, 3, 2)
    check_same(shop)


def test_what_changed_after_a_stop_in_the_middle(shop: LocalCatalogue) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_call(LocalCatalogue, "take", 4)(patch)
        with pytest.raises(KeyboardInterrupt):
            run(shop)
    change(shop)
    done = run(shop)
    assert (done.items, done.copied, done.kept) == (41, 29, 12)
    check_same(shop)


def test_a_source_that_cannot_be_read_as_of_one_moment(shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server's: it is copied when it keeps still for a while, and else refused."""
    from contextlib import nullcontext

    monkeypatch.setattr(LocalCatalogue, "reading", lambda self: nullcontext())
    bring, changes = copying._bring, 2

    def meddling(*arguments: Any) -> bool:
        nonlocal changes
        done = bring(*arguments)
        if changes:
            changes -= 1
            shop.add(random_items(1, SIZE, seed=changes % 1000, start=1000 + changes % 1000))
        return done

    monkeypatch.setattr(copying, "_bring", meddling)
    done = run(shop)
    assert (done.items, done.copied) == (43, 43)
    check_same(shop)
    folders.delete("other")
    changes = 10**9
    with pytest.raises(CatalogueError, match=r"'shop' keeps changing while it is copied; what is copied is kept"):
        run(shop)
    changes = 0
    done = run(shop)
    assert done.kept > 40
    check_same(shop)


# --- refused


def test_what_is_there_already(shop: LocalCatalogue) -> None:
    run(shop)
    done = run(shop)
    assert (done.already, done.copied, done.kept, done.items) == (True, 0, 41, 41)
    with LocalCatalogue.open("other") as opened:
        (last,) = opened.add(random_items(1, SIZE, start=500))
    with pytest.raises(CatalogueError, match=r"'other' already \(42 items\), with other items than 'shop' \(41\)"):
        run(shop)
    with LocalCatalogue.open("other") as opened:
        opened.remove([last, 2])
        opened.add(random_items(1, SIZE, start=501))
    with pytest.raises(CatalogueError, match=r"\(41 items\), with other items than 'shop' \(41\); choose another name"):
        run(shop)
    with LocalCatalogue.open("other") as opened:
        assert len(opened) == 41


def test_what_is_refused(shop: LocalCatalogue, encoder: Encoder) -> None:
    with pytest.raises(InputError, match="'shop' cannot be copied to itself"):
        copy(shop, LocalStaging("shop"))
    with pytest.raises(InputError, match="cannot name a catalogue"):
        LocalStaging("a/b")
    LocalCatalogue.create("other", Encoder.load("compact")).close()
    with pytest.raises(CatalogueError, match=r"'other' already, of the model compact .* 'shop' is of small"):
        run(shop)
    folders.delete("other")
    run(shop, finish=False)
    with LocalCatalogue.create("third", encoder) as third:
        with pytest.raises(CatalogueError, match=r"'other' is an unfinished copy of 'shop', and not of 'third'"):
            run(third)
        folders.delete("other")  # throws the unfinished copy away
        assert run(third).items == 0


def test_a_source_of_another_model_now(shop: LocalCatalogue, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    run(shop, finish=False)
    folders.delete("shop")
    with LocalCatalogue.create("shop", Encoder.load("compact")) as anew:
        with pytest.raises(CatalogueError, match=r"when that was of the model small .*; now it is of compact"):
            run(anew)
        folders.delete("other")
        monkeypatch.setattr(LocalCatalogue, "encoder", lambda self: encoder)
        with pytest.raises(CatalogueError, match="'shop' has moved to another model meanwhile; run it again"):
            run(anew)


def test_a_damaged_source_is_named_and_what_was_copied_stays(shop: LocalCatalogue) -> None:
    with closing(sqlite3.connect(folders.folder("shop") / "catalogue.sqlite")) as file, file:
        file.execute("UPDATE items SET label = 'damaged' WHERE id = 30")
    with pytest.raises(CatalogueError, match=r"'shop' is damaged on the disk .* 30 \(s29\)"):
        run(shop)
    assert folders.names() == ["shop"]
    with closing(LocalStaging("other").open()) as begun:
        assert len(begun) == 25


def test_a_copy_that_reads_back_wrong_is_not_finished(shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    take = LocalCatalogue.take

    def wrong(self: LocalCatalogue, entries: Sequence[Entry], last: int = 0) -> None:
        take(self, [replace(one, item=replace(one.item, thumbnail=b"other")) for one in entries], last)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalCatalogue, "take", wrong)
        with pytest.raises(CatalogueError, match=r"reads back other than 'shop' has it .*; throw the copy away"):
            run(shop)
    assert folders.names() == ["shop"]
    with pytest.raises(CatalogueError, match="reads back other"):
        run(shop)
    folders.delete("other")
    run(shop)
    check_same(shop)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"source": "shop"}', None])
def test_a_copy_that_does_not_say_what_it_is_of(shop: LocalCatalogue, content: str | None) -> None:
    run(shop, finish=False)
    path = folders.staged("other") / RECORD
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(CatalogueError, match=r"does not say what it is of .*; throw it away with"):
        run(shop)


def test_two_at_once(shop: LocalCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.catalogue.access.SECONDS_TO_WAIT", 0.01)
    refused = 0

    def second(done: int, total: int, /) -> None:
        nonlocal refused
        with LocalCatalogue.open("shop") as other, pytest.raises(CatalogueError, match="is writing to the catalogue"):
            run(other)
        refused += 1

    copy(shop, LocalStaging("other"), progress=second)
    assert refused
    check_same(shop)


def test_a_name_that_is_taken_meanwhile(shop: LocalCatalogue, encoder: Encoder) -> None:
    def take_it(done: int, total: int, /) -> None:
        if not folders.exists("other"):
            LocalCatalogue.create("other", encoder).close()

    with pytest.raises(CatalogueError, match="Another program has just made a catalogue 'other'"):
        copy(shop, LocalStaging("other"), progress=take_it)
    folders.delete("other")
    assert run(shop).kept == 41
    check_same(shop)


def test_a_full_disk(shop: LocalCatalogue) -> None:
    shop.add([replace(item, thumbnail=bytes(5000)) for item in random_items(20, SIZE, seed=4, start=300)])
    whole = LocalStaging.open

    def small(self: LocalStaging) -> LocalCatalogue:
        opened = whole(self)
        connection = opened._store.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        return opened

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStaging, "open", small)
        with pytest.raises(StorageError, match="the disk is full; free some space and run it again"):
            run(shop)
    with closing(LocalStaging("other").open()) as begun:
        there = len(begun)
    assert 0 < there < 61
    assert run(shop).kept == there
    check_same(shop)


# --- killed


@pytest.mark.parametrize("times", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on(shop: LocalCatalogue, home: Path, times: int) -> None:
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed"])
    random = Random(times)
    shop.add(random_items(300, SIZE, seed=3, start=1000))
    for number in range(times):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=killed.copy, args=(str(home), "shop", "other", True, sending))
        process.start()
        sending.close()
        assert receiving.poll(60)
        process.join(random.uniform(0, 0.6))
        process.kill()
        process.join()
        if folders.exists("other"):
            sweep(home)
            check_same(shop)
            folders.delete("other")
        elif folders.staged("other").exists():
            with closing(LocalStaging("other").open()) as begun:
                assert not begun.check().found
                held = state(begun)
            now = state(shop)
            assert all(now.get(id, entry) == entry for id, entry in held.items())
        if number % 2:
            shop.remove([random.choice(sorted(state(shop)))])
            shop.add(random_items(5, SIZE, seed=number, start=random.randrange(2000)))
    run(shop)
    sweep(home)
    check_same(shop)


def sweep(home: Path) -> None:
    """What is left by one that was killed at once goes after a day, and does no harm."""
    for path in folders.folder("other").parent.glob(".new-*"):
        path.rename(home / path.name)
    (folders.folder("other") / RECORD).unlink(missing_ok=True)


# --- the checksum


ENTRY = Entry(5, "2026-01-31T05:00:30Z", replace(random_items(2, 4)[1], stamp="stamp"))
CHANGES: list[dict[str, Any]] = [
    {"source": "other"},
    {"label": None},
    {"label": ""},
    {"content": "other"},
    {"columns": {"price": 1.5, "colour": "red"}},
    {"columns": None},
    {"stamp": None},
    {"vector": -ENTRY.item.vector},
    {"thumbnail": b"png2"},
    {"source": ENTRY.item.source + (ENTRY.item.label or ""), "label": ""},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_each_part_of_an_item_is_in_the_checksum(change: dict[str, Any]) -> None:
    other = replace(ENTRY, item=replace(ENTRY.item, **change))
    assert copying.summed([ENTRY]) != copying.summed([other])
    assert copying.summed([ENTRY]) != copying.summed([replace(ENTRY, added="2026-01-31T05:00:31Z")])


def test_neither_order_nor_ids_are_in_the_checksum() -> None:
    entries = [Entry(i, "then", item) for i, item in enumerate(random_items(9, 4))]
    turned = replace(ENTRY, item=replace(ENTRY.item, columns=dict(reversed((ENTRY.item.columns or {}).items()))))
    assert copying.summed([ENTRY]) == copying.summed([replace(turned, id=99)])
    assert copying.summed(entries) == copying.summed(entries[::-1])
    twice = copying.summed([ENTRY, ENTRY])
    assert (twice.items, len(twice.checksum)) == (2, 32)
    assert twice.checksum != copying.summed([]).checksum == "0" * 32


def test_differences_are_found_id_by_id() -> None:
    random = Random(1)

    def some() -> dict[int, Known]:
        return {
            id: Known(id, random.choice(("s", f"s{id}")), random.choice("ab"), random.choice("cd"), None, None)
            for id in range(40)
            if random.random() < 0.7
        }

    for _ in range(50):
        ours, theirs = some(), some()
        found = copying._differences(iter(ours.values()), iter(theirs.values()))
        both = ours.keys() & theirs.keys()
        assert found.gone == sorted(theirs.keys() - ours.keys())
        other = {id for id in both if replace(ours[id], label=None) != replace(theirs[id], label=None)}
        assert found.missing == sorted((ours.keys() - both) | other)
        assert found.changed == [ours[id] for id in sorted(both - other) if ours[id] != theirs[id]]


# --- the command


def test_the_command(shop: LocalCatalogue, cli: Cli) -> None:
    code, out, err = cli("index", "copy", "shop", "other", "--prepare")
    assert (code, "Copy shop to other ..." in err) == (0, True)
    assert out.startswith("other: 41 items (41 copied, 0 kept from before), read again and the same as in shop (")
    assert out.endswith("It is unfinished: run it without --prepare to give it its name.\n")
    assert cli("index", "list")[1].count("\n") == 1
    assert "'other' is an unfinished copy" in cli("index", "info", "other")[2]
    change(shop)
    code, out, _ = cli("index", "copy", "shop", "other", "--json")
    facts = json.loads(out)
    assert (code, len(facts.pop("checksum"))) == (0, 32)
    assert facts == {
        "source": "shop",
        "catalogue": "other",
        "items": 41,
        "kept": 37,
        "copied": 4,
        "removed": 3,
        "updated": 2,
        "finished": True,
        "already": False,
    }
    check_same(shop)
    code, out, _ = cli("index", "copy", "shop", "other")
    assert (code, out.startswith("other is a copy of shop already: 41 items, ")) == (0, True)


def test_throwing_an_unfinished_copy_away(shop: LocalCatalogue, cli: Cli) -> None:
    cli("index", "copy", "shop", "other", "--prepare")
    code, out, _ = cli("index", "remove", "other", "--all")
    assert (code, out) == (0, "other: all removed, 0 left.\n")
    assert not folders.staged("other").exists()
    assert cli("index", "remove", "other", "--all")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none", "other"], "There is no catalogue 'none' (there are shop)"),
        (["shop", "shop"], "'shop' cannot be copied to itself"),
        (["shop", "a/b"], "cannot name a catalogue"),
        (["shop", ""], "cannot name a catalogue"),
        (["", "other"], "cannot name a catalogue"),
        (["shop", "milvus+http://host:19530"], "cannot name a catalogue on Milvus"),
        (["ftp://host/shop", "other"], "is no address of a catalogue"),
        (["shop", "small"], "There is a catalogue 'small' already, of the model compact"),
    ],
)
def test_what_the_command_refuses(shop: LocalCatalogue, cli: Cli, arguments: list[str], says: str) -> None:
    LocalCatalogue.create("small", Encoder.load("compact")).close()
    folders.delete("small") if "small" not in arguments else None
    before = state(shop)
    code, out, err = cli("index", "copy", *arguments)
    assert (code, out) == (2, "")
    assert one_sentence(err.splitlines()[-1])
    assert says in err
    assert state(shop) == before
    assert not list(folders.folder("shop").parent.glob(".*"))


def test_ctrl_c_is_told(shop: LocalCatalogue, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    at_call(LocalCatalogue, "take", 3)(monkeypatch)
    code, _, err = cli("index", "copy", "shop", "other")
    assert code in (1, 130)
    assert "Stopped. shop is as it was; run the same command again to go on." in err


def item_of(size: int) -> Item:
    return random_items(1, size)[0]


def test_a_catalogue_takes_no_vectors_of_another_size(shop: LocalCatalogue) -> None:
    with pytest.raises(CatalogueError, match="has shape"):
        shop.take([Entry(1, "then", item_of(SIZE + 1))])
    twice = [Entry(id, "then", item_of(SIZE)) for id in (90, 91)]
    with pytest.raises(CatalogueError, match="a source can be there only once"):
        shop.take(twice)
    assert len(shop) == 41
    shop.take(twice[:1], 200)
    assert shop.last() == 200
    assert shop.add(random_items(1, SIZE, start=900)) == [201]
    assert len(shop) == 43
