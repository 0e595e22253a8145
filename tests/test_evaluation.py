"""The protocols against plain loops, against pytorch-metric-learning, and at their edges."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vitrine import evaluation
from vitrine.datasets import Splits, drawn_garments
from vitrine.encoder import Encoder
from vitrine.errors import DataError, InputError
from vitrine.evaluation import RawPixels, Retrieval
from vitrine.similarity import Similarity

Vectors = npt.NDArray[np.float32]


def unit(random: np.random.Generator, n: int, d: int = 8) -> Vectors:
    vectors = random.normal(size=(n, d)).astype(np.float32)
    normalised: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


def by_loops(queries: Any, query_labels: Any, gallery: Any, gallery_labels: Any, alone: bool = False) -> Retrieval:
    """The four measures as their papers put them: a stable sort per query, then sums over places."""
    rows: list[list[float]] = []
    for q, (query, label) in enumerate(zip(queries, query_labels, strict=True)):
        places = [i for i in range(len(gallery)) if not (alone and i == q)]
        scores = (gallery.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
        places.sort(key=lambda i: -float(scores[i]))
        hits = [gallery_labels[i] == label for i in places]
        r = sum(hits)
        if r:
            precisions = [sum(hits[: i + 1]) / (i + 1) if hits[i] else 0.0 for i in range(len(hits))]
            rows.append([float(hits[0]), sum(hits[:r]) / r, sum(precisions[:r]) / r, sum(precisions[:100]) / 100])
    first, r_precision, map_at_r, map_at_100 = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return Retrieval(first, r_precision, map_at_r, map_at_100, left_out=len(queries) - len(rows))


def same(found: Retrieval, expected: Retrieval) -> None:
    assert vars(found) == pytest.approx(vars(expected))


# --- retrieval


def test_nearest_neighbours_by_loops() -> None:
    random = np.random.default_rng(0)
    gallery = random.normal(size=(60, 8)).astype(np.float32)
    queries = random.normal(size=(25, 8)).astype(np.float32)
    expected = [max(range(60), key=lambda i: float(query @ gallery[i])) for query in queries]
    assert evaluation.nearest_neighbours(gallery, queries).tolist() == expected


@pytest.mark.parametrize("n", [30, 250])  # fewer and more than the 100 of MAP@100
def test_retrieval_by_loops(n: int) -> None:
    random = np.random.default_rng(n)
    gallery, queries = unit(random, n), unit(random, 40)
    labels, asked = random.integers(0, 3, n), random.integers(0, 4, 40)  # class 3 is not in the gallery
    found = evaluation.retrieval(queries, asked, gallery, labels)
    assert found.left_out == np.count_nonzero(asked == 3) > 0
    same(found, by_loops(queries, asked, gallery, labels))


def test_leave_one_out_by_loops() -> None:
    random = np.random.default_rng(1)
    vectors, labels = unit(random, 300), random.integers(0, 4, 300)
    labels[7] = 4  # the only one of its class
    found = evaluation.retrieval(vectors, labels, vectors, labels, leave_one_out=True)
    assert found.left_out == 1
    same(found, by_loops(vectors, labels, vectors, labels, alone=True))


def test_equal_scores_rank_by_place() -> None:
    """Vectors of few values: exact scores, and most of them shared, on both sides of the R-th place."""
    random = np.random.default_rng(2)
    vectors = random.integers(-1, 2, (200, 3)).astype(np.float32)
    labels = random.integers(0, 5, 200)
    found = evaluation.retrieval(vectors, labels, vectors, labels, leave_one_out=True)
    same(found, by_loops(vectors, labels, vectors, labels, alone=True))
    nothing = np.zeros_like(vectors)
    same(
        evaluation.retrieval(nothing, labels, nothing, labels), by_loops(nothing, labels, nothing, labels)
    )  # a model that has collapsed


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    vectors, labels = unit(random, 600), random.integers(0, 6, 600)
    vectors[300:] = vectors[:300]  # copies have equal scores in every block
    whole = evaluation.retrieval(vectors, labels, vectors, labels, leave_one_out=True)
    again = evaluation.retrieval(vectors, labels, vectors, labels, leave_one_out=True)
    assert whole == again
    for block in (7, 600, 5000):
        monkeypatch.setattr(evaluation, "BLOCK", block)
        assert evaluation.retrieval(vectors, labels, vectors, labels, leave_one_out=True) == whole


def test_progress_ends_at_the_total() -> None:
    random = np.random.default_rng(4)
    vectors, labels = unit(random, 600), random.integers(0, 6, 600)
    told: list[tuple[int, int]] = []
    evaluation.retrieval(vectors, labels, vectors, labels, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 600) for done in (128, 256, 384, 512, 600)]


@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.slow
def test_retrieval_as_pytorch_metric_learning_has_it(real_splits: Splits, encoder: Encoder) -> None:
    from pytorch_metric_learning.utils import accuracy_calculator  # here, for it takes torch along

    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = accuracy_calculator.AccuracyCalculator(include=names, k="max_bin_count")
    test, train = real_splits.test[:600], real_splits.train[:2000]
    queries, gallery = encoder.run(test.images).embeddings, encoder.run(train.images).embeddings
    theirs = calculator.get_accuracy(queries, test.labels, gallery, train.labels)
    ours = evaluation.retrieval(queries, test.labels, gallery, train.labels)
    assert [ours.precision_at_1, ours.r_precision, ours.map_at_r] == pytest.approx([theirs[name] for name in names])
    theirs = calculator.get_accuracy(gallery, train.labels)
    ours = evaluation.retrieval(gallery, train.labels, gallery, train.labels, leave_one_out=True)
    assert [ours.precision_at_1, ours.r_precision, ours.map_at_r] == pytest.approx([theirs[name] for name in names])


def test_searches_without_an_answer_are_refused() -> None:
    vectors = unit(np.random.default_rng(0), 4)
    one, each = np.zeros(4, np.int64), np.arange(4)
    with pytest.raises(InputError, match="nothing to tell apart"):
        evaluation.retrieval(vectors, one, vectors, one, leave_one_out=True)
    with pytest.raises(InputError, match="No image has another one of its class"):
        evaluation.retrieval(vectors, each, vectors, each, leave_one_out=True)
    with pytest.raises(InputError, match="No image has another one of its class"):
        evaluation.retrieval(vectors, each, vectors[:0], each[:0])


# --- protocols


def test_query_gallery_by_loops(drawn: Splits, encoder: Encoder) -> None:
    told: list[tuple[int, int]] = []
    measured = evaluation.query_gallery(encoder, drawn, lambda done, total: told.append((done, total)))
    gallery, outputs = encoder.run(drawn.train.images).embeddings, encoder.run(drawn.test.images)
    right = sum(int(row.argmax()) == label for row, label in zip(outputs.logits, drawn.test.labels, strict=True))
    expected = by_loops(outputs.embeddings, drawn.test.labels, gallery, drawn.train.labels)
    assert (measured.protocol, measured.accuracy, measured.n) == ("query-gallery", right / 50, 50)
    assert measured.ece is not None
    assert 0 <= measured.ece <= 1
    same(Retrieval(**{key: getattr(measured, key) for key in vars(expected)}), expected)
    assert (measured.success_at_1, measured.pair_loss) == (None, None)
    assert told == sorted(told)
    assert told[-1] == (300, 300)
    quick = evaluation.first_look(encoder, drawn.test, gallery, drawn.train.labels)
    assert (quick.accuracy, quick.precision_at_1, quick.n) == (measured.accuracy, measured.precision_at_1, 50)


def test_leave_one_out_and_unseen_classes(drawn: Splits, encoder: Encoder) -> None:
    part = drawn.train[np.flatnonzero(np.isin(drawn.train.labels, [2, 5]))]
    whole = evaluation.leave_one_out(encoder, part)
    unseen = evaluation.unseen_classes(encoder, drawn.train, [5, 2])
    assert whole.accuracy is not None
    assert unseen == replace(whole, protocol="unseen-classes", accuracy=None, ece=None)
    with pytest.raises(InputError, match="classes 0 to 9"):
        evaluation.unseen_classes(encoder, drawn.train, [5, 10])
    with pytest.raises(InputError, match="nothing to tell apart"):
        evaluation.unseen_classes(encoder, drawn.train, [5])


def test_raw_pixels_know_no_classes(drawn: Splits) -> None:
    measured = evaluation.query_gallery(RawPixels(), drawn)
    assert (measured.accuracy, measured.ece) == (None, None)
    assert measured.map_at_r is not None
    black = RawPixels().run(np.zeros((1, 28, 28, 1), np.uint8))
    assert black.embeddings.tolist() == [[0.0] * 784]
    assert black.logits.shape == (1, 0)


def test_classes_are_matched_by_name(drawn: Splits, encoder: Encoder) -> None:
    """The data's own order and number of classes, in three languages and any case."""
    part = drawn.test[np.flatnonzero(np.isin(drawn.test.labels, [0, 1, 9]))]
    numbers = {0: 2, 1: 1, 9: 0}
    labels = np.array([numbers[int(label)] for label in part.labels])
    renamed = replace(part, labels=labels, class_names={"en": ("ankle BOOT", "штани", "T-shirt_top")})
    expected, found = evaluation.leave_one_out(encoder, part), evaluation.leave_one_out(encoder, renamed)
    assert evaluation.unknown_classes(encoder.card, renamed) == []
    assert (found.accuracy, found.ece) == (expected.accuracy, expected.ece)
    other = replace(renamed, class_names={"en": ("ankle boot", "hat", "T-shirt top", "wig")})
    assert evaluation.unknown_classes(encoder.card, other) == ["hat"]  # there is no picture of a wig
    found = evaluation.leave_one_out(encoder, other)
    assert (found.accuracy, found.ece) == (None, None)
    assert found.map_at_r == pytest.approx(expected.map_at_r)


