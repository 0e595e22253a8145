"""Augmentation of whole batches on the training device, by indexing: no Python loop over images.

Every function takes images (n, c, h, w) of any float type and a generator, and returns a new tensor of the same shape
and type.
"""

import math

import torch
from torch import Tensor

from vitrine.training.recipe import AugmentationTable


def augment(images: Tensor, table: AugmentationTable, generator: torch.Generator) -> Tensor:
    """What the recipe asks for, in the order mirror and shift, then erase."""
    if table.flip or table.translate:
        images = shift_and_mirror(images, table.translate, table.flip, generator)
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
