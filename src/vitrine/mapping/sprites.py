"""Many thumbnails as one picture, row by row, for programs that show each at its point."""

import io
from collections.abc import Iterable, Iterator
from math import ceil, isqrt

from PIL import Image

from vitrine import images
from vitrine.catalogue import Catalogue
from vitrine.errors import VitrineError


def tiles(catalogue: Catalogue, ids: Iterable[int], side: int) -> Iterator[Image.Image]:
    """The thumbnails of those items, each (side, side) in grey or colour; plain grey for one that is not there."""
    for id in ids:
        try:
            thumbnail = images.to_pil(images.read(catalogue.item(id).thumbnail))
        except VitrineError:
            thumbnail = images.to_pil(images.read(images.blank()))
        yield fitted(thumbnail, side)


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """All of a picture in a square, on its own corner's colour."""
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    small = picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.BOX)
    if width == height:
        return small
    square = Image.new(small.mode, (side, side), small.getpixel((0, 0)))
    square.paste(small, ((side - width) // 2, (side - height) // 2))
    return square


def columns(count: int) -> int:
    """How many stand in a row where as many rows as columns are to hold them."""
    return isqrt(count - 1) + 1 if count else 1


def sheet(pictures: Iterable[Image.Image], count: int, side: int, wide: int) -> Image.Image:
    """So many pictures, (side, side) each, row by row, `wide` in a row; grey where none of them has colour."""
    mode, whole = "L", Image.new("L", (wide * side, ceil(count / wide) * side if count else side))
    for place, picture in enumerate(pictures):
        if mode == "L" and picture.mode != "L":
            mode, whole = "RGB", whole.convert("RGB")
        whole.paste(picture, (place % wide * side, place // wide * side))
    return whole


def encoded(picture: Image.Image, kind: str, quality: int = 70) -> bytes:
    """As a file of that kind, "PNG" or "JPEG"."""
    buffer = io.BytesIO()
    if kind == "PNG":
        picture.save(buffer, kind, optimize=False)
    else:
        picture.save(buffer, kind, quality=quality, optimize=True)
    return buffer.getvalue()
