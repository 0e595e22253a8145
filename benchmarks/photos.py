"""Everything that is measured on real photos, in one table: right answers, rejection, calibration, searches.

    VITRINE_DATA=... python benchmarks/photos.py [--model PATH ...] [--unseen PATH ...] [--curve N=PATH ...] [--json]

--model names a photo model, again for each seed (default: the shipped `photo`); --unseen one that was trained without
hats, shorts and skirts; --curve one that was trained on N photos only, or a log of such runs. Beside them stand
`default`, the crude cut-out and report B's own pipeline (--report-b PATH, or --train-report-b, a minute), and the mean
of all seeds' answers. Figures are of validation/, which nothing was chosen on; nothing is chosen here.

The first run embeds 70,000 items with each model, which takes minutes; answers are kept in .bench/photos. --sample N
looks at N photos of train/ and N items only: such lines are for a quick look, not for a log. --only looks at some
figures, or at the curve alone, to add it to a log.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import logs
import no_clothing
import photo_baselines
import photo_data
import photo_figures
import photo_table
from photo_baselines import Catalogue
from photo_data import Photos
from vitrine import background, metrics, modelfile
from vitrine.datasets import Dataset, Splits, fashion_mnist
from vitrine.encoder import Encoder, Outputs
from vitrine.errors import VitrineError

Facts = dict[str, Any]


@dataclass(frozen=True)
class Data:
    """What is asked about. items: the catalogue; test: Fashion-MNIST's test images; sample: None for all."""

    train: Photos
    validation: Photos
    items: Dataset
    test: Dataset
    splits: Splits
    sample: int | None

    @classmethod
    def load(cls, sample: int | None) -> "Data":
        splits = fashion_mnist.load()
        train, whole, test = photo_data.load("train"), splits.whole(), splits.test
        items, test = whole[_some(len(whole), sample)], test[_some(len(test), sample)]
        return cls(train[_some(len(train), sample)], photo_data.load("validation"), items, test, splits, sample)


def _some(n: int, sample: int | None) -> "np.ndarray[Any, np.dtype[np.intp]]":
    return np.sort(np.random.default_rng(0).permutation(n)[:sample])


# --- one function a figure: (encoder, data) -> facts


def groups(encoder: Encoder, data: Data) -> Facts:
    """Seven groups, right; and how well the probabilities are calibrated."""
    logits, labels = _seven(encoder, data)
    probabilities = photo_figures.answer_probabilities(logits, encoder.card.temperature)
    return {**photo_figures.seven_groups(logits, labels), **photo_figures.calibration(probabilities, labels)}


def _seven(encoder: Encoder, data: Data) -> tuple[photo_figures.Vectors, photo_figures.Labels]:
    """Logits and labels of the validation photos of the seven groups."""
    labels = data.validation.groups
    logits = photo_data.answers(encoder, "validation", data.validation.paths).logits
    return logits[labels >= 0], labels[labels >= 0]


def rejection(encoder: Encoder, data: Data) -> Facts:
    """Garments of the seven groups against other garments of validation/, and against what is no clothing."""
    return _rejected(encoder, data, np.empty(0))


def rejection_unseen(encoder: Encoder, data: Data) -> Facts:
    """The same of an encoder that was never shown other garments: those of train/ are asked about, too; and apart from
    them, as they were looked at when the score was chosen.
    """
    logits = photo_data.answers(encoder, "train", data.train.paths).logits
    alone = _rejected(encoder, data, np.empty(0))
    found = _rejected(encoder, data, metrics.energy(logits[data.train.groups < 0]))
    return {**found, "others_validation_auroc": alone["others_auroc"]}


