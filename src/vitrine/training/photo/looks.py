"""What is fitted after a photo net's training, in closed form, on the training photos: the kind and the looks."""

import torch
from torch import Tensor
from torch.nn import functional

from vitrine.training.photo import views
from vitrine.training.photo.lesson import PhotoLesson
from vitrine.training.photo.net import Fitted, PhotoNet, Projection, summaries
from vitrine.training.recipe import PhotographTable

VIEWS = 6
"""How often each photo is looked at, in another crop and light."""

SHRINKAGE = 0.05
"""Share of the mean variance that is added to every direction of what varies within a photo's views."""


@torch.no_grad()
def fit(lesson: PhotoLesson, network: PhotoNet, size: int) -> Fitted:
    """kind: the principal components of the last map's mean, each divided by the fourth root of its variance. looks:
    the directions of `summaries` in which photos differ most from one another, as measured by how much the views of
    one photo differ: linear discriminant analysis (Fisher 1936) with a class for each photo.
    """
    network.eval()
    generator = torch.Generator(lesson.device).manual_seed(lesson.recipe.training.seed)
    table = lesson.recipe.model
    kinds, seen = [], []
    for chosen in torch.split(torch.arange(len(lesson)), 64):
        photos = lesson.photos[chosen].to(lesson.device).permute(0, 3, 1, 2).float() / 255
        whole = network.maps(_normalised(lesson, functional.interpolate(photos, size, mode="bilinear", antialias=True)))
        kinds.append(whole[-1].mean((2, 3)))
        for_photo = [summaries(whole)]
        for _ in range(VIEWS - 1):
            view = views.windows(photos, size, _MILD, generator)
            view = views.lit(view, _MILD, generator)
            for_photo.append(summaries(network.maps(_normalised(lesson, view))))
        seen.append(torch.stack(for_photo, dim=1))  # (b, views, d)
    return Fitted(
        network,
        _components(torch.cat(kinds).double(), table.kind),
        _discriminants(torch.cat(seen).double(), table.looks),
        lesson.units,
        table,
    )


_MILD = PhotographTable(least=0.6, stretch=1.15, turn=4.0, light=0.3, colourless=0.0, blurred=0.2, mirrored=0.2)
"""How differently one may photograph one thing, or cut out one photo."""


def _normalised(lesson: PhotoLesson, images: Tensor) -> Tensor:
    return ((images - lesson.mean) / lesson.sd).contiguous(memory_format=torch.channels_last)


def _components(rows: Tensor, count: int) -> Projection:
    """Rows (n, d) float64. At most n - 1 axes: along others the rows do not vary, and what does later is noise."""
    mean = rows.mean(0)
    variances, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))  # rising
    count = max(1, min(count, len(variances), len(rows) - 1))
    least = max(1e-6 * float(variances[-1]), 1e-12)
    return Projection(mean, axes[:, -count:].flip(1) / variances[-count:].flip(0).clamp(min=least) ** 0.25)


def _discriminants(rows: Tensor, count: int) -> Projection:
    """Rows (n, views, d) float64. The axes are scaled so that along each the views of a photo vary by 1; at most n - 1
    of them, as `_components`.
    """
    middles = rows.mean(1)  # (n, d)
    mean = middles.mean(0)
    apart = (rows - middles[:, None]).flatten(0, 1)
    within = apart.T @ apart / len(apart)
    within += SHRINKAGE * within.diagonal().mean() * torch.eye(len(within), dtype=within.dtype, device=within.device)
    between = (middles - mean).T @ (middles - mean) / len(middles)
    lower = torch.linalg.cholesky(within)
    white = torch.linalg.solve_triangular(lower, between, upper=False)
    white = torch.linalg.solve_triangular(lower, white.T, upper=False)
    _, axes = torch.linalg.eigh((white + white.T) / 2)  # rising
    count = max(1, min(count, len(axes), len(rows) - 1))
    back = torch.linalg.solve_triangular(lower.T, axes[:, -count:].flip(1), upper=True)
    return Projection(mean, back)
