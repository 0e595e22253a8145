"""A filter as an expression of Milvus's. It finds what the same filter finds in SQL (filters.py).

Milvus knows no third truth value that could be relied on: a comparison with what is not there is mostly false, and so
`not` of it true. So `not` never appears before anything but a comparison of something that surely is there: each filter
is written twice, as when it is true, and when it is false, and where it is neither, both are false.

    `price` = 5          true: price is 5        false: price is there, and not 5

Texts in columns are `folded`, for Milvus's `like` has signs that stand for others. No value gets into an expression but
as a number or as a quoted text.
"""

import json
import math
from collections.abc import Iterable, Sequence

from vitrine.catalogue import filters
from vitrine.catalogue.filters import Among, Filter, Found, IsNull, Joined, Moment, Not, Ordered, Value
from vitrine.catalogue.milvus.tables import folded, key_of
from vitrine.errors import InputError

ALL, NOTHING = "id > 0", "id < 0"
LONGEST = 400_000  # characters of an expression

_AFTER = "~"  # is after every character that a time has
_TURNED: dict[str, str] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def expression(where: Filter) -> str:
    """The condition as Milvus takes it. Raises InputError where it is too long."""
    written = _true(where)
    if len(written) > LONGEST:
        raise InputError("The filter is too long for Milvus; ask for less, as with fewer values in a list.")
    return written


def both(one: str, other: str) -> str:
    """A condition that asks for both, where either may be empty."""
    return f"({one}) and {other}" if one and other else one or other


def source_condition(sources: Iterable[str]) -> str:
    """That an item comes from one of these."""
    return _listed("source", map(_quoted, sources))


def _true(where: Filter) -> str:
    """When it is true."""
    match where:
        case Not(of):
            return _false(of)
        case Joined(word, parts):
            return _join(word, [_true(part) for part in parts])
        case IsNull(field):
            return _negated(_there(field))
        case Among(field, values):
            return _among(field, values)
        case Ordered(field, order, value):
            return _ordered(field, order, value)
        case Found(field, text, at_start):
            return _found(field, text, at_start)
    raise TypeError(where)


def _false(where: Filter) -> str:
    """When it is false, and not unknown."""
    match where:
        case Not(of):
            return _true(of)
        case Joined(word, parts):
            return _join("or" if word == "and" else "and", [_false(part) for part in parts])
        case IsNull(field):
            return _there(field)
        case Among(field, values):
            return _not_among(field, values)
        case Ordered(field, order, value):
            return _ordered(field, _TURNED[order], value)
        case Found(field, text, at_start):
            here = f"exists {_cell('t', field)}" if field.column else _there(field)
            other = _join("and", [here, _negated(_found(field, text, at_start))])
            return _join("or", [other, f"exists {_cell('n', field)}"]) if field.column else other
    raise TypeError(where)


# --- leaves


def _there(field: filters.Field) -> str:
    if field.column:
        return _join("or", [f"exists {_cell('t', field)}", f"exists {_cell('n', field)}"])
    return "label is not null" if field.name == "label" else ALL


def _among(field: filters.Field, values: Sequence[Value]) -> str:
    """It has one of the values."""
    moments = [value.text for value in values if isinstance(value, Moment)]
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float)]
    if field.name == "id" and not field.column:
        return _listed("id", [str(int(one)) for one in numbers if one == math.floor(one) and abs(one) < 2**63])
    if not field.column:
        times = [begins("added", text) for text in moments]
        return _join("or", [*times, *([_listed(field.name, map(_quoted, texts))] if texts else [])])
    equal = [f"{_cell('t', field)} == {_quoted(folded(text))}" for text in texts]
    equal += [f"{_cell('n', field)} == {_number(number)}" for number in numbers]
    return _join("or", [*equal, *(begins(_cell("m", field), text) for text in moments)])


