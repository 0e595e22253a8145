"""How well clean product shots are recognised: test items as shop photos, back through the photo path.

    VITRINE_DATA=... python benchmarks/photo_round_trip.py [--items 2000] [--model default] [--json]

Each item is enlarged to 600x600, padded to 600x800 and saved as a JPEG of quality 90, negated onto white or as it is on
black. Printed: the accuracy of the same items untouched, and of the photos, for three ways to enlarge.
"""

import argparse
import io
import json

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine.datasets import fashion_mnist
from vitrine.encoder import Encoder

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}


def shop_photo(image: npt.NDArray[np.uint8], white: bool, how: Image.Resampling) -> bytes:
    """One item (28, 28, 1) as a JPEG of 600x800."""
    item = Image.fromarray(255 - image[..., 0] if white else image[..., 0]).resize((600, 600), how)
    shot = Image.new("L", (600, 800), 255 if white else 0)
    shot.paste(item, (0, 100))
    written = io.BytesIO()
    shot.save(written, "JPEG", quality=90)
    return written.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", action="store_true", help="lines of JSON, for results/photo_round_trip.jsonl")
    options = parser.parse_args()
    encoder = Encoder.load(options.model)
    test = fashion_mnist.load().test
    part = test[np.random.default_rng(options.seed).permutation(len(test))[: options.items]]

    def accuracy(images: npt.NDArray[np.uint8]) -> float:
        return float((encoder.run(images).logits.argmax(axis=1) == part.labels).mean())

    facts = {"model": encoder.card.name, "identity": encoder.card.identity[:8], "items": len(part)}
    facts["seed"] = options.seed

    def tell(enlarged: str | None, ground: str | None, found: float, text: str) -> None:
        line = {**facts, "enlarged": enlarged, "ground": ground, "accuracy": round(found, 6)}
        print(json.dumps(line) if options.json else text, flush=True)

    if not options.json:
        print(", ".join(f"{key} {value}" for key, value in facts.items()))
    plain = accuracy(part.images)
    tell(None, None, plain, f"untouched          {plain:.4f}")
    for name, how in FILTERS.items():
        for ground in ("white", "black"):
            seen = encoder.prepare([shop_photo(image, ground == "white", how) for image in part.images])
            found = accuracy(seen)
            tell(name, ground, found, f"{name:9s} on {ground} {found:.4f}  ({100 * (found - plain):+.2f} points)")


if __name__ == "__main__":
    main()
