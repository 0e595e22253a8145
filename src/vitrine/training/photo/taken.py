"""First weights from a photo model file: what it learnt of photos is of use for other classes, too."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vitrine import encoder, modelfile
from vitrine.errors import InputError

PREFIX = "fitted.net."  # what `net.PhotoForModelFile` calls the network


def take(network: nn.Module, name_or_path: str) -> None:
    """Give `network` the weights of a model file, all but those of the head, which is for other classes.

    Raises ModelFileError (no such file, damaged), InputError (not a photo model, or one of another shape).
    """
    found = _weights(modelfile.read(encoder.find(name_or_path)).content)
    own = network.state_dict()
    body = {name for name, value in own.items() if value.is_floating_point() and not name.startswith("head.")}
    if any(name not in found or found[name].shape != tuple(own[name].shape) for name in body):
        raise InputError(
            f"model.weights is {name_or_path!r}, which is no photo model of the same model.widths and model.blocks;"
            " name another, or leave it empty."
        )
    for name in body:
        own[name].copy_(torch.from_numpy(found[name].astype(np.float32)))


def _weights(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """By the network's names. What two of its parts have in common (shift of a shortcut's norm and of the norm that it
    is added to) the exporter keeps once, so norms are asked by their place in the graph.
    """
    import onnx

    graph = onnx.load_from_string(content).graph
    values = {
        tensor.name.removesuffix(".half"): onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name.startswith(PREFIX)
    }
    for node in graph.node:
        if node.op_type == "BatchNormalization" and node.input[3].endswith(".running_mean"):
            norm = node.input[3].removesuffix("running_mean")
            for name, kept in zip(("weight", "bias", "running_mean", "running_var"), node.input[1:], strict=True):
                if kept in values:
                    values[norm + name] = values[kept]
    return {name.removeprefix(PREFIX): value for name, value in values.items()}
