"""HEIC, HEIF and AVIF: what telephones and newer programs write."""

import io
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures import written
from vitrine import images
from vitrine.errors import ImageError
from vitrine.images import heif

WIDE = Image.new("RGB", (96, 64), (40, 90, 160))
WIDE.paste((230, 30, 30), (0, 0, 32, 32))  # the upper left is red


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=90, **options)
    return buffer.getvalue()


def avif(image: Image.Image, **options: object) -> bytes:
    return written(image, "AVIF", quality=90, speed=10, **options)


def turned(by: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = by
    return exif.tobytes()


HEIC, AVIF = heic(WIDE), avif(WIDE)


@pytest.mark.parametrize("content", [HEIC, AVIF], ids=["HEIC", "AVIF"])
def test_it_is_read_by_its_bytes(content: bytes) -> None:
    image = images.read(content)
    assert image.shape == (64, 96, 3)
    assert np.abs(image[10, 10].astype(int) - (230, 30, 30)).max() < 12
    assert np.abs(image[50, 80].astype(int) - (40, 90, 160)).max() < 12


@pytest.mark.parametrize("write", [heic, avif])
def test_it_is_turned_once(write: object) -> None:
    """Both hold the turn in the container and in EXIF; 6 is by 90 degrees, the upper left becomes the upper right."""
    assert callable(write)
    image = images.read(write(WIDE, exif=turned(6)))
    assert image.shape == (96, 64, 3)
    assert image[10, 54, 0] > 200
    assert image[10, 10, 0] < 80


def test_grey_and_transparent_ones() -> None:
    assert images.read(heic(Image.new("L", (64, 64), 90))).shape[:2] == (64, 64)
    for content in (heic(Image.new("RGBA", (64, 64), (0, 0, 0, 0))), avif(Image.new("RGBA", (64, 64), (0, 0, 0, 0)))):
        assert (images.read(content) >= 253).all()


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (64, 64), (shade, shade, shade)) for shade in (30, 200)]
    for kind in ("AVIF", "WEBP", "GIF"):
        image = images.read(written(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert np.abs(image.astype(int) - 30).max() < 6


def test_the_limit_of_pixels_holds_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(self: pillow_heif.HeifImageFile) -> None:
        raise AssertionError

    monkeypatch.setattr(pillow_heif.HeifImageFile, "load", decoded)
    with pytest.raises(ImageError, match="has 96x64 pixels; allowed are 6,000"):
        images.read(HEIC, pixels=6000)


@pytest.mark.parametrize("content", [HEIC, AVIF], ids=["HEIC", "AVIF"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_never_raise_anything_else(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = images.read(bytes(changed[: data.draw(st.integers(1, len(changed)))]))
    except ImageError as error:
        said = str(error)
    else:
        said = ""
        assert image.dtype == np.uint8
    assert "\n" not in said


def test_brands_tell_heif_from_avif_and_from_anything_else() -> None:
    def begin(*brands: bytes) -> bytes:
        box = b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])
        return (len(box) + 4).to_bytes(4, "big") + box + b"heic and more"

    assert heif.is_heif(begin(b"mif1", b"heic"))
    assert heif.is_heif(begin(b"heix"))
    assert not heif.is_heif(begin(b"mif1", b"avif"))
    assert not heif.is_heif(begin(b"isom", b"mp42"))
    assert not heif.is_heif(b"")
    assert not heif.is_heif(written(WIDE))


def test_its_decoder_is_loaded_for_such_a_file_only() -> None:
    code = (
        "import io, sys; from PIL import Image; from vitrine import images;"
        "made = io.BytesIO(); Image.new('RGB', (8, 8)).save(made, 'PNG'); images.read(made.getvalue());"
        "sys.exit('pillow_heif' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
