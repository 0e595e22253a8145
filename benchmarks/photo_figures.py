"""The measures of photos.py: pure NumPy over what models answered. tests/test_photo_figures.py has each by hand."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vitrine import learning, metrics
from vitrine.learning.sidecar import Learnt, LearntClass

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

GROUPS = {
    "t-shirt": (0,),
    "pants": (1,),
    "longsleeve": (2,),
    "dress": (3,),
    "outwear": (4,),
    "shirt": (6,),
    "shoes": (5, 7, 9),
}
"""Folder of photos -> the classes of Fashion-MNIST that are right answers to it."""

OTHERS = ("hat", "shorts", "skirt")
"""Folders whose photos are none of the ten classes."""

ANSWERS = (*GROUPS, "bag")
"""What the ten classes say of a photo: the three of shoes say the same."""

ANSWER_OF_CLASS = np.array(
    [next((i for i, classes in enumerate(GROUPS.values()) if label in classes), len(GROUPS)) for label in range(10)]
)
"""(10,) int64: class of Fashion-MNIST -> index in ANSWERS."""

BINS = 15


def answers(logits: Floats) -> Labels:
    """(n, 10) -> (n,) index in ANSWERS of the class with the highest logit."""
    found: Labels = ANSWER_OF_CLASS[logits.argmax(axis=1)]
    return found


def answer_probabilities(logits: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """(n, 10) -> (n, answers): those of the three classes of shoes added up."""
    found = np.zeros((len(logits), len(ANSWERS)))
    np.add.at(found.T, ANSWER_OF_CLASS, metrics.softmax(logits, temperature).T)
    return found


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) for n = 0."""
    if not n:
        return 0.0, 1.0
    z, share = 1.959964, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def seven_groups(logits: Floats, labels: Labels) -> dict[str, Any]:
    """Photos of the seven groups: logits (n, 10), labels (n,) index in GROUPS. Shares of right ones with their 95 %
    intervals, overall and by group; confusion: a row a group, a column a class of Fashion-MNIST, counts.
    """
    right = answers(logits) == labels
    best = logits.argmax(axis=1)
    by_group = {name: _share(right[labels == i]) for i, name in enumerate(GROUPS)}
    confusion = [np.bincount(best[labels == i], minlength=10).tolist() for i in range(len(GROUPS))]
    whole = {f"groups_{key}": value for key, value in _share(right).items()}
    return {**whole, "groups": by_group, "confusion": confusion}


def _share(right: npt.NDArray[np.bool_]) -> dict[str, float]:
    low, high = wilson(int(right.sum()), len(right))
    share = float(right.mean()) if len(right) else float("nan")
    return {"n": len(right), "right": round(share, 6), "low": round(low, 6), "high": round(high, 6)}


def calibration(probabilities: Floats, labels: Labels, draws: int = 1_000, seed: int = 0) -> dict[str, float]:
    """ece: of the top answer, 15 bins of equal mass. ece_perfect, ece_perfect_95: mean, and what 95 of 100 stay below,
    of a model whose answers are right exactly as often as it says, at this n. probabilities (n, answers), labels (n,).
    """
    top = np.sort(probabilities.max(axis=1))
    generator = np.random.default_rng(seed)
    found = [_top_ece(top, generator.random(len(top)) < top) for _ in range(draws)]
    return {
        "ece": round(metrics.expected_calibration_error(probabilities, labels, BINS), 6),
        "ece_perfect": round(float(np.mean(found)), 6),
        "ece_perfect_95": round(float(np.percentile(found, 95)), 6),
    }


def _top_ece(top: Floats, right: npt.NDArray[np.bool_]) -> float:
    """As metrics.expected_calibration_error, of top probabilities (n,) in rising order."""
    parts = zip(np.array_split(top, BINS), np.array_split(right, BINS), strict=True)
    return float(sum(abs(float(r.sum()) - float(p.sum())) for p, r in parts) / max(1, len(top)))


