"""What training minimises. One call shape: loss(logits, embeddings, labels) -> a number, mean over the batch."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from vitrine.training.recipe import LossTable

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def build(table: LossTable) -> Loss:
    """The loss that a recipe names. logits (n, classes), embeddings (n, d) L2-normalised, labels (n,) int64."""

    def cross_entropy(logits: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), labels, label_smoothing=table.label_smoothing)

    return cross_entropy
