"""Ways to see a photo that photos.py compares with: report B's own, and a crude cut-out; and bridges to a catalogue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine import bridging, images, metrics
from vitrine.datasets import Dataset
from vitrine.encoder import Encoder, Outputs
from vitrine.images import Picture

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]

SIDE = 28
FAR = 40
"""How far from the corners' colour, of 255, a pixel of the crude cut-out's garment is in some channel."""


def report_b(photo: Pixels) -> Pixels:
    """(h, w, c) -> (28, 28, 1) as report B does it: grey, squeezed to 28x28, inverted. The division by 255 is in the
    model file.
    """
    return 255 - _squeezed(images.grey(photo), SIDE, SIDE)


def cut_out(photo: Pixels) -> Pixels:
    """(h, w, c) -> (28, 28, 1): what differs from the corners' colour, inverted, on black, its box in the middle."""
    ends = (slice(0, 8), slice(-8, None))
    corners = np.concatenate([photo[rows, columns].reshape(-1, photo.shape[2]) for rows in ends for columns in ends])
    far = np.abs(photo.astype(np.int16) - np.median(corners, axis=0)).max(axis=2) > FAR
    if not far.any():
        far[:] = True
    rows, columns = (np.flatnonzero(far.any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    garment = np.where(far[..., None], 255 - images.grey(photo), 0).astype(np.uint8)[box]
    h, w = garment.shape[:2]
    small = _squeezed(garment, max(1, round(SIDE * h / max(h, w))), max(1, round(SIDE * w / max(h, w))))
    canvas = np.zeros((SIDE, SIDE, 1), np.uint8)
    top, left = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def _squeezed(grey: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(images.to_pil(grey).resize((width, height), Image.Resampling.BILINEAR))[..., None]


def see(encoder: Encoder, look: Callable[[Pixels], Pixels], photos: Sequence[Path]) -> Outputs:
    """What a model of 28x28 greys says of photos that are brought to it in another way than its own photo path."""
    return encoder.run(np.stack([look(images.read(path)) for path in photos]))


def trained_report_b(train: Dataset, folder: Path) -> Path:
    """Report B's net, trained by its recipe where `folder` does not hold it yet; about a minute on two cores. The model
    file.
    """
    from vitrine.training import checkpoints, loop, recipe

    model = folder / loop.MODEL_FILE
    if not model.exists():
        loop.train(recipe.load("report-b-mlp", {"seed": "0"}), train, folder, resume=checkpoints.exists(folder))
    return model


# --- bridges: from a photo to a vector in the space of a catalogue that another model made

Bridge = Callable[[Sequence[Picture]], Vectors]
"""Photos -> (n, d), L2-normalised, to be compared with the catalogue's vectors."""


@dataclass(frozen=True)
class Catalogue:
    """Fashion-MNIST as a model embedded it. encoder: that model; vectors: (n, d); labels: (n,) class 0 to 9."""

    encoder: Encoder
    vectors: Vectors
    labels: npt.NDArray[np.int64]


def own_path(photo: Encoder, catalogue: Catalogue) -> Bridge:
    """No bridge: the catalogue's model sees the photo itself."""
    return catalogue.encoder.embed


def class_centres(photo: Encoder, catalogue: Catalogue) -> Bridge:
    """The photo model says which class it is: the catalogue's mean vectors of the classes, weighted by their
    probabilities, and what the catalogue's own model sees to the same weight, for the looks.
    """
    centres = np.stack([catalogue.vectors[catalogue.labels == label].mean(axis=0) for label in range(10)])
    centres = _unit(centres)

    def vectors(pictures: Sequence[Picture]) -> Vectors:
        said = metrics.softmax(photo.run(photo.prepare(pictures)).logits, photo.card.temperature)
        return _unit(_unit(said @ centres) + catalogue.encoder.embed(pictures))

    return vectors


def joint(photo: Encoder, catalogue: Catalogue) -> Bridge:
    """As `vitrine search` does it: the class probabilities of the photo model in the embedding of the catalogue's."""
    return bridging.Bridge(catalogue.encoder, photo).vectors


def _unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


BRIDGES: dict[str, Callable[[Encoder, Catalogue], Bridge]] = {
    "default's catalogue, its own photo path": own_path,
    "default's catalogue, class centres": class_centres,
    "default's catalogue, bridge": joint,
}
"""Another rule is another line here."""
