"""Garments of Fashion-MNIST as photos might show them: in a colour, on any ground; or left as they are.

They teach the net shapes that few photos show (sandals, boots), and keep it right on Fashion-MNIST itself.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from vitrine.training.photo.views import drawn


def enlarged(garments: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Grey images (n, 1, h, w) 0 to 1 as the photo path brings them to a model in colour, a little moved, mirrored or
    not: (n, 3, size, size).
    """
    return _placed(garments, size, 0.1, 0.05, 3, generator).repeat(1, 3, 1, 1)


def composed(garments: Tensor, grounds: Tensor, generator: torch.Generator) -> Tensor:
    """Grey images (n, 1, h, w) 0 to 1, laid on grounds (n, 3, size, size): turned, stretched, in a colour of their own,
    some with a pattern, some with a shadow: (n, 3, size, size).
    """
    n, _, size, _ = grounds.shape
    shown = _placed(garments, size, 0.35, 0.25, 20, generator)  # (n, 1, size, size)
    cover = ((shown - 0.06) * 10).clamp(0, 1)
    shade = functional.avg_pool2d(cover, 9, 1, padding=4).roll((size // 24, size // 32), (2, 3))
    ground = grounds * (1 - shade * drawn(n, 0, 0.5, generator))
    return ground * (1 - cover) + _coloured(shown, generator) * cover


def _coloured(shown: Tensor, generator: torch.Generator) -> Tensor:
    """A garment's light and dark as a cloth's: (n, 1, h, w) -> (n, 3, h, w)."""
    n, _, size, _ = shown.shape
    colour, other = (_colours(n, generator) for _ in range(2))
    angle, period = drawn(n, 0, math.pi, generator), drawn(n, 3, size / 4, generator)
    places = torch.arange(size, device=shown.device, dtype=shown.dtype)
    wave = torch.sin((places[:, None] * angle.sin() + places * angle.cos()) * 2 * math.pi / period)
    patterned = (drawn(n, 0, 1, generator) < 0.25) * (wave * 4).clamp(0, 1)  # (n, 1, h, w)
    cloth = colour + (other - colour) * patterned
    depth = drawn(n, 0.3, 1, generator)
    return (cloth * (1 - depth + depth * shown * 1.3)).clamp(0, 1)


def _colours(n: int, generator: torch.Generator) -> Tensor:
    """(n, 3, 1, 1); most hardly coloured."""
    spread = drawn(n, 0, 1, generator) ** 2 * 0.5
    noise = torch.randn((n, 3, 1, 1), generator=generator, device=generator.device)
    return (drawn(n, 0.05, 1, generator) + noise * spread).clamp(0, 1)


def _placed(
    images: Tensor, size: int, smaller: float, moved: float, degrees: float, generator: torch.Generator
) -> Tensor:
    """At `size` pixels, up to `smaller` smaller or larger, moved by up to that share of the side, turned; black around
    it: one bilinear resampling.
    """
    n = len(images)
    wide, high, across, down, turn, flip = torch.rand((6, n), generator=generator, device=images.device) * 2 - 1
    scale = 1 + smaller * wide
    angle = turn * math.radians(degrees)
    sign = torch.where(flip < 0, -1.0, 1.0)
    tall = scale * (1 + 0.5 * smaller * high)
    rows = [
        torch.stack([sign * scale * angle.cos(), -tall * angle.sin(), across * moved * 2], dim=1),
        torch.stack([sign * scale * angle.sin(), tall * angle.cos(), down * moved * 2], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), [n, 1, size, size], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
