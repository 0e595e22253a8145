import json
import sqlite3
import string
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.catalogue import filters
from vitrine.catalogue.filters import (
    Among,
    Field,
    Filter,
    Found,
    IsNull,
    Joined,
    Moment,
    Not,
    Order,
    Ordered,
    Value,
    parse,
)
from vitrine.errors import InputError

Cell = str | int | float | None

COLUMNS = ["price", "size", "season", "ціна, грн", 'say "hi"', "a`b\\c.$[0]", "label", "not", ""]
TABLE = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, label TEXT, content TEXT NOT NULL, added TEXT NOT NULL,
    columns TEXT
) STRICT
"""


@dataclass(frozen=True)
class Row:
    """An item. columns: None where it has no line in the CSV."""

    id: int
    label: str | None = None
    source: str = "boot.jpg"
    added: str = "2026-01-31T12:00:00Z"
    columns: dict[str, Cell] | None = field(default_factory=dict)


def found(condition: Filter, rows: list[Row]) -> list[int]:
    """The ids of the rows that SQLite finds; every second row's JSON is written with escapes."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(TABLE)
        for row in rows:
            columns = None if row.columns is None else json.dumps(row.columns, ensure_ascii=row.id % 2 == 0)
            source = f"{row.source}\n{row.id}"  # sources are unique
            values = (row.id, source, row.label, "c", row.added, columns)
            connection.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", values)
        sql, parameters = condition.sql()
        ids = connection.execute(f"SELECT items.id FROM items WHERE items.id > 0 AND {sql} ORDER BY id", parameters)
        return [id for (id,) in ids]


def chosen(text: str, *rows: Row) -> list[int]:
    return found(parse(text, COLUMNS), list(rows))


def cells(*values: Cell) -> list[Row]:
    """Items numbered from 1 with these sizes."""
    return [Row(i, columns={"size": value}) for i, value in enumerate(values, 1)]


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, COLUMNS)
    return str(caught.value)


# What a filter means


def test_the_example_of_the_docs() -> None:
    rows = [
        Row(1, "Dress", added="2025-12-31T23:59:59Z"),
        Row(2, "Dress", added="2026-01-01T10:00:00Z"),
        Row(3, "Dress", added="2026-01-02T00:00:00Z"),
        Row(4, "Coat", added="2026-01-02T00:00:00Z"),
        Row(5, None, added="2026-01-02T00:00:00Z"),
    ]
    assert chosen("label = 'Dress' and added > 2026-01-01", *rows) == [3]
    assert chosen("label = 'x' OR label Is Null", *rows) == [5]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("added = 2026-01-31", [2, 3, 4]),
        ("added = '2026-01-31'", [2, 3, 4]),
        ("added != 2026-01-31", [1, 5]),
        ("added > 2026-01-31", [5]),
        ("added >= 2026-01-31", [2, 3, 4, 5]),
        ("added < 2026-01-31", [1]),
        ("added <= 2026-01-31", [1, 2, 3, 4]),
        ("added = 2026-01-31T12:00", [3]),
        ("added = 2026-01-31t12:00z", [3]),
        ("added = 2026-01-31T12:00:00Z", []),
        ("added = 2026-01-31T12:00:30", [3]),
        ("added > 2026-01-31T12:00", [4, 5]),
        ("added in (2026-01-30, 2026-01-31T23:59:59, 2026-01-31T12:00)", [1, 3, 4]),
        ("added not in (2026-01-30, '2026-02-01')", [2, 3, 4]),
        ("added <= 9999-12-31 and added >= 0001-01-01", [1, 2, 3, 4, 5]),
    ],
)
def test_a_date_is_the_whole_day_and_a_time_the_whole_minute(text: str, ids: list[int]) -> None:
    times = ["2026-01-30T23:59:59Z", "2026-01-31T00:00:00Z", "2026-01-31T12:00:30Z", "2026-01-31T23:59:59Z"]
    rows = [Row(i, added=time) for i, time in enumerate([*times, "2026-02-01T00:00:00Z"], 1)]
    assert chosen(text, *rows) == ids


