"""Pictures that vitrine draws. Nothing is computed here; every function writes one PNG, atomically, and returns
nothing.

Figures are made without pyplot: no global state, no display.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrine import storage

Pixels = npt.NDArray[np.uint8]

RIGHT, WRONG, PLAIN = "#0072b2", "#d55e00", "#222222"
"""Blue, vermilion (Okabe and Ito: told apart by the colour-blind) and near-black."""


@dataclass(frozen=True)
class Tile:
    """One picture of a grid. image: (h, w, 1 or 3) uint8; caption: one or two lines; colour: of the caption."""

    image: Pixels
    caption: str
    colour: str = PLAIN


def grid(tiles: Sequence[Tile], path: Path, columns: int, title: str = "") -> None:
    """Tiles in rows of `columns`. Raises StorageError."""
    rows = [list(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    _draw(rows, columns, path, title)


def neighbours(rows: Sequence[tuple[Tile | None, Sequence[Tile]]], path: Path, title: str = "") -> None:
    """A row per query: the query, set apart, then its matches; no query where a row goes on. Raises StorageError."""
    columns = 1 + max((len(matches) for _, matches in rows), default=0)
    _draw([[query, *matches] for query, matches in rows], columns, path, title, apart=True)


def _draw(rows: Sequence[Sequence[Tile | None]], columns: int, path: Path, title: str, apart: bool = False) -> None:
    side, gap, head = 1.1, 0.42, 0.5 if title else 0.1  # inches
    figure = Figure(
        figsize=(columns * (side + 0.12) + (0.25 if apart else 0) + 0.2, len(rows) * (side + gap) + head), dpi=120
    )
    width, height = figure.get_size_inches()
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            if tile is None:
                continue
            left = 0.16 + c * (side + 0.12) + (0.25 if apart and c else 0)
            bottom = height - head - (r + 1) * (side + gap) + gap
            _tile(figure.add_axes((left / width, bottom / height, side / width, side / height)), tile)
    if title:
        place = (0.16 / width, 1 - 0.2 / height)
        figure.text(*place, _shown(title), fontsize=11, fontweight="bold", va="center", color=PLAIN, parse_math=False)
    with storage.writing(path) as part:
        figure.savefig(part, format="png", facecolor="white")


def _tile(axes: Axes, tile: Tile) -> None:
    grey = tile.image.shape[2] == 1
    axes.imshow(
        tile.image[..., 0] if grey else tile.image,
        cmap="gray" if grey else None,
        vmin=0,
        vmax=255,
        interpolation="nearest" if max(tile.image.shape[:2]) < 64 else "antialiased",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")
    axes.set_xlabel(_shown(tile.caption), fontsize=7.5, color=tile.colour, labelpad=3, parse_math=False)


def _shown(text: str) -> str:
    """Text as matplotlib can draw it: a name that is not valid UTF-8 has its odd bytes replaced."""
    return text.encode(errors="replace").decode()
