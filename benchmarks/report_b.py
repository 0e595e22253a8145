"""Report B's net and recipe (mission B4, B5), three seeds, with vitrine and with Keras in turn, in one run.

    VITRINE_DATA=... python benchmarks/report_b.py [--epochs 100] [--seeds 3] [--keras-python .bench/keras/bin/python]
        [--json]

The interpreter for Keras is that of a separate environment:

    python -m venv .bench/keras && .bench/keras/bin/pip install tensorflow-cpu keras

Both train on the first 48,000 training images, hold out the last 12,000, and see the test set once, at the end.
Without --keras-python only vitrine is measured.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vitrine import metrics
from vitrine.datasets import Splits, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.training import loop, recipe


def with_vitrine(splits: Splits, epochs: int, seed: int, place: Path) -> dict[str, float]:
    """Test accuracy and loss, seconds an epoch (with validation and checkpoint; without the first), seconds in all."""
    ends: list[float] = []
    watch = loop.Watch(epoch=lambda line: ends.append(time.perf_counter()))
    overrides = {"epochs": str(epochs), "seed": str(seed)}
    start = time.perf_counter()
    result = loop.train(recipe.load("report-b-mlp", overrides), splits.train, place / f"seed-{seed}", watch=watch)
    seconds = time.perf_counter() - start
    logits = Encoder.load(result.model).run(splits.test.images).logits
    return {
        "accuracy": metrics.accuracy(logits.argmax(axis=1), splits.test.labels),
        "loss": metrics.negative_log_likelihood(logits, splits.test.labels),
        "epoch_seconds": (ends[-1] - ends[0]) / (epochs - 1),
        "seconds": seconds,
    }


def with_keras(python: str, arrays: Path, epochs: int, seed: int) -> dict[str, float]:
    script = Path(__file__).with_name("keras_report_b.py")
    done = subprocess.run([python, script, arrays, str(epochs), str(seed)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keras-python")
    parser.add_argument("--json", action="store_true", help="lines of JSON, for results/report_b.jsonl")
    options = parser.parse_args()
    splits = fashion_mnist.load()
    rows: dict[str, list[dict[str, float]]] = {"vitrine": [], "keras": []}
    with tempfile.TemporaryDirectory() as place:
        arrays = Path(place) / "arrays.npz"
        np.savez(arrays, x=splits.train.images, y=splits.train.labels, xt=splits.test.images, yt=splits.test.labels)
        for seed in range(options.seeds):
            conditions = {"seed": seed, "epochs": options.epochs}
            rows["vitrine"].append(with_vitrine(splits, options.epochs, seed, Path(place)))
            print(json.dumps({"name": "vitrine", **conditions, **rows["vitrine"][-1]}), flush=True)
            if options.keras_python:
                rows["keras"].append(with_keras(options.keras_python, arrays, options.epochs, seed))
                print(json.dumps({"name": "keras", **conditions, **rows["keras"][-1]}), flush=True)
    if not options.json:
        summarise(rows)


def summarise(rows: dict[str, list[dict[str, float]]]) -> None:
    """Print mean ± sd and how an epoch's times compare."""
    for name, found in rows.items():
        if found:
            accuracies = [row["accuracy"] for row in found]
            spread = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
            epoch = statistics.median(row["epoch_seconds"] for row in found)
            mean = statistics.mean(accuracies)
            print(f"{name:8s} test accuracy {mean:.4f} ± {spread:.4f} ({len(found)} seeds), {epoch:.2f} s an epoch")
    if rows["keras"]:
        ratios = [k["epoch_seconds"] / v["epoch_seconds"] for k, v in zip(rows["keras"], rows["vitrine"], strict=True)]
        print(
            f"an epoch with Keras takes {statistics.median(ratios):.1f} times as long (median of {len(ratios)} pairs)"
        )


if __name__ == "__main__":
    main()
