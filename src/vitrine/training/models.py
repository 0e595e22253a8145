"""The networks. Each is an encoder, which makes a feature vector of an image, and a linear head, which makes logits of
it.

What images are compared by is the feature vector divided by its L2 norm, or, in a network with looks, a vector of its
own. Images come in normalised, (n, c, h, w).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrine.training.keras_resnet50 import KerasResNet50
from vitrine.training.recipe import ModelTable


class Network(nn.Module):
    """encoder: (n, c, h, w) -> (n, d) features; head: (n, d) -> (n, classes) logits."""

    def __init__(self, encoder: nn.Module, features: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        self.probe = False
        """Whether the head learns alone, and the encoder nothing from it."""

    def forward(self, images: Tensor, classified: int | None = None) -> tuple[Tensor, Tensor]:
        """Logits (n, classes), or of the first `classified` images only, and vectors to compare by (n, d),
        L2-normalised.
        """
        features = self.encoder(images)  # (n, d)
        return self._logits(features[:classified]), functional.normalize(features.float(), dim=1)

    def parts(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, and the unit vectors that the embedding is made of."""
        logits, vectors = self(images)
        return logits, vectors

    def embedding(self, logits: Tensor, vectors: tuple[Tensor, ...]) -> Tensor:
        """The embedding (n, `dimensions`) that the model file gives, of what `parts` gave."""
        return vectors[0]

    @property
    def compared(self) -> int:
        """How many numbers the vectors have that the metric loss sees."""
        return self.head.in_features

    @property
    def dimensions(self) -> int:
        """How many numbers the embedding has."""
        return self.head.in_features

    def fit(self, images: Tensor) -> None:
        """What is fitted after training on images that it has not seen (n, c, h, w); nothing here."""

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(features.detach() if self.probe else features))
        return logits


class NetworkWithLooks(Network):
    """A compact network whose embedding joins three parts: the class probabilities, what the image looks like in
    particular, and its shape.

    The looks are learnt by a metric loss, from the map before the last stage, place by place: the stages after it, and
    averaging over the places, forget what tells one shirt from another. The shape is not learnt: it is the last map,
    its rows averaged into four bands, on its principal components. It knows kinds of garment that no class stands for.
    """

    encoder: "Compact"

    def __init__(self, encoder: "Compact", table: ModelTable, places: int, classes: int) -> None:
        super().__init__(encoder, table.embedding, classes, table.dropout)
        self.table = table
        self.looks = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True),
            _convolution(table.widths[-2], table.looks_channels, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(table.looks_channels * places, table.looks, bias=False),
            nn.BatchNorm1d(table.looks),
        )
        self.shape: nn.Linear | None = None

    def forward(self, images: Tensor, classified: int | None = None) -> tuple[Tensor, Tensor]:
        """As a plain network's; the vectors are the looks (n, looks)."""
        places = self.encoder.places(images)  # (n, width, h', w')
        logits = self._logits(self.encoder.features(self.encoder.last(places[:classified])))
        return logits, functional.normalize(self.looks(places).float(), dim=1)

    def parts(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, looks and, where the recipe asks for it, shape (n, shape), L2-normalised."""
        places = self.encoder.places(images)
        last = self.encoder.last(places)
        logits, looks = self._logits(self.encoder.features(last)), self.looks(places)
        vectors = [looks] if self.shape is None else [looks, self.shape(_rows(last))]
        return logits, *(functional.normalize(vector.float(), dim=1) for vector in vectors)

    def embedding(self, logits: Tensor, vectors: tuple[Tensor, ...]) -> Tensor:
        share = self.table.shape_share if len(vectors) > 1 else 0.0
        weights = (math.sqrt(1 - share), math.sqrt(share))
        rest = torch.cat([weight * vector for weight, vector in zip(weights, vectors, strict=False)], dim=1)
        return joint_embedding(logits.float() * self.table.sharpness, rest, self.table.looks_weight)

    @property
    def compared(self) -> int:
        return self.table.looks

    @property
    def dimensions(self) -> int:
        return self.head.out_features + self.table.looks + self.table.shape

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Principal components of the last map's rows, each divided by the fourth root of its variance: half way to
        whitening, so that the first few do not decide alone.
        """
        if not self.table.shape:
            return
        maps = [self.encoder.last(self.encoder.places(part)) for part in torch.split(images, 500)]
        rows = torch.cat([_rows(part) for part in maps]).cpu().double()  # (n, bands * width)
        mean = rows.mean(0)
        variances, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))  # rising
        chosen, least = axes[:, -self.table.shape :].flip(1), max(1e-6 * float(variances[-1]), 1e-12)
        scaled = chosen / variances[-self.table.shape :].flip(0).clamp(min=least) ** 0.25
        layer = nn.Linear(len(mean), self.table.shape).to(images.device).requires_grad_(False)
        layer.weight.copy_(scaled.T)
        layer.bias.copy_(-(mean @ scaled))
        self.shape = layer


