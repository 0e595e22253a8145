"""Pictures that several tests make, and how they look at a command's errors."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine.catalogue import Item
from vitrine.datasets import Dataset

Cli = Callable[..., tuple[int, str, str]]
"""The command line, called in this process: exit code, standard output, standard error. See the fixture `cli`."""


def written(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def one_sentence(error: str) -> bool:
    """Whether a command's standard error ends with one line of ours and shows no traceback."""
    return "Traceback" not in error and error.strip().splitlines()[-1].startswith("vitrine: ")


def save_folder(dataset: Dataset, folder: Path, by_class: bool = True) -> None:
    """Write a data set's images as PNGs, a sub-folder per class."""
    for index, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        place = folder / dataset.class_names["en"][label].replace("/", "-") if by_class else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image)[..., 0]).save(place / f"{index:04d}.png")


def shop_photo(image: npt.NDArray[np.uint8], light: bool) -> bytes:
    """An item as a clean product shot: negated onto white or on black, enlarged, padded, JPEG."""
    item = Image.fromarray(255 - image[..., 0] if light else image[..., 0]).resize((600, 600), Image.Resampling.BICUBIC)
    shot = Image.new("L", (600, 800), 255 if light else 0)
    shot.paste(item, (0, 100))
    return written(shot, "JPEG", quality=90)


def drawn_shape(name: str, side: int, generator: np.random.Generator, colour: bool) -> npt.NDArray[np.uint8]:
    """A disc, a bar, a ring or a cross somewhere on a ground: (side, side, 3 or 1) uint8."""
    ground = generator.uniform(0, 90, 3 if colour else 1)
    ink = generator.uniform(150, 255, len(ground))
    down, right = np.mgrid[0:side, 0:side] / side - 0.5 - generator.uniform(-0.08, 0.08, 2)[:, None, None]
    far = np.hypot(down, right)
    shape = {
        "disc": far < 0.33,
        "bar": (np.abs(right) < 0.12) & (np.abs(down) < 0.45),
        "ring": (far < 0.4) & (far > 0.28),
        "cross": np.minimum(np.abs(down + right), np.abs(down - right)) < 0.08,
    }[name]
    picture = np.where(shape[..., None], ink, ground) + generator.normal(0, 6, (side, side, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def random_items(count: int, size: int, seed: int = 0, start: int = 0) -> list[Item]:
    """Items without pictures: random unit vectors of that size, every fourth without a label, prices and colours."""
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Item(
            f"s{i}",
            f"class {i % 3}" if i % 4 else None,
            f"c{i}",
            vector,
            b"png",
            {"price": i, "colour": "red"} if i % 2 else None,
        )
        for i, vector in enumerate(vectors, start)
    ]


def best(items: dict[int, Item], query: npt.NDArray[np.float32]) -> list[tuple[int, float]]:
    """Ids and scores of all items, best first, by plain multiplication."""
    scores = [(id, float(item.vector.astype(np.float64) @ query.astype(np.float64))) for id, item in items.items()]
    return sorted(scores, key=lambda one: (-one[1], one[0]))
