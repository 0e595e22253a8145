"""A photo net as one model file: calibrated, measured and written, if ONNX Runtime answers as torch does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vitrine import background, metrics, modelfile
from vitrine.datasets import Dataset
from vitrine.encoder import Encoder, Outputs
from vitrine.modelfile import ModelCard, Rejection
from vitrine.spec import ImageSpec
from vitrine.training.export import TOLERANCE, check_answers, fit_similarity, samples, to_onnx
from vitrine.training.lessons import as_tensors
from vitrine.training.photo import fitting
from vitrine.training.photo.lesson import PhotoLesson
from vitrine.training.photo.net import PhotoForModelFile, PhotoNet

HALF_TOLERANCE = 1e-2
"""As `export.TOLERANCE`, where the file keeps weights in 16 bits."""

KEPT = 0.95
"""At the rejection's threshold so many of the garments held out count as known, at least."""

Truth = npt.NDArray[np.bool_]


def export(
    network: nn.Module,
    lesson: PhotoLesson,
    image: ImageSpec,
    data: dict[str, Any],
    validation: Dataset,
    path: Path,
) -> ModelCard:
    """Fit the rest of the embedding and what is familiar, write the model file to `path`, return its card. The
    temperature, the rejection and the similarity table are fitted on the photos held out. Raises ModelFileError,
    StorageError.
    """
    assert isinstance(network, PhotoNet)  # as the lesson made it
    recipe, units = lesson.recipe, lesson.units
    fitted = fitting.fit(lesson, network, image.height, *as_tensors(validation, image, lesson.device))
    model = PhotoForModelFile(fitted, image.mean, image.sd, recipe.training.mirror).eval().cpu().float()
    content = to_onnx(model, image, (*modelfile.OUTPUTS, modelfile.ACTIVATION), half=recipe.model.half)
    check_answers(model, content, samples(validation.images), HALF_TOLERANCE if recipe.model.half else TOLERANCE)
    card = ModelCard(
        name=recipe.name,
        identity=modelfile.identity(content, image),
        image=image,
        classes=units.classes,
        embedding=fitted.dimensions,
        temperature=1.0,
        rejection=None,
        similarity=None,
        recipe=recipe.to_json(),
        seed=recipe.training.seed,
        data=data,
        metrics={},
        activation=True,
    )
    outputs = Encoder.from_content(content, card).run(validation.images)
    sets: Truth = units.targets(torch.from_numpy(validation.labels)).numpy()[:, : units.known]  # (n, classes)
    final = _calibrated(card, outputs, sets, validation.labels, units.open)
    known = np.any(sets, axis=1)  # strangers may be learnt later, and are no background
    seen = background.sample(outputs.embeddings[known], validation.labels[known])
    modelfile.write(path, content, final, seen)
    return final


def _calibrated(
    card: ModelCard, outputs: Outputs, sets: Truth, labels: npt.NDArray[np.int64], rejects: bool
) -> ModelCard:
    """The card with what is fitted and measured on the photos held out: what the model says of them, the classes (n,
    classes) that are right answers, and their labels (n,).
    """
    known: Truth = np.any(sets, axis=1)
    temperature = _temperature(outputs.logits[known], sets[known])
    energies = metrics.energy(outputs.logits)
    probabilities = metrics.softmax(outputs.logits[known], temperature)
    found: dict[str, float] = {
        "validation_accuracy": _right(outputs.logits[known], sets[known]),
        "validation_loss": _loss(outputs.logits[known], sets[known], temperature),
        "validation_ece": metrics.expected_calibration_error(*_by_set(probabilities, sets[known])),
        "validation_images": int(known.sum()),
    }
    if not known.all():
        found["validation_strangers"] = int((~known).sum())
        found["validation_auroc"] = metrics.auroc(energies[known], energies[~known])
    table, pairs = fit_similarity(outputs[np.flatnonzero(known)], labels[known])
    rounded = {name: round(value, 6) for name, value in {**found, **pairs}.items()}
    threshold = _threshold(energies, known) if rejects else None
    return replace(
        card,
        temperature=round(temperature, 6),
        rejection=None if threshold is None else Rejection("energy", round(threshold, 6)),
        similarity=table,
        metrics=rounded,
    )


def _threshold(energies: npt.NDArray[np.float64], known: Truth) -> float:
    """Where as large a share of the garments is kept as of the strangers refused, but at least KEPT of the garments;
    without strangers, there.
    """
    garments, strangers = np.sort(energies[known]), energies[~known]
    most = float(np.quantile(garments, 1 - KEPT))
    if not len(strangers):
        return most
    candidates = garments[garments <= most]
    kept = 1 - np.searchsorted(garments, candidates) / len(garments)
    refused = (strangers[None] < candidates[:, None]).mean(axis=1)
    return float(candidates[np.argmax(np.minimum(kept, refused) + 1e-3 * kept)]) if len(candidates) else most


def _temperature(logits: npt.NDArray[np.float32], sets: Truth) -> float:
    """By which logits are divided so that the joint probability of each photo's set is likeliest (Guo et al. 2017,
    arXiv 1706.04599), if its logarithm was expected at 0 with a standard deviation of 0.7: a few photos alone would
    make it as extreme as it can be. The best of 241 from 0.1 to 10, evenly by their logarithm.
    """
    candidates = np.geomspace(0.1, 10, 241)
    return float(min(candidates, key=lambda value: len(sets) * _loss(logits, sets, value) + np.log(value) ** 2))


def _loss(logits: npt.NDArray[np.float32], sets: Truth, temperature: float) -> float:
    inside = (metrics.softmax(logits, temperature) * sets).sum(axis=1)
    return float(-np.log(np.maximum(inside, 1e-12)).mean())


def _right(logits: npt.NDArray[np.float32], sets: Truth) -> float:
    return float(sets[np.arange(len(sets)), logits.argmax(axis=1)].mean())


def _by_set(
    probabilities: npt.NDArray[np.float64], sets: Truth
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Probabilities (n, classes) and truth (n,) in which the classes of one set count as one."""
    groups = np.unique(sets, axis=0).astype(np.float64)  # (groups, classes)
    truth = (sets[:, None] == groups[None].astype(bool)).all(axis=2).argmax(axis=1)
    left = 1 - groups.max(axis=0)
    return np.concatenate([probabilities @ groups.T, (probabilities @ left)[:, None]], axis=1), truth