def test_dates_in_a_column() -> None:
    rows = cells(
        "2026-01-31",
        "2026-01-31 07:00",
        "2026-01-31T23:30:00Z",
        "2026-02-01T01:00+02:00",  # 23:00 UTC of the 31st
        "2026-02-01",
        "soon",
        "2026-99-99",
        20260131,
        None,
        "now",
        "2461072.5",
    )
    assert chosen("size = 2026-01-31", *rows) == [1, 2, 3, 4]
    assert chosen("size != 2026-01-31", *rows) == [5, 6, 7, 8, 10, 11]
    assert chosen("size > 2026-01-31", *rows) == [5]
    assert chosen("size >= 2000-01-01", *rows) == [1, 2, 3, 4, 5]
    assert chosen("size <= 2026-01-31T12:00", *rows) == [1, 2]
    assert chosen("size in (2026-02-01, 'soon', 20260131)", *rows) == [5, 6, 8]
    assert chosen("size in (2026-01-31T07:00, 'soon', 2026-02-01)", *rows) == [2, 5, 6]
    assert chosen("size = '2026-01-31'", *rows) == [1]  # in quotes it is a text


def test_a_number_and_a_text_are_never_equal_and_neither_is_greater() -> None:
    rows = cells(38, "38", 38.5, "S", None, "", -1)
    assert chosen("size = 38", *rows) == [1]
    assert chosen("size = 38.0", *rows) == [1]
    assert chosen("size = '38'", *rows) == [2]
    assert chosen("size != 38", *rows) == [2, 3, 4, 6, 7]
    assert chosen("size != 'S'", *rows) == [1, 2, 3, 6, 7]
    assert chosen("size > 0", *rows) == [1, 3]
    assert chosen("not size > 0", *rows) == [7]
    assert chosen("size < 1e9", *rows) == [1, 3, 7]
    assert chosen("size >= ''", *rows) == [2, 4, 6]
    assert chosen("size > '4'", *rows) == [4]
    assert chosen("size < '4'", *rows) == [2, 6]
    assert chosen("not size > '4'", *rows) == [2, 6]
    assert chosen("size in (38, 'S')", *rows) == [1, 4]
    assert chosen("size not in (38, 'S')", *rows) == [2, 3, 6, 7]
    assert chosen("size contains '3'", *rows) == [2]
    assert chosen("size not contains '3'", *rows) == [1, 3, 4, 6, 7]
    assert chosen("size starts with ''", *rows) == [2, 4, 6]


def test_null_is_found_by_is_null_only() -> None:
    rows = [
        Row(1, "Dress"),
        Row(2),
        Row(3, columns=None),
        Row(4, columns={"price": None}),
        Row(5, columns={"price": 0}),
    ]
    assert chosen("label is null", *rows) == [2, 3, 4, 5]
    assert chosen("label is not null", *rows) == [1]
    assert chosen("price is null", *rows) == [1, 2, 3, 4]
    assert chosen("price IS NOT NULL", *rows) == [5]
    for text in ("label {} 'x'", "not label {} 'x'", "not not label {} 'x'"):
        for operator in ("=", "!=", "<", ">=", "contains", "starts with", "not contains"):
            assert set(chosen(text.format(operator), *rows)) <= {1}
    assert chosen("price = 1 or not price = 1", *rows) == [5]
    assert chosen("price in (1) or price not in (1, 'a', 2026-01-01)", *rows) == [5]
    assert chosen("label = 'x' or price = 0", *rows) == [5]
    assert chosen("not (label = 'x' and price = 1)", *rows) == [1, 5]  # one is false: so is the whole


