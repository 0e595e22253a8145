"""Filters on Milvus find what they find in plain Python, and so in SQL: see test_filters.py."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from milvus_fixtures import Milvus
from test_filters import Row, holds, rows, trees
from vitrine.catalogue import Columns, Entry, Item, filters
from vitrine.catalogue.filters import Filter, Not
from vitrine.catalogue.milvus import address as milvus_address
from vitrine.catalogue.milvus import tables as milvus_tables
from vitrine.catalogue.milvus.filters import LONGEST, expression
from vitrine.catalogue.milvus.link import Link
from vitrine.catalogue.milvus.tables import State, folded, items_of, row_of
from vitrine.errors import InputError

FORMS = ("{} = {}", "{} in ('', {})", "{} contains {}", "{} starts with {}", "{0} <= {1} and {0} >= {1}")
PLACE = items_of("filtered", 1)


@pytest.fixture(scope="module")
def link(milvus: Milvus) -> Iterator[Link]:
    """A server with a collection of items, and no catalogue around it."""
    made = Link(milvus_address.parse(f"{milvus.server}/filtered"), milvus_address.Settings())
    milvus_tables.create_items(made, "filtered", State("made", "identity", "model", 2), ("FLAT", {}))
    yield made
    made.drop(PLACE)
    made.close()


def put(link: Link, there: list[Row]) -> None:
    """Have the collection hold these rows, and no others."""
    entries = []
    for row in there:
        columns: Columns = {name: value for name, value in (row.columns or {}).items() if value is not None}
        item = Item(f"{row.source}\n{row.id}", row.label, "c", np.ones(2, np.float32), b"png", columns or None)
        entries.append(Entry(row.id, row.added, item))
    link.delete(PLACE, f"id > {len(there)}")
    link.upsert(PLACE, [row_of(entry) for entry in entries])


def found(link: Link, condition: Filter) -> list[int]:
    return sorted(row["id"] for row in link.query(PLACE, expression(condition), ["id"]))


@settings(max_examples=150, deadline=None)
@given(trees, st.lists(rows, min_size=1, max_size=8))
def test_milvus_finds_what_plain_python_finds(link: Link, tree: Filter, rows: list[Row]) -> None:
    rows = [Row(i, row.label, row.source, row.added, row.columns) for i, row in enumerate(rows, 1)]
    assume(not any(mark in repr(rows) for mark in ("\\U0010fffe", "\\U0010ffff")))  # refused when they are added
    put(link, rows)
    assert found(link, tree) == [row.id for row in rows if holds(tree, row)]
    assert found(link, Not(tree)) == [row.id for row in rows if holds(tree, row) is False]


@pytest.mark.parametrize(
    "attack",
    [
        'x" or id > 0 or label == "',
        "' or id > 0 --",
        '\\" or id > 0 or "',
        "\\",
        "%",
        "_",
        "a\nb\r",
        '"]',
        '"} or',
        "$meta",
    ],
)
def test_what_looks_like_an_expression_is_only_a_value(link: Link, attack: str) -> None:
    put(link, [Row(1, attack, columns={attack: attack}), Row(2, "other", columns={"size": "other"}), Row(3)])
    for quote in "'\"":
        value = quote + attack.replace(quote, quote * 2) + quote
        name = "`" + attack.replace("`", "``") + "`"
        for field in ("label", name):
            for text in (
                "{} = {}",
                "{} in ('', {})",
                "{} contains {}",
                "{} starts with {}",
                "{0} <= {1} and {0} >= {1}",
            ):
                assert found(link, filters.parse(text.format(field, value), ["size", attack])) == [1]
        assert found(link, filters.parse(f"not {name} is null", [attack])) == [1]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("id = 2.5", []),
        ("id < 2.5", [1, 2]),
        ("id >= 1e300", []),
        ("id < 1e300", [1, 2, 3]),
        ("not id in (1, 2.5, 3)", [2]),
        ("source contains '_2'", []),
        ("added = 2026-01-31 and added < 2026-01-31T12:01", [1, 2, 3]),
        ("added > 2026-01-31", []),
        ("price = 9007199254740993", [2]),
        ("price >= 9007199254740993", [2, 3]),
        ("price != 5", [2, 3]),
        ("not (price = 5 or label is null)", [2]),
    ],
)
def test_numbers_and_times(link: Link, text: str, ids: list[int]) -> None:
    put(
        link,
        [
            Row(1, columns={"price": 5}),
            Row(2, "a", columns={"price": 2**53 + 1}),
            Row(3, columns={"price": 2**60}),
        ],
    )
    assert found(link, filters.parse(text, ["price"])) == ids


def test_folding_keeps_order_and_parts() -> None:
    texts = ["", "$", "$a", "%", "%a", "&", "[", "\\", "]", "^", "_", "`", "a", "a$", "a%b_c\\"]
    assert sorted(texts, key=folded) == sorted(texts)
    for one in texts:
        for other in texts:
            assert (folded(one) in folded(other)) == (one in other)
            assert folded(other).startswith(folded(one)) == other.startswith(one)


def test_a_filter_that_is_too_long() -> None:
    values = ", ".join(["'ab'"] * 1600)
    long = filters.parse(f"`{'ab' * 100}` in ({values})", ["ab" * 100])
    with pytest.raises(InputError, match="too long for Milvus"):
        expression(long)
    assert len(expression(filters.parse(f"label in ({values})", []))) < LONGEST
