"""The trained network as one ONNX model file, written only if ONNX Runtime answers as torch does."""

import contextlib
import io
import logging
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from vitrine import background, metrics, modelfile
from vitrine import similarity as similarities
from vitrine.datasets import Dataset
from vitrine.encoder import Encoder, Outputs, pair_scores
from vitrine.errors import DataError, ModelFileError
from vitrine.evaluation import alter, balanced_pairs
from vitrine.modelfile import ModelCard
from vitrine.similarity import Measure, Similarity
from vitrine.spec import ImageSpec
from vitrine.training.models import ForModelFile, Network
from vitrine.training.recipe import Recipe

Places = npt.NDArray[np.intp]
Answers = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]

FITTED_MEASURES: tuple[Measure, ...] = ("class-product", "cosine")

TOLERANCE = 1e-3
"""Largest allowed difference between ONNX Runtime and torch, both float32: in a logit, relative to the largest one; in
a number of the embedding.
"""

OPSET = 18

_LARGE = 4096
"""Numbers that a weight has at least that may be kept in 16 bits."""

FITTED_PAIRS, MEASURED_PAIRS = 200_000, 20_000
"""How many pairs of validation images a similarity table is fitted on (seed 0), and measured on (seed 1)."""


def export(
    network: Network,
    recipe: Recipe,
    image: ImageSpec,
    data: dict[str, Any],
    validation: Dataset,
    path: Path,
    similarity: Similarity | None = None,
) -> ModelCard:
    """Write `network` to `path` as a model file and return its card.

    The temperature and the similarity table, unless one is given, are fitted and the metrics are measured on
    `validation`, through ONNX Runtime. The table is None where the validation images make no pairs. Raises
    ModelFileError, and writes nothing, when ONNX Runtime's answers differ from torch's by more than TOLERANCE;
    StorageError.
    """
    model = ForModelFile(network, image.mean, image.sd, recipe.training.mirror).eval().cpu().float()
    content = to_onnx(model, image, modelfile.OUTPUTS)
    check_answers(model, content, samples(validation.images))
    card = ModelCard(
        name=recipe.name,
        identity=modelfile.identity(content, image),
        image=image,
        classes=validation.class_names,
        embedding=network.dimensions,
        temperature=1.0,
        rejection=None,
        similarity=similarity,
        recipe=recipe.to_json(),
        seed=recipe.training.seed,
        data=data,
        metrics={},
    )
    return write_measured(path, content, card, validation)


def write_measured(path: Path, content: bytes, card: ModelCard, validation: Dataset) -> ModelCard:
    """Fit the temperature and, unless the card has one, the similarity table; measure, write, and with it
    the background (see `background`) of `validation`. Raises StorageError.
    """
    outputs = Encoder.from_content(content, card).run(validation.images)
    logits = outputs.logits
    temperature = metrics.fit_temperature(logits, validation.labels)
    probabilities = metrics.softmax(logits, temperature)
    measured = {
        "validation_accuracy": metrics.accuracy(probabilities.argmax(axis=1), validation.labels),
        "validation_loss": metrics.negative_log_likelihood(logits, validation.labels, temperature),
        "validation_ece": metrics.expected_calibration_error(probabilities, validation.labels),
        "validation_images": len(validation),
    }
    table = card.similarity
    if table:
        measured |= _pair_metrics(_answers(table, outputs, validation.labels))
    else:
        table, pair_metrics = fit_similarity(outputs, validation.labels)
        measured |= pair_metrics
    rounded = {name: round(value, 6) for name, value in measured.items()}
    final = replace(card, temperature=round(temperature, 6), similarity=table, metrics=rounded)
    modelfile.write(path, content, final, background.sample(outputs.embeddings, validation.labels))
    return final


def fit_similarity(outputs: Outputs, labels: npt.NDArray[np.int64]) -> tuple[Similarity | None, dict[str, float]]:
    """The table of the measure that tells pairs best, fitted on balanced pairs of the outputs, and how well it does:
    by tables of one half of the images, asked about the other half. None where the labels (n,) make no pairs.
    """
    found: list[tuple[Similarity, dict[str, float]]] = []
    for measure in FITTED_MEASURES:
        try:
            table = _fitted(measure, outputs, labels)
            found.append((table, _pair_metrics(_crossed(table, outputs, labels))))
        except DataError:  # one class; no class twice; one score for all
            continue
    return min(found, key=lambda one: one[1]["validation_pair_loss"], default=(None, {}))


def _fitted(measure: Measure, outputs: Outputs, labels: npt.NDArray[np.int64]) -> Similarity:
    """Raises DataError where there is nothing to fit."""
    left, right, same = balanced_pairs(labels, FITTED_PAIRS, seed=0)
    return similarities.fit(_scores(measure, outputs, left, right), same, measure)


