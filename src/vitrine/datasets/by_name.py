"""A data set by the word that a user gives for it."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vitrine import images, storage
from vitrine.datasets import Splits, drawn_garments, fashion_mnist, image_folder, labelled_files
from vitrine.datasets.image_folder import PLAIN_GREY, Unreadable
from vitrine.errors import DataError
from vitrine.progress import Progress, silent
from vitrine.spec import ImageSpec

NAMES = ("fashion-mnist", "drawn")


@dataclass(frozen=True)
class Loaded:
    """unreadable: files of a folder or a CSV that were left out."""

    splits: Splits
    unreadable: list[Unreadable]


def load(name: str, data_dir: Path | None = None, spec: ImageSpec = PLAIN_GREY, progress: Progress = silent) -> Loaded:
    """The data set called "fashion-mnist" or "drawn", or the folder or the CSV (`labelled_files`) at that path, or at
    that path in the folder of `VITRINE_DATA`, which have a training part only.

    spec: the size and channels that images are brought to; those of a folder or a CSV take the whole photo path.
    Raises DataError, InputError, StorageError.
    """
    if name == "fashion-mnist":
        return Loaded(_sized(fashion_mnist.load(data_dir, progress), spec), [])
    if name == "drawn":
        return Loaded(_sized(drawn_garments.load(), spec), [])
    place = _place(name)
    if labelled_files.is_csv(place):
        found = labelled_files.load(Path(place), spec, progress)
    elif os.path.isdir(place):  # Path("") would be the current folder
        found = image_folder.load(Path(place), spec, progress)
    else:
        raise DataError(
            f"There is no data set {name!r}; known are {', '.join(NAMES)}, or name a folder of pictures, or a CSV of"
            " their files and labels, here or in the folder that VITRINE_DATA names."
        )
    dataset = replace(found.dataset, name=str(Path(name)))
    return Loaded(Splits(dataset, dataset[np.empty(0, np.intp)]), found.unreadable)


def _place(name: str) -> str:
    """Where the user's folder or CSV is: as it is said, or below the folder that holds data sets."""
    if not name or os.path.exists(name) or os.path.isabs(name) or ".." in Path(name).parts:
        return name
    named = storage.user_data_sets()
    there = os.path.join(named or "", name)
    return there if os.path.exists(there) else name


def _sized(splits: Splits, spec: ImageSpec) -> Splits:
    train, test = (replace(part, images=images.resize(part.images, spec)) for part in (splits.train, splits.test))
    return Splits(train, test)
