"""The formulas again, by plain loops. (Each metric's docstring holds an example by hand, run as a doctest.)"""

import math

import numpy as np
import pytest

from vitrine import metrics


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(200, 5)) * 3


@pytest.fixture
def labels(logits: np.ndarray) -> np.ndarray:
    noisy: np.ndarray = (logits + np.random.default_rng(1).normal(size=logits.shape) * 4).argmax(axis=1)
    return noisy


def test_softmax_by_loops(logits: np.ndarray) -> None:
    for row, answer in zip(logits, metrics.softmax(logits, 2.0), strict=True):
        total = sum(math.exp(z / 2) for z in row)
        assert answer == pytest.approx([math.exp(z / 2) / total for z in row])


def test_softmax_of_huge_logits_is_finite() -> None:
    assert metrics.softmax(np.array([1e4, 0.0, -1e4])).tolist() == [1.0, 0.0, 0.0]


def test_negative_log_likelihood_by_loops(logits: np.ndarray, labels: np.ndarray) -> None:
    shares = metrics.softmax(logits)
    expected = sum(-math.log(shares[i, label]) for i, label in enumerate(labels)) / len(labels)
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(expected)


def test_temperature_is_the_best_of_a_grid(logits: np.ndarray, labels: np.ndarray) -> None:
    best = metrics.negative_log_likelihood(logits, labels, metrics.fit_temperature(logits, labels))
    assert all(best <= metrics.negative_log_likelihood(logits, labels, t) + 1e-9 for t in np.geomspace(0.05, 20, 200))


def test_confusion_matrix_by_loops(logits: np.ndarray, labels: np.ndarray) -> None:
    predicted = logits.argmax(axis=1)
    matrix = metrics.confusion_matrix(predicted, labels, 5)
    for truth in range(5):
        for answer in range(5):
            assert matrix[truth, answer] == sum((labels == truth) & (predicted == answer))
    assert metrics.accuracy(predicted, labels) == np.trace(matrix) / matrix.sum()


def test_calibration_error_by_loops(logits: np.ndarray, labels: np.ndarray) -> None:
    shares = metrics.softmax(logits)
    order = sorted(range(200), key=lambda i: shares[i].max())
    expected = 0.0
    for first in range(0, 200, 20):
        part = order[first : first + 20]
        right = sum(shares[i].argmax() == labels[i] for i in part) / 20
        expected += 20 / 200 * abs(right - sum(shares[i].max() for i in part) / 20)
    assert metrics.expected_calibration_error(shares, labels, bins=10) == pytest.approx(expected)


def test_nothing_gives_nan() -> None:
    assert math.isnan(metrics.accuracy(np.empty(0, np.int64), np.empty(0, np.int64)))


@pytest.mark.parametrize("relevant", [1, 7, 30])
def test_retrieval_measures_by_loops(relevant: int) -> None:
    ranked = np.random.default_rng(relevant).random(80) < 0.4
    hits = sum(bool(hit) for hit in ranked[:relevant])
    assert metrics.r_precision(ranked, relevant) == hits / relevant

    def precision(i: int) -> float:
        return sum(bool(hit) for hit in ranked[:i]) / i

    expected = sum(precision(i) for i in range(1, relevant + 1) if ranked[i - 1]) / relevant
    assert metrics.map_at_r(ranked, relevant) == pytest.approx(expected)
    expected = sum(precision(i) for i in range(1, 31) if ranked[i - 1]) / 30
    assert metrics.map_at_k(ranked, 30) == pytest.approx(expected)


def test_map_at_k_is_divided_by_k_whatever_there_is() -> None:
    assert metrics.map_at_k(np.ones(3, bool)) == pytest.approx(3 / 100)
    assert metrics.map_at_k(np.ones(200, bool)) == 1
    assert metrics.map_at_k(np.zeros(3, bool)) == 0


def test_a_query_without_its_class_in_the_gallery_has_no_value() -> None:
    assert math.isnan(metrics.r_precision(np.zeros(5, bool), 0))
    assert math.isnan(metrics.map_at_r(np.zeros(5, bool), 0))


def test_pair_measures_by_loops() -> None:
    random = np.random.default_rng(0)
    probabilities, same = random.random(50), random.random(50) < 0.5
    loss = sum(-math.log(p if alike else 1 - p) for p, alike in zip(probabilities, same, strict=True)) / 50
    assert metrics.binary_cross_entropy(probabilities, same) == pytest.approx(loss)
    error = sum(abs(p - alike) for p, alike in zip(probabilities, same, strict=True)) / 50
    assert metrics.mean_absolute_error(probabilities, same) == pytest.approx(error)
    assert metrics.binary_cross_entropy(np.array([0.0]), np.array([True])) == pytest.approx(-math.log(1e-7))


def test_energy_by_loops(logits: np.ndarray) -> None:
    assert metrics.energy(logits) == pytest.approx([math.log(sum(math.exp(z) for z in row)) for row in logits])
    assert metrics.energy(logits + 7) == pytest.approx(metrics.energy(logits) + 7)


def test_auroc_by_loops_and_by_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    positive, negative = random.integers(2, 9, 60) / 4, random.integers(0, 7, 40) / 4  # many are equal
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    found = metrics.auroc(positive, negative)
    assert found == pytest.approx(sum(pairs) / len(pairs))
    truth = np.repeat([1, 0], [60, 40])
    assert found == pytest.approx(roc_auc_score(truth, np.concatenate([positive, negative])))
    assert metrics.auroc(negative, positive) == pytest.approx(1 - found)
    assert math.isnan(metrics.auroc(positive, negative[:0]))
    assert math.isnan(metrics.auroc(positive[:0], negative))
