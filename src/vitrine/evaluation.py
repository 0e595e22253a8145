"""A model measured on data, as typed results. Each protocol is a function here; the measures are in metrics.py.

What is measured (the subject) is an `Encoder`, or `RawPixels`, the baseline that has learnt nothing.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine import images, metrics, storage
from vitrine.datasets import UNLABELLED, Dataset, Splits
from vitrine.encoder import Encoder, Outputs
from vitrine.errors import DataError, InputError
from vitrine.modelfile import ModelCard
from vitrine.progress import Progress, silent

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

K = 100
"""How deep MAP@100 looks."""

BLOCK = 128
"""How many queries are compared with the gallery at once: 72 MB of scores for a gallery of 70,000."""

ORIGINALS = 2_000
PAIRS = 20_000


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a protocol measured; None for what it does not measure.

    accuracy: of the classifier; None, too, where the subject does not know all classes of the data. precision_at_1,
    r_precision, map_at_r, map_at_100: see `Retrieval`. success_at_1, success_at_10: share of altered images whose
    original comes first, or among the first ten. pair_loss, pair_error: binary cross-entropy (nats) and mean absolute
    error of the probability that two images have the same class. ece: expected calibration error of the classifier, 15
    bins. n: images, queries or pairs that were asked about; left_out: see `Retrieval`.
    """

    protocol: str
    accuracy: float | None = None
    precision_at_1: float | None = None
    r_precision: float | None = None
    map_at_r: float | None = None
    map_at_100: float | None = None
    success_at_1: float | None = None
    success_at_10: float | None = None
    pair_loss: float | None = None
    pair_error: float | None = None
    ece: float | None = None
    n: int
    left_out: int = 0


@dataclass(frozen=True)
class Retrieval:
    """Means over the queries that have an item of their class in the gallery; formulas in metrics.py. left_out: how
    many queries have none: there is no right answer to them.
    """

    precision_at_1: float
    r_precision: float
    map_at_r: float
    map_at_100: float
    left_out: int


@dataclass(frozen=True)
class FirstLook:
    """The quick part of `query_gallery`: what the demo prints."""

    accuracy: float
    precision_at_1: float
    n: int


class RawPixels:
    """The baseline that has learnt nothing: an image's embedding is its pixels, and there is no classifier."""

    def run(self, batch: Pixels, progress: Progress = silent) -> Outputs:
        """For images (n, h, w, c): logits (n, 0), embeddings (n, h * w * c), L2-normalised; a black image's are 0."""
        pixels = batch.reshape(len(batch), -1).astype(np.float32)
        pixels /= np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-12)
        progress(len(batch), len(batch))
        return Outputs(np.empty((len(batch), 0), np.float32), pixels)

    def same_probability(self, left: Outputs, right: Outputs) -> npt.NDArray[np.float64]:
        """Raises InputError: pixels alone give no probability."""
        raise InputError("Raw pixels give no probability that two images have the same class; name a model.")


Subject = Encoder | RawPixels


def query_gallery(subject: Subject, splits: Splits, progress: Progress = silent) -> Evaluation:
    """Classify the test images, and look for each one's like among the training images.

    Raises DataError for images without a class, InputError where there is nothing to tell apart.
    """
    train, test = splits.train, splits.test
    _check_labelled(train, test)
    steps = _Steps(progress, len(test) + len(train) + len(test))
    asked = subject.run(test.images, steps.next(len(test)))
    gallery = subject.run(train.images, steps.next(len(train))).embeddings
    found = retrieval(asked.embeddings, test.labels, gallery, train.labels, progress=steps.next(len(test)))
    return _evaluation("query-gallery", found, _classified(subject, asked, test), len(test))


