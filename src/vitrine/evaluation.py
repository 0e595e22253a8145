"""A model measured on data, as typed results."""

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from vitrine import metrics
from vitrine.datasets import Dataset, Progress, silent
from vitrine.encoder import Encoder


@dataclass(frozen=True)
class Evaluation:
    """accuracy: of the classifier on the test part. precision_at_1: test queries in the training part, nearest by
    cosine. ece: expected calibration error, 15 bins. n: test images.
    """

    accuracy: float
    precision_at_1: float
    ece: float
    n: int


def query_gallery(
    encoder: Encoder,
    test: Dataset,
    gallery: npt.NDArray[np.float32],
    gallery_labels: npt.NDArray[np.int64],
    progress: Progress = silent,
) -> Evaluation:
    """Classify the test images, and look for each one's nearest neighbour in the gallery, embeddings (n, d), labels
    (n,).
    """
    outputs = encoder.run(test.images, progress)
    probabilities = metrics.softmax(outputs.logits, encoder.card.temperature)
    nearest = nearest_neighbours(gallery, outputs.embeddings)
    return Evaluation(
        accuracy=metrics.accuracy(probabilities.argmax(axis=1), test.labels),
        precision_at_1=metrics.precision_at_1(gallery_labels[nearest], test.labels),
        ece=metrics.expected_calibration_error(probabilities, test.labels),
        n=len(test),
    )


def nearest_neighbours(gallery: npt.NDArray[np.float32], queries: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """(q,) int64: for each query (q, d) the place in the gallery (n, d) with the highest inner product; exact, in
    blocks.
    """
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    return np.concatenate(
        [index.search(block, 1)[1][:, 0] for block in np.array_split(queries, max(1, len(queries) // 1000))]
    )
