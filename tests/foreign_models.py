"""ONNX image models as other people export them, made by code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, WIDTH, TOKENS = 32, 12, 17
CLIP_MEAN, CLIP_SD = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)

Array = npt.NDArray[Any]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: dict[str, tuple[int, Sequence[int | str]]],
    weights: dict[str, Array],
    opset: int = 17,
) -> onnx.ModelProto:
    """inputs, outputs: name to type and shape."""
    made = helper.make_graph(
        list(nodes),
        "theirs",
        [helper.make_tensor_value_info(name, *one) for name, one in inputs.items()],
        [helper.make_tensor_value_info(name, *one) for name, one in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def filters(kind: type[np.floating] = np.float32) -> Array:
    """(WIDTH, 3, 8, 8): a convolution over patches."""
    drawn = np.random.default_rng(1).normal(size=(WIDTH, 3, 8, 8)) / 8
    return drawn.astype(kind)


def tokens(
    batch: int | str = "batch", side: int | str = SIDE, opset: int = 17, kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """As a vision transformer: NCHW in; `last_hidden_state` (n, 17, 12) out, whose first token is the mean of all
    patches, squared; and `pooler_output` (n, 12), that token through a tanh.
    """
    numbers = helper.tensor_dtype_to_np_dtype(kind)
    rows = batch if isinstance(batch, int) else 0  # 0: as many as there are
    nodes = [
        helper.make_node("Conv", ["image", "patches"], ["map"], strides=[8, 8]),
        helper.make_node("Reshape", ["map", "flat"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["places"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["places"], ["all"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["all", "all"], ["first"]),
        helper.make_node("Concat", ["first", "places"], ["last_hidden_state"], axis=1),
        helper.make_node("Gather", ["last_hidden_state", "zero"], ["embedding"], axis=1),
        helper.make_node("Tanh", ["embedding"], ["pooler_output"]),
    ]
    weights = {
        "patches": filters(numbers.type),
        "flat": np.array([rows, WIDTH, -1]),
        "zero": np.array(0),
    }
    return model(
        nodes,
        {"image": (kind, [batch, 3, side, side])},
        {"last_hidden_state": (kind, [batch, TOKENS, WIDTH]), "pooler_output": (kind, [batch, WIDTH])},
        weights,
        opset,
    )


def classifier(opset: int = 13) -> onnx.ModelProto:
    """As from TensorFlow: NHWC in; the features are a map (n, 4, 4, 12) inside, the output `probabilities` (n, 5)."""
    nodes = [
        helper.make_node("Transpose", ["picture"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "patches"], ["map"], strides=[8, 8]),
        helper.make_node("Relu", ["map"], ["bright"]),
        helper.make_node("Transpose", ["bright"], ["features"], perm=[0, 2, 3, 1]),
        helper.make_node("GlobalAveragePool", ["bright"], ["averages"]),
        helper.make_node("Flatten", ["averages"], ["rows"]),
        helper.make_node("MatMul", ["rows", "head"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ]
    head = np.random.default_rng(2).normal(size=(WIDTH, 5)).astype(np.float32)
    return model(
        nodes,
        {"picture": (TensorProto.FLOAT, ["n", SIDE, SIDE, 3])},
        {"probabilities": (TensorProto.FLOAT, ["n", 5])},
        {"patches": filters(), "head": head},
        opset,
    )


def clip() -> onnx.ModelProto:
    """Both towers in one file: `image_embeds` is made of the picture alone, `similarity` of the words, too."""
    both = tokens()
    both.graph.node.extend(
        [
            helper.make_node("Gather", ["words", "input_ids"], ["each"]),
            helper.make_node("ReduceMean", ["each"], ["text_embeds"], axes=[1], keepdims=0),
            helper.make_node("Identity", ["pooler_output"], ["image_embeds"]),
            helper.make_node("Mul", ["text_embeds", "image_embeds"], ["similarity"]),
        ]
    )
    both.graph.initializer.append(numpy_helper.from_array(np.ones((100, WIDTH), np.float32), "words"))
    both.graph.input.append(helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", 77]))
    del both.graph.output[:]
    both.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH])
        for name in ("similarity", "text_embeds", "image_embeds")
    )
    return both


def one(
    operator: str,
    shape: Sequence[int | str],
    kind: int = TensorProto.FLOAT,
    out: Sequence[int | str] = ("n", "d"),
    attributes: Mapping[str, int] = MappingProxyType({}),
) -> onnx.ModelProto:
    """A single operator from `x` to `y`."""
    node = helper.make_node(operator, ["x"], ["y"])
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return model([node], {"x": (kind, shape)}, {"y": (TensorProto.FLOAT, out)}, {})


def save(made: onnx.ModelProto, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString())
    return path


def by_hand(pictures: Array, mean: Sequence[float], sd: Sequence[float]) -> Array:
    """The places (n, 16, 12) of `tokens` for pictures (n, 32, 32, 3) uint8, by plain NumPy."""
    seen = (pictures / 255 - np.array(mean)) / np.array(sd)
    patches = seen.reshape(-1, 4, 8, 4, 8, 3).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 16, 3 * 64)
    found: Array = patches @ filters().reshape(WIDTH, -1).T.astype(np.float64)
    return found


def unit(rows: Array) -> Array:
    made: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made
