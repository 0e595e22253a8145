"""Images as arrays (h, w, 1 or 3) uint8: to and from PIL, grey, resized, as small files."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine.spec import ImageSpec

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """What part of a photo an image made of it shows: 0 is the photo's left or upper edge, 1 its right or lower one. An
    image that was padded reaches beyond them.
    """

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Step:
    """One step on the way from a photo to the model's input. image: (h, w, 1 or 3) uint8. frame: what part of the photo
    it shows.
    """

    name: str
    image: Pixels
    frame: Frame


_SMALL = 96  # pixels, see `thumbnail`


def grey(image: Pixels | Image.Image) -> Pixels:
    """(h, w, c) -> (h, w, 1): luma of ITU-R BT.601, as Pillow and Fashion-MNIST's makers have it."""
    if isinstance(image, Image.Image):
        return array(image.convert("L"))
    return image if image.shape[2] == 1 else array(to_pil(image).convert("L"))


def to_pil(image: Pixels) -> Image.Image:
    """(h, w, 1 or 3) uint8 as a PIL image."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def array(image: Image.Image) -> Pixels:
    """A PIL image of mode L or RGB as (h, w, 1 or 3) uint8."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def middle(box: tuple[float, float, float, float], spec: ImageSpec) -> tuple[float, float, float, float]:
    """What a model with `spec` wants to see of a box (left, top, right, bottom): see `ImageSpec.middle`."""
    left, top, right, bottom = box
    across, down = (right - left) * (1 - spec.middle) / 2, (bottom - top) * (1 - spec.middle) / 2
    return left + across, top + down, right - across, bottom - down


def resize(batch: Pixels, spec: ImageSpec) -> Pixels:
    """Images (n, h, w, c) at the size and channels of `spec`, bilinear, with nothing else changed; of colour images,
    which count as photos, the middle that `spec` wants, unless they have the size already.
    """
    whole = (0.0, 0.0, float(batch.shape[2]), float(batch.shape[1]))
    box = middle(whole, spec) if batch.shape[3] == 3 else whole
    if batch.shape[3] != spec.channels:
        batch = batch.repeat(3, axis=3) if spec.channels == 3 else np.stack([grey(image) for image in batch])
    if batch.shape[1:3] == (spec.height, spec.width):
        return batch
    resized = np.empty((len(batch), *spec.shape), np.uint8)
    for place, image in zip(resized, batch, strict=True):
        small = to_pil(image).resize((spec.width, spec.height), Image.Resampling.BILINEAR, box=box)
        place[:] = np.asarray(small).reshape(spec.shape)
    return resized


def png(image: Pixels) -> bytes:
    """The image as it is, pixel by pixel; one of four channels is RGBA."""
    written = io.BytesIO()
    to_pil(image).save(written, "PNG", compress_level=1)
    return written.getvalue()


def thumbnail(image: Pixels | Image.Image) -> bytes:
    """A small copy for display, averaged down by a whole factor, its longest side at least 96 pixels, if the picture's
    is, and below 192: PNG for what is tiny, else JPEG.
    """
    whole = image if isinstance(image, Image.Image) else to_pil(image)
    small = whole.reduce(max(1, max(whole.size) // _SMALL))
    if max(small.size) <= 32:
        return png(array(small))
    small.info.clear()  # comments, profiles and the like
    written = io.BytesIO()
    small.save(written, "JPEG", quality=85)
    return written.getvalue()


def small(image: Pixels | Image.Image, side: int) -> Pixels:
    """A copy to be drawn, (h, w, 1 or 3) uint8, no side longer than that."""
    copy = image.copy() if isinstance(image, Image.Image) else to_pil(image)
    copy.thumbnail((side, side))
    return array(copy)


def jpeg(image: Image.Image, side: int) -> bytes:
    """A JPEG of a PIL image of mode L or RGB, no side longer than that, with nothing of the file that it came from but
    its pixels.
    """
    written = io.BytesIO()
    to_pil(small(image, side)).save(written, "JPEG", quality=90)
    return written.getvalue()


def blank() -> bytes:
    """A thumbnail that stands for a picture which there is not: plain grey."""
    return thumbnail(np.full((28, 28, 1), 128, np.uint8))


def is_blank(image: Pixels) -> bool:
    """Whether the image stands for a picture which there is not."""
    return image.shape[:2] == (28, 28) and bool((image == 128).all())
