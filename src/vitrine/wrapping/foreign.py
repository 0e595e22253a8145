"""Somebody else's ONNX file, read and cut down to what makes the values that are wanted of it.

Needs the onnx package.
"""

from collections.abc import Iterable, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, compose, inliner

from vitrine import modelfile
from vitrine.errors import InputError, ModelFileError

Layout = Literal["nchw", "nhwc"]
Dims = tuple[int | None, ...]

PREFIX = "theirs/"
"""Before every name of their graph, so that none of them is one of ours."""

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_OLDEST = 7  # opset; older ones broadcast in another way, and ONNX Runtime does not promise to run them
_LISTED = 12


@dataclass(frozen=True)
class PictureInput:
    """What their graph takes. name: with PREFIX. kind: a TensorProto.DataType. dims: four, None where they are open."""

    name: str
    kind: int
    dims: Dims
    layout: Layout

    @property
    def batch(self) -> int | None:
        return self.dims[0]

    @property
    def channels(self) -> int | None:
        return self.dims[1 if self.layout == "nchw" else 3]

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width."""
        first = 2 if self.layout == "nchw" else 1
        return self.dims[first], self.dims[first + 1]


def read(path: Path) -> onnx.ModelProto:
    """The model in that file, weights that lie in other files included, functions unfolded.

    Raises ModelFileError: it cannot be read, is not ONNX, is damaged, is too old, or its weights are missing.
    """
    try:
        model = onnx.load(path, format="protobuf")
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror or error}); name an ONNX file.") from error
    except DecodeError as error:
        raise ModelFileError(
            f"{path} is not an ONNX file, or it is damaged; export the model to ONNX again."
        ) from error
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelFileError(
            f"{path} keeps its weights in another file, and that one cannot be used"
            f" ({str(error).splitlines()[0].rstrip('.')}); put it beside {path.name}, as the exporter did."
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ModelFileError(f"{path} is not an ONNX file; export the model to ONNX.")
    if any(entry.key == modelfile.METADATA_KEY for entry in model.metadata_props):
        raise ModelFileError(f"{path} is one of vitrine's model files already; use it as it is, with --model {path}.")
    if model.graph.sparse_initializer:
        raise ModelFileError(
            f"{path} has sparse weights, which vitrine does not know; export the model with dense ones."
        )
    if 0 < opset(model) < _OLDEST:
        raise ModelFileError(
            f"{path} is of ONNX opset {opset(model)}; allowed is {_OLDEST} and newer: export the model again."
        )
    if model.functions:
        model = inliner.inline_local_functions(model)
    return model


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators, 0 where the model uses none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def chosen_output(model: onnx.ModelProto, name: str | None, path: Path) -> str:
    """The value with that name; without one, the only output. Raises InputError."""
    outputs: list[str] = [value.name for value in model.graph.output]
    if name is None:
        if len(outputs) == 1:
            return outputs[0]
        raise InputError(
            f"{path} has {len(outputs)} outputs; say with --output which one is the embedding: {_listed(outputs)}."
        )
    if not any(name in node.output for node in model.graph.node):
        raise InputError(f"{path} has no output {name!r}; it has {_listed(outputs)}.")
    return name


def before_softmax(model: onnx.ModelProto, name: str) -> str:
    """What a softmax made that value of, if one did: vitrine takes the softmax itself."""
    maker = next(node for node in model.graph.node if name in node.output)
    return str(maker.input[0]) if maker.op_type in ("Softmax", "LogSoftmax") else name


def cut(model: onnx.ModelProto, wanted: Sequence[str]) -> None:
    """Leave only what those values are made of, make them the outputs, and put PREFIX before every name."""
    graph = model.graph
    makers = {output: place for place, node in enumerate(graph.node) for output in node.output if output}
    kept, seen, open_values = set[int](), set[str](), list(wanted)
    while open_values:
        name = open_values.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in makers and makers[name] not in kept:
            kept.add(makers[name])
            node = graph.node[makers[name]]
            open_values += [*node.input, *modelfile.outer_values(node)]
    _drop(graph.node, (place in kept for place in range(len(graph.node))))
    _drop(graph.initializer, (tensor.name in seen for tensor in graph.initializer))
    weights = {tensor.name for tensor in graph.initializer}
    _drop(graph.input, (value.name in seen and value.name not in weights for value in graph.input))
    del graph.output[:], graph.value_info[:], graph.quantization_annotation[:], model.metadata_props[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(wanted))
    for node in graph.node:  # sources and the like: paths of the machine that made it
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    compose.add_prefix_graph(graph, PREFIX, inplace=True)


def picture_input(model: onnx.ModelProto, layout: Layout | None, path: Path) -> PictureInput:
    """The input of a model that was cut. Raises InputError where it is no picture, or there are others."""
    inputs = list(model.graph.input)
    if not inputs:
        raise InputError(f"What is wanted of {path} is not made of any input; name another --output.")
    if len(inputs) > 1:
        raise InputError(
            f"What is wanted of {path} is made of {len(inputs)} inputs ({_listed(map(described, inputs))}); name an"
            " --output that is made of the picture alone."
        )
    kind, dims = inputs[0].type.tensor_type.elem_type, dims_of(inputs[0])
    if kind not in _FLOATS or dims is None or len(dims) != 4:
        raise InputError(
            f"{path} takes {described(inputs[0])}; vitrine wraps models that take pictures, as (n, channels, height,"
            " width) or (n, height, width, channels) of float32, float16 or float64."
        )
    found = PictureInput(inputs[0].name, kind, dims, layout or _layout(inputs[0], dims, path))
    if found.channels not in (None, 1, 3):
        raise InputError(
            f"{path} takes {described(inputs[0])}, {found.channels} channels as {found.layout}; vitrine has pictures"
            " of 1 (grey) or 3 (RGB)."
        )
    if found.batch not in (None, 1):
        raise InputError(
            f"{path} takes exactly {found.batch} pictures at a time; export it with an open batch size, or for 1"
            " picture."
        )
    return found


def serialised(model: onnx.ModelProto, path: Path) -> bytes:
    """The model as bytes. Raises ModelFileError beyond 2 GB, which is protobuf's limit."""
    try:
        content: bytes = model.SerializeToString(deterministic=True)
    except (ValueError, EncodeError) as error:
        raise ModelFileError(
            f"{path} has more than 2 GB of weights; an ONNX file holds no more: use a smaller model."
        ) from error
    return content


