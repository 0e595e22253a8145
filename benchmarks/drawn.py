"""What a model makes of drawn garments, which it never saw: accuracy, and per class.

python benchmarks/drawn.py [--model default]
"""

import argparse

from vitrine import metrics
from vitrine.datasets import drawn_garments
from vitrine.encoder import Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    encoder = Encoder.load(parser.parse_args().model)
    test = drawn_garments.load().test
    predicted = encoder.run(test.images).logits.argmax(axis=1)
    print(f"model {encoder.card.name} {encoder.card.identity[:8]}, {len(test)} drawn garments (test part, seed 0)")
    print(f"right  {metrics.accuracy(predicted, test.labels):.4f}")
    matrix = metrics.confusion_matrix(predicted, test.labels, 10)
    for name, row in zip(test.class_names["en"], matrix, strict=True):
        print(f"  {name:12s} {row.max() and row.tolist()}")


if __name__ == "__main__":
    main()