def leave_one_out(subject: Subject, dataset: Dataset, progress: Progress = silent) -> Evaluation:
    """Classify the images, and look for each one's like among all the others. Raises as `query_gallery` does."""
    _check_labelled(dataset)
    steps = _Steps(progress, 2 * len(dataset))
    asked = subject.run(dataset.images, steps.next(len(dataset)))
    found = _among_themselves(asked.embeddings, dataset.labels, steps.next(len(dataset)))
    return _evaluation("leave-one-out", found, _classified(subject, asked, dataset), len(dataset))


def unseen_classes(subject: Subject, test: Dataset, classes: Sequence[int], progress: Progress = silent) -> Evaluation:
    """Look for each image of `classes` (label numbers that training was not shown) among the others of these classes.

    Raises DataError for images without a class, InputError for a class that there is not, or one class alone.
    """
    _check_labelled(test)
    known = len(test.class_names["en"])
    if not all(0 <= number < known for number in classes):
        raise InputError(f"The classes {list(classes)} were asked for; {test.name} has the classes 0 to {known - 1}.")
    part = test[np.flatnonzero(np.isin(test.labels, np.asarray(classes, np.int64)))]
    steps = _Steps(progress, 2 * len(part))
    embeddings = subject.run(part.images, steps.next(len(part))).embeddings
    found = _among_themselves(embeddings, part.labels, steps.next(len(part)))
    return _evaluation("unseen-classes", found, (None, None), len(part))


def find_original(
    subject: Subject, splits: Splits, seed: int = 0, count: int = ORIGINALS, progress: Progress = silent
) -> Evaluation:
    """Alter test images (see `alter`) and look for each one's original among all images of both parts.

    count: how many test images, chosen by seed; all where there are fewer. An image's alteration depends on the seed
    and its place in the test part alone. Equal scores rank by place, the training part first.
    """
    train, test = splits.train, splits.test
    chosen = np.sort(np.random.default_rng(seed).choice(len(test), min(count, len(test)), replace=False))
    altered = np.stack([alter(test.images[i], np.random.default_rng([seed, i])) for i in chosen])
    steps = _Steps(progress, len(train) + len(test) + len(chosen))
    gallery = np.concatenate(
        [subject.run(part.images, steps.next(len(part))).embeddings for part in (train, test) if len(part)]
    )
    queries = subject.run(altered, steps.next(len(chosen))).embeddings
    places = _places(queries, gallery, chosen + len(train))
    return Evaluation(
        protocol="find-original",
        success_at_1=float(np.mean(places < 1)),
        success_at_10=float(np.mean(places < 10)),
        n=len(chosen),
    )


def pairs(subject: Subject, dataset: Dataset, seed: int = 0, progress: Progress = silent) -> Evaluation:
    """How well the subject tells whether two images have the same class: `pair_task` on 20,000 balanced pairs by seed.

    Raises DataError where there are no such pairs, ModelFileError for a model file without a table of similarities,
    InputError for raw pixels.
    """
    left, right, same = balanced_pairs(dataset.labels, PAIRS, seed)
    shown, places = np.unique(np.concatenate([left, right]), return_inverse=True)  # each image is looked at once
    outputs = subject.run(dataset.images[shown], progress)
    first, second = (outputs[side] for side in np.split(places, 2))
    return pair_task(subject.same_probability(first, second), same)


def pair_task(probabilities: metrics.Floats, same: Flags) -> Evaluation:
    """Probabilities that the two images of a pair have the same class, beside the truth; both (n,)."""
    return Evaluation(
        protocol="pairs",
        pair_loss=metrics.binary_cross_entropy(probabilities, same),
        pair_error=metrics.mean_absolute_error(probabilities, same),
        n=len(same),
    )


