"""The metric losses: against plain loops written from the papers, and against pytorch-metric-learning."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pytorch_metric_learning import distances, miners, reducers
from pytorch_metric_learning import losses as oracles
from torch import Tensor, nn
from torch.nn import functional

from vitrine.training.losses import Contrastive, CosFace, ReportAHead, SupCon, Triplet

Rows = Sequence[Sequence[float]]

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "report-a": ReportAHead,
    "contrastive": lambda: Contrastive(1.5),
    "triplet": lambda: Triplet(0.5),
    "triplet-soft": Triplet,
    "supcon": lambda: SupCon(0.2),
    "cosface": lambda: CosFace(4, 6, 16, 0.35),
}
EVERY = pytest.mark.parametrize("name", MAKERS)
LABELS = {
    "some of each": [0, 1, 0, 1, 2, 0, 2, 1, 3, 0, 1, 2],  # 3 comes once
    "pairs": [0, 1, 2, 3, 0, 0, 1, 2, 0, 3],
    "two": [1, 1],
}
LABELLED = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)


def make(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return MAKERS[name]().to(dtype)


def rows(n: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """(n, 6), the lengths about 1."""
    return (torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 6**0.5).to(dtype)


def value(loss: Callable[..., Any], x: Tensor, labels: Tensor) -> float:
    return float(loss(x, labels).detach())


def gradient(loss: Callable[..., Any], x: Tensor, labels: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    loss(x, labels).backward()
    assert x.grad is not None
    return x.grad


# --- the papers, as loops over plain numbers


def contrastive(x: Rows, labels: list[int], margin: float) -> float:
    alike, others = [], []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if labels[i] == labels[j]:
                alike.append(math.dist(x[i], x[j]) ** 2)
            else:
                others.append(max(0.0, margin - math.dist(x[i], x[j])) ** 2)
    return sum(sum(costs) / len(costs) / 2 for costs in (alike, others) if costs)


def triplet(x: Rows, labels: list[int], margin: float | None) -> float:
    costs = []
    for a in range(len(x)):
        alike = [math.dist(x[a], x[p]) for p in range(len(x)) if p != a and labels[p] == labels[a]]
        others = [math.dist(x[a], x[n]) for n in range(len(x)) if labels[n] != labels[a]]
        if alike and others:
            difference = max(alike) - min(others)
            costs.append(math.log1p(math.exp(difference)) if margin is None else max(0.0, margin + difference))
    return sum(costs) / len(costs) if costs else 0.0


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def supcon(x: Rows, labels: list[int], temperature: float) -> float:
    costs = []
    for i in range(len(x)):
        alike = [p for p in range(len(x)) if p != i and labels[p] == labels[i]]
        total = sum(math.exp(cosine(x[i], x[a]) / temperature) for a in range(len(x)) if a != i)
        if alike:
            logs = [math.log(math.exp(cosine(x[i], x[p]) / temperature) / total) for p in alike]
            costs.append(-sum(logs) / len(alike))
    return sum(costs) / len(costs) if costs else 0.0


def nt_xent(x: Rows, temperature: float) -> float:
    """SimCLR: row k and row k + n/2 are two views of an image."""
    n, cost = len(x), 0.0
    for i in range(n):
        j = (i + n // 2) % n
        total = sum(math.exp(cosine(x[i], x[k]) / temperature) for k in range(n) if k != i)
        cost -= math.log(math.exp(cosine(x[i], x[j]) / temperature) / total)
    return cost / n


def cosface(x: Rows, labels: list[int], weight: Rows, scale: float, margin: float) -> float:
    cost = 0.0
    for row, label in zip(x, labels, strict=True):
        right = math.exp(scale * (cosine(row, weight[label]) - margin))
        wrong = sum(math.exp(scale * cosine(row, weight[k])) for k in range(len(weight)) if k != label)
        cost -= math.log(right / (right + wrong))
    return cost / len(x)


def report_a(x: Rows, labels: list[int], head: ReportAHead, batch_statistics: bool) -> float:
    """Layer by layer and pair by pair, as Keras writes it."""
    half = len(x) // 2
    layers = {name: value.tolist() for name, value in head.state_dict().items()}
    hidden = []
    for a, b in zip(x[:half], x[half:], strict=True):
        distance = math.sqrt(max(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)), 1e-7))
        hidden.append(
            [max(0.0, w[0] * distance + v) for w, v in zip(layers["first.weight"], layers["first.bias"], strict=True)]
        )
    for unit in range(16):
        values = [row[unit] for row in hidden]
        mean, variance = layers["norm.running_mean"][unit], layers["norm.running_var"][unit]
        if batch_statistics:
            mean = sum(values) / half
            variance = sum((value - mean) ** 2 for value in values) / half
        for row in hidden:
            normed = (row[unit] - mean) / math.sqrt(variance + 1e-3)
            row[unit] = max(0.0, layers["norm.weight"][unit] * normed + layers["norm.bias"][unit])
    cost = 0.0
    for i, row in enumerate(hidden):
        second = [
            max(0.0, sum(p * q for p, q in zip(w, row, strict=True)) + v)
            for w, v in zip(layers["second.weight"], layers["second.bias"], strict=True)
        ]
        logit = sum(p * q for p, q in zip(layers["last.weight"][0], second, strict=True)) + layers["last.bias"][0]
        probability = 1 / (1 + math.exp(-logit))
        cost -= math.log(probability if labels[i] == labels[i + half] else 1 - probability)
    return cost / half


def by_hand(loss: nn.Module, x: Tensor, labels: list[int]) -> float:
    plain: list[list[float]] = x.tolist()
    match loss:
        case ReportAHead():
            return report_a(plain, labels, loss, batch_statistics=loss.training and len(plain) > 2)
        case Contrastive():
            return contrastive(plain, labels, loss.margin)
        case Triplet():
            return triplet(plain, labels, loss.margin)
        case SupCon():
            return supcon(plain, labels, loss.temperature)
        case CosFace():
            return cosface(plain, labels, loss.weight.tolist(), loss.scale, loss.margin)
    raise AssertionError(loss)


@EVERY
@LABELLED
def test_each_loss_is_the_papers(name: str, labels: list[int]) -> None:
    for seed in range(3):
        loss, x = make(name), rows(len(labels), seed)
        expected = by_hand(loss, x, labels)
        assert value(loss, x, torch.tensor(labels)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_supcon_with_image_numbers_is_nt_xent() -> None:
    x = rows(16)
    assert value(SupCon(0.5), x, torch.arange(8).repeat(2)) == pytest.approx(nt_xent(x.tolist(), 0.5), rel=1e-9)


# --- pytorch-metric-learning

EUCLIDEAN = {"distance": distances.LpDistance(normalize_embeddings=False), "reducer": reducers.MeanReducer()}


def triplet_oracle(margin: float | None) -> Callable[[Tensor, Tensor], Any]:
    mine = miners.BatchHardMiner(distance=EUCLIDEAN["distance"])
    loss = oracles.TripletMarginLoss(margin=margin or 0, smooth_loss=margin is None, **EUCLIDEAN)
    return lambda x, labels: loss(x, labels, mine(x, labels))


def contrastive_oracle(margin: float) -> Callable[[Tensor, Tensor], Any]:
    """Theirs has no squares in it, but gives the parts: D^2 is a distance of theirs, and of max(0, margin - D) they
    give the value for each pair.
    """
    squared = distances.LpDistance(normalize_embeddings=False, power=2)
    pulls = oracles.ContrastiveLoss(distance=squared, reducer=reducers.DoNothingReducer())
    pushes = oracles.ContrastiveLoss(
        neg_margin=margin, distance=EUCLIDEAN["distance"], reducer=reducers.DoNothingReducer()
    )

    def loss(x: Tensor, labels: Tensor) -> Any:
        pulled, pushed = pulls(x, labels)["pos_loss"]["losses"], pushes(x, labels)["neg_loss"]["losses"]
        return pulled.mean() / 2 + pushed.square().mean() / 2

    return loss


def cosface_oracle(ours: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    assert isinstance(ours, CosFace)
    theirs = oracles.CosFaceLoss(4, 6, margin=ours.margin, scale=ours.scale)
    theirs.W.data = ours.weight.detach().T.clone()
    return lambda x, labels: theirs(x, labels)


ORACLES: dict[str, Callable[[nn.Module], Callable[[Tensor, Tensor], Any]]] = {
    "contrastive": lambda ours: contrastive_oracle(1.5),
    "triplet": lambda ours: triplet_oracle(0.5),
    "triplet-soft": lambda ours: triplet_oracle(None),
    "supcon": lambda ours: lambda x, labels: oracles.SupConLoss(0.2)(x, labels),
    "cosface": cosface_oracle,
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ORACLES)
def test_values_and_gradients_are_those_of_pytorch_metric_learning(name: str, dtype: torch.dtype) -> None:
    ours = make(name, dtype)
    theirs = ORACLES[name](ours)
    for seed in range(3):
        x = rows(40, seed, dtype)
        labels = torch.randint(0, 4, (40,), generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(ours(x, labels), theirs(x, labels), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient(ours, x, labels), gradient(theirs, x, labels), rtol=1e-4, atol=1e-5)


def test_supcon_with_image_numbers_is_their_nt_xent() -> None:
    x, numbers = rows(32), torch.arange(16).repeat(2)
    torch.testing.assert_close(SupCon(0.3)(x, numbers), oracles.NTXentLoss(0.3)(x, numbers))


# --- gradients


@EVERY
def test_gradients_are_right(name: str) -> None:
    labels = torch.tensor(LABELS["pairs"])
    loss = make(name)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (rows(len(labels), 5).requires_grad_(),))


@pytest.mark.parametrize("name", ORACLES)
def test_minimising_brings_rows_of_a_class_together(name: str) -> None:
    labels = torch.arange(4).repeat(8)
    loss, x = make(name), rows(32).requires_grad_()
    optimiser = torch.optim.SGD([x, *loss.parameters()], lr=0.5, momentum=0.9)

    def closeness() -> float:
        """Mean distance within a class over that between classes."""
        z = functional.normalize(x.detach(), dim=1) if name in ("supcon", "cosface") else x.detach()
        apart, same = torch.cdist(z, z), labels[:, None] == labels
        return float(apart[same].sum() / (same.sum() - 32) / apart[~same].mean())

    before, first = closeness(), value(loss, x, labels)
    for _ in range(100):
        optimiser.zero_grad()
        loss(x, labels).backward()
        optimiser.step()
    assert value(loss, x, labels) < 0.8 * first
    assert closeness() < 0.7 * before


# --- types and degenerate batches


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    labels = torch.tensor(LABELS["some of each"])
    x = rows(len(labels), dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    loss = make(name, wide)
    cost = loss(x, labels)
    assert cost.dtype == wide
    assert torch.equal(cost, loss(x.to(wide), labels))
    slope = gradient(loss, x, labels)
    assert slope.dtype == dtype
    torch.testing.assert_close(slope, gradient(loss, x.to(wide), labels).to(dtype))


@EVERY
def test_autocast_changes_nothing(name: str) -> None:
    labels = torch.tensor(LABELS["some of each"])
    loss, x = make(name, torch.float32), rows(len(labels), dtype=torch.float32)
    outside = loss(x, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(x, labels), outside)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("labels", [[1] * 6, [0, 1, 2, 3, 1, 2], [0, 1, 2, 3], [0, 0, 1, 1], [2, 2], [0, 1]], ids=str)
def test_degenerate_batches_are_finite(name: str, dtype: torch.dtype, labels: list[int]) -> None:
    different = rows(len(labels), dtype=dtype)
    identical = different[:1].expand(len(labels), -1)
    # float16 cannot hold the slope of CosFace at rows of length 0, where a unit vector could point anywhere.
    zero = torch.zeros(len(labels), 6, dtype=torch.float32 if dtype == torch.float16 else dtype)
    for x in (different, identical, zero):
        loss = make(name, torch.float32).train()
        assert math.isfinite(value(loss, x, torch.tensor(labels)))
        assert gradient(loss, x, torch.tensor(labels)).isfinite().all()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.parameters())
        assert all(buffer.isfinite().all() for buffer in loss.buffers())


@pytest.mark.parametrize("name", ["contrastive", "triplet", "triplet-soft", "supcon"])
def test_nothing_to_compare_costs_nothing(name: str) -> None:
    labels = torch.arange(5)  # no two alike
    x = 10 * rows(5)  # all farther apart than the margin
    assert value(make(name), x, labels) == 0
    assert gradient(make(name), x, labels).count_nonzero() == 0


def test_one_row_costs_nothing() -> None:
    for loss in (Contrastive(), Triplet(), SupCon()):
        assert value(loss, rows(1), torch.tensor([0])) == 0
        assert gradient(loss, rows(1), torch.tensor([0])).count_nonzero() == 0


# --- report A's head


def test_report_a_head_is_keras_at_the_start() -> None:
    head = ReportAHead()
    assert head.norm.eps == 1e-3
    assert head.norm.momentum == pytest.approx(1 - 0.99)
    for layer, limit in ((head.first, 6 / 17), (head.second, 6 / 32), (head.last, 6 / 17)):
        assert layer.bias.count_nonzero() == 0
        assert 0.5 * limit**0.5 < float(layer.weight.detach().abs().max()) <= limit**0.5


def test_report_a_head_in_eval_mode_takes_its_running_statistics() -> None:
    head, x, labels = make("report-a"), rows(10), torch.tensor(LABELS["pairs"])
    for seed in range(5):
        head(rows(10, seed), labels)
    assert isinstance(head, ReportAHead)
    head.eval()
    assert value(head, x, labels) == pytest.approx(by_hand(head, x, labels.tolist()), rel=1e-9)


def test_report_a_curve_is_the_one_that_the_loss_uses() -> None:
    head, x, labels = make("report-a"), rows(10), torch.tensor(LABELS["pairs"])
    assert isinstance(head, ReportAHead)
    head(x, labels)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    curve = head.probability((x[:5] - x[5:]).norm(dim=1))  # (5,), while training
    assert head.training
    assert not curve.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    cost = functional.binary_cross_entropy(curve, (labels[:5] == labels[5:]).double())
    assert value(head.eval(), x, labels) == pytest.approx(float(cost.detach()), rel=1e-9)
    assert head.probability(torch.linspace(0, 2, 7)).shape == (7,)


def test_report_a_head_learns_that_near_is_alike_and_then_brings_rows_together() -> None:
    """The head alone could learn the contrary as well, so it first sees pairs of which the near ones are alike."""
    generator = torch.Generator().manual_seed(1)
    head = make("report-a", torch.float32)
    assert isinstance(head, ReportAHead)
    labels = torch.cat((torch.zeros(64, dtype=torch.int64), torch.arange(64) % 2))  # every other pair alike
    alike = labels[64:] == 0
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(300):
        a, step = torch.randn(2, 64, 4, generator=generator)
        lengths = torch.rand(64, generator=generator) + torch.where(alike, 0.0, 0.6)
        optimiser.zero_grad()
        head(torch.cat((a, a + lengths[:, None] * functional.normalize(step, dim=1))), labels).backward()
        optimiser.step()
    near, middle, far = head.probability(torch.tensor([0.3, 0.8, 1.3])).tolist()
    assert near > 0.8 > middle > 0.2 > far

    x = rows(128, dtype=torch.float32)
    head.eval()
    start = (x[:64] - x[64:]).norm(dim=1)
    for _ in range(50):
        x = x - gradient(head, x, labels)
    end = (x[:64] - x[64:]).norm(dim=1)
    assert end[alike].mean() < 0.8 * start[alike].mean()
    assert end[~alike].mean() > start[~alike].mean()


def test_report_a_head_wants_pairs() -> None:
    for n in (0, 5):
        with pytest.raises(ValueError, match=f"has {n} rows"):
            ReportAHead()(rows(n, dtype=torch.float32), torch.zeros(n, dtype=torch.int64))
