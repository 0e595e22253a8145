"""vitrine train: a recipe in, a model file out."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import output, watching
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.datasets import Dataset
    from vitrine.spec import ImageSpec
    from vitrine.training.loop import Result
    from vitrine.training.recipe import Recipe
    from vitrine.training.tuning import Trial

PARTS = frozenset(("train", "training", "validation", "valid", "val", "dev", "test", "testing"))
"""What people call the parts of a data set."""


def train(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe by name (siamese, compact, mlp, folder, photo, resnet50, resnet50-longer, report-a-resnet50,"
            " report-a-siamese, report-b-mlp) or the path of a TOML file."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="What to learn from, in place of the recipe's data.name: a folder with a sub-folder of pictures per"
            " class, a CSV with the columns file and label, fashion-mnist, or drawn.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder.", show_default="runs/RECIPE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
    until: Annotated[
        float | None,
        typer.Option("--until", min=0, max=1, help="Stop when validation accuracy reaches this.", show_default=False),
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option(
            "--tune",
            min=1,
            help="Search learning rate, weight decay, label smoothing and augmentation in so many short trainings, and"
            " write the recipe that wins.",
            show_default=False,
        ),
    ] = None,
    tune_epochs: Annotated[
        int | None,
        typer.Option("--tune-epochs", min=1, help="Epochs of each.", show_default="a fifth of the recipe's"),
    ] = None,
    data_dir: output.DataDir = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or another of torch's.")] = "cpu",
    as_json: output.Json = False,
) -> None:
    """Train a recipe; ends with a model file that every other command takes.

    Any key of the recipe can be overridden: --epochs 2, --optimiser.learning_rate 0.05, --widths [16,32,64].

    Example: vitrine train folder --data my-pictures --epochs 40
    """
    output.check_extra("vitrine.training.loop", "train", "Training needs")
    from vitrine.datasets import by_name
    from vitrine.training import checkpoints, loop, resuming
    from vitrine.training import recipe as recipes

    started: watching.Started = context.obj or watching.Started(("vitrine",))
    group = started.group or loop.ALONE
    read = _with_data(recipes.load(recipe, _overrides(context.args)), data, _overrides(context.args))
    if (tune and until is not None) or (tune_epochs and not tune):
        raise InputError("--until is for one training and --tune-epochs for --tune N; leave one of them away.")
    if tune and group.size > 1:
        raise InputError("--tune trains in one process; start it without torchrun: vitrine train RECIPE --tune N.")
    run = started.run = out or Path("runs") / (f"{read.name}-tune" if tune else read.name)
    resume = started.resume = resume or (started.resume and checkpoints.exists(run))
    loop.check_device(device)
    if not tune:
        resuming.check_place(run, resume)
    with output.stage(f"Load {read.data.name}") as progress:
        loaded = group.in_turn(lambda: by_name.load(read.data.name, data_dir, look(read), progress))
    output.list_unreadable(loaded.unreadable)
    _note_parts(read.data.name, loaded.splits.train.class_names["en"])
    beside = None
    if read.data.beside:
        with output.stage(f"Load {read.data.beside}") as progress:
            beside = group.in_turn(lambda: by_name.load(read.data.beside, data_dir, progress=progress).splits.train)
    if tune:
        short = tune_epochs or -(-read.training.epochs // 5)
        _tune(read, (loaded.splits.train, beside), run, Budget(tune, short, resume, device), as_json, started)
        return
    if not group.first:
        loop.learn(
            read,
            loaded.splits.train,
            run,
            beside=beside,
            resume=resume,
            until=until,
            device=device,
            watch=loop.Watch(),
            group=group,
        )
        return
    result = watching.stoppable(
        lambda watch: loop.train(
            read,
            loaded.splits.train,
            run,
            beside=beside,
            resume=resume,
            until=until,
            device=device,
            watch=watch,
            group=group,
        ),
        started,
        as_json,
    )
    _note_gaps(result)
    metrics = result.card.metrics
    if as_json:
        output.print_json(
            {"model": str(result.model), "parameters": result.parameters, "epochs": len(result.history), **metrics}
        )
    else:
        print(
            f"{result.model}: {result.parameters:,} parameters, validation accuracy"
            f" {metrics['validation_accuracy']:.4f} ({metrics['validation_images']:,.0f} images),"
            f" {result.model.stat().st_size / 1e6:.2f} MB"
        )
        print(f"Use it: vitrine classify PICTURE --model {result.model}")


def _note_parts(data: str, classes: tuple[str, ...]) -> None:
    """Say so where a folder of folders of classes was named: it is easily overlooked."""
    if classes and {name.casefold() for name in classes} <= PARTS:
        output.say(
            f"The classes are called {' and '.join(classes)}; if these are parts of a data set, the classes their"
            f" sub-folders, name one: --data {shlex.quote(f'{data}/{classes[0]}')}"
        )


def _note_gaps(result: "Result") -> None:
    """Say what the validation images were too few for."""
    names = result.unvalidated
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        output.say(
            f"No image was held out of {shown}, so the validation accuracy says nothing of"
            f" {'it' if len(names) == 1 else 'them'}; add pictures, or set a larger data.validation."
        )
    if result.card.similarity is None:
        output.say(
            "This model can classify and search, but not compare: no class has two images among those held out, or only"
            " one class has any."
        )


@dataclass(frozen=True)
class Budget:
    """trials: how many trainings; epochs: of each."""

    trials: int
    epochs: int
    resume: bool
    device: str


def _tune(
    recipe: "Recipe",
    data: "tuple[Dataset, Dataset | None]",
    folder: Path,
    budget: Budget,
    as_json: bool,
    started: watching.Started,
) -> None:
    """Search, a line for each trial, and say what won. data: and what is learnt beside."""
    from vitrine.training import tuning

    def told(trial: "Trial") -> None:
        if as_json:
            output.print_json(vars(trial))
        else:
            output.say(_trial_line(trial))

    found = watching.stoppable(
        lambda watch: tuning.tune(
            recipe,
            data[0],
            folder,
            budget.trials,
            budget.epochs,
            beside=data[1],
            resume=budget.resume,
            device=budget.device,
            watch=watch,
            told=told,
        ),
        started,
        as_json,
    )
    best = found.best
    if as_json:
        facts = {"recipe": str(found.recipe), "trials": len(found.trials), "best": best.number}
        output.print_json({**facts, "validation_accuracy": best.validation_accuracy, "values": best.values})
        return
    print(f"Best of {len(found.trials)}: {_trial_line(best)}")
    print(f"{found.recipe} has these values; train it: vitrine train {found.recipe}")


def _trial_line(trial: "Trial") -> str:
    values = "  ".join(f"{key.split('.')[1]} {_short(value)}" for key, value in trial.values.items())
    return (
        f"trial {trial.number:3d}  validation accuracy {trial.validation_accuracy:.4f}  {trial.seconds:.0f} s  {values}"
    )


def _short(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.3g}"


def _with_data(recipe: "Recipe", data: str | None, overrides: dict[str, str]) -> "Recipe":
    """The recipe with the data that --data names. Raises InputError where an override contradicts it, or neither names
    any.
    """
    from dataclasses import replace

    if data is not None and any(key.replace("-", "_") == "data.name" for key in overrides):
        raise InputError("--data and --data.name both say what to learn from; leave one out.")
    if data is None and not recipe.data.name:
        raise InputError(
            f"The recipe {recipe.name} learns from pictures of your own; name them: --data FOLDER (a sub-folder per"
            " class) or --data FILE.csv (columns file and label)."
        )
    if data == "":
        raise InputError("--data is empty; name a folder of pictures, or a CSV of files and labels.")
    return recipe if data is None else replace(recipe, data=replace(recipe.data, name=data))


def look(recipe: "Recipe") -> "ImageSpec":
    """The look that pictures of a folder are brought to."""
    from dataclasses import replace

    from vitrine.datasets.image_folder import PHOTO, PLAIN_GREY

    plain = PHOTO if recipe.model.name == "photo" else PLAIN_GREY
    side = recipe.data.kept or recipe.data.size
    return replace(plain, height=side, width=side)


def _overrides(arguments: list[str]) -> dict[str, str]:
    """`--key value` and `--key=value` as a dictionary. Raises InputError."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        key = rest.pop(0)
        if not key.startswith("--") or key == "--":
            raise InputError(f"{key!r} is not expected here; a key of the recipe is overridden as --epochs 2.")
        name, equals, value = key[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise InputError(f"--{name} needs a value, as in --epochs 2.")
            value = rest.pop(0)
        found[name] = value
    return found
