"""Writing on Milvus: who makes a catalogue, who deletes it, and what a stop in the middle leaves."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from pymilvus import MilvusClient
from pymilvus.client.iterator import QueryIterator
from pymilvus.exceptions import MilvusException

from milvus_fixtures import Milvus
from pictures import Cli, one_sentence, random_items
from small_models import small_model
from vitrine.catalogue import Entry, by_name
from vitrine.catalogue.milvus import making as milvus_making
from vitrine.catalogue.milvus import tables as milvus_tables
from vitrine.catalogue.milvus import writer as milvus_writer
from vitrine.catalogue.milvus import writing as milvus_writing
from vitrine.catalogue.milvus.catalogue import MilvusCatalogue
from vitrine.catalogue.milvus.link import Link, Row
from vitrine.catalogue.milvus.model import record_of
from vitrine.catalogue.milvus.tables import items_of, writer_of
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError

SIZE = 16


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """A model of a few kilobytes."""
    return small_model()


@pytest.fixture
def made(milvus: Milvus, encoder: Encoder) -> Iterator[MilvusCatalogue]:
    with milvus_making.create(milvus.name(), encoder) as catalogue:
        yield catalogue


# --- making and deleting


def test_of_two_who_make_the_same_catalogue_one_does(
    milvus: Milvus, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes in between, when the first has found that nobody writes there."""
    monkeypatch.setattr(milvus_writer, "SECONDS_TO_WAIT", 0.5)
    monkeypatch.setattr(milvus_writer, "BEAT", 0.1)
    name, whole = milvus.name(), milvus_tables.create_records
    others: list[MilvusCatalogue] = []
    came = threading.Event()

    def late(link: Link, collection: str, is_token: bool = False) -> None:
        if is_token and not came.is_set():
            came.set()
            others.append(stack.enter_context(milvus_making.create(name, encoder)))
            stack.enter_context(others[0].sole_writer())
        whole(link, collection, is_token)

    for module in (milvus_tables, milvus_writer):
        monkeypatch.setattr(module, "create_records", late)
    with ExitStack() as stack:
        with pytest.raises(CatalogueError, match="Another program"):
            milvus_making.create(name, encoder)
        assert others[0].add(random_items(3, SIZE)) == [1, 2, 3]
        with milvus_making.open_(name) as third, pytest.raises(CatalogueError, match="Another program is writing"):
            third.add(random_items(1, SIZE))
    with milvus_making.open_(name) as third:
        assert third.add(random_items(1, SIZE, start=9)) == [4]


