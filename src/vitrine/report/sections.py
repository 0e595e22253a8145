"""The sections of the report on one run: each function draws its pictures into a folder and says what they show."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrine import plots, projection
from vitrine.datasets import UNLABELLED, Dataset
from vitrine.encoder import Encoder
from vitrine.messages import Words
from vitrine.plots import PLAIN, RIGHT, WRONG, Answered, Tile
from vitrine.projection import Map
from vitrine.report.measured import Measured
from vitrine.report.page import Section, Table, picture
from vitrine.report.runs import Layer, Run

Places = npt.NDArray[np.integer]

FIRST, ITEMS, SHOWN_WRONG, PAIRS, QUERIES = 25, 6, 25, 12, 5
LAYERS = 40
"""A table of more lines is grouped."""

TOP = 10  # classes of an item whose probabilities are shown


@dataclass(frozen=True)
class Maker:
    """What all sections share. folder: where pictures go; seed: chooses the items that are shown."""

    run: Run
    words: Words
    folder: Path
    seed: int

    def part(self, measured: Measured) -> str:
        return self.words.text(f"part.{measured.kind}")

    def titled(self, key: str, measured: Measured) -> str:
        """A section's title with the split that its figures are from, for a picture that stands alone."""
        images = self.words.count(len(measured.asked), "image")
        return f"{self.words.text(key)}: {self.part(measured)}, {images}"

    def names(self, dataset: Dataset) -> Sequence[str]:
        """Of the classes, in the report's language where they are known in it."""
        classes = self.run.encoder.card.classes if self.run.encoder else dataset.class_names
        return classes.get(self.words.language, classes["en"])

    def random(self, places: Places, count: int) -> list[int]:
        """Some of the places, by seed, in order."""
        chosen = np.random.default_rng(self.seed).choice(len(places), min(count, len(places)), replace=False)
        return [int(place) for place in places[np.sort(chosen)]]


def figures(make: Maker, measured: Measured | None, trust: float | None) -> Section:
    words, run = make.words, make.run
    rows: list[tuple[str, str]] = []
    if measured:
        rows += [("accuracy", words.number(measured.accuracy, 4)), ("ece", words.number(measured.ece, 4))]
        if measured.retrieval:
            rows += [
                (key, words.number(getattr(measured.retrieval, key), 4))
                for key in ("precision_at_1", "r_precision", "map_at_r")
            ]
        if measured.pairs and measured.pairs.found:
            found = measured.pairs.found
            rows += [(key, words.number(getattr(found, key) or 0.0, 4)) for key in ("pair_loss", "pair_error")]
    if trust is not None:
        rows.append(("trustworthiness", words.number(trust, 4)))
    if run.parameters is not None:
        rows.append(("parameters", words.whole(run.parameters)))
    if run.history:
        last = run.history[-1]
        rows.append(("epochs", words.whole(len(run.history))))
        rows += [
            (f"last_{kind}", words.number(last[f"{kind}_accuracy"], 4)) for kind in ("train", "validation")
        ]  # fmt: skip
        rows.append(("last_validation_loss", words.number(last["validation_loss"], 4)))
    said = []
    if measured:
        values = {"part": make.part(measured), "images": words.count(len(measured.asked), "image")}
        searched = {"part": words.text("part.train"), "images": words.count(len(measured.gallery), "image")}
        said = [words.text("say.measured", values), words.text("say.searched", searched)]
        if measured.kind == "validation":
            said.append(words.text("say.fitted"))
    return Section(
        "figures",
        words.text("section.figures"),
        said,
        [
            Table(
                [words.text("figure.figure"), words.text("figure.value")],
                [(words.text(f"figure.{key}"), text) for key, text in rows],
            )
        ],
    )


def model(make: Maker) -> Section:
    words, run = make.words, make.run
    shown = grouped(run.layers)
    values = {
        "layers": words.count(len(run.layers), "layer"),
        "parameters": words.count(run.parameters or 0, "parameter"),
    }
    said = [words.text("say.model" if len(shown) == len(run.layers) else "say.model_groups", values)]
    cells = [[layer.name, layer.kind, layer.shape, words.whole(layer.parameters)] for layer in shown]
    total = [words.text("table.total"), "", "", words.whole(run.parameters or 0)]
    head = [words.text(f"table.{key}") for key in ("layer", "kind", "output", "parameters")]
    table = Table(head, [*cells, total], words=3, strong=True)
    return Section("model", words.text("section.model"), said, [table])


