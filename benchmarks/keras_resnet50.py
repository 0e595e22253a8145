"""Does vitrine's KerasResNet50 compute what Keras's ResNet50 computes? Keras's net gets random weights and statistics,
ours gets the same ones, and the features of the same random images are compared, in inference and in training mode.

    python benchmarks/keras_resnet50.py --keras-python .bench/keras/bin/python

Prints the largest difference relative to the image's largest feature and both counts of parameters; exits with 1 where
it is above 1e-4.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TOLERANCE = 1e-4
MODES = ("inference", "training")  # in this order: training moves the statistics


def write_with_keras(path: Path) -> None:
    """Weights by Keras's path (`conv1_conv/kernel`), images (8, 32, 32, 1) and features (8, 2048) as an .npz.

    Prints the counts.
    """
    import keras

    from keras_report_a import classifier

    keras.utils.set_random_seed(0)
    net = classifier()
    generator = np.random.default_rng(0)
    for weight in net.weights:
        if not weight.path.endswith("/kernel"):  # kernels are random already
            centre = 1.0 if weight.path.endswith(("/gamma", "/moving_variance")) else 0.0
            weight.assign(centre + generator.uniform(-0.5, 0.5, weight.shape))
    weights = {weight.path: weight.numpy() for weight in net.weights}
    encoder: Any = keras.Model(net.inputs, net.get_layer("avg_pool").output)
    brightness = 2.0 ** np.arange(8)  # images alike would leave batch norm little but rounding errors to divide by
    images = (brightness[:, None, None, None] * generator.uniform(size=(8, 32, 32, 1))).astype("float32")
    arrays: dict[str, Any] = {mode: np.asarray(encoder(images, training=mode == "training")) for mode in MODES}
    np.savez(path, **arrays, **weights, images=images)
    trainable = sum(weight.numpy().size for weight in net.trainable_weights)
    print(json.dumps({"parameters": net.count_params(), "trainable": trainable}))


def copy_weights(arrays: Mapping[str, Any], encoder: Any) -> None:
    """Give `encoder`, a KerasResNet50, the weights that Keras wrote."""
    from vitrine.training.keras_resnet50 import STAGES

    copy_convolution(arrays, "conv1_conv", "conv1_bn", encoder.stem)
    names = [f"conv{stage}_block{block + 1}" for stage, (_, n) in enumerate(STAGES, start=2) for block in range(n)]
    for name, block in zip(names, [*encoder.prefix, *encoder.rest], strict=True):
        for number, part in enumerate((block.shortcut, block.down, block.middle, block.up)):
            if len(list(part.parameters())):  # a shortcut may have none
                copy_convolution(arrays, f"{name}_{number}_conv", f"{name}_{number}_bn", part)


def copy_convolution(arrays: Mapping[str, Any], convolution: str, norm: str, part: Any) -> None:
    import torch

    sources = {
        part[0].weight: arrays[f"{convolution}/kernel"].transpose(3, 2, 0, 1),  # (h, w, in, out) in Keras
        part[0].bias: arrays[f"{convolution}/bias"],
        part[1].weight: arrays[f"{norm}/gamma"],
        part[1].bias: arrays[f"{norm}/beta"],
        part[1].running_mean: arrays[f"{norm}/moving_mean"],
        part[1].running_var: arrays[f"{norm}/moving_variance"],
    }
    with torch.no_grad():
        for tensor, array in sources.items():
            tensor.copy_(torch.from_numpy(array))


def compare(path: Path) -> float:
    """The largest relative difference over both modes, image by image."""
    import torch

    from vitrine.training.keras_resnet50 import FEATURES, KerasResNet50
    from vitrine.training.models import Network

    arrays = np.load(path)
    encoder = KerasResNet50(channels=1)
    copy_weights(arrays, encoder)
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)
    differences = []
    for mode in MODES:
        encoder.train(mode == "training")
        with torch.no_grad():
            features = encoder(images).numpy()
        expected = arrays[mode]
        differences.append(float((np.abs(features - expected).max(axis=1) / expected.max(axis=1)).max()))
        print(f"{mode:9s} largest difference {differences[-1]:.1e} of the image's largest feature")
    network = Network(encoder, FEATURES, classes=10, dropout=0.0)
    running = sum(value.numel() for name, value in network.named_buffers() if "running" in name)
    trainable = sum(value.numel() for value in network.parameters() if value.requires_grad)
    total = sum(value.numel() for value in network.parameters()) + running
    print("vitrine  ", json.dumps({"parameters": total, "trainable": trainable}))
    return max(differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras-python")
    parser.add_argument("--write", type=Path, help="write Keras's part there and stop (what --keras-python is told)")
    options = parser.parse_args()
    if options.write:
        write_with_keras(options.write)
        return
    if not options.keras_python:
        parser.error("--keras-python is missing")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "keras.npz"
        command = [options.keras_python, __file__, "--write", path]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        difference = compare(path)
    print("Keras    ", done.stdout.strip().splitlines()[-1])
    sys.exit(difference > TOLERANCE)


if __name__ == "__main__":
    main()
