"""What a search may be narrowed by: conditions on items, in a small language that becomes SQL with parameters.

    label = 'Dress' and added > 2026-01-01
    price <= 40 and not (colour in ('red', 'pink') or `size, EU` is null)

The grammar (EBNF; words in any case, blanks wherever two would run together):

    filter     = all, { "or", all } ;
    all        = one, { "and", one } ;
    one        = { "not" }, ( "(", filter, ")" | comparison ) ;
    comparison = field, ( ( "=" | "!=" | "<" | "<=" | ">" | ">=" ), value
                        | [ "not" ], "in", "(", value, { ",", value }, ")"
                        | [ "not" ], ( "contains" | "starts", "with" ), text
                        | "is", [ "not" ], "null" ) ;
    field      = word | "`", name, "`" ;                       (a backtick inside is doubled)
    value      = text | number | date | time ;
    text       = "'", characters, "'" | '"', characters, '"' ; (the quote inside is doubled)
    number     = 5, -0.5, .5, 1e3 ;
    date       = YYYY-MM-DD ;
    time       = YYYY-MM-DDTHH:MM, with :SS or Z after it or without; always UTC ;

Fields are `id` (a number), `label`, `source` (text), `added` (a time) and the columns of a CSV. A plain word names the
field of that name, else the column; in backticks it is always a column.

- Texts are compared exactly, by code point: upper and lower case differ. `contains` finds a part of a text, `starts
  with` a folder of sources; there is no `like`, because in it a % or _ of a name matches more than it says.
- Null is an item without a label, or without a cell in that column. No comparison is true of it, nor is its `not`:
  only `is null` finds it.
- A column may hold numbers and texts. A number is never equal to a text, and contains none: so `!=` is true of it.
  Which of the two is greater is not known, as with null. '5' is text, 5 is a number.
- A date is the whole day, a time the whole minute or second: `added = 2026-01-31` is any time of that day, `>` is after
  its end, `>=` from its beginning. In a column, texts that SQLite reads as an ISO 8601 date or time can be before
  or after one; without an offset they are UTC. `added` takes its dates in quotes, too.
"""

import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Literal, NoReturn, cast

from vitrine.errors import InputError

MAX_LENGTH = 10_000  # characters
MAX_COMPARISONS = 500  # SQLite refuses an expression that is 1,000 deep, and a chain of `or` is as deep as long
MAX_NESTING = 6  # SQLite's parser has a stack of 100 entries; one of our parentheses can take 7, the query some

Order = Literal["<", "<=", ">", ">="]
Sql = tuple[str, list[str | int | float]]


@dataclass(frozen=True)
class Moment:
    """A day, a minute or a second in UTC: 2026-01-31, 2026-01-31T05:00 or 2026-01-31T05:00:00."""

    text: str


Value = str | int | float | Moment

_BUILT_IN: dict[str, tuple[str, tuple[type, ...], str]] = {  # SQL, kinds of value, what they are called
    "id": ("items.id", (int, float), "a number"),
    "label": ("items.label", (str,), "text in quotes"),
    "source": ("items.source", (str,), "text in quotes"),
    "added": ("items.added", (Moment,), "a date such as 2026-01-31 or a time such as 2026-01-31T05:00Z"),
}
_INSTANT = (
    "CASE WHEN {x} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' THEN strftime('%Y-%m-%dT%H:%M:%S', {x}) END"
)


@dataclass(frozen=True)
class Field:
    """Something that an item has: one of the built-in fields, or a column of the CSV."""

    name: str
    column: bool

    def over(self, expression: str, values: Iterable[str | int | float], kinds: str = "type <> 'null'") -> Sql:
        """The SQL expression, with the field's value for its {x}; null where there is none, or none of those kinds.

        Not json_extract: in SQLite 3.40 its paths find no name with a quote in it, nor an escaped one.
        """
        if not self.column:
            return f"({expression.replace('{x}', _BUILT_IN[self.name][0])})", [*values]
        found = f"SELECT {expression.replace('{x}', 'value')} FROM json_each(items.columns) WHERE key = ? AND {kinds}"
        return f"({found})", [*values, self.name]


