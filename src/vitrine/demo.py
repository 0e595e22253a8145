"""The main job, once through: data, model, catalogue of everything, measurement, a picture of look-alikes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from vitrine import evaluation, indexing, plots
from vitrine.catalogue import local
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Dataset, Progress, Splits, drawn_garments, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.errors import DownloadError
from vitrine.evaluation import Evaluation
from vitrine.plots import Tile

NEIGHBOURS = 9

Stage = Callable[[str], AbstractContextManager[Progress]]
"""Announces a stage of the work by name and gives the progress to report to while it lasts."""


@dataclass(frozen=True)
class Demo:
    """data: "fashion-mnist" or "drawn". reused: items that were in the catalogue already. seconds: the whole of it."""

    data: str
    items: int
    reused: int
    evaluation: Evaluation
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
        reports = []
        for part, dataset in (("training", splits.train), ("test", splits.test)):
            with stage(f"Embed {len(dataset):,} {part} images") as progress:
                reports.append(indexing.add_dataset(catalogue, encoder, dataset, progress))
        ids, vectors, sources = catalogue.vectors()
        rows = {source: row for row, source in enumerate(sources)}
        gallery = vectors[[rows[source] for source in splits.train.sources]]  # (train, d)
        with stage(f"Classify {len(splits.test):,} test images, find their look-alikes") as progress:
            measured = evaluation.query_gallery(encoder, splits.test, gallery, splits.train.labels, progress)
        picture = out / "neighbours.png"
        with stage("Draw the look-alikes"):
            _draw(catalogue, splits, vectors, rows, ids, picture, seed)
    return Demo(
        splits.train.name,
        len(ids),
        sum(report.unchanged for report in reports),
        measured,
        picture,
        perf_counter() - start,
    )


def _data(stage: Stage, say: Callable[[str], None], data_dir: Path | None) -> Splits:
    try:
        with stage("Load Fashion-MNIST") as progress:
            return fashion_mnist.load(data_dir, progress)
    except DownloadError as error:
        say(f"{error} Going on with drawn garments.")
    with stage("Draw garments"):
        return drawn_garments.load()


def _catalogue(name: str, encoder: Encoder) -> LocalCatalogue:
    """The demo's catalogue; one that an older model made, and that holds nothing but the demo's items, is made anew."""
    if name not in local.names():
        return LocalCatalogue.create(name, encoder)
    catalogue = LocalCatalogue.open(name)
    if catalogue.info().identity != encoder.card.identity and all(
        source.startswith(f"{name}/") for source in catalogue.contents()
    ):
        catalogue.close()
        local.delete(name)
        return LocalCatalogue.create(name, encoder)
    catalogue.check_model(encoder.card.identity, encoder.card.name)
    return catalogue


def _draw(
    catalogue: LocalCatalogue,
    splits: Splits,
    vectors: npt.NDArray[np.float32],
    rows: dict[str, int],
    ids: npt.NDArray[np.int64],
    picture: Path,
    seed: int,
) -> None:
    """One test item of each class with its look-alikes among all the others."""
    names = splits.test.class_names["en"]
    queries = one_of_each(splits.test, seed)
    query_rows = [rows[splits.test.sources[query]] for query in queries]
    images = {
        source: image
        for part in (splits.train, splits.test)
        for source, image in zip(part.sources, part.images, strict=True)
    }
    drawn = []
    for query, row, matches in zip(
        queries, query_rows, catalogue.search(vectors[query_rows], NEIGHBOURS + 1), strict=True
    ):
        label = names[splits.test.labels[query]]
        others = [match for match in matches if match.id != ids[row]][:NEIGHBOURS]
        tiles = [
            Tile(
                images[match.source],
                f"{match.label}\n{match.score:.3f}",
                plots.RIGHT if match.label == label else plots.WRONG,
            )
            for match in others
        ]
        drawn.append((Tile(splits.test.images[query], f"query: {label}"), tiles))
    plots.neighbours(
        drawn,
        picture,
        f"A {splits.test.name} test item of each class and its look-alikes among all {len(ids):,}; below each, class"
        " and cosine similarity",
    )


def one_of_each(dataset: Dataset, seed: int) -> list[int]:
    """The place of one image of each class, chosen by seed."""
    random = np.random.default_rng(seed)
    return [
        int(random.choice(np.flatnonzero(dataset.labels == label))) for label in range(len(dataset.class_names["en"]))
    ]
