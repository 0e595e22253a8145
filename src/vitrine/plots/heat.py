"""Where a model looked, beside the photo."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vitrine import storage
from vitrine.plots.tiles import CAPTION, DPI, PLAIN, Pixels, Tile, any_script, draw_tile, draw_title, shortened

_SIDE, _GAP, _FOOT, _HEAD = 2.5, 0.12, 0.6, 0.5  # inches


def heat(tiles: Sequence[Tile], scale: Pixels, ends: tuple[str, str], path: Path, title: str) -> None:
    """Tiles side by side, large, and under them the colours (n, 3) of the heat, from the least to the most. ends: what
    is said at their two ends. Raises StorageError.
    """
    width, height = len(tiles) * (_SIDE + _GAP) + 0.2, _HEAD + _SIDE + _FOOT
    figure = Figure(figsize=(width, height), dpi=DPI)
    for number, tile in enumerate(tiles):
        left = 0.16 + number * (_SIDE + _GAP)
        axes = figure.add_axes((left / width, _FOOT / height, _SIDE / width, _SIDE / height))
        draw_tile(axes, tile.image)
        caption = "\n".join(shortened(line, _SIDE) for line in tile.caption.split("\n"))
        axes.set_xlabel(caption, fontsize=CAPTION, color=tile.colour, labelpad=3, parse_math=False)
    long, foot = 1.6, 0.16  # inches
    middle = width / 2
    bar = figure.add_axes(((middle - long / 2) / width, foot / height, long / width, 0.09 / height))
    bar.imshow(scale[None], aspect="auto")
    bar.set_axis_off()
    for at, side, text in ((middle - long / 2 - 0.08, "right", ends[0]), (middle + long / 2 + 0.08, "left", ends[1])):
        level = (foot + 0.045) / height
        figure.text(
            at / width, level, text, fontsize=CAPTION, ha=side, va="center_baseline", color=PLAIN, parse_math=False
        )
    draw_title(figure, title)
    with storage.writing(path) as part, any_script():
        figure.savefig(part, format="png", facecolor="white")
