"""What a CSV beside the pictures says of them: a line for each, and the first names the columns.

    file,price,colour
    dresses/a.jpg,39.5,red

UTF-8, with a byte order mark or without; commas, semicolons or tabs, whichever makes a column called `file`, `filename`
or `source` of the first line. That column names the picture, relative to the folder. What looks like a plain number
becomes one; blanks around a cell do not count, and an empty cell says nothing.
"""

import csv
import io
import math
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vitrine.catalogue import Columns
from vitrine.errors import InputError

NAME = "items.csv"
"""How the file is called that is looked for in a folder of pictures."""

_FILE_COLUMNS = ("file", "filename", "source")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")  # no 007, +5 or 1e5: those are names of sizes and models
_WITH_COMMA = re.compile(r"-?(?:0|[1-9][0-9]*)(?:[.,][0-9]+)?")  # where commas do not separate the cells


@dataclass(frozen=True)
class Line:
    """What a line says. number: its place in the file, from 1. file: as it is written there."""

    number: int
    file: str
    cells: Columns


class Table:
    """The lines of a CSV by picture."""

    def __init__(self, lines: dict[str, Line]) -> None:
        """`lines`: by the pictures' absolute paths."""
        self.lines = lines
        self._composed = {unicodedata.normalize("NFC", source): source for source in lines}

    def source(self, file: str) -> str | None:
        """The key in `lines` of that picture; é may be one character in one place and two in the other."""
        return file if file in self.lines else self._composed.get(unicodedata.normalize("NFC", file))


def read(path: Path, folder: str) -> Table:
    """The CSV at `path` about the pictures in `folder`.

    Raises InputError, with the number of the line: what cannot be read, is no UTF-8 or no CSV, has no column of file
    names, a line with too many or too few cells, a picture or a column twice.
    """
    text = _text(path)
    delimiter, header = _header(text, path)
    place = _place(header)
    lines: dict[str, Line] = {}
    for number, record in islice(_records(text, delimiter, path), 1, None):
        if len(record) != len(header):
            raise InputError(
                f"{path}, line {number}: it has {len(record)} cells, and the first line has {len(header)}; make them"
                " as many, with quotes around a cell that holds what separates cells."
            )
        cells = {name: _cell(cell, delimiter) for name, cell in zip(header, record, strict=True) if cell}
        file = record[place]
        if not file:
            raise InputError(f"{path}, line {number}: the name of the picture is empty; fill it in or drop the line.")
        if "" in cells:
            raise InputError(f"{path}, line {number}: it has a cell in a column without a name; name it in line 1.")
        source = os.path.normpath(os.path.join(os.path.abspath(folder), file.replace("\\", "/")))
        if source in lines:
            raise InputError(
                f"{path}, line {number}: the picture {file} is in line {lines[source].number} already; keep one of"
                " the two."
            )
        lines[source] = Line(number, file, {name: cell for name, cell in cells.items() if name != header[place]})
    return Table(lines)


def _text(path: Path) -> str:
    try:
        written = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); name a CSV.") from error
    try:
        text = written.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = written.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {number}: it is not UTF-8; save the file as CSV in UTF-8.") from error
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {number}: it holds a zero byte; save the file as CSV in UTF-8.")
    return text


def _header(text: str, path: Path) -> tuple[str, list[str]]:
    """What separates the cells, and the names of the columns."""
    fitting = []
    for delimiter in ",;\t":
        with suppress(InputError):  # it may be no CSV with this one, but with another
            _, names = next(_records(text, delimiter, path), (1, [""]))
            if any(name.lower() in _FILE_COLUMNS for name in names):
                fitting.append((delimiter, names))
    if not fitting:
        found = text.lstrip()[:60].partition("\n")[0]
        raise InputError(
            f"{path}, line 1: it must name the columns, one of them {', '.join(_FILE_COLUMNS[:-1])} or"
            f" {_FILE_COLUMNS[-1]}, with commas, semicolons or tabs between; found was {found!r}."
        )
    delimiter, names = max(fitting, key=lambda one: len(one[1]))
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise InputError(f"{path}, line 1: two columns are called {min(twice)}; give one of them another name.")
    return delimiter, names


def _place(header: list[str]) -> int:
    """Which column names the pictures."""
    names = [name.lower() for name in header]
    return next(names.index(name) for name in _FILE_COLUMNS if name in names)


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the number of the line where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = 1
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {begin}: it is not CSV ({error}); a quote inside a cell is doubled, and the cell quoted."
        ) from error


def _cell(text: str, delimiter: str) -> str | int | float:
    """
    >>> [_cell(text, ";") for text in ("39", "39.50", "39,5", "007", "1e5", "red")]
    [39, 39.5, 39.5, '007', '1e5', 'red']
    """
    if not (_NUMBER if delimiter == "," else _WITH_COMMA).fullmatch(text):
        return text
    if text.lstrip("-").isdigit():
        return int(text) if len(text) <= 20 and abs(int(text)) < 2**63 else text  # SQLite's integers end there
    number = float(text.replace(",", "."))
    return number if math.isfinite(number) else text
