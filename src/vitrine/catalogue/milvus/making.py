"""How a catalogue on Milvus comes about, is found and opened, and goes."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Any

from vitrine.catalogue import Entry
from vitrine.catalogue.milvus import address as milvus_address
from vitrine.catalogue.milvus import model as milvus_model
from vitrine.catalogue.milvus import tables as milvus_tables
from vitrine.catalogue.milvus.address import Address
from vitrine.catalogue.milvus.catalogue import MilvusCatalogue
from vitrine.catalogue.milvus.link import Link
from vitrine.catalogue.milvus.records import Records
from vitrine.catalogue.milvus.tables import State, catalogue_of, index_of, items_of, records_of, writer_of
from vitrine.catalogue.milvus.writer import Writer
from vitrine.catalogue.milvus.writing import STATE
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError

_TOGETHER = 1000  # items that are taken at once


def create(name: str, encoder: Encoder, unfinished: dict[str, Any] | None = None) -> MilvusCatalogue:
    """A new, empty catalogue for that model's embeddings. unfinished: what a copy that begins so is of.

    Raises CatalogueError when there is one, or the server refuses; InputError for what is no address.
    """
    link = linked(name)
    try:
        _make(link, encoder, unfinished)
        return MilvusCatalogue(link)
    except BaseException:
        link.close()
        raise


def _make(link: Link, encoder: Encoder, unfinished: dict[str, Any] | None) -> None:
    name, short = link.address.text, link.address.catalogue
    if _state(link) is not None:
        raise CatalogueError(f"There is a catalogue {name!r} already; choose another name.")
    kind, build = index_of(link, "auto")
    card = encoder.card
    state = State(uuid.uuid4().hex, card.identity, card.name, card.embedding, index=kind, unfinished=unfinished)
    records = Records(link, records_of(short), name)
    writer = Writer(link, records, short)
    with writer.alone(new=True):
        milvus_tables.create_records(link, records_of(short))
        if records.get(STATE) is not None:
            raise CatalogueError(f"Another program has just made a catalogue {name!r}; run it again.")
        link.drop(items_of(short, state.number))  # of a creation that was stopped
        milvus_tables.create_items(link, short, state, (kind, build))
        records.put(milvus_model.record_of(card.identity), encoder.content)
        writer.check()
        records.put(STATE, state.to_bytes())


def fill(name: str, encoder: Encoder, entries: Iterator[Entry], last: int) -> None:
    """A new catalogue of these items, under their ids, or none where anything is wrong. last: no id up to this one is
    given there. Raises as `create`, and what comes of the entries.
    """
    with create(name, encoder, {"filled": "from a file"}) as made:
        try:
            with made.sole_writer():
                while some := list(islice(entries, _TOGETHER)):
                    made.take(some)
                made.take([], last)
                made.finish()
        except BaseException:
            with suppress(CatalogueError):
                delete(name)
            raise


def open_(name: str, unfinished: bool = False) -> MilvusCatalogue:
    """The catalogue of that name. unfinished: also one that is a copy under way.

    Raises CatalogueError: there is none, it is not ours, it is too new, it is damaged, the server refuses; InputError.
    """
    link = linked(name)
    try:
        state = _state(link)
        if state is None:
            known = ", ".join(names_on(link)) or "none yet"
            raise CatalogueError(
                f"There is no catalogue {name!r} (on that server there are: {known}); make it with `vitrine index add`."
            )
        if state.unfinished is not None and not unfinished:
            raise CatalogueError(
                f"The catalogue {name!r} is an unfinished copy; finish it with `vitrine index copy`, or throw it away"
                f" with `vitrine index remove {name} --all`."
            )
        _check_fields(link, state)
        return MilvusCatalogue(link)
    except BaseException:
        link.close()
        raise


def exists(name: str) -> bool:
    """Whether there is a catalogue of that name. Raises as `open_`."""
    link = linked(name)
    try:
        return _state(link) is not None
    finally:
        link.close()


def names(server: str) -> list[str]:
    """The catalogues on a server, as milvus+http://host:19530, without unfinished ones. Raises as `open_`."""
    url = milvus_address.parse_server(server)
    link = Link(Address(url, ""), milvus_address.settings(url))
    try:
        return [Address(url, found).text for found in names_on(link) if not _unfinished(link, found)]
    finally:
        link.close()


def names_on(link: Link) -> list[str]:
    return sorted(name for one in link.collections() if (name := catalogue_of(one)) is not None)


def _unfinished(link: Link, name: str) -> bool:
    """Whether that is a copy under way, or is only being made."""
    with suppress(CatalogueError):  # what is damaged says so when it is opened
        content = Records(link, records_of(name), name).get(STATE)
        return content is None or State.from_bytes(content, name).unfinished is not None
    return False


def delete(name: str, only_empty: bool = False) -> None:
    """Delete a whole catalogue, a damaged one too; or only if it holds no items. Raises CatalogueError when there is
    none, or somebody else writes.
    """
    link = linked(name)
    short = link.address.catalogue
    try:
        ours = [
            one for one in link.collections() if one == records_of(short) or one.startswith(f"{records_of(short)}__")
        ]
        if not ours:
            raise CatalogueError(f"There is no catalogue {name!r}; see `vitrine index list milvus+{link.address.url}`.")
        records = Records(link, records_of(short), name)
        writer = Writer(link, records, short)
        with ExitStack() as alone:
            if any(one.startswith(writer_of(short)) for one in ours):
                alone.enter_context(writer.alone())
                if only_empty:
                    state = _state(link)
                    if state is not None and state.items:
                        return
            for one in sorted(ours):  # the records first: from then on there is no such catalogue
                link.drop(one)
            writer.end()  # at the last: who makes another of that name waits until then
    finally:
        link.close()


def linked(name: str) -> Link:
    address = milvus_address.parse(name)
    return Link(address, milvus_address.settings(address.url))


def _state(link: Link) -> State | None:
    """What the catalogue says of itself; None where there is none, or it is only being made."""
    collection, name = records_of(link.address.catalogue), link.address.text
    if not link.has(collection):
        return None
    _need(link, collection, ["key", "content", "nothing"])
    content = Records(link, collection, name).get(STATE)
    return None if content is None else State.from_bytes(content, name)


def _check_fields(link: Link, state: State) -> None:
    collection = items_of(link.address.catalogue, state.number)
    if not link.has(collection):
        raise CatalogueError(
            f"The catalogue {link.address.text!r} has lost its collection {collection}; delete what is left with"
            f" `vitrine index remove {link.address.text} --all` and add the pictures anew."
        )
    _need(link, collection, [*milvus_tables.WHOLE, "cells"])


def _need(link: Link, collection: str, fields: list[str]) -> None:
    """Raises CatalogueError where the collection has not these fields."""
    missing = sorted(set(fields) - link.fields(collection))
    if missing:
        raise CatalogueError(
            f"The collection {collection} on {link.address.url} has no field {missing[0]}: it is not a catalogue of"
            " vitrine's, or of another version; choose another name, or make it anew."
        )
