"""vitrine evaluate: a model file measured on data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitrine.cli import output, unseen
from vitrine.errors import InputError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vitrine.datasets import Splits
    from vitrine.encoder import Encoder
    from vitrine.evaluation import Evaluation, Subject
    from vitrine.progress import Progress
    from vitrine.spec import ImageSpec

Protocol = Literal["query-gallery", "leave-one-out", "find-original", "pairs", "unseen-classes"]

PIXELS = "raw pixels"
CROSS_ENTROPY = "compact"
"""The shipped model that was trained by cross-entropy alone."""

MEASURES = {
    "accuracy": "accuracy",
    "precision_at_1": "precision at 1",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "map_at_100": "MAP@100",
    "success_at_1": "success at 1",
    "success_at_10": "success at 10",
    "pair_loss": "pair loss",
    "pair_error": "pair error",
    "ece": "calibration error",
}
"""Key in JSON to heading for people, in the order of both."""


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A model by name, or the path of a model file. For unseen-classes also a recipe, by name or path,"
            " which is trained three times, each time without three classes; a name that is both is the recipe."
        ),
    ] = "default",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="fashion-mnist, drawn, a folder with a sub-folder of pictures per class, or a CSV with the columns"
            " file and label.",
            show_default="fashion-mnist",
        ),
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(
            "--protocol",
            help="query-gallery: test images among the training images. leave-one-out: each test image among the"
            " others. find-original: altered test images among all images. pairs: whether two test images have the same"
            " class. unseen-classes: leave-one-out among the classes that training left out. All images of a folder"
            " count as test images.",
        ),
    ] = "query-gallery",
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Measure raw pixels (not for pairs: they give no probability) and a model of cross-entropy alone,"
            " too.",
        ),
    ] = False,
    baseline_model: Annotated[
        list[str] | None,
        typer.Option("--baseline-model", help="Measure this model, too; may be repeated.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            max=2**31 - 1,
            help="Chooses images, alterations and pairs; of the trainings, too.",
            show_default="0, or the recipe's",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, help="unseen-classes by a recipe: epochs of each training.", show_default=False
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="unseen-classes by a recipe: another value for a key of it, as shape_share=0.9; may be repeated.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="unseen-classes by a recipe: folder of the runs; what is done is kept.",
            show_default=str(unseen.RUNS),
        ),
    ] = None,
    data_dir: output.DataDir = None,
    as_json: output.Json = False,
) -> None:
    """Measure a model: how often it is right, and how well it finds what is alike.

    Example: vitrine evaluate default --baselines --json
    """
    if protocol == "unseen-classes" and unseen.names_a_recipe(model):
        _refuse({"--data": data, "--baseline-model": baseline_model}, "a recipe, which names its own data")
        overrides = _changes(changes or [])
        for name, value in (("seed", seed), ("epochs", epochs)):
            if value is not None:
                if {name, f"training.{name}"} & overrides.keys():
                    raise InputError(f"--{name} and --set {name} both give the same key of the recipe; leave one out.")
                overrides[f"training.{name}"] = str(value)
        _by_recipe(unseen.rows(model, overrides, baselines, out or unseen.RUNS, data_dir), as_json)
        return
    _refuse({"--epochs": epochs, "--set": changes, "--out": out}, "a model file, which is not trained")
    data = data or "fashion-mnist"
    models = _models(model, protocol, baselines, baseline_model or [])
    classes = _left_out(models, protocol, data)
    load = _loader(data, data_dir)
    _check_data(protocol, load(models[0][1].card.image))
    subjects: list[tuple[str, Subject, ImageSpec]] = [(name, found, found.card.image) for name, found in models]
    if baselines and protocol != "pairs":
        subjects.insert(1, (PIXELS, _pixels(), models[0][1].card.image))
    rows: list[tuple[str, Evaluation]] = []
    for name, subject, look in subjects:
        splits = load(look)
        with output.stage(f"Measure {name} on {data}, {protocol}") as progress:
            found = _measure(protocol, subject, splits, classes, seed or 0, progress)
        if protocol in ("query-gallery", "leave-one-out"):
            _note_unknown(name, subject, splits)
        rows.append((name, found))
        if as_json:
            output.print_json({"model": name, "data": data, **_facts(found, classes)})
    first = rows[0][1]
    if first.left_out:  # the same for all: it is the labels that say so
        output.say(
            f"Of {first.n:,} images, {first.left_out:,} cannot find another of their class, because there is none; the"
            " means over searches leave them out."
        )
    if not as_json:
        _print(f"{data}, {protocol}, n = {first.n:,}", rows)


def _refuse(options: "Mapping[str, object]", what: str) -> None:
    """Raises InputError for the first option that was given and would do nothing."""
    for option, value in options.items():
        if value:
            raise InputError(f"{option} does nothing for {what}; leave it out.")


def _changes(changes: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE as a dictionary. Raises InputError."""
    for change in changes:
        if "=" not in change:
            raise InputError(f"--set wants KEY=VALUE, such as shape_share=0.9; this is {change!r}.")
    return dict(change.split("=", 1) for change in changes)


def _by_recipe(found: "Iterator[list[unseen.Row]]", as_json: bool) -> None:
    """Print each split as soon as it is measured, and the means."""
    for rows in found:
        if as_json:
            for row in rows:
                output.print_json({"model": row.model, "data": row.data, **_facts(row.found, row.classes)})
            continue
        classes = rows[0].classes
        title = f"without the classes {', '.join(map(str, classes))}" if classes else "mean of the three"
        _print(f"{rows[0].data}, unseen-classes, {title}", [(row.model, row.found) for row in rows])


