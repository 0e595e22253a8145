"""Which images make up each batch of an epoch.

Every function takes the labels (n,) int64 of the training images and a generator on the same device, and returns the
batches as index tensors (b,) int64 on that device. The same generator state gives the same batches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vitrine.errors import DataError, InputError

Batches = tuple[Tensor, ...]


def shuffled(labels: Tensor, batch: int, generator: torch.Generator) -> Batches:
    """Every image once, in random order; the last batch may be smaller. If one image would be left alone there, the one
    before it comes along a second time: batch norm needs two. batch: 2 or more.

    Raises DataError for fewer than two images.
    """
    if len(labels) < 2:
        raise DataError(f"The training images number {len(labels)}; batch norm needs two at least: add pictures.")
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    batches = torch.split(order, batch)
    return batches if len(batches[-1]) > 1 else (*batches[:-1], order[-2:])


def pairs(labels: Tensor, batch: int, steps: int, generator: torch.Generator) -> Batches:
    """`steps` batches of batch / 2 pairs: image i of a batch belongs to image i + batch / 2.

    The pairs 0, 2, 4, ... are of one class and the others of two, so exactly half are. Both members are drawn over the
    images, so a class comes as often as it has images: the first member goes through all images in random order, time
    and again; the second is any other image of the same class (the image itself where there is none), or any of the
    other classes.

    Raises DataError where the images are of one class, or no class has two; InputError where batch is no multiple of 4.
    """
    if batch < 4 or batch % 4:
        raise InputError(
            f"A batch of {batch} images cannot be half of pairs alike, half not; allowed are multiples of 4: change"
            " training.batch_size."
        )
    classes = _by_class(labels, "pairs")
    if int(classes.size.max()) < 2:
        raise DataError(
            f"Each of the {len(classes.size)} classes has one training image only, and a pair alike needs two; add"
            " pictures."
        )
    # Places in classes.order stand for images until the end.
    a = _rounds(len(labels), steps * batch // 2, generator).view(steps, batch // 2)
    label = classes.label[a]
    first, size = classes.first[label], classes.size[label]
    alike = first + (a - first + 1 + _below(size - 1, generator)) % size
    other = _below(len(labels) - size, generator)
    other = torch.where(other < first, other, other + size)  # skip over the class
    even = torch.arange(batch // 2, device=labels.device) % 2 == 0
    return classes.order[torch.cat((a, torch.where(even, alike, other)), 1)].unbind()


def per_class(labels: Tensor, batch: int, m: int, steps: int, generator: torch.Generator) -> Batches:
    """`steps` batches of `batch` images: batch // m distinct classes drawn at random, m images of each.

    Where there are fewer classes, each batch has all of them, with more images of each. Where the images cannot be
    dealt out evenly, some classes have one more. The images of a class differ, unless it has too few: then each is
    drawn anew. m: 1 or more.

    Raises DataError where the images are of one class; InputError where m leaves no room for two.
    """
    if batch < 2 * m:
        raise InputError(
            f"A batch of {batch} images with {m} of each class has no room for two classes; allowed are at most"
            f" {batch // 2} of each: take fewer, or raise training.batch_size."
        )
    classes = _by_class(labels, "batches by class")
    wanted = min(batch // m, len(classes.size))
    chances = torch.rand((steps, len(classes.size)), generator=generator, device=labels.device)
    chosen = chances.argsort(1)[:, :wanted]  # (steps, wanted)
    each, left = divmod(batch, wanted)
    more = _members(classes, chosen[:, :left], each + 1, generator)
    return torch.cat((more, _members(classes, chosen[:, left:], each, generator)), 1).unbind()


@dataclass(frozen=True)
class _Classes:
    """order (n,): the images, class by class. label (n,): the class of each of them, counted from 0 without gaps.
    first, size (classes,): where a class begins in `order`, and how many images it has.
    """

    order: Tensor
    label: Tensor
    first: Tensor
    size: Tensor


def _by_class(labels: Tensor, what: str) -> _Classes:
    """Raises DataError where there are not two classes, which `what` need."""
    _, size = torch.unique(labels, return_counts=True)
    if len(size) < 2:
        raise DataError(
            f"The training images are of {len(size)} class only, and {what} need two to tell apart; add pictures of"
            " another."
        )
    label = torch.arange(len(size), device=labels.device).repeat_interleave(size)
    return _Classes(labels.argsort(stable=True), label, size.cumsum(0) - size, size)


def _members(classes: _Classes, chosen: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` images of each chosen class, (steps, k) -> (steps, k * count), by Floyd's method (Bentley and Floyd 1987,
    Programming Pearls: a sample of brilliance): every set of different images is as likely.
    """
    size = classes.size[chosen]  # (steps, k)
    enough = size >= count
    drawn = torch.empty((*chosen.shape, count), dtype=torch.int64, device=chosen.device)
    for i in range(count):
        last = size - count + i
        place = _below(torch.where(enough, last + 1, size), generator)
        taken = enough & (drawn[..., :i] == place[..., None]).any(-1)
        drawn[..., i] = torch.where(taken, last, place)  # `last` was out of reach until now, so it is free
    return classes.order[classes.first[chosen][..., None] + drawn].flatten(1)


def _rounds(n: int, count: int, generator: torch.Generator) -> Tensor:
    """The first `count` of one random order of 0 ... n - 1 after another, (count,)."""
    orders = [torch.randperm(n, generator=generator, device=generator.device) for _ in range(0, count, n)]
    return torch.cat(orders)[:count]


def _below(limits: Tensor, generator: torch.Generator) -> Tensor:
    """For each limit a random whole number from 0 to limit - 1, as likely each; 0 for a limit of 0."""
    shares = torch.rand(limits.shape, dtype=torch.float64, generator=generator, device=limits.device)
    return (shares * limits).long()