def _not_among(field: filters.Field, values: Sequence[Value]) -> str:
    """It has something, and none of the values. A text and a number are never equal."""
    if not field.column:
        return _join("and", [_there(field), _negated(_among(field, values))])
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float)]
    moments = [value.text for value in values if isinstance(value, Moment)]
    text, number, moment = _cell("t", field), _cell("n", field), _cell("m", field)
    others = [f"{text} != {_quoted(folded(one))}" for one in texts]
    if moments:
        none = [_negated(begins(moment, one)) for one in moments]
        others.append(_join("or", [_negated(f"exists {moment}"), _join("and", [f"exists {moment}", *none])]))
    no_text = _join("and", [f"exists {text}", *others])
    no_number = _join("and", [f"exists {number}", *(f"{number} != {_number(one)}" for one in numbers)])
    return _join("or", [no_text, no_number])


def _ordered(field: filters.Field, order: str, value: Value) -> str:
    if isinstance(value, Moment):
        return _in_time(_cell("m", field) if field.column else "added", order, value.text)
    if isinstance(value, str):
        if field.column:
            return f"{_cell('t', field)} {order} {_quoted(folded(value))}"
        known = ["label is not null"] if field.name == "label" else []
        return _join("and", [*known, f"{field.name} {order} {_quoted(value)}"])
    return f"{_cell('n', field)} {order} {_number(value)}" if field.column else _of_id(order, value)


def _of_id(order: str, value: float) -> str:
    """Ids are whole, and so must be what they are compared with."""
    bound = math.ceil(value) if order in ("<", ">=") else math.floor(value)
    if abs(bound) >= 2**63:
        return ALL if (bound > 0) == (order in ("<", "<=")) else NOTHING
    return f"id {order} {bound}"


def _in_time(place: str, order: str, text: str) -> str:
    """A time is text that is longer than a day or a minute of it."""
    bound = text if order in ("<", ">=") else text + _AFTER
    return f"{place} {order} {_quoted(bound)}"


def _found(field: filters.Field, text: str, at_start: bool) -> str:
    if not text:
        return (f"exists {_cell('t', field)}") if field.column else _there(field)
    if not at_start:
        place = _cell("t", field) if field.column else f'cells["{field.name[0]}"]'
        return f"{place} like {_quoted(f'%{folded(text)}%')}"
    if field.column:
        return f"{_cell('t', field)} like {_quoted(f'{folded(text)}%')}"
    return _join("and", [*(["label is not null"] if field.name == "label" else []), begins(field.name, text)])


def begins(place: str, text: str) -> str:
    """A plain text, or a time, that begins so: as an interval, which an index can find."""
    following = _following(text)
    until = [f"{place} < {_quoted(following)}"] if following else []
    return _join("and", [f"{place} >= {_quoted(text)}", *until])


def _following(text: str) -> str:
    """The first text after all that begin so; empty where there is none.

    >>> _following("/shop/dresses/")
    '/shop/dresses0'
    """
    while text:
        last = ord(text[-1]) + 1
        last = 0xE000 if 0xD800 <= last < 0xE000 else last  # between them is no text
        if last <= 0x10FFFF:
            return text[:-1] + chr(last)
        text = text[:-1]
    return ""


# --- writing


def _cell(kind: str, field: filters.Field) -> str:
    return f'cells["{kind}"]["{key_of(field.name)}"]'


def _quoted(text: str) -> str:
    r"""As Milvus reads texts: of its escapes, which differ between versions, the few that none lacks.

    >>> print(_quoted('a"b\\' + '\n'))
    "a\"b\\\n"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _number(number: float) -> str:
    return json.dumps(number)


def _listed(place: str, values: Iterable[str]) -> str:
    listed = ", ".join(values)
    return f"{place} in [{listed}]" if listed else NOTHING


def _negated(condition: str) -> str:
    return f"not ({condition})"


def _join(word: str, conditions: Sequence[str]) -> str:
    if not conditions:
        return NOTHING if word == "or" else ALL
    return conditions[0] if len(conditions) == 1 else "(" + f" {word} ".join(conditions) + ")"
