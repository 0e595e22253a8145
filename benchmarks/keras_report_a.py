"""Report A's net and its Siamese net (mission A2, A4) in Keras, as its author describes them; run by hand in an
environment that has Keras.

    python -m venv .bench/keras && .bench/keras/bin/pip install tensorflow-cpu keras
    .bench/keras/bin/python benchmarks/keras_report_a.py FASHION_MNIST_FOLDER [--seed 0] [--scale 255] [--base learns]

Two lines of JSON are printed, with a number for each epoch: the classifier's accuracy on the images it learnt from and
on the last fifth, which it did not; then the Siamese net's loss and mean absolute error on pairs of test images. Log:
results/keras_report_a.jsonl. With --stage classifier it is one line, and says besides how right the net is on the
10,000 training images after those (later_accuracy).

What the report leaves open is read like this. Grouping by class serves the pairs; the classifier sees the images in the
data set's order (sorted by class, the last fifth would hold two classes that were never learnt). Pairs come from all
10,000 images. --scale is what pixels are divided by: the report does not say, 255 or 1. --base says whether the
classifier's unfrozen layers go on learning in the Siamese net, which is Keras's default, or are frozen, which lands
where the report's numbers are.
"""

import argparse
import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Floats = npt.NDArray[np.float32]
Pairs = tuple[tuple[Floats, Floats], Floats]

FIRST_UNFROZEN = "conv5_block1_out"
IMAGES, VALIDATION_PAIRS = 10_000, 1024


def read(folder: Path, part: str, limit: int, scale: float) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Images (n, 32, 32, 1), bilinear from 28x28, divided by `scale`, and labels (n,). part: "train" or "t10k"."""
    import keras

    pixels = np.frombuffer(gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    images = pixels.reshape(-1, 28, 28, 1)[:limit].astype("float32") / scale
    return np.asarray(keras.ops.image.resize(images, (32, 32), interpolation="bilinear")), labels[:limit]


def classifier() -> Any:
    """ResNet-50 with random weights, frozen up to FIRST_UNFROZEN."""
    import keras

    net = keras.applications.ResNet50(weights=None, classes=10, input_shape=(32, 32, 1))
    unfrozen = False
    for layer in net.layers:
        unfrozen = unfrozen or layer.name == FIRST_UNFROZEN
        layer.trainable = unfrozen
    return net


def siamese(base: Any) -> Any:
    """Two images -> probability that they are of one class, from the distance of their class probabilities."""
    import keras

    layers, ops = keras.layers, keras.ops
    first, second = layers.Input((32, 32, 1)), layers.Input((32, 32, 1))
    squares = ops.sum(ops.square(base(first) - base(second)), axis=1, keepdims=True)
    x = ops.sqrt(ops.maximum(squares, keras.config.epsilon()))  # (n, 1)
    x = layers.Dense(16, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    x = layers.Dense(16, activation="relu")(x)
    x = layers.Activation("relu")(x)
    return keras.Model([first, second], layers.Dense(1, activation="sigmoid")(x))


def random_pairs(groups: list[Floats], count: int, generator: np.random.Generator) -> Pairs:
    """`count` pairs of images (32, 32, 1) and whether they are of one class: 1 in the first half, 0 in the second.

    groups: each class's images.
    """
    first = generator.integers(len(groups), size=count)  # (count,) classes
    other = (first + generator.integers(1, len(groups), size=count)) % len(groups)
    same = np.arange(count) < count // 2
    second = np.where(same, first, other)
    a, b = (np.stack([groups[c][generator.integers(len(groups[c]))] for c in classes]) for classes in (first, second))
    return (a, b), same.astype("float32")[:, None]


def endless(groups: list[Floats], generator: np.random.Generator) -> Iterator[Pairs]:
    while True:
        yield random_pairs(groups, 32, generator)


def grouped(images: Floats, labels: npt.NDArray[np.uint8]) -> list[Floats]:
    return [images[labels == label] for label in range(10)]


def main() -> None:
    import keras

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=255.0)
    parser.add_argument("--base", choices=("learns", "frozen"), default="learns")
    parser.add_argument("--stage", choices=("classifier", "both"), default="both")
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    generator = np.random.default_rng(options.seed)
    conditions = {"keras": keras.__version__, "seed": options.seed, "scale": options.scale}
    images, labels = read(options.folder, "train", 2 * IMAGES, options.scale)
    later = (images[IMAGES:], labels[IMAGES:])
    images, labels = images[:IMAGES], labels[:IMAGES]

    base = classifier()
    base.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    found = base.fit(images, labels, batch_size=16, epochs=4, validation_split=0.2, verbose=0).history
    line = {key: [round(float(value), 4) for value in values] for key, values in found.items()}
    seconds = round(time.perf_counter() - start, 1)
    facts = {"stage": "classifier", **conditions, **line, "seconds": seconds}
    if options.stage == "classifier":
        start = time.perf_counter()
        accuracy = base.evaluate(*later, batch_size=500, verbose=0)[1]
        more = {"later_accuracy": round(accuracy, 4), "later_seconds": round(time.perf_counter() - start, 1)}
        print(json.dumps({**facts, **more}), flush=True)
        return
    print(json.dumps(facts), flush=True)
    if options.base == "frozen":
        base.trainable = False  # of every layer; True would unfreeze every one
    net = siamese(base)
    net.compile(optimizer="adam", loss="binary_crossentropy", metrics=["mae"])
    unseen = random_pairs(grouped(*read(options.folder, "t10k", 10_000, options.scale)), VALIDATION_PAIRS, generator)
    pairs = endless(grouped(images, labels), generator)
    start = time.perf_counter()
    found = net.fit(pairs, steps_per_epoch=500, epochs=2, validation_data=unseen, verbose=0).history
    line = {key: [round(float(value), 4) for value in values] for key, values in found.items()}
    seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"stage": "siamese", **conditions, "base": options.base, **line, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