def _rejected(encoder: Encoder, data: Data, more: "np.ndarray[Any, np.dtype[np.float64]]") -> Facts:
    """By energy; more: that of other garments beside those of validation/."""
    known = data.validation.groups >= 0
    scores = metrics.energy(photo_data.answers(encoder, "validation", data.validation.paths).logits)
    others = np.concatenate([scores[~known], more])
    drawn = {
        kind: metrics.energy(photo_data.answers(encoder, kind, pictures).logits)
        for kind, pictures in no_clothing.pictures().items()
    }
    none = np.concatenate(list(drawn.values()))
    found: Facts = {
        "others_auroc": _six(metrics.auroc(scores[known], others)),
        "others_n": len(others),
        "no_clothing_auroc": _six(metrics.auroc(scores[known], none)),
        "no_clothing_n": len(none),
        "no_clothing_by": {kind: _six(metrics.auroc(scores[known], each)) for kind, each in drawn.items()},
    }
    if encoder.card.rejection:
        line = encoder.card.rejection.threshold
        found |= {"kept": _six((scores[known] >= line).mean()), "others_refused": _six((others < line).mean())}
        found["no_clothing_refused"] = _six((none < line).mean())
    return found


def photos_in_photos(encoder: Encoder, data: Data) -> Facts:
    """Each validation photo's nearest in train/; and each altered copy's original among all photos."""
    queries = photo_data.answers(encoder, "validation", data.validation.paths).embeddings
    train = photo_data.answers(encoder, "train", data.train.paths).embeddings
    nearest = data.train.folders[photo_figures.first(queries, train, 1)[:, 0]] == data.validation.folders
    count, make = photo_data.copies(data.validation)
    altered = photo_data.made_answers(
        encoder, f"copies {photo_data.told_apart(data.validation.paths)}", count, make
    ).embeddings
    found = photo_figures.first(altered, np.concatenate([queries, train]), 1)[:, 0]
    originals = np.arange(count) // photo_data.COPIES
    return {
        "photos_p_at_1": _six(nearest.mean()),
        "photos_n": len(queries),
        "photos_p_at_1_groups": _six(nearest[data.validation.groups >= 0].mean()),
        "copies_first": _six((found == originals).mean()),
        "copies_n": count,
    }


def look_alikes(encoder: Encoder, data: Data) -> Facts:
    """The first ten of the 70,000 for each validation photo of the seven groups, by this model for both."""
    queries = photo_data.answers(encoder, "validation", data.validation.paths).embeddings
    return _look_alikes(queries, _items(encoder, data).embeddings, data)


def _items(encoder: Encoder, data: Data) -> Outputs:
    items = data.items.images
    return photo_data.made_answers(encoder, f"items {data.items.checksum()}", len(items), lambda i: items[i])


def _look_alikes(queries: photo_figures.Vectors, items: photo_figures.Vectors, data: Data) -> Facts:
    labels = data.validation.groups
    places = photo_figures.first(queries[labels >= 0], items, 10)
    said = photo_figures.ANSWER_OF_CLASS[data.items.labels[places]]
    return photo_figures.shares_of_group(labels[labels >= 0], said)


def fashion_mnist_test(encoder: Encoder, data: Data) -> Facts:
    """The test images, through the model's photo path."""
    images = data.test.images
    found = photo_data.made_answers(encoder, f"test {data.test.checksum()}", len(images), lambda i: images[i])
    return {
        "fashion_mnist_right": _six((found.logits.argmax(axis=1) == data.test.labels).mean()),
        "fashion_mnist_n": len(images),
    }


def new_classes(encoder: Encoder, data: Data) -> Facts:
    """Hats, shorts and skirts, learnt from 5 pictures each."""
    both = (data.train, data.validation)
    vectors = [photo_data.answers(encoder, n, p.paths).embeddings for n, p in zip(PARTS, both, strict=True)]
    known = data.train.groups >= 0
    folders = np.concatenate([photos.folders for photos in both])
    labels = np.full(len(folders), -1)
    for i, name in enumerate(photo_figures.OTHERS):
        labels[folders == name] = i
    others = modelfile.read_background(modelfile.ModelFile(encoder.card, encoder.content))
    if others is None:  # a file of before there were backgrounds
        others = background.sample(vectors[0][known], data.train.groups[known])
    fresh = np.repeat([False, True], [len(photos) for photos in both])
    found = photo_figures.new_classes(others, np.concatenate(vectors), labels, fresh)
    found["new_by"] = dict(zip(photo_figures.OTHERS, found["new_by"], strict=True))
    return {**found, "new_n": int((labels >= 0).sum()), "new_others_n": int((labels < 0).sum())}


