"""What a CSV beside the pictures says of them: a line for each, and the first names the columns.

    file,price,colour
    dresses/a.jpg,39.5,red

UTF-8, with a byte order mark or without; commas, semicolons or tabs, whichever makes a column called `file`, `filename`
or `source` of the first line. That column names the picture, relative to the folder. What looks like a plain number
becomes one; blanks around a cell do not count, and an empty cell says nothing.
"""

import math
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from vitrine.catalogue import Columns
from vitrine.datasets import csv_lines
from vitrine.errors import InputError

NAME = "items.csv"
"""How the file is called that is looked for in a folder of pictures."""

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
    table = csv_lines.read(path)
    header, place = table.header, table.files
    lines: dict[str, Line] = {}
    for number, record in table.records:
        cells = {name: _cell(cell, table.delimiter) for name, cell in zip(header, record, strict=True) if cell}
        file = record[place]
        if "" in cells:
            raise InputError(f"{path}, line {number}: it has a cell in a column without a name; name it in line 1.")
        source = csv_lines.place_of(file, os.path.abspath(folder))
        if source in lines:
            raise InputError(
                f"{path}, line {number}: the picture {file} is in line {lines[source].number} already; keep one of"
                " the two."
            )
        lines[source] = Line(number, file, {name: cell for name, cell in cells.items() if name != header[place]})
    return Table(lines)


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
