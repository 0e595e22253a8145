"""The lines that photos.py prints, as tables: for the terminal and for docs/photos.md.

A line is {"name": row, "seed": ..., "sample": ..., and figures}; a figure's mean is over the seeds of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import logs
import photo_figures

Line = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A figure and what issue 7 asks of it. row: `photo`, or `unseen` for an encoder that was never shown hats, shorts
    and skirts. at_most: whether lower is better.
    """

    key: str
    title: str
    value: float
    row: str = "photo"
    at_most: bool = False


ASKED = (
    Asked("groups_right", "seven groups, right", 0.92),
    Asked("others_auroc", "rejection of hats, shorts and skirts, AUROC", 0.95),
    Asked("others_auroc", "the same, of an encoder never shown them", 0.85, row="unseen"),
    Asked("no_clothing_auroc", "rejection of what is no clothing, AUROC", 0.98),
    Asked("ece", "expected calibration error", 0.05, at_most=True),
    Asked("photos_p_at_1", "photo in photos, P@1 by class", 0.85),
    Asked("copies_first", "a photo's altered copy finds it first", 0.97),
    Asked("look_alikes", "photo in Fashion-MNIST, ten look-alikes of its group", 0.85),
    Asked("new_recall", "a new class from 5 pictures, recall", 0.75, row="unseen"),
    Asked("new_precision", "a new class from 5 pictures, precision", 0.75, row="unseen"),
    Asked("fashion_mnist_right", "Fashion-MNIST's test images, right", 0.92),
)

UNSEEN = ", never shown hats, shorts and skirts"
"""How the row of such an encoder ends."""

BESIDE = {
    "others_validation_auroc": "rejection of hats, shorts and skirts of validation/ alone, AUROC",
    "kept": "garments kept at the model's threshold",
    "others_refused": "hats, shorts and skirts refused there",
    "no_clothing_refused": "what is no clothing refused there",
    "ece_perfect": "expected calibration error of a perfect model at this n",
    "ece_perfect_95": "what 95 of 100 such models stay below",
    "photos_p_at_1_groups": "photo in photos, P@1 by class, queries of the seven groups",
    "new_precision_fresh": "a new class from 5 pictures, precision among photos that nothing was learnt from",
    "together_recall": "three new classes at once, recall",
    "together_precision": "three new classes at once, precision",
}
"""Figures that nothing is asked of."""


def values(lines: Sequence[Line], name: str, key: str) -> dict[int, float]:
    """Seed to figure. Raises LogError where two lines contradict each other."""
    found: dict[int, float] = {}
    for line in lines:
        if line.get("name") != name or line.get(key) is None:
            continue
        if abs(found.setdefault(line["seed"], line[key]) - line[key]) > logs.ROUNDING:
            raise logs.LogError(
                f"Two lines differ on {key} of {name}, seed {line['seed']}: {found[line['seed']]} and {line[key]};"
                " keep the one that is right."
            )
    return dict(sorted(found.items()))


def names(lines: Sequence[Line], key: str) -> list[str]:
    """The rows that have a figure, in the order of the lines."""
    return list(dict.fromkeys(line["name"] for line in lines if line.get(key) is not None))


def asked_of(lines: Sequence[Line], asked: Asked) -> list[str]:
    """The rows that have the figure and are of the kind that is asked."""
    return [name for name in names(lines, asked.key) if name.endswith(UNSEEN) == (asked.row == "unseen")]


def reached(asked: Asked, found: dict[int, float]) -> bool:
    """Whether the mean is what is asked for."""
    mean = sum(found.values()) / len(found)
    return mean <= asked.value if asked.at_most else mean >= asked.value


def count(lines: Sequence[Line], name: str, key: str) -> int:
    """Of how many photos, items or pictures a figure of a row is."""
    counts = [line[key] for line in lines if line.get("name") == name and key in line]
    return int(counts[0]) if counts else 0


COUNTS = {
    "groups_right": "groups_n",
    "ece": "groups_n",
    "others_auroc": "others_n",
    "no_clothing_auroc": "no_clothing_n",
    "photos_p_at_1": "photos_n",
    "photos_p_at_1_groups": "groups_n",
    "copies_first": "copies_n",
    "look_alikes": "look_alikes_n",
    "new_recall": "new_n",
    "new_precision": "new_n",
    "fashion_mnist_right": "fashion_mnist_n",
}
"""Figure -> the key of how many it is of."""


def text(lines: Sequence[Line]) -> str:
    """All of it for a terminal."""
    rows = []
    for asked in ASKED:
        found = asked_of(lines, asked)
        if found:
            rows.append(f"{asked.title}: asked {'at most' if asked.at_most else 'at least'} {asked.value}")
        for name in found:
            figures = values(lines, name, asked.key)
            n = count(lines, name, COUNTS[asked.key])
            met = "reached" if reached(asked, figures) else "not reached"
            rows.append(f"    {name:58} {logs.shown(figures):16} {_seeds(figures)}, n {n:,}  {met}")
    for key, title in BESIDE.items():
        named = names(lines, key)
        rows += [f"{title}:"] if named else []
        rows += [f"    {name:58} {logs.shown(values(lines, name, key))}" for name in named]
    return "\n".join([*rows, *_groups(lines), *_curve(lines)])


def _seeds(found: dict[int, float]) -> str:
    return f"{len(found)} seed{'s' if len(found) > 1 else ''}"


def by_group(lines: Sequence[Line], name: str) -> dict[str, dict[str, Any]]:
    """Group -> right: seed to share; n, low, high: of the first seed, its 95 % interval."""
    of = [line for line in lines if line.get("name") == name and "groups" in line]
    first = min(of, key=lambda line: int(line["seed"]))
    return {
        group: {**first["groups"][group], "right": {line["seed"]: line["groups"][group]["right"] for line in of}}
        for group in photo_figures.GROUPS
    }


def _groups(lines: Sequence[Line]) -> list[str]:
    rows = []
    for name in names(lines, "groups"):
        rows.append(f"{name}: right by group, 95 % interval of one seed")
        for group, found in by_group(lines, name).items():
            interval = f"{found['low']:.2f} to {found['high']:.2f}"
            rows.append(f"    {group:12} {logs.shown(found['right']):16} n {found['n']:<4} {interval}")
    return rows


def curve(lines: Sequence[Line]) -> dict[int, dict[int, float]]:
    """Number of photos -> seed to share of right answers in the seven groups. Raises LogError as `values`."""
    named = {line["photos"]: line["name"] for line in lines if "photos" in line}
    return {photos: values(lines, name, "curve_right") for photos, name in sorted(named.items())}


def _curve(lines: Sequence[Line]) -> list[str]:
    found = curve(lines)
    rows = [f"    {photos:6,} photos  {logs.shown(right)}" for photos, right in found.items()]
    return ["seven groups, right, by the number of photos to train on", *rows] if rows else []