def balanced_pairs(labels: Labels, n: int, seed: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Flags]:
    """Two places in `labels`, and whether the classes there are the same: left, right (n,) intp, same (n,) bool.

    The first n // 2 pairs are two different images of one class, the others two images of different classes: left is
    drawn from all images (that have such a partner), right from all its partners. Pairs may repeat. labels: (m,).
    Raises DataError: an image without a class, one class only, no class with two images.
    """
    if (labels == UNLABELLED).any():
        raise DataError("Pairs need images that all have a class; put each picture into a sub-folder named like it.")
    counts = np.bincount(labels, minlength=1)
    if np.count_nonzero(counts) < 2 or counts.max() < 2:
        raise DataError(
            f"Pairs need two classes, and one with two images; the classes here number {np.count_nonzero(counts)}, the"
            f" largest has {counts.max()}."
        )
    random = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")  # class by class
    starts, place = np.cumsum(counts) - counts, np.argsort(order)
    half = n // 2
    alike = random.choice(np.flatnonzero(counts[labels] > 1), half)
    mine = labels[alike]
    step = random.integers(1, counts[mine])  # round the class, never back to the same image
    partner = order[starts[mine] + (place[alike] - starts[mine] + step) % counts[mine]]
    unlike = random.integers(0, len(labels), n - half)
    mine = labels[unlike]
    step = random.integers(0, len(labels) - counts[mine])  # on from the end of the class, round to its start
    stranger = order[(starts[mine] + counts[mine] + step) % len(labels)]
    left, right = np.concatenate([alike, unlike]), np.concatenate([partner, stranger])
    return left, right, np.arange(n) < half


def alter(image: Pixels, generator: np.random.Generator) -> Pixels:
    """The image (h, w, c) uint8 as another shot of the same thing might show it; same shape and type.

    In this order: turned about its centre by -15 to 15 degrees; cut to a window at a random place whose sides are 80
    to 100 % of the image's, brought back to full size (both in one bilinear resampling; 0 outside); brightness times
    0.8 to 1.2; a hole of 5/28 of the height (5x5 pixels of 28x28) set to 0; Gaussian noise of sd 0.05, 1.0 being
    white; clipped. All draws are uniform and come from `generator`.
    """
    height, width, _ = image.shape
    angle, share = np.deg2rad(generator.uniform(-15, 15)), generator.uniform(0.8, 1)
    left, top = generator.uniform(0, (1 - share) * width), generator.uniform(0, (1 - share) * height)
    brightness = generator.uniform(0.8, 1.2)
    # Pillow wants the place in the source for a place (x, y) in the result: first into the window, then turned back.
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    x, y = left - width / 2, top - height / 2
    across = (share * cosine, share * sine, cosine * x + sine * y + width / 2)
    down = (-share * sine, share * cosine, cosine * y - sine * x + height / 2)
    turned = images.to_pil(image).transform(
        (width, height), Image.Transform.AFFINE, across + down, Image.Resampling.BILINEAR
    )
    values = np.asarray(turned, np.float64).reshape(image.shape) * (brightness / 255)
    hole = max(1, round(height * 5 / 28))
    row, column = (int(generator.integers(0, max(1, side - hole + 1))) for side in (height, width))
    values[row : row + hole, column : column + hole] = 0
    values += generator.normal(0, 0.05, image.shape)
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def retrieval(
    queries: Vectors,
    query_labels: Labels,
    gallery: Vectors,
    gallery_labels: Labels,
    leave_one_out: bool = False,
    progress: Progress = silent,
) -> Retrieval:
    """Rank the whole gallery (n, d) for each query (q, d) by inner product, and measure the rankings.

    Embeddings float32, L2-normalised: the inner product is the cosine. Labels (q,) and (n,). Equal scores rank by place
    in the gallery. leave_one_out: the queries are the gallery, and each is left out of its own ranking. Exact, in
    blocks, on all cores; the same inputs give the same result on any machine, see `_blocks`. Raises InputError where no
    query has its class in the gallery, and where the gallery has one class only (any ranking would be right).
    """
    classes = 1 + max(int(query_labels.max(initial=0)), int(gallery_labels.max(initial=0)))
    counts = np.bincount(gallery_labels, minlength=classes)
    relevant = counts[query_labels] - int(leave_one_out)  # (q,): R of each query
    if np.count_nonzero(counts) == 1:
        raise InputError("All images to search in have the same class: there is nothing to tell apart; add a class.")
    if not (relevant > 0).any():
        raise InputError("No image has another one of its class to find; a class needs two images at least.")
    table = np.full((len(queries), 4), np.nan)  # precision at 1, R-precision, MAP@R, MAP@100

    def measure(query: int, scores: Scores) -> None:
        r = int(relevant[query])
        if r > 0:
            best = _best(scores, max(r, K), query if leave_one_out else None)
            ranked = gallery_labels[best] == query_labels[query]
            table[query] = (
                ranked[0],
                metrics.r_precision(ranked, r),
                metrics.map_at_r(ranked, r),
                metrics.map_at_k(ranked, K),
            )

    with ThreadPoolExecutor(storage.cores()) as pool:
        for first, scores in _blocks(queries, gallery):
            list(pool.map(measure, range(first, first + len(scores)), scores))
            progress(first + len(scores), len(queries))
    at_1, r_precision, at_r, at_100 = np.nanmean(table, axis=0).tolist()
    return Retrieval(at_1, r_precision, at_r, at_100, left_out=int(np.count_nonzero(relevant <= 0)))


