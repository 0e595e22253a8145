import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures import shop_photo, written
from vitrine import images
from vitrine.datasets import Splits, drawn_garments
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.encoder import Encoder
from vitrine.errors import ImageError
from vitrine.images import fashion_look
from vitrine.spec import ImageSpec

NOISE = np.random.default_rng(0).integers(0, 256, (24, 24), dtype=np.uint8)
RGB = ImageSpec(28, 28, 3, "dark", (0.0,) * 3, (1.0,) * 3)


def test_path_bytes_pil_and_array_give_the_same(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    content = written(Image.fromarray(array))
    (tmp_path / "a.png").write_bytes(content)
    for picture in (tmp_path / "a.png", str(tmp_path / "a.png"), content, Image.fromarray(array), array):
        assert (images.read(picture) == array).all()


def test_exif_orientation_is_applied() -> None:
    image = Image.new("L", (60, 40), 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert images.read(written(image, "JPEG", exif=exif)).shape == (60, 40, 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_laid_on_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    assert (images.read(clear) == 255).all()


def test_a_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert (images.read(written(image, "PNG", transparency=0)) == 255).all()


def test_cmyk_palette_bilevel_and_sixteen_bits() -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert images.read(written(red.convert("CMYK"), "TIFF"))[0, 0].tolist() == [255, 0, 0]
    assert images.read(written(red.convert("P")))[0, 0].tolist() == [255, 0, 0]
    assert images.read(Image.new("1", (8, 8), 1)).max() == 255
    deep = Image.fromarray(np.full((8, 8), 32896, np.uint16))
    assert images.read(written(deep))[0, 0, 0] == 128
    assert images.read(Image.fromarray(np.full((8, 8), 0.5, np.float32)))[0, 0, 0] == 128


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (30, 200)]
    content = written(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (images.read(content) == 30).all()


@pytest.mark.parametrize(
    ("side", "height"),
    [(None, 750), (28, 375), (64, 750), (96, 1500), (400, 1500)],  # the last as it has too many pixels whole
)
def test_a_large_jpeg_is_decoded_at_a_reduced_scale_but_not_below_what_is_wanted(side: int | None, height: int) -> None:
    spec = side and ImageSpec(side, side, 1, "dark", (0.0,), (1.0,))
    shape = images.read(written(Image.new("RGB", (4000, 3000)), "JPEG"), spec=spec or None).shape
    assert shape[:2] == (height, height * 4 // 3)


def test_a_large_picture_is_averaged_down() -> None:
    large = np.zeros((3000, 4000), np.uint8)
    large[::2] = 200
    small = images.read(Image.fromarray(large))
    assert small.shape == (1500, 2000, 1)
    assert (small == 100).all()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"this is no picture", "not a picture"),
        (written(Image.effect_noise((200, 200), 50), "JPEG")[:3000], "damaged"),
        (written(Image.effect_noise((64, 64), 50), "PNG")[:900], "damaged"),
        (written(Image.new("1", (20000, 20000))), "pixels"),
        (written(Image.new("1", (9500, 9500))), "pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_pictures_are_one_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=says) as caught:
        images.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_arrays_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="There is no file"):
        images.read(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="is not a file"):
        images.read(tmp_path)
    for array in (np.zeros((5, 5), np.float32), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5), np.uint8)):
        with pytest.raises(ImageError, match="An array as picture"):
            images.read(array)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # Pillow's, on the way to its errors
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    content = bytearray(written(Image.fromarray(NOISE), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = images.read(bytes(content[: data.draw(st.integers(1, len(content)))]))
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3


def product_shot(light: bool) -> np.ndarray:
    """A grey rectangle, 300 high and 100 wide, off centre on a clean ground."""
    shot = np.full((400, 500, 3), 253 if light else 2, np.uint8)
    shot[40:340, 30:130] = 120
    return shot


@pytest.mark.parametrize("light", [True, False])
def test_a_product_shot_is_trimmed_turned_padded_and_centred(light: bool) -> None:
    seen = images.prepare(product_shot(light), PLAIN_GREY)
    assert seen.shape == (28, 28, 1)
    columns = np.flatnonzero(seen[..., 0].max(axis=0))
    assert columns.tolist() == list(range(10, 19))  # 100/300 of 28 is 9 wide; the odd pixel of padding is on the left
    assert (seen[:, 10:19] > 100).all()
    assert seen[:, :10].max() == 0


def test_a_light_spec_gets_a_light_ground() -> None:
    seen = images.prepare(product_shot(light=False), ImageSpec(28, 28, 1, "light", (0.0,), (1.0,)))
    assert seen[0, 0, 0] == 255
    assert seen[14, 14, 0] < 200


def test_colour_is_kept_for_a_colour_model() -> None:
    shot = product_shot(light=True)
    shot[40:340, 30:130] = (200, 10, 10)
    assert images.prepare(shot, RGB)[14, 14].tolist() == [200, 10, 10]
    assert images.prepare(shot[..., :1], RGB).shape == (28, 28, 3)


def test_what_already_looks_right_is_left_alone(drawn: Splits) -> None:
    for image in drawn.test.images:
        assert (images.prepare(image, PLAIN_GREY) == image).all()
        assert (images.prepare(255 - image, PLAIN_GREY) == image).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 500, 3), (500, 1, 1), (2, 2, 3), (28, 28, 3)])