DEFAULT, CUT_OUT, REPORT_B = BESIDE = ("default", "crude cut-out, then default", "report B's pipeline")
"""Rows that stand beside a photo model's."""

PARTS = ("train", "validation")
FIGURES: dict[str, Callable[[Encoder, Data], Facts]] = {
    "groups": groups,
    "rejection": rejection,
    "photos": photos_in_photos,
    "fashion-mnist": fashion_mnist_test,
    "look-alikes": look_alikes,
    "new-classes": new_classes,
}
FIGURES_OF_UNSEEN = {**FIGURES, "rejection": rejection_unseen}
CURVE = "curve"
OF_MODEL = ("groups", "rejection", "photos", "fashion-mnist", "look-alikes")
OF_UNSEEN = ("groups", "rejection", "new-classes")


# --- which models, and their lines


def lines(options: argparse.Namespace, data: Data) -> Iterator[Facts]:
    """A line for each model and figure."""
    models = _loaded(options.model or ["photo"], "--model")
    default = Encoder.load("default")
    wanted = set(options.only or (*FIGURES, CURVE))
    others = [encoder for encoder in models if encoder.card.identity != default.card.identity]
    for name, encoder in [*((one.card.name, one) for one in others), (DEFAULT, default)]:
        for figure in (figure for figure in OF_MODEL if figure in wanted):
            yield _line(name, encoder, data, FIGURES[figure](encoder, data))
    for encoder in _loaded(options.unseen or [], "--unseen"):
        _check_unseen(encoder)
        name = encoder.card.name.removesuffix("-unseen") + photo_table.UNSEEN
        for figure in (figure for figure in OF_UNSEEN if figure in wanted):
            yield _line(name, encoder, data, FIGURES_OF_UNSEEN[figure](encoder, data))
    if "look-alikes" in wanted and others:
        yield from _bridged(others, default, data)
    if "groups" in wanted:
        yield from _averaged(others, data)
        yield from _beside(options, default, data)
    if CURVE in wanted:
        for given in options.curve or []:
            yield from _curve(given, data)


def _loaded(paths: list[str], option: str) -> list[Encoder]:
    encoders = [Encoder.load(path) for path in paths]
    if len({(one.card.name, one.card.seed) for one in encoders}) < len(encoders):
        sys.exit(f"Two models of {option} have the same name and seed; give one model file a seed.")
    return encoders


def _check_unseen(encoder: Encoder) -> None:
    """Ends the program where the model's recipe says that it was trained on photos of hats, shorts and skirts."""
    folders = sorted((*photo_figures.GROUPS, *photo_figures.OTHERS))
    needed = {folders.index(name) for name in photo_figures.OTHERS}
    if _of_recipe(encoder, "model", "name") == "photo" and not needed <= set(_of_recipe(encoder, "data", "leave_out")):
        sys.exit(
            f"--unseen {encoder.card.name}, seed {encoder.card.seed}, was shown hats, shorts or skirts; train one with"
            f" --data.leave_out {sorted(needed)}."
        )


def _of_recipe(encoder: Encoder, table: str, key: str) -> Any:
    """What a model's recipe says; an empty tuple where it says nothing."""
    return encoder.card.recipe.get(table, {}).get(key, ())


def _line(name: str, encoder: Encoder, data: Data, facts: Facts) -> Facts:
    about = {"seed": encoder.card.seed, "identity": encoder.card.identity[:8], "sample": data.sample}
    return {"name": name, **about, **facts}


def _bridged(models: list[Encoder], default: Encoder, data: Data) -> Iterator[Facts]:
    """Look-alikes in the catalogue of `default`, with what photo models say of the photo."""
    catalogue = Catalogue(default, _items(default, data).embeddings, data.items.labels)
    for encoder in models:
        for name, bridge in photo_baselines.BRIDGES.items():
            found = _look_alikes(bridge(encoder, catalogue)(data.validation.paths), catalogue.vectors, data)
            yield _line(f"{encoder.card.name}; {name}", encoder, data, found)