def test_images_without_a_class_are_refused(drawn: Splits, encoder: Encoder) -> None:
    flat = replace(drawn.test, labels=np.full(50, -1))
    for measure in (
        lambda: evaluation.leave_one_out(encoder, flat),
        lambda: evaluation.query_gallery(encoder, Splits(drawn.train, flat)),
        lambda: evaluation.unseen_classes(encoder, flat, [1, 2]),
        lambda: evaluation.balanced_pairs(flat.labels, 10, 0),
    ):
        with pytest.raises(DataError, match="class"):
            measure()


# --- find the original


def test_alter_keeps_the_look_and_follows_its_generator() -> None:
    image = drawn_garments.draw(9, 3)
    altered = [evaluation.alter(image, np.random.default_rng([0, place])) for place in (0, 0, 1)]
    assert {(each.shape, each.dtype.name) for each in altered} == {((28, 28, 1), "uint8")}
    assert (altered[0] == altered[1]).all()
    assert (altered[0] != altered[2]).any()
    assert evaluation.alter(np.full((40, 30, 3), 200, np.uint8), np.random.default_rng(0)).shape == (40, 30, 3)


class Still:
    """A generator whose uniform draws lie at a given share of their range; no noise, the hole in the corner."""

    def __init__(self, *shares: float) -> None:
        self.shares = list(shares)

    def uniform(self, low: float, high: float) -> float:
        return low + self.shares.pop(0) * (high - low)

    def integers(self, low: int, high: int) -> int:
        return low

    def normal(self, mean: float, sd: float, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        return np.zeros(shape)


def altered(image: Any, *shares: float) -> npt.NDArray[np.uint8]:
    return evaluation.alter(image, Still(*shares))  # type: ignore[arg-type]  # it wants a whole Generator; Still has the three draws that it makes


def test_alter_step_by_step() -> None:
    """angle, window's side, left, top, brightness, as shares of their ranges."""
    image = drawn_garments.draw(8, 1)
    plain = image.copy()
    plain[:5, :5] = 0
    assert (altered(image, 0.5, 1, 0, 0, 0.5) == plain).all()  # only the hole
    dark = altered(image, 0.5, 1, 0, 0, 0)
    assert dark[10, 10] == round(int(image[10, 10, 0]) * 0.8)
    dot = np.zeros((28, 28, 1), np.uint8)
    dot[14:16, 24:26] = 255
    rows, columns = np.nonzero(altered(dot, 1, 1, 0, 0, 0.5)[..., 0] > 64)
    before, after = np.arctan2(15 - 14, 25 - 14), np.arctan2(rows.mean() + 0.5 - 14, columns.mean() + 0.5 - 14)
    assert abs(abs(after - before) - np.deg2rad(15)) < 0.03
    rows, columns = np.nonzero(altered(dot, 0.5, 0, 1, 1, 0.5)[..., 0] > 64)  # the lower right window of 80 %
    assert abs(columns.mean() + 0.5 - (25 - 5.6) / 0.8) < 0.5
    assert abs(rows.mean() + 0.5 - (15 - 5.6) / 0.8) < 0.5


def test_find_original_by_loops(drawn: Splits) -> None:
    pixels = RawPixels()
    measured = evaluation.find_original(pixels, drawn, seed=3, count=30)
    gallery = pixels.run(drawn.whole().images).embeddings
    places = []
    for i in sorted(np.random.default_rng(3).choice(50, 30, replace=False)):
        query = evaluation.alter(drawn.test.images[i], np.random.default_rng([3, i]))
        asked = pixels.run(query[None]).embeddings[0]
        scores = (gallery.astype(np.float64) @ asked.astype(np.float64)).astype(np.float32)
        places.append(sorted(range(250), key=lambda g: -float(scores[g])).index(200 + i))
    assert measured.success_at_1 == sum(place < 1 for place in places) / 30
    assert measured.success_at_10 == sum(place < 10 for place in places) / 30
    assert (measured.n, measured.map_at_r) == (30, None)
    alone = evaluation.find_original(pixels, Splits(drawn.train[:0], drawn.test), seed=3, count=1000)
    assert alone.n == 50


def test_a_copy_that_comes_earlier_ranks_before_the_original(drawn: Splits) -> None:
    twice = Splits(drawn.test, drawn.test)
    assert evaluation.find_original(RawPixels(), twice).success_at_1 == 0


# --- pairs


def test_balanced_pairs() -> None:
    labels = np.random.default_rng(0).integers(0, 7, 500)
    labels[3] = 7  # has no partner of its class, but strangers
    left, right, alike = evaluation.balanced_pairs(labels, 10_000, 0)
    assert np.count_nonzero(alike) == 5000
    assert ((labels[left] == labels[right]) == alike).all()
    assert (left != right).all()
    for side in (left, right):  # everybody is asked for, about as often as anybody else
        counts = np.bincount(side, minlength=500)
        assert counts.min() > 0
        assert counts.max() < 60
    again = evaluation.balanced_pairs(labels, 10_000, 0)
    assert all((a == b).all() for a, b in zip((left, right, alike), again, strict=True))
    assert (evaluation.balanced_pairs(labels, 10_000, 1)[0] != left).any()


def test_partners_are_drawn_evenly() -> None:
    """Five images in two classes: left over the images, right over the partners that this left has."""
    left, right, alike = evaluation.balanced_pairs(np.array([1, 0, 1, 0, 1]), 48_000, 0)
    for which, partners in ((alike, (2, 1, 2, 1, 2)), (~alike, (2, 3, 2, 3, 2))):
        for image, expected in enumerate(partners):
            mine = which & (left == image)
            assert mine.sum() / which.sum() == pytest.approx(0.2, rel=0.1)
            shares = np.unique(right[mine], return_counts=True)[1] / mine.sum()
            assert shares == pytest.approx(np.full(expected, 1 / expected), rel=0.1)


@pytest.mark.parametrize("labels", [[], [0], [0, 0, 0], [0, 1, 2], [0, 0, 1, -1]])
def test_impossible_pairs(labels: list[int]) -> None:
    with pytest.raises(DataError, match="Pairs need"):
        evaluation.balanced_pairs(np.array(labels, np.int64), 10, 0)


def test_pairs_by_loops(drawn: Splits, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PAIRS", 60)
    table = Similarity("cosine", (0.0, 1.0), (0.1, 0.9))
    comparing = Encoder.from_content(encoder.content, replace(encoder.card, similarity=table))
    measured = evaluation.pairs(comparing, drawn.test, seed=5)
    left, right, alike = evaluation.balanced_pairs(drawn.test.labels, 60, 5)
    embeddings = encoder.run(drawn.test.images).embeddings
    cosines = (embeddings[left] * embeddings[right]).sum(axis=1)
    expected = evaluation.pair_task(0.1 + 0.8 * np.clip(cosines, 0, 1), alike)
    assert measured.n == 60
    assert measured.pair_loss == pytest.approx(expected.pair_loss, rel=1e-4)
    assert measured.pair_error == pytest.approx(expected.pair_error, rel=1e-4)


def test_pairs_need_a_table(drawn: Splits, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PAIRS", 60)
    mute = Encoder.from_content(encoder.content, replace(encoder.card, similarity=None))
    with pytest.raises(InputError, match="cannot compare"):
        evaluation.pairs(mute, drawn.test)
    with pytest.raises(InputError, match="no probability"):
        evaluation.pairs(RawPixels(), drawn.test)
