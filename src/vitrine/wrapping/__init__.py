"""Anybody's ONNX image model as a vitrine model file: docs/own-models.md. Needs the onnx package, but not torch.

foreign.py  their file: read, cut down to what is wanted of it
surgery.py  the graph around theirs
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from vitrine import modelfile, storage
from vitrine.encoder import Encoder
from vitrine.errors import InputError, ModelFileError
from vitrine.modelfile import ModelCard
from vitrine.spec import ImageSpec
from vitrine.wrapping import foreign, surgery
from vitrine.wrapping.foreign import PREFIX, Layout, PictureInput
from vitrine.wrapping.surgery import Answer, Plan, Pool

IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224
"""Height and width for a model that leaves them open."""

TOLERANCE = 0.01
"""How far, at most, the embedding of a picture may be from that of the same picture alone: a Euclidean distance."""

SAME = 1e-4
"""Embeddings no farther apart are the same."""

_LEAST_SD = 1e-6  # of pixels divided by 255; 1/255 leaves them as they are

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Wish:
    """What is said of a model beside its file. None where the graph, or a default, is to decide.

    size: height, width. mean, sd: of pixels divided by 255, one for each channel, or one for all. output: the
    embedding. layout: where the channels are. pool: how an embedding of each token, or place, becomes one. logits,
    classes: the class outputs, and their names in English.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    sd: tuple[float, ...] | None = None
    output: str | None = None
    layout: Layout | None = None
    pool: Pool = "mean"
    logits: str | None = None
    classes: tuple[str, ...] = ()


def wrap(path: Path, name: str, out: Path, wish: Wish) -> ModelCard:
    """Write the ONNX model at `path` to `out` as a vitrine model file called `name`, and return its card.

    Raises ModelFileError (it cannot be read or run, or answers with what is no embedding), InputError (it is no image
    model, or the wish does not fit it), StorageError. Then nothing is written.
    """
    if bool(wish.logits) != bool(wish.classes):
        raise InputError("A classifier's class outputs need both --logits NAME and --classes FILE; only one is given.")
    theirs = foreign.read(path)
    output = foreign.chosen_output(theirs, wish.output, path)
    logits = foreign.chosen_output(theirs, wish.logits, path) if wish.logits else None
    logits = foreign.before_softmax(theirs, logits) if logits else None
    foreign.cut(theirs, [output, logits] if logits else [output])
    given = foreign.picture_input(theirs, wish.layout, path)
    plan = _plan(theirs, given, path, wish)
    pictures = _pictures(plan.image)
    content, told = _built(theirs, plan, pictures, path)
    card = ModelCard(
        name=name,
        identity=modelfile.identity(content, plan.image),
        image=plan.image,
        classes={"en": wish.classes},
        embedding=plan.embedding.width,
        temperature=1.0,
        rejection=None,
        similarity=None,
        recipe={"wrapped": _origin(path, plan, told)},
        seed=0,
        data={"name": "", "images": 0, "checksum": ""},
        metrics={},
    )
    Encoder.from_content(content, card).run(pictures)
    modelfile.write(out, content, card)
    return card


def _origin(path: Path, plan: Plan, one_by_one: bool) -> dict[str, Any]:
    """What was wrapped, and how; for the card."""
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": plan.given.name.removeprefix(PREFIX),
        "output": plan.embedding.name.removeprefix(PREFIX),
        "logits": plan.logits.name.removeprefix(PREFIX) if plan.logits else None,
        "layout": plan.given.layout,
        "pool": plan.pool if plan.embedding.rank > 2 else None,
        "one_by_one": one_by_one,
    }


# --- what to build


def _plan(theirs: onnx.ModelProto, given: PictureInput, path: Path, wish: Wish) -> Plan:
    """Raises InputError where wish and graph disagree, ModelFileError where the graph cannot be run."""
    image = _image(given, path, wish)
    shapes = _shapes(theirs, given, image, path)
    embedding = _answer(theirs.graph.output[0].name, shapes[0], given, path)
    if embedding.rank != 3 and wish.pool == "first":
        raise InputError(
            f"--pool first is for outputs (n, tokens, d); {_plain(embedding.name)} of {path} is {_shape(shapes[0])}."
        )
    if not wish.classes:
        return Plan(image, given, embedding, None, wish.pool)
    name, shape = theirs.graph.output[-1].name, shapes[-1]
    if len(shape) != 2 or shape[1] != len(wish.classes):
        raise InputError(
            f"{_plain(name)} of {path} is {_shape(shape)}, and {len(wish.classes)} names of classes were given; there"
            f" must be a name for each of the numbers."
        )
    return Plan(image, given, embedding, Answer(name, 2, shape[1]), wish.pool)


def _image(given: PictureInput, path: Path, wish: Wish) -> ImageSpec:
    """Raises InputError where the graph wants another size, or the numbers do not fit the channels."""
    sides = []
    for side, fixed, wanted in zip(("height", "width"), given.size, wish.size or (None, None), strict=True):
        if fixed is not None and wanted not in (None, fixed):
            raise InputError(
                f"{path} takes pictures of {side} {fixed}, not {wanted}; leave --size out, or say {fixed}."
            )
        sides.append(fixed or wanted or SIZE)
    channels = given.channels or 3
    mean, sd = (
        _per_channel(option, values, default, channels, path)
        for option, values, default in (("--mean", wish.mean, IMAGENET_MEAN), ("--sd", wish.sd, IMAGENET_SD))
    )
    return ImageSpec(sides[0], sides[1], channels, "any", mean, sd)


