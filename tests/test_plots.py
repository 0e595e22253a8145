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


def test_a_place_that_cannot_be_written(drawn: Splits, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        plots.grid([Tile(drawn.test.images[0], "")], tmp_path / "file" / "a.png", 1)