def test_contains_and_starts_with_take_no_wildcards() -> None:
    rows = [
        Row(1, "100% cotton", "summer/boot.jpg"),
        Row(2, "100 cotton", "winter/summer/boot.jpg"),
        Row(3, "Їжак_х", "Summer/boot.jpg"),
    ]
    assert chosen("label contains '0%'", *rows) == [1]
    assert chosen("label contains '_'", *rows) == [3]
    assert chosen("label contains 'жак'", *rows) == [3]
    assert chosen("label contains 'ЖАК'", *rows) == []
    assert chosen("source starts with 'summer/'", *rows) == [1]
    assert chosen("source contains 'summer/'", *rows) == [1, 2]
    assert chosen("source not  starts\nwith 'summer/' and not source contains 'W'", *rows) == [2, 3]


def test_and_before_or_and_not_first() -> None:
    rows = [Row(i) for i in range(1, 7)]
    assert chosen("id = 1 or id > 2 and id < 4", *rows) == [1, 3]
    assert chosen("(id = 1 or id > 2) and id < 4", *rows) == [1, 3]
    assert chosen("(id = 1 or id > 2) and id < 3", *rows) == [1]
    assert chosen("not id = 1 and not(id=2 or id in(5,6))", *rows) == [3, 4]
    assert chosen("NOT NOT NOT id>=3", *rows) == [1, 2]
    assert chosen("not not id = 1", *rows) == [1]
    assert chosen("id>-.5 and id<4.5e0 and id!=+2", *rows) == [1, 3, 4]


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_name_is_found(name: str) -> None:
    quoted = "`" + name.replace("`", "``") + "`"
    rows = [Row(1, "x", columns={name: 5}), Row(2, "x", columns={"other": 5}), Row(4, columns={name: 5})]
    assert chosen(f"{quoted} = 5", *rows) == [1, 4]


def test_a_plain_word_is_the_built_in_field_first() -> None:
    rows = [Row(1, "built in", columns={"label": "column"})]
    assert chosen("label = 'built in' and `label` = 'column'", *rows) == [1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it''s'", "it's"),
        ('"it\'s ""so"""', 'it\'s "so"'),
        ("''", ""),
        ("'a\nb'", "a\nb"),
        ("0", 0),
        ("-12", -12),
        ("007", 7),
        ("0" * 5000 + "5", 5.0),
        ("5.", 5.0),
        ("-.5", -0.5),
        ("1E-3", 0.001),
        ("9007199254740993", 9007199254740993),
        ("99999999999999999999", 1e20),  # more than SQLite's integers hold
        ("2024-02-29", Moment("2024-02-29")),
        ("2024-02-29T05:06:07z", Moment("2024-02-29T05:06:07")),
    ],
)
def test_values(text: str, value: Value) -> None:
    tree = parse(f"price={text}", COLUMNS)
    assert tree == Among(Field("price", True), (value,))
    assert found(tree, [Row(1, columns={"price": value.text if isinstance(value, Moment) else value})]) == [1]


def test_prices_are_found_exactly() -> None:
    """SQLite reads the JSON's decimals by itself: to the same floats as Python."""
    prices = [cents / 100 for cents in range(1, 30_000, 13)]
    with closing(sqlite3.connect(":memory:")) as connection:
        read = connection.execute("SELECT value FROM json_each(?)", [json.dumps(prices)]).fetchall()
    assert [price for (price,) in read] == prices


