"""Model files of a few kilobytes, made by code: what they answer can be told from the picture."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from vitrine import modelfile
from vitrine.datasets import fashion_mnist
from vitrine.encoder import Encoder
from vitrine.modelfile import ModelCard, Rejection
from vitrine.similarity import Similarity
from vitrine.spec import ImageSpec

CLASSES: dict[str, tuple[str, ...]] = {
    "en": ("left", "right"),
    "uk": ("ліворуч", "праворуч"),
    "ru": ("слева", "справа"),
}
SPEC = ImageSpec(28, 28, 1, "dark", (0.0,), (1.0,))
SCALE = 8.0
"""A picture's logits are SCALE times the mean brightness, 0 to 1, of its left half and of its right half."""


def small_model(
    outputs: Sequence[str] = modelfile.OUTPUTS, rejection: Rejection | None = None, similarity: Similarity | None = None
) -> Encoder:
    """A model with these outputs, as if it came from a file; without logits it has no classes."""
    content = graph(*outputs)
    plain = replace(card(content), rejection=rejection, similarity=similarity, activation="activation" in outputs)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "small.onnx"
        modelfile.write(path, content, plain if "logits" in outputs else replace(plain, classes={"en": ()}))
        return Encoder.load(path)


def halves(left: int, right: int) -> npt.NDArray[np.uint8]:
    """A picture (28, 28, 1) whose left and right half have these brightnesses."""
    picture = np.full((28, 28, 1), left, np.uint8)
    picture[:, 14:] = right
    return picture


def graph(*outputs: str) -> bytes:
    """ONNX with these outputs, of pictures (n, 28, 28, 1).

    activation: (n, 2, 4, 4), 2 * SCALE times the brightness of each 7x7 block of the class's half, 0 elsewhere. logits:
    its mean over all places. embedding: (n, 16), the brightness of the blocks and a little, of unit length.
    """
    sides = np.zeros((1, 2, 4, 4), np.float32)
    sides[0, 0, :, :2] = sides[0, 1, :, 2:] = 2 * SCALE
    weights: dict[str, npt.NDArray[Any]] = {
        "bright": np.array(1 / 255, np.float32),
        "sides": sides,
        "places": np.array([2, 3], np.int64),
        "flat": np.array([0, 16], np.int64),
        "little": np.array(1e-3, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "bright"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["blocks"], kernel_shape=[7, 7], strides=[7, 7]),
        helper.make_node("Mul", ["blocks", "sides"], ["activation"]),
        helper.make_node("ReduceMean", ["activation", "places"], ["logits"], keepdims=0),
        helper.make_node("Reshape", ["blocks", "flat"], ["rows"]),
        helper.make_node("Add", ["rows", "little"], ["lifted"]),
        helper.make_node("LpNormalization", ["lifted"], ["embedding"], axis=1, p=2),
    ]
    shapes: dict[str, tuple[int, ...]] = {"logits": (2,), "embedding": (16,), "activation": (2, 4, 4)}
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", *SPEC.shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shapes[name]]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString(deterministic=True))


def photo_model(side: int = 32) -> Encoder:
    """A model that wants photos as they are and has Fashion-MNIST's classes: what has more red than green is a bag,
    anything else a dress. It knows all of them.
    """
    weights: dict[str, npt.NDArray[Any]] = {"bright": np.array(4 / 255, np.float32), "places": np.array([1, 2])}
    weights["classes"] = np.zeros((3, 10), np.float32)
    weights["classes"][:, 8] = 1, -1, 0
    weights["bias"] = np.eye(10, dtype=np.float32)[3] / 2
    weights["turn"] = np.eye(10, 12, dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "bright"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "places"], ["colour"], keepdims=0),
        helper.make_node("Gemm", ["colour", "classes", "bias"], ["logits"]),
        helper.make_node("MatMul", ["logits", "turn"], ["turned"]),
        helper.make_node("LpNormalization", ["turned"], ["embedding"], axis=1, p=2),
    ]
    spec = ImageSpec(side, side, 3, "any", (0.0,) * 3, (1.0,) * 3)
    made = helper.make_graph(
        nodes,
        "photo",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", *spec.shape])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 12]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content = bytes(model.SerializeToString(deterministic=True))
    shown = replace(
        card(content),
        name="small photo",
        identity=modelfile.identity(content, spec),
        image=spec,
        classes=fashion_mnist.CLASS_NAMES,
        embedding=12,
        temperature=0.25,
        rejection=Rejection("energy", 0.0),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photo.onnx"
        modelfile.write(path, content, shown)
        return Encoder.load(path)


def card(content: bytes) -> ModelCard:
    """Of a graph with logits and embedding; for another one use `replace`."""
    return ModelCard(
        name="small",
        identity=modelfile.identity(content, SPEC),
        image=SPEC,
        classes=CLASSES,
        embedding=16,
        temperature=1.0,
        rejection=None,
        similarity=None,
        recipe={},
        seed=0,
        data={"name": "nothing", "images": 0, "checksum": ""},
        metrics={},
    )