class Filter(ABC):
    """A condition on items."""

    @abstractmethod
    def sql(self) -> Sql:
        """An SQL condition over the table `items`, and the values of its question marks, in order.

        >>> parse("not (id < 5 or label = 'It''s')", ()).sql()
        ('NOT ((items.id < ?) OR (items.label IN (?)))', [5, "It's"])
        """


@dataclass(frozen=True)
class Among(Filter):
    """`=` and `in`: the field has one of the values."""

    field: Field
    values: tuple[Value, ...]

    def sql(self) -> Sql:
        plain = [value for value in self.values if not isinstance(value, Moment)]
        moments = sorted((value.text for value in self.values if isinstance(value, Moment)), key=len)
        tests = [f"{{x}} IN ({_marks(plain)})"] if plain else []
        for length, group in groupby(moments, len):
            tests.append(f"coalesce(substr({_INSTANT}, 1, {length}), {{x}}) IN ({_marks(group)})")
        return self.field.over(" OR ".join(tests), [*plain, *moments])


@dataclass(frozen=True)
class Ordered(Filter):
    """`<`, `<=`, `>`, `>=`: the field's value, where it is of the same kind, lies on that side of this one."""

    field: Field
    order: Order
    value: Value

    def sql(self) -> Sql:
        if isinstance(self.value, Moment):
            test = f"substr({_INSTANT}, 1, {len(self.value.text)}) {self.order} ?"
            return self.field.over(test, [self.value.text], "type = 'text'")
        kinds = "type = 'text'" if isinstance(self.value, str) else "type IN ('integer', 'real')"
        return self.field.over(f"{{x}} {self.order} ?", [self.value], kinds)


@dataclass(frozen=True)
class Found(Filter):
    """`contains` and `starts with`: the text is in the field's text, or at its start."""

    field: Field
    text: str
    at_start: bool

    def sql(self) -> Sql:
        place = "= 1" if self.at_start else "> 0"
        return self.field.over(f"typeof({{x}}) IN ('text', 'null') AND instr({{x}}, ?) {place}", [self.text])


@dataclass(frozen=True)
class IsNull(Filter):
    """`is null`: the item has nothing there."""

    field: Field

    def sql(self) -> Sql:
        condition, values = self.field.over("{x}", [])
        return f"{condition} IS NULL", values


@dataclass(frozen=True)
class Not(Filter):
    """True where the other is false; where that is unknown because of a null, so is this."""

    of: Filter

    def sql(self) -> Sql:
        condition, values = self.of.sql()
        return f"NOT {condition}", values


@dataclass(frozen=True)
class Joined(Filter):
    """Two or more filters with `and` or `or` between them."""

    word: Literal["and", "or"]
    parts: tuple[Filter, ...]

    def sql(self) -> Sql:
        conditions = [part.sql() for part in self.parts]
        joined = f" {self.word.upper()} ".join(condition for condition, _ in conditions)
        return f"({joined})", [value for _, values in conditions for value in values]


