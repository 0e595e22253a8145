"""The sections of the report on several runs, side by side."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrine import plots
from vitrine.messages import Words
from vitrine.report.measured import Measured
from vitrine.report.page import Section, Table, picture
from vitrine.report.runs import Run


@dataclass(frozen=True)
class Row:
    """A run of the comparison. measured: None where it could not be; notes: why, and what else is missing."""

    run: Run
    measured: Measured | None
    notes: tuple[str, ...]


FIGURES: dict[str, tuple[Callable[[Row], float | None], int]] = {
    "accuracy": (lambda row: row.measured.accuracy if row.measured else None, 4),
    "ece": (lambda row: row.measured.ece if row.measured else None, 4),
    "precision_at_1": (lambda row: _retrieved(row, "precision_at_1"), 4),
    "r_precision": (lambda row: _retrieved(row, "r_precision"), 4),
    "map_at_r": (lambda row: _retrieved(row, "map_at_r"), 4),
    "pair_loss": (lambda row: _paired(row, "pair_loss"), 4),
    "pair_error": (lambda row: _paired(row, "pair_error"), 4),
    "last_validation": (lambda row: row.run.history[-1]["validation_accuracy"] if row.run.history else None, 4),
    "last_validation_loss": (lambda row: row.run.history[-1]["validation_loss"] if row.run.history else None, 4),
    "last_train": (lambda row: row.run.history[-1]["train_accuracy"] if row.run.history else None, 4),
    "parameters": (lambda row: None if row.run.parameters is None else float(row.run.parameters), 0),
    "epochs": (lambda row: float(len(row.run.history)), 0),
}
"""Key of a figure to how it is had of a run, and its decimals."""


def sections(rows: Sequence[Row], words: Words, folder: Path) -> tuple[list[Section], list[str]]:
    """The sections, and the notes of all runs, each with its run's name. The picture goes into the folder."""
    names = _names([row.run for row in rows])
    notes = [f"{name}: {note}" for name, row in zip(names, rows, strict=True) for note in row.notes]
    if len({row.run.data.get("checksum") for row in rows}) > 1:
        notes.insert(0, words.text("say.comparison_data"))
    parts = [_figures(rows, names, words)]
    means = _means(rows, words)
    parts += [means] if means else []
    parts += [_curves(rows, names, words, folder)] if any(row.run.history for row in rows) else []
    parts += [_classes(rows, names, words)] if any(row.measured for row in rows) else []
    return [*parts, _runs(rows, names, words)], notes


def _figures(rows: Sequence[Row], names: Sequence[str], words: Words) -> Section:
    """A line a figure, a column a run."""
    unknown = "–"
    lines = [[words.text("figure.measured_on"), *(_measured_on(row, words) for row in rows)]]
    for key, (value, decimals) in FIGURES.items():
        found = [value(row) for row in rows]
        if any(each is not None for each in found):
            cells = [unknown if each is None else _written(each, decimals, words) for each in found]
            lines.append([words.text(f"figure.{key}"), *cells])
    seconds = [row.run.seconds for row in rows]
    lines.append(
        [words.text("figure.time"), *(words.duration(each) if np.isfinite(each) else unknown for each in seconds)]
    )
    table = Table([words.text("figure.figure"), *names], lines)
    return Section("figures", words.text("section.figures"), tables=[table])


