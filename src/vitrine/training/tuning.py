"""The search for a recipe's best numbers: short trainings, judged on the validation split."""

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from vitrine import storage
from vitrine.datasets import Dataset
from vitrine.errors import InputError
from vitrine.training import checkpoints, loop, splitting
from vitrine.training.loop import Step, Watch
from vitrine.training.recipe import Recipe

TRIALS_FILE, FACTS_FILE, WINNER_FILE = "trials.jsonl", "tune.json", "recipe.toml"

Values = dict[str, float]
"""Floats, whole numbers and truth values, by full key of a recipe."""

Space = dict[str, BaseDistribution]


@dataclass(frozen=True)
class Trial:
    """One short training. values: what was tried, by full key of the recipe. validation_accuracy, validation_loss: of
    its last epoch; 0 and null where the loss grew without bound.
    """

    number: int
    values: Values
    validation_accuracy: float
    validation_loss: float | None
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """A finished search. trials: in the order they were made; recipe: the file with the values that won."""

    trials: list[Trial]
    best: Trial
    recipe: Path


def tune(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    count: int,
    epochs: int,
    *,
    beside: Dataset | None = None,
    resume: bool = False,
    device: str = "cpu",
    watch: Watch | None = None,
    told: Callable[[Trial], None] = lambda trial: None,
) -> Tuned:
    """Make `count` trainings of `epochs` epochs each, and write the recipe with the best values into `folder`.

    The first is the recipe as it stands; the others are chosen by a tree-structured Parzen estimator (Bergstra et al.
    2011), each by a generator seeded with (recipe's seed, its number), so that a search that is stopped and resumed
    makes the choices of an unbroken one. resume: go on with the folder's search, or add trials to a finished one.
    Best is the highest validation accuracy, then the lowest validation loss, then the first. Raises InputError for a
    recipe without a classifier to judge by, for a folder that holds a search already, or none to resume, or another
    one; DataError, StorageError as `loop.train`.
    """
    _check(recipe)
    trials = _started(recipe, splitting.data_facts(dataset, beside), folder, epochs, resume)
    space = _space(recipe)
    for trial in trials[:count]:
        told(trial)
    for number in range(len(trials), count):
        values = _own(recipe, space) if number == 0 else _chosen(space, trials, recipe.training.seed)
        run = folder / f"trial-{number}"
        shifted = _shifted(watch or Watch(), number, count)
        trial = _tried(number, values, recipe, (dataset, beside), run, epochs, device, shifted)
        trials.append(trial)
        _write(folder, trials)
        shutil.rmtree(run, ignore_errors=True)  # what matters is in the line
        told(trial)
    best = max(trials, key=lambda trial: (trial.validation_accuracy, -(trial.validation_loss or math.inf)))
    winner = folder / WINNER_FILE
    storage.write_text(winner, _toml(with_values(recipe, best.values), best, len(trials), epochs))
    return Tuned(trials, best, winner)


def with_values(recipe: Recipe, values: Values) -> Recipe:
    """The recipe with these values of full keys."""
    for full, value in values.items():
        table, key = full.split(".")
        changed: Any = {table: replace(getattr(recipe, table), **{key: value})}
        recipe = replace(recipe, **changed)
    return recipe


def _check(recipe: Recipe) -> None:
    if recipe.loss.cross_entropy == 0 or recipe.model.frozen:
        raise InputError(
            f"--tune judges by the classifier's validation accuracy, and {recipe.name} does not train the classifier"
            " (loss.cross_entropy is 0, or model.frozen is true); tune a recipe that does."
        )


def _space(recipe: Recipe) -> Space:
    """What is searched, and within which bounds: around what the recipe says, by full key."""
    rate, decay = recipe.optimiser.learning_rate, recipe.optimiser.weight_decay or 1e-4
    space: Space = {
        "optimiser.learning_rate": FloatDistribution(rate / 8, rate * 8, log=True),
        "optimiser.weight_decay": FloatDistribution(decay / 10, decay * 10, log=True),
        "loss.label_smoothing": FloatDistribution(0.0, max(0.2, recipe.loss.label_smoothing)),
    }
    return space | (_of_photos(recipe) if recipe.model.name == "photo" else _of_images(recipe))


def _of_photos(recipe: Recipe) -> Space:
    own = recipe.photograph
    return {
        "photograph.least": FloatDistribution(min(0.15, own.least), max(0.8, own.least)),
        "photograph.light": FloatDistribution(0.0, max(0.8, own.light)),
        "photograph.mix": FloatDistribution(0.0, max(0.6, own.mix)),
        "photograph.erase": FloatDistribution(0.0, max(0.5, own.erase)),
    }


