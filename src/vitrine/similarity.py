"""How alike two pictures are, as one number, and what that number says: the probability that both show the same class.

That probability is for pairs that are as often of the same class as not: it is fitted on such pairs. Of two garments
taken at random from ten classes one pair in ten is of the same class, and fewer of the pairs at any score are.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from vitrine import metrics
from vitrine.errors import DataError, InputError
from vitrine.metrics import Floats

Measure = Literal["cosine", "class-product", "class-distance"]
DISTANCES = ("class-distance",)
"""The measures that are smaller for what is more alike."""

KNOTS = 64
"""At most so many points has a table that `fit` makes."""


@dataclass(frozen=True)
class Similarity:
    """A table from the number that says how alike two pictures are to the probability that both show the same class.

    measure: "cosine", "class-product" or "class-distance": see `cosine`, `class_product`, `class_distance`. scores: at
    least two, strictly increasing. probabilities: one per score, 0 to 1, monotone; they never fall, but for a distance.
    Between two scores the probability is linear, outside them constant.
    """

    measure: Measure
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.measure not in get_args(Measure):
            raise InputError(
                f"A similarity table has the measure {self.measure!r}; allowed are"
                f" {', '.join(map(repr, get_args(Measure)))}."
            )
        if len(self.scores) != len(self.probabilities) or len(self.scores) < 2:
            raise InputError(
                f"A similarity table needs as many scores as probabilities, at least 2; it has {len(self.scores)} and"
                f" {len(self.probabilities)}."
            )
        if not all(math.isfinite(score) for score in self.scores) or not _rising(self.scores, strictly=True):
            raise InputError("The scores of a similarity table must be finite and strictly increasing.")
        if not all(0 <= probability <= 1 for probability in self.probabilities):  # refuses NaN, too
            raise InputError("The probabilities of a similarity table must be within 0 to 1.")
        distance = self.measure in DISTANCES
        falls = distance and _rising(self.probabilities[::-1])
        if not falls and not _rising(self.probabilities):
            wanted = "be monotone" if distance else "never fall"
            raise InputError(f"The probabilities of a similarity table for {self.measure} must {wanted}.")

    def probability(self, scores: Floats) -> npt.NDArray[np.float64]:
        """Scores (n,) of pairs as the probabilities (n,) float64 that both show the same class.

        >>> Similarity("cosine", (0.0, 1.0), (0.1, 0.9)).probability(np.array([-1.0, 0.25, 1.0])).round(6).tolist()
        [0.1, 0.3, 0.9]
        """
        known, shares = np.array(self.scores), np.array(self.probabilities)
        scores = np.clip(scores, known[0], known[-1])
        at = np.clip(np.searchsorted(known, scores, side="right") - 1, 0, len(known) - 2)
        # np.interp divides the shares by the steps, which overflows where scores nearly touch
        passed = (scores - known[at]) / (known[at + 1] - known[at])
        found: npt.NDArray[np.float64] = shares[at] + passed * (shares[at + 1] - shares[at])
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "measure": self.measure,
            "scores": list(self.scores),
            "probabilities": list(self.probabilities),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Similarity":
        """A table without a measure is one of cosines, as first written.

        Raises InputError for impossible values, KeyError or TypeError for a wrong shape of the JSON.
        """
        measure = fields.get("measure", "cosine")
        return cls(measure, _numbers(fields["scores"]), _numbers(fields["probabilities"]))


def cosine(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """Inner product of embeddings (n, d) of unit length, row by row: (n,) float64, 1 for the same, 0 for nothing in
    common.

    >>> cosine(np.array([[0.6, 0.8]]), np.array([[1.0, 0.0]])).tolist()
    [0.6]
    """
    products: npt.NDArray[np.float64] = np.einsum("nd,nd->n", left, right, dtype=np.float64)
    return np.clip(products, -1.0, 1.0)  # rounding may leave a little more


def class_product(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """The probability that two draws fall on one class, row by row: sum_i p_i q_i, p and q the softmax of the logits
    (n, classes) at temperature 1. (n,) float64, 0 to 1.

    >>> unsure = np.array([[0.0, 0.0], [50.0, 0.0]])
    >>> class_product(unsure, unsure).round(6).tolist()
    [0.5, 1.0]
    """
    products: npt.NDArray[np.float64] = np.einsum(
        "nc,nc->n", metrics.softmax(left), metrics.softmax(right), dtype=np.float64
    )
    return np.clip(products, 0.0, 1.0)


def class_distance(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """Euclidean distance of the class probabilities, row by row: sqrt(max(sum_i (p_i - q_i)^2, 1e-7)), p and q the
    softmax of the logits (n, classes) at temperature 1. (n,) float64, from 0.0003 for the same to 1.414.

    The distance layer of the Siamese network in keras.io/examples/vision/siamese_contrastive; 1e-7 is Keras's epsilon.

    >>> sure = np.array([[50.0, 0.0], [0.0, 50.0]])
    >>> class_distance(sure, sure[[0, 0]]).round(6).tolist()
    [0.000316, 1.414214]
    """
    squares = (metrics.softmax(left) - metrics.softmax(right)) ** 2
    distances: npt.NDArray[np.float64] = np.sqrt(np.maximum(squares.sum(axis=1), 1e-7))
    return distances


def fit(scores: Floats, same: npt.NDArray[np.bool_], measure: Measure = "cosine") -> Similarity:
    """The table for pairs with these scores (n,), of which `same` (n,) are of the same class; measure: no distance.

    Isotonic regression (Zadrozny and Elkan 2002, KDD) gives the function with the least squared error among all that
    never fall, in steps; each step counts at the mean score of its pairs, and between two of these points the function
    is linear (centred isotonic regression: Oron and Flournoy 2017, arXiv 1701.05964). One pair of the same class at the
    lowest score and one of different classes at the highest are added to what is given, so every probability is within
    1/(n+2) and 1-1/(n+2), and no log loss is infinite.
    Where there are more than KNOTS points, those are kept that lie at even distances along the curve: share of pairs
    up to the point, plus probability. So they lie close where pairs are many and where the probability rises.
    Needs scikit-learn, which comes with the [train] extra. Raises DataError when there is nothing to fit: pairs of one
    kind only, or one score for all.
    """
    from sklearn.isotonic import IsotonicRegression

    if not len(scores) or not np.isfinite(scores).all() or same.all() or not same.any():
        raise DataError("A similarity table needs finite scores of pairs of the same class and of different classes.")
    rounded = np.round(np.asarray(scores, np.float64), 6)
    ends = rounded.min(), rounded.max()
    if ends[0] == ends[1]:
        raise DataError(f"All pairs have the score {ends[0]:g}; a similarity table needs at least two scores.")
    x, y = np.append(rounded, ends), np.append(same, [True, False]).astype(np.float64)
    stepped = IsotonicRegression().fit_transform(x, y).round(9)  # (n + 2,)
    steps, step_of, sizes = np.unique(stepped, return_inverse=True, return_counts=True)
    if len(steps) == 1:  # the scores say nothing
        return Similarity(measure, tuple(map(float, ends)), tuple(steps.repeat(2).tolist()))
    # x lies on a grid of 1e-6, so the means of two steps are at least as far apart and stay apart when rounded
    centres = (np.bincount(step_of, weights=x) / sizes).round(6)
    if len(steps) > KNOTS:
        way = np.cumsum(sizes) / len(x) + steps
        kept = np.unique(np.searchsorted(way, np.linspace(way[0], way[-1], KNOTS)))
        centres, steps = centres[kept], steps[kept]
    return Similarity(measure, tuple(centres.tolist()), tuple(steps.tolist()))


def _rising(values: tuple[float, ...], strictly: bool = False) -> bool:
    return all(low < high or (low == high and not strictly) for low, high in pairwise(values))


def _numbers(values: Any) -> tuple[float, ...]:
    """A JSON array of numbers. Raises TypeError, or InputError for a number too large for a float."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise TypeError("not a list of numbers")
    try:
        return tuple(float(value) for value in values)
    except OverflowError as error:
        raise InputError("A number in a similarity table is too large.") from error
