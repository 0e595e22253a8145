"""Report A's encoder: `keras.applications.ResNet50(weights=None, input_shape=(32, 32, 1))`, layer by layer, up to the
mean over the places.

It differs from the ResNet-50 of `models` (He et al. 2016, arXiv 1512.03385) as Keras's does: the stem halves the image
twice, convolutions have biases, the stride is in a block's first convolution, batch norms average slowly. The report
froze everything before the layer conv5_block1_out at random weights, as the Siamese example of keras.io freezes trained
ones; so may it be here. With Keras's weights the features agree with Keras's (benchmarks/keras_resnet50.py).
"""

import contextlib
from typing import Self

from torch import Tensor, nn, no_grad
from torch.nn import functional

from vitrine.training.layers import Conv2d

FEATURES = 2048

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Width and number of blocks of conv2 to conv5."""

FROZEN_BLOCKS = 14
"""Those up to conv5_block1; conv5_block2 and conv5_block3 learn."""


class KerasResNet50(nn.Module):
    """(n, channels, 32, 32) -> (n, 2048) features, not negative.

    frozen: the stem and the first 14 blocks keep their random weights, and their batch norms the statistics that they
    start with (mean 0, variance 1), in training, too.
    """

    def __init__(self, channels: int, frozen: bool = True) -> None:
        super().__init__()
        self.frozen = frozen
        blocks: list[nn.Module] = []
        inputs = 64
        for stage, (width, count) in enumerate(STAGES):
            for block in range(count):
                stride = 2 if stage and not block else 1
                blocks.append(_Block(inputs, width, stride, shortcut=not block))
                inputs = 4 * width
        self.stem = _convolution(channels, 64, 7, stride=2)
        self.prefix = nn.Sequential(*blocks[:FROZEN_BLOCKS])
        self.rest = nn.Sequential(*blocks[FROZEN_BLOCKS:])
        if frozen:
            self.stem.requires_grad_(False)
            self.prefix.requires_grad_(False)
            self.train()

    def forward(self, images: Tensor) -> Tensor:
        with no_grad() if self.frozen else contextlib.nullcontext():
            places = functional.relu(self.stem(images))  # (n, 64, 16, 16)
            # Keras pads with 0 and torch with minus infinity: the same after a ReLU
            places = self.prefix(functional.max_pool2d(places, 3, 2, padding=1))  # (n, 2048, 1, 1)
        features: Tensor = self.rest(places).mean((2, 3))  # (n, 2048)
        return features

    def train(self, mode: bool = True) -> Self:
        """As torch's; frozen batch norms stay in inference mode, as Keras's layers do that are not trainable."""
        super().train(mode)
        if self.frozen:
            self.stem.eval()
            self.prefix.eval()
        return self


class _Block(nn.Module):
    """1x1 down (with the stride), 3x3, 1x1 up to four times the width, and a shortcut: a convolution in a stage's first
    block, else the input.
    """

    def __init__(self, inputs: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = _convolution(inputs, 4 * width, 1, stride) if shortcut else nn.Identity()
        self.down = _convolution(inputs, width, 1, stride)
        self.middle = _convolution(width, width, 3)
        self.up = _convolution(width, 4 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.down(x))
        y = functional.relu(self.middle(y))
        return functional.relu(self.shortcut(x) + self.up(y))


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution with a bias, and batch norm; initial weights and constants are Keras's.

    The running variance is the unbiased one, as in Keras 2; Keras 3 takes the biased one, 15/16 of it in a batch of 16.
    """
    convolution = Conv2d(inputs, outputs, size, stride, padding=size // 2)
    nn.init.xavier_uniform_(convolution.weight)
    assert convolution.bias is not None  # torch's default
    nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=1.001e-5, momentum=0.01))
