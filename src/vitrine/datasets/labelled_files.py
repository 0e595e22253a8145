"""Pictures and their classes as a CSV names them, wherever they lie.

    file,label
    2024/a.jpg,dress
    b.jpg,hat

Read as `csv_lines` says. Paths are relative to the CSV's folder; columns of other names are left alone.
"""

import os
import unicodedata
from pathlib import Path

import numpy as np

from vitrine.datasets import Dataset, csv_lines, image_folder
from vitrine.datasets.image_folder import PLAIN_GREY, Folder
from vitrine.errors import DataError, InputError
from vitrine.progress import Progress, silent
from vitrine.spec import ImageSpec

LABEL_COLUMN = "label"


def is_csv(name: str) -> bool:
    """Whether a user who names this means a CSV."""
    return name.lower().endswith(".csv") and not os.path.isdir(name)


def read(path: Path) -> dict[str, str]:
    """The label of each picture, by its path, in the order of the lines.

    Raises InputError as `csv_lines.read`, for no column of labels and an empty label, and for a picture in two lines
    with different labels; in two lines with the same one it is there once. Raises DataError where no line names a
    picture.
    """
    lines = csv_lines.read(path)
    names = [name.lower() for name in lines.header]
    if LABEL_COLUMN not in names:
        raise InputError(
            f"{path}, line 1: it has no column called label, which says what each picture shows; there are"
            f" {', '.join(filter(None, lines.header))}."
        )
    column = names.index(LABEL_COLUMN)
    found: dict[str, tuple[int, str]] = {}
    for number, record in lines.records:
        file, label = record[lines.files], record[column]
        if not label:
            raise InputError(f"{path}, line {number}: the label of {file} is empty; fill it in or drop the line.")
        before, known = found.setdefault(_place(file, path), (number, label))
        if known != label:
            raise InputError(
                f"{path}, line {number}: {file} is {label!r} here and {known!r} in line {before}; keep one of the two."
            )
    if not found:
        raise DataError(f"{path} names no pictures; add a line for each, such as: dresses/a.jpg,dress")
    return {file: label for file, (_, label) in found.items()}


def load(path: Path, spec: ImageSpec = PLAIN_GREY, progress: Progress = silent) -> Folder:
    """The CSV as a data set in the look of `spec`, as `image_folder.load`; its images in the order of the lines.

    Raises InputError and DataError as `read`, DataError where none of the pictures can be read, StorageError.
    """
    labels = read(path)
    decoded = image_folder.decoded(path, [Path(file) for file in labels], spec, progress)
    names = sorted({labels[source] for source in decoded.sources})
    numbers = np.array([names.index(labels[source]) for source in decoded.sources], np.int64)
    dataset = Dataset(decoded.images, numbers, {"en": tuple(names)}, decoded.sources, name=str(path))
    return Folder(dataset, decoded.unreadable)


def _place(file: str, path: Path) -> str:
    """The path of a picture; é may be one character in the CSV and two on the disk, or the other way round."""
    place = str(Path(csv_lines.place_of(file, str(path.parent))))
    forms = (place, unicodedata.normalize("NFC", place), unicodedata.normalize("NFD", place))
    return next((form for form in forms if os.path.exists(form)), place)