def dims_of(value: onnx.ValueInfoProto) -> Dims | None:
    """The dimensions of a tensor, None for each that is left open; None where nothing is known."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)


def described(value: onnx.ValueInfoProto) -> str:
    """Name, type and shape of an input, as "ids int64 (?, 77)"."""
    name = value.name.removeprefix(PREFIX)
    if not value.type.HasField("tensor_type"):
        return f"{name}, no tensor"
    dims = dims_of(value)
    kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    shape = "of any shape" if dims is None else f"({', '.join('?' if dim is None else str(dim) for dim in dims)})"
    return f"{name} {kind} {shape}"


def _layout(value: onnx.ValueInfoProto, dims: Dims, path: Path) -> Layout:
    """By where the channels can be, or are said to be. Raises InputError where that cannot be told."""
    first, last = dims[1] in (1, 3), dims[3] in (1, 3)
    if first == last:
        names = [dim.dim_param.lower() for dim in value.type.tensor_type.shape.dim]
        first, last = "channel" in names[1], "channel" in names[3]
    if first != last:
        return "nchw" if first else "nhwc"
    raise InputError(
        f"{path} takes {described(value)}, which does not say where the channels are; say it with --layout nchw or"
        " --layout nhwc."
    )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f", and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more


def _drop(entries: MutableSequence[Any], keep: Iterable[bool]) -> None:
    """Take out of a repeated field what is not to be kept, without copying the rest: weights are large."""
    for place in [place for place, kept in enumerate(keep) if not kept][::-1]:
        del entries[place]
