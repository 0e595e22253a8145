"""The part of a photo that is meant: a rectangle in pixels of the photo as one sees it, upright and whole."""

import math
import re
from dataclasses import dataclass

from PIL import Image

from vitrine.errors import ImageError, InputError

_LARGEST = 10**9
_FORM = re.compile(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", re.ASCII)


@dataclass(frozen=True)
class Crop:
    """x, y: the upper left corner, counted from the photo's. width, height: at least 1."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.x, self.y) < 0 or max(self.x, self.y, self.width, self.height) > _LARGEST:
            raise InputError(f"The crop {self} reaches beyond any picture; its corner is counted from 0,0.")
        if min(self.width, self.height) < 1:
            raise InputError(f"The crop {self} is empty; width and height must be at least 1 pixel.")

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @classmethod
    def parse(cls, text: str) -> "Crop":
        """From "x,y,width,height". Raises InputError.

        >>> Crop.parse("40,60,200,300")
        Crop(x=40, y=60, width=200, height=300)
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise InputError(
                f"{text[:60]!r} is no crop; give x,y,width,height in pixels of the upright picture, such as"
                " 40,60,200,300."
            )
        return cls(*(min(int(number[:11]), _LARGEST + 1) for number in found.groups()))

    def part(self, image: Image.Image, size: tuple[int, int], name: str) -> Image.Image:
        """That part of an upright picture, which may have been decoded smaller than its full `size` (w, h).

        Raises ImageError where it reaches beyond the picture.
        """
        if self.x + self.width > size[0] or self.y + self.height > size[1]:
            raise ImageError(
                f"{name} has {size[0]}x{size[1]} pixels; the crop {self} (x,y,width,height) reaches beyond them."
            )
        across, down = image.width / size[0], image.height / size[1]
        left, top = math.floor(self.x * across), math.floor(self.y * down)
        right, bottom = math.ceil((self.x + self.width) * across), math.ceil((self.y + self.height) * down)
        return image.crop((left, top, min(right, image.width), min(bottom, image.height)))