def grouped(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The layers themselves, or those of one beginning as one where there are too many for a table."""
    if len(layers) <= LAYERS:
        return layers
    for depth in range(max(layer.name.count(".") for layer in layers) + 1, 0, -1):
        groups: dict[str, list[Layer]] = {}
        for layer in layers:
            groups.setdefault(".".join(layer.name.split(".")[:depth]), []).append(layer)
        if len(groups) <= LAYERS or depth == 1:
            break
    return [
        Layer(
            name,
            ", ".join(dict.fromkeys(layer.kind for layer in found)),
            next((layer.shape for layer in reversed(found) if layer.shape), "") if found[0].kind else "",
            sum(layer.parameters for layer in found),
        )
        for name, found in groups.items()
    ]


def curves(make: Maker) -> Section:
    path, title = make.folder / "curves.png", make.words.text("section.curves")
    plots.curves([make.run.curves(make.run.name)], path, make.words, f"{title}: {make.run.name}")
    return Section("curves", title, pictures=[(make.words.text("say.curves"), picture(path, title))])


def first(make: Maker, train: Dataset) -> Section:
    """The first images of the training part with their names."""
    words, path, names = make.words, make.folder / "first-25.png", make.names(train)
    tiles = [
        Tile(image, names[label] if label != UNLABELLED else "–")
        for image, label in zip(train.images[:FIRST], train.labels[:FIRST], strict=True)
    ]
    title = words.text("section.first")
    plots.grid(tiles, path, 5, f"{title}: {words.text('part.train')}", side=1.4)
    said = words.text("say.first", {"part": words.text("part.train")})
    return Section("first", title, pictures=[(said[:1].upper() + said[1:], picture(path, title))])


def confusion(make: Maker, measured: Measured) -> Section:
    path, title = make.folder / "confusion.png", make.titled("section.confusion", measured)
    plots.confusion(measured.confusion, make.names(measured.asked), path, make.words, title)
    said = make.words.text("say.confusion")
    return Section("confusion", make.words.text("section.confusion"), pictures=[(said, picture(path, title))])


def classes(make: Maker, measured: Measured) -> Section:
    words, path, names = make.words, make.folder / "classes.png", make.names(measured.asked)
    title, found = make.titled("section.classes", measured), measured.per_class
    measures = [(words.text(f"table.{key}"), getattr(found, key)) for key in ("precision", "recall", "f1")]
    plots.per_class(measures, names, path, words, title)
    counts = measured.confusion.sum(axis=1)
    rows = [
        [name, *(words.number(float(values[number]), 4) for _, values in measures), words.whole(int(counts[number]))]
        for number, name in enumerate(names)
    ]
    means = [words.number(_mean(values), 4) for _, values in measures]
    last = [words.text("table.mean"), *means, words.whole(int(counts.sum()))]
    head = [words.text(f"table.{key}") for key in ("class", "precision", "recall", "f1", "images")]
    table = Table(head, [*rows, last], strong=True)
    said = [words.text("say.classes")]
    return Section("classes", words.text("section.classes"), said, [table], [("", picture(path, title))])


def answers(make: Maker, measured: Measured, encoder: Encoder) -> Section:
    """Random items with their probabilities, the answer and the truth."""
    words, path, names = make.words, make.folder / "answers.png", make.names(measured.asked)
    items = []
    for place in make.random(np.arange(len(measured.asked)), ITEMS):
        row, truth = measured.probabilities[place], int(measured.asked.labels[place])
        shown = np.sort(np.argsort(-row, kind="stable")[:TOP]).tolist()
        answer = int(measured.answers[place])
        key, mark = ("title_answer", "✓") if answer == truth else ("title_wrong", "✗")
        title = words.text(f"tile.{key}", {"mark": mark, "name": names[answer], "truth": names[truth]})
        items.append(
            Answered(
                measured.asked.images[place],
                title,
                [names[label] for label in shown],
                [float(row[label]) for label in shown],
                shown.index(answer),
                shown.index(truth) if truth in shown else None,
            )
        )
    title = make.titled("section.answers", measured)
    plots.answers(items, path, words, title)
    values = {
        "seed": str(make.seed),
        "part": make.part(measured),
        "temperature": words.number(encoder.card.temperature, 2),
    }
    said = [words.text("say.answers", values)]
    if len(names) > TOP:
        said.append(words.text("say.answers_top"))
    return Section("answers", words.text("section.answers"), said, pictures=[("", picture(path, title))])


def wrong(make: Maker, measured: Measured) -> Section:
    words, names, places = make.words, make.names(measured.asked), measured.wrong()
    if not len(places):
        return Section("wrong", words.text("section.wrong"), [words.text("say.no_wrong")])
    tiles = []
    for place in places[:SHOWN_WRONG]:
        answer, truth = measured.answers[place], names[measured.asked.labels[place]]
        probability = words.probability(float(measured.probabilities[place].max()))
        caption = f"{names[answer]} {probability}\n{words.text('tile.truth', {'name': truth})}"
        tiles.append(Tile(measured.asked.images[place], caption, WRONG))
    path, title = make.folder / "wrong.png", make.titled("section.wrong", measured)
    plots.grid(tiles, path, 5, title, side=1.5)
    values = {
        "wrong": words.whole(len(places)),
        "images": words.count(len(measured.asked), "image"),
        "share": words.percent(len(places) / len(measured.asked), 2),
    }
    said = words.text("say.wrong", values)
    return Section("wrong", words.text("section.wrong"), pictures=[(said, picture(path, title))])


def pairs(make: Maker, measured: Measured) -> Section:
    """Pairs with the similarity that the model gives them, half of one class."""
    words, names, found = make.words, make.names(measured.asked), measured.pairs
    if found is None:
        raise ValueError("no pairs")
    couples = []
    alike, unlike = np.flatnonzero(found.same), np.flatnonzero(~found.same)
    for number in [*make.random(alike, PAIRS // 2), *make.random(unlike, PAIRS - PAIRS // 2)]:
        places = int(found.left[number]), int(found.right[number])
        same = bool(found.same[number])
        captions = [names[measured.asked.labels[place]] for place in places]
        truth = words.text("tile.same" if same else "tile.different")
        if found.probabilities is None:
            colour, lines = PLAIN, (words.number(1 - float(found.distances[number]) ** 2 / 2, 3), truth)
        else:
            value = float(found.probabilities[number])
            hit = (value > 0.5) == same
            colour, lines = RIGHT if hit else WRONG, (words.probability(value), f"{'✓' if hit else '✗'} {truth}")
        left, right = (
            Tile(measured.asked.images[place], f"{caption}\n{line}", colour)
            for place, caption, line in zip(places, captions, lines, strict=True)
        )
        couples.append((left, right))
    path, title = make.folder / "pairs.png", make.titled("section.pairs", measured)
    plots.pairs(couples, path, title)
    key = "say.pairs" if found.probabilities is not None else "say.pairs_cosine"
    said = words.text(key, {"seed": str(make.seed), "part": make.part(measured)})
    return Section("pairs", words.text("section.pairs"), pictures=[(said, picture(path, title))])


def neighbours(make: Maker, measured: Measured) -> Section:
    """What is nearest to queries whose nearest is right, and to such whose nearest is wrong."""
    words = make.words
    right = measured.gallery.labels[measured.nearest[:, 0]] == measured.asked.labels  # (n,)
    pictures = []
    for kind, places in (("right", np.flatnonzero(right)), ("wrong", np.flatnonzero(~right))):
        if not len(places):
            continue
        path = make.folder / f"neighbours-{kind}.png"
        share = words.percent(len(places) / len(right), 2)
        said = words.text(f"say.neighbours_{kind}", {"share": share})
        plots.neighbours([_row(make, measured, place) for place in make.random(places, QUERIES)], path, said)
        pictures.append(("", picture(path, said)))  # it says so itself
    values = {"asked": make.part(measured), "gallery": words.text("part.train")}
    return Section(
        "neighbours", words.text("section.neighbours"), [words.text("say.neighbours", values)], pictures=pictures
    )


def _row(make: Maker, measured: Measured, place: int) -> tuple[Tile, list[Tile]]:
    names, truth = make.names(measured.asked), measured.asked.labels[place]
    tiles = []
    for near, score in zip(measured.nearest[place], measured.scores[place], strict=True):
        label = measured.gallery.labels[near]
        mark, colour = ("✓", RIGHT) if label == truth else ("✗", WRONG)
        caption = f"{names[label]}\n{mark} {make.words.number(float(score), 3)}"
        tiles.append(Tile(measured.gallery.images[near], caption, colour))
    return Tile(measured.asked.images[place], f"{make.words.text('tile.query')}\n{names[truth]}"), tiles


def mapped(make: Maker, measured: Measured, drawn: Map, trust: float) -> Section:
    words, names = make.words, make.names(measured.asked)
    labels, title = measured.asked.labels, make.titled("section.map", measured)
    whole, single = make.folder / "map.png", make.folder / "map-classes.png"
    plots.scatter(drawn.points, labels, names, whole, title)
    plots.by_class(drawn.points, labels, names, single, title)
    values = {
        "images": words.count(len(labels), "image"),
        "part": make.part(measured),
        "seed": str(projection.SEED),
        "perplexity": words.whole(round(projection.perplexity(len(labels)))),
    }
    said = words.text("say.map", values)
    below = words.text("say.trust", {"value": words.number(trust, 4)})
    pictures = [(said, picture(whole, title)), (below, picture(single, title))]
    return Section("map", words.text("section.map"), pictures=pictures)


def distances(make: Maker, measured: Measured) -> Section:
    words, found = make.words, measured.pairs
    if found is None:
        raise ValueError("no pairs")
    path, title = make.folder / "distances.png", make.titled("section.distances", measured)
    plots.distances(found.distances[found.same], found.distances[~found.same], path, words, title)
    values = {"pairs": words.count(len(found.same), "pair"), "part": make.part(measured)}
    said = words.text("say.distances", values)
    return Section("distances", words.text("section.distances"), pictures=[(said, picture(path, title))])


def reliability(make: Maker, measured: Measured) -> Section:
    words, bins = make.words, measured.bins
    path, title = make.folder / "reliability.png", make.titled("section.reliability", measured)
    plots.reliability(bins.confidence, bins.accuracy, path, words, title)
    said = words.text("say.reliability", {"ece": words.number(measured.ece, 4)})
    return Section("reliability", words.text("section.reliability"), pictures=[(said, picture(path, title))])


def recipe(make: Maker, checked: bool) -> Section:
    """The recipe, the seed, the data and their checksum, the time and the machine."""
    words, run = make.words, make.run
    unknown = words.text("figure.not_known")
    checksum = run.data.get("checksum")
    agrees = words.text("figure.checked" if checked else "figure.unchecked")
    images = run.data.get("images")
    count = f", {words.count(images, 'image')}" if isinstance(images, int) else ""
    machine, a = run.machine, [line["seconds"] for line in run.history]
    versions = ", ".join(f"{key} {machine[key]}" for key in ("vitrine", "torch", "python") if key in machine)
    threads = words.text("figure.threads", {"n": str(machine.get("threads", unknown))})
    place = ", ".join(str(machine[key]) for key in ("name", "device") if key in machine)
    rows = [
        ("recipe", run.name),
        ("seed", unknown if run.seed is None else str(run.seed)),
        ("data", f"{run.data.get('name', unknown)}{count}"),
        ("checksum", f"{checksum} ({agrees})" if checksum else unknown),
        ("time", words.duration(run.seconds) if np.isfinite(run.seconds) else unknown),
        ("an_epoch", words.duration(float(np.mean(a))) if a and np.isfinite(np.mean(a)) else unknown),
        ("machine", f"{place}, {threads}" if machine else unknown),
        ("versions", versions or unknown),
    ]
    facts = Table(
        [words.text("figure.figure"), words.text("figure.value")],
        [(words.text(f"figure.{key}"), text) for key, text in rows],
        words=2,
    )
    settings = Table(
        [words.text("table.part"), words.text("table.settings")],
        [(f"[{key}]", _settings(entries)) for key, entries in run.recipe.items() if isinstance(entries, dict)],
        words=2,
    )
    return Section("recipe", words.text("section.recipe"), tables=[facts, settings])


def _settings(entries: dict[str, object]) -> str:
    """As they stand in a recipe's file."""
    return ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items())


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Over the classes that have a value."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