def first(queries: Vectors, gallery: Vectors, k: int) -> Labels:
    """(q, k): the places in `gallery` (n, d) of the k of highest inner product with each of `queries` (q, d), best
    first; equal ones by place.
    """
    wide = gallery.T
    ranked = [np.argsort(-(query @ wide), kind="stable")[:k] for query in queries]
    return np.array(ranked, np.int64).reshape(len(queries), -1)


def shares_of_group(labels: Labels, found: Labels) -> dict[str, Any]:
    """look_alikes: of what was found (q, k) for queries with `labels` (q,), the share with the query's label, mean over
    queries; look_alikes_by: the same for each of GROUPS.
    """
    same = (found == labels[:, None]).mean(axis=1)
    by = {name: round(float(same[labels == i].mean()), 6) for i, name in enumerate(GROUPS) if (labels == i).any()}
    return {"look_alikes": round(float(same.mean()), 6), "look_alikes_n": len(labels), "look_alikes_by": by}


def new_classes(
    others: Vectors,
    vectors: Vectors,
    labels: Labels,
    fresh: npt.NDArray[np.bool_],
    shots: int = 5,
    draws: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Classes learnt from so many pictures as `vitrine model learn` does, each alone, and all of them at once.

    others (m, d): the background. vectors (n, d): all pictures that are asked about, labels (n,): 0, 1, ... for the new
    classes, -1 for others. Pictures that were learnt from are not asked about. Means over the draws of recall and
    precision against everything else, and over the classes. new_precision_fresh: where of the others only those count
    that nothing was learnt from, fresh (n,), each as several, so that they weigh as much as all.
    """
    generator = np.random.default_rng(seed)
    count = int(labels.max()) + 1
    other, weights_of = labels < 0, np.ones(len(labels))
    weights_of[other] = fresh[other] * other.sum() / max(1, (fresh & other).sum())
    alone, freshly, together = [], [], []
    for _ in range(draws):
        chosen = [generator.choice(np.flatnonzero(labels == i), shots, replace=False) for i in range(count)]
        for i, places in enumerate(chosen):
            weights, offset = learning.discriminant(vectors[places], others)
            answered = vectors @ weights + offset >= 0
            alone.append(_hits(answered, labels == i, places))
            freshly.append(_hits(answered, labels == i, places, weights_of)[1])
        classes = tuple(LearntClass(str(i), vectors[places]) for i, places in enumerate(chosen))
        odds = learning.judge(Learnt("", "", classes, others)).log_odds(vectors)
        said = np.where((odds > 0).any(axis=1), odds.argmax(axis=1), -1)
        together.append(list(_each(said, labels, np.concatenate(chosen), count)))
    one = np.array(alone).reshape(draws, count, 2).mean(axis=0)
    all_at_once = np.array(together).mean(axis=0)
    return {
        "new_recall": round(float(one[:, 0].mean()), 6),
        "new_precision": round(float(one[:, 1].mean()), 6),
        "new_precision_fresh": round(float(np.mean(freshly)), 6),
        "new_by": [{"recall": round(float(r), 6), "precision": round(float(p), 6)} for r, p in one],
        "together_recall": round(float(all_at_once[:, 0].mean()), 6),
        "together_precision": round(float(all_at_once[:, 1].mean()), 6),
    }


def _each(said: Labels, labels: Labels, learnt: Labels, count: int) -> Iterator[tuple[float, float]]:
    for i in range(count):
        yield _hits(said == i, labels == i, learnt)


def _hits(
    answered: npt.NDArray[np.bool_],
    true: npt.NDArray[np.bool_],
    left_out: npt.NDArray[np.integer],
    weights: npt.NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Recall and precision, without some places, each of the others weighing so much; 0 where nothing was answered."""
    asked = np.ones(len(true)) if weights is None else weights.copy()
    asked[left_out] = 0
    right, said, wanted = (float(asked[which].sum()) for which in (answered & true, answered, true))
    return (right / wanted if wanted else 0.0), (right / said if said else 0.0)
