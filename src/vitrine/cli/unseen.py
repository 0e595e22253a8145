"""vitrine evaluate RECIPE --protocol unseen-classes: three trainings, each without three classes, and the retrieval of
those.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vitrine.cli import output, train
from vitrine.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from vitrine.datasets import Splits
    from vitrine.encoder import Encoder
    from vitrine.evaluation import Evaluation, Subject
    from vitrine.training.recipe import Recipe

SPLITS = ((0, 2, 4), (5, 7, 9), (3, 6, 8))
"""Tops that look alike, shoes, and three that have little in common."""

Row = tuple[str, tuple[int, ...], "Evaluation"]


def names_a_recipe(model: str) -> bool:
    """Whether the user means a recipe, to be trained, and not a model file."""
    from vitrine.training import recipe as recipes

    return model.endswith(".toml") or model in recipes.names()


def rows(name: str, epochs: int | None, seed: int, baselines: bool, out: Path, data_dir: Path | None) -> "list[Row]":
    """Train (or take up what `out` holds) and measure: for each split the recipe's model and, with baselines, raw
    pixels and the same recipe trained by cross-entropy alone, on the features of its classifier.
    """
    try:
        from vitrine.training import recipe as recipes
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Training needs {error.name}, which is not installed; install it with: pip install 'vitrine[train]'."
        ) from error
    from vitrine import evaluation
    from vitrine.datasets import by_name

    budget = {"training.seed": str(seed)} | ({"training.epochs": str(epochs)} if epochs else {})
    alone = {"loss.metric": "none", "loss.cross_entropy": "1.0", "loss.positives": "class", "model.looks": "0"}
    kinds = {name: budget} | ({f"{name}, cross-entropy alone": budget | alone} if baselines else {})
    first = recipes.load(name, budget)
    with output.stage(f"Load {first.data.name}") as progress:
        splits = by_name.load(first.data.name, data_dir, train.look(first), progress).splits
    if len(splits.test.class_names["en"]) < 10 or not len(splits.test):
        raise InputError(
            f"unseen-classes by a recipe needs the ten classes and the test part of Fashion-MNIST; {splits.train.name}"
            " has other ones."
        )
    found: list[Row] = []
    for classes in SPLITS:
        left_out = {"data.leave_out": str(list(classes))}
        subjects: list[tuple[str, Subject]] = [
            (kind, _trained(recipes.load(name, overrides | left_out), out, splits)) for kind, overrides in kinds.items()
        ]
        if baselines:
            subjects.append(("raw pixels", evaluation.RawPixels()))
        for kind, subject in subjects:
            found.append((kind, classes, evaluation.unseen_classes(subject, splits.test, classes)))
    return found


def _trained(recipe: "Recipe", out: Path, splits: "Splits") -> "Encoder":
    """The model of a finished run, of one that is gone on with, or of a new one."""
    from vitrine.encoder import Encoder
    from vitrine.training import checkpoints, loop

    kind = "" if recipe.loss.metric == "none" else f"-{recipe.loss.metric}"
    run = out / f"{recipe.name}{kind}-without-{'-'.join(map(str, recipe.data.leave_out))}"
    recipe = replace(recipe, name=run.name)
    resume = checkpoints.exists(run)
    output.say(f"{'Go on with' if resume else 'Train'} {run} ({recipe.training.epochs} epochs)")
    try:
        result = train.watched(
            lambda watch: loop.train(recipe, splits.train, run, resume=resume, watch=watch), as_json=False
        )
    except KeyboardInterrupt:
        output.say("Stopped; the same command goes on from the last whole epoch.")
        raise typer.Exit(130) from None
    return Encoder.load(result.model)


def means(found: "list[Row]") -> "list[Row]":
    """For each kind of model the mean over the splits."""
    from vitrine.evaluation import Evaluation

    result: list[Row] = []
    for kind in dict.fromkeys(kind for kind, _, _ in found):
        parts = [part for name, _, part in found if name == kind]

        def mean(key: str, parts: "list[Evaluation]" = parts) -> float:
            return sum(float(getattr(part, key)) for part in parts) / len(parts)

        row = Evaluation(
            protocol="unseen-classes",
            precision_at_1=mean("precision_at_1"),
            r_precision=mean("r_precision"),
            map_at_r=mean("map_at_r"),
            map_at_100=mean("map_at_100"),
            n=sum(part.n for part in parts),
        )
        result.append((kind, (), row))
    return result
