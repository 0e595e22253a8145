"""Augmentation of whole batches on the training device, by indexing: no Python loop over images.

Every function takes images (n, c, h, w) of any float type and a generator, and returns a new tensor of the same shape
and type.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from vitrine.training.recipe import AugmentationTable


def augment(
    images: Tensor, table: AugmentationTable, generator: torch.Generator, black: Tensor, white: Tensor
) -> Tensor:
    """What the recipe asks for, in the order of this file. black, white: (c,) the normalised values of these two."""
    if table.flip or table.translate:
        images = shift_and_mirror(images, table.translate, table.flip, generator)
    if table.rotate or table.crop:
        images = turn_and_crop(images, table.rotate, table.crop, generator, black)
    if table.brightness:
        images = brighten(images, table.brightness, generator, black)
    if table.hole:
        images = punch(images, table.hole, generator, black)
    if table.noise:
        images = add_noise(images, table.noise, generator, black, white)
    if table.erase:
        images = erase(images, table.erase, generator)
    return images


def shift_and_mirror(images: Tensor, reach: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `reach` pixels each way, edges repeated outwards, and mirror half of them if `flip`."""
    n, _, h, w = images.shape
    down, right = torch.randint(-reach, reach + 1, (2, n, 1), generator=generator, device=images.device)  # (n, 1) each
    rows = (torch.arange(h, device=images.device) + down).clamp(0, h - 1)  # (n, h)
    columns = (torch.arange(w, device=images.device) + right).clamp(0, w - 1)  # (n, w)
    if flip:
        mirrored = torch.rand((n, 1), generator=generator, device=images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(n, device=images.device)[:, None, None]
    return images[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # (n, h, w, c) -> (n, c, h, w)


def turn_and_crop(images: Tensor, degrees: float, share: float, generator: torch.Generator, black: Tensor) -> Tensor:
    """Turn each image by up to `degrees` each way and show a window of it, whose side is up to `share` smaller, at full
    size: one bilinear resampling. Outside is black.
    """
    n, _, h, w = images.shape
    turn, side, right, down = torch.rand((4, n), generator=generator, device=images.device)
    angle = (turn * 2 - 1) * math.radians(degrees)
    side = 1 - share * side
    cos, sin = side * angle.cos(), side * angle.sin()
    right, down = ((place * 2 - 1) * (1 - side) for place in (right, down))  # the window stays inside
    maps = torch.stack([cos, -sin * h / w, right, sin * w / h, cos, down], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)  # (n, h, w, 2)
    shifted = images.float() - black[:, None, None]  # so that the 0 outside means black
    turned = functional.grid_sample(shifted, grid, align_corners=False) + black[:, None, None]
    return turned.to(images.dtype)


def brighten(images: Tensor, share: float, generator: torch.Generator, black: Tensor) -> Tensor:
    """Multiply each image's light by a factor from 1 - share to 1 + share."""
    factor = 1 + share * (torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device) * 2 - 1)
    ground = black[:, None, None]
    return ((images - ground) * factor + ground).to(images.dtype)


def punch(images: Tensor, side: int, generator: torch.Generator, black: Tensor) -> Tensor:
    """A black square of `side` pixels at a random place of each image."""
    n, _, h, w = images.shape
    place = torch.rand((2, n, 1), generator=generator, device=images.device)
    top, left = (place[0] * (max(h - side, 0) + 1)).long(), (place[1] * (max(w - side, 0) + 1)).long()
    rows, columns = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    in_rows = (rows >= top) & (rows < top + side)  # (n, h)
    in_columns = (columns >= left) & (columns < left + side)  # (n, w)
    hole = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]  # (n, 1, h, w)
    return torch.where(hole, black[:, None, None].to(images.dtype), images)


def add_noise(images: Tensor, sd: float, generator: torch.Generator, black: Tensor, white: Tensor) -> Tensor:
    """Normal noise on every pixel, its standard deviation a share of the way from black to white; clipped to both."""
    low, high = black[:, None, None], white[:, None, None]
    noise = torch.randn(images.shape, generator=generator, device=images.device) * (sd * (high - low))
    return torch.clamp(images + noise, low, high).to(images.dtype)


def erase(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Random erasing (Zhong et al. 2017, arXiv 1708.04896): in `share` of the images a rectangle of 2 to 33 % of the
    area, sides in a ratio of 0.3 to 3.3, becomes normal noise (the images are normalised).
    """
    n, _, h, w = images.shape
    area, ratio, top, left, chosen = torch.rand((5, n, 1), generator=generator, device=images.device)
    area = (0.02 + (0.33 - 0.02) * area) * h * w
    ratio = torch.exp((ratio * 2 - 1) * math.log(1 / 0.3))
    height = (area * ratio).sqrt().clamp(1, h)
    width = (area / ratio).sqrt().clamp(1, w)
    top, left = top * (h - height), left * (w - width)
    rows, columns = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    in_rows = (rows >= top) & (rows < top + height) & (chosen < share)  # (n, h)
    in_columns = (columns >= left) & (columns < left + width)  # (n, w)
    hole = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]  # (n, 1, h, w)
    noise = torch.randn(images.shape, generator=generator, device=images.device).to(images.dtype)
    return torch.where(hole, noise, images)
