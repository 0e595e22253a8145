"""What training minimises.

The metric losses have one call shape: loss(embeddings (n, d), labels (n,) int64) -> a number, shape (). They compute in
float32 where the embeddings are float16 or bfloat16, inside autocast too, and in float64 where they are float64. Where
a batch has nothing to average (all images of one class, no two alike) that part counts 0, with a gradient of 0.

`labels` are classes; SupCon takes other groups, too. Learnt weights start from torch's global generator.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrine.training.recipe import LossTable


class ReportAHead(nn.Module):
    """Report A's head on pairs: from the distance of two rows to the probability that they are of the same class.

    Row i is compared with row i + n/2, as `samplers.pairs` yields them. The rows need not be unit vectors (the report
    takes class probabilities). A small net, 1-16-16-1 with batch norm after the first layer, makes a logit of the
    distance; the loss is the binary cross-entropy, mean over the pairs.

    Initial weights and batch norm are Keras's. One difference remains: torch's running variance divides by pairs - 1,
    Keras's by pairs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 16)
        self.norm = nn.BatchNorm1d(16, eps=1e-3, momentum=0.01)  # Keras writes this momentum as 0.99
        self.second = nn.Linear(16, 16)
        self.last = nn.Linear(16, 1)
        for layer in (self.first, self.second, self.last):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss. In eval mode batch norm uses its running statistics. Raises ValueError for an odd n, and for 0."""
        if not len(embeddings) or len(embeddings) % 2:
            raise ValueError(f"The batch has {len(embeddings)} rows; pairs need an even number.")
        a, b = _wide(embeddings).chunk(2)  # (n/2, d) each
        # The least of 1e-7 is the report's; below it the square root has no gradient.
        distances = (a - b).square().sum(1).clamp(min=1e-7).sqrt()  # (n/2,)
        alike = labels.chunk(2)[0] == labels.chunk(2)[1]
        # The variance of one pair is 0: it would tell nothing and spoil the running statistics.
        logits = self._logits(distances, self.training and len(distances) > 1)
        return functional.binary_cross_entropy_with_logits(logits, alike.to(logits.dtype))

    @torch.no_grad()
    def probability(self, distances: Tensor) -> Tensor:
        """The probability that two images at each of these distances (k,) are of the same class, (k,); batch norm uses
        its running statistics, whatever the mode.
        """
        return self._logits(_wide(distances), False).sigmoid()

    def _logits(self, distances: Tensor, batch_statistics: bool) -> Tensor:
        """(k,) -> (k,), in the type of the weights."""
        self.norm.train(batch_statistics)
        with torch.autocast(distances.device.type, enabled=False):
            hidden = functional.relu(self.first(distances.to(self.first.weight.dtype)[:, None]))  # (k, 16)
            hidden = functional.relu(self.norm(hidden))
            hidden = functional.relu(self.second(hidden))  # the report has two in a row; the other changes nothing
            logits: Tensor = self.last(hidden)[:, 0]
        return logits


class Contrastive(nn.Module):
    """Contrastive loss (Hadsell, Chopra, LeCun 2006) over all pairs of the batch.

    With D the Euclidean distance of the two rows: half the mean of D^2 over the pairs alike, plus half the mean of
    max(0, margin - D)^2 over the others. Each kind has half of the weight, however few its pairs are.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        i, j = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)  # (pairs,) each, in pdist's order
        alike = labels[i] == labels[j]
        distances = functional.pdist(_wide(embeddings))  # (pairs,); its gradient at 0 is 0
        pulled = distances.square()
        pushed = functional.relu(self.margin - distances).square()
        return _mean(pulled, alike) / 2 + _mean(pushed, ~alike) / 2


class Triplet(nn.Module):
    """Triplet loss, batch hard (Hermans, Beyer, Leibe 2017, arXiv 1703.07737).

    For each row the Euclidean distance to the farthest of its class, less that to the nearest of another; then
    max(0, margin + difference), or with margin None log(1 + exp(difference)). Mean over the rows that have both.
    """

    def __init__(self, margin: float | None = None) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        x = _wide(embeddings)
        # By differences: from scalar products, small distances would be wrong in float32. Its gradient at 0 is 0.
        distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")  # (n, n)
        alike, others = _alike(labels)
        farthest = distances.masked_fill(~alike, -math.inf).amax(1)  # (n,); -inf for a row without its like
        nearest = distances.masked_fill(~others, math.inf).amin(1)
        difference = farthest - nearest  # -inf where either is missing, and then the cost is 0
        cost = functional.softplus(difference) if self.margin is None else functional.relu(difference + self.margin)
        return _mean(cost, alike.any(1) & others.any(1))


