"""The map: near embeddings are near on it, new ones find their place, the same again gives the same."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.manifold import trustworthiness as oracle

from vitrine import projection
from vitrine.errors import InputError
from vitrine.projection import Map

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def islands(n: int = 90, seed: int = 0) -> tuple[Vectors, Labels]:
    """Unit vectors (n, 16) round three directions, and which one each belongs to."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    vectors = np.eye(16)[labels] + 0.05 * random.normal(size=(n, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.fixture(scope="module")
def drawn() -> Map:
    return projection.project(islands()[0])


def test_islands_stay_islands(drawn: Map) -> None:
    embeddings, labels = islands()
    assert drawn.points.shape == (90, 2)
    assert np.isfinite(drawn.points).all()
    distances = np.linalg.norm(drawn.points[:, None] - drawn.points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    random = np.random.default_rng(0).normal(size=(90, 2))
    trust = projection.trustworthiness(embeddings, drawn.points)
    assert projection.trustworthiness(embeddings, random) < 0.7 < 0.85 < trust <= 1


def test_the_same_again(drawn: Map) -> None:
    reports: list[tuple[int, int]] = []
    again = projection.project(islands()[0], progress=lambda done, total: reports.append((done, total)))
    assert (again.points == drawn.points).all()
    assert reports == sorted(reports)
    assert reports[-1] == (750, 750)


def test_new_embeddings_land_on_their_island_and_move_nothing(drawn: Map) -> None:
    _, labels = islands()
    before = drawn.points.copy()
    stored = Map(drawn.embeddings.copy(), drawn.points.copy())  # all that a file would keep
    fresh, wanted = islands(30, seed=5)
    placed = stored.place(fresh)
    centres = np.stack([before[labels == label].mean(axis=0) for label in range(3)])
    nearest = np.linalg.norm(placed[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == wanted).all()
    assert (stored.points == before).all()
    assert stored.place(fresh[:0]).shape == (0, 2)
    with pytest.raises(InputError, match="takes embeddings of 16 numbers"):
        stored.place(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("k", [1, 5, 12])
def test_trustworthiness_is_scikit_learns(k: int) -> None:
    random = np.random.default_rng(k)
    embeddings = random.normal(size=(300, 8)).astype(np.float32)  # more than one block
    points = embeddings[:, :2].astype(np.float64) + random.normal(scale=0.3, size=(300, 2))
    expected = oracle(embeddings.astype(np.float64), points.astype(np.float32), n_neighbors=k)
    assert projection.trustworthiness(embeddings, points, k) == pytest.approx(expected, abs=1e-9)


def test_copies_and_few(drawn: Map) -> None:
    same = np.ones((projection.LEAST, 4), np.float32)
    made = projection.project(same)
    assert np.isfinite(made.points).all()
    assert 0 <= projection.trustworthiness(same, made.points) <= 1
    with pytest.raises(InputError, match="needs 10 images at least; here are 9"):
        projection.project(same[:9])
