"""Anything that may be a picture, opened within stated limits: path, bytes, PIL image or array."""

import io
import math
import stat
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vitrine import storage
from vitrine.errors import ImageError
from vitrine.images import heif
from vitrine.images.arrays import Pixels, array, to_pil
from vitrine.images.crop import Crop
from vitrine.spec import ImageSpec

Picture = str | Path | bytes | Image.Image | npt.NDArray[Any]

MAX_PIXELS = 89_478_485  # Pillow's own line for a decompression bomb: a quarter of a GiB of RGB
MAX_BYTES = 200 * 2**20
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"}
)
_SIDEWAYS = (5, 6, 7, 8)  # EXIF's orientations that make a picture's width its height
_WORKING_PIXELS = 4_000_000
_BLOCK = 2**20  # pixels of a deep picture that are looked at as float64 at once
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")  # JPEG takes MPO, too; HEIC: see heif.py

_KEPT = 16 * 2**20  # bytes; see `keep_memory`
_SIDE = 512  # pixels: a large JPEG is decoded at a reduced scale, but no side below this;
_SEEN_SIDE, _SEEN_TIMES = 256, 8  # for a model, neither below this nor below so many times what it wants to see;
_PHOTO_TIMES = 4  # for one that wants photos as they are, fewer: nothing of them is picked out pixel by pixel


def read(
    picture: Picture,
    name: str | None = None,
    spec: ImageSpec | None = None,
    pixels: int = MAX_PIXELS,
    crop: Crop | None = None,
) -> Pixels:
    """The picture as (h, w, 1) grey or (h, w, 3) RGB, uint8: first frame, EXIF orientation applied, alpha laid on
    white.

    name: what to call it in an error; a path is called by itself. spec: what the model wants that is to see it.
    pixels: how many it may have, at most 89 million. crop: the part of it that is meant, in pixels of the upright
    picture; then what is said of a picture below holds for the part.
    Large JPEGs are decoded at 1/2, 1/4 or 1/8 scale, no side below 512 pixels; for a model every large picture is
    reduced so, no side below 256, or 8 times what the model wants to see (4 times where it wants photos as they are).
    Whatever then has more than 4 million pixels is averaged down by a whole factor.
    Raises ImageError: missing, empty, not a picture, damaged, too many pixels or over 200 MiB; a crop
    that reaches beyond it.
    """
    if isinstance(picture, np.ndarray):
        image = _from_array(picture)
        if crop is not None:
            whole = to_pil(image)
            image = array(crop.part(whole, whole.size, name or "The picture"))
        return image if spec is None else array(_reduced(to_pil(image), least_side(spec)))
    return array(opened(picture, name, spec, pixels, crop))


def opened(
    picture: str | Path | bytes | Image.Image,
    name: str | None = None,
    spec: ImageSpec | None = None,
    pixels: int = MAX_PIXELS,
    crop: Crop | None = None,
) -> Image.Image:
    """As `read`, but as a PIL image of mode L or RGB."""
    side = least_side(spec)
    name = name or (str(picture) if isinstance(picture, str | Path) else "The picture")
    given = content(Path(picture)) if isinstance(picture, str | Path) else picture
    if given == b"":
        raise ImageError(f"{name} is empty (0 bytes); give a picture.")
    if isinstance(given, bytes) and len(given) > MAX_BYTES:
        raise ImageError(f"{name} has more than {MAX_BYTES:,} bytes; make it smaller.")
    try:
        if isinstance(given, Image.Image):
            return _reduced(_from_pil(given, name, pixels, crop, given.size), side if spec else None)
        with _open(given, name, pixels) as opened:
            size = opened.size
            opened.draft(None, _drafted(size, side, crop))  # JPEG, HEIC with a small copy; None keeps the mode
            return _reduced(_from_pil(opened, name, pixels, crop, size), side if spec else None)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture that can be read; allowed are JPEG, PNG, WebP, BMP, GIF, TIFF, HEIC and AVIF."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has more than {pixels:,} pixels; make it smaller.") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; make it smaller.") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        why = " ".join(str(error).split())  # some of them in lines
        raise ImageError(f"{name} is damaged ({why}); save it again.") from error


def decoders() -> ThreadPoolExecutor:
    """Threads to decode many pictures on, one a core."""
    keep_memory()
    return ThreadPoolExecutor(storage.cores())


def keep_memory() -> None:
    """To be called before many pictures are decoded: once a large block has come and gone, glibc keeps what is freed;
    before, it gives the memory of every picture back to the system and asks for it anew, which takes as long as
    decoding does.
    """
    bytearray(_KEPT)


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
        raise ImageError(f"There is no file or folder {path}; name a picture or a folder of pictures.") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def _from_array(array: npt.NDArray[Any]) -> Pixels:
    image = array[..., None] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8 or not image.size:
        raise ImageError(
            f"An array as picture must be (h, w), (h, w, 1) or (h, w, 3) uint8; this one is {array.shape}"
            f" {array.dtype}."
        )
    return image