class SupCon(nn.Module):
    """Supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362), the form L_out.

    For each row the cross-entropy of finding those alike among all other rows, by softmax of cosine / temperature; mean
    over the rows that have one alike. Rows are L2-normalised here; it does not matter if they were before.

    `labels` may be the numbers of the images, where the batch holds two augmented views of each: this is then exactly
    the NT-Xent loss of SimCLR (Chen et al. 2020, arXiv 2002.05709).
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        z = functional.normalize(_wide(embeddings), dim=1)
        with torch.autocast(z.device.type, enabled=False):
            similarity = z @ z.T / self.temperature  # (n, n)
        alike, others = _alike(labels)
        total = similarity.masked_fill(~(alike | others), -math.inf).logsumexp(
            1, keepdim=True
        )  # (n, 1), without itself
        found = torch.where(alike, similarity - total, 0.0).sum(1)  # (n,): log of the probability, summed
        return _mean(-found / alike.sum(1).clamp(min=1), alike.any(1))


class CosFace(nn.Module):
    """Large margin cosine loss (Wang et al. 2018, arXiv 1801.09414): cross-entropy of scale * cosine to a learnt vector
    for each class, where the right class has to win by `margin`. labels: classes, 0 <= label < `classes`.
    """

    def __init__(self, classes: int, embedding: int, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.weight = nn.Parameter(torch.empty(classes, embedding))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        z = functional.normalize(_wide(embeddings), dim=1)
        with torch.autocast(z.device.type, enabled=False):
            cosine = z @ functional.normalize(self.weight.to(z.dtype), dim=1).T  # (n, classes)
        handicap = self.margin * functional.one_hot(labels, cosine.shape[1]).to(cosine.dtype)
        return functional.cross_entropy(self.scale * (cosine - handicap), labels)


def _wide(x: Tensor) -> Tensor:
    """float32, or float64 where it was."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _alike(labels: Tensor) -> tuple[Tensor, Tensor]:
    """(n, n) each: which rows are another of the same class, and which are of another class."""
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values, 0 of none."""
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp(min=1)


class Objective(nn.Module):
    """What a recipe minimises: weighted cross-entropy of the classifier plus a weighted metric loss."""

    def __init__(self, table: LossTable, classes: int, vectors: int) -> None:
        super().__init__()
        self.table = table
        self.metric = _metric(table, classes, vectors)
        self.probe = table.cross_entropy == 0 and table.metric != "report-a"
        """Whether the classifier learns on top of an encoder that the metric loss alone trains."""

    def forward(
        self, logits: Tensor, vectors: Tensor, classes: Tensor, images: Tensor, classified: Tensor | None = None
    ) -> Tensor:
        """The mean over the batch, shape (). logits (m, classes): of the rows with the numbers `classified` (m,) int64,
        or of all; vectors (n, d), L2-normalised; classes (n,) int64; images (n,) int64: which image of the batch a row
        is a view of.
        """
        table = self.table
        loss = torch.zeros((), device=logits.device)
        if table.cross_entropy or self.probe:
            true = classes if classified is None else classes[classified]  # (m,)
            smoothing = table.label_smoothing
            loss = functional.cross_entropy(logits.float(), true, label_smoothing=smoothing)
            loss = (table.cross_entropy or 1.0) * loss
        if self.metric is not None:
            # The report compares class outputs.
            compared = logits.float().softmax(dim=1) if table.metric == "report-a" else vectors
            loss = loss + table.weight * self.metric(compared, images if table.positives == "image" else classes)
        return loss


def _metric(table: LossTable, classes: int, vectors: int) -> nn.Module | None:
    """The metric loss that a recipe names, with its usual number where the recipe says 0."""
    if table.metric == "report-a":
        return ReportAHead()
    if table.metric == "contrastive":
        return Contrastive(table.margin or 1.0)
    if table.metric == "triplet":
        return Triplet(table.margin or None)
    if table.metric == "supcon":
        return SupCon(table.temperature or 0.1)
    if table.metric == "cosface":
        return CosFace(classes, vectors, table.scale or 64.0, table.margin or 0.35)
    return None