def _of_images(recipe: Recipe) -> Space:
    own = recipe.augmentation
    return {
        "augmentation.flip": CategoricalDistribution((False, True)),
        "augmentation.translate": IntDistribution(0, max(3, own.translate)),
        "augmentation.erase": FloatDistribution(0.0, max(0.5, own.erase)),
    }


def _own(recipe: Recipe, space: Space) -> Values:
    """The recipe's own values."""
    tables = recipe.to_json()
    return {full: tables[full.split(".")[0]][full.split(".")[1]] for full in space}


def _chosen(space: Space, trials: list[Trial], seed: int) -> Values:
    """The values to try next, after those trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=(seed << 16) + len(trials), multivariate=True, n_startup_trials=5)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for trial in trials:
        params = {full: _within(space[full], value) for full, value in trial.values.items()}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=dict(space), value=trial.validation_accuracy)
        )
    return dict(study.ask(dict(space)).params)


def _within(distribution: BaseDistribution, value: float) -> float:
    """The value, or the bound next to it: no weight decay counts as the least."""
    if isinstance(distribution, FloatDistribution):
        return min(max(value, distribution.low), distribution.high)
    return value


def _tried(
    number: int,
    values: Values,
    recipe: Recipe,
    data: tuple[Dataset, Dataset | None],
    run: Path,
    epochs: int,
    device: str,
    watch: Watch,
) -> Trial:
    """Train, or go on with a training that was stopped. data: and what is learnt beside."""
    short = with_values(recipe, values)
    short = replace(short, training=replace(short.training, epochs=epochs))
    try:
        resume = checkpoints.exists(run)
        history = loop.learn(
            short, data[0], run, beside=data[1], resume=resume, until=None, device=device, watch=watch
        ).history
    except loop.DivergedError:
        return Trial(number, values, 0.0, None, 0.0)
    last = history[-1]
    seconds = round(sum(line.seconds for line in history), 1)
    return Trial(number, values, last.validation_accuracy, last.validation_loss, seconds)


def _shifted(watch: Watch, number: int, count: int) -> Watch:
    """The same watch for one training of many: epochs counted over the whole search."""

    def step(at: Step) -> None:
        watch.step(replace(at, epoch=number * at.epochs + at.epoch, epochs=count * at.epochs))

    return Watch(step)


def _started(recipe: Recipe, data: dict[str, Any], folder: Path, epochs: int, resume: bool) -> list[Trial]:
    """The folder's trials so far; none for a new search, whose facts are written."""
    facts = {
        "recipe": recipe.to_json(),
        "epochs": epochs,
        "data": data,
    }
    facts = json.loads(json.dumps(facts))
    there = folder / FACTS_FILE
    if not resume:
        if there.exists():
            raise InputError(
                f"There is a search in {folder} already; go on with it (--resume), or name another folder (--out)."
            )
        storage.write_text(there, json.dumps(facts, indent=1) + "\n")
        return []
    if not there.exists():
        raise InputError(f"There is no search in {folder} to go on with; start one without --resume.")
    if json.loads(there.read_text(encoding="utf-8")) != facts:
        raise InputError(
            f"The search in {folder} was started with another recipe, number of epochs or data; resume it as it was"
            " started, or name another folder (--out)."
        )
    return list(_read(folder))


def _read(folder: Path) -> Iterator[Trial]:
    file = folder / TRIALS_FILE
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        yield Trial(**json.loads(line))


def _write(folder: Path, trials: list[Trial]) -> None:
    storage.write_text(folder / TRIALS_FILE, "".join(json.dumps(vars(trial)) + "\n" for trial in trials))


def _toml(recipe: Recipe, best: Trial, trials: int, epochs: int) -> str:
    """The whole recipe as TOML, under what the search found."""
    head = (
        f"# {recipe.name}, tuned: trial {best.number} of {trials} ({epochs} epochs each), validation accuracy"
        f" {best.validation_accuracy:.4f}.\n# The trials, and what they gave, are in {TRIALS_FILE} beside this file.\n"
    )
    tables: dict[str, Any] = {
        table: entries for table, entries in dataclasses.asdict(recipe).items() if isinstance(entries, dict)
    }
    return head + "".join(
        f"\n[{table}]\n" + "".join(f"{_key(key)} = {_written(value)}\n" for key, value in entries.items())
        for table, entries in tables.items()
    )


def _key(name: str) -> str:
    """As TOML wants it.

    >>> _key("t-shirt"), _key("my hats")
    ('t-shirt', '"my hats"')
    """
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _written(name)


def _written(value: Any) -> str:
    """Numbers, texts, truth values and lists are in TOML as in JSON, but for characters beyond U+FFFF, which it wants
    as they are, and DEL, which it does not.
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
