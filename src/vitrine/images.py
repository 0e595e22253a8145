"""Pictures of any kind as arrays, and a photo turned into what a model wants to see.

`read` opens anything (path, bytes, PIL image, array) within stated limits. `prepare` then follows the way Fashion-MNIST
was made of product photos (Xiao et al. 2017, arXiv 1708.07747, section 2): trim the edges that are close to the
corners' colour, bring the longest side to size, pad to a square, negate to a dark ground, grey. Differences, each
measured (docs/decisions/0003-photo-path.md): the picture is shrunk by averaging instead of skipping rows, and not
sharpened.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from vitrine.errors import ImageError
from vitrine.spec import ImageSpec

Pixels = npt.NDArray[np.uint8]
Picture = str | Path | bytes | Image.Image | npt.NDArray[Any]

MAX_PIXELS = 89_478_485  # Pillow's own line for a decompression bomb: a quarter of a GiB of RGB
MAX_BYTES = 200 * 2**20
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

TRIM = 0.05  # of the full range: how far a pixel may be from the corners' colour and still count as ground
_DRAFT_SIDE = 512  # a JPEG may be decoded at a reduced scale, but not below this


def read(picture: Picture) -> Pixels:
    """The picture as (h, w, 1) grey or (h, w, 3) RGB, uint8: first frame, EXIF orientation applied, alpha laid on
    white.

    Large JPEGs are decoded at 1/2, 1/4 or 1/8 scale, never below 512 pixels a side.
    Raises ImageError: missing, empty, not a picture, damaged, over 89 million pixels or 200 MiB.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if isinstance(picture, Image.Image):
        return _from_pil(picture, "The picture")
    name = str(picture) if isinstance(picture, str | Path) else "The picture"
    content = _content(Path(picture)) if isinstance(picture, str | Path) else picture
    if not content:
        raise ImageError(f"{name} is empty (0 bytes); give a picture.")
    try:
        with Image.open(io.BytesIO(content)) as opened:
            return _from_pil(opened, name)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture that can be read; allowed are JPEG, PNG, WebP, BMP, GIF and TIFF."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller.") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; make it smaller.") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        # Pillow's decoders raise all of these on damaged files
        raise ImageError(f"{name} is damaged ({error}); save it again.") from error


def prepare(image: Pixels, spec: ImageSpec) -> Pixels:
    """What a model with `spec` sees of an image from `read`: (spec.height, spec.width, spec.channels) uint8."""
    return steps(image, spec)[-1].image


@dataclass(frozen=True)
class Step:
    """One step on the way from a photo to the model's input. image: (h, w, 1 or 3) uint8."""

    name: str
    image: Pixels


def steps(image: Pixels, spec: ImageSpec) -> list[Step]:
    """Every step that `prepare` takes. An image that already has the spec's size is neither trimmed nor resized."""
    taken = [Step("photo", image)]
    ground = _corner_colour(image)  # (c,)
    if image.shape[:2] != (spec.height, spec.width):
        image = _trim(image, ground)
        taken.append(Step("trimmed", image))
    if spec.channels == 1:
        image, ground = grey(image), grey(ground.reshape(1, 1, -1)).reshape(1)
        image = _on_ground(image, int(ground[0]), spec)
        ground = np.array([0 if spec.ground == "dark" else 255], np.uint8)
        taken.append(Step("grey, " + spec.ground + " ground", image))
    elif image.shape[2] == 1:
        image, ground = image.repeat(3, axis=2), ground.repeat(3)
    if image.shape[:2] != (spec.height, spec.width):
        image = _fit(image, ground, spec)
        taken.append(Step("input", image))
    return taken


def grey(image: Pixels) -> Pixels:
    """(h, w, c) -> (h, w, 1): luma of ITU-R BT.601, as Pillow and Fashion-MNIST's makers have it."""
    if image.shape[2] == 1:
        return image
    luma: Pixels = (image @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)  # (h, w)
    return luma[..., None]


def to_pil(image: Pixels) -> Image.Image:
    """(h, w, 1 or 3) uint8 as a PIL image."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def thumbnail(image: Pixels, side: int = 96) -> bytes:
    """A small copy for display, its longest side at most `side`: PNG for what is tiny, else JPEG."""
    small = to_pil(image)
    written = io.BytesIO()
    if max(small.size) <= 32:
        small.save(written, "PNG", compress_level=1)
    else:
        small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2)
        small.save(written, "JPEG", quality=85)
    return written.getvalue()


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{path} has {size:,} bytes; allowed are {MAX_BYTES:,}. Make it smaller.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {path}; name a picture or a folder of pictures.") from error
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


def _from_pil(image: Image.Image, name: str) -> Pixels:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {image.width}x{image.height} pixels; allowed are {MAX_PIXELS:,}. Make it smaller."
        )
    image.draft(None, (_DRAFT_SIDE, _DRAFT_SIDE))  # JPEG only; None keeps the mode
    upright = ImageOps.exif_transpose(image)
    return _eight_bit(upright)


def _eight_bit(image: Image.Image) -> Pixels:
    """Any of Pillow's modes as grey or RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(np.asarray(image, np.float64))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return np.asarray(image.convert("RGB"))


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


def _trim(image: Pixels, ground: Pixels) -> Pixels:
    """Cut off the edges whose pixels are all within TRIM of the ground; a picture that is all ground stays whole."""
    least = np.clip(ground.astype(int) - round(TRIM * 255), 0, 255)
    most = np.clip(ground.astype(int) + round(TRIM * 255), 0, 255)
    differs = ((image < least) | (image > most)).any(axis=2)  # (h, w)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _on_ground(image: Pixels, ground: int, spec: ImageSpec) -> Pixels:
    """Grey image (h, w, 1): negated if its ground is not the spec's kind, then spread so that the ground becomes black
    (white).
    """
    dark = 255 - image if ground > 127 else image  # on a dark ground
    level = 255 - ground if ground > 127 else ground
    spread: Pixels = np.clip((dark.astype(np.float32) - level) * (255 / (255 - level)) + 0.5, 0, 255).astype(np.uint8)
    return spread if spec.ground == "dark" else 255 - spread


def _fit(image: Pixels, ground: Pixels, spec: ImageSpec) -> Pixels:
    """Longest side to the spec's, then padded with the ground, centred."""
    h, w = image.shape[:2]
    scale = min(spec.height / h, spec.width / w)
    size = (min(spec.width, max(1, round(w * scale))), min(spec.height, max(1, round(h * scale))))
    small = np.asarray(to_pil(image).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))
    canvas = np.full(spec.shape, ground, np.uint8)
    top, left = (spec.height - size[1]) // 2, (spec.width - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small.reshape(size[1], size[0], spec.channels)
    return canvas