def _averaged(models: list[Encoder], data: Data) -> Iterator[Facts]:
    """Seven groups by the mean of the probabilities of all seeds of a model, where there are several."""
    for name in dict.fromkeys(encoder.card.name for encoder in models):
        seeds = [encoder for encoder in models if encoder.card.name == name]
        if len(seeds) > 1:
            answers = [metrics.softmax(_seven(encoder, data)[0], encoder.card.temperature) for encoder in seeds]
            found = photo_figures.seven_groups(np.mean(answers, axis=0), _seven(seeds[0], data)[1])
            yield _line(f"{name}, {len(seeds)} seeds' answers averaged", seeds[0], data, found)


def _beside(options: argparse.Namespace, default: Encoder, data: Data) -> Iterator[Facts]:
    """The crude cut-out with `default`, and report B's pipeline."""
    labels = data.validation.groups
    photos = [path for path, label in zip(data.validation.paths, labels, strict=True) if label >= 0]
    rows = [(CUT_OUT, default, photo_baselines.cut_out)]
    path = options.report_b
    if path is None and options.train_report_b:
        path = photo_baselines.trained_report_b(data.splits.train, photo_data.KEPT.parent / "report-b-mlp")
    if path is not None:
        rows.append((REPORT_B, Encoder.load(path), photo_baselines.report_b))
    for name, encoder, look in rows:
        found = photo_baselines.see(encoder, look, photos)
        yield _line(name, encoder, data, photo_figures.seven_groups(found.logits, labels[labels >= 0]))


def _curve(given: str, data: Data) -> Iterator[Facts]:
    """N=PATH of a model file, or of a log whose lines have `groups_right`."""
    count, _, path = given.partition("=")
    if not count.isdecimal() or not path:
        sys.exit(f"--curve wants N=PATH, as in --curve 800=runs/photo-800/model.onnx; this is {given!r}.")
    facts: list[Facts]
    if path.endswith(".jsonl"):
        facts = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        facts = [line for line in facts if "groups_right" in line and line["name"] not in BESIDE]
    else:
        encoder = Encoder.load(path)
        limit = _of_recipe(encoder, "data", "limit")
        if limit and limit != int(count):
            sys.exit(f"--curve {given}: this model was trained with data.limit {limit}; say {limit}={path}.")
        facts = [_line(encoder.card.name, encoder, data, groups(encoder, data))]
    for line in facts:
        about = {key: line[key] for key in ("seed", "identity", "sample")}
        yield {"name": f"{count} photos", **about, "photos": int(count), "curve_right": line["groups_right"]}


def _six(value: float) -> float:
    return round(float(value), 6)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", metavar="PATH", help="a photo model, by name or path; repeatable")
    parser.add_argument("--unseen", action="append", metavar="PATH", help="one never shown hats, shorts and skirts")
    parser.add_argument("--curve", action="append", metavar="N=PATH", help="one trained on N photos, or a log of such")
    parser.add_argument("--report-b", metavar="PATH", help="a model file of the recipe report-b-mlp")
    parser.add_argument("--train-report-b", action="store_true", help="train it where none is named")
    parser.add_argument("--only", action="append", choices=[*FIGURES, CURVE], help="some figures only; repeatable")
    parser.add_argument("--sample", type=int, metavar="N", help="N photos of train/ and N items only: a quick look")
    parser.add_argument("--json", action="store_true", help="lines of JSON, for results/photos.jsonl")
    options = parser.parse_args()
    if options.sample is not None and options.sample < 1:
        parser.error(f"--sample is {options.sample}; it must be at least 1")
    return options


def main() -> None:
    options = _options()
    found = []
    try:
        for line in lines(options, Data.load(options.sample)):
            found.append(line)
            if options.json:
                print(json.dumps(line), flush=True)
        if not options.json:
            print(photo_table.text(found))
    except (VitrineError, logs.LogError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