def _blocks(queries: Vectors, gallery: Vectors) -> Iterator[tuple[int, Scores]]:
    """Some queries at a time: the first one's place, and the inner products (some, n) of queries (q, d) and gallery (n,
    d), which the next block overwrites.

    Summed in float64, to be rounded to float32: so equal vectors have equal scores wherever they stand. Summed in
    float32 the last bit hangs on the place in the block, the BLAS and the number of cores, and copies of one image rank
    at random.
    """
    wide, scores = gallery.astype(np.float64), np.empty((min(BLOCK, len(queries)), len(gallery)))
    for first in range(0, len(queries), BLOCK):
        block = queries[first : first + BLOCK].astype(np.float64)
        yield first, np.matmul(block, wide.T, out=scores[: len(block)])  # BLAS takes all cores by itself


def _best(scores: Scores, depth: int, without: int | None) -> npt.NDArray[np.int64]:
    """The places of the `depth` highest scores (n,), rounded to float32, best first, equal ones by place; all where
    there are fewer. without: a place that is left out.

    Sorting whole numbers that hold score and place is ten times as fast as a stable sort of floats.
    """
    rounded = scores.astype(np.float32)
    depth = min(depth, len(scores) - (without is not None))
    if without is not None:
        rounded[without] = -np.inf
    least = np.partition(rounded, len(scores) - depth)[len(scores) - depth]
    places = np.flatnonzero(rounded >= least)  # `depth` of them, and what equals the least
    bits = (rounded[places] + np.float32(0)).view(np.uint32)  # + 0: -0.0 becomes 0.0
    falling = np.where(bits < 0x80000000, bits ^ np.uint32(0x7FFFFFFF), bits)  # rises as the float falls
    keys = falling.astype(np.uint64) << np.uint64(32) | places.astype(np.uint64)
    keys.sort()
    return (keys[:depth] & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _places(queries: Vectors, gallery: Vectors, wanted: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """(q,): how many items of the gallery (n, d) rank before the one at `wanted` (q,) for each query (q, d)."""
    found = []
    for first, exact in _blocks(queries, gallery):
        scores, place = exact.astype(np.float32), wanted[first : first + len(exact), None]
        own = np.take_along_axis(scores, place, axis=1)
        ahead = (scores > own) | ((scores == own) & (np.arange(len(gallery)) < place))
        found.append(np.count_nonzero(ahead, axis=1))
    return np.concatenate(found)


def first_look(
    encoder: Encoder, test: Dataset, gallery: Vectors, gallery_labels: Labels, progress: Progress = silent
) -> FirstLook:
    """Classify the test images, and look for each one's nearest neighbour in the gallery, embeddings (n, d), labels
    (n,).
    """
    outputs = encoder.run(test.images, progress)
    nearest = nearest_neighbours(gallery, outputs.embeddings)
    return FirstLook(
        accuracy=metrics.accuracy(outputs.logits.argmax(axis=1), test.labels),
        precision_at_1=metrics.precision_at_1(gallery_labels[nearest], test.labels),
        n=len(test),
    )


def nearest_neighbours(gallery: Vectors, queries: Vectors) -> npt.NDArray[np.int64]:
    """(q,) int64: for each query (q, d) the place in the gallery (n, d) with the highest inner product; exact, in
    blocks.
    """
    return nearest(gallery, queries, 1)[0][:, 0]


def nearest(gallery: Vectors, queries: Vectors, k: int) -> tuple[Labels, Vectors]:
    """For each query (q, d) the places in the gallery (n, d) with the k highest inner products, best first, and these
    products: (q, k) int64 and float32; exact, in blocks.
    """
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    found = [index.search(block, k) for block in np.array_split(queries, max(1, len(queries) // 1000))]
    return np.concatenate([places for _, places in found]), np.concatenate([products for products, _ in found])


def unknown_classes(card: ModelCard, dataset: Dataset) -> list[str]:
    """The names of the data's classes that the model does not know, in any of its languages; of those with images."""
    counts = dataset.counts()
    return [
        name
        for name, count, number in zip(dataset.class_names["en"], counts, _class_numbers(card, dataset), strict=True)
        if count and number < 0
    ]


def _class_numbers(card: ModelCard, dataset: Dataset) -> npt.NDArray[np.int64]:
    """(classes of the data,): the model's number for each, by name; -1 for one that it does not know."""
    known: dict[str, int] = {}
    for names in card.classes.values():
        for number, name in enumerate(names):
            known.setdefault(_plain(name), number)
    return np.array([known.get(_plain(name), -1) for name in dataset.class_names["en"]], np.int64)


def _plain(name: str) -> str:
    """A class name without case and punctuation: a folder cannot be called T-shirt/top.

    >>> _plain("T-shirt/top") == _plain("t-shirt_TOP")
    True
    """
    return " ".join("".join(letter if letter.isalnum() else " " for letter in name.casefold()).split())


def _classified(subject: Subject, outputs: Outputs, dataset: Dataset) -> tuple[float | None, float | None]:
    """Accuracy and calibration error of the subject's classifier, if it knows all classes of the data."""
    if isinstance(subject, RawPixels) or unknown_classes(subject.card, dataset):
        return None, None
    labels = _class_numbers(subject.card, dataset)[dataset.labels]
    probabilities = metrics.softmax(outputs.logits, subject.card.temperature)
    return (
        metrics.accuracy(probabilities.argmax(axis=1), labels),
        metrics.expected_calibration_error(probabilities, labels),
    )


def _among_themselves(embeddings: Vectors, labels: Labels, progress: Progress) -> Retrieval:
    return retrieval(embeddings, labels, embeddings, labels, leave_one_out=True, progress=progress)


def _evaluation(protocol: str, found: Retrieval, classified: tuple[float | None, float | None], n: int) -> Evaluation:
    return Evaluation(protocol=protocol, accuracy=classified[0], ece=classified[1], n=n, **vars(found))


def _check_labelled(*parts: Dataset) -> None:
    for part in parts:
        if not part.labelled:
            raise DataError(
                f"{np.count_nonzero(part.labels == UNLABELLED):,} of the {len(part):,} images of {part.name} have no"
                " class; put each picture into a sub-folder named like its class."
            )


class _Steps:
    """One progress for several pieces of work, one after another."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._before = progress, total, 0

    def next(self, size: int) -> Progress:
        """The progress of the next piece, `size` long."""
        before, self._before = self._before, self._before + size

        def report(done: int, _: int, /) -> None:
            self._progress(before + done, self._total)

        return report
