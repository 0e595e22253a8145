"""Measures of classifiers and of searches: pure NumPy, each with its formula and an example that fits by hand."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def accuracy(predicted: Labels, labels: Labels) -> float:
    """Share of right answers: mean of [predicted_i = label_i]. Both (n,); n = 0 gives nan.

    >>> accuracy(np.array([1, 0, 2, 2]), np.array([1, 0, 2, 1]))
    0.75
    """
    return float(np.mean(predicted == labels)) if len(labels) else float("nan")


def confusion_matrix(predicted: Labels, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
    """(classes, classes) int64: row = true class, column = predicted class, entry = how many.

    >>> confusion_matrix(np.array([1, 0, 1]), np.array([1, 0, 0]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return (
        np.bincount(labels * classes + predicted, minlength=classes * classes)
        .reshape(classes, classes)
        .astype(np.int64)
    )


@dataclass(frozen=True)
class PerClass:
    """Measures of each class, all (classes,) float64; nan where nothing was answered so, or is so."""

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]


def per_class(confusion: npt.NDArray[np.int64]) -> PerClass:
    """Of a `confusion_matrix` c: precision c_kk / sum_i c_ik, recall c_kk / sum_j c_kj, and F1 = 2 c_kk / (sum_i c_ik +
    sum_j c_kj), their harmonic mean.

    >>> found = per_class(np.array([[3, 1], [0, 2]]))
    >>> found.precision.tolist() == [1.0, 2 / 3], found.recall.tolist() == [0.75, 1.0]
    (True, True)
    >>> found.f1.tolist() == [6 / 7, 4 / 5]
    True
    """
    right = np.diagonal(confusion).astype(np.float64)
    answered, true = confusion.sum(axis=0), confusion.sum(axis=1)

    def share(part: npt.NDArray[np.float64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        shares: npt.NDArray[np.float64] = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
        return shares

    return PerClass(share(right, answered), share(right, true), share(2 * right, answered + true))


def precision_at_1(neighbour_labels: Labels, query_labels: Labels) -> float:
    """Share of queries whose nearest neighbour has their class. Both (n,).

    >>> precision_at_1(np.array([3, 3, 5]), np.array([3, 4, 5])) == 2 / 3
    True
    """
    return accuracy(neighbour_labels, query_labels)


def r_precision(ranked: Flags, relevant: int) -> float:
    """Of one query, the share of its class among its R best: (1 / R) * sum_{i <= R} rel(i).

    ranked: (n,) bool, rel(1), rel(2), ...: whether each item of the gallery, best first, has the query's class; its
    first R are enough. relevant: R, how many items of the gallery have that class, the query itself not counted.
    R = 0 (a class that the gallery lacks) has no value and gives nan: the mean over queries leaves it out.

    >>> r_precision(np.array([True, False, True, True]), 3) == 2 / 3
    True
    """
    return float(np.count_nonzero(ranked[:relevant]) / relevant) if relevant else float("nan")


def map_at_r(ranked: Flags, relevant: int) -> float:
    """Of one query, the precision at each hit among its R best: (1 / R) * sum_{i <= R} P(i) * rel(i), where P(i) is the
    share of hits among the first i (Musgrave, Belongie, Lim 2020, arXiv 2003.08505). The mean over queries is MAP@R.

    ranked, relevant, and R = 0: as in `r_precision`.

    >>> map_at_r(np.array([True, False, True, True]), 3) == (1 / 1 + 2 / 3) / 3
    True
    """
    return _precision_at_hits(ranked[:relevant]) / relevant if relevant else float("nan")


def map_at_k(ranked: Flags, k: int = 100) -> float:
    """Of one query, (1 / k) * sum_{i <= k} P(i) * rel(i), P(i) as in `map_at_r`; the mean over queries is MAP@k.

    The sum is divided by k, never by the hits found: a lone hit at the top of a poor list is no perfect answer. So
    less than k items of the query's class in the gallery keep it below 1. ranked: (n,) bool, best first.

    >>> map_at_k(np.array([True, False, True, True]), k=2)
    0.5
    """
    return _precision_at_hits(ranked[:k]) / k


def _precision_at_hits(ranked: Flags) -> float:
    """Sum of P(i) * rel(i): the j-th hit, at place i, has precision j / i."""
    places = np.flatnonzero(ranked) + 1
    return float((np.arange(1, len(places) + 1) / places).sum())


def binary_cross_entropy(probabilities: Floats, same: Flags) -> float:
    """Mean of -log p where `same`, of -log (1 - p) elsewhere, in nats. Both (n,); n = 0 gives nan.

    Probabilities are kept within 1e-7 and 1 - 1e-7, as Keras does: a wrong answer of 0 or 1 costs 16.1, not infinity.

    >>> round(binary_cross_entropy(np.array([0.75, 0.5]), np.array([True, False])), 6)  # (-log 0.75 - log 0.5) / 2
    0.490415
    """
    inside = np.clip(np.asarray(probabilities, np.float64), 1e-7, 1 - 1e-7)
    return float(np.mean(-np.log(np.where(same, inside, 1 - inside)))) if len(inside) else float("nan")


def mean_absolute_error(probabilities: Floats, same: Flags) -> float:
    """Mean of |p_i - [same_i]|. Both (n,); n = 0 gives nan.

    >>> mean_absolute_error(np.array([0.75, 0.5]), np.array([True, False]))
    0.375
    """
    return float(np.mean(np.abs(np.asarray(probabilities, np.float64) - same))) if len(same) else float("nan")


def softmax(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """exp(z_i / T) / sum_j exp(z_j / T) along the last axis, in float64.

    >>> softmax(np.array([0.0, np.log(3.0)])).round(6).tolist()
    [0.25, 0.75]
    """
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def energy(logits: Floats) -> npt.NDArray[np.float64]:
    """How much a classifier finds of what it knows: log(sum_i exp(z_i)) of each row of logits (n, classes), (n,)
    float64. It is the negative of the free energy at temperature 1 (Liu et al. 2020, arXiv 2010.03759): pictures like
    those that the classifier was trained on tend to have more of it. classes = 0 raises ValueError.

    >>> energy(np.array([[0.0, np.log(3.0)], [-1000.0, 1000.0]])).round(6).tolist()  # log 4; no overflow
    [1.386294, 1000.0]
    """
    exact = np.asarray(logits, np.float64)
    largest = exact.max(axis=1)
    sums: npt.NDArray[np.float64] = largest + np.log(np.exp(exact - largest[:, None]).sum(axis=1))
    return sums


def auroc(positive: Floats, negative: Floats) -> float:
    """The probability that a positive has a higher score than a negative, equal scores counting half: the area under
    the receiver operating characteristic (Hanley and McNeil 1982). positive (p,), negative (n,); p or n = 0 gives nan.

    >>> auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))  # of four pairs three are right, one is equal
    0.875
    """
    if not len(positive) or not len(negative):
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(np.mean(below) / (2 * len(negative)))


def negative_log_likelihood(logits: Floats, labels: Labels, temperature: float = 1.0) -> float:
    """Mean of -log p(label_i), in nats. logits (n, classes), labels (n,).

    >>> round(negative_log_likelihood(np.array([[0.0, np.log(3.0)]]), np.array([1])), 6)  # -log 0.75
    0.287682
    """
    scaled = np.asarray(logits, np.float64) / temperature
    return float(np.mean(energy(scaled) - scaled[np.arange(len(labels)), labels]))


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The temperature T that minimises the negative log likelihood (Guo et al. 2017, arXiv 1706.04599), within 0.05 to
    20.

    logits (n, classes) and labels (n,) come from data that training has not seen. Golden-section search on log T: the
    loss has one minimum there.

    >>> logits = np.array([[2.0, 0.0]] * 4)
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 3), round(float(2 / np.log(3)), 3)
    (1.82, 1.82)
    """
    low, high = np.log(0.05), np.log(20.0)
    golden = (np.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if negative_log_likelihood(logits, labels, float(np.exp(left))) < negative_log_likelihood(
            logits, labels, float(np.exp(right))
        ):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def expected_calibration_error(probabilities: Floats, labels: Labels, bins: int = 15) -> float:
    """Sum over bins of share * |accuracy - mean probability| of the top answer, bins of equal mass (Nixon et al. 2019).

    probabilities (n, classes), labels (n,).

    >>> expected_calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]), bins=1)
    0.0
    """
    found = calibration_bins(probabilities, labels, bins)
    shares = found.counts / max(1, int(found.counts.sum()))
    return float(np.sum(shares * np.abs(found.accuracy - found.confidence))) if len(labels) else 0.0


@dataclass(frozen=True)
class CalibrationBins:
    """Answers in order of their probability, in bins: mean probability, share of right ones, how many; all (bins,)."""

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


def calibration_bins(probabilities: Floats, labels: Labels, bins: int = 15) -> CalibrationBins:
    """Of the top answers, in so many bins of equal mass, empty ones left out: what a reliability diagram shows.

    probabilities (n, classes), labels (n,).

    >>> found = calibration_bins(np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 1]), bins=2)
    >>> found.confidence.tolist(), found.accuracy.tolist(), found.counts.tolist()
    ([0.5, 0.75], [0.0, 1.0], [1, 1])
    """
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    parts = [part for part in np.array_split(np.argsort(top, kind="stable"), bins) if len(part)]
    return CalibrationBins(
        confidence=np.array([top[part].mean() for part in parts], np.float64),
        accuracy=np.array([right[part].mean() for part in parts], np.float64),
        counts=np.array([len(part) for part in parts], np.int64),
    )
