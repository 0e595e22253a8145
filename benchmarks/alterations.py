"""Finding the original of a picture that was altered otherwise than the shipped model learnt it.

    VITRINE_DATA=... python benchmarks/alterations.py [--json]

The recipe siamese learns looks from pictures that are altered just as `vitrine evaluate --protocol find-original`
alters them. Here are other alterations too, and raw pixels and the model of cross-entropy alone beside it. Nothing sees
the test set: 400 of the 3,000 images that both shipped models held out (siamese, seed 0) are altered, and looked for
among these 3,000.
"""

import argparse
import json
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from vitrine import evaluation
from vitrine.datasets import Dataset, fashion_mnist
from vitrine.datasets.holdout import hold_out
from vitrine.encoder import Encoder
from vitrine.evaluation import RawPixels, Subject

Pixels = npt.NDArray[np.uint8]

QUERIES, SEED = 400, 0
PIXELS = "raw pixels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="lines of JSON only, for results/alterations.jsonl")
    as_json = parser.parse_args().json
    gallery = held_out()
    chosen = np.sort(np.random.default_rng(SEED).choice(len(gallery), QUERIES, replace=False))
    for name, subject in subjects().items():
        for row in _measured(subject, gallery, chosen):
            if as_json:
                print(json.dumps({"model": name, **row, "gallery": len(gallery), "seed": SEED}), flush=True)
            else:
                print(f"{name:12} {row['alteration']:34} first {row['success_at_1']:.4f}, class kept {row['kept']}")


def held_out() -> Dataset:
    """The validation images of siamese, seed 0; those of compact, seed 0, are these and as many again."""
    return hold_out(fashion_mnist.load().train, 0.05, "random", seed=0)[1]


def subjects() -> dict[str, Subject]:
    return {"siamese": Encoder.load("default"), "compact": Encoder.load("compact"), PIXELS: RawPixels()}


def _measured(subject: Subject, gallery: Dataset, chosen: npt.NDArray[np.intp]) -> Iterator[dict[str, object]]:
    whole = subject.run(gallery.images)
    wide = whole.embeddings.astype(np.float64)
    for name, alter in ALTERATIONS.items():
        altered = [alter(gallery.images[i], np.random.default_rng([SEED, i])) for i in chosen]
        answers = subject.run(np.ascontiguousarray(np.stack(altered)))
        scores = (answers.embeddings.astype(np.float64) @ wide.T).astype(np.float32)  # (q, n)
        own = np.take_along_axis(scores, chosen[:, None], axis=1)
        ahead = (scores > own) | ((scores == own) & (np.arange(len(gallery)) < chosen[:, None]))
        places = np.count_nonzero(ahead, axis=1)
        classes = answers.logits.shape[1]
        kept = float(np.mean(answers.logits.argmax(1) == whole.logits[chosen].argmax(1))) if classes else None
        yield {
            "alteration": name,
            "success_at_1": round(float(np.mean(places < 1)), 6),
            "success_at_10": round(float(np.mean(places < 10)), 6),
            "kept": kept and round(kept, 6),
            "queries": len(chosen),
        }


# --- alterations of an image (h, w, 1) uint8


def _brightness(factor: float) -> Callable[[Pixels, np.random.Generator], Pixels]:
    return lambda image, _: np.rint(image * factor).astype(np.uint8)


def _gamma(exponent: float) -> Callable[[Pixels, np.random.Generator], Pixels]:
    return lambda image, _: np.rint(255 * (image / 255) ** exponent).astype(np.uint8)


def _blurred(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(image[..., 0]).filter(ImageFilter.GaussianBlur(1)))[..., None]


def _hole(image: Pixels, generator: np.random.Generator) -> Pixels:
    row, column = (int(generator.integers(0, side - 9 + 1)) for side in image.shape[:2])
    left = image.copy()
    left[row : row + 9, column : column + 9] = 0
    return left


def _smaller(image: Pixels, _: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    small = Image.fromarray(image[..., 0]).resize((round(0.7 * width), round(0.7 * height)), Image.Resampling.BILINEAR)
    whole = Image.new("L", (width, height))
    whole.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return np.asarray(whole)[..., None]


def _shifted(image: Pixels, generator: np.random.Generator) -> Pixels:
    """By 4 pixels in one of four directions; what leaves is lost, and what comes in is black."""
    axis, step = int(generator.integers(2)), int(generator.choice([-4, 4]))
    moved = np.roll(image, step, axis)
    edge = slice(step) if step > 0 else slice(step, None)
    moved[edge if axis == 0 else slice(None), edge if axis == 1 else slice(None)] = 0
    return moved


ALTERATIONS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "as learnt: all five at once": evaluation.alter,
    "half as bright": _brightness(0.5),
    "gamma 0.5": _gamma(0.5),
    "gamma 2": _gamma(2),
    "blurred, Gaussian of sd 1": _blurred,
    "a hole of 9x9": _hole,
    "70 % of its size, in the middle": _smaller,
    "moved by 4 pixels": _shifted,
}


if __name__ == "__main__":
    main()
