"""Draws pictures of docs/metric-learning.md: what the shipped models find, on images that they held out.

    VITRINE_DATA=... python benchmarks/lesson.py [--out docs/images]

altered.png   an altered picture of each class, its original, and what siamese, compact and raw pixels find first
ways.png      one picture that could be of two classes, and its look-alikes in five ways

Searched are the 3,000 images that both shipped models held out (siamese, seed 0). The test set is not looked at.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import alterations
from vitrine import demo, evaluation, metrics, plots
from vitrine.datasets import Dataset
from vitrine.encoder import Encoder
from vitrine.plots import RIGHT, WRONG, Tile

Vectors = npt.NDArray[np.floating]

SEED = 0
NEIGHBOURS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    held, subjects = alterations.held_out(), alterations.subjects()
    cards = [subject.card for subject in subjects.values() if isinstance(subject, Encoder)]
    model = ", ".join(f"{card.name} {card.identity}" for card in cards)
    _altered(held, subjects, out / "altered.png", model)
    _ways(held, subjects, out / "ways.png", model)
    for name in ("altered.png", "ways.png"):
        without_transparency(out / name)


def without_transparency(path: Path) -> None:
    """The same picture in a smaller file."""
    with Image.open(path) as picture:
        text = PngInfo()
        text.add_text("Model", picture.info["Model"])
        picture.convert("RGB").save(path, optimize=True, pnginfo=text)


def _altered(held: Dataset, subjects: dict[str, evaluation.Subject], path: Path, model: str) -> None:
    """One of each class, by seed, whether it is found or not."""
    places = np.array(demo.one_of_each(held, SEED))
    altered = np.stack([evaluation.alter(held.images[i], np.random.default_rng([SEED, i])) for i in places])
    rows = [[Tile(held.images[i], f"original\n{_name(held, i)}")] for i in places]
    for name, subject in subjects.items():
        scores = subject.run(altered).embeddings @ subject.run(held.images).embeddings.T  # (classes, held)
        for row, own, of_one in zip(rows, places, scores, strict=True):
            first, place = int(of_one.argmax()), int(np.count_nonzero(of_one > of_one[own])) + 1
            found = "the original" if first == own else f"original: no. {place:,}"
            row.append(Tile(held.images[first], f"{name}\n{found}", RIGHT if first == own else WRONG))
    queries = [Tile(image, "altered") for image in altered]
    title = f"What is found first among {len(held):,}"
    plots.neighbours(list(zip(queries, rows, strict=True)), path, title, model)


def _ways(held: Dataset, subjects: dict[str, evaluation.Subject], path: Path, model: str) -> None:
    """The shirt that comes nearest to being a shirt or a T-shirt with equal probability."""
    siamese, compact, pixels = (subject.run(held.images) for subject in subjects.values())
    p = metrics.softmax(siamese.logits * Encoder.load("default").card.recipe["model"]["sharpness"])
    shirt, t_shirt = (held.class_names["en"].index(name) for name in ("Shirt", "T-shirt/top"))
    shirts = np.flatnonzero((held.labels == shirt) & (p[:, shirt] > p[:, t_shirt]))
    query = int(shirts[(p[shirts, shirt] - p[shirts, t_shirt] + 1 - p[shirts][:, [shirt, t_shirt]].sum(1)).argmin()])
    ways: dict[str, Vectors] = {
        "raw pixels": pixels.embeddings,
        "compact": compact.embeddings,
        "p, cosine": p / np.linalg.norm(p, axis=1, keepdims=True),
        "p, product": p,
        "siamese": siamese.embeddings,
    }
    rows: list[tuple[Tile | None, list[Tile]]] = []
    for name, vectors in ways.items():
        scores = (vectors @ vectors[query]).astype(np.float32)
        scores[query] = -np.inf
        best = np.argsort(-scores, kind="stable")[:NEIGHBOURS]
        tiles = [
            Tile(
                held.images[i],
                f"{_name(held, i)}\n{p[i, shirt]:.0%} shirt, {p[i, t_shirt]:.0%} T",
                RIGHT if held.labels[i] == shirt else WRONG,
            )
            for i in best
        ]
        rows.append((Tile(held.images[query], f"by {name}"), tiles))
    said = f"shirt {p[query, shirt]:.0%}, T-shirt {p[query, t_shirt]:.0%}"
    title = f"One shirt ({said}, says siamese) and its look-alikes among {len(held):,}; below each, its class and p"
    plots.neighbours(rows, path, title, model)


def _name(dataset: Dataset, place: int) -> str:
    return str(dataset.class_names["en"][dataset.labels[place]])


if __name__ == "__main__":
    main()