def _rows(places: Tensor) -> Tensor:
    """A map (n, c, h, w), its rows averaged into bands of ceil(h / 4): (n, bands * c), at most four bands."""
    height = -(-places.shape[2] // 4)
    lines = places.mean(3, keepdim=True)  # (n, c, h, 1)
    return functional.avg_pool2d(lines, (height, 1), ceil_mode=True).flatten(1).float()


def joint_embedding(logits: Tensor, rest: Tensor, weight: float) -> Tensor:
    """Class probabilities p = softmax(logits (n, k)) and unit vectors u (n, l) of the rest, as one unit vector each:

        e = (p, sqrt(1 + weight - |p|^2) u) / sqrt(1 + weight)

    The scalar product of two p is the probability that the two show the same class, if the classifier is calibrated and
    errs independently: no order by a function of the two could put more of the query's class in front. (Their cosine
    would not do: it likes those that are unsure in the same way.) The other part has the length that makes every e a
    unit vector: sqrt(weight) for a picture whose class is sure, so that class decides and u orders what is equally
    probable, and up to sqrt(1 + weight) for one that could be anything, which is so compared by u.
    """
    p = logits.softmax(dim=1)
    length = (1 + weight - p.square().sum(dim=1, keepdim=True)).sqrt()  # (n, 1), at least sqrt(weight)
    return torch.cat([p, length * rest], dim=1) / math.sqrt(1 + weight)


def build(table: ModelTable, channels: int, size: int, classes: int) -> Network:
    """The network that a recipe names, for square images of `size` pixels, with fresh weights from torch's global
    generator.
    """
    if table.name == "mlp":
        network = Network(mlp(channels * size * size), 128, classes, table.dropout)
    elif table.name == "resnet50":
        network = Network(ResNet50(channels), 2048, classes, table.dropout)
    elif table.name == "keras-resnet50":
        network = Network(KerasResNet50(channels), 2048, classes, table.dropout)
    else:
        compact = Compact(channels, table.widths, table.blocks, table.embedding)
        side = -(-size // 2 ** (len(table.widths) - 1))  # each stage after the first halves it, rounding up
        network = (
            NetworkWithLooks(compact, table, side * side, classes)
            if table.looks
            else Network(compact, table.embedding, classes, table.dropout)
        )
    if table.initialisation == "glorot":
        network.apply(_glorot)
    return network


def parameter_count(network: nn.Module) -> int:
    """How many weights there are, learnt, fitted or frozen (batch norms' running statistics are none)."""
    return sum(parameter.numel() for parameter in network.parameters())


def _glorot(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def mlp(inputs: int) -> nn.Module:
    """Report B's net: 784-256-128, ReLU after each."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())


class Compact(nn.Module):
    """A small residual net (He et al. 2016, arXiv 1512.03385) for 28x28 images: a 3x3 stem, stages that halve the side
    and widen, mean over the places, then a linear layer with batch norm to the embedding.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], blocks: tuple[int, ...], embedding: int) -> None:
        super().__init__()
        self.stem = _convolution(channels, widths[0], 3)
        stages: list[nn.Module] = []
        inputs = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stages.append(BasicBlock(inputs, width, stride=2 if stage and not block else 1))
                inputs = width
        self.stages = nn.Sequential(*stages)
        self.before_last = sum(blocks[:-1])
        """How many blocks come before the last stage."""
        self.project = nn.Sequential(nn.Linear(inputs, embedding, bias=False), nn.BatchNorm1d(embedding))

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.last(self.places(images)))

    def places(self, images: Tensor) -> Tensor:
        """The map before the last stage, (n, width, h', w')."""
        places = functional.relu(self.stem(images))
        for block in list(self.stages)[: self.before_last]:
            places = block(places)
        return places

    def last(self, places: Tensor) -> Tensor:
        """The last map, of what `places` gave."""
        for block in list(self.stages)[self.before_last :]:
            places = block(places)
        return places

    def features(self, last: Tensor) -> Tensor:
        """(n, embedding), of what `last` gave."""
        features: Tensor = self.project(last.mean((2, 3)))
        return features


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the last batch norm starts at 0, so the block starts as its shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, width, 3, stride)
        self.second = _convolution(width, width, 3)
        self.shortcut = nn.Identity() if stride == 1 and inputs == width else _convolution(inputs, width, 1, stride)
        _start_at_zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


