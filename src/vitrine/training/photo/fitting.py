"""What is fitted after a photo net's training, in closed form, on what it was trained on: the kind and the looks of its
embedding, and what is familiar to it.
"""

import torch
from torch import Tensor
from torch.nn import functional

from vitrine.training.photo import composites, familiarity, views
from vitrine.training.photo.familiarity import Familiarity
from vitrine.training.photo.lesson import PhotoLesson, floats
from vitrine.training.photo.net import Fitted, PhotoNet, Projection, features, summaries
from vitrine.training.recipe import PhotographTable

VIEWS = 6
"""How often each photo is looked at, in another crop and light."""

SHRINKAGE = 0.05
"""Share of the mean variance that is added to every direction of what varies within a photo's views."""


GARMENTS = 2000
"""So many of the garments learnt beside are looked at, to tell what is familiar."""


@torch.no_grad()
def fit(lesson: PhotoLesson, network: PhotoNet, size: int, held_out: Tensor, labels: Tensor) -> Fitted:
    """kind: the principal components of the last map's mean, each divided by the fourth root of its variance. looks:
    the directions of `summaries` in which photos differ most from one another, as measured by how much the views of
    one photo differ: linear discriminant analysis (Fisher 1936) with a class for each photo. familiar: see there;
    held_out (n, 3, h, w), normalised, and labels (n,) are photos that the net was not trained on.
    """
    network.eval()
    generator = torch.Generator(lesson.device).manual_seed(lesson.recipe.training.seed)
    table = lesson.recipe.model
    kinds, seen = [], []
    for chosen in torch.split(torch.arange(len(lesson)), 64):
        photos = floats(lesson.photos[chosen], lesson.device)
        whole = network.maps(_sized(lesson, photos, size))
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
        _familiarity(lesson, network, size, held_out, labels) if lesson.units.open else None,
        lesson.units,
        table,
    )


def _familiarity(lesson: PhotoLesson, network: PhotoNet, size: int, held_out: Tensor, labels: Tensor) -> Familiarity:
    """A mean for each folder that shows classes, and one for each class of the garments, as they are."""
    units = lesson.units
    chosen = torch.nonzero(units.shows_classes(lesson.labels))[:, 0]
    photos = (floats(lesson.photos[part.cpu()], lesson.device) for part in torch.split(chosen, 64))
    found = [_features(lesson, network, _sized(lesson, part, size))[0] for part in photos]
    groups = [lesson.labels[chosen]]
    if lesson.garments is not None and lesson.garment_labels is not None:
        generator = torch.Generator(lesson.device).manual_seed(lesson.recipe.training.seed)
        chosen = torch.randperm(len(lesson.garments), generator=generator, device=lesson.device)[:GARMENTS]
        for part in torch.split(chosen, 64):
            grey = floats(lesson.garments[part.cpu()], lesson.device)
            shown = _normalised(lesson, composites.enlarged(grey, size, generator))
            found.append(_features(lesson, network, shown)[0])
        groups.append(len(units.sets) + lesson.garment_labels[chosen])
    fitted = familiarity.fit(torch.cat(found), torch.cat(groups), network.head.in_features, units)
    fitted.measure_usual(*_features(lesson, network, held_out[units.shows_classes(labels)]))
    return fitted


def _features(lesson: PhotoLesson, network: PhotoNet, images: Tensor) -> tuple[Tensor, Tensor]:
    """`net.features` and logits as the model file gives them, of images (n, 3, h, w), normalised."""
    sides = (images, images.flip(3)) if lesson.recipe.training.mirror else (images,)
    found, logits = [], []
    for part in zip(*(torch.split(view, 64) for view in sides), strict=True):
        maps = [network.maps(view) for view in part]
        found.append(torch.stack([features(each) for each in maps]).mean(0))
        logits.append(torch.stack([network.logits(each[-1]) for each in maps]).mean(0))
    return torch.cat(found), torch.cat(logits)


_MILD = PhotographTable(least=0.6, stretch=1.15, turn=4.0, light=0.3, colourless=0.0, blurred=0.2, mirrored=0.2)
"""How differently one may photograph one thing, or cut out one photo."""


def _sized(lesson: PhotoLesson, photos: Tensor, size: int) -> Tensor:
    """Photos (n, 3, h, w), 0 to 1, as the net is asked about them: the middle (`ImageSpec.middle`), whole pixels."""
    kept = photos.shape[-1]
    cut = 0 if kept == size else round(kept * (1 - lesson.recipe.data.middle) / 2)  # as `images.resize`
    part = photos[..., cut : photos.shape[-2] - cut, cut : photos.shape[-1] - cut]
    return _normalised(lesson, functional.interpolate(part, size, mode="bilinear", antialias=True))


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