def _crossed(table: Similarity, outputs: Outputs, labels: npt.NDArray[np.int64]) -> Answers:
    """What tables like this one, each of one half of the images, say of pairs of the other half; where a half makes no
    pairs, what this one says of its own images.
    """
    halves = _halves(labels)
    try:
        tables = [_fitted(table.measure, outputs[half], labels[half]) for half in halves]
        answers = [
            _answers(other, outputs[half], labels[half]) for other, half in zip(tables[::-1], halves, strict=True)
        ]
        return np.concatenate([probability for probability, _ in answers]), np.concatenate(
            [same for _, same in answers]
        )
    except DataError:
        return _answers(table, outputs, labels)


def _halves(labels: npt.NDArray[np.int64]) -> list[Places]:
    """Places of every other image of each class, and of the rest."""
    order = np.argsort(labels, kind="stable")
    return [np.sort(order[::2]), np.sort(order[1::2])]


def _answers(table: Similarity, outputs: Outputs, labels: npt.NDArray[np.int64]) -> Answers:
    """Probability (n,) and truth (n,) of other balanced pairs than those of `_fitted`; empty where there are none."""
    try:
        left, right, same = balanced_pairs(labels, MEASURED_PAIRS, seed=1)
    except DataError:
        return np.empty(0), np.empty(0, np.bool_)
    return table.probability(_scores(table.measure, outputs, left, right)), same


def _pair_metrics(answers: Answers) -> dict[str, float]:
    """Binary cross-entropy and mean absolute error; nothing without pairs."""
    probability, same = answers
    if not len(same):
        return {}
    return {
        "validation_pair_loss": metrics.binary_cross_entropy(probability, same),
        "validation_pair_error": metrics.mean_absolute_error(probability, same),
    }


def _scores(measure: Measure, outputs: Outputs, left: Places, right: Places) -> npt.NDArray[np.float64]:
    """`pair_scores` of the rows `left` and `right` (n,), in blocks: all pairs' embeddings at once may be gigabytes."""
    blocks = np.array_split(np.arange(len(left)), max(1, len(left) // 2000))
    return np.concatenate([pair_scores(measure, outputs[left[block]], outputs[right[block]]) for block in blocks])


def to_onnx(model: torch.nn.Module, image: ImageSpec, outputs: tuple[str, ...], half: bool = False) -> bytes:
    """The bytes of the ONNX model, weights inside; half: the large ones in 16 bits."""
    example = torch.zeros((2, *image.shape), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's, about its own parts
        program = torch.onnx.export(
            model,
            (example,),
            input_names=[modelfile.INPUT],
            output_names=list(outputs),
            dynamic_shapes={"image": {0: torch.export.Dim("n")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # torch's signature; it is None only for the old exporter
    proto = program.model_proto
    _forget_sources(proto)
    if half:
        _halve(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _forget_sources(proto: Any) -> None:
    """Drop the exporter's notes on source files: paths of this machine do not belong in a model file, and cost a third
    of it.
    """
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.ClearField("metadata_props")
    proto.graph.ClearField("metadata_props")
    proto.graph.ClearField("value_info")
    proto.ClearField("metadata_props")


def _halve(proto: Any) -> None:
    """Keep each large weight in 16 bits, and cast it where it is used: ONNX Runtime does so once, when it loads."""
    import onnx

    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or math.prod(tensor.dims) < _LARGE:
            continue
        name, kept = tensor.name, f"{tensor.name}.half"
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, kept))
        casts.append(onnx.helper.make_node("Cast", [kept], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def samples(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The first 64, and altered ones: what a network does with noise must come out the same, too."""
    altered = [alter(image, np.random.default_rng(i)) for i, image in enumerate(images[:16])]
    return np.concatenate([images[:64], np.stack(altered)])


def check_answers(
    model: torch.nn.Module, content: bytes, images: npt.NDArray[np.uint8], tolerance: float = TOLERANCE
) -> None:
    """Raises ModelFileError when ONNX Runtime and torch differ on `images` (n, h, w, c) by more than the tolerance: in
    a number of the embedding, in others relative to the largest one.
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = [output.numpy() for output in model(torch.from_numpy(np.ascontiguousarray(images)))]
    names = (*modelfile.OUTPUTS, modelfile.ACTIVATION)[: len(expected)]
    answers = session.run(names, {modelfile.INPUT: np.ascontiguousarray(images)})
    for name, answer, right in zip(names, answers, expected, strict=True):
        scale = 1.0 if name == modelfile.EMBEDDING else max(1.0, float(np.abs(right).max()))
        difference = float(np.abs(answer - right).max()) / scale
        if not difference <= tolerance:
            raise ModelFileError(
                f"No model file was written: ONNX Runtime's {name} differs from torch's by {difference:.2g} (allowed"
                f" {tolerance:g}); please report this."
            )
