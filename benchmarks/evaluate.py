"""Model files on Fashion-MNIST's test set: accuracy, precision at 1 of test queries in the training set, calibration.

    VITRINE_DATA=... python benchmarks/evaluate.py MODEL.onnx [MODEL.onnx ...]

Prints a line a model, and mean ± sd over them.
"""

import argparse
import statistics

from vitrine import evaluation
from vitrine.datasets import fashion_mnist
from vitrine.encoder import Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    splits = fashion_mnist.load()
    rows = []
    for model in parser.parse_args().models:
        encoder = Encoder.load(model)
        gallery = encoder.run(splits.train.images).embeddings
        test = evaluation.query_gallery(encoder, splits.test, gallery, splits.train.labels)
        row = (encoder.card.metrics["validation_accuracy"], test.accuracy, test.precision_at_1, test.ece)
        rows.append(row)
        print(
            f"{encoder.card.name} seed {encoder.card.seed} {encoder.card.identity[:8]}: validation {row[0]:.4f},",
            end=" ",
        )
        print(f"test {row[1]:.4f}, precision at 1 {row[2]:.4f}, calibration error {row[3]:.4f}", flush=True)
    if len(rows) > 1:
        for name, values in zip(
            ("validation", "test", "precision at 1", "calibration"), zip(*rows, strict=True), strict=True
        ):
            print(f"{name:15s} {statistics.mean(values):.4f} ± {statistics.stdev(values):.4f} ({len(rows)} models)")


if __name__ == "__main__":
    main()
