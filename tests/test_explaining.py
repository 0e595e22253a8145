"""Models that are made to look at one place only must be said to look there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from small_models import halves, small_model
from vitrine import explaining, images
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import InputError
from vitrine.images import Frame

Made = Callable[[slice, slice], Encoder]


class OnePlace:
    """In place of ONNX Runtime: class 3 is what is bright in these rows and columns."""

    def __init__(self, rows: slice, columns: slice, sizes: tuple[int, int]) -> None:
        self.place, self.sizes = (slice(None), rows, columns), sizes

    def run(self, _: list[str], inputs: dict[str, npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float32]]:
        batch = inputs["image"]
        logits, embeddings = (np.zeros((len(batch), size), np.float32) for size in self.sizes)
        logits[:, 3] = 12 * batch[self.place].mean(axis=(1, 2, 3)) / 255 - 1
        embeddings[:, 0] = 1
        return [logits, embeddings]


@pytest.fixture
def looking(encoder: Encoder) -> Made:
    """A model that looks at those rows and columns of its input, 28x28."""

    def made(rows: slice, columns: slice) -> Encoder:
        sizes = (len(encoder.card.classes["en"]), encoder.card.embedding)
        return Encoder(encoder.card, encoder.content, OnePlace(rows, columns, sizes))

    return made


CORNERS = [(rows, columns) for rows in (slice(0, 7), slice(21, 28)) for columns in (slice(0, 7), slice(21, 28))]


@pytest.mark.parametrize(("rows", "columns"), CORNERS)
def test_what_covers_the_place_that_counts_is_found(looking: Made, rows: slice, columns: slice) -> None:
    image = np.full((28, 28, 1), 200, np.uint8)
    found = explaining.explain(looking(rows, columns), image)
    assert (found.class_index, found.label, found.way) == (3, "Dress", "occlusion")
    assert found.heat.shape == (28, 28)
    assert found.heat.dtype == np.float32
    assert (found.heat.min(), found.heat.max()) == (0, 1)
    assert found.heat[rows, columns].min() > 0.4
    other = slice(14, 28) if rows.start == 0 else slice(0, 14), slice(14, 28) if columns.start == 0 else slice(0, 14)
    assert found.heat[other].max() == 0
    shares = found.heat / found.heat.sum()
    assert shares[rows, columns].sum() > 0.4  # a patch that covers some of it covers more of the rest


@pytest.mark.parametrize("outputs", [("logits", "embedding"), ("logits", "embedding", "activation")])
@pytest.mark.parametrize(("row", "column", "name"), [(0, 0, "left"), (3, 1, "left"), (2, 2, "right"), (3, 3, "right")])
def test_both_ways_find_the_block_that_is_bright(outputs: tuple[str, ...], row: int, column: int, name: str) -> None:
    """Of the small model, whose evidence is the brightness of 4x4 blocks: those on the left for one class, those on the
    right for the other.
    """
    image = np.zeros((28, 28, 1), np.uint8)
    block = slice(7 * row, 7 * row + 7), slice(7 * column, 7 * column + 7)
    image[block] = 220
    model = small_model(outputs)
    found = explaining.explain(model, image)
    assert (found.label, found.way) == (name, "activation" if model.card.activation else "occlusion")
    assert found.heat.shape == (28, 28)
    assert found.heat.dtype == np.float32
    y, x = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert block[0].start <= y < block[0].stop
    assert block[1].start <= x < block[1].stop
    assert found.heat[block].mean() > 0.5
    assert found.heat[(np.arange(28) + 14) % 28][:, (np.arange(28) + 14) % 28][block].max() == 0  # far from it


def test_what_speaks_for_the_other_class_is_no_heat() -> None:
    model = small_model(("logits", "embedding", "activation"))
    image = halves(255, 60)
    heat = explaining.explain(model, image).heat
    assert heat[:, :10].min() > 0.9
    assert heat[:, 18:].max() == 0


@pytest.mark.parametrize(
    ("outputs", "shade"),
    [
        (("logits", "embedding"), 0),
        (("logits", "embedding", "activation"), 0),
        (("logits", "embedding", "activation"), 120),
    ],
)
def test_a_picture_without_anything_has_no_heat(outputs: tuple[str, ...], shade: int) -> None:
    assert not explaining.explain(small_model(outputs), halves(shade, shade)).heat.any()


def test_a_model_without_classes_looks_for_none() -> None:
    with pytest.raises(InputError, match="knows no classes"):
        explaining.explain(small_model(("embedding",)), halves(0, 0))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (20, 150), (190, 260)])
@pytest.mark.parametrize(("rows", "columns"), CORNERS)
def test_heat_lies_on_the_thing_in_a_photo_that_was_trimmed(
    looking: Made, rows: slice, columns: slice, top: int, left: int
) -> None:
    """A thing of 100x60 somewhere in a photo of 300x400 on white: a corner of it counts, and nothing else."""
    photo = np.full((300, 400, 3), 255, np.uint8)
    photo[top : top + 100, left : left + 60] = (40, 60, 90)
    model = looking(rows, slice(6, 10) if columns.start == 0 else slice(18, 22))  # the thing takes columns 6 to 22
    seen = images.steps(photo, model.card.image)[-1]
    heat = explaining.over(explaining.explain(model, seen.image).heat, seen.frame, 300, 400)
    assert heat.shape == (300, 400)
    assert heat.max() > 0.9
    y, x = (int(each) for each in np.unravel_index(heat.argmax(), heat.shape))
    half = (top if rows.start == 0 else top + 50, left if columns.start == 0 else left + 30)
    assert half[0] <= y < half[0] + 50
    assert half[1] <= x < half[1] + 30
    far = np.ones_like(heat, bool)
    far[max(0, top - 30) : top + 130, max(0, left - 60) : left + 120] = False
    assert not heat[far].any()  # beyond what the model saw


@pytest.mark.parametrize(("top", "left"), [(20, 20), (20, 150), (180, 300)])
def test_heat_lies_on_the_thing_for_a_model_of_photos(looking: Made, top: int, left: int) -> None:
    """A thing of 100x80, lit in its middle, on a plain ground that the look for photos cuts off."""
    photo = np.full((300, 400, 3), (20, 40, 90), np.uint8)
    photo[top : top + 100, left : left + 80] = (160, 60, 60)
    photo[top + 40 : top + 60, left + 30 : left + 50] = 255
    model = looking(slice(11, 17), slice(11, 17))
    model.card = replace(model.card, image=replace(model.card.image, ground="any"))
    seen = images.steps(photo, model.card.image)[-1]
    assert seen.frame != Frame(0, 0, 1, 1)
    heat = explaining.over(explaining.explain(model, seen.image).heat, seen.frame, 300, 400)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert (y, x) == pytest.approx((top + 50, left + 40), abs=12)


@pytest.mark.parametrize("shade", [0, 77, 255])
def test_a_plain_picture_has_no_heat_that_is_no_number(encoder: Encoder, shade: int) -> None:
    heat = explaining.explain(encoder, np.full((28, 28, 1), shade, np.uint8)).heat
    assert np.isfinite(heat).all()
    assert shade or not heat.any()  # black on black: nothing was covered


def test_where_nothing_matters_there_is_no_heat(looking: Made) -> None:
    heat = explaining.explain(looking(slice(0, 7), slice(0, 7)), np.zeros((28, 28, 1), np.uint8)).heat
    assert heat.shape == (28, 28)
    assert not heat.any()


@pytest.mark.slow
def test_the_shipped_model_looks_at_the_garment(encoder: Encoder, drawn: Splits) -> None:
    """On the mean of twenty drawn garments, the garment has more of the heat than of the picture."""
    gained = []
    for image in drawn.test.images[:20]:
        heat = explaining.explain(encoder, image).heat
        garment = image[..., 0] > 30
        gained.append(heat[garment].sum() / heat.sum() - garment.mean())
    assert np.mean(gained) > 0.1


def test_a_larger_input_goes_through_in_parts_and_can_be_stopped(
    looking: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = looking(slice(0, 7), slice(0, 7)), np.full((28, 28, 1), 200, np.uint8)
    whole = explaining.explain(model, image).heat
    monkeypatch.setattr(explaining, "_AT_ONCE", 28 * 28 * 50)
    told: list[tuple[int, int]] = []
    parts = explaining.explain(model, image, lambda done, total: told.append((done, total))).heat
    assert told == [(done, 196) for done in (0, 50, 100, 150, 196)]
    assert np.array_equal(parts, whole)

    def stop(done: int, total: int) -> None:
        if done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        explaining.explain(model, image, stop)


def test_an_image_of_another_look_is_refused(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="wants images"):
        explaining.explain(encoder, np.zeros((32, 32, 1), np.uint8))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (3000, 2000), (1, 1), (30, 4000)])
def test_an_overlay_has_the_photos_proportions_and_its_opacity_is_the_heat(height: int, width: int) -> None:
    heat = np.zeros((28, 28), np.float32)
    heat[:, :14] = 1
    made = explaining.overlay(heat, Frame(0, 0, 1, 1), height, width)
    assert made.dtype == np.uint8
    assert made.shape[2] == 4
    assert max(made.shape) <= 256
    assert made.shape[1] / made.shape[0] == pytest.approx(width / height, rel=0.6 if 30 in (height, width) else 0.01)
    if width > 1:
        assert made[:, -1, 3].max() == 0
        assert made[0, 0].tolist() == [*explaining.colours(1).tolist(), 255]


def test_painting_leaves_what_is_cold_as_it_is() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 1), np.uint8)
    heat = np.zeros((20, 30), np.float32)
    heat[:, 15:] = 1
    made = explaining.painted(photo, heat)
    assert np.array_equal(made[:, :15], photo[:, :15].repeat(3, axis=2))
    assert (np.ptp(made[:, 15:], axis=2) > 50).all()


def test_the_picture_shows_photo_heat_and_input(encoder: Encoder, tmp_path: Path) -> None:
    from vitrine import plots
    from vitrine.plots import Tile

    red = np.full((300, 200, 3), (255, 0, 0), np.uint8)
    tiles = [Tile(red, "the picture"), Tile(red, "W" * 200), Tile(np.zeros((28, 28, 1), np.uint8), "$x$")]
    scale = explaining.colours(np.linspace(0, 1, 256))
    plots.heat(tiles, scale, ("little", "much"), tmp_path / "heat.png", "Заголовок " * 30)
    pixels = images.read(tmp_path / "heat.png")
    assert ((pixels == (255, 0, 0)).all(axis=2)).mean() > 0.2
    assert (pixels == scale[-1]).all(axis=2).any()
    ink = pixels.min(axis=2) < 128
    assert not any([ink[0].any(), ink[-1].any(), ink[:, 0].any(), ink[:, -1].any()])
