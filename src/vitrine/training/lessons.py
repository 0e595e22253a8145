"""What a training learns from, step by step: the loop knows no more of it than this."""

import contextlib
import math
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vitrine.datasets import Dataset
from vitrine.spec import ImageSpec
from vitrine.training import losses, models, samplers
from vitrine.training.processes import ALONE, Group
from vitrine.training.recipe import Recipe
from vitrine.training.transforms import augment

Autocast = contextlib.AbstractContextManager[Any]


class Lesson(Protocol):
    """network: what learns. objective: what learns beside it and is thrown away afterwards. learner: the network as it
    is called in a step, where several processes (`group`) learn it together.
    """

    recipe: Recipe
    device: str
    group: Group
    learner: nn.Module

    @property
    def network(self) -> nn.Module: ...

    @property
    def objective(self) -> nn.Module: ...

    def batches(self, generator: torch.Generator) -> samplers.Batches:
        """An epoch's batches, as numbers of training images."""

    def learn(
        self, chosen: Tensor, passed: float, generator: torch.Generator, autocast: Autocast
    ) -> tuple[Tensor, Tensor]:
        """The loss on a batch (b,), and how many of it were told right: the same in all processes. passed: the share of
        the epochs that are done.
        """

    def evaluate(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Loss and accuracy of a network like this lesson's, on images that it does not learn from (n, c, h, w)."""


class ClassLesson:
    """Images of classes, augmented as the recipe says, in one tensor on the device."""

    def __init__(self, recipe: Recipe, training: Dataset, image: ImageSpec, device: str, group: Group = ALONE) -> None:
        self.recipe, self.device, self.group = recipe, device, group
        torch.manual_seed(recipe.training.seed)
        ends = [[(value - mean) / sd for mean, sd in zip(image.mean, image.sd, strict=True)] for value in (0, 1)]
        self.black, self.white = torch.tensor(ends, device=device)  # (c,) each
        classes = len(training.class_names["en"])
        sizes = (image.channels, image.height, classes)
        self.network = models.build(recipe.model, *sizes, (self.black, self.white)).to(device)
        self.objective = losses.Objective(recipe.loss, classes, self.network.compared).to(device)
        self.network.probe = self.objective.probe
        self.learner: nn.Module = self.network
        self.images, self.labels = as_tensors(training, image, device)

    def batches(self, generator: torch.Generator) -> samplers.Batches:
        recipe = self.recipe
        batch = recipe.training.batch_size
        steps = recipe.sampler.steps or math.ceil(len(self.labels) / batch)
        if recipe.sampler.name == "pairs":
            return samplers.pairs(self.labels, batch, steps, generator)
        if recipe.sampler.name == "per-class":
            return samplers.per_class(self.labels, batch, recipe.sampler.per_class, steps, generator)
        return samplers.shuffled(self.labels, batch, generator)

    def learn(
        self, chosen: Tensor, passed: float, generator: torch.Generator, autocast: Autocast
    ) -> tuple[Tensor, Tensor]:
        x, y, which = self._views(chosen, generator)  # (v b, c, h, w), (v b,), (v b,)
        classified = second_views(self.recipe, len(chosen), generator)
        with autocast, torch.set_grad_enabled(not self.recipe.model.frozen):
            logits, vectors = self._answers(x, classified, len(chosen))
        loss: Tensor = self.objective(logits, vectors, y, which, classified)
        return loss, (logits.argmax(1) == (y if classified is None else y[classified])).sum()

    def evaluate(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Cross-entropy without smoothing."""
        with torch.no_grad():
            logits = torch.cat([network(part)[0].float() for part in torch.split(images, 500)])  # (n, classes)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return float(loss), float((logits.argmax(1) == labels).float().mean())

    def _answers(self, x: Tensor, classified: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
        """Logits and vectors of all views (v n, c, h, w) of a batch of n images, in their order; this process looks at
        those of its part.
        """
        part, views = self.group.part(n), len(x) // n
        own = x.view(views, n, *x.shape[1:])[:, part].flatten(0, 1).contiguous(memory_format=torch.channels_last)
        rows = torch.arange(n, device=x.device)[part]
        if classified is not None:
            second = classified[part] >= n
            rows = torch.arange(len(rows), device=x.device) + len(rows) * second
        logits, vectors = self.learner(own, None if classified is None else rows)
        by_image = vectors.view(views, len(rows), -1).transpose(0, 1)  # (m, v, d)
        return self.group.gathered(logits, n), self.group.gathered(by_image, n).transpose(0, 1).flatten(0, 1)

    def _views(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One or two augmented views of each image, in blocks, with its class and its number in the batch."""
        recipe, images, labels = self.recipe, self.images[chosen], self.labels[chosen]
        tables = (recipe.augmentation, recipe.second_view)[: recipe.training.views]
        views = [augment(images, table, generator, self.black, self.white) for table in tables]
        x = torch.cat(views).contiguous(memory_format=torch.channels_last)  # (v b, c, h, w)
        return x, labels.repeat(len(views)), torch.arange(len(labels), device=labels.device).repeat(len(views))


def second_views(recipe: Recipe, images: int, generator: torch.Generator) -> Tensor | None:
    """Which rows of the two views the classifier learns from, one of each image (b,); None: all, there is one view."""
    if recipe.training.views == 1:
        return None
    second = torch.rand(images, generator=generator, device=generator.device) < recipe.loss.second_view
    return torch.arange(images, device=generator.device) + images * second


def as_tensors(dataset: Dataset, image: ImageSpec, device: str) -> tuple[Tensor, Tensor]:
    """Normalised images (n, c, h, w) float32 and labels (n,) int64, on the device."""
    pixels = torch.from_numpy(np.ascontiguousarray(dataset.images)).to(device)  # (n, h, w, c) uint8
    images = (pixels.float() / 255 - torch.tensor(image.mean, device=device)) / torch.tensor(image.sd, device=device)
    return images.permute(0, 3, 1, 2), torch.from_numpy(dataset.labels.copy()).to(device)
