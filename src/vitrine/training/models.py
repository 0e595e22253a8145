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
from vitrine.training.layers import Conv2d
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

    def forward(self, images: Tensor, classified: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (n, classes), or (m, classes) of the images with the numbers `classified` (m,) int64, and vectors to
        compare by (n, d), L2-normalised.
        """
        features = self.encoder(images)  # (n, d)
        return self._logits(_taken(features, classified)), functional.normalize(features.float(), dim=1)

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

    The looks are learnt by a metric loss, in a small branch of their own: what tells one shirt from another is what a
    classifier has to forget, and in shared stages of this size each pays for the other (docs/decisions/0005). The shape
    is not learnt: it is the encoder's last map on its principal components, and the picture itself, small (`Shape`). It
    knows kinds of garment that no class stands for.
    """

    encoder: "Compact"

    def __init__(self, encoder: "Compact", table: ModelTable, channels: int, size: int, classes: int) -> None:
        super().__init__(encoder, table.embedding, classes, table.dropout)
        self.table = table
        self.looks = _looks(table, channels, size)
        self.shape: Shape | None = None

    def forward(self, images: Tensor, classified: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As a plain network's; the vectors are the looks (n, looks)."""
        logits = self._logits(self.encoder(_taken(images, classified)))
        return logits, functional.normalize(self.looks(images).float(), dim=1)

    def parts(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits, looks and, where the recipe asks for it, shape (n, shape), L2-normalised."""
        places = self.encoder.places(images)
        logits, looks = self._logits(self.encoder.features(places)), self.looks(images)
        vectors = [looks] if self.shape is None else [looks, self.shape(images, places)]
        return logits, *(functional.normalize(vector.float(), dim=1) for vector in vectors)

    def embedding(self, logits: Tensor, vectors: tuple[Tensor, ...]) -> Tensor:
        looks, *shape = vectors
        rest = joined((looks, shape[0]), self.table.shape_share) if shape else looks
        return joint_embedding(logits.float() * self.table.sharpness, rest, self.table.looks_weight)

    @property
    def compared(self) -> int:
        return self.table.looks

    @property
    def dimensions(self) -> int:
        return self.head.out_features + self.table.looks + (0 if self.shape is None else self.shape.dimensions)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """The shape, on the maps of these images."""
        if self.table.shape_channels:
            maps = torch.cat([self.encoder.places(part) for part in torch.split(images, 500)])
            self.shape = Shape(self.table, images, maps)


def _taken(rows: Tensor, chosen: Tensor | None) -> Tensor:
    return rows if chosen is None else rows[chosen]


def _looks(table: ModelTable, channels: int, size: int) -> nn.Sequential:
    """(n, channels, size, size) -> (n, looks): for each width a 3x3 convolution with stride 2 and so many residual
    blocks, then few channels and a linear layer over all places. It keeps where things are: no mean over the places.
    """
    layers: list[nn.Module] = []
    inputs, side = channels, size
    for width, count in zip(table.looks_widths, table.looks_blocks, strict=True):
        layers += [convolution(inputs, width, 3, 2), nn.ReLU(), *(BasicBlock(width, width, 1) for _ in range(count))]
        inputs, side = width, -(-side // 2)
    return nn.Sequential(
        *layers,
        convolution(inputs, table.looks_channels, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(table.looks_channels * side * side, table.looks, bias=False),
        nn.BatchNorm1d(table.looks),
    )


class Shape(nn.Module):
    """What an image has in common with others, whatever it is: the last map on its principal components, first those of
    its channels, then those of its places, joined with the image averaged over 4x4 pixels. (n, c, h, w) and (n, c', h',
    w') -> (n, `dimensions`).

    Components of channels and places together would need as many weights as numbers in and out; these need hardly any.
    Each is divided by the fourth root of its variance: half way to whitening, so that the first few do not decide
    alone. The map was learnt for other classes and misses what they never needed; the small image has that.
    """

    def __init__(self, table: ModelTable, images: Tensor, maps: Tensor) -> None:
        """Fitted on images, and on the maps of these."""
        super().__init__()
        self.share = table.shape_picture
        flat = maps.flatten(2).double().cpu()  # (n, c', h' * w')
        mean = flat.mean(0)  # (c', h' * w')
        of_channels = _components((flat - mean).transpose(1, 2).flatten(0, 1), table.shape_channels)
        reduced = torch.einsum("ncp,cd->ndp", flat - mean, of_channels)
        of_places = _components(reduced.flatten(0, 1), table.shape_places)  # (h' * w', places)
        offset = of_channels.T @ mean @ of_places  # (channels, places)
        self.of_channels, self.of_places, self.offset, self.mean = (
            nn.Parameter(values.float().to(maps.device), requires_grad=False)
            for values in (of_channels, of_places, offset, _small(images).mean(0))
        )

    @property
    def dimensions(self) -> int:
        return self.offset.numel() + (self.mean.numel() if self.share else 0)

    def forward(self, images: Tensor, maps: Tensor) -> Tensor:
        reduced = torch.einsum("ncp,cd->ndp", maps.flatten(2).float(), self.of_channels)
        shape = (reduced @ self.of_places - self.offset).flatten(1)
        if not self.share:
            return shape
        return joined((shape, _small(images) - self.mean), self.share)


def _small(images: Tensor) -> Tensor:
    """The mean of each 4x4 pixels, (n, c, h, w) -> (n, c * h/4 * w/4), rounded up."""
    return functional.avg_pool2d(images.float(), 4, ceil_mode=True, count_include_pad=False).flatten(1)


def joined(parts: tuple[Tensor, Tensor], share: float) -> Tensor:
    """Both (n, d), each of length 1, as one vector of length 1 in which the second decides for `share`."""
    first, second = (functional.normalize(part.float(), dim=1) for part in parts)
    return torch.cat([math.sqrt(1 - share) * first, math.sqrt(share) * second], dim=1)


def _components(rows: Tensor, count: int) -> Tensor:
    """The first principal axes of centred rows (n, d) float64, each divided by the fourth root of its variance: (d,
    count).
    """
    variances, axes = torch.linalg.eigh(rows.T @ rows / len(rows))  # rising
    least = max(1e-6 * float(variances[-1]), 1e-12)
    scaled: Tensor = axes[:, -count:].flip(1) / variances[-count:].flip(0).clamp(min=least) ** 0.25
    return scaled


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


def build(
    table: ModelTable, channels: int, size: int, classes: int, ends: tuple[Tensor, Tensor] | None = None
) -> Network:
    """The network that a recipe names, for square images of `size` pixels, with fresh weights from torch's global
    generator. ends: the normalised values (channels,) of black and of white; 0 and 1 where they are not given.
    """
    if table.name == "mlp":
        network = Network(mlp(channels * size * size), 128, classes, table.dropout)
    elif table.name == "resnet50":
        network = Network(ResNet50(channels, table.stride), 2048, classes, table.dropout)
    elif table.name == "keras-resnet50":
        network = Network(KerasResNet50(channels), 2048, classes, table.dropout)
    else:
        black, white = ends or (torch.zeros(channels), torch.ones(channels))
        denoise = Denoise(black, white) if table.denoise else nn.Identity()
        compact = Compact(channels, table.widths, table.blocks, table.embedding, denoise)
        network = (
            NetworkWithLooks(compact, table, channels, size, classes)
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

    def __init__(
        self, channels: int, widths: tuple[int, ...], blocks: tuple[int, ...], embedding: int, denoise: nn.Module
    ) -> None:
        super().__init__()
        self.denoise = denoise
        self.stem = convolution(channels, widths[0], 3)
        stages: list[nn.Module] = []
        inputs = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stages.append(BasicBlock(inputs, width, stride=2 if stage and not block else 1))
                inputs = width
        self.stages = nn.Sequential(*stages)
        self.project = nn.Sequential(nn.Linear(inputs, embedding, bias=False), nn.BatchNorm1d(embedding))

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.places(images))

    def places(self, images: Tensor) -> Tensor:
        """The last map, (n, width, h', w')."""
        places: Tensor = self.stages(functional.relu(self.stem(self.denoise(images))))
        return places

    def features(self, places: Tensor) -> Tensor:
        """(n, embedding), of what `places` gave."""
        features: Tensor = self.project(places.mean((2, 3)))
        return features


class Denoise(nn.Module):
    """Takes noise out of an image of a garment on a dark ground where there is some, and gives back all others as they
    are; nothing is learnt.

    A classifier of clean pictures is lost in noise that the eye hardly sees, and one that learns with noise pays for it
    on clean pictures. How much noise there is shows where the picture is calmest: around a garment without noise at
    least a twentieth of all places has hardly any variation; where even the calmest places vary much, it is texture
    that fills the picture, and stays. The filter is Wiener's for known noise (Lee 1980): each pixel comes as near to
    the mean of its 3x3 neighbourhood as the noise explains its difference. What is hardly brighter than the noise is
    ground. All of it is continuous in the pixels.
    """

    CALM = 0.05
    """Share of the pixels that count as calm; the standard deviation around the least calm of them is measured."""

    NOISE = 2.75
    """Standard deviation of the noise, as a multiple of that. On a black ground half of the noise is cut off, and those
    are the calmest of many places: measured on altered garments of the training set. On a grey ground it is too much.
    """

    LEAST, FULL = 1.5 / 255, 2.5 / 255
    """Up to where that counts as none, and from where the image is filtered in full."""

    FADING, MOST = 8 / 255, 10 / 255
    """From where it may be texture, and from where it counts as that. Noise of 0.05 comes to 7.4 / 255 at most."""

    def __init__(self, black: Tensor, white: Tensor) -> None:
        super().__init__()
        self.black: Tensor
        self.span: Tensor
        self.register_buffer("black", black[:, None, None].clone(), persistent=False)
        self.register_buffer("span", (white - black)[:, None, None].clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w), of the same type."""
        x = (images.float() - self.black) / self.span  # black 0, white 1
        around = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        mean = functional.avg_pool2d(around, 3, 1)
        variance = (functional.avg_pool2d(around.square(), 3, 1) - mean.square()).clamp(min=0)
        flat = variance.mean(1).flatten(1)  # (n, h * w)
        calm = math.ceil(self.CALM * flat.shape[1])
        least = flat.topk(calm, dim=1, largest=False).values[:, -1].clamp(min=1e-12).sqrt()[:, None, None, None]
        share = ((least - self.LEAST) / (self.FULL - self.LEAST)).clamp(0, 1)
        share = share * ((self.MOST - least) / (self.MOST - self.FADING)).clamp(0, 1)
        noise = self.NOISE * least
        filtered = mean + (variance - noise.square()).clamp(min=0) / variance.clamp(min=1e-12) * (x - mean)
        filtered = filtered * (mean / noise - 1).clamp(0, 1)
        # An image without noise comes back to the last bit.
        return images + (share * (filtered - x) * self.span).to(images.dtype)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the last batch norm starts at 0, so the block starts as its shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, width, 3, stride)
        self.second = convolution(width, width, 3)
        self.shortcut = nn.Identity() if stride == 1 and inputs == width else convolution(inputs, width, 1, stride)
        _start_at_zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


class ResNet50(nn.Module):
    """ResNet-50 (He et al. 2016): bottlenecks 3-4-6-3, stride in the 3x3 convolution.

    Made for large pictures, it would halve a 28x28 image five times; here the stem is one 3x3 convolution, without
    stride (1), so that the last stage still sees 4x4 places, or with one (2), for a quarter of the work, or that and a
    pooling (4), for a sixteenth.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stem = convolution(channels, 64, 3, min(stride, 2))
        self.pool = nn.MaxPool2d(3, 2, padding=1) if stride == 4 else nn.Identity()
        stages: list[nn.Module] = []
        inputs = 64
        for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            for block in range(count):
                stages.append(Bottleneck(inputs, width, stride=2 if stage and not block else 1))
                inputs = 4 * width
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.stages(self.pool(functional.relu(self.stem(images)))).mean((2, 3))  # (n, 2048)
        return features


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the width, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.down = convolution(inputs, width, 1)
        self.middle = convolution(width, width, 3, stride)
        self.up = convolution(width, 4 * width, 1)
        self.shortcut = (
            nn.Identity() if stride == 1 and inputs == 4 * width else convolution(inputs, 4 * width, 1, stride)
        )
        _start_at_zero(self.up)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.down(x))
        y = functional.relu(self.middle(y))
        return functional.relu(self.up(y) + self.shortcut(x))


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm; the norm's shift takes the place of a bias."""
    convolution = Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
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
