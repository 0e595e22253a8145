from pathlib import Path

import numpy as np
import pytest

from vitrine import images, messages, plots
from vitrine.datasets import Splits
from vitrine.errors import StorageError
from vitrine.plots import Answered, Curves, Tile
from vitrine.plots.charts import COLOURS
from vitrine.plots.maps import _marker


def test_a_grid_shows_its_tiles(drawn: Splits, tmp_path: Path) -> None:
    tiles = [Tile(image, "name") for image in drawn.test.images[:7]]
    plots.grid(tiles, tmp_path / "grid.png", 3, "Сім речей")
    pixels = images.read(tmp_path / "grid.png")
    assert pixels.shape[0] > pixels.shape[1] > 300
    assert (pixels < 20).mean() > 0.1  # the tiles' black ground
    assert (pixels[:40] < 100).any()  # the title


@pytest.mark.parametrize("shape", [(10, 30_000, 3), (30_000, 10, 3), (1, 4_000, 3)])
def test_a_strip_is_wide_enough_to_be_seen(shape: tuple[int, ...], tmp_path: Path) -> None:
    red = np.broadcast_to(np.array((255, 0, 0), np.uint8), shape)
    plots.grid([Tile(red, "strip")], tmp_path / "grid.png", 1, side=2.0)
    drawn = images.read(tmp_path / "grid.png")
    seen = (drawn[..., 0] > 200) & (drawn[..., 1] < 60)  # the frame lies over its edge
    sides = sorted((np.count_nonzero(seen.any(axis=0)), np.count_nonzero(seen.any(axis=1))))
    assert sides[0] == pytest.approx(12, abs=2)
    assert sides[1] == pytest.approx(240, abs=2)


def test_neighbours_set_the_query_apart_and_take_colour(tmp_path: Path) -> None:
    red = Tile(np.full((50, 40, 3), (255, 0, 0), np.uint8), "red")
    plots.neighbours([(red, [red, red]), (red, [red])], tmp_path / "n.png", "title")
    pixels = images.read(tmp_path / "n.png")
    assert ((pixels == (255, 0, 0)).all(axis=2)).mean() > 0.2


@pytest.mark.parametrize(("sizes", "rows"), [([1], 1), ([1] * 5, 1), ([1] * 7, 2), ([1, 5, 2], 2), ([30], 1), ([0], 1)])
def test_groups_lie_beside_each_other(sizes: list[int], rows: int, tmp_path: Path) -> None:
    red = Tile(np.full((50, 40, 3), (255, 0, 0), np.uint8), "red\n1.0000")
    plots.groups([(red, [red] * size) for size in sizes], tmp_path / "g.png", "title")
    pixels = images.read(tmp_path / "g.png")
    inside = ((pixels == (255, 0, 0)).all(axis=2)).any(axis=1)  # (h,)
    assert np.count_nonzero(inside[1:] & ~inside[:-1]) == rows


def test_a_pair_keeps_its_captions_apart_and_within_the_picture(tmp_path: Path) -> None:
    """Wide beside tall, with names as long as a disk allows, in a script that the font lacks, and not UTF-8."""
    wide, tall = np.full((20, 400, 3), (255, 0, 0), np.uint8), np.full((400, 2, 1), 0, np.uint8)
    for name in ("W" * 251, "i" * 251, "长" * 80, "$x^2$ \udcff"):
        tiles = [Tile(image, f"{'a class ' * 30}\n{name}.jpg") for image in (wide, tall)]
        plots.pair(tiles[0], tiles[1], tmp_path / "pair.png", "same kind of garment: over 99.9 %")
        pixels = images.read(tmp_path / "pair.png")
        ink = pixels.min(axis=2) < 128  # (h, w)
        assert ink[: ink.shape[0] // 10].any()  # the title
        edges = ink[0].any(), ink[-1].any(), ink[:, :8].any(), ink[:, -8:].any()
        assert not any(edges)
        middle = ink.shape[1] // 2
        assert not ink[ink.shape[0] // 10 :, middle - 3 : middle + 3].any()  # nothing of one tile in the other


def test_a_place_that_cannot_be_written(drawn: Splits, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        plots.grid([Tile(drawn.test.images[0], "")], tmp_path / "file" / "a.png", 1)


NAMES = ["Футболка/топ", "$x^2$ \udcff", "W" * 60, "长い名前" * 20]


def clean_edges(path: Path) -> None:
    """Nothing is cut off at the picture's edges, and there is something in it."""
    ink = images.read(path).min(axis=2) < 128  # (h, w)
    edges = [ink[0].any(), ink[-1].any(), ink[:, 0].any(), ink[:, -1].any()]
    assert edges == [False] * 4
    assert ink.any()
    assert ink.shape[1] <= 1100


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_charts_take_any_name_and_keep_it_within(tmp_path: Path, language: str) -> None:
    words, path, title = messages.load(language), tmp_path / "chart.png", "Заголовок " * 20
    matrix = np.array([[9000, 1, 0, 3], [0, 0, 0, 0], [0, 12345, 7, 1], [2, 0, 0, 800]])
    plots.confusion(matrix, NAMES, path, words, title)
    clean_edges(path)
    nans = np.array([np.nan, 0.5, 1.0, 0.0])
    plots.per_class([("precision", nans), ("recall", nans)], NAMES, path, words, title)
    clean_edges(path)
    plots.answers(
        [
            Answered(
                matrix[..., None].astype(np.uint8), f"✗ {'W' * 90}\n{'W' * 90}", NAMES, [0.0, 0.5, 1.0, 0.0], 2, None
            )
        ]
        * 3,
        path,
        words,
        title,
    )
    clean_edges(path)
    plots.distances(np.array([0.1, 0.2]), np.array([]), path, words, title)
    clean_edges(path)
    plots.reliability(np.array([0.3, 1.0]), np.array([0.0, 1.0]), path, words, title)
    clean_edges(path)


def test_curves_of_one_epoch_and_of_many_runs(tmp_path: Path) -> None:
    words, path = messages.load("uk"), tmp_path / "curves.png"
    nan, one = np.array([np.nan]), np.array([0.5])
    plots.curves([Curves("a", np.array([1]), one, nan, one, nan)], path, words, "")
    clean_edges(path)
    runs = [Curves(f"{'runs/' * 20}{n}", np.arange(40), *[np.linspace(n, 0, 40)] * 4) for n in range(12)]
    plots.curves(runs, path, words, "")
    clean_edges(path)


def test_a_map_shows_every_class_in_a_colour_of_its_own(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(600, 2)) * (3, 1)
    labels = np.arange(600) % 30
    names = [f"{'long name ' * 5}{n}" for n in range(30)]
    plots.scatter(points, labels, names, tmp_path / "map.png", "Карта")
    plots.by_class(points, labels, names, tmp_path / "classes.png", "Карта")
    clean_edges(tmp_path / "classes.png")
    pixels = images.read(tmp_path / "map.png").reshape(-1, 3)
    colours = {tuple(bytes.fromhex(colour[1:])) for colour in COLOURS}
    assert colours <= {tuple(pixel) for pixel in np.unique(pixels, axis=0).tolist()}
    assert len({(COLOURS[n % 10], _marker(n)) for n in range(100)}) == 100
