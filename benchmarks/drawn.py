"""What a model makes of drawn garments, which it never saw: accuracy, and per class.

python benchmarks/drawn.py [--model default] [--json]
"""

import argparse
import json

from vitrine import metrics
from vitrine.datasets import drawn_garments
from vitrine.encoder import Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", action="store_true", help="a line of JSON, for results/drawn.jsonl")
    options = parser.parse_args()
    encoder = Encoder.load(options.model)
    test = drawn_garments.load().test
    predicted = encoder.run(test.images).logits.argmax(axis=1)
    names, identity = test.class_names["en"], encoder.card.identity[:8]
    accuracy = metrics.accuracy(predicted, test.labels)
    matrix = metrics.confusion_matrix(predicted, test.labels, 10).tolist()
    if options.json:
        facts = {"model": encoder.card.name, "identity": identity, "images": len(test), "seed": 0}
        print(json.dumps({**facts, "accuracy": round(accuracy, 6), "classes": list(names), "confusion": matrix}))
        return
    print(f"model {encoder.card.name} {identity}, {len(test)} drawn garments (test part, seed 0)")
    print(f"right  {accuracy:.4f}")
    for name, row in zip(names, matrix, strict=True):
        print(f"  {name:12s} {row}")


if __name__ == "__main__":
    main()