# What is refused


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("label == 'Dress'", "character 7, '=='", "write = instead"),
        ("label <> 'Dress'", "character 7, '<>'", "write != instead"),
        ("label = 'a' && id = 1", "character 13, '&&'", "write and instead"),
        ("label like 'Dr%'", "character 7, 'like'", "write contains or starts with"),
        ("price between 1 and 2", "character 7, 'between'", "write >= and <= instead"),
        ("!price = 1", "character 1, '!'", "write not instead"),
        ("label = Dress", "character 9, 'Dress'", "a value must stand here: text in quotes"),
        ("label = null", "character 9, 'null'", "is null or is not null"),
        ("label =", "its end", "a value must stand here"),
        ("label = and id = 1", "character 9, 'and'", "a value must stand here"),
        ("label", "its end", "after a field comes ="),
        ("size eu = 5", "character 6, 'eu'", "in backticks"),
        ("= 5", "character 1, '='", "a field must stand here"),
        ("5 < price", "character 1, '5'", "a field must stand here"),
        ("'label' = 'x'", "character 1, \"'label'\"", "a field must stand here"),
        ("not = 5", "character 5, '='", "a field must stand here"),
        ("id = 1 and", "its end", "a field must stand here"),
        ("1 < id < 3", "character 1, '1'", "a field"),
        ("id > 1 < 3", "character 8, '<'", "after a comparison comes"),
        ("id = 1 id = 2", "character 8, 'id'", "after a comparison comes"),
        ("(id = 1", "character 1, '('", "never closed"),
        ("((id = 1)", "character 1, '('", "never closed"),
        ("(id = 1 label", "character 9, 'label'", "after a comparison comes"),
        ("id = 1)", "character 7, ')'", "closes none"),
        ("()", "character 2, ')'", "a field must stand here"),
        ("label = 'Dress", 'character 9, "\'"', "never closed"),
        ("`label = 5", "character 1, '`'", "never closed"),
        ("label = “Dress”", "character 9, '“'", "no meaning here"),
        ("price = 19,99", "character 11, ','", "after a comparison comes"),
        ("price = $5", "character 9, '$'", "no meaning here"),
        ("id in 1", "character 7, '1'", "after in comes a list"),
        ("id in ()", "character 8, ')'", "a value must stand here"),
        ("id in (1 2)", "character 10, '2'", "comes a comma or"),
        ("id in (1", "its end", "comes a comma or"),
        ("id in (1,)", "character 10, ')'", "a value must stand here"),
        ("label is 'x'", "character 10, \"'x'\"", "null or not null"),
        ("label not = 'x'", "character 11, '='", "after not comes in"),
        ("label starts 'x'", "character 14, \"'x'\"", "after starts comes with"),
        ("label contains 5", "character 16, '5'", "text in quotes must stand here"),
        ("id contains '5'", "character 13, \"'5'\"", "id is no text to look into"),
        ("added starts with '2026'", "character 19, \"'2026'\"", "added is no text"),
        ("id = '5'", "character 6, \"'5'\"", "id is compared with a number"),
        ("label in ('a', 5)", "character 16, '5'", "label is compared with text in quotes"),
        ("source < 2026-01-01", "character 10, '2026-01-01'", "source is compared with text"),
        ("added > 'today'", "character 9, \"'today'\"", "added is compared with a date such as"),
        ("added > 2026", "character 9, '2026'", "added is compared with a date such as"),
        ("added > 2026-02-30", "character 9, '2026-02-30'", "this is no number"),
        ("added > 2026-1-5", "character 9, '2026-1-5'", "this is no number"),
        ("added > 31.01.2026", "character 9, '31.01.2026'", "this is no number"),
        ("added > 2026-01-31T05:00+02:00", "character 9, '2026-01-31T05:00+02:00'", "always UTC"),
        ("added > 2026-01-31T24:00", "character 9", "always UTC"),
        ("added > 0000-01-31", "character 9", "date (2026-01-31)"),
        ("price > 1e999", "character 9, '1e999'", "this is no number"),
        ("price > " + "9" * 5000, "character 9, '9999", "this is no number"),
        ("price > 1_000", "character 9, '1_000'", "this is no number"),
        ("price > ١", "character 9, '١'", "no meaning here"),
        ("label = 'a\0b'", "character 9", "no text"),
        ("label = '\udcff'", "character 9", "no text"),
        ("\udcff = 1", "character 1", "no meaning here"),
    ],
)
def test_what_is_no_filter_is_one_sentence_with_its_place(text: str, place: str, reason: str) -> None:
    message = refusal(text)
    assert message.startswith(f"The filter is wrong at {place}")
    assert reason in message
    assert "\n" not in message
    assert len(message) < 250
    message.encode()


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_an_empty_filter(text: str) -> None:
    assert refusal(text).startswith("The filter is empty; write a condition such as label = 'Dress'")


