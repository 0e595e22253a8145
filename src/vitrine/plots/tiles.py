"""Pictures beside each other, each with a line or two under it."""

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
from vitrine.messages import Words

Pixels = npt.NDArray[np.uint8]

RIGHT, WRONG, PLAIN = "#0072b2", "#d55e00", "#222222"
"""Blue, vermilion (Okabe and Ito: told apart by the colour-blind) and near-black."""

CAPTION, DPI = 7.5, 120  # points; pixels an inch
_ACROSS = 12  # tiles of groups in a row
_LONGEST = 20  # times its width: what is longer would be a line, or nothing, and is drawn so


@dataclass(frozen=True)
class Tile:
    """One picture of a grid. image: (h, w, 1 or 3) uint8; caption: one or two lines; colour: of the caption."""

    image: Pixels
    caption: str
    colour: str = PLAIN


@dataclass(frozen=True)
class Answered:
    """An image with what a model says of it. image: (h, w, 1 or 3) uint8; title: the answer, and on a second line the
    truth; names, probabilities: of the classes shown; answer, truth: which of them these are, None for one that is not
    shown.
    """

    image: Pixels
    title: str
    names: Sequence[str]
    probabilities: Sequence[float]
    answer: int
    truth: int | None


def grid(tiles: Sequence[Tile], path: Path, columns: int, title: str = "", side: float = 1.1) -> None:
    """Tiles in rows of `columns`, each `side` inches wide. Raises StorageError."""
    rows = [list(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    _draw(rows, columns, path, title, side=side)


def neighbours(
    rows: Sequence[tuple[Tile | None, Sequence[Tile]]], path: Path, title: str = "", model: str = ""
) -> None:
    """A row per query: the query, set apart, then its matches; no query where a row goes on. model: what found them,
    kept in the PNG as its text `Model`. Raises StorageError.
    """
    columns = 1 + max((len(matches) for _, matches in rows), default=0)
    _draw([[query, *matches] for query, matches in rows], columns, path, title, apart=(1,), model=model)


def groups(found: Sequence[tuple[Tile, Sequence[Tile]]], path: Path, title: str = "") -> None:
    """Groups beside each other, as many a row as fit: each one's first tile, set apart, then the others. Raises
    StorageError.
    """
    wide = 1 + max((len(others) for _, others in found), default=0)
    across = min(max(1, _ACROSS // wide), len(found))
    rows: list[list[Tile | None]] = []
    for place, (first, others) in enumerate(found):
        if place % across == 0:
            rows.append([])
        rows[-1] += [first, *others, *[None] * (wide - 1 - len(others))]
    starts = range(0, across * wide, wide)
    apart = [start + 1 for start in starts] + 2 * [start for start in starts if start]
    _draw(rows, across * wide, path, title, apart)


def pairs(couples: Sequence[tuple[Tile, Tile]], path: Path, title: str = "") -> None:
    """Three pairs a row, small, each set apart from the next. Raises StorageError."""
    rows = [[tile for couple in couples[first : first + 3] for tile in couple] for first in range(0, len(couples), 3)]
    _draw(rows, 2 * min(3, len(couples)), path, title, apart=(2, 4))


def pair(left: Tile, right: Tile, path: Path, title: str) -> None:
    """Two pictures side by side, large. A line that is too long loses its middle. Raises StorageError."""
    side = 2.8
    tiles = [
        replace(tile, caption="\n".join(shortened(line, side - 0.2) for line in tile.caption.split("\n")))
        for tile in (left, right)
    ]
    _draw([tiles], 2, path, title, side=side)


def answers(items: Sequence[Answered], path: Path, words: Words, title: str) -> None:
    """Items in two columns, each beside the bars of its probabilities. Raises StorageError."""
    wide, row_gap, head, side, names = 4.2, 0.75, 0.5, 1.15, 1.25  # inches
    bars = max((len(item.names) for item in items), default=0)
    tall = max(side, 0.19 * bars) + row_gap
    rows = -(-len(items) // 2)
    width, height = 2 * wide + 0.1, rows * tall + head + 0.1
    figure = Figure(figsize=(width, height), dpi=DPI)
    for index, item in enumerate(items):
        left, top = 0.16 + index % 2 * wide, height - head - index // 2 * tall
        colour = RIGHT if item.answer == item.truth else WRONG
        lines = "\n".join(shortened(line, wide - 0.35, 9, bold=True) for line in item.title.split("\n"))
        place = (left / width, (top - 0.42) / height)
        figure.text(*place, lines, fontsize=9, color=colour, fontweight="bold", va="bottom", parse_math=False)
        draw_tile(figure.add_axes((left / width, (top - 0.5 - side) / height, side / width, side / height)), item.image)
        across, deep = wide - side - names - 1.0, 0.19 * len(item.names)
        axes = figure.add_axes(
            ((left + side + names + 0.15) / width, (top - 0.5 - deep) / height, across / width, deep / height)
        )
        _bars(axes, item, words, names)
    draw_title(figure, title)
    with storage.writing(path) as part, any_script():
        figure.savefig(part, format="png", facecolor="white")


def _bars(axes: Axes, item: Answered, words: Words, wide: float) -> None:
    """A bar a class, the answer's and the truth's in colour; its name on the left, its probability on the right."""
    colours = ["#9a9a9a"] * len(item.names)
    if item.truth is not None:
        colours[item.truth] = RIGHT
    if item.answer != item.truth:
        colours[item.answer] = WRONG
    places = range(len(item.names))
    axes.barh(places, item.probabilities, color=colours, height=0.7)
    axes.set(xlim=(0, 1), ylim=(len(item.names) - 0.5, -0.5), xticks=[])
    axes.set_yticks(places, [shortened(name, wide - 0.05, 8.5) for name in item.names], fontsize=8.5)
    axes.tick_params(length=0)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color("#bbbbbb")
    for place, probability in zip(places, item.probabilities, strict=True):
        axes.text(probability + 0.03, place, words.probability(probability), fontsize=8.5, va="center", color=PLAIN)


def _draw(
    rows: Sequence[Sequence[Tile | None]],
    columns: int,
    path: Path,
    title: str,
    apart: Sequence[int] = (),
    side: float = 1.1,
    model: str = "",
) -> None:
    """apart: the columns that a gap goes before. side: of a tile, in inches. model: see `neighbours`."""
    lines = max((tile.caption.count("\n") + 1 for row in rows for tile in row if tile), default=1)
    gap, head = 0.42 + 0.13 * max(0, lines - 2), 0.5 if title else 0.1  # inches
    figure = Figure(
        figsize=(
            columns * (side + 0.12) + 0.25 * sum(c < columns for c in apart) + 0.2,
            len(rows) * (side + gap) + head,
        ),
        dpi=DPI,
    )
    width, height = figure.get_size_inches()
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            if tile is None:
                continue
            left = 0.16 + c * (side + 0.12) + 0.25 * sum(c >= each for each in apart)
            bottom = height - head - (r + 1) * (side + gap) + gap
            axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
            draw_tile(axes, tile.image)
            caption = "\n".join(shortened(line, side) for line in tile.caption.split("\n"))
            axes.set_xlabel(caption, fontsize=CAPTION, color=tile.colour, labelpad=3, parse_math=False)
    draw_title(figure, title)
    with storage.writing(path) as part, any_script():
        figure.savefig(part, format="png", facecolor="white", metadata={"Model": model} if model else None)


def draw_title(figure: Figure, title: str) -> None:
    """A line on top, where there is one; lost in the middle where it is too long."""
    width, height = figure.get_size_inches()
    if title:
        place = (0.16 / width, 1 - 0.2 / height)
        line = shortened(title, width - 0.3, 11, bold=True)
        figure.text(*place, line, fontsize=11, fontweight="bold", va="center", color=PLAIN, parse_math=False)


def draw_tile(axes: Axes, image: Pixels) -> None:
    """A picture (h, w, 1 or 3) in a thin frame; a small one pixel by pixel, a strip wider than it is."""
    grey, (h, w) = image.shape[2] == 1, image.shape[:2]
    axes.imshow(
        image[..., 0] if grey else image,
        cmap="gray" if grey else None,
        vmin=0,
        vmax=255,
        interpolation="nearest" if max(h, w) < 64 else "antialiased",
        aspect=min(max(1, w / h / _LONGEST), w / h * _LONGEST),
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")


def shown(text: str) -> str:
    """Text as matplotlib can draw it: a name that is not valid UTF-8 has its odd bytes replaced."""
    return text.encode(errors="replace").decode()


def shortened(line: str, inches: float, size: float = CAPTION, bold: bool = False) -> str:
    """A line of text that is at most so wide: what does not fit is taken out of its middle."""
    line = shown(line)
    weight = "bold" if bold else "normal"
    paper = Figure((0.5, 0.5), dpi=DPI)  # small: one is made at each measuring
    drawn = paper.text(0, 0, line, fontsize=size, fontweight=weight, parse_math=False)

    def without(gone: int) -> str:
        kept = len(line) - gone
        return f"{line[: (kept + 1) // 2]}…{line[len(line) - kept // 2 :]}" if gone else line

    def fits(gone: int) -> bool:
        drawn.set_text(without(gone))
        return bool(drawn.get_window_extent().width <= inches * DPI)

    with any_script():
        return without(bisect.bisect_left(range(len(line)), True, key=fits))


def any_script() -> contextlib.AbstractContextManager[object]:
    """Characters that the font lacks become boxes, without a warning for each."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
