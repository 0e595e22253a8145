from pathlib import Path

import numpy as np
import pytest

from vitrine import images, plots
from vitrine.datasets import Splits
from vitrine.errors import StorageError
from vitrine.plots import Tile


def test_a_grid_shows_its_tiles(drawn: Splits, tmp_path: Path) -> None:
    tiles = [Tile(image, "name") for image in drawn.test.images[:7]]
    plots.grid(tiles, tmp_path / "grid.png", 3, "Сім речей")
    pixels = images.read(tmp_path / "grid.png")
    assert pixels.shape[0] > pixels.shape[1] > 300
    assert (pixels < 20).mean() > 0.1  # the tiles' black ground
    assert (pixels[:40] < 100).any()  # the title


def test_neighbours_set_the_query_apart_and_take_colour(tmp_path: Path) -> None:
    red = Tile(np.full((50, 40, 3), (255, 0, 0), np.uint8), "red")
    plots.neighbours([(red, [red, red]), (red, [red])], tmp_path / "n.png", "title")
    pixels = images.read(tmp_path / "n.png")
    assert ((pixels == (255, 0, 0)).all(axis=2)).mean() > 0.2


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
