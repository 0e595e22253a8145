"""vitrine evaluate: a model file measured on data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitrine.cli import output, unseen
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.datasets import Progress, Splits
    from vitrine.evaluation import Evaluation, Subject
    from vitrine.modelfile import ModelCard
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
            help="A model by name, or the path of a model file; for unseen-classes a recipe, which is trained three"
            " times, each time without three classes."
        ),
    ] = "default",
    data: Annotated[
        str, typer.Option("--data", help="fashion-mnist, drawn, or a folder with a sub-folder of pictures per class.")
    ] = "fashion-mnist",
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
        bool, typer.Option("--baselines", help="Measure raw pixels and a model of cross-entropy alone, too.")
    ] = False,
    baseline_model: Annotated[
        list[str] | None,
        typer.Option("--baseline-model", help="Measure this model, too; may be repeated.", show_default=False),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, help="Chooses images, alterations and pairs.")
    ] = 0,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, help="unseen-classes of a recipe: epochs of each training.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="unseen-classes of a recipe: folder of the runs; what is done is kept.")
    ] = Path("runs/unseen-classes"),
    data_dir: output.DataDir = None,
    as_json: output.Json = False,
) -> None:
    """Measure a model: how often it is right, and how well it finds what is alike.

    Example: vitrine evaluate default --baselines --json
    """
    from vitrine.encoder import Encoder
    from vitrine.evaluation import RawPixels

    if protocol == "unseen-classes" and unseen.names_a_recipe(model):
        _unseen(model, epochs, seed, baselines, out, data_dir, as_json)
        return
    names = [model, *([CROSS_ENTROPY] if baselines and model != CROSS_ENTROPY else []), *(baseline_model or [])]
    encoders = [Encoder.load(name) for name in names]
    spec = encoders[0].card.image
    subjects: list[tuple[str, Subject, ImageSpec]] = [
        (name, encoder, encoder.card.image) for name, encoder in zip(names, encoders, strict=True)
    ]
    if baselines and protocol != "pairs":  # pixels give no probability
        subjects.insert(1, (PIXELS, RawPixels(), spec))
    load = _loader(data, data_dir)
    classes = _check(protocol, encoders[0].card, load(spec))
    rows: list[tuple[str, Evaluation]] = []
    for name, subject, look in subjects:
        splits = load(look)
        with output.stage(f"Measure {name} on {data}, {protocol}") as progress:
            found = _measure(protocol, subject, splits, classes, seed, progress)
        if protocol in ("query-gallery", "leave-one-out"):
            _note_unknown(name, subject, splits)
        rows.append((name, found))
        if as_json:
            output.print_json({"model": name, "data": data, **_facts(found, classes)})
    first = rows[0][1]
    if first.left_out:
        output.say(
            f"{first.left_out:,} of {first.n:,} images have no other of their class to be found; the means over"
            " searches leave them out."
        )
    if not as_json:
        _print(f"{data}, {protocol}, n = {first.n:,}", rows)


def _unseen(
    recipe: str, epochs: int | None, seed: int, baselines: bool, out: Path, data_dir: Path | None, as_json: bool
) -> None:
    found = unseen.rows(recipe, epochs, seed, baselines, out, data_dir)
    found += unseen.means(found)
    if as_json:
        for kind, classes, row in found:
            output.print_json({"model": kind, "data": "fashion-mnist", **_facts(row, classes)})
        return
    for classes in (*unseen.SPLITS, ()):
        title = f"without the classes {', '.join(map(str, classes))}" if classes else "mean"
        _print(f"unseen-classes, {title}", [(kind, row) for kind, which, row in found if which == classes])


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


def _check(protocol: Protocol, card: "ModelCard", splits: "Splits") -> list[int]:
    """The classes that training left out, where they are asked for. Raises InputError where this model and this data
    do not allow the protocol.
    """
    if protocol == "query-gallery" and not len(splits.train):
        raise InputError(
            f"{splits.test.name} is a folder of pictures and has no training part to search in; use --protocol"
            " leave-one-out, which looks for each picture among all the others."
        )
    if protocol != "unseen-classes":
        return []
    left_out = card.recipe.get("data", {}).get("leave_out") or []
    if not left_out:
        raise InputError(
            f"The model {card.name} has seen every class; unseen-classes needs one that was trained with"
            " data.leave_out, or a recipe to train so, such as: vitrine evaluate siamese --protocol unseen-classes."
        )
    if card.data.get("name") != splits.test.name:
        raise InputError(
            f"The model {card.name} has left out classes of {card.data.get('name')}; evaluate it on that, not on"
            f" {splits.test.name}."
        )
    return [int(number) for number in left_out]


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
        output.say(f"No accuracy for {name}, which does not know the classes {', '.join(unknown)}.")


def _facts(found: "Evaluation", classes: Sequence[int]) -> dict[str, str | int | float | list[int] | None]:
    measured = {key: getattr(found, key) for key in MEASURES}
    rounded = {key: None if value is None else round(value, 6) for key, value in measured.items()}
    return {"protocol": found.protocol, **rounded, "n": found.n, "classes": list(classes) or None}


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
