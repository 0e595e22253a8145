"""How a catalogue lies on Milvus: its collections, their fields, an item as a row. docs/file-formats.md says the same
in words.

    vitrine__NAME             records: a name, and any bytes; what the catalogue says of itself, the model that made it
    vitrine__NAME__items_N    the items; N rises when the catalogue moves to another model
    vitrine__NAME__writer     empty; whoever can rename it to ..._writer_X is the only one who writes
"""

import base64
import binascii
import json
import re
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitrine.catalogue import Columns, Entry, Item, Known
from vitrine.catalogue.milvus.link import LARGEST_TEXT, Link, Row
from vitrine.catalogue.tables import columns_text, read_cells
from vitrine.errors import CatalogueError, InputError

FORMAT_VERSION = 1

KINDS = {"exact": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT", "ivf-sq8": "IVF_SQ8"}

KNOWN = ["id", "source", "label", "content", "columns", "stamp"]
WHOLE = [*KNOWN, "added", "checksum", "thumbnail", "vector"]

_RECORDS = re.compile(r"vitrine__([A-Za-z0-9_]+)")
_MARKS = ("\U0010fffe", "\U0010ffff")  # no text has these: Unicode keeps them for a program's own use
_FOLDED = str.maketrans({"$": "$\U0010fffe", "%": "$\U0010ffff", "[": "[\U0010fffe", "\\": "[\U0010ffff",
                         "^": "^\U0010fffe", "_": "^\U0010ffff"})  # fmt: skip


def records_of(name: str) -> str:
    return f"vitrine__{name}"


def items_of(name: str, number: int) -> str:
    return f"vitrine__{name}__items_{number}"


def writer_of(name: str, token: str = "") -> str:
    """The collection that says who writes: nobody, or who has that token."""
    return f"vitrine__{name}__writer" + (f"_{token}" if token else "")


def catalogue_of(collection: str) -> str | None:
    """Which catalogue's records these are; None for any other collection."""
    match = _RECORDS.fullmatch(collection)
    return match[1] if match and "__" not in match[1] else None


@dataclass(frozen=True)
class State:
    """What a catalogue says of itself: one record, and changed as a whole.

    made: a word of its own, which no other catalogue has. identity, model, dimensions: of what made the vectors.
    number: of the collection of items. generation: rises when items come or go. items: how many; size: about how many
    bytes. last: the highest id that is to be seen: what has a higher one is not added yet. adding: there may be such.
    index: Milvus's name of its kind. gone: ids that are taken out, though they may still be there. changes: what is to
    become of items, as [id, label, columns, stamp]. labels, columns: each to the number of items that have it.
    unfinished: what a copy under way is of.
    """

    made: str
    identity: str
    model: str
    dimensions: int
    number: int = 1
    generation: int = 0
    items: int = 0
    size: int = 0
    last: int = 0
    index: str = "auto"
    adding: bool = False
    gone: list[int] = field(default_factory=list)
    changes: list[list[Any]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, Any] | None = None

    def to_bytes(self) -> bytes:
        return json.dumps({"format_version": FORMAT_VERSION, **vars(self)}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "State":
        """Raises CatalogueError: too new, or damaged."""
        try:
            said = json.loads(content)
            version = int(said.pop("format_version"))
            if version > FORMAT_VERSION:
                raise CatalogueError(
                    f"The catalogue {name!r} has format {version}, newer than this vitrine knows ({FORMAT_VERSION});"
                    " update vitrine."
                )
            return cls(**said)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CatalogueError(
                f"The catalogue {name!r} does not say what it is ({error!r}): it is damaged, or no catalogue of"
                f" vitrine's; delete it with `vitrine index remove {name} --all`, or choose another name."
            ) from error

    @property
    def clean(self) -> bool:
        """Whether nothing is left to be done."""
        return not (self.adding or self.gone or self.changes)

    @property
    def seen(self) -> str:
        """The condition that an item is to be seen; empty where all are."""
        parts = [f"id <= {self.last}"] if self.adding else []
        if self.gone:
            parts.append(f"id not in [{', '.join(map(str, self.gone))}]")
        return " and ".join(parts)

    def shows(self, id: int) -> bool:
        return id <= self.last and id not in self.gone


def create_records(link: Link, name: str, is_token: bool = False) -> None:
    """The collection of records, or one that looks so and only has a name. Milvus wants a vector in each, which means
    nothing here.
    """
    client, kind = link.client, link.types
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", kind.VARCHAR, is_primary=True, max_length=255)
    schema.add_field("content", kind.VARCHAR, max_length=LARGEST_TEXT)
    schema.add_field("nothing", kind.FLOAT_VECTOR, dim=2)
    indexes: list[tuple[str, str, dict[str, Any]]] = [] if is_token else [("nothing", "FLAT", {})]
    link.create(name, schema, indexes, {"vitrine.format_version": str(FORMAT_VERSION)})


def create_items(link: Link, name: str, state: State, index: tuple[str, dict[str, Any]]) -> None:
    """The collection of items, as the state says."""
    client, kind = link.client, link.types
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", kind.INT64, is_primary=True)
    for text, most in (("source", LARGEST_TEXT), ("content", 255), ("added", 64), ("thumbnail", LARGEST_TEXT)):
        schema.add_field(text, kind.VARCHAR, max_length=most)
    for text, most in (("label", LARGEST_TEXT), ("columns", LARGEST_TEXT), ("stamp", 1024)):
        schema.add_field(text, kind.VARCHAR, max_length=most, nullable=True)
    schema.add_field("cells", kind.JSON)
    schema.add_field("checksum", kind.INT64)
    schema.add_field("vector", kind.FLOAT_VECTOR, dim=state.dimensions)
    said = {"vitrine.format_version": str(FORMAT_VERSION)}
    said |= {"vitrine.identity": state.identity, "vitrine.model": state.model}
    indexes = [("vector", *index), ("source", "INVERTED", {}), ("label", "INVERTED", {})]
    link.create(items_of(name, state.number), schema, indexes, said)


def index_of(link: Link, kind: str) -> tuple[str, dict[str, Any]]:
    """Milvus's name of a kind of index, and how it is built. Raises InputError for what is no kind."""
    if kind in ("auto", link.settings.index):
        return link.settings.index, link.settings.build
    if kind in KINDS:
        return KINDS[kind], {"HNSW": {"M": 32, "efConstruction": 200}}.get(KINDS[kind], {})
    if kind in KINDS.values() or kind.isupper():  # as it was made
        return kind, {}
    raise InputError(f"There is no index {kind!r}; there are auto, {', '.join(KINDS)}.")


def row_of(entry: Entry) -> Row:
    """An item as a row; `thumbnail` is empty where it is too large for one. Raises CatalogueError for what is too large
    for Milvus; InputError for columns that cannot be kept.
    """
    item = entry.item
    thumbnail = base64.b64encode(item.thumbnail).decode()
    row: Row = {
        "id": entry.id,
        "source": item.source,
        "label": item.label,
        "content": item.content,
        "added": entry.added,
        "stamp": item.stamp,
        "columns": columns_text(item),
        "cells": cells_of(item),
        "thumbnail": thumbnail if len(thumbnail) <= LARGEST_TEXT else "",
        "vector": np.asarray(item.vector, np.float32),
    }
    _check(row)
    row["checksum"] = checksum_of(row, item.thumbnail)
    return row


def checksum_of(row: Row, thumbnail: bytes) -> int:
    """CRC-32 of all that a row says."""
    texts = [row[key] for key in ("id", "source", "label", "content", "added", "stamp", "columns")]
    said = json.dumps(texts, ensure_ascii=False).encode()
    vector = np.asarray(row["vector"], "<f4").tobytes()
    return zlib.crc32(thumbnail, zlib.crc32(vector, zlib.crc32(said)))


def _check(row: Row) -> None:
    cells = json.dumps(row["cells"], ensure_ascii=False)
    for key, text in {**row, "cells": cells}.items():
        if not isinstance(text, str):
            continue
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise CatalogueError(
                f"{text!r} is no text in UTF-8, as all is in a catalogue; name something else."
            ) from error
        if size > {"content": 255, "stamp": 1024}.get(key, LARGEST_TEXT):
            raise CatalogueError(
                f"The item from {row['source'][:200]} has {size:,} bytes of {key}; Milvus keeps at most"
                f" {LARGEST_TEXT:,} of it: shorten it, or use a catalogue on this machine."
            )
        if any(mark in text for mark in _MARKS) and key != "cells":
            raise CatalogueError(f"{text[:200]!r} holds U+10FFFE or U+10FFFF, which are no characters; take them out.")


def known_of(row: Row) -> Known:
    columns: Columns | None = read_cells(row["columns"])
    return Known(row["id"], row["source"], row["label"], row["content"], columns, row["stamp"])


def entry_of(row: Row, thumbnail: bytes) -> Entry:
    known = known_of(row)
    vector = np.asarray(row["vector"], np.float32)
    item = Item(known.source, known.label, known.content, vector, thumbnail, known.columns, known.stamp)
    return Entry(row["id"], row["added"], item)


def small_thumbnail(row: Row) -> bytes | None:
    """The thumbnail that lies in the row; None where it lies elsewhere. Raises CatalogueError."""
    if not row["thumbnail"]:
        return None
    try:
        return base64.b64decode(row["thumbnail"], validate=True)
    except binascii.Error as error:
        raise CatalogueError(f"The thumbnail of item {row['id']} is damaged; add {row['source']} again.") from error


def size_of(row: Row, dimensions: int) -> int:
    """About how many bytes it is."""
    texts = sum(len(row.get(key) or "") for key in ("source", "label", "content", "columns", "stamp"))
    return 4 * dimensions + len(row.get("thumbnail") or "") * 3 // 4 + texts


# --- cells: what filters look into


def cells_of(item: Item) -> dict[str, Any]:
    """What filters look into where a plain field cannot tell: the columns by what they hold, `t` texts, `n` numbers,
    `m` what a text says as a time; `s` and `l`, source and label. All texts are `folded`.
    """
    columns = item.columns or {}
    texts = {key_of(name): cell for name, cell in columns.items() if isinstance(cell, str)}
    cells: dict[str, Any] = {
        "t": {key: folded(text) for key, text in texts.items()},
        "n": {key_of(name): cell for name, cell in columns.items() if not isinstance(cell, str)},
        "m": dict(_moments(texts.items())),
        "s": folded(item.source),
    }
    return cells if item.label is None else {**cells, "l": folded(item.label)}


def folded(text: str) -> str:
    r"""The text without %, _ and \, which mean something to Milvus's `like`. Whatever was equal, before, after or a
    part of another still is, and nothing else.

    >>> folded("a_b") == folded("a-b"), folded("_") in folded("a_b"), folded("^") in folded("a_b")
    (False, True, False)
    """
    return text.translate(_FOLDED)


def key_of(column: str) -> str:
    """The name of a column as a plain word.

    >>> key_of("price"), key_of("size, EU")
    ('price', 'x_73697a652c204555')
    """
    plain = re.fullmatch(r"[A-Za-z0-9_]{1,100}", column) and not column.startswith("x_")
    return column if plain else f"x_{column.encode(errors='surrogatepass').hex()}"


_INSTANT = "SELECT strftime('%Y-%m-%dT%H:%M:%S', ?)"
_LIKE_A_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _moments(texts: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """What of the texts says a time, as SQLite reads it: so it does for catalogues on this machine."""
    dated = [(key, text) for key, text in texts if _LIKE_A_DATE.match(text)]
    if dated:
        with closing(sqlite3.connect(":memory:")) as reader:
            for key, text in dated:
                moment = reader.execute(_INSTANT, (text,)).fetchone()[0]
                if moment is not None:
                    yield key, moment