@pytest.mark.parametrize("shade", [0, 90, 255])
def test_tiny_thin_and_plain_pictures_give_an_input(shape: tuple[int, ...], shade: int) -> None:
    assert images.prepare(np.full(shape, shade, np.uint8), PLAIN_GREY).shape == (28, 28, 1)


def test_steps_end_with_the_input() -> None:
    taken = images.steps(product_shot(light=True), PLAIN_GREY)
    assert [step.name for step in taken] == ["photo", "trimmed", "grey, dark ground", "input"]
    assert (taken[-1].image == images.prepare(product_shot(light=True), PLAIN_GREY)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 120), st.integers(0, 120), st.integers(30, 200), st.integers(30, 200), st.sampled_from([28, 64]))
def test_a_frame_says_what_part_of_the_photo_a_step_shows(
    top: int, left: int, height: int, width: int, size: int
) -> None:
    """A thing anywhere in a photo of 320x340 is found again where the input's frame says, to a pixel of the input."""
    photo = np.full((320, 340, 3), 255, np.uint8)
    photo[top : top + height, left : left + width] = (200, 30, 60)
    whole, trimmed, *_, last = images.steps(photo, ImageSpec(size, size, 1, "dark", (0.0,), (1.0,)))
    assert whole.frame == images.Frame(0, 0, 1, 1)
    thing = images.Frame(left / 340, top / 320, width / 340, height / 320)
    assert vars(trimmed.frame) == pytest.approx(vars(thing))
    rows, columns = (np.flatnonzero(last.image[..., 0].max(axis=axis) > 100) for axis in (1, 0))
    down, across = last.frame.height / size, last.frame.width / size
    assert last.frame.top + rows[0] * down == pytest.approx(thing.top, abs=down)
    assert last.frame.top + (rows[-1] + 1) * down == pytest.approx(thing.top + thing.height, abs=down)
    assert last.frame.left + columns[0] * across == pytest.approx(thing.left, abs=across)
    assert last.frame.left + (columns[-1] + 1) * across == pytest.approx(thing.left + thing.width, abs=across)


def test_resize_changes_size_and_channels_only(drawn: Splits) -> None:
    batch = drawn.test.images[:5]
    assert images.resize(batch, PLAIN_GREY) is batch
    colour = images.resize(batch, RGB)
    assert (colour == batch).all()
    assert colour.shape == (5, 28, 28, 3)
    assert (images.resize(colour, PLAIN_GREY) == batch).all()
    wide = images.resize(batch, ImageSpec(56, 56, 1, "dark", (0.0,), (1.0,)))
    assert wide.shape == (5, 56, 56, 1)
    assert abs(float(wide.mean()) - float(batch.mean())) < 2


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff"
    content = written(Image.new("L", (40, 30), 90), "JPEG", exif=exif)
    assert images.read(content).shape == (30, 40, 1)


def test_other_formats_and_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="allowed are JPEG"):
        images.read(written(Image.new("RGB", (8, 8)), "PPM"))
    with pytest.raises(ImageError, match="is not a file"):
        images.read("/dev/zero")


def test_a_truncated_picture_that_pillow_opened_is_one_sentence() -> None:
    half = written(Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)), "JPEG")[
        :3000
    ]
    with Image.open(io.BytesIO(half)) as opened, pytest.raises(ImageError, match="The picture is damaged"):
        images.read(opened)


