"""Classes learnt from a handful of pictures, without training: docs/learning.md. NumPy only.

sidecar.py  where they are kept

How a class is told from everything else: by the linear function of the embedding that comes closest to 1 for the
pictures of the class and to -1 for the others, those of the background; squares, both sides counting as much,
regularised. That is Fisher's discriminant, with a covariance that is shrunk.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrine import metrics
from vitrine.errors import InputError
from vitrine.learning.sidecar import FEWEST_OTHERS, Learnt
from vitrine.metrics import Floats

SHRINKAGE = 0.3
"""Added to every direction's variance, as a share of their mean."""

_OTHERS, _BETWEEN = 0.95, 0.5
"""A picture is as probably of the class as not at this place between the score that this share of the others do not
reach and the mean score of the class."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """Tells what a model has learnt. names: of the classes. weights (classes, d), offsets (classes,): of the functions
    from an embedding to a log-odds, 0 where the class is as probable as everything else.
    """

    names: tuple[str, ...]
    weights: Numbers
    offsets: Numbers

    def log_odds(self, embeddings: Floats) -> Numbers:
        """(n, d) -> (n, classes): of each class, against everything that was not learnt."""
        found: Numbers = embeddings.astype(np.float64) @ self.weights.T + self.offsets
        return found


def judge(learnt: Learnt) -> Judge:
    """How the learnt classes, at least one, are told: each from the pictures of other things, and from the rest."""
    found = []
    for one in learnt.classes:
        rivals = [other.embeddings for other in learnt.classes if other is not one]
        found.append(discriminant(one.embeddings, np.concatenate([learnt.others, *rivals])))
    weights = np.stack([weights for weights, _ in found])
    return Judge(learnt.names, weights, np.array([offset for _, offset in found]))


def discriminant(shown: Floats, others: Floats) -> tuple[Numbers, float]:
    """Weights (d,) and offset of the log-odds that an embedding is of the class of `shown` (k, d) and not one of
    `others` (m, d).

    Regularised least squares onto 1 and -1. Where the log-odds are 0, and how steep they are, is decided by what each
    picture scores when it is left out of the fit (the usual formula with the leverages).
    """
    counts = len(shown), len(others)
    rows = np.concatenate([shown, others]).astype(np.float64)
    target, share = np.repeat([1.0, -1.0], counts), np.repeat([0.5 / counts[0], 0.5 / counts[1]], counts)
    middle = share @ rows
    centred = rows - middle
    spread = (centred * share[:, None]).T @ centred
    spread += max(SHRINKAGE * np.trace(spread) / len(spread), 1e-12) * np.eye(len(spread))
    solved = np.linalg.solve(spread, centred.T).T  # (k + m, d)
    weights = solved.T @ (share * target)
    leverage = np.minimum(share * (1 + (solved * centred).sum(axis=1)), 0.99)
    left_out = (centred @ weights - leverage * target) / (1 - leverage)
    scores, other_scores = left_out[: counts[0]], left_out[counts[0] :]
    usual = float(np.quantile(other_scores, _OTHERS))
    middle_score = usual + _BETWEEN * max(0.0, float(scores.mean()) - usual)
    slope = _slope(scores - middle_score, other_scores - middle_score)
    return slope * weights, -slope * float(middle @ weights + middle_score)


def join(logits: Floats, log_odds: Numbers) -> Numbers:
    """Probabilities (n, classes + learnt), from logits (n, classes), divided by the temperature, of the model's own
    classes, and from the log-odds (n, learnt). Each learnt class has its odds against all that was not learnt; the
    probabilities of the model's own classes shrink as a whole.

    >>> join(np.array([[0.0, 0.0]]), np.array([[0.0]])).tolist()
    [[0.25, 0.25, 0.5]]
    """
    shares = metrics.softmax(np.concatenate([np.zeros((len(log_odds), 1)), log_odds], axis=1))
    own = metrics.softmax(logits) if logits.shape[1] else np.empty((len(logits), 0))
    return np.concatenate([own * shares[:, :1], shares[:, 1:]], axis=1)


def few_shot(
    embeddings: Floats,
    labels: npt.NDArray[np.int64],
    new_class: int,
    background: Floats,
    shots: int = 5,
    draws: int = 20,
    seed: int = 0,
) -> tuple[float, float]:
    """Recall and precision with which a class is told after so many of its pictures; means over random draws.

    embeddings (n, d), labels (n,): all pictures that are asked about, except those learnt from. background (m, d): as a
    model file holds it; of pictures that are not asked about, and not of the class. A picture is said to be of the
    class where that is at least as probable as not. Without any such answer the precision is 0. Raises InputError where
    the class has no more pictures than are learnt from, or the background is too small.
    """
    places = np.flatnonzero(labels == new_class)
    if not 2 <= shots < len(places) or len(background) < FEWEST_OTHERS:
        raise InputError(
            f"Learning from {shots} of {len(places)} pictures cannot be measured; it takes 2 or more, others to ask"
            f" about, and a background of at least {FEWEST_OTHERS}."
        )
    generator, found = np.random.default_rng(seed), []
    for _ in range(draws):
        chosen = generator.choice(places, shots, replace=False)
        weights, offset = discriminant(embeddings[chosen], background)
        asked = np.ones(len(labels), np.bool_)
        asked[chosen] = False
        said, true = (embeddings @ weights + offset >= 0)[asked], (labels == new_class)[asked]
        right = float((said & true).sum())
        found.append((right / true.sum(), right / max(1, said.sum())))
    recall, precision = np.mean(found, axis=0)
    return float(recall), float(precision)


def _slope(inside: Numbers, outside: Numbers) -> float:
    """The steepness of a logistic function through (0, 1/2) that fits scores of the class and of others best: least
    cross-entropy, both sides counting as much, with Platt's targets, which are never 0 and 1 (1999).
    """
    scale = float(np.concatenate([inside, outside]).std()) or 1.0
    slopes = np.logspace(-1, 2, 61) / scale
    sure, unsure = (len(inside) + 1) / (len(inside) + 2), 1 / (len(outside) + 2)

    def loss(scores: Numbers, target: float) -> Numbers:
        logits = slopes[:, None] * scores
        found: Numbers = (np.logaddexp(0, logits) - target * logits).mean(axis=1)
        return found

    return float(slopes[np.argmin(loss(inside, sure) + loss(outside, unsure))])