def _means(rows: Sequence[Row], words: Words) -> Section | None:
    """Mean and spread of the runs that differ in nothing but the seed; None where there are no two such."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_without_seed(row), []).append(row)
    several = [group for group in groups.values() if len({row.run.seed for row in group}) > 1]
    if not several:
        return None
    lines = []
    heads = [f"{group[0].run.name} ({words.count(len(group), 'run')})" for group in several]
    seeds = [", ".join(sorted(str(row.run.seed) for row in group)) for group in several]
    lines.append([words.text("figure.seeds"), *seeds])
    for key, (value, decimals) in FIGURES.items():
        if not decimals:
            continue
        cells = []
        for group in several:
            found = [each for row in group if (each := value(row)) is not None and np.isfinite(each)]
            whole = len(found) == len(group)
            cells.append(words.spread(float(np.mean(found)), float(np.std(found, ddof=1)), 4) if whole else "–")
        if any(cell != "–" for cell in cells):
            lines.append([words.text(f"figure.{key}"), *cells])
    table = Table([words.text("figure.figure"), *heads], lines)
    return Section("means", words.text("section.means"), [words.text("say.means")], [table])


def _curves(rows: Sequence[Row], names: Sequence[str], words: Words, folder: Path) -> Section:
    path, title = folder / "curves.png", words.text("section.curves")
    shown = [row.run.curves(name) for row, name in zip(rows, names, strict=True) if row.run.history]
    plots.curves(shown, path, words, title)
    return Section("curves", title, pictures=[(words.text("say.comparison_curves"), picture(path, title))])


def _classes(rows: Sequence[Row], names: Sequence[str], words: Words) -> Section:
    """F1 of each class; a table for all runs with the same classes, in the first one's order."""
    lines: dict[str, list[str]] = {}
    shown = [(name, row.run, row.measured) for name, row in zip(names, rows, strict=True) if row.measured]
    for place, (_, run, found) in enumerate(shown):
        classes = run.encoder.card.classes if run.encoder else found.asked.class_names
        for label, value in zip(classes.get(words.language, classes["en"]), found.per_class.f1, strict=True):
            lines.setdefault(label, ["–"] * len(shown))[place] = words.number(float(value), 4)
    head = [words.text("table.class"), *(f"{words.text('table.f1')}: {name}" for name, _, _ in shown)]
    table = Table(head, [[label, *cells] for label, cells in lines.items()])
    return Section("classes", words.text("section.f1"), tables=[table])


def _runs(rows: Sequence[Row], names: Sequence[str], words: Words) -> Section:
    """What each run is: folder, recipe, seed, data."""
    head = [words.text(f"figure.{key}") for key in ("run", "folder", "recipe", "seed", "data", "checksum")]
    unknown = words.text("figure.not_known")
    lines = [
        [
            name,
            str(row.run.folder),
            row.run.name,
            unknown if row.run.seed is None else str(row.run.seed),
            str(row.run.data.get("name", unknown)),
            str(row.run.data.get("checksum", unknown))[:12],
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    return Section("runs", words.text("section.runs"), tables=[Table(head, lines, words=len(head))])


def _names(runs: Sequence[Run]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart; a number behind what is named twice."""
    paths = [run.folder.resolve().parts for run in runs]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(set(paths)):
            break
    return [
        name if names.count(name) == 1 else f"{name} ({names[:place].count(name) + 1})"
        for place, name in enumerate(names)
    ]  # fmt: skip


def _without_seed(row: Row) -> str:
    """What a run's figures depend on but for the seed. Runs without a recipe stand alone."""
    recipe = {key: value for key, value in row.run.recipe.items() if key != "training"}
    training = row.run.recipe.get("training")
    rest = {key: value for key, value in training.items() if key != "seed"} if isinstance(training, dict) else {}
    own = "" if row.run.recipe else str(row.run.folder)
    epochs = len(row.run.history)  # an interrupted one is no repetition of a whole one
    return json.dumps([recipe, rest, row.run.data.get("checksum"), epochs, own], sort_keys=True)


def _measured_on(row: Row, words: Words) -> str:
    if row.measured is None:
        return "–"
    part = words.text(f"part.{row.measured.kind}")
    return f"{part}, {words.count(len(row.measured.asked), 'image')}"


def _written(value: float, decimals: int, words: Words) -> str:
    return words.number(value, decimals) if decimals else words.whole(int(value))


def _retrieved(row: Row, key: str) -> float | None:
    return getattr(row.measured.retrieval, key) if row.measured and row.measured.retrieval else None


def _paired(row: Row, key: str) -> float | None:
    found = row.measured.pairs.found if row.measured and row.measured.pairs else None
    return getattr(found, key) if found else None
