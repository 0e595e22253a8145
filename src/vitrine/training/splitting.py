"""What is learnt from, and what is held out to measure by."""

from typing import Any

import numpy as np
import torch

from vitrine.datasets import UNLABELLED, Dataset
from vitrine.datasets.holdout import hold_out
from vitrine.errors import DataError
from vitrine.spec import ImageSpec
from vitrine.training.lessons import Lesson
from vitrine.training.photo.lesson import PhotoLesson
from vitrine.training.recipe import DataTable


def split(dataset: Dataset, table: DataTable, seed: int, photos: bool = False) -> tuple[Dataset, Dataset]:
    """Training and validation parts, both in the data set's order. photos: table.limit is of the training part alone.

    Raises DataError for images without a class, and when a class would be left without training images.
    """
    if not dataset.labelled:
        stray = dataset.sources[int(np.argmax(dataset.labels == UNLABELLED))]
        raise DataError(
            f"{dataset.name} has images without a class, such as {stray}; training needs a sub-folder per class, or"
            " a CSV of files and labels."
        )
    names = dataset.class_names["en"]
    if len(names) < 2:
        raise DataError(
            f"{dataset.name} has one class only, {names[0]!r}; there is nothing to tell apart: add another."
        )
    if any(label >= len(names) for label in table.leave_out) or len(names) - len(set(table.leave_out)) < 2:
        raise DataError(
            f"data.leave_out is {list(table.leave_out)}; {dataset.name} has the classes 0 to {len(names) - 1}, and two"
            " at least must be left to train on."
        )
    training, validation = hold_out(
        dataset, table.validation, table.split, seed, table.limit, table.leave_out, "training" if photos else "all"
    )
    n = len(training) + len(validation)
    if (len(training) < 2 and not table.limit) or not len(validation):
        raise DataError(
            f"{dataset.name} has {n} images, too few to hold {table.validation:g} of them out for validation; add some."
        )
    counts = training.counts()
    missing = [name for k, name in enumerate(names) if not counts[k] and k not in table.leave_out]
    if missing:
        raise DataError(
            f"No training images would be left of the class {missing[0]!r} of {dataset.name}; add pictures, or change"
            f" data.limit (now {table.limit}), data.split ({table.split}) or data.validation ({table.validation:g})."
        )
    return training, validation


def check_held_out(lesson: Lesson, validation: Dataset, share: float) -> None:
    """Raises DataError where no photo is held out that shows a class: nothing could be measured or calibrated."""
    labels = torch.from_numpy(validation.labels.copy())
    if isinstance(lesson, PhotoLesson) and not lesson.units.shows_classes(labels).any():
        raise DataError(
            f"No photo of {validation.name} that shows one of the classes would be held out for validation; add some,"
            f" or hold out more (data.validation, now {share:g})."
        )


def image_spec(training: Dataset, table: DataTable) -> ImageSpec:
    """The spec that the model file will carry, with mean and sd of the training images. Fashion-MNIST and folders
    brought to its look have a dark ground.
    """
    h, w, c = training.images.shape[1:]
    if table.kept:
        h = w = table.size
    mean, sd = (0.0,) * c, (1.0,) * c
    if table.normalise == "standard":
        counts = np.stack(
            [np.bincount(training.images[..., channel].ravel(), minlength=256) for channel in range(c)]
        )  # (c, 256)
        shares, values = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
        means = shares @ values
        mean = tuple(round(float(value), 6) for value in means)
        sd = tuple(
            max(round(float(np.sqrt(share @ (values - middle) ** 2)), 6), 1e-3)
            for share, middle in zip(shares, means, strict=True)
        )
    return ImageSpec(h, w, c, "any" if table.beside or c == 3 else "dark", mean, sd, table.middle)


def data_facts(dataset: Dataset, beside: Dataset | None) -> dict[str, Any]:
    """Name, size and checksum of what a run learns from."""
    facts: dict[str, Any] = {"name": dataset.name, "images": len(dataset), "checksum": dataset.checksum()}
    return facts if beside is None else {**facts, "beside": data_facts(beside, None)}
