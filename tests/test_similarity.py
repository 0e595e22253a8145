import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine import evaluation, metrics, modelfile, similarity
from vitrine.datasets import Splits
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.encoder import Encoder, Outputs
from vitrine.errors import DataError, InputError, ModelFileError
from vitrine.similarity import KNOTS, Similarity
from vitrine.training import export, models
from vitrine.training import recipe as recipes

FIELDS: dict[str, Any] = {"measure": "cosine", "scores": [-0.5, 0.25, 1.0], "probabilities": [0.1, 0.1, 0.9]}
TABLE = Similarity("cosine", (-0.5, 0.25, 1.0), (0.1, 0.1, 0.9))


def synthetic(n: int, seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Scores of n pairs, and whether they are the same by a logistic curve of the score."""
    random = np.random.default_rng(seed)
    scores = random.uniform(-1, 1, n)
    return scores, random.random(n) < logistic(scores)


def logistic(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    curve: npt.NDArray[np.float64] = 1 / (1 + np.exp(-6 * (scores - 0.2)))
    return curve


# --- the table


def test_interpolation_by_hand() -> None:
    table = Similarity("cosine", (0.0, 0.5, 1.0), (0.2, 0.4, 1.0))
    found = table.probability(np.array([-3.0, 0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 2.0]))
    assert found.dtype == np.float64
    assert found == pytest.approx([0.2, 0.2, 0.3, 0.4, 0.7, 0.88, 1.0, 1.0])
    assert Similarity("class-distance", (0.0, 1.0), (1.0, 0.0)).probability(np.array([0.3])) == pytest.approx([0.7])
    assert table.probability(np.empty(0)).shape == (0,)


def test_json_and_back() -> None:
    assert TABLE.to_json() == FIELDS
    assert list(TABLE.to_json()) == ["measure", "scores", "probabilities"]
    assert Similarity.from_json(json.loads(json.dumps(FIELDS))) == TABLE


def test_a_table_without_a_measure_is_of_cosines() -> None:
    assert Similarity.from_json({"scores": [0, 1], "probabilities": [0, 1]}) == Similarity("cosine", (0, 1), (0, 1))


def test_a_distance_may_rise_or_fall_and_a_cosine_only_rise() -> None:
    for probabilities in ((0.1, 0.1, 0.9), (0.9, 0.1, 0.1), (0.5, 0.5, 0.5)):
        Similarity("class-distance", (0.0, 0.5, 1.0), probabilities)
    Similarity("cosine", (0.0, 0.5, 1.0), (0.5, 0.5, 0.5))
    with pytest.raises(InputError, match="must never fall"):
        Similarity("cosine", (0.0, 1.0), (0.9, 0.1))


WRONG: list[dict[str, Any]] = [
    {"measure": "euclid"},
    {"measure": None},
    {"measure": ["cosine"]},
    {"scores": [0.0, 1.0]},
    {"scores": []},
    {"scores": [0.0], "probabilities": [0.5]},
    {"scores": [0.0, 0.0, 1.0]},
    {"scores": [0.0, 1.0, 0.5]},
    {"scores": [0.0, 0.5, float("nan")]},
    {"scores": [float("nan"), 0.0, 0.5]},
    {"scores": [0.0, 0.5, float("inf")]},
    {"scores": [0.0, 0.5, 10**400]},
    {"scores": [0.0, 0.5, "1"]},
    {"scores": [0.0, 0.5, None]},
    {"scores": [False, 0.5, 1.0]},
    {"scores": "012"},
    {"scores": {"0": 1}},
    {"scores": None},
    {"probabilities": [0.1, 0.9, 0.8]},
    {"probabilities": [0.9, 0.1, 0.9]},
    {"measure": "class-distance", "probabilities": [0.9, 0.1, 0.9]},
    {"probabilities": [-0.1, 0.5, 0.9]},
    {"probabilities": [0.1, 0.5, 1.1]},
    {"probabilities": [0.1, float("nan"), 0.9]},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_broken_tables_make_a_broken_model_file(change: dict[str, Any], encoder: Encoder, tmp_path: Path) -> None:
    fields = {**FIELDS, **change}
    with pytest.raises((InputError, TypeError)):
        Similarity.from_json(fields)

    class Broken:
        """Writes what no `Similarity` holds."""

        def to_json(self) -> dict[str, Any]:
            return fields

    broken: Any = Broken()
    modelfile.write(tmp_path / "broken.onnx", encoder.content, replace(encoder.card, similarity=broken))
    with pytest.raises(ModelFileError, match=r"metadata of .* is damaged") as caught:
        modelfile.read(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["text", [], [0.1], 0, False, {}, {"scores": [0, 1]}])
def test_what_is_no_table_at_all_makes_a_broken_model_file(table: object, encoder: Encoder) -> None:
    with pytest.raises((InputError, TypeError, KeyError, ValueError, AttributeError)):
        modelfile.ModelCard.from_json({**encoder.card.to_json(), "similarity": table})


def test_a_table_survives_a_model_file_and_changes_no_identity(encoder: Encoder, tmp_path: Path) -> None:
    card = replace(encoder.card, similarity=TABLE)
    modelfile.write(tmp_path / "a.onnx", encoder.content, card)
    file = modelfile.read(tmp_path / "a.onnx")
    assert file.card == card
    assert modelfile.identity(file.content, file.card.image) == encoder.card.identity


def test_scores_that_nearly_touch_overflow_nothing() -> None:
    table = Similarity("cosine", (-2e-311, 2e-313, 1.0), (0.0, 1.0, 1.0))
    assert table.probability(np.array([-1, -2e-311, 0.0, 2e-313, 2])).tolist() == pytest.approx([0, 0, 0.990099, 1, 1])


@settings(max_examples=200)
@given(st.data())
def test_every_right_table_is_monotone_and_survives_json(data: st.DataObject) -> None:
    numbers = st.floats(-10, 10)
    scores = sorted(data.draw(st.lists(numbers, min_size=2, max_size=70, unique=True)))
    shares = st.lists(st.floats(0, 1), min_size=len(scores), max_size=len(scores))
    table = Similarity("cosine", tuple(scores), tuple(sorted(data.draw(shares))))
    assert Similarity.from_json(json.loads(json.dumps(table.to_json()))) == table
    asked = np.sort(np.array([*scores, *data.draw(st.lists(numbers, max_size=20))]))
    found = table.probability(asked)
    assert (np.diff(found) >= -1e-12).all()
    assert found.min() >= table.probabilities[0]
    assert found.max() <= table.probabilities[-1]


# --- measures


def test_measures_by_loops() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 20, 5)).astype(np.float32)
    for row in range(20):
        product = sum(float(x) * float(y) for x, y in zip(left[row], right[row], strict=True))
        product = min(max(product, -1), 1)  # of unit vectors it is never outside, but for rounding
        p, q = (np.exp(z.astype(np.float64)) / np.exp(z.astype(np.float64)).sum() for z in (left[row], right[row]))
        assert similarity.cosine(left, right)[row] == pytest.approx(product)
        assert similarity.class_distance(left, right)[row] == pytest.approx(np.sqrt(((p - q) ** 2).sum()))
        assert similarity.class_product(left, right)[row] == pytest.approx((p * q).sum())
    assert similarity.class_distance(left, left) == pytest.approx(np.sqrt(1e-7))


# --- fitting


def test_a_fit_recovers_a_known_curve() -> None:
    scores, same = synthetic(100_000)
    table = similarity.fit(scores, same)
    asked = np.linspace(-0.95, 0.95, 200)
    assert np.abs(table.probability(asked) - logistic(asked)).max() < 0.04
    assert np.abs(table.probability(asked) - logistic(asked)).mean() < 0.01
    assert 10 < len(table.scores) <= KNOTS
    assert scores.min() < table.scores[0] < -0.9
    assert 0.9 < table.scores[-1] < scores.max()


def test_few_knots_lose_little_against_all_steps() -> None:
    from sklearn.isotonic import IsotonicRegression

    scores, same = synthetic(20_000)
    new, truth = synthetic(20_000, 1)
    whole = IsotonicRegression(out_of_bounds="clip").fit(scores, same).predict(new)
    brief = similarity.fit(scores, same).probability(new)
    assert np.mean((brief - truth) ** 2) < np.mean((whole - truth) ** 2) + 1e-3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.booleans()), min_size=2, max_size=300))
def test_any_fit_is_a_table_whose_log_loss_is_finite(pairs: list[tuple[float, bool]]) -> None:
    scores, same = np.array([score for score, _ in pairs]), np.array([truth for _, truth in pairs])
    if same.all() or not same.any() or len(np.unique(scores.round(6))) < 2:
        with pytest.raises(DataError):
            similarity.fit(scores, same)
        return
    table = similarity.fit(scores, same)
    n = len(pairs)
    assert len(table.scores) <= KNOTS
    assert 1 / (n + 2) - 1e-9 <= table.probabilities[0] <= table.probabilities[-1] <= 1 - 1 / (n + 2) + 1e-9


def test_scores_that_say_nothing_give_a_half() -> None:
    random = np.random.default_rng(0)
    table = similarity.fit(random.uniform(-1, 1, 50_000), random.random(50_000) < 0.5)
    assert np.abs(table.probability(np.linspace(-0.9, 0.9, 50)) - 0.5).max() < 0.05
    backwards = similarity.fit(np.array([0.0, 0.1, 0.8, 0.9]), np.array([True, True, False, False]))
    assert set(backwards.probabilities) == {0.5}


@pytest.mark.parametrize(
    ("scores", "same"),
    [
        ([], []),
        ([0.1, 0.9], [True, True]),
        ([0.1, 0.9], [False, False]),
        ([0.3, 0.3, 0.3], [True, False, True]),
        ([0.3, float("nan"), 0.5], [True, False, True]),
        ([0.3, float("inf"), 0.5], [True, False, True]),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(scores: list[float], same: list[bool]) -> None:
    with pytest.raises(DataError, match="similarity table"):
        similarity.fit(np.array(scores), np.array(same, bool))


# --- in a training's end


@pytest.fixture
def bare(encoder: Encoder) -> modelfile.ModelCard:
    """The shipped model's card as it is before anything is fitted."""
    return replace(encoder.card, temperature=1.0, similarity=None, metrics={})


def test_export_fits_a_table_and_measures_it(
    drawn: Splits, encoder: Encoder, bare: modelfile.ModelCard, tmp_path: Path
) -> None:
    card = export.write_measured(tmp_path / "a.onnx", encoder.content, bare, drawn.train)
    assert modelfile.read(tmp_path / "a.onnx").card == card
    assert card.identity == encoder.card.identity
    assert card.similarity is not None
    assert list(card.metrics)[-2:] == ["validation_pair_loss", "validation_pair_error"]
    able = Encoder.load(tmp_path / "a.onnx")
    left, right, same = evaluation.balanced_pairs(drawn.train.labels, export.MEASURED_PAIRS, 1)
    outputs = able.run(drawn.train.images)
    found = able.same_probability(outputs[left], outputs[right])
    right_answer = np.where(same, found, 1 - found)
    of_its_own = -np.log(right_answer).mean()  # the same images as the table was fitted on
    assert of_its_own <= card.metrics["validation_pair_loss"] < 0.3 < np.log(2)  # a coin's
    assert 0 < card.metrics["validation_pair_error"] < 0.2
    again = export.write_measured(tmp_path / "b.onnx", encoder.content, bare, drawn.train)
    assert again == card


def test_the_pair_metrics_are_of_images_that_the_table_did_not_see() -> None:
    """Random answers about few images: a table can learn these images by heart, and is a coin on others."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 8)
    logits = random.normal(size=(80, 10)).astype(np.float32)
    logits[np.arange(80), labels] += np.tile([9.0, -3.0], 40)  # half of each class right, half wrong
    found = export.fit_similarity(Outputs(logits, np.zeros((80, 4), np.float32)), labels)
    assert found[0] is not None
    assert found[0].measure == "class-product"
    left, right, same = evaluation.balanced_pairs(labels, 20_000, 1)
    scores = similarity.class_product(logits[left], logits[right])
    own = metrics.binary_cross_entropy(found[0].probability(scores), same)
    assert found[1]["validation_pair_loss"] > own + 0.05


def test_the_measure_that_tells_pairs_better_is_taken() -> None:
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(10), 40)
    sure = np.eye(10, dtype=np.float32)[labels]
    noise = random.normal(size=(400, 10)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    for outputs, measure in ((Outputs(9 * sure, noise), "class-product"), (Outputs(9 * noise, sure), "cosine")):
        table, measured = export.fit_similarity(outputs, labels)
        assert table is not None
        assert table.measure == measure
        assert measured["validation_pair_loss"] < 0.01


@pytest.mark.parametrize("classes", [1, 10])
def test_export_goes_on_where_there_are_no_pairs(
    classes: int, drawn: Splits, encoder: Encoder, bare: modelfile.ModelCard, tmp_path: Path
) -> None:
    """All of one class; one of each class."""
    lonely = replace(drawn.train[:10], labels=np.arange(10) % classes)
    card = export.write_measured(tmp_path / "a.onnx", encoder.content, bare, lonely)
    assert card.similarity is None
    assert "validation_pair_loss" not in card.metrics
    given = replace(bare, similarity=TABLE)
    assert export.write_measured(tmp_path / "b.onnx", encoder.content, given, lonely).similarity == TABLE


def test_export_keeps_a_table_that_is_given(drawn: Splits, tmp_path: Path) -> None:
    """Of distances, as the report's network has it, and so sure that a wrong answer's loss would be infinite."""
    sure = Similarity("class-distance", (0.0, 0.1), (1.0, 0.0))
    recipe = recipes.load("report-b-mlp")
    network = models.build(recipe.model, 1, 28, 10)
    card = export.export(network, recipe, PLAIN_GREY, {}, drawn.test, tmp_path / "a.onnx", similarity=sure)
    assert modelfile.read(tmp_path / "a.onnx").card.similarity == card.similarity == sure
    assert 0 < card.metrics["validation_pair_loss"] <= 16.2
    assert 0 <= card.metrics["validation_pair_error"] <= 1
