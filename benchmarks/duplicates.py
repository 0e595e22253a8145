"""What a threshold finds as duplicates: copies of 2,000 items, altered, among the 60,000 to train on, and of photos.

    VITRINE_DATA=... python benchmarks/duplicates.py [--photos FOLDER] [--model default] [--json]

Recall: the share of copies that score at least the threshold with their original. Precision: of all items that do, the
share that are the original. Some of the others are true duplicates, so precision is rather higher than printed.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine import images
from vitrine.datasets import fashion_mnist, image_folder
from vitrine.encoder import Encoder
from vitrine.evaluation import alter

THRESHOLDS = (0.97, 0.98, 0.99, 0.995, 0.997, 0.998, 0.999)
ITEMS, PHOTOS = 2000, 600

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


def jpeg(picture: Image.Image, quality: int) -> bytes:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality)
    return written.getvalue()


def saved(image: Pixels, quality: int) -> Pixels:
    return images.read(jpeg(images.to_pil(image), quality))


def enlarged_and_back(image: Pixels) -> Pixels:
    large = images.to_pil(image).resize((300, 300), Image.Resampling.BICUBIC)
    return np.asarray(large.resize((28, 28), Image.Resampling.BOX))[..., None]


def brighter(image: Pixels, place: int) -> Pixels:
    values = image * np.random.default_rng([1, place]).uniform(0.9, 1.1) + 0.5
    whole: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return whole


ITEM_COPIES: dict[str, Callable[[Pixels, int], Pixels]] = {  # of an image (28, 28, 1) at a place in the data set
    "mirrored": lambda image, _: image[:, ::-1],
    "brightness times 0.9 to 1.1": brighter,
    "JPEG of quality 90": lambda image, _: saved(image, 90),
    "enlarged to 300 pixels and back": lambda image, _: enlarged_and_back(image),
    "JPEG of quality 50": lambda image, _: saved(image, 50),
    "moved by a pixel": lambda image, _: np.roll(image, 1, axis=1),
    "another shot (evaluation.alter)": lambda image, place: alter(image, np.random.default_rng([0, place])),
}


def smaller(photo: Image.Image, divisor: int) -> Image.Image:
    return photo.resize((photo.width // divisor, photo.height // divisor), Image.Resampling.LANCZOS)


def cut(photo: Image.Image, share: float) -> Image.Image:
    across, down = int(photo.width * share), int(photo.height * share)
    return photo.crop((across, down, photo.width - across, photo.height - down))


PHOTO_COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {  # each saved as a JPEG of quality 75
    "saved again": lambda photo: photo,
    "half the size": lambda photo: smaller(photo, 2),
    "a quarter of the size": lambda photo: smaller(photo, 4),
    "10 % brighter": lambda photo: photo.point(lambda value: min(255, int(value * 1.1))),
    "mirrored": lambda photo: photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "2 % cut off each side": lambda photo: cut(photo, 0.02),
}


def measured(copies: Vectors, gallery: Vectors, own: npt.NDArray[np.int64]) -> Iterator[tuple[float, float]]:
    """Recall and precision at each threshold of copies (q, d) whose originals are at the places `own` (q,)."""
    scores = copies @ gallery.T
    right = scores[np.arange(len(own)), own]
    for threshold in THRESHOLDS:
        found, true = int((scores >= threshold).sum()), int((right >= threshold).sum())
        yield true / len(own), true / found if found else 1.0


def of_items(encoder: Encoder) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    everything = fashion_mnist.load().train.images  # the threshold is chosen by this: not by the test set
    gallery = encoder.run(everything).embeddings
    chosen = np.sort(np.random.default_rng(0).choice(len(everything), ITEMS, replace=False))
    for name, change in ITEM_COPIES.items():
        copies = encoder.run(np.stack([change(everything[place], int(place)) for place in chosen])).embeddings
        yield name, list(measured(copies, gallery, chosen))


def of_photos(encoder: Encoder, folder: Path) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    files = sorted(image_folder.find(str(folder))[0])
    chosen = np.sort(np.random.default_rng(0).choice(len(files), min(PHOTOS, len(files)), replace=False))
    photos = [Image.open(files[place]).convert("RGB") for place in chosen]
    gallery = encoder.embed([files[place] for place in chosen])
    for name, change in PHOTO_COPIES.items():
        copies = encoder.embed([jpeg(change(photo), 75) for photo in photos])
        yield name, list(measured(copies, gallery, np.arange(len(photos))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photos, to do the same with")
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", action="store_true", help="lines of JSON")
    options = parser.parse_args()
    encoder = Encoder.load(options.model)
    parts = {"fashion-mnist": of_items(encoder)}
    if options.photos:
        parts["photos"] = of_photos(encoder, options.photos)
    for data, lines in parts.items():
        if not options.json:
            print(f"{data}, {encoder.card.name}: recall / precision from {', '.join(map(str, THRESHOLDS))}")
        for name, figures in lines:
            if options.json:
                found = [
                    {"threshold": threshold, "recall": round(recall, 4), "precision": round(precision, 4)}
                    for threshold, (recall, precision) in zip(THRESHOLDS, figures, strict=True)
                ]
                print(json.dumps({"data": data, "model": encoder.card.name, "copy": name, "found": found}), flush=True)
            else:
                print(f"{name:32s}", *(f"{recall:.3f}/{precision:.3f}" for recall, precision in figures), flush=True)


if __name__ == "__main__":
    main()
