"""What a picture stands on, by evidence: its border, its corners, its shades. Only a copy of at most 160x160 pixels is
looked at, so that this takes about a millisecond of any picture.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine.images.arrays import Pixels, array, to_pil

_SIDE = 160  # pixels: the longest that a side of the copy is
_RING = 0.015  # of a side of the copy: how wide its border is
_PLAIN, _SHARE = (
    0.08,
    0.95,
)  # a ground is plain where so much of the border is so close to its colour, of the full range
_NOISE = 0.03  # of the full range: what differs less from its ground is ground, too
_BLACK, _DARK = 16, 24  # levels: what looks like Fashion-MNIST has corners, and half a border, that are as dark
_GREY = 8  # levels: how far apart the channels of nearly all pixels of a grey picture are at most
_SPECK = 0.02  # of a side: what is smaller, each way, is no thing

Box = tuple[float, float, float, float]
Copy = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Ground:
    """A plain ground. colour: (3,) uint8. thing: left, top, right and bottom of what stands on it, in pixels of the
    picture; None where nothing does.
    """

    colour: Pixels
    thing: Box | None


@dataclass(frozen=True)
class Evidence:
    """fashion_mnist: see `looks_like_fashion_mnist`. ground: see `plain_ground`; None where the former holds."""

    fashion_mnist: bool
    ground: Ground | None


def plain_ground(image: Pixels | Image.Image) -> Ground | None:
    """The ground of an image from `read` or `opened` where nearly all of its border has one colour: a product shot,
    also with a soft shadow, or a garment on a smooth cloth. None for a scene.
    """
    return _plain(_copy(image), _size(image))


def looks_like_fashion_mnist(image: Pixels | Image.Image) -> bool:
    """Whether an image from `read` or `opened` has the look of Fashion-MNIST already: grey, and 28x28 pixels or on a
    black ground.
    """
    return _fashion_mnist(_copy(image), _size(image))


def evidence(image: Pixels | Image.Image) -> Evidence:
    """Both, looked for once."""
    copy, size = _copy(image), _size(image)
    like = _fashion_mnist(copy, size)
    return Evidence(like, None if like else _plain(copy, size))


def _plain(copy: Copy, size: tuple[int, int]) -> Ground | None:
    colour = np.median(_border(copy), axis=0).astype(np.uint8)
    far = _largest(np.abs(copy - colour))
    border = _border(far)
    if (border <= _PLAIN * 255).mean() < _SHARE:
        return None
    # what is no further from the ground's colour than the ground itself is
    noise = np.clip(np.percentile(border, 98), _NOISE * 255, _PLAIN * 255)
    return Ground(colour, _thing(far > noise, size))


def _fashion_mnist(copy: Copy, size: tuple[int, int]) -> bool:
    if np.percentile(_largest(copy) + _largest(-copy), 99) > _GREY:
        return False
    return size == (28, 28) or _on_black(copy)


def _size(image: Pixels | Image.Image) -> tuple[int, int]:
    """Width and height."""
    return image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])


def _copy(image: Pixels | Image.Image) -> Copy:
    """(h, w, 3): the picture averaged down, each side on its own, so that a strip makes a small copy, too."""
    whole = image if isinstance(image, Image.Image) else to_pil(image)
    size = (min(whole.width, _SIDE), min(whole.height, _SIDE))
    small = array(whole.resize(size, Image.Resampling.BOX, reducing_gap=2).convert("RGB"))
    return small.astype(np.int16)


def _largest(copy: Copy) -> Copy:
    """(h, w): of the three channels; not by `max` over the last axis, where NumPy is slow."""
    largest: Copy = np.maximum(np.maximum(copy[..., 0], copy[..., 1]), copy[..., 2])
    return largest


def _border(copy: Copy) -> Copy:
    """(n, ...): the pixels along the four sides."""
    h, w = copy.shape[:2]
    inside = np.zeros((h, w), np.bool_)
    rows, columns = max(1, round(h * _RING)), max(1, round(w * _RING))
    inside[rows : h - rows, columns : w - columns] = True
    return copy[~inside]


def _on_black(copy: Copy) -> bool:
    shades = _largest(copy)
    corners = shades[[0, 0, -1, -1], [0, -1, 0, -1]]
    return bool(np.median(corners) <= _BLACK and (_border(shades) <= _DARK).mean() >= 0.5)


def _thing(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> Box | None:
    """The box around what is marked in the copy, in pixels of a picture of that size; lone marks, which are dust or
    noise, are left out, and what is narrow, as a strap, is not.
    """
    h, w = mask.shape
    padded = np.pad(mask, 1).astype(np.uint8)
    around = sum(padded[i : i + h, j : j + w] for i in range(3) for j in range(3))
    marked = mask & (np.asarray(around) >= min(3, h, w))
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    if not len(rows) or max((rows[-1] - rows[0] + 1) / h, (columns[-1] - columns[0] + 1) / w) < _SPECK:
        return None
    across, down = size[0] / w, size[1] / h  # pixels of the picture to one of the copy
    room = 0.5 if (w, h) != size else 0.0  # for an edge that lies within the next pixel of the copy
    left, right = max(0, columns[0] - room), min(w, columns[-1] + 1 + room)
    top, bottom = max(0, rows[0] - room), min(h, rows[-1] + 1 + room)
    return float(left * across), float(top * down), float(right * across), float(bottom * down)