def _open(content: bytes, name: str, pixels: int) -> Image.Image:
    """The picture, not decoded yet."""
    if not heif.is_heif(content):
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    image = heif.opened(content)
    _check_size(image, name, pixels)
    return image


def _check_size(image: Image.Image, name: str, pixels: int) -> None:
    if image.width * image.height > pixels:
        raise ImageError(f"{name} has {image.width}x{image.height} pixels; allowed are {pixels:,}. Make it smaller.")


def _drafted(size: tuple[int, int], side: int, crop: Crop | None) -> tuple[int, int]:
    """The smallest size at which a picture may be decoded so that no side of the part that is meant is below `side`."""
    if crop is None:
        return side, side
    scale = max(1.0, min(crop.width, crop.height) / side)
    return math.ceil(size[0] / scale), math.ceil(size[1] / scale)


def _from_pil(image: Image.Image, name: str, pixels: int, crop: Crop | None, size: tuple[int, int]) -> Image.Image:
    """The picture, or the part of it that is meant, as grey or RGB, upright. size: what it has when decoded whole."""
    _check_size(image, name, pixels)
    upright = _upright(image)
    if crop is not None:
        sideways = image.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS and upright is not image
        upright = crop.part(upright, size[::-1] if sideways else size, name)
    return _fewer(_eight_bit(upright))


def _upright(image: Image.Image) -> Image.Image:
    """Decoded, and turned as its EXIF says."""
    try:
        image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image
    except (struct.error, SyntaxError, ValueError, TypeError, KeyError):  # damaged EXIF: the picture itself may be well
        upright = image
    upright.load()  # again, where its EXIF was in the way
    return upright


def least_side(spec: ImageSpec | None) -> int:
    """Below which no side of a picture is reduced for a model with that spec, or for none, by `read`."""
    if spec is None:
        return _SIDE
    times = _PHOTO_TIMES if spec.ground == "any" else _SEEN_TIMES
    return max(_SEEN_SIDE, times * max(spec.height, spec.width))


def is_enough(image: Pixels, spec: ImageSpec) -> bool:
    """Whether a picture that was read for no model, read again as an array for one with that spec, is bit for bit what
    decoding it for that gives: no decoder would have reduced it more, or less.
    """
    side = least_side(spec)
    if side == _SIDE:
        return True
    small = image.shape[0] * image.shape[1] < _WORKING_PIXELS // 4  # not averaged to fewer pixels, which would hide it
    return side < _SIDE and small and bool(min(image.shape[:2]) < 2 * side - 2)  # a crop may be off by one


def _reduced(image: Image.Image, side: int | None) -> Image.Image:
    """As Pillow's decoder of JPEGs may have done already: averaged by 2, 4 or 8, no side below `side`."""
    fits = min(image.size) // side if side else 1
    scale = next(scale for scale in (8, 4, 2, 1) if fits >= scale or scale == 1)
    return image if scale == 1 else image.reduce(scale)


def _fewer(image: Image.Image) -> Image.Image:
    """Averaged by a whole factor to about as many pixels as are worked on at most; a strip that is narrower than the
    factor becomes a line.
    """
    factor = math.ceil(math.sqrt(image.width * image.height / _WORKING_PIXELS))
    if factor < 2:
        return image
    if min(image.size) >= factor:
        return image.reduce(factor)
    across, down = (math.ceil(side / _WORKING_PIXELS) if side == max(image.size) else side for side in image.size)
    return image.reduce((across, down))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as grey or RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        return to_pil(_from_deep(np.asarray(image)))
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.has_transparency_data:
        over = _fewer(image if image.mode == "RGBA" else image.convert("RGBA"))  # before, as it needs several copies
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_deep(values: npt.NDArray[Any]) -> Pixels:
    """16-bit, 32-bit and float greys: (h, w) -> (h, w, 1) uint8 by the range that the values show."""
    image = np.empty((*values.shape, 1), np.uint8)
    rows = max(1, _BLOCK // values.shape[1])
    blocks = [slice(first, first + rows) for first in range(0, len(values), rows)]
    most = max(_finite(values[block]).max() for block in blocks)
    scale = 255 if most <= 1 else 1 if most <= 255 else 255 / 65535 if most <= 65535 else 255 / most
    for block in blocks:
        image[block, :, 0] = np.clip(_finite(values[block]) * scale + 0.5, 0, 255)
    return image


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    finite: npt.NDArray[np.float64] = np.nan_to_num(values.astype(np.float64))
    return finite
