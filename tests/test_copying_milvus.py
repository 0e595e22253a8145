"""Catalogues copied to a real Milvus server, from one, and from one to another."""

import json
import multiprocessing
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import killed
from milvus_fixtures import Milvus
from pictures import Cli, one_sentence, random_items
from small_models import small_model
from vitrine.catalogue import Catalogue, Entry, by_name, copying, staging
from vitrine.catalogue.copying import Copied, copy
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.milvus import writer as milvus_writer
from vitrine.catalogue.milvus.catalogue import MilvusCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError

SIZE = 16


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """A model of a few kilobytes."""
    return small_model()


@pytest.fixture(params=["here to milvus", "milvus to here", "milvus to milvus"])
def names(request: pytest.FixtureRequest, milvus: Milvus) -> tuple[str, str]:
    """Of the source and the copy."""
    first, _, second = str(request.param).split()
    return ("shop" if first == "here" else milvus.name(), "copy" if second == "here" else milvus.name("copy"))


@pytest.fixture
def shop(names: tuple[str, str], encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """A catalogue of 21 items, the last and some others of which are gone; copied five at a time."""
    monkeypatch.setattr(copying, "BATCH", 5)
    return filled(names[0], encoder)


def filled(name: str, encoder: Encoder) -> Catalogue:
    made = by_name.create(name, encoder)
    made.add([replace(item, stamp=f"stamp {item.source}") for item in random_items(25, SIZE)])
    made.remove([1, 7, 8, 25])
    return made


def run(source: Catalogue, name: str, finish: bool = True) -> Copied:
    return copy(source, staging.of(name), finish)


def state(catalogue: Catalogue) -> dict[int, tuple[object, ...]]:
    """All that a catalogue holds, by id."""
    return {
        entry.id: (
            *(entry.added, entry.item.source, entry.item.label, entry.item.content, entry.item.columns),
            *(entry.item.stamp, entry.item.vector.tobytes(), entry.item.thumbnail),
        )
        for entry in catalogue.entries()
    }


def check_same(source: Catalogue, name: str) -> None:
    with by_name.open_(name) as opened:
        assert not opened.check().found
        assert state(opened) == state(source)
        assert (len(opened), opened.last(), opened.columns()) == (len(source), source.last(), source.columns())
        queries = np.stack([item.vector for item in random_items(3, SIZE, seed=9)])
        ours, theirs = (one.search(queries, 5) for one in (source, opened))
        for found, wanted in zip(theirs, ours, strict=True):
            assert [match.id for match in found] == [match.id for match in wanted]
            assert [match.score for match in found] == pytest.approx([match.score for match in wanted], abs=1e-6)
        assert opened.encoder().content == source.encoder().content
        assert list(opened.listed()) == sorted(opened.known(), key=lambda item: item.id)


def stop_at_take(patch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Stop before the n-th batch; which ids were taken."""
    taken: list[int] = []
    for one in (LocalCatalogue, MilvusCatalogue):
        whole = one.take

        def take(self: object, entries: Sequence[Entry], last: int = 0, whole: Any = whole) -> None:
            if len(taken) >= 5 * (number - 1):
                raise KeyboardInterrupt
            whole(self, entries, last)
            taken.extend(entry.id for entry in entries)

        patch.setattr(one, "take", take)
    return taken


def test_a_copy_is_the_same_and_goes_on_after_a_stop(shop: Catalogue, names: tuple[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        taken = stop_at_take(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run(shop, names[1])
    assert taken == [2, 3, 4, 5, 6, 9, 10, 11, 12, 13]
    with pytest.raises(CatalogueError, match="is an unfinished copy; finish it with `vitrine index copy`"):
        by_name.open_(names[1])
    done = run(shop, names[1])
    assert (done.items, done.kept, done.copied, done.finished) == (21, 10, 11, True)
    check_same(shop, names[1])
    again = run(shop, names[1])
    assert (again.already, again.checksum) == (True, done.checksum)
    with by_name.open_(names[1]) as opened:
        assert opened.add(random_items(1, SIZE, start=99)) == [26]  # 25 was given in the source, and is gone
    with pytest.raises(CatalogueError, match=r"already \(22 items\), with other items than"):
        run(shop, names[1])


def test_what_changed_between_two_runs_is_brought_over(shop: Catalogue, names: tuple[str, str]) -> None:
    assert not run(shop, names[1], finish=False).finished
    known = {item.source: item for item in shop.known()}
    shop.remove([2, 3, 24])
    again = next(item for item in random_items(25, SIZE) if item.source == "s10")
    shop.add([*random_items(3, SIZE, seed=5, start=200), replace(again, content="other", vector=-again.vector)])
    shop.refresh([replace(known["s20"], label="new"), replace(known["s21"], columns={"size": 1.5}, stamp="new")])
    done = run(shop, names[1])
    assert (done.items, done.copied, done.kept, done.removed, done.updated) == (21, 4, 17, 3, 2)
    check_same(shop, names[1])


def test_what_is_refused(shop: Catalogue, names: tuple[str, str], encoder: Encoder, milvus: Milvus) -> None:
    with pytest.raises(InputError, match="cannot be copied to itself"):
        run(shop, names[0])
    run(shop, names[1], finish=False)
    with by_name.create(milvus.name("third"), encoder) as third:
        with pytest.raises(CatalogueError, match=r"is an unfinished copy of .*, and not of"):
            run(third, names[1])
        by_name.delete(names[1])
        assert run(third, names[1]).items == 0
    by_name.delete(names[1])
    by_name.create(names[1], Encoder.load("compact")).close()
    with pytest.raises(CatalogueError, match=r"already, of the model compact .* is of small"):
        run(shop, names[1])


def test_the_commands(shop: Catalogue, names: tuple[str, str], cli: Cli, milvus: Milvus) -> None:
    code, out, err = cli("index", "copy", *names, "--prepare", "--json")
    assert (code, json.loads(out)["copied"]) == (0, 21), err
    code, out, err = cli("index", "list", milvus.server)
    assert (code, names[1] in out.split()) == (0, False), err
    assert cli("index", "copy", *names)[1].startswith(f"{names[1]}: 21 items (0 copied, 21 kept from before)")
    check_same(shop, names[1])
    cli("index", "remove", names[1], "--all")
    cli("index", "copy", *names, "--prepare")
    assert cli("index", "remove", names[1], "--all")[0] == 0
    code, _, err = cli("index", "info", names[1])
    assert (code, "There is no catalogue" in err) == (2, True)


# --- killed, or the server goes away


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(
    shop: Catalogue, names: tuple[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_writer, "BEAT", 0.3)
    monkeypatch.setattr(milvus_writer, "DEAD", 2.0)
    shop.add(random_items(200, SIZE, seed=3, start=1000))
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed"])
    for number in range(6):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=killed.copy, args=(str(home), *names, False, sending))
        process.start()
        sending.close()
        assert receiving.poll(60)
        process.join(3.0 + Random(number).uniform(0, 2.0))  # the token of the last one must count as dead first
        process.kill()
        process.join()
        if number == 2:
            shop.remove([2, 20])
            shop.add(random_items(5, SIZE, seed=8, start=1100))
    done = run(shop, names[1])
    assert done.items == len(shop)
    assert done.kept > 0
    check_same(shop, names[1])


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle(
    milvus_alone: Milvus, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    """Nothing that it has acknowledged is copied again."""
    (tmp_path / "milvus.toml").write_text(f'[[server]]\naddress = "{milvus_alone.server}"\nseconds = 3.0\n')
    monkeypatch.setattr(milvus_writer, "BEAT", 0.3)
    monkeypatch.setattr(milvus_writer, "DEAD", 2.0)
    monkeypatch.setenv("VITRINE_MILVUS", str(tmp_path / "milvus.toml"))
    monkeypatch.setattr(copying, "BATCH", 5)
    name = milvus_alone.name()
    with closing(filled("shop", encoder)) as shop:
        count = 0

        def kill(done: int, total: int, /) -> None:
            nonlocal count
            count += 1
            if count == 3:
                milvus_alone.kill()

        with pytest.raises(CatalogueError) as refused:
            copy(shop, staging.of(name), progress=kill)
        assert one_sentence(f"vitrine: {refused.value}\n")
        code, _, err = cli("index", "copy", "shop", name)
        assert (code, one_sentence(err.splitlines()[-1])) == (2, True), err
        monkeypatch.delenv("VITRINE_MILVUS")  # now with more patience
        milvus_alone.start()
        done = run(shop, name)
        assert (done.items, done.finished) == (21, True)
        assert done.kept >= 10
        check_same(shop, name)
