"""Pictures of any kind as arrays, and a photo turned into what a model wants to see.

`read` opens anything (path, bytes, PIL image, array) within stated limits. `prepare` then follows the way Fashion-MNIST
was made of product photos (Xiao et al. 2017, arXiv 1708.07747, section 2): trim the edges that are close to the
corners' colour, bring the longest side to size by subsampling, pad to a square, negate to a dark ground, grey. What
differs was measured (docs/decisions/0003-photo-path.md): soft edges are cut higher up, and nothing is sharpened.
"""

import io
import math
import stat
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vitrine import storage
from vitrine.errors import ImageError
from vitrine.spec import ImageSpec

Pixels = npt.NDArray[np.uint8]
Picture = str | Path | bytes | Image.Image | npt.NDArray[Any]

MAX_PIXELS = 89_478_485  # Pillow's own line for a decompression bomb: a quarter of a GiB of RGB
MAX_BYTES = 200 * 2**20
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_WORKING_PIXELS = 4_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # JPEG takes MPO, too

TRIM = 0.05  # of the full range: how far a pixel may be from the corners' colour and still count as ground
_EDGE_REACH, _EDGE_HEIGHT = 0.5, 0.7  # see `_trim`
_SKIP = 5  # the picture is shrunk to so many times the wanted size, then rows and columns are skipped
_SMALL = 96  # pixels, see `thumbnail`
_KEPT = 16 * 2**20  # bytes; see `decoders`
_SIDE = 512  # pixels: a large JPEG is decoded at a reduced scale, but no side below this;
_SEEN_SIDE, _SEEN_TIMES = 256, 8  # for a model, neither below this nor below so many times what it wants to see


def read(picture: Picture, name: str | None = None, spec: ImageSpec | None = None, pixels: int = MAX_PIXELS) -> Pixels:
    """The picture as (h, w, 1) grey or (h, w, 3) RGB, uint8: first frame, EXIF orientation applied, alpha laid on
    white.

    name: what to call it in an error; a path is called by itself. spec: what the model wants that is to see it.
    pixels: how many it may have, at most 89 million.
    Large JPEGs are decoded at 1/2, 1/4 or 1/8 scale, no side below 512 pixels (for a model, 8 times what it wants to
    see, at least 256), and whatever then has more than 4 million pixels is averaged down by a whole factor.
    Raises ImageError: missing, empty, not a picture, damaged, too many pixels or over 200 MiB.
    """
    return _from_array(picture) if isinstance(picture, np.ndarray) else array(opened(picture, name, spec, pixels))


def opened(
    picture: str | Path | bytes | Image.Image,
    name: str | None = None,
    spec: ImageSpec | None = None,
    pixels: int = MAX_PIXELS,
) -> Image.Image:
    """As `read`, but as a PIL image of mode L or RGB."""
    side = max(_SEEN_SIDE, _SEEN_TIMES * max(spec.height, spec.width)) if spec else _SIDE
    name = name or (str(picture) if isinstance(picture, str | Path) else "The picture")
    given = content(Path(picture)) if isinstance(picture, str | Path) else picture
    if given == b"":
        raise ImageError(f"{name} is empty (0 bytes); give a picture.")
    if isinstance(given, bytes) and len(given) > MAX_BYTES:
        raise ImageError(f"{name} has more than {MAX_BYTES:,} bytes; make it smaller.")
    try:
        if isinstance(given, Image.Image):
            return _from_pil(given, name, side, pixels)
        with Image.open(io.BytesIO(given), formats=_FORMATS) as opened:
            return _from_pil(opened, name, side, pixels)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture that can be read; allowed are JPEG, PNG, WebP, BMP, GIF and TIFF."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has more than {pixels:,} pixels; make it smaller.") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; make it smaller.") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise ImageError(f"{name} is damaged ({error}); save it again.") from error


def decoders() -> ThreadPoolExecutor:
    """Threads to decode many pictures on, one a core."""
    # Once a large block has come and gone, glibc keeps what is freed; before, it gives the memory of every picture back
    # to the system and asks for it anew, which takes as long as decoding does.
    bytearray(_KEPT)
    return ThreadPoolExecutor(storage.cores())


def content(path: Path) -> bytes:
    """The bytes of a picture file. Raises ImageError: missing, no regular file, unreadable, over MAX_BYTES."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path} is not a file; name a picture.")
        if status.st_size > MAX_BYTES:
            raise ImageError(f"{path} has {status.st_size:,} bytes; allowed are {MAX_BYTES:,}. Make it smaller.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {path}; name a picture or a folder of pictures.") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def prepare(image: Pixels | Image.Image, spec: ImageSpec) -> Pixels:
    """What a model with `spec` sees of an image from `read` or `opened`: as large as the spec says, (h, w, c) uint8."""
    return steps(image, spec)[-1].image


@dataclass(frozen=True)
class Step:
    """One step on the way from a photo to the model's input. image: (h, w, 1 or 3) uint8."""

    name: str
    image: Pixels


def steps(photo: Pixels | Image.Image, spec: ImageSpec) -> list[Step]:
    """Every step that `prepare` takes. An image that has the size and the ground already is left as it is."""
    image = array(photo) if isinstance(photo, Image.Image) else photo
    taken = [Step("photo", image)]
    fits = image.shape[:2] == (spec.height, spec.width)
    ground = _corner_colour(image)  # (c,)
    inside = (slice(None), slice(None)) if fits else _trim(image, ground, spec)
    image = image[inside]
    if not fits:
        taken.append(Step("trimmed", image))
    if spec.channels == 1:
        level = int(grey(ground.reshape(1, 1, -1)).item())
        image, ground = grey(photo)[inside], np.array([0 if spec.ground == "dark" else 255], np.uint8)
        if (level > 127) != (spec.ground == "light"):
            image, level = 255 - image, 255 - level
        if not fits:
            image = _spread(image, level, spec)
        taken.append(Step(f"grey, {spec.ground} ground", image))
    elif image.shape[2] == 1:
        image, ground = image.repeat(3, axis=2), ground.repeat(3)
    if not fits:
        image = _fit(image, ground, spec)
        taken.append(Step("input", image))
    return taken


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


