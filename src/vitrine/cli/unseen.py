"""vitrine evaluate RECIPE --protocol unseen-classes: three trainings, each without three classes, and the retrieval of
those.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitrine.cli import output, train, watching
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.datasets import Splits
    from vitrine.encoder import Encoder
    from vitrine.evaluation import Evaluation, Subject
    from vitrine.training.recipe import Recipe

SPLITS = ((0, 2, 4), (5, 7, 9), (3, 6, 8))
"""Tops that look alike, shoes, and three that have little in common."""

RUNS = Path("runs/unseen-classes")


@dataclass(frozen=True)
class Row:
    """model: what was measured, in words. classes: those that training left out; empty for the mean over the splits."""

    model: str
    data: str
    classes: tuple[int, ...]
    found: "Evaluation"


def names_a_recipe(model: str) -> bool:
    """Whether the user means a recipe, to be trained, and not a model file."""
    from vitrine.training import recipe as recipes

    return model.endswith(".toml") or model in recipes.names()


def rows(
    name: str, changes: dict[str, str], baselines: bool, out: Path, data_dir: Path | None
) -> "Iterator[list[Row]]":
    """Train, or take up what `out` holds, and measure; a list for each split, and one of the means. changes: keys of
    the recipe that have another value.

    With baselines, raw pixels and the same recipe trained by cross-entropy alone, on the features of its classifier,
    stand beside the recipe's model. Raises InputError for a recipe or data that do not allow the protocol.
    """
    from vitrine import evaluation, images
    from vitrine.datasets import by_name
    from vitrine.training import recipe as recipes

    output.check_extra("vitrine.training.loop", "train", "Training needs")
    wanted = recipes.load(name, changes)
    _check(wanted)
    kinds = _kinds(name, changes, baselines)
    look = train.look(wanted)
    with output.stage(f"Load {wanted.data.name}") as progress:
        splits = by_name.load(wanted.data.name, data_dir, look, progress).splits
    if len(splits.test.class_names["en"]) < 10 or not len(splits.test):
        raise InputError(
            f"unseen-classes by a recipe needs ten classes and a test part, as Fashion-MNIST has; {splits.train.name}"
            f" has {len(splits.train.class_names['en'])} classes and {len(splits.test)} test images."
        )
    size, middle = wanted.data.size, wanted.data.middle  # training may keep the images larger
    seen = replace(look, height=size, width=size, middle=middle)
    test = replace(splits.test, images=images.resize(splits.test.images, seen))
    whole: list[list[Row]] = []
    for classes in SPLITS:
        left_out = {"data.leave_out": str(list(classes))}
        subjects: list[tuple[str, Subject]] = [
            (kind, _trained(recipes.load(name, overrides | left_out), out, splits)) for kind, overrides in kinds.items()
        ]
        if baselines:
            subjects.append(("raw pixels", evaluation.RawPixels()))
        whole.append(
            [
                Row(kind, splits.test.name, classes, evaluation.unseen_classes(subject, test, classes))
                for kind, subject in subjects
            ]
        )
        yield whole[-1]
    yield [_mean(list(of_one)) for of_one in zip(*whole, strict=True)]


def _check(recipe: "Recipe") -> None:
    """Raises InputError for a recipe that may know the classes that are left out, or names no data."""
    model, data = recipe.model, recipe.data
    if model.start or model.weights or data.leave_out or data.beside:
        raise InputError(
            f"The recipe {recipe.name} has model.start, model.weights, data.leave_out or data.beside; unseen-classes"
            " leaves out classes itself, and what was learnt elsewhere, or is learnt beside, may know them."
        )
    if not data.name:
        raise InputError(
            f"The recipe {recipe.name} names no data; unseen-classes by a recipe needs ten classes and a test part:"
            " --set data.name=fashion-mnist."
        )


def _kinds(name: str, changes: dict[str, str], baselines: bool) -> dict[str, dict[str, str]]:
    """What is trained, in words, with what changes the recipe for that."""
    from vitrine.training import recipe as recipes

    wanted, kinds = recipes.load(name, changes), {name: changes}
    if not baselines or wanted.model.name == "photo":  # which learns by cross-entropy alone
        return kinds
    alone = {"loss.metric": "none", "loss.cross_entropy": "1.0", "loss.positives": "class"}
    alone |= {"model.looks": "0", "model.shape_channels": "0", "training.views": "1", "loss.second_view": "0"}
    if wanted.model.looks:  # then what comes before the classifier was not made to be compared
        alone["model.embedding"] = "128"
    if wanted != recipes.load(name, changes | alone):
        kinds[f"{name}, cross-entropy alone"] = changes | alone
    return kinds


def _trained(recipe: "Recipe", out: Path, splits: "Splits") -> "Encoder":
    """The model of a finished run, of one that is gone on with, or of a new one."""
    from vitrine.encoder import Encoder
    from vitrine.training import checkpoints, loop

    kind = "" if recipe.loss.metric == "none" else f"-{recipe.loss.metric}"
    without = "-".join(map(str, recipe.data.leave_out))
    recipe = replace(recipe, name=f"{recipe.name}{kind}-without-{without}")
    run = out / f"{recipe.name}-seed-{recipe.training.seed}"
    if kept := _kept(recipe, run / loop.MODEL_FILE, splits):
        output.say(f"Keep {run}, which is finished")
        return kept
    resume = checkpoints.exists(run)
    output.say(f"{'Take up' if resume else 'Train'} {run} ({recipe.training.epochs} epochs)")
    result = watching.stoppable(
        lambda watch: loop.train(recipe, splits.train, run, resume=resume, watch=watch),
        watching.Started((), run=run, again="the same command"),
        as_json=False,
    )
    return Encoder.load(result.model)


def _kept(recipe: "Recipe", file: Path, splits: "Splits") -> "Encoder | None":
    """The model that is there, if it was made by this very recipe of these very data."""
    from vitrine.encoder import Encoder

    if not file.exists():
        return None
    found = Encoder.load(file)
    same = found.card.recipe == json.loads(json.dumps(recipe.to_json()))
    return found if same and found.card.data.get("checksum") == splits.train.checksum() else None


def _mean(of_one: list[Row]) -> Row:
    """The mean over the splits, of one kind of model."""
    from vitrine.evaluation import Evaluation

    def mean(key: str) -> float:
        return sum(float(getattr(row.found, key)) for row in of_one) / len(of_one)

    found = Evaluation(
        protocol="unseen-classes",
        precision_at_1=mean("precision_at_1"),
        r_precision=mean("r_precision"),
        map_at_r=mean("map_at_r"),
        map_at_100=mean("map_at_100"),
        n=sum(row.found.n for row in of_one),
    )
    return Row(of_one[0].model, of_one[0].data, (), found)
