"""What a network is made of, layer by layer, as it is written into run.json."""

from typing import Any

import torch
from torch import Tensor, nn

Layer = dict[str, Any]


@torch.no_grad()
def layers(network: nn.Module, example: Tensor) -> list[Layer]:
    """The network's layers in the order in which they answer an example (1, c, h, w), those that do not answer last.

    Of each: `name`, `kind`, `shape` of its output without the batch (None where it has none) and `parameters`, its own
    weights, learnt, fitted or frozen. The parameters add up to `models.parameter_count`.
    """
    parts = [
        (name, module)
        for name, module in network.named_modules()
        if not list(module.children()) or list(module.parameters(recurse=False))
    ]
    shapes: dict[nn.Module, list[int] | None] = {}

    def note(module: nn.Module, given: Any, answer: Any) -> None:
        shapes.setdefault(module, list(answer.shape[1:]) if isinstance(answer, Tensor) else None)

    handles = [module.register_forward_hook(note) for _, module in parts]
    learning = network.training
    try:
        network.eval()(example)
    finally:
        network.train(learning)
        for handle in handles:
            handle.remove()
    place = {module: number for number, module in enumerate(shapes)}
    parts.sort(key=lambda part: place.get(part[1], len(place)))
    return [
        {
            "name": name,
            "kind": type(module).__name__,
            "shape": shapes.get(module),
            "parameters": sum(parameter.numel() for parameter in module.parameters(recurse=False)),
        }
        for name, module in parts
    ]
