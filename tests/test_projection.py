"""The map: near embeddings are near on it, new ones find their place, the same again gives the same."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.manifold import trustworthiness as oracle

from vitrine import projection
from vitrine.errors import InputError
from vitrine.projection import Map, neighbours, placing, tsne

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
    assert reports[-1] == (850, 850)  # the search for neighbours counts as 100 iterations


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


def test_a_sample_tells_the_trustworthiness_of_all() -> None:
    random = np.random.default_rng(1)
    embeddings = random.normal(size=(2000, 6)).astype(np.float32)
    points = embeddings[:, :2] + random.normal(scale=0.2, size=(2000, 2)).astype(np.float32)
    whole = projection.trustworthiness(embeddings, points, 15)
    assert projection.trustworthiness(embeddings, points, 15, sample=500) == pytest.approx(whole, abs=0.01)
    assert projection.trustworthiness(embeddings, points, 15, sample=5000) == whole


def test_preservation_counts_neighbours_that_stay() -> None:
    line = np.arange(40, dtype=np.float32)[:, None]
    assert projection.preservation(line, np.hstack([line, 0 * line]), 4) == 1
    swapped = np.where(line % 20 == 0, 20 - line, line)  # the first and the twenty-first change places
    assert 0.7 < projection.preservation(line, np.hstack([swapped, 0 * line]), 4) < 0.95


@pytest.mark.slow
def test_many_are_mapped_by_the_quick_schedule_and_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """By FFT on a grid, with neighbours out of cells."""
    embeddings, labels = islands(900)
    slow = projection.project(embeddings)
    monkeypatch.setattr(tsne, "MANY", 500)
    monkeypatch.setattr(neighbours, "EXACT", 500**2)
    quick = projection.project(embeddings)
    assert len(tsne.schedule(900)) == 3
    assert (projection.project(embeddings).points == quick.points).all()
    trusts = [projection.trustworthiness(embeddings, one.points, 15) for one in (slow, quick)]
    assert trusts[1] > trusts[0] - 0.01
    near = neighbours.Neighbours(quick.points, 1).query(quick.points, 2)[0][:, 1]
    assert (labels[near] == labels).mean() > 0.99


def test_more_than_a_map_takes_are_placed_among_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MOST", 200)
    embeddings, labels = islands(300)
    points = projection.project(embeddings).points
    assert points.shape == (300, 2)
    near = neighbours.Neighbours(points, 1).query(points, 2)[0][:, 1]
    assert (labels[near] == labels).mean() > 0.98


def test_neighbours_from_cells_are_mostly_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = islands(1500)[0]
    exact = neighbours.Neighbours(vectors, 1500).of_each(10)
    monkeypatch.setattr(neighbours, "EXACT", 0)
    told: list[int] = []
    places, distances = neighbours.Neighbours(vectors, 1500).of_each(10, lambda done, total: told.append(done))
    assert told[-1] == 1500
    assert (places[:, :, None] == exact[0][:, None]).any(axis=2).mean() > 0.8
    assert (places != np.arange(1500)[:, None]).all()
    assert (np.diff(distances, axis=1) >= 0).all()
    assert neighbours.Neighbours(vectors[:60], 60).query(vectors, 60)[0].min() == 0  # no cell has so many


# --- new points


def test_the_ground_knows_how_crowded_it_is() -> None:
    random = np.random.default_rng(3)
    points = random.normal(scale=12, size=(400, 2)).astype(np.float32)
    ground = placing.Ground(points)
    there = random.normal(scale=12, size=(50, 2))
    true = (1 / (1 + np.square(there[:, None] - points[None]).sum(axis=2))).sum(axis=1)
    assert np.abs(np.exp(ground._at(ground._crowding, there)) / true - 1).max() < 0.12
    step = np.array([0.5, 0])
    slope = (ground._at(ground._crowding, there + step) - ground._at(ground._crowding, there - step)) / 1.0
    assert np.abs(ground._at(ground._slope, there)[:, 0] - slope).max() < 0.1


def test_a_point_settles_where_it_costs_least() -> None:
    """Hardly anywhere on the whole map is better."""
    random = np.random.default_rng(8)
    points = random.normal(scale=8, size=(300, 2)).astype(np.float32)
    ground = placing.Ground(points)
    places, distances = neighbours.Neighbours(points, 1).query(
        random.normal(scale=8, size=(12, 2)).astype(np.float32), 15
    )
    found, pull = ground.settle(places, distances).astype(np.float64), placing.weights(distances)
    side = np.linspace(-25, 25, 101)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for point, near, weight in zip(found, points[places].astype(np.float64), pull, strict=True):
        everywhere = ground._cost(grid, near[None].repeat(len(grid), 0), weight[None].repeat(len(grid), 0))
        assert ground._cost(point[None], near[None], weight[None])[0] < everywhere.min() + 0.1


def test_weights_have_the_perplexity() -> None:
    distances = np.sort(np.random.default_rng(4).random((20, 15)), axis=1)
    found = placing.weights(distances)
    assert np.exp(-(found * np.log(found)).sum(axis=1)) == pytest.approx(np.full(20, placing.PERPLEXITY), rel=1e-3)
    assert (np.diff(found, axis=1) <= 0).all()
    assert placing.weights(np.zeros((1, 15))) == pytest.approx(np.full((1, 15), 1 / 15))
    assert placing.weights(np.array([[0.5]])).tolist() == [[1.0]]


def test_places_are_as_good_as_opentsnes_transform() -> None:
    """New points keep as many neighbours as those of `transform`, and lie near these."""
    import openTSNE
    from openTSNE import affinity

    random = np.random.default_rng(5)
    flat = random.random((1100, 2))  # a curved sheet: neighbours mean something everywhere
    sheet = np.stack([flat[:, 0], flat[:, 1], np.sin(5 * flat[:, 0]), np.cos(4 * flat[:, 1])], axis=1)
    vectors = sheet.astype(np.float32)
    old, new = vectors[:1000], vectors[1000:]
    drawn = projection.project(old)
    affinities = affinity.PerplexityBasedNN(old, perplexity=30, method="exact", random_state=0)
    centred = openTSNE.TSNEEmbedding(
        drawn.points.astype(np.float64), affinities, random_state=0, negative_gradient_method="bh"
    )
    theirs = np.asarray(centred.transform(new))
    theirs = theirs - (np.asarray(centred) - drawn.points).mean(axis=0)  # it has moved the map meanwhile
    ours = drawn.place(new)
    true, _ = neighbours.Neighbours(old, 1).query(new, 15)

    def kept(points: npt.NDArray[np.floating]) -> float:
        near, _ = neighbours.Neighbours(drawn.points, 1).query(points.astype(np.float32), 15)
        return float((near[:, :, None] == true[:, None]).any(axis=2).mean())

    assert kept(ours) > 0.5
    assert kept(ours) >= kept(theirs) - 0.02
    apart = np.linalg.norm(ours - theirs, axis=1)
    assert np.median(apart) < 0.005 * np.ptp(drawn.points, axis=0).max()


def test_a_point_is_placed_by_itself_and_a_copy_on_its_original(drawn: Map) -> None:
    fresh, _ = islands(30, seed=6)
    together = drawn.place(fresh)
    assert np.allclose(np.concatenate([drawn.place(one[None]) for one in fresh]), together, atol=1e-4)
    extent = np.ptp(drawn.points, axis=0).max()
    assert np.median(np.linalg.norm(drawn.place(drawn.embeddings) - drawn.points, axis=1)) < 0.1 * extent


def test_copies_and_few(drawn: Map) -> None:
    same = np.ones((projection.LEAST, 4), np.float32)
    made = projection.project(same)
    assert np.isfinite(made.points).all()
    assert 0 <= projection.trustworthiness(same, made.points) <= 1
    with pytest.raises(InputError, match="needs 10 images at least; here are 9"):
        projection.project(same[:9])
