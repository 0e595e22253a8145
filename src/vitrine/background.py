"""The background of a model: a sample of the embeddings that it gives to pictures, from which those of a class that is
learnt later have to stand out. Kept in the model file, see docs/file-formats.md.
"""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

SIZE = 400
"""Of how many pictures a model file keeps the embeddings, at most."""


def sample(embeddings: Vectors, labels: npt.NDArray[np.int64], size: int = SIZE) -> Vectors:
    """(m, d) of (n, d): at most `size`, of each of the labels (n,) as many as of another where there are enough.

    >>> sample(np.eye(5, dtype=np.float32), np.array([0, 0, 0, 0, 1]), 2).argmax(axis=1).tolist()
    [2, 4]
    """
    order = np.random.default_rng(0).permutation(len(labels))
    place = np.unique(labels[order], return_inverse=True)[1]
    turn = np.empty(len(order), np.int64)  # of each picture: how many of its class come before it
    for kind in range(place.max(initial=-1) + 1):
        same = np.flatnonzero(place == kind)
        turn[same] = np.arange(len(same))
    chosen = np.sort(order[np.argsort(turn, kind="stable")[:size]])
    return np.asarray(embeddings[chosen], np.float32)


def to_json(vectors: Vectors) -> dict[str, Any]:
    """embeddings: base64 of int8 (m, d); times `scale` they are the vectors (m, d)."""
    scale = float(np.abs(vectors).max(initial=1e-9)) / 127
    written = np.round(vectors / scale).astype(np.int8)
    return {
        "dimensions": vectors.shape[1],
        "scale": scale,
        "embeddings": base64.b64encode(written.tobytes()).decode(),
    }


def from_json(fields: dict[str, Any]) -> Vectors:
    """(m, d) float32, of unit length. Raises KeyError, TypeError, ValueError or OverflowError for anything else."""
    size = int(fields["dimensions"])
    if size < 1:
        raise ValueError("its vectors have no numbers")
    scale = float(fields["scale"])
    if not 0 < scale <= 1:  # refuses NaN, too; no number of a unit vector is above 1
        raise ValueError("its scale is not above 0 and at most 1")
    written = np.frombuffer(base64.b64decode(fields["embeddings"], validate=True), np.int8)
    vectors = written.reshape(-1, size) * np.float32(scale)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("a vector has no length")
    return np.asarray(vectors / lengths, np.float32)
