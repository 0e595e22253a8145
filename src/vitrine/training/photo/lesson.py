"""What the training loop learns from, step by step, when the data are photos."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitrine.datasets import Dataset
from vitrine.spec import ImageSpec
from vitrine.training import samplers
from vitrine.training.lessons import Autocast
from vitrine.training.photo import composites, views
from vitrine.training.photo.grounds import grounds
from vitrine.training.photo.net import PhotoNet
from vitrine.training.photo.units import Units, set_loss
from vitrine.training.processes import ALONE, Group
from vitrine.training.recipe import Recipe

GROUNDS = 1024
"""How many pictures by code are drawn for a training."""


@dataclass(frozen=True)
class Shown:
    """A batch: images (n, 3, h, w) 0 to 1; sets (n, units) of what is right; others (n,), own (n,): of image i the
    share own[i] is its own, the rest is of image others[i].
    """

    images: Tensor
    sets: Tensor
    others: Tensor
    own: Tensor


class PhotoLesson:
    """Photos in strong augmentation; garments of the data set beside them, laid on grounds by code or as they are; and
    grounds without any garment.
    """

    def __init__(
        self,
        recipe: Recipe,
        units: Units,
        photos: Dataset,
        beside: Dataset | None,
        image: ImageSpec,
        device: str,
        group: Group = ALONE,
    ) -> None:
        self.recipe, self.units, self.device, self.group = recipe, units, device, group
        torch.manual_seed(recipe.training.seed)
        self.photos = torch.from_numpy(photos.images.copy())  # (n, h, w, 3) uint8
        self.labels = torch.from_numpy(photos.labels.copy()).to(device)
        self.garments = None if beside is None else torch.from_numpy(beside.images.copy())  # (m, h, w, 1) uint8
        self.garment_labels = None if beside is None else torch.from_numpy(beside.labels.copy()).to(device)
        self.grounds = torch.from_numpy(grounds(GROUNDS, photos.images.shape[1], seed=recipe.training.seed))
        self.mean, self.sd = (torch.tensor(value, device=device)[:, None, None] for value in (image.mean, image.sd))
        self.network = PhotoNet(recipe.model, units.learnt).to(device)
        self.learner: nn.Module = self.network
        self.objective = nn.Identity()
        self.teachers: list[nn.Module] = []

    def __len__(self) -> int:
        return len(self.photos)

    def batches(self, generator: torch.Generator) -> samplers.Batches:
        return samplers.shuffled(self.labels, self.recipe.training.batch_size, generator)

    def learn(
        self, chosen: Tensor, passed: float, generator: torch.Generator, autocast: Autocast
    ) -> tuple[Tensor, Tensor]:
        """The loss on a batch of photos and what goes with it, and how many of the photos were told right. passed: the
        share of the epochs that are done.
        """
        table = self.recipe.photograph
        early = passed < table.early
        size = table.early_size if early else table.late_size if passed >= 1 - table.late else table.size
        photos = self._photos(chosen, size, generator)
        garments = self._garments(table.early_garments if early else table.garments, size, generator)
        nothing = self._nothing(size, generator)
        parts = [part for part in (photos, garments, nothing) if part is not None]
        images = torch.cat([part.images for part in parts])
        n, own = len(images), images[self.group.part(len(images))].contiguous(memory_format=torch.channels_last)
        normalised = (own - self.mean) / self.sd
        with autocast:
            logits = self.learner(normalised)
            taught = self._taught(normalised)
        found = self.units.log_probabilities(self.group.gathered(logits, n))
        smoothing = self.recipe.loss.label_smoothing
        losses, at = [], 0
        for part in parts:
            answers = found[at : at + len(part.sets)]
            own = set_loss(answers, part.sets, smoothing)
            others = set_loss(answers, part.sets[part.others], smoothing)
            losses.append(part.own * own + (1 - part.own) * others)
            at += len(part.sets)
        weights = [1.0] + [self.recipe.loss.weight] * (len(parts) - 1)
        right = photos.sets.gather(1, found[: len(chosen)].argmax(1, keepdim=True)).sum()
        if taught is not None:
            share = self.recipe.loss.taught
            said = -(self.group.gathered(taught, n) * found.clamp(min=-1e4)).sum(1)
            parted = torch.split(said, [len(part.sets) for part in parts])
            losses = [(1 - share) * loss + share * more for loss, more in zip(losses, parted, strict=True)]
        total = sum(weight * loss.sum() for weight, loss in zip(weights, losses, strict=True))
        return torch.as_tensor(total) / sum(w * len(loss) for w, loss in zip(weights, losses, strict=True)), right

    def _taught(self, images: Tensor) -> Tensor | None:
        """The teachers' mean probabilities, (n, units), of the same views: what they make of a mixed, half hidden photo
        is learnt, too (Beyer et al. 2022, arXiv 2106.05237).
        """
        if not self.teachers:
            return None
        with torch.no_grad():
            answers = [self.units.log_probabilities(teacher(images)).exp() for teacher in self.teachers]
        return torch.stack(answers).mean(0)

    def evaluate(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Loss and accuracy on photos (n, 3, h, w), normalised, as they are."""
        with torch.no_grad():
            found = torch.cat([self.units.log_probabilities(network(part)) for part in torch.split(images, 100)])
        sets = self.units.targets(labels)
        right = sets.gather(1, found.argmax(1, keepdim=True)).float().mean()
        return float(set_loss(found, sets).mean()), float(right)

    def _photos(self, chosen: Tensor, size: int, generator: torch.Generator) -> Shown:
        table = self.recipe.photograph
        images = views.windows(floats(self.photos[chosen.cpu()], self.device), size, table, generator)
        images = views.erased(views.lit(images, table, generator), table.erase, generator)
        images, others, own = views.mixed(images, table.mix, generator)
        return Shown(images, self.units.targets(self.labels[chosen]), others, own)

    def _garments(self, n: int, size: int, generator: torch.Generator) -> Shown | None:
        if self.garments is None or self.garment_labels is None or not n:
            return None
        chosen = torch.randint(len(self.garments), (n,), generator=generator, device=self.device)
        grey = floats(self.garments[chosen.cpu()], self.device)
        plain = round(n * self.recipe.photograph.plain)
        laid = composites.composed(grey[plain:], self._grounds(n - plain, size, generator), generator)
        laid = views.lit(laid, self.recipe.photograph, generator)
        images = torch.cat([composites.enlarged(grey[:plain], size, generator), laid])
        return _unmixed(images, self.units.of_classes(self.garment_labels[chosen]))

    def _nothing(self, size: int, generator: torch.Generator) -> Shown | None:
        n = self.recipe.photograph.nothing
        if not n or not self.units.open:
            return None
        images = views.lit(self._grounds(n, size, generator), self.recipe.photograph, generator)
        return _unmixed(images, self.units.of_nothing(n, images.device))

    def _grounds(self, n: int, size: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(self.grounds), (n,), generator=generator, device=self.device)
        return views.windows(floats(self.grounds[chosen.cpu()], self.device), size, self.recipe.photograph, generator)


def floats(images: Tensor, device: str) -> Tensor:
    """(n, h, w, c) uint8 -> (n, c, h, w) 0 to 1, on the device."""
    return images.to(device).permute(0, 3, 1, 2).float() / 255


def _unmixed(images: Tensor, sets: Tensor) -> Shown:
    n = len(images)
    return Shown(images, sets, torch.arange(n, device=images.device), torch.ones(n, device=images.device))