def test_unknown_fields() -> None:
    assert "there is no such field" in refusal("colour = 'red'")
    assert "did you mean" not in refusal("colour = 'red'")
    assert refusal("Label = 'x'").endswith("did you mean label?")
    assert refusal("prise = 1").endswith("did you mean price?")
    assert refusal("`source` = 'x'").endswith("did you mean source?")
    assert refusal("`ціна грн` = 1").endswith("did you mean `ціна, грн`?")
    assert "id, label, source, added, price, size, season, `ціна, грн`, `say" in refusal("x = 1")
    assert "and 1 more" in refusal("x = 1")
    with pytest.raises(InputError, match=r"there are id, label, source, added\.$"):
        parse("x = 1", ())
    assert "items" not in refusal("content = 'x'")  # the table's other columns are no fields
    for name in ("content", "columns", "rowid", "items.id", "`columns`", "`items.id`"):
        refusal(f"{name} = 1")


def test_length_depth_and_number_have_limits_that_sqlite_can_bear() -> None:
    assert refusal("x" * 10_001).startswith("The filter has 10,001 characters; at most 10,000 are allowed")
    assert f"at most {filters.MAX_NESTING} parentheses" in refusal("(" * 5_000)
    assert "at most 500 comparisons" in refusal("id=1 or " * 1_000 + "id=1")
    deep = "not size != 2026-01-01"
    for _ in range(filters.MAX_NESTING):
        deep = f"id=9 or id=1 and not ({deep})"
    wide = " or ".join(["size=2026-01-01"] * 480)
    long = f"id in ({','.join(['1'] * 4_990)})"
    negated = "not " * 2_000 + "id = 1"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(TABLE)
        connection.execute("INSERT INTO items VALUES (1, 's', 'l', 'c', '2026-01-01T00:00:00Z', '{}')")
        for text in (deep, wide, long, negated, "(" * 6 + wide + ")" * 6):
            sql, values = parse(text, COLUMNS).sql()
            connection.execute(f"SELECT id FROM items WHERE {sql}", values).fetchall()
            query = (
                f"SELECT a.id FROM items a WHERE a.id > 0 AND a.id IN (SELECT id FROM items WHERE id > 0 AND ({sql}))"
            )
            connection.execute(query, values).fetchall()


@pytest.mark.parametrize(
    "attack",
    [
        "x'; DROP TABLE items; --",
        "' OR 1=1 --",
        "') OR ('1'='1",
        '"; DELETE FROM items; --',
        "{x}",
        "?",
        "items.id",
        '$."a"',
        "%",
        "\\",
        "`",
    ],
)
def test_what_looks_like_sql_is_only_a_value(attack: str) -> None:
    rows = [Row(1, attack, columns={"size": attack}), Row(2, "other", columns={"size": "other"}), Row(3)]
    for quote in "'\"":
        value = quote + attack.replace(quote, quote * 2) + quote
        for text in ("{} = {}", "{} in ('', {})", "{} contains {}", "{} starts with {}", "{0} <= {1} and {0} >= {1}"):
            for name in ("label", "size"):
                tree = parse(text.format(name, value), COLUMNS)
                assert found(tree, rows) == [1]
                assert attack in tree.sql()[1]
    name = "`" + attack.replace("`", "``") + "`"
    tree = parse(f"{name} = 5", [attack])
    assert found(tree, [Row(1, columns={attack: 5}), Row(2, columns={"x": 5})]) == [1]
    assert tree.sql() == (parse("x = 5", ["x"]).sql()[0], [5, attack])


@pytest.mark.parametrize(
    "text", ["id = 1; DROP TABLE items", "1=1", "id = 1 -- x", "id = (select 1)", "lower(label) = 'x'"]
)
def test_sql_that_is_no_filter_is_refused(text: str) -> None:
    refusal(text)


# Any tree, any rows: SQLite and plain Python agree