def test_thumbnails_are_small_and_open() -> None:
    for image in (product_shot(light=True), product_shot(light=False)[..., :1], np.zeros((28, 28, 1), np.uint8)):
        content = images.thumbnail(image)
        assert min(96, max(image.shape)) <= max(images.read(content).shape[:2]) < 192
        assert len(content) < 5000


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_picture_is_seen_alike_however_it_comes(kind: str, encoder: Encoder) -> None:
    """As a path or bytes, opened, loaded, as an array; and the caller's picture stays as it is."""
    photo = Image.open(io.BytesIO(shop_photo(drawn_garments.draw(9, 3), light=True))).convert("RGB")
    content = written(photo, kind)
    with Image.open(io.BytesIO(content)) as unread, Image.open(io.BytesIO(content)) as loaded:
        loaded.load()
        ways = encoder.embed([content, unread, loaded, np.asarray(loaded)])
        assert unread.size == loaded.size == (600, 800)
    assert (ways @ ways.T).min() > (0.998 if kind == "JPEG" else 0.99999)
    assert ways[1:] == pytest.approx(ways[1:2].repeat(3, axis=0), abs=1e-6)


@pytest.mark.parametrize(("size", "small"), [((191, 20), (191, 20)), ((192, 20), (96, 10)), ((4000, 3), (98, 1))])
def test_a_thumbnail_is_averaged_down_by_a_whole_factor(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert Image.open(io.BytesIO(images.thumbnail(Image.new("L", size)))).size == small


@pytest.mark.slow
@pytest.mark.parametrize("light", [True, False])
def test_product_shots_made_of_real_items_are_recognised(light: bool, real_splits: Splits, encoder: Encoder) -> None:
    """2,000 test items as 600x800 JPEGs come back within one point."""
    part = real_splits.test[:2000]
    seen = encoder.prepare([shop_photo(image, light) for image in part.images])
    plain = (encoder.run(part.images).logits.argmax(axis=1) == part.labels).mean()
    photo = (encoder.run(seen).logits.argmax(axis=1) == part.labels).mean()
    assert plain > 0.9
    assert photo >= plain - 0.01


def coloured(h: int, w: int) -> Image.Image:
    """Noise in colour on a plain ground."""
    pixels = np.full((h, w, 3), (240, 250, 245), np.uint8)
    part = pixels[h // 4 : h // 2, w // 5 : w // 2]
    part[:] = np.random.default_rng(0).integers(0, 256, part.shape)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("spec", [PLAIN_GREY, ImageSpec(28, 28, 1, "light", (0.0,), (1.0,)), RGB])
def test_a_pil_image_is_prepared_as_its_array_is(spec: ImageSpec) -> None:
    for image in (coloured(300, 200), coloured(300, 200).convert("L"), coloured(28, 28)):
        assert (images.prepare(image, spec) == images.prepare(images.read(image), spec)).all()
        assert images.thumbnail(image) == images.thumbnail(images.read(image))


def test_a_pil_image_is_left_as_it_was() -> None:
    image = coloured(300, 200)
    before = image.tobytes()
    images.thumbnail(images.opened(image))
    assert (image.size, image.tobytes()) == ((200, 300), before)


def test_a_thumbnail_holds_nothing_but_pixels() -> None:
    for size in (200, 20):
        made = io.BytesIO()
        coloured(size, size).save(made, "JPEG", comment=b"by Ann", icc_profile=b"profile", dpi=(300, 300))
        small = Image.open(io.BytesIO(images.thumbnail(images.opened(made.getvalue()))))
        assert not {"comment", "icc_profile", "dpi"} & set(small.info)


def test_grey_is_the_luma_of_bt_601() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    assert np.abs(images.grey(colours)[..., 0] - colours @ np.array([0.299, 0.587, 0.114])).max() < 0.51


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]))
def test_how_far_rows_and_columns_are_from_the_ground(seed: int, h: int, w: int, c: int) -> None:
    rng = np.random.default_rng(seed)
    image, ground = rng.integers(0, 256, (h, w, c), np.uint8), rng.integers(0, 256, c, np.uint8)
    far = np.abs(image.astype(int) - ground).max(axis=2)
    rows, columns = fashion_look._profiles(image, ground)
    assert (rows == far.max(axis=1)).all()
    assert (columns == far.max(axis=0)).all()
