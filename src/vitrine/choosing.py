"""Which of two models a picture is for, by what it is: `default` has learnt from Fashion-MNIST and knows that best, and
`photo` knows photos. A picture that looks like Fashion-MNIST already (`images.looks_like_fashion_mnist`) is for
`default`, any other for `photo`, and so are several together of which one is a photo: `photo` knows Fashion-MNIST, too.

Where there is no model `photo`, `default` is for all. docs/decisions/0009-two-models.md says why.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vitrine import encoder, images
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.encoder import Encoder
from vitrine.errors import ImageError
from vitrine.images import Crop, Picture, Pixels

DEFAULT, PHOTO = "default", "photo"
SAMPLE = 50
"""At most so many pictures of a folder are looked at."""


@dataclass(frozen=True)
class Opened:
    """A picture that was decoded before it was known which model is to see it. name: what to call it in an error.
    pixels: how many it may have. crop: the part of it that is meant. image: that, (h, w, c) uint8.
    """

    picture: Picture
    name: str | None
    pixels: int
    crop: Crop | None
    image: Pixels

    @classmethod
    def read(
        cls,
        picture: Picture,
        name: str | None = None,
        pixels: int = images.MAX_PIXELS,
        crop: Crop | None = None,
    ) -> "Opened":
        """Raises as `images.read`."""
        return cls(picture, name, pixels, crop, images.read(picture, name, None, pixels, crop))

    @cached_property
    def is_photo(self) -> bool:
        """Whether it does not look like Fashion-MNIST already."""
        return not images.looks_like_fashion_mnist(self.image)

    def seen_by(self, model: Encoder) -> Pixels:
        """What that model sees, bit for bit as `Encoder.prepare` has it: where the model wants the picture decoded at
        another scale, that is done. Raises ImageError.
        """
        return images.prepare(self.reread(model), model.card.image)

    def reread(self, model: Encoder) -> Pixels:
        """As `images.read` with the model's spec. Raises ImageError."""
        spec = model.card.image
        if images.is_enough(self.image, spec):
            return images.read(self.image, spec=spec)
        return images.read(self.picture, self.name, spec, self.pixels, self.crop)


def photo_is_there() -> bool:
    """Whether there is a model `photo` to choose."""
    return PHOTO in encoder.names()


def choose(*pictures: Opened) -> str:
    """The name of the model that these pictures, one or several to be seen by the same, are for."""
    return PHOTO if any(one.is_photo for one in pictures) and photo_is_there() else DEFAULT


@dataclass(frozen=True)
class Choice:
    """The model for a folder of pictures, by name, and why: so many of those that were looked at are photos."""

    model: str
    photos: int
    looked: int

    def __str__(self) -> str:
        """
        >>> str(Choice("photo", 3, 4)), str(Choice("default", 0, 1)), str(Choice("photo", 0, 0))
        ('3 of 4 pictures are photos', '1 of 1 pictures looks like Fashion-MNIST', 'no picture is there yet')
        """
        if not self.looked:
            return "no picture is there yet"
        if self.model == PHOTO:
            return f"{self.photos} of {self.looked} pictures {'is a photo' if self.photos == 1 else 'are photos'}"
        grey = self.looked - self.photos
        return f"{grey} of {self.looked} pictures {'looks' if grey == 1 else 'look'} like Fashion-MNIST"


def for_files(files: Sequence[str | Path | bytes]) -> Choice:
    """The model for a new catalogue of these pictures, by at most SAMPLE of them, from the first to the last:
    `default` where most look like Fashion-MNIST, else `photo`. What cannot be read does not count.
    """
    if not photo_is_there():
        return Choice(DEFAULT, 0, 0)
    count = min(SAMPLE, len(files))
    with images.decoders() as pool:
        found = list(pool.map(_is_photo, (files[i * len(files) // count] for i in range(count))))
    photos, looked = found.count(True), len(found) - found.count(None)
    return Choice(_of_most(photos, looked), photos, looked)


def for_most(pictures: Sequence[Opened]) -> str:
    """The model for several pictures that one is to learn from: what most of them are for, as in `for_files`."""
    return _of_most(sum(one.is_photo for one in pictures), len(pictures)) if photo_is_there() else DEFAULT


def _of_most(photos: int, looked: int) -> str:
    return DEFAULT if looked > 2 * photos else PHOTO


def _is_photo(file: str | Path | bytes) -> bool | None:
    """None for what cannot be read."""
    try:
        return not images.looks_like_fashion_mnist(images.opened(file, spec=PLAIN_GREY))
    except ImageError:
        return None


class Models:
    """Models by name, each loaded when it is first asked for, for all threads."""

    def __init__(self, one_thread: bool = False) -> None:
        """one_thread: each answers on the thread that asks; see `Encoder.on_one_thread`."""
        self._one_thread = one_thread
        self._loaded: dict[str, Encoder] = {}
        self._loading = threading.Lock()

    def of(self, name: str) -> Encoder:
        """Raises ModelFileError as `Encoder.load`."""
        with self._loading:
            if name not in self._loaded:
                loaded = Encoder.load(name)
                self._loaded[name] = loaded.on_one_thread() if self._one_thread else loaded
            return self._loaded[name]