def _per_channel(
    option: str, values: tuple[float, ...] | None, default: tuple[float, ...], channels: int, path: Path
) -> tuple[float, ...]:
    """One number for each channel; by default ImageNet's, for grey their mean."""
    if values is None:
        values = default if channels == 3 else (round(sum(default) / 3, 3),)
    if len(values) not in (1, channels) or not all(map(math.isfinite, values)):
        raise InputError(
            f"{option} has {', '.join(f'{value:g}' for value in values)}; {path} takes pictures of {channels}"
            f" {'channel' if channels == 1 else 'channels'}: give as many finite numbers, or one for all."
        )
    if option == "--mean" and not all(0 <= value <= 1 for value in values):
        raise InputError(_of_another_scale(option, values, "0 to 1"))
    if option == "--sd" and not all(_LEAST_SD <= value <= 1 for value in values):
        raise InputError(_of_another_scale(option, values, "above 0, at most 1"))
    return values if len(values) == channels else values * channels


def _of_another_scale(option: str, values: tuple[float, ...], allowed: str) -> str:
    """The sentence for numbers that are, perhaps, of pixels from 0 to 255."""
    meant = ",".join(f"{value / 255:.3g}" for value in values)
    hint = f"; if they are of 0 to 255, say {option} {meant}" if min(values) > 0 and max(values) <= 255 else ""
    return (
        f"{option} has {', '.join(f'{value:g}' for value in values)}; allowed is {allowed}, as they are of pixel values"
        f" divided by 255{hint}."
    )


def _answer(name: str, shape: tuple[int, ...], given: PictureInput, path: Path) -> Answer:
    """Raises InputError for a shape that is no embedding."""
    if len(shape) not in (2, 3, 4) or shape[0] != 1 or 0 in shape:
        raise InputError(
            f"{_plain(name)} of {path} is {_shape(shape)} for one picture; an embedding is (1, d), (1, tokens, d) or a"
            " map of features of 4 dimensions: name another --output."
        )
    last = given.layout == "nhwc" or len(shape) < 4
    return Answer(name, len(shape), shape[-1 if last else 1])


# --- trying it


def _shapes(theirs: onnx.ModelProto, given: PictureInput, image: ImageSpec, path: Path) -> list[tuple[int, ...]]:
    """Of their outputs, for one picture. Raises ModelFileError, or InputError where they are no numbers."""
    order = (2, 0, 1) if given.layout == "nchw" else (0, 1, 2)
    picture = np.zeros((1, *(image.shape[axis] for axis in order)), np.float32)
    typed = picture.astype(helper.tensor_dtype_to_np_dtype(given.kind))
    content = foreign.serialised(theirs, path)
    try:
        answers = _session(content).run(None, {given.name: typed})
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise ModelFileError(
            f"ONNX Runtime cannot run {path} ({_first_line(error)}) with pictures of {image.height}x{image.width};"
            " say another --size, or export the model again."
        ) from error
    for value, answer in zip(theirs.graph.output, answers, strict=True):
        if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
            raise InputError(f"{_plain(value.name)} of {path} is no floating point tensor; name another --output.")
    return [answer.shape for answer in answers]


def _built(theirs: onnx.ModelProto, plan: Plan, pictures: npt.NDArray[np.uint8], path: Path) -> tuple[bytes, bool]:
    """The graph as bytes, and whether it asks theirs about each picture on its own: so where it does not answer
    about several as about each alone.

    Raises ModelFileError where the answers are no embeddings.
    """
    for one_by_one in (False, True):
        content = foreign.serialised(surgery.around(theirs, plan, one_by_one), path)
        try:
            session = _session(content)
            together = _embeddings(session, pictures)
            alone = np.concatenate([_embeddings(session, picture[None]) for picture in pictures])
        except Exception as error:
            if one_by_one:
                raise ModelFileError(f"ONNX Runtime cannot run {path} ({_first_line(error)}).") from error
            continue
        if one_by_one or _agree(together, alone):
            break
    _check(alone, _plain(plan.embedding.name), path)
    return content, one_by_one


def _agree(together: Floats, alone: Floats) -> bool:
    """Whether each picture has the same embedding, also where both are not finite."""
    if together.shape != alone.shape:
        return False
    return bool(np.all(np.linalg.norm(np.nan_to_num(together) - np.nan_to_num(alone), axis=1) <= TOLERANCE))


def _check(embeddings: Floats, name: str, path: Path) -> None:
    """Raises ModelFileError where those of pictures that differ are no embeddings."""
    problem = None
    if not np.isfinite(embeddings).all():
        problem = "numbers that are not finite"
    elif np.abs(np.linalg.norm(embeddings, axis=1) - 1).max() > 1e-3:
        problem = "zeros only, which have no direction"
    elif np.linalg.norm(embeddings - embeddings[0], axis=1).max() <= SAME:
        problem = "the same for pictures that have nothing in common"
    if problem:
        raise ModelFileError(
            f"{path} was not wrapped: for test pictures {name} is {problem}; name another --output, or check --size,"
            " --mean and --sd."
        )


def _pictures(image: ImageSpec) -> npt.NDArray[np.uint8]:
    """(5, h, w, c): noise, black, white, stripes, and a bright square in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    stripes, square = np.zeros(image.shape, np.uint8), np.full(image.shape, 40, np.uint8)
    stripes[:: max(2, image.height // 8)] = 255
    square[image.height // 4 : -image.height // 4, image.width // 4 : -image.width // 4] = 220
    return np.stack([noise, np.zeros_like(noise), np.full_like(noise, 255), stripes, square])


def _embeddings(session: onnxruntime.InferenceSession, pictures: npt.NDArray[np.uint8]) -> Floats:
    found: Floats = session.run([modelfile.EMBEDDING], {modelfile.INPUT: pictures})[0]
    return found


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it refuses becomes a sentence of ours
    options.intra_op_num_threads = storage.cores()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _plain(name: str) -> str:
    return name.removeprefix(PREFIX)


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
