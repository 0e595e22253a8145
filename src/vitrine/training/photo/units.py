"""What the logits of a photo net stand for, and which of them are right for a photo.

A folder of photos may mean several classes at once (shoes: sandal, sneaker or ankle boot), or none of them (hats). The
net has a unit for each class, one for each folder that is none of them, and one whose logit is always 0, for whatever
else there is. A photo's label is the set of the units that are right for it: the loss is the negative logarithm of
their joint probability.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vitrine.datasets import ClassNames
from vitrine.errors import DataError


@dataclass(frozen=True)
class Units:
    """classes: what the model file will name. strangers: folders that are none of them, a unit each. sets: for each
    folder the numbers of its units, classes first, strangers after them. open: whether there is a unit for all else;
    its logit is 0.
    """

    classes: ClassNames
    strangers: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]
    open: bool

    @property
    def known(self) -> int:
        """How many units stand for classes."""
        return len(self.classes["en"])

    @property
    def learnt(self) -> int:
        """How many logits the net gives; the one that is always 0 is not among them."""
        return self.known + len(self.strangers)

    def targets(self, labels: Tensor) -> Tensor:
        """Folder numbers (n,) as sets: (n, learnt + 1) bool."""
        table = torch.zeros((len(self.sets), self.learnt + 1), dtype=torch.bool, device=labels.device)
        for row, members in enumerate(self.sets):
            table[row, list(members)] = True
        return table[labels]

    def shows_classes(self, labels: Tensor) -> Tensor:
        """Whether photos from these folders (n,) show one of the classes: (n,) bool."""
        return self.targets(labels)[:, : self.known].any(1)

    def of_classes(self, labels: Tensor) -> Tensor:
        """Class numbers (n,) as sets: (n, learnt + 1) bool."""
        return functional.one_hot(labels, self.learnt + 1).bool()

    def of_nothing(self, n: int, device: torch.device) -> Tensor:
        """The set of what is no class and of no folder: (n, learnt + 1) bool."""
        return self.of_classes(torch.full((n,), self.learnt, device=device))

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """(n, learnt) -> (n, learnt + 1)."""
        last = 0.0 if self.open else -torch.inf
        return functional.pad(logits.float(), (0, 1), value=last).log_softmax(1)

    def class_logits(self, logits: Tensor) -> Tensor:
        """(n, learnt) -> (n, known): logits of the classes whose log-sum-exp is the logarithm of the odds that the
        picture shows any of them, as the net was taught. Their softmax is that among the classes alone.
        """
        if not self.open:
            return logits
        rest = functional.pad(logits[:, self.known :], (0, 1)).logsumexp(1, keepdim=True)  # the last is 0
        return logits[:, : self.known] - rest


def of_folders(
    folders: tuple[str, ...],
    classes: ClassNames | None,
    meaning: Mapping[str, tuple[str, ...]],
    left_out: Collection[int],
    open: bool,
) -> Units:
    """The units for photos from these folders. classes: those of the data set learnt beside, or None: then the folders
    that mean something are the classes. meaning: folder -> class names; without an entry, a folder means itself.
    left_out: numbers of folders that are not learnt, and get no unit. open: whether there is a unit for all else, too.

    Raises DataError for a folder that means a class that there is not, or an entry for no folder.
    """
    for folder in meaning:
        if folder not in folders:
            raise DataError(
                f"[classes] names the folder {folder!r}, and there is none; there are {', '.join(folders)}."
            )
    meant = {folder: meaning.get(folder, (folder,)) for folder in folders}
    if classes is None:
        names = tuple(dict.fromkeys(name for folder in folders for name in meant[folder]))
        classes = {"en": names}
    names = classes["en"]
    for folder, wanted in meant.items():
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise DataError(
                f"The folder {folder!r} means the class {unknown[0]!r}; known are {', '.join(names)}: say in [classes]"
                f" which it means, or none ({folder} = [])."
            )
    learnt = [folder for number, folder in enumerate(folders) if number not in left_out]
    strangers = tuple(folder for folder in learnt if not meant[folder])
    open = open or bool(strangers)
    other = len(names) + len(strangers)  # what is left out, where one comes to be looked at
    sets = tuple(
        tuple(names.index(name) for name in meant[folder])
        or ((len(names) + strangers.index(folder),) if folder in strangers else (other,))
        for folder in folders
    )
    return Units(classes, strangers, sets, open)


def set_loss(log_probabilities: Tensor, sets: Tensor, smoothing: float = 0.0) -> Tensor:
    """(n,): the negative logarithm of the probability that each row gives to its set (n, units) bool; for `smoothing`
    of it, the mean over the units that can be at all.
    """
    found = -log_probabilities.masked_fill(~sets, -torch.inf).logsumexp(1)
    if not smoothing:
        return found
    possible = torch.isfinite(log_probabilities)
    everywhere = -log_probabilities.masked_fill(~possible, 0).sum(1) / possible.sum(1)
    return (1 - smoothing) * found + smoothing * everywhere
