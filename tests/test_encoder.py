import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from small_models import card, graph, halves, small_model
from vitrine import encoder as encoders
from vitrine import metrics, modelfile
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import InputError, ModelFileError
from vitrine.similarity import Similarity

GOLDEN_LABELS = [0, 1, 2, 3, 4, 5, 0, 7, 8, 9]
"""The shipped model's answers to the first ten drawn garments of the test part; with its identity, they move only when
another model is shipped."""


def test_path_bytes_pil_and_array_give_the_same_answer(drawn: Splits, encoder: Encoder, tmp_path: Path) -> None:
    image = drawn.test.images[0]
    pil = Image.fromarray(image[..., 0])
    pil.save(tmp_path / "a.png")
    buffer = io.BytesIO()
    pil.save(buffer, "PNG")
    answers = encoder.embed([tmp_path / "a.png", str(tmp_path / "a.png"), buffer.getvalue(), pil, image])
    assert np.abs(answers - answers[0]).max() < 1e-6


def test_a_batch_gives_what_single_images_give(drawn: Splits, encoder: Encoder) -> None:
    images = drawn.train.images
    together = encoder.run(images[:5])
    for i in range(5):
        alone = encoder.run(images[i : i + 1])
        assert np.abs(alone.logits[0] - together.logits[i]).max() < 1e-4
        assert np.abs(alone.embeddings[0] - together.embeddings[i]).max() < 1e-5


def test_outputs_have_their_shapes_and_norms(drawn: Splits, encoder: Encoder) -> None:
    told: list[tuple[int, int]] = []
    outputs = encoder.run(np.concatenate([drawn.train.images] * 2), lambda done, total: told.append((done, total)))
    assert outputs.logits.shape == (400, 10)
    assert outputs.embeddings.shape == (400, encoder.card.embedding)
    assert np.abs(np.linalg.norm(outputs.embeddings, axis=1) - 1).max() < 1e-5
    assert told == [(250, 400), (400, 400)]


def test_probabilities_sum_to_one_and_agree_with_the_label(drawn: Splits, encoder: Encoder) -> None:
    for prediction in encoder.classify(list(drawn.test.images)):
        assert sum(prediction.probabilities) == pytest.approx(1)
        assert (
            prediction.probability == max(prediction.probabilities) == prediction.probabilities[prediction.class_index]
        )
        assert prediction.label == encoder.card.classes["en"][prediction.class_index]


def test_golden_answers(drawn: Splits, encoder: Encoder) -> None:
    outputs = encoder.run(drawn.test.images[:10])
    assert outputs.logits.argmax(axis=1).tolist() == GOLDEN_LABELS
    assert encoder.card.identity == "82094902783a7eae02087ef2ed0d01d8"


# --- comparing

TABLES = [
    Similarity("cosine", (0.0, 0.5, 1.0), (0.05, 0.5, 0.95)),
    Similarity("class-product", (0.0, 0.5, 0.6), (0.05, 0.5, 0.95)),
    Similarity("class-distance", (0.0, 1.0, 1.4), (0.95, 0.1, 0.05)),
]


def comparing(encoder: Encoder, table: Similarity) -> Encoder:
    return Encoder.from_content(encoder.content, replace(encoder.card, similarity=table))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.measure)
def test_compare_is_symmetrical_and_takes_pictures_of_any_kind(
    table: Similarity, drawn: Splits, encoder: Encoder, tmp_path: Path
) -> None:
    able = comparing(encoder, table)
    a, b = (Image.fromarray(image[..., 0]) for image in drawn.test.images[:2])
    a.save(tmp_path / "a.png")
    b.save(tmp_path / "b.png")
    there = able.compare(tmp_path / "a.png", (tmp_path / "b.png").read_bytes())
    for other in (able.compare(b, a), able.compare(drawn.test.images[0], str(tmp_path / "b.png"))):
        assert (other.same_probability, other.score) == pytest.approx((there.same_probability, there.score), abs=1e-5)
    assert there.same_probability == table.probability(np.array([there.score]))[0]
    itself = able.compare(a, a)
    p = metrics.softmax(able.run(able.prepare([a])).logits)
    scores = {"cosine": 1, "class-product": float((p * p).sum()), "class-distance": 1e-7**0.5}
    assert itself.score == pytest.approx(scores[table.measure], abs=1e-5)
    assert itself.same_probability == pytest.approx(0.95, abs=1e-3)
    assert itself.same_probability > there.same_probability


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.measure)
def test_many_pairs_give_what_one_by_one_gives(table: Similarity, drawn: Splits, encoder: Encoder) -> None:
    able = comparing(encoder, table)
    outputs = able.run(drawn.test.images)
    left, right = np.arange(50), np.arange(50)[::-1]
    scores, same = (each(outputs[left], outputs[right]) for each in (able.scores, able.same_probability))
    assert scores.shape == same.shape == (50,)
    assert scores.dtype == same.dtype == np.float64
    for i in (0, 7, 40):
        alone = able.compare(drawn.test.images[left[i]], drawn.test.images[right[i]])
        assert (same[i], scores[i]) == pytest.approx((alone.same_probability, alone.score), abs=1e-4)
    assert able.same_probability(outputs[:0], outputs[:0]).shape == (0,)
    with pytest.raises(InputError, match="as many on the left"):
        able.scores(outputs, outputs[:1])


def test_a_model_without_a_table_cannot_compare(drawn: Splits, encoder: Encoder) -> None:
    plain = Encoder.from_content(encoder.content, replace(encoder.card, similarity=None))
    outputs = plain.run(drawn.test.images[:2])
    image = drawn.test.images[0]
    for ask in (plain.scores, plain.same_probability):
        with pytest.raises(InputError, match="cannot compare: its training held out too few"):
            ask(outputs, outputs)
    with pytest.raises(InputError, match="or name another model"):
        plain.compare(image, image)


