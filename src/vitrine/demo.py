"""The main job, once through: data, model, catalogue of everything, measurement, a picture of look-alikes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from vitrine import evaluation, images, plots
from vitrine.catalogue import Match, Vectors, folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Dataset, Splits, drawn_garments, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.errors import DownloadError
from vitrine.evaluation import FirstLook
from vitrine.indexing import Report, data_set
from vitrine.plots import Tile
from vitrine.progress import Progress

NEIGHBOURS = 9

Stage = Callable[[str], AbstractContextManager[Progress]]
"""Announces a stage of the work by name and gives the progress to report to while it lasts."""


@dataclass(frozen=True)
class Demo:
    """data: "fashion-mnist" or "drawn". reused: items that were in the catalogue already. seconds: the whole of it."""

    data: str
    items: int
    reused: int
    evaluation: FirstLook
    picture: Path
    seconds: float


def run(out: Path, stage: Stage, say: Callable[[str], None], data_dir: Path | None = None, seed: int = 0) -> Demo:
    """Do everything; the neighbour grid goes into the folder `out`. A second run reuses the catalogue of the first.

    seed: chooses the test item of each class that is drawn. Raises DataError for damaged data, CatalogueError,
    StorageError.
    """
    start = perf_counter()
    splits = _data(stage, say, data_dir)
    encoder = Encoder.load("default")
    with _catalogue(splits.train.name, encoder) as catalogue:
        whole = splits.whole()
        report = _fill(catalogue, encoder, whole, stage)
        ids, vectors, sources = catalogue.vectors()
        known = {source: (int(id), vector) for id, vector, source in zip(ids, vectors, sources, strict=True)}
        gallery = np.stack([known[source][1] for source in splits.train.sources])  # (train, d)
        with stage(f"Classify {len(splits.test):,} {whole.name} test images, find their look-alikes") as progress:
            measured = evaluation.first_look(encoder, splits.test, gallery, splits.train.labels, progress)
        queries = splits.test[np.array(one_of_each(splits.test, seed))]
        picture = out / "neighbours.png"
        with stage("Draw the look-alikes"):
            model = f"{encoder.card.name} {encoder.card.identity}"
            _draw(catalogue, queries, [known[source] for source in queries.sources], picture, model)
    return Demo(whole.name, len(whole), report.unchanged, measured, picture, perf_counter() - start)


def collect(stage: Stage, say: Callable[[str], None], data_dir: Path | None = None) -> str:
    """Only make the demo's catalogue, or what is missing of it; its name.

    Raises DataError for damaged data, CatalogueError, StorageError.
    """
    whole = _data(stage, say, data_dir).whole()
    encoder = Encoder.load("default")
    with _catalogue(whole.name, encoder) as catalogue:
        _fill(catalogue, encoder, whole, stage)
        catalogue.save_index()
    return whole.name


def _fill(catalogue: LocalCatalogue, encoder: Encoder, whole: Dataset, stage: Stage) -> Report:
    with stage(f"Put {len(whole):,} {whole.name} images into the catalogue") as progress:
        return data_set.add_dataset(catalogue, encoder, whole, progress)


def _data(stage: Stage, say: Callable[[str], None], data_dir: Path | None) -> Splits:
    try:
        with stage("Load Fashion-MNIST") as progress:
            return fashion_mnist.load(data_dir, progress)
    except DownloadError as error:
        say(f"{error} Going on with drawn garments.")
    with stage("Draw garments"):
        return drawn_garments.load()


def _catalogue(name: str, encoder: Encoder) -> LocalCatalogue:
    """The demo's catalogue, made if it is not there. Raises CatalogueError when another model made it."""
    if not folders.exists(name):
        return LocalCatalogue.create(name, encoder)
    catalogue = LocalCatalogue.open(name)
    catalogue.check_model(encoder.card.identity, encoder.card.name)
    return catalogue


def _draw(
    catalogue: LocalCatalogue, queries: Dataset, items: list[tuple[int, Vectors]], picture: Path, model: str
) -> None:
    """Each query with its look-alikes among all the others. items: the queries' ids and vectors (d,); model: what made
    the vectors.
    """
    names = queries.class_names["en"]
    found = catalogue.search(np.stack([vector for _, vector in items]), NEIGHBOURS + 1)
    rows: list[tuple[Tile | None, list[Tile]]] = []
    for image, label, (id, _), matches in zip(queries.images, queries.labels, items, found, strict=True):
        others = [match for match in matches if match.id != id][:NEIGHBOURS]
        tiles = [_tile(catalogue, match, names[label]) for match in others]
        rows.append((Tile(image, f"query: {names[label]}"), tiles))
    title = f"A {queries.name} test item of each class and its look-alikes among all {catalogue.info().items:,}"
    plots.neighbours(rows, picture, f"{title}; below each, class and cosine similarity", model)


def _tile(catalogue: LocalCatalogue, match: Match, wanted: str) -> Tile:
    colour = plots.RIGHT if match.label == wanted else plots.WRONG
    return Tile(images.read(catalogue.item(match.id).thumbnail), f"{match.label}\n{match.score:.3f}", colour)


def one_of_each(dataset: Dataset, seed: int) -> list[int]:
    """The place of one image of each class, chosen by seed."""
    random = np.random.default_rng(seed)
    return [
        int(random.choice(np.flatnonzero(dataset.labels == label))) for label in range(len(dataset.class_names["en"]))
    ]
