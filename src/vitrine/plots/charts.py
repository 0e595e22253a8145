"""Charts: curves over epochs, confusion matrix, measures of classes, a histogram, reliability.

Colours are those of Okabe and Ito, told apart by the colour-blind; what matters is also told by marker, dash or hatch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

from vitrine import storage
from vitrine.messages import Words
from vitrine.plots.tiles import DPI, PLAIN, RIGHT, WRONG, any_script, shortened, shown

Floats = npt.NDArray[np.floating]
Counts = npt.NDArray[np.int64]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#7f7f7f", "#6a3d9a", "#8c6d1f")
"""Okabe and Ito's but for the yellow, which is too pale on white, with grey, violet and ochre."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")

TEXT, SMALL = 10, 9  # points
WIDE = 8.3  # inches: 996 pixels
NUMBERED = 25  # a confusion matrix of more classes has no numbers in it


@dataclass(frozen=True)
class Curves:
    """A run over its epochs; all (epochs,), nan where nothing is known. name: of the run, where there are several."""

    name: str
    epochs: Counts
    train_loss: Floats
    validation_loss: Floats
    train_accuracy: Floats
    validation_accuracy: Floats


def curves(runs: Sequence[Curves], path: Path, words: Words, title: str) -> None:
    """Loss and accuracy, training dashed, validation solid; a colour for each run where there are several. Raises
    StorageError.
    """
    lines = -(-len(runs) // 2) if len(runs) > 1 else 0
    figure = _figure(3.9 + 0.22 * lines, title)
    for axes, part in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for number, run in enumerate(runs):
            _curve(axes, run, part, number, len(runs) > 1, words)
        _style(axes, words, words.text("plot.epoch"), words.text(f"plot.{part}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#e6e6e6")
        if len(runs) == 1:
            axes.legend(fontsize=SMALL, frameon=False)
    if len(runs) > 1:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=SMALL, frameon=False)
    _save(figure, path)


def _curve(axes: Axes, run: Curves, part: str, number: int, named: bool, words: Words) -> None:
    for kind, dash in (("train", "--"), ("validation", "-")):
        colour = COLOURS[(number if named else kind == "validation") % len(COLOURS)]
        label = words.text(f"plot.{kind}")
        axes.plot(
            run.epochs,
            getattr(run, f"{kind}_{part}"),
            dash,
            color=colour,
            marker=MARKERS[(number if named else kind == "validation") % len(MARKERS)],
            markersize=4,
            markevery=max(1, len(run.epochs) // 15),
            linewidth=1.5 if kind == "validation" else 1.1,
            label=shown(f"{shortened(run.name, 2.4, SMALL)}: {label}" if named else label),
        )


def confusion(matrix: Counts, names: Sequence[str], path: Path, words: Words, title: str) -> None:
    """Row: true class, column: answer (classes, classes); the shade is the share of the row. Raises StorageError."""
    classes = len(names)
    size = 0.54 * classes
    figure = _figure(min(7.4, 2.3 + size), title, min(WIDE, max(6.2, 3.2 + size)))
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=FuncFormatter(lambda share, _: words.percent(share, 0)))
    bar.set_label(words.text("plot.row_share"), fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    letters = SMALL if classes <= NUMBERED else max(4.0, 225 / classes)
    short = [shortened(name, 1.3, letters) for name in names]
    axes.set_xticks(range(classes), short, rotation=45, ha="right", rotation_mode="anchor", fontsize=letters)
    axes.set_yticks(range(classes), short, fontsize=letters)
    axes.set_xlabel(words.text("plot.answer"), fontsize=TEXT)
    axes.set_ylabel(words.text("plot.truth"), fontsize=TEXT)
    _no_formulas(axes)
    if classes <= NUMBERED:
        digits = SMALL if classes <= 12 else 7
        for row, column in np.ndindex(classes, classes):
            if matrix[row, column]:
                colour = "white" if shares[row, column] > 0.55 else PLAIN
                text = words.whole(int(matrix[row, column]))
                axes.text(column, row, text, ha="center", va="center", fontsize=digits, color=colour)
    _save(figure, path)


def per_class(
    measures: Sequence[tuple[str, Floats]], names: Sequence[str], path: Path, words: Words, title: str
) -> None:
    """Up to three measures (classes,) of each class, each with its name, as marks on a line. Raises StorageError."""
    figure = _figure(1.5 + 0.3 * len(names), title)
    axes = figure.subplots()
    places = np.arange(len(names))
    for number, (label, values) in enumerate(measures):
        offset = (number - (len(measures) - 1) / 2) * 0.22
        mark, colour = MARKERS[number], COLOURS[number]
        axes.scatter(values, places + offset, s=34, label=label, zorder=3, marker=mark, color=colour)
    lowest = min((float(np.nanmin(values)) for _, values in measures if np.isfinite(values).any()), default=0.0)
    axes.set_xlim(max(0.0, np.floor(lowest * 10 - 0.5) / 10), 1.005)
    axes.set_ylim(len(names) - 0.5, -0.5)
    _style(axes, words, "", "")
    axes.set_yticks(places, [shortened(name, 2.0, SMALL) for name in names], fontsize=SMALL)
    _no_formulas(axes)
    axes.hlines(places[:-1] + 0.5, 0, 1.005, color="#e6e6e6", linewidth=0.8)
    axes.grid(axis="x", color="#e6e6e6")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    _save(figure, path)


def distances(same: Floats, different: Floats, path: Path, words: Words, title: str) -> None:
    """How far apart the two of a pair are, of one class (n,) and of two (m,): share of the pairs. Raises
    StorageError.
    """
    figure = _figure(3.8, title)
    axes = figure.subplots()
    edges = np.linspace(0, max(float(same.max(initial=0)), float(different.max(initial=0)), 1e-6), 61)
    for values, colour, key, hatch in ((same, RIGHT, "same", None), (different, WRONG, "different", "////")):
        weights = np.full(len(values), 100 / max(1, len(values)))
        label = words.text(f"plot.{key}_pairs", {"pairs": words.count(len(values), "pair")})
        axes.hist(
            values, edges.tolist(), weights=weights, histtype="stepfilled", facecolor=f"{colour}40", edgecolor=colour,
            linewidth=1.5, hatch=hatch, hatch_linewidth=0.4, label=label,
        )  # fmt: skip
    _style(axes, words, words.text("plot.distance"), words.text("plot.pair_share"))
    axes.set_xlim(0, edges[-1])
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=SMALL, frameon=False)
    _save(figure, path)


def reliability(confidence: Floats, accuracy: Floats, path: Path, words: Words, title: str) -> None:
    """Mean probability of the answer, and share of right answers, of each bin (bins,). Raises StorageError."""
    figure = _figure(5.0, title, 7.0)
    axes = figure.subplots()
    axes.set_anchor("W")
    axes.plot([0, 1], [0, 1], "--", color="#7f7f7f", linewidth=1.1, label=words.text("plot.perfect"))
    axes.vlines(confidence, confidence, accuracy, color=WRONG, linewidth=2, label=words.text("plot.gap"))
    axes.plot(confidence, accuracy, "o-", color=RIGHT, markersize=5, linewidth=1.2, label=words.text("plot.bins"))
    _style(axes, words, words.text("plot.confidence"), words.text("plot.right_share"))
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), aspect="equal")
    axes.grid(color="#e6e6e6")
    axes.legend(fontsize=SMALL, frameon=False, loc="upper left")
    _save(figure, path)


class _Numbers(ScalarFormatter):
    """The numbers of an axis, all with as many decimals, as the language writes them."""

    def __init__(self, words: Words) -> None:
        super().__init__(useOffset=False)
        self._words = words

    def __call__(self, value: float, pos: int | None = None) -> str:
        text = super().__call__(value, pos)
        return text.replace(".", ",") if self._words.language != "en" else text


def _figure(height: float, title: str, width: float = WIDE) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("constrained", h_pad=0.09, w_pad=0.09)
    line = shortened(title, width - 0.3, 11, bold=True)
    figure.suptitle(line, x=0.16 / width, ha="left", fontsize=11, fontweight="bold", color=PLAIN, parse_math=False)
    return figure


def _style(axes: Axes, words: Words, across: str, up: str) -> None:
    """Labels, and numbers as the language writes them."""
    axes.set_xlabel(across, fontsize=TEXT)
    axes.set_ylabel(up, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_Numbers(words))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)


def _no_formulas(axes: Axes) -> None:
    """A class may be called $x$."""
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)


def _save(figure: Figure, path: Path) -> None:
    with storage.writing(path) as part, any_script():
        figure.savefig(part, format="png", facecolor="white")
