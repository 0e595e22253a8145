"""Photos for a model that wants them in colour and on any ground: what is kept of which picture, and why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pictures import shop_photo, written
from vitrine import images
from vitrine.datasets import Splits, by_name, drawn_garments, image_folder
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.spec import ImageSpec

PHOTO = ImageSpec(96, 96, 3, "any", (0.0,) * 3, (1.0,) * 3)
RED = (200, 30, 40)


def shot(
    ground: tuple[int, int, int] = (255, 255, 255),
    size: tuple[int, int] = (600, 800),
    box: tuple[int, int, int, int] = (150, 300, 350, 700),
    colour: tuple[int, int, int] = RED,
) -> Image.Image:
    """A rectangle (left, top, right, bottom) on a clean ground."""
    picture = Image.new("RGB", size, ground)
    ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=colour)
    return picture


def shadowed() -> Image.Image:
    """A red thing on white, its soft shadow reaching the lower border."""
    picture = Image.new("RGB", (600, 800), "white")
    ImageDraw.Draw(picture).ellipse((120, 600, 480, 790), fill=(225, 225, 228))
    picture = picture.filter(ImageFilter.GaussianBlur(25))
    picture.paste(RED, (200, 250, 400, 720))
    return picture


def lit_from_a_side() -> Image.Image:
    """A red thing on grey paper that gets darker to the right, by 12 levels in all."""
    shades = np.linspace(232, 220, 600).astype(np.uint8)
    picture = Image.fromarray(np.broadcast_to(shades[None, :, None], (800, 600, 3)).copy())
    picture.paste(RED, (200, 250, 400, 720))
    return picture


def scene(seed: int = 0) -> Image.Image:
    """A red thing on a floor of boards, a bed behind it."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (600, 800))
    draw = ImageDraw.Draw(picture)
    for left in range(0, 600, 60):
        shade = int(rng.integers(90, 190))
        draw.rectangle((left, 0, left + 57, 800), fill=(shade, shade * 2 // 3, shade // 3))
    draw.rectangle((0, 0, 600, 250), fill=(230, 230, 240))
    draw.rectangle((200, 300, 400, 700), fill=RED)
    return picture


def red(seen: images.Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is red."""
    marked = (seen[..., 0].astype(int) - seen[..., 1]) > 90
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def names(picture: Image.Image) -> list[str]:
    return [step.name for step in images.steps(images.read(picture), PHOTO)]


@pytest.mark.parametrize(
    "ground", [(255, 255, 255), (0, 0, 0), (128, 128, 128), (245, 240, 220), (150, 10, 90)], ids=str
)
@pytest.mark.parametrize("quality", [None, 60])
def test_what_stands_on_a_plain_ground_is_cut_out_with_a_small_margin(
    ground: tuple[int, int, int], quality: int | None
) -> None:
    picture = shot(ground, colour=(30, 200, 60))
    content = written(picture) if quality is None else written(picture, "JPEG", quality=quality)
    seen = images.prepare(images.read(content, spec=PHOTO), PHOTO)
    marked = seen[..., 1].astype(int) - seen[..., 0] > 90
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    room = 1.5 if quality is None else 4  # a JPEG has half of the pixels' colour
    # 400 pixels of it and a margin of 26 on each side become 96
    assert (rows[0], rows[-1]) == pytest.approx((5.5, 89.5), abs=room)
    assert (columns[0], columns[-1]) == pytest.approx((26.7, 68.3), abs=room)
    assert np.abs(seen[:20, :20].astype(int) - ground).max() <= 8
    assert np.abs(seen[-20:, -20:].astype(int) - ground).max() <= 8


@pytest.mark.parametrize("picture", [shadowed(), lit_from_a_side()], ids=["shadow", "light"])
def test_a_soft_shadow_or_uneven_light_leaves_a_ground_plain(picture: Image.Image) -> None:
    for given in (picture, written(picture, "JPEG", quality=70)):
        assert images.plain_ground(images.read(given))
        left, top, right, bottom = red(images.prepare(images.read(given), PHOTO))
        assert bottom - top > 70
        assert (bottom - top) / (right - left) == pytest.approx(470 / 200, rel=0.1)


def test_a_scene_is_squeezed_as_a_whole() -> None:
    assert images.plain_ground(scene()) is None
    assert names(scene()) == ["photo", "input"]
    assert red(images.prepare(scene(), PHOTO)) == pytest.approx((32, 36, 64, 84), abs=1)


def test_the_steps_of_a_product_shot() -> None:
    taken = images.steps(images.read(shot()), PHOTO)
    assert [step.name for step in taken] == ["photo", "plain ground cut off", "input"]
    assert [step.image.shape for step in taken[::2]] == [(800, 600, 3), (96, 96, 3)]
    assert taken[1].image.shape[:2] == pytest.approx((452, 452), abs=4)
    assert (taken[-1].image == images.prepare(shot(), PHOTO)).all()


def test_nothing_of_a_thing_is_lost_in_the_cut() -> None:
    """A white shirt on white paper, told from it by 5 %; a strap of two pixels; a sleeve that leaves the picture."""
    pale = shot(box=(150, 200, 450, 600), colour=(242, 242, 242))
    cut = images.steps(pale, PHOTO)[1].image
    assert (cut == 242).all(axis=2).sum() == 300 * 400
    strap = shot(box=(200, 300, 400, 700))
    strap.paste(RED, (230, 120, 234, 300))
    assert red(images.steps(strap, PHOTO)[1].image)[1] >= 1
    assert images.steps(strap, PHOTO)[1].image.shape[0] > 700 - 120
    sleeve = shot(box=(200, 300, 600, 380))
    left, _, right, _ = red(images.prepare(sleeve, PHOTO))
    assert (left, right) == pytest.approx((5.5, 90.5), abs=1.5)


def test_a_shirt_that_is_as_white_as_the_paper_is_seen_as_a_whole() -> None:
    assert names(Image.new("RGB", (600, 800), "white")) == ["photo", "input"]
    dusty = Image.new("RGB", (600, 800), "white")
    dusty.paste((120, 120, 120), (300, 400, 303, 403))
    assert names(dusty) == ["photo", "input"]


def test_what_looks_like_fashion_mnist_is_only_enlarged(drawn: Splits) -> None:
    for image in drawn.test.images[:20]:
        seen = images.prepare(image, PHOTO)
        assert (seen == images.resize(image[None], PHOTO)[0]).all()
    assert names(Image.fromarray(drawn.test.images[0][..., 0])) == ["photo", "input"]


@pytest.mark.parametrize("size", [(600, 800), (900, 700), (280, 280)])
def test_a_large_grey_picture_on_black_comes_back_as_the_item_that_it_was(size: tuple[int, int]) -> None:
    for label in range(10):
        item = images.prepare(images.read(shop_photo(drawn_garments.draw(label, 5), light=False)), PLAIN_GREY)
        large = images.to_pil(item).resize((280, 280), Image.Resampling.BILINEAR)
        picture = Image.new("RGB", size)
        picture.paste(large, ((size[0] - 280) // 2, (size[1] - 280) // 3))
        image = images.read(written(picture, "JPEG", quality=90))
        assert images.looks_like_fashion_mnist(image)
        expected = images.prepare(item, PHOTO).astype(int)
        assert np.abs(images.prepare(image, PHOTO) - expected).mean() < 6


def test_who_looks_like_fashion_mnist(drawn: Splits) -> None:
    assert all(images.looks_like_fashion_mnist(image) for image in drawn.test.images)
    assert all(images.looks_like_fashion_mnist(255 - image) for image in drawn.test.images[:5])  # 28x28
    colour = shot((0, 0, 0))
    for other in (colour, colour.resize((28, 28)), scene(), scene().convert("L"), shot(colour=(90, 90, 90))):
        assert not images.looks_like_fashion_mnist(images.read(other))


@pytest.mark.slow
def test_items_of_fashion_mnist_look_like_it_at_any_size(real_splits: Splits) -> None:
    items = real_splits.train.images[:500]
    assert all(images.looks_like_fashion_mnist(item) for item in items)
    larger = [images.to_pil(item).resize((300, 300), Image.Resampling.BICUBIC) for item in items]
    assert np.mean([images.looks_like_fashion_mnist(picture) for picture in larger]) > 0.99


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (10, 30000, 3), (30000, 10, 1), (1, 500, 3), (2, 2, 3)])
@pytest.mark.parametrize("kind", ["plain", "noise"])
@pytest.mark.parametrize("spec", [PHOTO, ImageSpec(64, 48, 1, "any", (0.0,), (1.0,))])
def test_any_shape_gives_an_input(shape: tuple[int, ...], kind: str, spec: ImageSpec) -> None:
    image = np.full(shape, 90, np.uint8)
    if kind == "noise":
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    seen = images.prepare(image, spec)
    assert seen.shape == spec.shape
    if kind == "plain":
        assert (seen == 90).all()


def test_of_a_photo_the_middle_may_be_seen_larger(drawn: Splits) -> None:
    """Of a scene and of what is cut out, but not of what looks like Fashion-MNIST; as a picture, and in an array."""
    part = replace(PHOTO, middle=0.9)
    for picture in (scene(), shot()):
        whole, seen = (np.array(red(images.prepare(picture, spec))) for spec in (PHOTO, part))
        assert seen == pytest.approx(48 + (whole - 48) / 0.9, abs=1.5)
    item = drawn.test.images[0]
    for grey in (item, images.to_pil(item).resize((300, 300))):
        assert (images.prepare(grey, part) == images.prepare(grey, PHOTO)).all()
    assert (images.resize(item[None], part) == images.resize(item[None], PHOTO)).all()
    large = np.asarray(scene().resize((160, 160)))
    assert red(images.resize(large[None], part)[0]) == pytest.approx(red(images.prepare(scene(), part)), abs=1)
    small = images.resize(large[None], PHOTO)
    assert (images.resize(small, part) == small).all()


def test_what_has_the_size_already_is_left_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert (images.prepare(image, PHOTO) == image).all()
    assert images.prepare(image[..., :1], PHOTO).shape == (96, 96, 3)


def test_an_array_is_seen_as_its_picture_is() -> None:
    for picture in (shot(), scene(), shot().convert("L"), scene().convert("L")):
        assert (images.prepare(picture, PHOTO) == images.prepare(images.read(picture), PHOTO)).all()


def test_a_folder_and_a_data_set_in_the_look_of_photos(tmp_path: Path) -> None:
    for name, picture in (("a", shot()), ("b", scene())):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "x.png")
    loaded = image_folder.load(tmp_path, PHOTO).dataset
    assert (loaded.images == [images.prepare(shot(), PHOTO), images.prepare(scene(), PHOTO)]).all()
    dark = ImageSpec(96, 96, 3, "dark", PHOTO.mean, PHOTO.sd)
    assert (image_folder.load(tmp_path, dark).dataset.images != loaded.images).any()  # not what the cache holds
    assert by_name.load("drawn", spec=PHOTO).splits.test.images.shape[1:] == (96, 96, 3)


@pytest.mark.parametrize(
    ("picture", "middle"),
    [(shot(), 1.0), (scene(), 1.0), (shot(box=(0, 300, 350, 800)), 1.0), (shot(), 0.9), (scene(), 0.9)],
    ids=["cut", "whole", "corner", "middle of cut", "middle of whole"],
)
def test_the_frame_of_each_step_finds_the_thing_where_it_is_in_the_photo(picture: Image.Image, middle: float) -> None:
    whole = red(images.read(picture))
    for step in images.steps(picture, replace(PHOTO, middle=middle)):
        h, w = step.image.shape[:2]
        left, top, right, bottom = red(step.image)
        across, down = step.frame.width * 600 / w, step.frame.height * 800 / h
        assert (left * across + step.frame.left * 600, right * across + step.frame.left * 600) == pytest.approx(
            whole[::2], abs=across
        )
        assert (top * down + step.frame.top * 800, bottom * down + step.frame.top * 800) == pytest.approx(
            whole[1::2], abs=down
        )