names = st.sampled_from(["size", 'say "hi"'])  # few, so that trees and rows meet
words = st.one_of(
    st.sampled_from(["", "a", "A", "ab", "b%", "'", '"', "38", "5", "2026-01-31", "é", "їжак", "😀", "\\", "a\nb"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
)
numbers = st.one_of(
    st.sampled_from([0, 5, 5.0, 38, -1, 5.5]),
    st.integers(-(2**62), 2**62),
    st.integers(-(10**6), 10**6).map(lambda number: number / 100),
)
instants = st.one_of(
    st.integers(0, 3 * 24 * 60).map(lambda minutes: datetime(2026, 1, 30) + timedelta(minutes=minutes)),
    st.integers(0, 200).map(lambda seconds: datetime(2026, 1, 31) + timedelta(seconds=seconds)),
    st.datetimes().map(lambda instant: instant.replace(microsecond=0)),
)
moments = st.builds(
    lambda instant, length: Moment(instant.isoformat()[:length]), instants, st.sampled_from([10, 16, 19])
)
dates = st.builds(
    lambda instant, form: instant.isoformat(*form[:2])[: form[2]] + form[3],
    instants,
    st.sampled_from([("T", "seconds", 10, ""), ("T", "minutes", 16, "Z"), (" ", "seconds", 19, "")]),
)
orders: st.SearchStrategy[Order] = st.sampled_from(["<", "<=", ">", ">="])


def comparisons(field: Field, values: st.SearchStrategy[Value]) -> st.SearchStrategy[Filter]:
    lists = st.lists(values, min_size=1, max_size=4).map(tuple)
    kinds: list[st.SearchStrategy[Filter]] = [
        st.builds(Among, st.just(field), lists),
        st.builds(Ordered, st.just(field), orders, values),
        st.builds(IsNull, st.just(field)),
    ]
    if field.column or field.name in ("label", "source"):
        kinds.append(st.builds(Found, st.just(field), words, st.booleans()))
    return st.one_of(kinds)


leaves = st.one_of(
    comparisons(Field("id", False), numbers),
    comparisons(Field("label", False), words),
    comparisons(Field("source", False), words),
    comparisons(Field("added", False), moments),
    names.flatmap(lambda name: comparisons(Field(name, True), st.one_of(words, numbers, moments, dates))),
)


def deny(tree: Filter) -> Filter:
    return tree.of if isinstance(tree, Not) else Not(tree)


trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(deny),
        st.builds(
            lambda word, parts: Joined(word, tuple(parts)),
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=2, max_size=3),
        ),
    ),
    max_leaves=6,
)
rows = st.builds(
    Row,
    st.just(0),
    st.none() | words,
    words,
    instants.map(lambda instant: f"{instant.isoformat()}Z"),
    st.none() | st.dictionaries(names, st.one_of(st.none(), words, numbers, dates)),
)


def cell(field: Field, row: Row) -> Cell:
    if field.column:
        return (row.columns or {}).get(field.name)
    if field.name == "source":
        return f"{row.source}\n{row.id}"
    value = getattr(row, field.name)
    assert value is None or isinstance(value, str | int)
    return value


def instant(text: Cell) -> str | None:
    """The text as SQLite's format of a time, or None."""
    if not isinstance(text, str) or text[4:5] + text[7:8] != "--" or not text.isascii() or len(text) < 10:
        return None
    try:
        return datetime.fromisoformat(text.removesuffix("Z")).isoformat()
    except ValueError:
        return None


def equal(cell: str | float, value: Value) -> bool:
    if isinstance(value, Moment):
        return (instant(cell) or "").startswith(value.text)
    return isinstance(cell, str) == isinstance(value, str) and cell == value


def ordered(cell: Cell, order: Order, value: Value) -> bool | None:
    left: Any = cell
    right: Any = value
    if isinstance(value, Moment):
        left, right = instant(cell), value.text
        left = None if left is None else left[: len(right)]
    if left is None or isinstance(left, str) != isinstance(right, str):
        return None
    results: dict[Order, bool] = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return results[order]


