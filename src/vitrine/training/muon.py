"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/), for nets with convolutions: torch's own takes
matrices only. Everything that is no matrix is left to AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS = (0.9, 0.999)
STEPS = 5
"""Of the iteration."""
_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """The step of a weight is its Nesterov momentum with all singular values brought near 1, (out, in * places) for
    convolutions, times 0.2 sqrt(max(rows, columns)): as large as AdamW's (Liu et al. 2025, arXiv 2502.16982), so both
    go by one learning rate. Weight decay, decoupled, spares what is no matrix.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        every = list(parameters)
        groups = [
            {"params": [each for each in every if each.ndim > 1], "weight_decay": weight_decay},
            {"params": [each for each in every if each.ndim <= 1], "weight_decay": 0.0},
        ]
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure is taken
        """Change the parameters by their gradients."""
        matrices, others = self.param_groups
        for weight in matrices["params"]:
            if weight.grad is not None:
                weight.mul_(1 - matrices["lr"] * matrices["weight_decay"])
                weight.sub_(self._direction(weight, weight.grad), alpha=matrices["lr"])
        for weight in others["params"]:
            if weight.grad is not None:
                self._adam(weight, weight.grad, others["lr"])

    def _direction(self, weight: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(mean, MOMENTUM)
        found = orthogonal(ahead.reshape(len(weight), -1))
        step: Tensor = found.view_as(weight) * (0.2 * max(found.shape) ** 0.5)
        return step

    def _adam(self, weight: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[weight]
        if not state:
            state.update(mean=torch.zeros_like(weight), square=torch.zeros_like(weight), steps=torch.zeros(()))
        state["steps"] += 1
        (first, second), steps = BETAS, state["steps"].item()
        mean = state["mean"].lerp_(gradient, 1 - first)
        square = state["square"].lerp_(gradient.square(), 1 - second)
        root = (square / (1 - second**steps)).sqrt() + 1e-8
        weight.addcdiv_(mean, root, value=-rate / (1 - first**steps))


def orthogonal(matrix: Tensor) -> Tensor:
    """(rows, columns) with the same singular vectors, and singular values of about 0.7 to 1.2: a Newton-Schulz
    iteration of degree 5, of the rows' inner products (or the columns', if these are fewer), which are far fewer than
    the entries.
    """
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    gram = wide @ wide.T
    factor = one = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(STEPS):
        step = torch.addmm(_A * one + _B * gram, gram, gram, alpha=_C)
        factor = step @ factor
        gram = step @ gram @ step
    wide = factor @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
