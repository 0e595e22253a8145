"""Photos as a camera might have seen them. Every function takes images (n, 3, h, w) float, 0 to 1, and a generator on
their device; no Python loop over images.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from vitrine.training.recipe import PhotographTable

_GREY = (0.299, 0.587, 0.114)  # luma, ITU-R BT.601


def drawn(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(n, 1, 1, 1) evenly from low to high."""
    return low + (high - low) * torch.rand((n, 1, 1, 1), generator=generator, device=generator.device)


def windows(images: Tensor, size: int, table: PhotographTable, generator: torch.Generator) -> Tensor:
    """From each a window of table.least to all of its area, its sides' ratio up to table.stretch, turned by up to
    table.turn degrees, mirrored in a share of them, at `size` pixels: a bilinear resampling at twice that, and the mean
    over 2x2 pixels, as a model is asked about pictures that were made smaller without aliasing. Beyond its edges the
    picture is mirrored.
    """
    n = len(images)
    area, ratio, across, down, turn, flip = torch.rand((6, n), generator=generator, device=images.device)
    area = table.least + (1 - table.least) * area
    ratio = torch.exp((ratio * 2 - 1) * math.log(table.stretch))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    angle = (turn * 2 - 1) * math.radians(table.turn)
    sign = torch.where(flip < table.mirrored, -1.0, 1.0)
    rows = [
        torch.stack([sign * width * angle.cos(), -height * angle.sin(), (across * 2 - 1) * (1 - width)], dim=1),
        torch.stack([sign * width * angle.sin(), height * angle.cos(), (down * 2 - 1) * (1 - height)], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), [n, 3, 2 * size, 2 * size], align_corners=False)
    found: Tensor = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return functional.avg_pool2d(found, 2)


def lit(images: Tensor, table: PhotographTable, generator: torch.Generator) -> Tensor:
    """Another light: brightness, contrast, saturation, colour of the light, gamma; some without any colour, some a
    little out of focus.
    """
    n, light = len(images), table.light
    grey = (images * images.new_tensor(_GREY)[:, None, None]).sum(1, keepdim=True)
    colourless = drawn(n, 0, 1, generator) < table.colourless
    saturation = torch.where(colourless, 0.0, drawn(n, 1 - light, 1 + light, generator))
    images = grey + (images - grey) * saturation
    cast = 1 + 0.5 * light * (torch.rand((n, 3, 1, 1), generator=generator, device=images.device) - 0.5)
    images = images * cast * drawn(n, 1 - light, 1 + light, generator)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = ((images - middle) * drawn(n, 1 - light, 1 + light, generator) + middle).clamp(0, 1)
    images = images.clamp(min=1e-4) ** torch.exp(drawn(n, -light, light, generator))
    soft = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.where(drawn(n, 0, 1, generator) < table.blurred, soft, images)


def erased(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Random erasing (Zhong et al. 2017, arXiv 1708.04896): `share` of the images lose 2 to 25 % to one colour."""
    n, _, h, w = images.shape
    colour = torch.rand((n, 3, 1, 1), generator=generator, device=images.device)
    inside = _boxes(n, h, w, 0.02 + 0.23 * torch.rand((n, 1), generator=generator, device=images.device), generator)
    return torch.where(inside & (drawn(n, 0, 1, generator) < share), colour, images)


def mixed(images: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """CutMix (Yun et al. 2019, arXiv 1905.04899): `share` of the images get a rectangle of another. The images, the
    numbers of the others (n,), and what share of each image is its own (n,).
    """
    n, _, h, w = images.shape
    others = torch.randperm(n, generator=generator, device=images.device)
    inside = _boxes(n, h, w, 0.5 * torch.rand((n, 1), generator=generator, device=images.device), generator)
    inside = inside & (drawn(n, 0, 1, generator) < share)
    own = 1 - inside.float().mean((1, 2, 3))
    return torch.where(inside, images[others], images), others, own


def _boxes(n: int, h: int, w: int, area: Tensor, generator: torch.Generator) -> Tensor:
    """Rectangles of that share (n, 1) of the area, sides in a ratio of 0.5 to 2, anywhere: (n, 1, h, w) bool."""
    ratio, top, left = torch.rand((3, n, 1), generator=generator, device=generator.device)
    ratio = torch.exp((ratio * 2 - 1) * math.log(2))
    height, width = (area * ratio).sqrt().clamp(max=1) * h, (area / ratio).sqrt().clamp(max=1) * w
    top, left = top * (h - height), left * (w - width)
    rows, columns = (torch.arange(side, device=generator.device) for side in (h, w))
    in_rows = (rows >= top) & (rows < top + height)  # (n, h)
    in_columns = (columns >= left) & (columns < left + width)  # (n, w)
    inside: Tensor = in_rows[:, :, None] & in_columns[:, None, :]  # (n, h, w)
    return inside[:, None]
