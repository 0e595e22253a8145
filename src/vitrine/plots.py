"""Pictures that vitrine draws. Nothing is computed here; every function writes one PNG, atomically, and returns
nothing.

Figures are made without pyplot: no global state, no display.
"""

import bisect
import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrine import storage

Pixels = npt.NDArray[np.uint8]

RIGHT, WRONG, PLAIN = "#0072b2", "#d55e00", "#222222"
"""Blue, vermilion (Okabe and Ito: told apart by the colour-blind) and near-black."""

CAPTION, DPI = 7.5, 120  # points; pixels an inch


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


def pair(left: Tile, right: Tile, path: Path, title: str) -> None:
    """Two pictures side by side, large. A line that is too long loses its middle. Raises StorageError."""
    side = 2.8
    tiles = [
        replace(tile, caption="\n".join(_shortened(line, side - 0.2) for line in tile.caption.split("\n")))
        for tile in (left, right)
    ]
    _draw([tiles], 2, path, title, side=side)


def _draw(
    rows: Sequence[Sequence[Tile | None]],
    columns: int,
    path: Path,
    title: str,
    apart: bool = False,
    side: float = 1.1,
) -> None:
    gap, head = 0.42, 0.5 if title else 0.1  # inches, as `side` of a tile
    figure = Figure(
        figsize=(columns * (side + 0.12) + (0.25 if apart else 0) + 0.2, len(rows) * (side + gap) + head), dpi=DPI
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
    with storage.writing(path) as part, _any_script():
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
    axes.set_xlabel(_shown(tile.caption), fontsize=CAPTION, color=tile.colour, labelpad=3, parse_math=False)


def _shown(text: str) -> str:
    """Text as matplotlib can draw it: a name that is not valid UTF-8 has its odd bytes replaced."""
    return text.encode(errors="replace").decode()


def _shortened(line: str, inches: float) -> str:
    """A line of a caption that is at most so wide: what does not fit is taken out of its middle."""
    line = _shown(line)
    drawn = Figure(dpi=DPI).text(0, 0, line, fontsize=CAPTION, parse_math=False)

    def without(gone: int) -> str:
        kept = len(line) - gone
        return f"{line[: (kept + 1) // 2]}…{line[len(line) - kept // 2 :]}" if gone else line

    def fits(gone: int) -> bool:
        drawn.set_text(without(gone))
        return bool(drawn.get_window_extent().width <= inches * DPI)

    with _any_script():
        return without(bisect.bisect_left(range(len(line)), True, key=fits))


def _any_script() -> contextlib.AbstractContextManager[object]:
    """Characters that the font lacks become boxes, without a warning for each."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