class ResNet50(nn.Module):
    """ResNet-50 (He et al. 2016): bottlenecks 3-4-6-3, stride in the 3x3 convolution.

    Made for large pictures, it would halve a 28x28 image five times; here the stem is one 3x3 convolution without
    pooling, so that the last stage still sees 4x4 places.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = _convolution(channels, 64, 3)
        stages: list[nn.Module] = []
        inputs = 64
        for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            for block in range(count):
                stages.append(Bottleneck(inputs, width, stride=2 if stage and not block else 1))
                inputs = 4 * width
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.stages(functional.relu(self.stem(images))).mean((2, 3))  # (n, 2048)
        return features


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the width, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.down = _convolution(inputs, width, 1)
        self.middle = _convolution(width, width, 3, stride)
        self.up = _convolution(width, 4 * width, 1)
        self.shortcut = (
            nn.Identity() if stride == 1 and inputs == 4 * width else _convolution(inputs, 4 * width, 1, stride)
        )
        _start_at_zero(self.up)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.down(x))
        y = functional.relu(self.middle(y))
        return functional.relu(self.up(y) + self.shortcut(x))


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm; the norm's shift takes the place of a bias."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _start_at_zero(convolution: nn.Sequential) -> None:
    """Set the scale of the batch norm to 0."""
    norm = convolution[1]
    assert isinstance(norm, nn.BatchNorm2d)  # as `_convolution` made it
    nn.init.zeros_(norm.weight)


class ForModelFile(nn.Module):
    """A network with what the model file promises around it: uint8 (n, h, w, c) in, normalised inside, and the mean
    over the image and its mirror image where the recipe asks for it.
    """

    def __init__(self, network: Network, mean: tuple[float, ...], sd: tuple[float, ...], mirror: bool) -> None:
        super().__init__()
        self.network = network
        self.mirror = mirror
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * torch.tensor(sd)))
        self.register_buffer("shift", -torch.tensor(mean) / torch.tensor(sd))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        images = (image.float() * self.scale + self.shift).permute(0, 3, 1, 2)  # (n, c, h, w)
        logits, *vectors = self.network.parts(images)
        if self.mirror:
            other_logits, *others = self.network.parts(images.flip(3))
            logits = (logits + other_logits) / 2
            vectors = [functional.normalize(a + b, dim=1) for a, b in zip(vectors, others, strict=True)]
        return logits, self.network.embedding(logits, tuple(vectors))