def holds(tree: Filter, row: Row) -> bool | None:
    """The filter by plain Python; None for unknown."""
    if isinstance(tree, Not):
        inner = holds(tree.of, row)
        return None if inner is None else not inner
    if isinstance(tree, Joined):
        parts = [holds(part, row) for part in tree.parts]
        decides = tree.word == "or"
        return decides if decides in parts else None if None in parts else not decides
    assert isinstance(tree, Among | Ordered | Found | IsNull)
    value = cell(tree.field, row)
    if isinstance(tree, IsNull):
        return value is None
    if value is None:
        return None
    if isinstance(tree, Among):
        return any(equal(value, other) for other in tree.values)
    if isinstance(tree, Ordered):
        return ordered(value, tree.order, tree.value)
    return isinstance(value, str) and (value.startswith(tree.text) if tree.at_start else tree.text in value)


def written(tree: Filter, quote: str) -> str:
    """The tree as a filter."""

    def value(of: Value) -> str:
        if isinstance(of, str):
            return quote + of.replace(quote, quote * 2) + quote
        return of.text if isinstance(of, Moment) else repr(of)

    def name(of: Field) -> str:
        return "`" + of.name.replace("`", "``") + "`" if of.column else of.name

    if isinstance(tree, Joined):
        return f" {tree.word} ".join(f"({written(part, quote)})" for part in tree.parts)
    if isinstance(tree, Not):
        if isinstance(tree.of, Joined):
            return f"not ({written(tree.of, quote)})"
        return f"NOT {written(tree.of, quote)}"
    if isinstance(tree, IsNull):
        return f"{name(tree.field)} Is Null"
    if isinstance(tree, Among):
        if len(tree.values) == 1:
            return f"{name(tree.field)}={value(tree.values[0])}"
        return f"{name(tree.field)} IN ({', '.join(map(value, tree.values))})"
    if isinstance(tree, Ordered):
        return f"{name(tree.field)}{tree.order}{value(tree.value)}"
    assert isinstance(tree, Found)
    return f"{name(tree.field)} {'starts with' if tree.at_start else 'contains'} {value(tree.text)}"


@settings(max_examples=250, deadline=None)
@given(trees, st.lists(rows, min_size=1, max_size=8))
def test_sqlite_finds_what_plain_python_finds(tree: Filter, rows: list[Row]) -> None:
    rows = [Row(i, row.label, row.source, row.added, row.columns) for i, row in enumerate(rows, 1)]
    assert found(tree, rows) == [row.id for row in rows if holds(tree, row)]
    assert found(Not(tree), rows) == [row.id for row in rows if holds(tree, row) is False]


def nesting(tree: Filter) -> int:
    """How many parentheses `written` puts in each other."""
    if isinstance(tree, Not):
        return nesting(tree.of) + isinstance(tree.of, Joined)
    return 1 + max(map(nesting, tree.parts)) if isinstance(tree, Joined) else 0


@settings(max_examples=150, deadline=None)
@given(trees.filter(lambda tree: nesting(tree) <= filters.MAX_NESTING), st.sampled_from("'\""))
def test_what_is_written_is_read(tree: Filter, quote: str) -> None:
    assert parse(written(tree, quote), COLUMNS) == tree


pieces = st.one_of(
    st.sampled_from("(),`';=<\0ґ"),
    st.sampled_from(["id", "label", "added", "price", "`say`", "'x'", '"x"', "5", "-1e3", "2026-01-31", "--"]),
    st.sampled_from(["!=", ">=", "==", "in", "not", "and", "or", "is", "null", "contains", "starts", "with"]),
)


@settings(max_examples=400, deadline=None)
@given(st.text() | st.text(string.printable) | st.lists(pieces, max_size=12).map(" ".join))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        tree = parse(text, COLUMNS)
    except InputError:
        message = refusal(text)
        assert message.startswith("The filter ")
        assert message.endswith((".", "?"))
        message.encode()
    else:
        found(tree, [Row(1, "x", columns={"price": 5})])