def test_nothing_gives_nothing(encoder: Encoder) -> None:
    assert encoder.classify([]) == []
    assert encoder.embed([]).shape == (0, encoder.card.embedding)


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 32, 32, 1), (2, 28, 28, 3)])
def test_images_of_another_look_are_refused(shape: tuple[int, ...], encoder: Encoder) -> None:
    with pytest.raises(InputError, match="wants images"):
        encoder.run(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="float32"):
        encoder.run(np.zeros((1, 28, 28, 1), np.float32))


# --- models without classes, and with an activation


def test_a_model_without_classes_embeds_and_compares_and_says_what_it_cannot() -> None:
    table = Similarity("cosine", (0.0, 1.0), (0.1, 0.9))
    able, plain = small_model(["embedding"], similarity=table), small_model(["embedding"])
    left, right = halves(255, 0), halves(0, 255)
    outputs = able.run(np.stack([left, right, left]))
    assert outputs.logits.shape == (3, 0)
    assert np.abs(outputs.embeddings - small_model().embed([left, right, left])).max() < 1e-6
    assert able.compare(left, left).same_probability == pytest.approx(0.9, abs=1e-3)
    assert able.compare(left, right).same_probability == pytest.approx(0.1, abs=2e-3)
    for ask in (able.class_names, lambda: able.classify([left]), lambda: able.predictions(outputs)):
        with pytest.raises(InputError, match="knows no classes, it can only search"):
            ask()
    with pytest.raises(InputError, match="cannot compare: it knows no classes"):
        plain.compare(left, right)


def test_an_activation_says_where_the_evidence_is() -> None:
    encoder = small_model(["logits", "embedding", "activation"])
    batch = np.concatenate([np.stack([halves(255, 0), halves(51, 102)])] * 150)
    found = encoder.activation(batch)
    assert found.shape == (300, 2, 4, 4)
    assert found.dtype == np.float32
    assert found[0, 0].tolist() == pytest.approx(np.repeat([[16, 16, 0, 0]], 4, axis=0))
    assert found.mean(axis=(2, 3)) == pytest.approx(encoder.run(batch).logits, abs=1e-5)
    assert encoder.activation(batch[:0]).shape == (0, 2, 4, 4)
    with pytest.raises(InputError, match="wants images"):
        encoder.activation(batch[:, :14])
    with pytest.raises(InputError, match="cannot say where it looked"):
        small_model().activation(batch)


@pytest.mark.parametrize(
    ("outputs", "change", "name"),
    [
        (["logits", "embedding"], {"activation": True}, "activation"),
        (["logits", "embedding", "activation"], {"activation": False}, "activation"),
        (["logits", "embedding"], {"classes": {"en": ()}}, "logits"),
        (["embedding"], {}, "logits"),
        (["logits"], {}, "embedding"),
    ],
)
def test_a_card_that_promises_other_outputs_is_refused(outputs: list[str], change: dict[str, Any], name: str) -> None:
    with pytest.raises(ModelFileError, match=f"disagree on {name}: "):
        Encoder.from_content(graph(*outputs), replace(card(graph(*modelfile.OUTPUTS)), **change))


def test_an_activation_has_a_plane_of_fixed_size_for_each_class() -> None:
    assert encoders._is_activation("tensor(float)", [3, 2, 7], 3)
    wrong: list[list[int | str | None]] = [[2, 4, 4], [3, 1, 4], [3, 4, 1], [3, "h", 4], [3, 4, None], [3, 4], []]
    for shape in wrong:
        assert not encoders._is_activation("tensor(float)", shape, 3)
    assert not encoders._is_activation("tensor(double)", [3, 4, 4], 3)


@pytest.mark.parametrize("change", [{"embedding": 64}, {"classes": {"en": ("a", "b")}}])
def test_a_card_that_its_graph_contradicts_is_refused(change: dict[str, Any], encoder: Encoder, tmp_path: Path) -> None:
    modelfile.write(tmp_path / "odd.onnx", encoder.content, replace(encoder.card, **change))
    with pytest.raises(ModelFileError, match="disagree on"):
        Encoder.load(tmp_path / "odd.onnx")


def test_a_graph_that_onnx_runtime_refuses_is_one_sentence(encoder: Encoder, tmp_path: Path) -> None:
    """A file whose checksum is right and whose graph is not."""
    model = encoder.content.replace(b"GlobalAverage", b"GlobalAverbge").replace(b"ReduceMean", b"ReduceMeam")
    modelfile.write(tmp_path / "odd.onnx", model, replace(encoder.card))
    with pytest.raises(ModelFileError, match="ONNX Runtime cannot run"):
        Encoder.load(tmp_path / "odd.onnx")


@pytest.mark.slow
def test_the_shipped_model_on_the_test_set(real_splits: Splits, encoder: Encoder) -> None:
    """The figure that the README promises: at least 0.945."""
    right = (encoder.run(real_splits.test.images).logits.argmax(axis=1) == real_splits.test.labels).mean()
    assert right >= 0.945


def test_a_model_that_answers_with_numbers_that_are_not_finite_is_refused(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            n = len(inputs["image"])
            return [np.zeros((n, 10), np.float32), np.full((n, encoder.card.embedding), np.nan, np.float32)]

    broken = Encoder(encoder.card, encoder.content, Broken())
    with pytest.raises(ModelFileError, match="not finite"):
        broken.run(np.zeros((3, 28, 28, 1), np.uint8))