def test_who_makes_a_catalogue_anew_waits_until_the_old_one_is_gone(
    made: MilvusCatalogue, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, again = Link.drop, []
    making = threading.Thread(target=lambda: again.append(milvus_making.create(made.name, encoder)))

    def drop(link: Link, collection: str) -> None:
        if collection.startswith(writer_of(made._short)) and not making.ident:
            making.start()
            making.join(2)  # as far as it gets
        whole(link, collection)

    made.add(random_items(3, SIZE))
    with monkeypatch.context() as patch:
        patch.setattr(Link, "drop", drop)
        by_name.delete(made.name)
    making.join()
    with again[0] as other:
        assert (len(other), made.replaced()) == (0, True)
        assert other.add(random_items(2, SIZE)) == [1, 2]


@pytest.mark.parametrize("step", ["create_index", "load_collection"])
def test_a_creation_that_was_stopped_is_done_again(
    milvus: Milvus, encoder: Encoder, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    name = milvus.name()
    with monkeypatch.context() as patch:
        patch.setattr(MilvusClient, step, stop)
        with pytest.raises(KeyboardInterrupt):
            milvus_making.create(name, encoder)
    assert name not in by_name.names(milvus.server)
    assert not by_name.exists(name)
    with milvus_making.create(name, encoder) as catalogue:
        client, records = catalogue._link.client, catalogue._records.collection
        assert client.list_indexes(records)
        assert str(client.get_load_state(records)["state"]) == "Loaded"
        assert catalogue.add(random_items(2, SIZE)) == [1, 2]


# --- what is damaged


def test_what_is_damaged_is_taken_out_as_verify_says(made: MilvusCatalogue, cli: Cli) -> None:
    made.add(random_items(5, SIZE))
    row = made._link.query(items_of(made._short, 1), "id in [3]", [*milvus_tables.WHOLE, "cells"])[0]
    made._link.upsert(items_of(made._short, 1), [{**row, "content": "another"}])
    code, _, err = cli("index", "verify", made.name)
    assert (code, one_sentence(err.splitlines()[-1])) == (2, True)
    assert "1 item is lost: 3 (s2); take out what is lost with `vitrine index remove" in err
    assert cli("index", "remove", made.name, 3)[0] == 0
    assert not made.check().found
    made._writing.keep(replace(made._writing.state(), items=7))
    err = cli("index", "verify", made.name)[2]
    assert "it says that it has 7 items, and has 4" in err
    assert f"`vitrine index copy {made.name} NAME` makes one that is counted anew" in err
    assert cli("index", "copy", made.name, "here")[1].startswith("here: 4 items")


# --- what is read


def test_who_writes_reads_what_was_written_last_whatever_is_configured(
    made: MilvusCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an id could be given twice."""
    levels: list[str] = []
    whole = MilvusClient.query

    def query(client: Any, *given: Any, **named: Any) -> Any:
        levels.append(named["consistency_level"])
        return whole(client, *given, **named)

    monkeypatch.setattr(MilvusClient, "query", query)
    monkeypatch.setattr(milvus_writer, "BEAT", 0.01)
    made._link.settings = replace(made._link.settings, consistency="Bounded")
    made.add(random_items(3, SIZE))
    made.remove([2])
    assert set(levels) == {"Strong"}
    levels.clear()
    assert len(made) == 2
    assert levels == ["Bounded"]


def test_a_reading_goes_on_where_the_server_has_forgotten_the_collection(made: MilvusCatalogue) -> None:
    """As it has when it starts anew."""
    made.add(random_items(200, SIZE))
    rows = made._link.all(items_of(made._short, 1), "id > 0", ["id"], 50)
    found = [next(rows)["id"] for _ in range(60)]
    made._link.client.release_collection(items_of(made._short, 1))
    assert found + [row["id"] for row in rows] == list(range(1, 201))


def test_a_reading_that_gets_nowhere_ends(made: MilvusCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: QueryIterator) -> None:
        raise MilvusException(message="UNAVAILABLE")

    made.add(random_items(3, SIZE))
    made._link.settings = replace(made._link.settings, seconds=0.5)
    monkeypatch.setattr(QueryIterator, "next", away)
    with pytest.raises(CatalogueError, match=r"does not answer .*, for 0.5 s by now; see that it runs"):
        made.vectors()


def test_as_many_are_looked_at_as_are_asked_for(made: MilvusCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus refuses less, and for equal scores more are asked for than anybody wanted."""
    passed: list[tuple[int, dict[str, Any]]] = []
    whole = MilvusClient.search

    def search(client: Any, *given: Any, **named: Any) -> Any:
        passed.append((named["limit"], named["search_params"]["params"]))
        return whole(client, *given, **named)

    monkeypatch.setattr(MilvusClient, "search", search)
    item = random_items(1, SIZE)[0]
    made.add([replace(item, source=f"s{i}") for i in range(60)])
    made._link.settings = replace(made._link.settings, search={"ef": 20, "search_list": 16, "nprobe": 8})
    assert [match.id for match in made.search(item.vector[None], 5)[0]] == [1, 2, 3, 4, 5]
    assert passed[0] == (13, {"ef": 20, "search_list": 16, "nprobe": 8})
    assert passed[1] == (52, {"ef": 52, "search_list": 52, "nprobe": 8})


# --- stopped in the middle


def test_what_takes_an_old_id_counts_when_all_of_it_is_there(
    made: MilvusCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.add(random_items(5, SIZE))
    made.remove([2])
    new = random_items(2, SIZE, seed=1, start=100)
    entries = [Entry(2, "then", new[0]), Entry(3, "then", replace(new[1], label="other"))]

    whole, place = Link.upsert, items_of(made._short, 1)

    def stop(link: Link, collection: str, rows: list[Row]) -> None:
        whole(link, collection, rows)
        if collection == place:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Link, "upsert", stop)
        with pytest.raises(KeyboardInterrupt):
            made.take(entries)
    for _ in range(2):  # as it was left, and put in order
        known = list(made.known())
        assert [item.id for item in known] == [1, 4, 5]
        assert len(made) == 3
        assert sum(made.labels(9).values()) == sum(item.label is not None for item in known)
        with made.sole_writer():
            pass
    made.take(entries)
    assert [item.id for item in made.listed()] == [1, 2, 3, 4, 5]
    assert (len(made), made.item(2).source, made.item(3).label) == (5, "s100", "other")
    assert not made.check().found


def test_much_is_removed_in_steps_that_fit_into_an_answer(
    made: MilvusCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pictures may have 65 kB each."""
    most: list[int] = []
    whole = Link.query

    def query(link: Link, collection: str, condition: str, fields: list[str], *more: int) -> list[Row]:
        found = whole(link, collection, condition, fields, *more)
        most.append(len(found) if "thumbnail" in fields else 0)
        return found

    made.add(random_items(9, SIZE))
    monkeypatch.setattr(milvus_writing, "_ROWS", 4)
    monkeypatch.setattr(Link, "query", query)
    assert made.remove(range(1, 9)) == 8
    assert (max(most), len(made)) == (4, 1)


def test_an_index_that_takes_long_is_not_begun_anew(made: MilvusCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        raise MilvusException(
            message="[load_collection] Retry timeout: 30s, message=wait for loading collection timeout"
        )

    made.add(random_items(9, SIZE))
    before = made.search(random_items(1, SIZE)[0].vector[None], 5)
    with monkeypatch.context() as patch:
        patch.setattr(MilvusClient, "load_collection", slow)
        with pytest.raises(CatalogueError, match=r"is still loading .*, or building its index, .* run it again later"):
            made.use_index("hnsw")
        patch.setattr(MilvusClient, "drop_index", slow)
        made.use_index("hnsw")
    assert made.info().index == "hnsw"
    assert made.search(random_items(1, SIZE)[0].vector[None], 5) == before


def test_the_old_model_goes_with_a_move(made: MilvusCatalogue, encoder: Encoder) -> None:
    other = Encoder.load("compact")
    made.add(random_items(1, SIZE))
    with made.moving(other) as collecting:
        collecting.add([(1, random_items(1, other.card.embedding)[0].vector.tobytes())])
    assert made._records.get(record_of(other.card.identity)) == other.content
    assert made._records.get(record_of(encoder.card.identity)) is None
