"""What a report says of a model, measured on images that it has not learnt from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrine import evaluation, metrics, similarity
from vitrine.datasets import Dataset
from vitrine.encoder import Encoder, Outputs
from vitrine.errors import DataError, InputError
from vitrine.evaluation import Evaluation, Retrieval
from vitrine.messages import Words
from vitrine.metrics import CalibrationBins, PerClass
from vitrine.progress import Progress, silent
from vitrine.report.runs import Images

PAIR_SEED = 0
"""As `vitrine evaluate --protocol pairs` has it, so that its figures are the same."""

NEIGHBOURS = 6


@dataclass(frozen=True)
class Pairs:
    """Balanced pairs of the measured images. left, right: places (n,); same: whether of one class; distances: of the
    embeddings, Euclidean, 0 to 2; probabilities: of the same class, None where the model has no table; found: the
    measures of these.
    """

    left: npt.NDArray[np.intp]
    right: npt.NDArray[np.intp]
    same: npt.NDArray[np.bool_]
    distances: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64] | None
    found: Evaluation | None


@dataclass(frozen=True)
class Measured:
    """asked: the images that were asked about, with their kind ("test" or "validation"); gallery: those searched.
    probabilities: (n, classes), calibrated; nearest, scores: the places (n, NEIGHBOURS) in the gallery and the cosines,
    best first.
    """

    asked: Dataset
    gallery: Dataset
    kind: str
    embeddings: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    accuracy: float
    ece: float
    confusion: npt.NDArray[np.int64]
    per_class: PerClass
    bins: CalibrationBins
    nearest: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    retrieval: Retrieval | None
    pairs: Pairs | None

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """(n,): the class of each image, as the model has it."""
        found: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return found

    def wrong(self) -> npt.NDArray[np.intp]:
        """The places of the wrong answers, surest first, equally sure ones by place."""
        places = np.flatnonzero(self.answers != self.asked.labels)
        return places[np.argsort(-self.probabilities[places].max(axis=1), kind="stable")]


def measure(
    encoder: Encoder, images: Images, words: Words, notes: list[str], progress: Progress = silent
) -> Measured | None:
    """Everything that the page shows; None, and a note why, for images that cannot be measured."""
    asked, gallery = images.splits.test, images.splits.train
    if not (asked.labelled and gallery.labelled and len(asked) and len(gallery)):
        notes.append(words.text("note.unlabelled"))
        return None
    known, names = len(encoder.card.classes["en"]), len(asked.class_names["en"])
    if known != names or encoder.card.image.shape != asked.images.shape[1:]:
        notes.append(words.text("note.other_classes", {"known": words.count(known, "class")}))
        return None
    before = len(asked) + len(gallery)
    total = before + len(asked)  # to embed both, and to search with each
    outputs = encoder.run(asked.images, lambda done, _: progress(done, total))
    searched = encoder.run(gallery.images, lambda done, _: progress(len(asked) + done, total)).embeddings
    probabilities = metrics.softmax(outputs.logits, encoder.card.temperature)
    confusion = metrics.confusion_matrix(probabilities.argmax(axis=1), asked.labels, known)
    nearest, scores = evaluation.nearest(searched, outputs.embeddings, min(NEIGHBOURS, len(gallery)))
    return Measured(
        asked=asked,
        gallery=gallery,
        kind=images.kind,
        embeddings=outputs.embeddings,
        probabilities=probabilities,
        accuracy=metrics.accuracy(probabilities.argmax(axis=1), asked.labels),
        ece=metrics.expected_calibration_error(probabilities, asked.labels),
        confusion=confusion,
        per_class=metrics.per_class(confusion),
        bins=metrics.calibration_bins(probabilities, asked.labels),
        nearest=nearest,
        scores=scores,
        retrieval=_retrieval(
            outputs, asked, searched, gallery, words, notes, lambda done, _: progress(before + done, total)
        ),
        pairs=_pairs(encoder, outputs, asked, words, notes),
    )


def _retrieval(
    outputs: Outputs,
    asked: Dataset,
    searched: evaluation.Vectors,
    gallery: Dataset,
    words: Words,
    notes: list[str],
    progress: Progress,
) -> Retrieval | None:
    try:
        return evaluation.retrieval(outputs.embeddings, asked.labels, searched, gallery.labels, progress=progress)
    except InputError:
        notes.append(words.text("note.no_retrieval"))
        return None


def _pairs(encoder: Encoder, outputs: Outputs, asked: Dataset, words: Words, notes: list[str]) -> Pairs | None:
    try:
        left, right, same = evaluation.balanced_pairs(asked.labels, evaluation.PAIRS, PAIR_SEED)
    except DataError:
        notes.append(words.text("note.no_pairs"))
        return None
    blocks = np.array_split(np.arange(len(left)), max(1, len(left) // 2000))
    cosines = np.concatenate(
        [similarity.cosine(outputs.embeddings[left[b]], outputs.embeddings[right[b]]) for b in blocks]
    )
    distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
    if encoder.card.similarity is None:
        notes.append(words.text("note.no_table"))
        return Pairs(left, right, same, distances, None, None)
    probabilities = np.concatenate([encoder.same_probability(outputs[left[b]], outputs[right[b]]) for b in blocks])
    return Pairs(left, right, same, distances, probabilities, evaluation.pair_task(probabilities, same))
