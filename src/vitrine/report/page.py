"""The page: sections of sentences, tables and pictures, filled into a template as one HTML file that needs nothing
else.
"""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import vitrine
from vitrine.messages import Words
from vitrine.page_template import page_template

MARK = '<meta name="generator" content="vitrine">'
"""What tells a report from somebody else's page."""


@dataclass(frozen=True)
class Table:
    """head: titles of the columns; rows: as many cells each; strong: whether the last row is a sum. The first `words`
    columns are text, set on the left, the others are numbers.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    strong: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG in the page. name: of its file beside the page; says: what it shows, for those who cannot see it."""

    name: str
    says: str
    width: int
    height: int
    uri: str


@dataclass(frozen=True)
class Section:
    """A part of the page. key: its anchor. In the order: sentences, tables, pictures with a sentence before each."""

    key: str
    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[tuple[str, Picture]] = field(default=())


def picture(path: Path, says: str) -> Picture:
    """The PNG at that path, ready for the page."""
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # IHDR, always first
    uri = "data:image/png;base64," + base64.b64encode(content).decode()
    return Picture(path.name, says, width, height, uri)


def render(title: str, notes: Sequence[str], sections: Sequence[Section], words: Words) -> str:
    """The page as HTML."""
    return page_template("vitrine.report", "page.html").render(
        language=words.language,
        title=title,
        notes=notes,
        notes_title=words.text("page.notes"),
        contents=words.text("page.contents"),
        made_by=words.text("page.made_by", {"version": vitrine.__version__}),
        sections=sections,
    )
