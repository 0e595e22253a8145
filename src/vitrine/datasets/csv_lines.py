"""A CSV about pictures, line by line, as people's programs write it: UTF-8, with a byte order mark or without; commas,
semicolons or tabs, whichever makes a column called `file`, `filename` or `source` of the first line, which names the
columns. Blanks around a cell do not count.
"""

import csv
import io
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vitrine.errors import InputError

FILE_COLUMNS = ("file", "filename", "source")


@dataclass(frozen=True)
class Lines:
    """header: the names of the columns; files: the number of the one that names pictures; records: each line that is
    not blank with its number, from 1, as many cells as the header, the picture's not empty; read, and checked, one
    after the other: raises InputError.
    """

    delimiter: str
    header: list[str]
    files: int
    records: Iterator[tuple[int, list[str]]]


def read(path: Path) -> Lines:
    """Raises InputError, with the number of the line: what cannot be read, is no UTF-8 or no CSV, has no column of file
    names, or two columns of one name.
    """
    text = _text(path)
    delimiter, header = _header(text, path)
    names = [name.lower() for name in header]
    files = next(names.index(name) for name in FILE_COLUMNS if name in names)
    return Lines(delimiter, header, files, _checked(text, delimiter, header, files, path))


def place_of(file: str, folder: str) -> str:
    """Where a picture lies that a CSV names, by a path that is relative to `folder`."""
    return os.path.normpath(os.path.join(folder, file.replace("\\", "/")))


def _checked(text: str, delimiter: str, header: list[str], files: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, record in islice(_records(text, delimiter, path), 1, None):
        if len(record) != len(header):
            raise InputError(
                f"{path}, line {number}: it has {len(record)} cells, and the first line has {len(header)}; make them"
                " as many, with quotes around a cell that holds what separates cells."
            )
        if not record[files]:
            raise InputError(f"{path}, line {number}: the name of the picture is empty; fill it in or drop the line.")
        yield number, record


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
            if any(name.lower() in FILE_COLUMNS for name in names):
                fitting.append((delimiter, names))
    if not fitting:
        found = text.lstrip()[:60].partition("\n")[0]
        raise InputError(
            f"{path}, line 1: it must name the columns, one of them {', '.join(FILE_COLUMNS[:-1])} or"
            f" {FILE_COLUMNS[-1]}, with commas, semicolons or tabs between; found was {found!r}."
        )
    delimiter, names = max(fitting, key=lambda one: len(one[1]))
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise InputError(f"{path}, line 1: two columns are called {min(twice)}; give one of them another name.")
    return delimiter, names


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