def _models(model: str, protocol: Protocol, baselines: bool, others: Sequence[str]) -> "list[tuple[str, Encoder]]":
    """What is measured, with what the user calls it. Raises ModelFileError, also for a model that gives no
    probabilities where they are asked for.
    """
    from vitrine.encoder import Encoder, why_no_table

    names = [model, *others]
    found = [(name, Encoder.load(name)) for name in names]
    if baselines and protocol != "unseen-classes":  # the shipped one has seen all classes
        alone = Encoder.load(CROSS_ENTROPY)
        if all(alone.card.identity != encoder.card.identity for _, encoder in found):
            found.insert(1, (CROSS_ENTROPY, alone))
    for name, encoder in found:
        if protocol == "pairs" and encoder.card.similarity is None:
            raise ModelFileError(f"The model {name} gives no probability for a pair: {why_no_table(encoder.card)}")
    return found


def _pixels() -> "Subject":
    from vitrine.evaluation import RawPixels

    return RawPixels()


def _loader(data: str, data_dir: Path | None) -> "Callable[[ImageSpec], Splits]":
    """Gives the data in the look that a model wants to see; each look is loaded once. Images of a folder, which has one
    part only, become the test part.
    """
    from vitrine.datasets import Splits, by_name

    loaded: dict[ImageSpec, Splits] = {}

    def load(spec: "ImageSpec") -> Splits:
        if spec not in loaded:
            with output.stage(f"Load {data}") as progress:
                found = by_name.load(data, data_dir, spec, progress)
            if not loaded:
                output.list_unreadable(found.unreadable)
            splits = found.splits
            loaded[spec] = splits if len(splits.test) else Splits(splits.test, splits.train)
        return loaded[spec]

    return load


def _left_out(models: "Sequence[tuple[str, Encoder]]", protocol: Protocol, data: str) -> list[int]:
    """The classes that the first model's training left out, where they are asked for. Raises InputError where a model
    does not allow the protocol.
    """
    if protocol != "unseen-classes":
        return []
    classes: list[int] = []
    for name, encoder in models:
        recipe = encoder.card.recipe.get("data")
        found = recipe.get("leave_out") if isinstance(recipe, dict) else None
        numbers = [number for number in found if type(number) is int] if isinstance(found, list) else []
        classes = classes or numbers
        if not numbers or not set(classes) <= set(numbers):
            raise InputError(
                f"The model {name} has seen {'these' if classes else 'all'} classes; unseen-classes needs one that was"
                " trained with data.leave_out, or a recipe to train so, such as: vitrine evaluate siamese --protocol"
                " unseen-classes."
            )
        if encoder.card.data.get("name") != data:
            raise InputError(
                f"The model {name} has left out classes of {encoder.card.data.get('name')}; evaluate it on that, not on"
                f" {data}."
            )
    return classes


def _check_data(protocol: Protocol, splits: "Splits") -> None:
    """Raises InputError where the data does not allow the protocol."""
    if protocol == "query-gallery" and not len(splits.train):
        raise InputError(
            f"{splits.test.name} has one part only, and no training part to search in; use --protocol"
            " leave-one-out, which looks for each picture among all the others."
        )


def _measure(
    protocol: Protocol, subject: "Subject", splits: "Splits", classes: list[int], seed: int, progress: "Progress"
) -> "Evaluation":
    from vitrine import evaluation

    if protocol == "query-gallery":
        return evaluation.query_gallery(subject, splits, progress)
    if protocol == "leave-one-out":
        return evaluation.leave_one_out(subject, splits.test, progress)
    if protocol == "find-original":
        return evaluation.find_original(subject, splits, seed, progress=progress)
    if protocol == "pairs":
        return evaluation.pairs(subject, splits.test, seed, progress)
    return evaluation.unseen_classes(subject, splits.test, classes, progress)


def _note_unknown(name: str, subject: "Subject", splits: "Splits") -> None:
    """Say why there is no accuracy."""
    from vitrine import evaluation
    from vitrine.encoder import Encoder

    if isinstance(subject, Encoder) and (unknown := evaluation.unknown_classes(subject.card, splits.test)):
        said = f"does not know the classes {', '.join(unknown)}" if subject.card.names() else "knows no classes"
        output.say(f"No accuracy for {name}, which {said}.")


def _facts(found: "Evaluation", classes: Sequence[int]) -> dict[str, str | int | float | list[int] | None]:
    measured = {key: getattr(found, key) for key in MEASURES}
    rounded = {key: None if value is None else round(value, 6) for key, value in measured.items()}
    counts = {"n": found.n, "left_out": found.left_out}
    return {"protocol": found.protocol, **rounded, **counts, "classes": list(classes) or None}


def _print(title: str, rows: "list[tuple[str, Evaluation]]") -> None:
    """A line a model, a column for each measure that there is."""
    keys = [key for key in MEASURES if any(getattr(found, key) is not None for _, found in rows)]
    wide = max(len(name) for name, _ in [("model", None), *rows])
    print(title)
    print("  ".join(["model".ljust(wide), *(MEASURES[key] for key in keys)]))
    for name, found in rows:
        values = [(getattr(found, key), len(MEASURES[key])) for key in keys]
        cells = [("-" if value is None else f"{value:.4f}").rjust(size) for value, size in values]
        print("  ".join([name.ljust(wide), *cells]))
