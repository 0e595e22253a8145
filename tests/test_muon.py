"""Muon: what it does to a matrix, and that it learns."""

import pytest
import torch
from torch import nn

from vitrine.training.muon import MOMENTUM, Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (16, 100), (100, 16), (1, 30)])
def test_an_orthogonal_step_keeps_directions_and_evens_out_their_sizes(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(shape, generator=generator)
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonal(matrix) @ right.T  # diagonal: the same singular vectors
    assert torch.allclose(found, torch.diag(found.diag()), atol=2e-3)
    strong = sizes > 0.05 * sizes.max()
    assert (found.diag()[strong] > 0.6).all()
    assert (found.diag() < 1.25).all()
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))


def test_a_step_is_as_large_as_said_for_a_convolution_as_for_its_matrix() -> None:
    weight = nn.Parameter(torch.ones(6, 4, 3, 3, requires_grad=True))
    gradient = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    weight.grad = gradient.clone()
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    expected = 1 - 0.1 * 0.5 - 0.1 * 0.2 * 36**0.5 * orthogonal(gradient.reshape(6, 36)).view(6, 4, 3, 3)
    assert torch.allclose(weight.detach(), expected, atol=1e-5)
    assert 0 < MOMENTUM < 1


def test_what_is_no_matrix_is_adamw_without_decay() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    muon = Muon([ours], lr=0.01, weight_decay=0.3)
    adamw = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.0)
    for step in range(5):
        for one in (ours, theirs):
            one.grad = torch.sin(torch.arange(7.0) + step)
        muon.step()
        adamw.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_it_finds_a_map_that_is_badly_scaled_where_sgd_does_not() -> None:
    generator = torch.Generator().manual_seed(3)
    wanted = torch.randn(10, 10, generator=generator)
    rows = torch.randn(200, 10, generator=generator) * torch.logspace(0, -2, 10)

    def left(make: type[Muon] | type[torch.optim.SGD]) -> float:
        weight = nn.Parameter(torch.zeros(10, 10))
        optimiser = make([weight], lr=0.1, weight_decay=0.0)
        for step in range(200):
            for group in optimiser.param_groups:
                group["lr"] = 0.1 * (1 - step / 200)
            optimiser.zero_grad()
            torch.autograd.backward((rows @ (weight - wanted)).square().mean())
            optimiser.step()
        return float((weight - wanted).detach().norm())

    assert left(Muon) < 0.5 * left(torch.optim.SGD)
