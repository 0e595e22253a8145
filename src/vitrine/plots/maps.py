"""A map: points of a plane, coloured by class, or by a share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vitrine import storage
from vitrine.plots.charts import COLOURS, MARKERS, SMALL, WIDE
from vitrine.plots.tiles import DPI, PLAIN, any_script, shortened

Points = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]

ROWS = 26
"""So many classes fit into a column of the legend."""

SQUARE, BESIDE, HEAD = 8.0, 2.3, 0.55  # inches, of the map of a collection
REST = "#b0b0b0"


def scatter(points: Points, labels: Labels, names: Sequence[str], path: Path, title: str) -> None:
    """Points (n, 2) with their classes (n,), a colour and a mark for each, and a legend. Raises StorageError."""
    columns = -(-len(names) // ROWS)
    beside, square, head = 1.75 * columns, WIDE - 1.75, 0.5  # inches
    tall = square * _flatness(points)
    width, height = square + beside, max(tall, 0.19 * min(ROWS, len(names))) + head
    figure = _figure(width, height, title)
    axes = figure.add_axes(
        (0.1 / width, (height - head - tall + 0.1) / height, (square - 0.2) / width, (tall - 0.1) / height)
    )
    size = next((size for least, size in ((3000, 7), (500, 16)) if len(points) > least), 30)
    for label in range(len(names)):
        chosen = points[labels == label]
        colour, mark = COLOURS[label % len(COLOURS)], _marker(label)
        axes.scatter(chosen[:, 0], chosen[:, 1], s=size, alpha=0.75, linewidths=0, color=colour, marker=mark)
    _frame(axes)
    handles = [
        Line2D([], [], linestyle="", markersize=7, color=COLOURS[label % len(COLOURS)], marker=_marker(label))
        for label in range(len(names))
    ]
    drawn = figure.legend(
        handles, [shortened(name, 1.35, SMALL) for name in names], loc="upper left", ncols=columns, frameon=False,
        bbox_to_anchor=((square - 0.05) / width, 1 - head / height), fontsize=SMALL, handletextpad=0.2, borderaxespad=0,
    )  # fmt: skip
    for text in drawn.get_texts():
        text.set_parse_math(False)
    _save(figure, path)


def collection(points: Points, labels: Labels, names: Sequence[str], own: int, path: Path, title: str) -> None:
    """Points (n, 2), up to a hundred thousand, with their classes (n,): a dot each, in turn, so that no class covers
    another; a legend beside the map. own: so many of the names are classes of their own; what the others share is grey.
    Raises StorageError.
    """
    colours = np.array([_dot(number, own) for number in range(len(names))])
    order = np.random.default_rng(0).permutation(len(points))
    figure = _whole(points, order, colours[labels], 0.24 * len(names) + 0.3, title)
    handles = [Line2D([], [], linestyle="", marker="o", markersize=7, color=colour) for colour in colours]
    width, height = figure.get_size_inches()
    drawn = figure.legend(
        handles, [shortened(name, BESIDE - 0.55, SMALL) for name in names], loc="upper left", frameon=False,
        bbox_to_anchor=((SQUARE + 0.05) / width, 1 - HEAD / height), fontsize=SMALL, handletextpad=0.2, borderaxespad=0,
    )  # fmt: skip
    for text in drawn.get_texts():
        text.set_parse_math(False)
    _save(figure, path)


def by_share(points: Points, shares: npt.NDArray[np.floating], path: Path, title: str, says: str) -> None:
    """As `collection`, but by a share (n,), 0 to 1, NaN for none: the less, the darker, and the less lies above the
    more. says: what it is, beside the scale. Raises StorageError.
    """
    scale = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.75, 256)))  # the rest is as light as paper
    colours = scale(np.nan_to_num(shares))
    colours[np.isnan(shares)] = to_rgba(REST)
    order = np.argsort(np.where(np.isnan(shares), -2, -shares), kind="stable")
    figure = _whole(points, order, colours, 3, title)
    width, height = figure.get_size_inches()
    beside = figure.add_axes(((SQUARE + 0.1) / width, (height - HEAD - 2.6) / height, 0.16 / width, 2.6 / height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), scale), cax=beside)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    bar.ax.tick_params(labelsize=SMALL, colors=PLAIN, color="#bbbbbb", length=3)
    bar.outline.set_visible(False)
    bar.set_label(says, fontsize=SMALL, color=PLAIN)
    _save(figure, path)


def _whole(
    points: Points, order: npt.NDArray[np.int64], colours: npt.NDArray[Any], tallest: float, title: str
) -> Figure:
    """A dot each, painted in that order, with room beside for a legend that is `tallest` inches high."""
    foot, axis = 0.45, 0.7  # inches
    tall = (SQUARE - axis) * _flatness(points)
    width, height = SQUARE + BESIDE, max(tall + foot, tallest) + HEAD
    figure = _figure(width, height, title)
    axes = figure.add_axes((axis / width, foot / height, (SQUARE - axis) / width, (height - HEAD - foot) / height))
    size = float(np.clip(110_000 / len(points), 0.9, 28))  # square points
    axes.scatter(points[order, 0], points[order, 1], s=size, c=colours[order], alpha=0.8, linewidths=0, rasterized=True)
    _frame(axes)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.yaxis.set_major_locator(MaxNLocator(7))
    axes.tick_params(labelsize=SMALL - 1, colors=PLAIN, color="#bbbbbb", length=3)
    axes.set_xlabel("t-SNE 1", fontsize=SMALL, color=PLAIN)
    axes.set_ylabel("t-SNE 2", fontsize=SMALL, color=PLAIN)
    return figure


def _dot(number: int, own: int) -> str:
    """The colour of a class among so many; the second ten are paler, the rest is grey."""
    if number >= own:
        return REST
    colour = COLOURS[number % len(COLOURS)]
    return colour if number < len(COLOURS) else to_hex(_paler(*to_rgb(colour)))


def _paler(red: float, green: float, blue: float) -> tuple[float, float, float]:
    return 0.45 * red + 0.55, 0.45 * green + 0.55, 0.45 * blue + 0.55


def by_class(points: Points, labels: Labels, names: Sequence[str], path: Path, title: str) -> None:
    """The map once for each class, which alone has colour: what colours cannot tell apart, places can. Raises
    StorageError.
    """
    side, gap, head, columns = 1.52, 0.32, 0.5, 5  # inches
    rows, tall = -(-len(names) // columns), side * _flatness(points)
    width, height = WIDE, rows * (tall + gap) + head
    figure = _figure(width, height, title)
    for label, name in enumerate(names):
        left = 0.16 + label % columns * (side + 0.1)
        bottom = height - head - (label // columns + 1) * (tall + gap) + gap
        axes = figure.add_axes((left / width, bottom / height, side / width, tall / height))
        axes.scatter(points[:, 0], points[:, 1], s=1 if len(points) > 500 else 5, color="#d9d9d9", linewidths=0)
        chosen = points[labels == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=2 if len(points) > 500 else 8, color=COLOURS[0], linewidths=0)
        _frame(axes)
        axes.set_xlabel(shortened(name, side, SMALL), fontsize=SMALL, color=PLAIN, labelpad=3, parse_math=False)
    _save(figure, path)


def _flatness(points: Points) -> float:
    """Height by width that a map is drawn with, 0.5 to 1."""
    across, up = np.ptp(points, axis=0)
    return float(np.clip(up / max(across, 1e-9), 0.5, 1))


def _marker(label: int) -> str:
    """Another mark for each of the ten colours, and other pairs of the two in the next ten."""
    return MARKERS[(label + label // len(COLOURS)) % len(MARKERS)]


def _frame(axes: Axes) -> None:
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI)
    line = shortened(title, width - 0.3, 11, bold=True)
    figure.text(
        0.16 / width, 1 - 0.2 / height, line, fontsize=11, fontweight="bold", va="center", color=PLAIN, parse_math=False
    )
    return figure


def _save(figure: Figure, path: Path) -> None:
    with storage.writing(path) as part, any_script():
        figure.savefig(part, format="png", facecolor="white")
