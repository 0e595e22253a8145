import numpy as np

from vitrine import evaluation
from vitrine.datasets import Splits
from vitrine.encoder import Encoder


def test_nearest_neighbours_by_loops() -> None:
    random = np.random.default_rng(0)
    gallery = random.normal(size=(60, 8)).astype(np.float32)
    queries = random.normal(size=(25, 8)).astype(np.float32)
    expected = [max(range(60), key=lambda i: float(query @ gallery[i])) for query in queries]
    assert evaluation.nearest_neighbours(gallery, queries).tolist() == expected


def test_query_gallery_by_loops(drawn: Splits, encoder: Encoder) -> None:
    gallery = encoder.run(drawn.train.images).embeddings
    measured = evaluation.query_gallery(encoder, drawn.test, gallery, drawn.train.labels)
    outputs = encoder.run(drawn.test.images)
    right = sum(int(row.argmax()) == label for row, label in zip(outputs.logits, drawn.test.labels, strict=True))
    hits = 0
    for query, label in zip(outputs.embeddings, drawn.test.labels, strict=True):
        nearest = max(range(len(gallery)), key=lambda i: float(query @ gallery[i]))
        hits += int(drawn.train.labels[nearest]) == label
    assert (measured.accuracy, measured.precision_at_1, measured.n) == (right / 50, hits / 50, 50)
    assert 0 <= measured.ece <= 1
