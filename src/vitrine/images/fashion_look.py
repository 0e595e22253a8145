"""A photo brought to the look of Fashion-MNIST, or to the same on a light ground (`ImageSpec.ground` "dark", "light").

This follows the way Fashion-MNIST was made of product photos (Xiao et al. 2017, arXiv 1708.07747, section 2): trim
the edges that are close to the corners' colour, bring the longest side to size by subsampling, pad to a square, negate
to a dark ground, grey. What differs was measured (docs/decisions/0003-photo-path.md): soft edges are cut higher up, and
nothing is sharpened.
"""

import math

import numpy as np
from PIL import Image

from vitrine.images.arrays import Frame, Pixels, Step, array, grey, to_pil
from vitrine.spec import ImageSpec

TRIM = 0.05  # of the full range: how far a pixel may be from the corners' colour and still count as ground
_EDGE_REACH, _EDGE_HEIGHT = 0.5, 0.7  # see `trim`
_SKIP = 5  # the picture is shrunk to so many times the wanted size, then rows and columns are skipped


def steps(photo: Pixels | Image.Image, spec: ImageSpec) -> list[Step]:
    """Every step from the photo to the input, without the photo itself. An image that has the size and the ground
    already is left as it is.
    """
    image = array(photo) if isinstance(photo, Image.Image) else photo
    taken: list[Step] = []
    fits = image.shape[:2] == (spec.height, spec.width)
    ground = _corner_colour(image)  # (c,)
    inside = (slice(None), slice(None)) if fits else trim(image, ground, (spec.height, spec.width))
    frame = _frame(inside, image)
    image = image[inside]
    if not fits:
        taken.append(Step("trimmed", image, frame))
    if spec.channels == 1:
        level = int(grey(ground.reshape(1, 1, -1)).item())
        image, ground = grey(photo)[inside], np.array([0 if spec.ground == "dark" else 255], np.uint8)
        if (level > 127) != (spec.ground == "light"):
            image, level = 255 - image, 255 - level
        if not fits:
            image = _spread(image, level, spec)
        taken.append(Step(f"grey, {spec.ground} ground", image, frame))
    elif image.shape[2] == 1:
        image, ground = image.repeat(3, axis=2), ground.repeat(3)
    if not fits:
        taken.append(Step("input", _fit(image, ground, spec), _padded(frame, image, spec)))
    return taken


def _frame(inside: tuple[slice, slice], photo: Pixels) -> Frame:
    """Of rows and columns of a photo."""
    height, width = photo.shape[:2]
    (top, bottom, _), (left, right, _) = inside[0].indices(height), inside[1].indices(width)
    return Frame(left / width, top / height, (right - left) / width, (bottom - top) / height)


def _corner_colour(image: Pixels) -> Pixels:
    """(c,): the median colour of four small squares in the corners, a fiftieth of the shorter side each."""
    side = max(1, min(image.shape[:2]) // 50)
    ends = (slice(0, side), slice(-side, None))
    corners = np.concatenate([image[rows, columns].reshape(-1, image.shape[2]) for rows in ends for columns in ends])
    colour: Pixels = np.median(corners, axis=0).astype(np.uint8)
    return colour


def trim(image: Pixels, ground: Pixels, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns that are left when the edges that are ground are cut off; of a picture that is all ground,
    all of them.

    An edge lies where the difference from the ground first exceeds TRIM. Where it is soft (an enlarged picture), it
    lies at 0.7 of the height that it rises to within half of a pixel of an input of `size`, (h, w): blur makes nothing
    larger.
    """
    rows, columns = _profiles(image, ground)
    if rows.max() <= TRIM * 255:
        return slice(None), slice(None)
    reach = math.ceil(_EDGE_REACH * max(_span(rows) / size[0], _span(columns) / size[1]))
    top, bottom = _soft_edge(rows, reach), len(rows) - _soft_edge(rows[::-1], reach)
    left, right = _soft_edge(columns, reach), len(columns) - _soft_edge(columns[::-1], reach)
    return slice(top, bottom), slice(left, right)


def _profiles(image: Pixels, ground: Pixels) -> tuple[Pixels, Pixels]:
    """How far the pixels of each row (h,), and those of each column (w,), are from the ground at most."""
    h, w, c = image.shape
    flat, level = image.reshape(h, w * c), np.tile(ground, w)  # not over the channels alone: NumPy is slow there
    difference = np.maximum(flat, level)
    difference -= np.minimum(flat, level)
    return difference.max(axis=1), difference.max(axis=0).reshape(w, c).max(axis=1)


def _span(profile: Pixels) -> int:
    """How many pixels lie from the first to the last one above TRIM."""
    above = np.flatnonzero(profile > TRIM * 255)
    return int(above[-1] - above[0]) + 1


def _soft_edge(profile: Pixels, reach: int) -> int:
    """Where the first pixel lies that is above TRIM and high on the rise within `reach` from there."""
    first = int(np.argmax(profile > TRIM * 255))
    near = profile[first : first + reach]
    return first + int(np.argmax(near >= near.max() * _EDGE_HEIGHT))


def _spread(image: Pixels, level: int, spec: ImageSpec) -> Pixels:
    """Grey image (h, w, 1), its ground at `level`, spread so that the ground becomes black (on a light one, white)."""
    values = np.arange(256, dtype=np.float32)
    spread = (values - level) * (255 / (255 - level)) if spec.ground == "dark" else values * (255 / level)
    table = np.clip(spread + 0.5, 0, 255).astype(np.uint8)
    return array(to_pil(image).point(table.tolist()))


def _fit(image: Pixels, ground: Pixels, spec: ImageSpec) -> Pixels:
    """Longest side to the spec's, then padded with the ground, centred."""
    rows, columns, top, left = _room(image, spec)
    # averaged over a fifth of a pixel each way, then subsampled at the pixels' centres: as sharp as Fashion-MNIST
    finer = np.asarray(to_pil(image).resize((columns * _SKIP, rows * _SKIP), Image.Resampling.BOX))
    small = finer[_SKIP // 2 :: _SKIP, _SKIP // 2 :: _SKIP].reshape(rows, columns, spec.channels)
    canvas = np.full(spec.shape, ground, np.uint8)
    canvas[top : top + rows, left : left + columns] = small
    return canvas


def _padded(frame: Frame, image: Pixels, spec: ImageSpec) -> Frame:
    """What `_fit` makes the frame of an image."""
    rows, columns, top, left = _room(image, spec)
    across, down = frame.width / columns, frame.height / rows  # of one pixel of the input
    return Frame(frame.left - left * across, frame.top - top * down, spec.width * across, spec.height * down)


def _room(image: Pixels, spec: ImageSpec) -> tuple[int, int, int, int]:
    """Rows and columns that an image takes of the model's input, and where they begin."""
    h, w = image.shape[:2]
    scale = min(spec.height / h, spec.width / w)
    rows, columns = min(spec.height, max(1, round(h * scale))), min(spec.width, max(1, round(w * scale)))
    # an odd pixel of padding goes above and to the left, as in Fashion-MNIST
    return rows, columns, (spec.height - rows + 1) // 2, (spec.width - columns + 1) // 2
