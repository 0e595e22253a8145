"""A map: points of a plane, coloured by class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitrine import storage
from vitrine.plots.charts import COLOURS, MARKERS, SMALL, WIDE
from vitrine.plots.tiles import DPI, PLAIN, any_script, shortened

Points = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ROWS = 26
"""So many classes fit into a column of the legend."""


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
