"""A photo for a model that wants photos as they are: in colour, on any ground (`ImageSpec.ground` "any").

What is done is decided by evidence (grounds.py), not by a flag:
- what looks like Fashion-MNIST keeps its look: black around it, made as large as the model wants it;
- what stands on a plain ground is cut out with a small margin, and made square with more of the ground;
- any other photo is squeezed to the model's size as a whole: a hanger, a bed or a wearer leave no edge to cut along,
  and a model that was trained so minds the squeeze less than it would mind a part that is missing;
- of both, a model that wants to see things larger than a whole photo shows them gets the middle (`ImageSpec.middle`).
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vitrine.images import fashion_look, grounds
from vitrine.images.arrays import Frame, Pixels, Step, array, middle, to_pil
from vitrine.images.grounds import Box
from vitrine.spec import ImageSpec

_MARGIN = 0.06  # of the longer side of what stands on a plain ground: how much of the ground is left around it
_GAP = 3.0  # Pillow: large pictures are first averaged down by whole factors, to no less than so many times the size
_ITEM = 28  # pixels: a side in Fashion-MNIST
_ALL = Frame(0, 0, 1, 1)
_BLACK = np.zeros(3, np.uint8)


@dataclass(frozen=True)
class _Part:
    """What of a photo the model sees. box: in pixels of the photo, also beyond it, where `colour` is seen."""

    name: str
    box: Box
    colour: Pixels


def steps(photo: Pixels | Image.Image, spec: ImageSpec) -> list[Step]:
    """Every step from the photo to the input, without the photo itself. One that has the size already is left as it
    is.
    """
    whole = photo if isinstance(photo, Image.Image) else to_pil(photo)
    if whole.size == (spec.width, spec.height):
        return [Step("input", _channels(whole, spec), _ALL)]
    found = grounds.evidence(whole)
    part = _part(whole, found, spec)
    if part is None:
        box: Box = (0, 0, *whole.size)
        box = box if found.fashion_mnist else middle(box, spec)
        squeezed = whole.resize((spec.width, spec.height), Image.Resampling.BILINEAR, box=box, reducing_gap=_GAP)
        return [Step("input", _channels(squeezed, spec), _frame(box, whole))]
    left, top, right, bottom = _within(part.box, whole)
    cut = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    return [
        Step(part.name, array(whole.crop(cut)), _frame(cut, whole)),
        Step("input", _channels(_placed(whole, part, spec), spec), _frame(part.box, whole)),
    ]


def _part(whole: Image.Image, found: grounds.Evidence, spec: ImageSpec) -> _Part | None:
    """What is seen of a photo, None where it is not cut out of anything."""
    if found.fashion_mnist:
        return None if whole.size == (_ITEM, _ITEM) else _Part("grey on black", _framed(_item(whole), 0, spec), _BLACK)
    if found.ground is None or found.ground.thing is None:
        return None
    box = middle(_framed(found.ground.thing, _MARGIN, spec), spec)
    return _Part("plain ground cut off", box, found.ground.colour)


def _item(whole: Image.Image) -> Box:
    """The square that Fashion-MNIST would have made of a grey thing on black: an odd pixel of its padding goes above
    and to the left.
    """
    rows, columns = fashion_look.trim(array(whole.convert("L")), _BLACK[:1], (_ITEM, _ITEM))
    left, right, _ = columns.indices(whole.width)
    top, bottom, _ = rows.indices(whole.height)
    side = max(right - left, bottom - top)
    pixel = side / _ITEM
    x = left - pixel * ((_ITEM - round((right - left) / pixel) + 1) // 2)
    y = top - pixel * ((_ITEM - round((bottom - top) / pixel) + 1) // 2)
    return x, y, x + side, y + side


def _frame(box: Box, whole: Image.Image) -> Frame:
    left, top, right, bottom = box
    return Frame(left / whole.width, top / whole.height, (right - left) / whole.width, (bottom - top) / whole.height)


def _framed(thing: Box, margin: float, spec: ImageSpec) -> Box:
    """The smallest box of the spec's shape around the thing and the margin."""
    left, top, right, bottom = thing
    room = 2 * margin * max(right - left, bottom - top)
    scale = max((right - left + room) / spec.width, (bottom - top + room) / spec.height)
    across, down = scale * spec.width / 2, scale * spec.height / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - across, y - down, x + across, y + down


def _within(box: Box, whole: Image.Image) -> Box:
    left, top, right, bottom = box
    return max(0.0, left), max(0.0, top), min(float(whole.width), right), min(float(whole.height), bottom)


def _placed(whole: Image.Image, part: _Part, spec: ImageSpec) -> Image.Image:
    """The part at the spec's size; what of it lies beyond the photo has the ground's colour."""
    inside = _within(part.box, whole)
    scale = spec.width / (part.box[2] - part.box[0])
    left, right = (round((x - part.box[0]) * scale) for x in inside[::2])
    top, bottom = (round((y - part.box[1]) * scale) for y in inside[1::2])
    size = (max(1, right - left), max(1, bottom - top))
    seen = whole.resize(size, Image.Resampling.BILINEAR, box=inside, reducing_gap=_GAP)
    canvas = Image.new("RGB", (spec.width, spec.height), tuple(part.colour.tolist()))
    canvas.paste(seen, (min(left, spec.width - 1), min(top, spec.height - 1)))
    return canvas


def _channels(seen: Image.Image, spec: ImageSpec) -> Pixels:
    return array(seen.convert("L" if spec.channels == 1 else "RGB"))