def resize(batch: Pixels, spec: ImageSpec) -> Pixels:
    """Images (n, h, w, c) at the size and channels of `spec`, bilinear, with nothing else changed."""
    if batch.shape[3] != spec.channels:
        batch = batch.repeat(3, axis=3) if spec.channels == 3 else np.stack([grey(image) for image in batch])
    if batch.shape[1:3] == (spec.height, spec.width):
        return batch
    resized = np.empty((len(batch), *spec.shape), np.uint8)
    for place, image in zip(resized, batch, strict=True):
        small = to_pil(image).resize((spec.width, spec.height), Image.Resampling.BILINEAR)
        place[:] = np.asarray(small).reshape(spec.shape)
    return resized


def png(image: Pixels) -> bytes:
    """The image as it is, pixel by pixel."""
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


def jpeg(image: Image.Image, side: int) -> bytes:
    """A JPEG of a PIL image of mode L or RGB, no side longer than that, with nothing of the file that it came from but
    its pixels.
    """
    shown = image.copy()
    shown.info.clear()
    shown.thumbnail((side, side))
    written = io.BytesIO()
    shown.save(written, "JPEG", quality=90)
    return written.getvalue()


def blank() -> bytes:
    """A thumbnail that stands for a picture which there is not: plain grey."""
    return thumbnail(np.full((28, 28, 1), 128, np.uint8))


def is_blank(image: Pixels) -> bool:
    """Whether the image stands for a picture which there is not."""
    return image.shape[:2] == (28, 28) and bool((image == 128).all())


def _from_array(array: npt.NDArray[Any]) -> Pixels:
    image = array[..., None] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8 or not image.size:
        raise ImageError(
            f"An array as picture must be (h, w), (h, w, 1) or (h, w, 3) uint8; this one is {array.shape}"
            f" {array.dtype}."
        )
    return image


def _from_pil(image: Image.Image, name: str, side: int, pixels: int) -> Image.Image:
    if image.width * image.height > pixels:
        raise ImageError(f"{name} has {image.width}x{image.height} pixels; allowed are {pixels:,}. Make it smaller.")
    image.draft(None, (side, side))  # JPEG only; None keeps the mode
    try:
        image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image
    except (struct.error, SyntaxError, ValueError, TypeError, KeyError):  # damaged EXIF: the picture itself may be well
        upright = image
    upright.load()  # again, where its EXIF was in the way
    plain = _eight_bit(upright)
    factor = math.ceil(math.sqrt(plain.width * plain.height / _WORKING_PIXELS))
    return plain if factor < 2 else plain.reduce(factor)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as grey or RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        return to_pil(_from_deep(np.asarray(image, np.float64)))
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_deep(values: npt.NDArray[np.float64]) -> Pixels:
    """16-bit, 32-bit and float greys: (h, w) -> (h, w, 1) uint8 by the range that the values show."""
    values = np.nan_to_num(values)
    most = values.max()
    scale = 255 if most <= 1 else 1 if most <= 255 else 255 / 65535 if most <= 65535 else 255 / most
    return np.clip(values * scale + 0.5, 0, 255).astype(np.uint8)[..., None]


def _corner_colour(image: Pixels) -> Pixels:
    """(c,): the median colour of four small squares in the corners, a fiftieth of the shorter side each."""
    side = max(1, min(image.shape[:2]) // 50)
    ends = (slice(0, side), slice(-side, None))
    corners = np.concatenate([image[rows, columns].reshape(-1, image.shape[2]) for rows in ends for columns in ends])
    colour: Pixels = np.median(corners, axis=0).astype(np.uint8)
    return colour


def _trim(image: Pixels, ground: Pixels, spec: ImageSpec) -> tuple[slice, slice]:
    """The rows and columns that are left when the edges that are ground are cut off; of a picture that is all ground,
    all of them.

    An edge lies where the difference from the ground first exceeds TRIM. Where it is soft (an enlarged picture), it
    lies at 0.7 of the height that it rises to within half of a pixel of the model's input: blur makes nothing larger.
    """
    rows, columns = _profiles(image, ground)
    if rows.max() <= TRIM * 255:
        return slice(None), slice(None)
    reach = math.ceil(_EDGE_REACH * max(_span(rows) / spec.height, _span(columns) / spec.width))
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
    h, w = image.shape[:2]
    scale = min(spec.height / h, spec.width / w)
    rows, columns = min(spec.height, max(1, round(h * scale))), min(spec.width, max(1, round(w * scale)))
    # averaged over a fifth of a pixel each way, then subsampled at the pixels' centres: as sharp as Fashion-MNIST
    finer = np.asarray(to_pil(image).resize((columns * _SKIP, rows * _SKIP), Image.Resampling.BOX))
    small = finer[_SKIP // 2 :: _SKIP, _SKIP // 2 :: _SKIP].reshape(rows, columns, spec.channels)
    canvas = np.full(spec.shape, ground, np.uint8)
    # an odd pixel of padding goes above and to the left, as in Fashion-MNIST
    top, left = (spec.height - rows + 1) // 2, (spec.width - columns + 1) // 2
    canvas[top : top + rows, left : left + columns] = small
    return canvas