def parse(text: str, columns: Collection[str]) -> Filter:
    """The filter that the text says. columns: the names of the CSV's columns.

    Raises InputError for what is no filter, with the place of the fault.

    >>> parse("price > 9.5", ["price"])
    Ordered(field=Field(name='price', column=True), order='>', value=9.5)
    >>> parse("labl = 'Dress'", ["price"])
    Traceback (most recent call last):
    vitrine.errors.InputError: The filter is wrong at character 1, 'labl': there is no such field; there are id, \
label, source, added, price; did you mean label?
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"The filter has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed; shorten it.")
    parser = _Parser(text, columns)
    if parser.token.kind == "end":
        raise InputError("The filter is empty; write a condition such as label = 'Dress' and added > 2026-01-01.")
    found = parser.joined("or")
    if parser.token.sign == ")":
        parser.refuse("this parenthesis closes none; take it out, or open one before it")
    if parser.token.kind != "end":
        parser.refuse(_AFTER)
    return found


@dataclass(frozen=True)
class _Token:
    kind: str  # a group of _TOKEN, or "end"
    text: str
    at: int

    @property
    def sign(self) -> str:
        """The sign, or the word in small letters; empty for anything else."""
        return self.text.lower() if self.kind in ("sign", "word") else ""

    @property
    def inner(self) -> str:
        """What the quotes or backticks hold."""
        return self.text[1:-1].replace(self.text[0] * 2, self.text[0])


_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    | (?P<text>'(?:[^']|'')*+'|"(?:[^"]|"")*+")
    | (?P<name>`(?:[^`]|``)*+`)
    | (?P<word>[^\W\d]\w*)
    | (?P<number>[+-]?\.?[0-9][\w:.+-]*)  # dates and times, too, and what is none of them
    | (?P<sign>[=<>!&|]+|[(),])
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:(T(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?)Z?)?")
_KEYWORDS = {"and", "or", "not", "in", "contains", "starts", "with", "is", "null"}
_HABITS = {
    **{"==": "=", "===": "=", "<>": "!=", "=<": "<=", "=>": ">=", "&&": "and", "&": "and", "||": "or", "|": "or"},
    **{"!": "not", "between": ">= and <=", "glob": "contains", "regexp": "contains"},
    **dict.fromkeys(("like", "ilike"), "contains or starts with, without % and _,"),
}
_VALUE = "text in quotes, a number, or a date such as 2026-01-31"
_AFTER = "after a comparison comes and, or, a closing parenthesis or the end; text is written in quotes"


class _Parser:
    """By recursive descent, a method for each rule of the grammar; `token` is the next one."""

    def __init__(self, text: str, columns: Collection[str]) -> None:
        self.columns = columns
        self.nesting = self.comparisons = 0
        self.tokens = iter([*self.split(text)])
        self.token = next(self.tokens)

    def split(self, text: str) -> Iterator[_Token]:
        for match in _TOKEN.finditer(text):
            token = _Token(match.lastgroup or "", match[0], match.start())
            if token.text in ("'", '"', "`"):
                self.refuse("this quote is never closed; close it", token)
            if token.kind == "other":
                self.refuse("this character has no meaning here; text is written in quotes", token)
            if "\0" in token.text or any("\ud800" <= character <= "\udfff" for character in token.text):
                self.refuse("in it is a character that is no text; take it out", token)
            if token.kind != "blank":
                yield token
        yield _Token("end", "", len(text))

    def refuse(self, reason: str, token: _Token | None = None) -> NoReturn:
        token = token or self.token
        if token.sign in _HABITS:
            reason = f"write {_HABITS[token.sign]} instead"
        place = f"character {token.at + 1}, {token.text[:40]!r}" if token.text else "its end"
        raise InputError(f"The filter is wrong at {place}: {reason}" + ("" if reason.endswith("?") else "."))

    def take(self) -> _Token:
        token = self.token
        self.token = next(self.tokens, token)
        return token

    def took(self, *signs: str) -> bool:
        """Take the next token if it is one of these."""
        return self.token.sign in signs and bool(self.take())

    def need(self, sign: str, reason: str) -> None:
        if not self.took(sign):
            self.refuse(reason)

    def joined(self, word: Literal["and", "or"]) -> Filter:
        parts: list[Filter] = []
        while not parts or self.took(word):
            parts.append(self.joined("and") if word == "or" else self.one())
        return Joined(word, tuple(parts)) if len(parts) > 1 else parts[0]

    def one(self) -> Filter:
        denied = False
        while self.took("not"):
            denied = not denied
        opening = self.token
        if self.took("("):
            self.nesting += 1
            if self.nesting > MAX_NESTING:
                self.refuse(f"at most {MAX_NESTING} parentheses may lie in each other; write it flatter", opening)
            found = self.joined("or")
            if self.token.kind == "end":
                self.refuse("this parenthesis is never closed; close it", opening)
            self.need(")", _AFTER)
            self.nesting -= 1
        else:
            found = self.comparison()
        return Not(found) if denied else found

    def comparison(self) -> Filter:
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            self.refuse(f"at most {MAX_COMPARISONS} comparisons are allowed; write field in (...) for many values")
        field = self.field()
        found: Filter
        if self.took("is"):
            denied = self.took("not")
            self.need("null", "after is comes null or not null; a value is compared with =")
            return Not(IsNull(field)) if denied else IsNull(field)
        denied, sign = self.took("not"), self.token.sign
        if self.took("in"):
            self.need("(", f"after in comes a list such as ('a', 'b'), of {_VALUE}")
            values = [self.value(field)]
            while self.took(","):
                values.append(self.value(field))
            self.need(")", "after a value in a list comes a comma or the closing parenthesis")
            found = Among(field, tuple(values))
        elif self.took("contains", "starts"):
            if sign == "starts":
                self.need("with", "after starts comes with")
            found = Found(field, self.part(field), at_start=sign == "starts")
        elif denied:
            self.refuse("after not comes in, contains or starts with; any other not stands before the field")
        elif self.took("=", "!="):
            found, denied = Among(field, (self.value(field),)), sign == "!="
        elif self.took("<", "<=", ">", ">="):
            found = Ordered(field, cast(Order, sign), self.value(field))
        else:
            self.refuse(
                "after a field comes =, !=, <, <=, >, >=, in, contains, starts with or is null; a name that is not one"
                " plain word is written in backticks"
            )
        return Not(found) if denied else found

    def field(self) -> Field:
        token = self.token
        if token.kind not in ("name", "word") or token.sign in _KEYWORDS:
            self.refuse("a field must stand here, such as label; a name that is no plain word is written in backticks")
        name = token.inner if token.kind == "name" else token.text
        column = token.kind == "name" or name not in _BUILT_IN
        if column and name not in self.columns:
            known = [*_BUILT_IN, *map(_written, self.columns)]
            fields = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
            folded = {other.strip("`").casefold(): other for other in reversed(known)}
            near = difflib.get_close_matches(name.casefold()[:99], folded, 1)
            meant = f"; did you mean {folded[near[0]]}?" if near else ""
            self.refuse(f"there is no such field; there are {fields}{meant}")
        self.take()
        return Field(name, column)

    def value(self, field: Field) -> Value:
        token = self.token
        if token.kind not in ("text", "number"):
            null = token.sign == "null"
            self.refuse("null is found by is null or is not null" if null else f"a value must stand here: {_VALUE}")
        found: Value | None = token.inner if token.kind == "text" else _moment(token.text) or _number(token.text)
        if found is None:
            self.refuse(
                "this is no number (5, -0.5, 1e3), date (2026-01-31) or time (2026-01-31T05:00Z, always UTC) that can"
                " be used; text is written in quotes"
            )
        if not field.column:
            _, kinds, called = _BUILT_IN[field.name]
            if Moment in kinds and isinstance(found, str):
                found = _moment(found) or found
            if not isinstance(found, kinds):
                self.refuse(f"{field.name} is compared with {called}")
        self.take()
        return found

    def part(self, field: Field) -> str:
        if not field.column and str not in _BUILT_IN[field.name][1]:
            self.refuse(f"{field.name} is no text to look into; it is compared with {_BUILT_IN[field.name][2]}")
        if self.token.kind != "text":
            self.refuse("text in quotes must stand here")
        return self.take().inner


def _moment(text: str) -> Moment | None:
    match = _MOMENT.fullmatch(text.upper())
    if match is None:
        return None
    try:
        date.fromisoformat(match[1])
    except ValueError:  # such as the 30th of February
        return None
    return Moment(match[1] + (match[2] or ""))


def _number(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        return None
    whole = text.lstrip("+-").isdigit() and abs(number) < 2**63  # SQLite's integers end there
    return int(text) if whole and len(text) <= 20 else number  # a zero may stand before it 5,000 times


def _written(column: str) -> str:
    """The column's name as it is to be written in a filter."""
    plain = re.fullmatch(r"[^\W\d]\w*", column) and column not in _BUILT_IN and column.lower() not in _KEYWORDS
    return column if plain else "`" + column.replace("`", "``") + "`"


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
