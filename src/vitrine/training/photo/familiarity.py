"""How familiar a picture is to a photo net: what it is rejected by. Fitted after training, in closed form."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrine.training.photo.units import Units

RANK = 64
"""So many directions of the covariance are kept; all others count alike."""

SHRINKAGE = 0.02
"""The share of the mean variance that is added to that of every direction."""


class Familiarity(nn.Module):
    """How near a picture is to what the net was shown of its classes: minus the Mahalanobis distance to the nearest of
    several means, with one covariance for all (Lee et al. 2018, arXiv 1807.03888). Where there are strangers, also how
    much likelier the classes are than these.

    The score is the worse of the two, each in standard deviations from the mean of pictures of the classes that were
    held out: what is unusual in one respect is not known.
    """

    def __init__(self, width: int, means: Tensor, axes: Tensor, deviations: Tensor, rest: float, units: Units) -> None:
        """width: how many of the features are the last map's. means (k, d). axes (d, r): orthonormal; deviations (r,):
        standard deviations along them, rest: in every other direction.
        """
        super().__init__()
        self.width, self.rest, self.units = width, rest, units
        self.means, self.axes, self.deviations = (
            nn.Parameter(value.float().contiguous(), requires_grad=False) for value in (means, axes, deviations)
        )
        self.usual: Tensor
        self.register_buffer("usual", torch.tensor([[0.0, 1.0]] * (2 if units.strangers else 1)))

    def respects(self, features: Tensor, logits: Tensor) -> Tensor:
        """Features (n, d) and the units' logits (n, units) -> (n, 1 or 2): more for what is more familiar."""
        apart = evened(features.float(), self.width)[:, None] - self.means  # (n, k, d)
        along = apart @ self.axes  # (n, k, r)
        across = apart - along @ self.axes.T
        squares = ((along / self.deviations) ** 2).sum(2) + ((across / self.rest) ** 2).sum(2)
        found = [-squares.amin(1).clamp(min=1e-12).sqrt()]
        if self.units.strangers:
            known = self.units.known
            found.append(logits[:, :known].float().logsumexp(1) - logits[:, known:].float().logsumexp(1))
        return torch.stack(found, dim=1)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """The score, (n,)."""
        return ((self.respects(features, logits) - self.usual[:, 0]) / self.usual[:, 1]).amin(1)

    def measure_usual(self, features: Tensor, logits: Tensor) -> None:
        """Of pictures of the classes, held out, at least one."""
        found = self.respects(features, logits)
        deviations = found.std(0, correction=0).clamp(min=1e-3)
        self.usual = torch.stack([found.mean(0), deviations], dim=1)


def fit(features: Tensor, groups: Tensor, width: int, units: Units) -> Familiarity:
    """From features (n, d) of training pictures of the classes; groups (n,): which of these belong to one mean."""
    rows = evened(features.double(), width)
    parts = [rows[groups == group] for group in sorted(set(groups.tolist()))]
    means = torch.stack([part.mean(0) for part in parts])
    apart = torch.cat([part - mean for part, mean in zip(parts, means, strict=True)])
    covariance = apart.T @ apart / len(apart)
    variances, axes = torch.linalg.eigh(covariance)  # rising
    variances = variances.clamp(min=0) + max(SHRINKAGE * float(variances.mean()), 1e-9)
    rank = min(RANK, len(variances) - 1)
    rest = float(variances[:-rank].mean().sqrt())
    return Familiarity(width, means, axes[:, -rank:], variances[-rank:].sqrt(), rest, units)


def evened(features: Tensor, width: int) -> Tensor:
    """Features (n, d), the first `width` of them the last map's: each map's part scaled to length 1."""
    parts = (features[:, :width], features[:, width:])
    return torch.cat([functional.normalize(part, dim=1) for part in parts], dim=1)
