"""Measures models again on the images that they held out, and writes them with the tables and figures of today's code.

    VITRINE_DATA=... python benchmarks/refit.py runs/siamese-0/model.onnx ...

`vitrine train` ends with the same; this is for models that were trained by an older vitrine. The network, and so the
model's identity, stays as it is. The shipped models got their tables of pairs so (decision 0006), and, with
--background, the sample of embeddings that new classes are told from (docs/learning.md) and nothing else.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from vitrine import background, modelfile
from vitrine.datasets import fashion_mnist, holdout
from vitrine.encoder import Encoder
from vitrine.training import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--background", action="store_true", help="leave tables and figures as they are")
    train = fashion_mnist.load().train
    arguments = parser.parse_args()
    for path in arguments.models:
        model = modelfile.read(path)
        data = model.card.recipe["data"]
        held = holdout.hold_out(
            train,
            data["validation"],
            data["split"],
            model.card.seed,
            data.get("limit", 0),
            data.get("leave_out", ()),
        )[1]
        if arguments.background:
            seen = Encoder.from_content(model.content, model.card).run(held.images).embeddings
            modelfile.write(path, model.content, model.card, background.sample(seen, held.labels))
            continue
        bare = replace(model.card, similarity=None, metrics={}, temperature=1.0)
        card = export.write_measured(path, model.content, bare, held)
        print(path, card.metrics)


if __name__ == "__main__":
    main()
