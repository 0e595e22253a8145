"""The network for photos, and what the model file gives of it. Images come in normalised, (n, 3, h, w), of any size
from 32 pixels on.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrine.training.models import BasicBlock, convolution, joined, joint_embedding
from vitrine.training.photo.familiarity import Familiarity
from vitrine.training.photo.units import Units
from vitrine.training.recipe import ModelTable


class PhotoNet(nn.Module):
    """A small residual net (He et al. 2016, arXiv 1512.03385): a stem that makes the side four times smaller, stages,
    mean over the places, a linear head. So what each class saw of each place can be told (Zhou et al. 2016, arXiv
    1512.04150).
    """

    def __init__(self, table: ModelTable, units: int) -> None:
        super().__init__()
        self.stem = convolution(3, table.widths[0], 3, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        stages: list[nn.Module] = []
        inputs = table.widths[0]
        for stage, (width, count) in enumerate(zip(table.widths, table.blocks, strict=True)):
            blocks: list[nn.Module] = []
            for block in range(count):
                blocks.append(BasicBlock(inputs, width, stride=2 if stage and not block else 1))
                inputs = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.dropout = nn.Dropout(table.dropout)
        self.head = nn.Linear(inputs, units)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the units, (n, units)."""
        return self.logits(self.maps(images)[-1])

    def maps(self, images: Tensor) -> list[Tensor]:
        """What each stage gives, (n, width, h', w')."""
        x = self.pool(functional.relu(self.stem(images)))
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def logits(self, last: Tensor) -> Tensor:
        """Of the last map."""
        found: Tensor = self.head(self.dropout(last.mean((2, 3))))
        return found


def summaries(maps: list[Tensor]) -> Tensor:
    """(n, d): every map averaged over its quarters, the last one over all places; each map scaled to length 1."""
    parts = [functional.adaptive_avg_pool2d(each, 2 if each is not maps[-1] else 1).flatten(1) for each in maps]
    return torch.cat([functional.normalize(part.float(), dim=1) for part in parts], dim=1)


def features(maps: list[Tensor]) -> Tensor:
    """(n, d): the means of the last two maps over all places, the last one's first."""
    return torch.cat([each.mean((2, 3)) for each in maps[:-3:-1]], dim=1)


class Projection(nn.Module):
    """(x - mean) @ axes, of length 1: (n, d) -> (n, count)."""

    def __init__(self, mean: Tensor, axes: Tensor) -> None:
        super().__init__()
        self.mean, self.axes = (nn.Parameter(value.float().contiguous(), requires_grad=False) for value in (mean, axes))

    def forward(self, rows: Tensor) -> Tensor:
        return functional.normalize((rows.float() - self.mean) @ self.axes, dim=1)


class Fitted(nn.Module):
    """A photo net with what was fitted after training: kind (n, k), what sort of thing a photo shows, in finer terms
    than classes; looks (n, l), what this photo looks like and no other; familiar: None where nothing is rejected.
    """

    def __init__(
        self,
        net: PhotoNet,
        kind: Projection,
        looks: Projection,
        familiar: Familiarity | None,
        units: Units,
        table: ModelTable,
    ) -> None:
        super().__init__()
        self.net, self.kind, self.looks, self.familiar = net, kind, looks, familiar
        self.units, self.table = units, table

    @property
    def dimensions(self) -> int:
        """How many numbers the embedding has."""
        return self.units.learnt + self.units.open + self.kind.axes.shape[1] + self.looks.axes.shape[1]

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Logits of the units, `features`, kind, looks, and activation (n, classes, h', w')."""
        maps = self.net.maps(images)
        last = maps[-1]
        weights = self.net.head.weight[: self.units.known]
        activation = torch.einsum("kc,nchw->nkhw", weights, last)
        kind, looks = self.kind(last.mean((2, 3))), self.looks(summaries(maps))
        return self.net.logits(last), features(maps), kind, looks, activation

    def class_logits(self, logits: Tensor, found: Tensor) -> Tensor:
        """Logits of the classes, (n, known), from those of the units and `features`. Their log-sum-exp is how familiar
        the picture is, where anything is rejected.
        """
        classes = self.units.class_logits(logits)
        if self.familiar is None:
            return classes
        score: Tensor = self.familiar(found, logits)  # (n,)
        return classes.log_softmax(1) + score[:, None]

    def embedding(self, logits: Tensor, kind: Tensor, looks: Tensor) -> Tensor:
        """See `models.joint_embedding`; the probabilities are those of all units."""
        spread = logits.float() * self.table.sharpness
        if self.units.open:
            spread = functional.pad(spread, (0, 1))
        return joint_embedding(spread, joined((kind, looks), self.table.looks_share), self.table.looks_weight)


class PhotoForModelFile(nn.Module):
    """What the model file promises around it: uint8 (n, h, w, 3) in, normalised inside, and the mean over the image and
    its mirror image where the recipe asks for it. Out: logits, embedding, activation.
    """

    def __init__(self, fitted: Fitted, mean: tuple[float, ...], sd: tuple[float, ...], mirror: bool) -> None:
        super().__init__()
        self.fitted, self.mirror = fitted, mirror
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * torch.tensor(sd)))
        self.register_buffer("shift", -torch.tensor(mean) / torch.tensor(sd))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images = (image.float() * self.scale + self.shift).permute(0, 3, 1, 2)  # (n, 3, h, w)
        logits, found, kind, looks, activation = self.fitted.parts(images)
        if self.mirror:
            others = self.fitted.parts(images.flip(3))
            logits, found, activation = (
                (logits + others[0]) / 2,
                (found + others[1]) / 2,
                (activation + others[4].flip(3)) / 2,
            )
            kind, looks = kind + others[2], looks + others[3]
        kind, looks = functional.normalize(kind, dim=1), functional.normalize(looks, dim=1)
        return self.fitted.class_logits(logits, found), self.fitted.embedding(logits, kind, looks), activation
