"""vitrine model wrap: anybody's ONNX image model as a vitrine model file."""

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from vitrine.cli import output
from vitrine.errors import InputError, MissingExtraError


def wrap(
    file: Annotated[Path, typer.Argument(help="An ONNX file: the image part of CLIP, DINO, a classifier, ...")],
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            help="Side of the pictures that it takes, or HEIGHTxWIDTH; 224 where the file leaves it open.",
            show_default=False,
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option("--mean", help="Means of red, green, blue, of 0 to 1: a,b,c.", show_default="ImageNet's"),
    ] = None,
    sd: Annotated[
        str | None,
        typer.Option("--sd", help="Their standard deviations: a,b,c.", show_default="ImageNet's"),
    ] = None,
    out_name: Annotated[
        str | None,
        typer.Option(
            "--output", help="Which of its outputs, or inner values, is the embedding.", show_default="the only one"
        ),
    ] = None,
    pool: Annotated[
        Literal["mean", "first"],
        typer.Option("--pool", help="How one embedding is made of many tokens: their mean, or the first (CLS)."),
    ] = "mean",
    layout: Annotated[
        Literal["nchw", "nhwc"] | None,
        typer.Option("--layout", help="Whether the channels come first or last.", show_default="by the input's shape"),
    ] = None,
    logits: Annotated[
        str | None, typer.Option("--logits", help="Which output is a classifier's classes.", show_default=False)
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option("--classes", help="A text file with the names of those classes, one a line.", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What to call it, for --model.", show_default="the file's name")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write it to this .onnx file.", show_default="where --model finds it by name"),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Make a vitrine model file of an ONNX image model of your own.

    Everything that takes --model then takes it: index, search, map, serve, and classify where it has classes.

    Example: vitrine model wrap clip-image.onnx --mean 0.481,0.458,0.408 --sd 0.269,0.261,0.276 --name clip
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingExtraError(
            "Wrapping a model needs onnx, which is not installed; install it with: pip install onnx."
        )
    called = _checked(name or re.sub(r"\W+", "-", file.stem).strip("-"))
    place = _place(out, called)
    from vitrine import wrapping

    wish = wrapping.Wish(
        size=_size(size),
        mean=_numbers("--mean", mean),
        sd=_numbers("--sd", sd),
        output=out_name,
        layout=layout,
        pool=pool,
        logits=logits,
        classes=_names(classes) if classes else (),
    )
    card = wrapping.wrap(file, called, place, wish)
    if as_json:
        facts = {"model": card.name, "file": str(place), "identity": card.identity}
        output.print_json({**facts, "dimensions": card.embedding, "classes": len(wish.classes)})
        return
    print(f"{place}: {card.name}, identity {card.identity[:8]}, an embedding of {card.embedding} numbers")
    if card.recipe["wrapped"]["one_by_one"]:
        output.say("It takes one picture at a time only, which is slower; an export with an open batch size is not.")
    output.say(f"Use it with --model {called if out is None else place}.")


def _checked(name: str) -> str:
    """Raises InputError for a name that `--model` could not find again, or that would hide another model."""
    from vitrine import encoder

    if not re.fullmatch(r"\w[\w.-]*", name) or name.endswith(".onnx"):
        raise InputError(
            f"{name!r} is no name for a model; give one of letters, digits, - and _ with --name, without .onnx."
        )
    if name in encoder.shipped_names():
        raise InputError(f"vitrine comes with a model called {name}; choose another name with --name.")
    return name


def _place(out: Path | None, name: str) -> Path:
    """Where to write. Raises InputError where something is there, or the file would not be found as a model."""
    from vitrine import storage

    place = out or storage.data_folder() / "models" / f"{name}.onnx"
    if place.suffix != ".onnx":
        raise InputError(f"{place} does not end in .onnx; model files do.")
    if place.exists():
        raise InputError(f"{place} exists already; delete it first, or choose another name with --name or --out.")
    return place


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width. Raises InputError."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(
        side.isascii() and side.isdigit() and 1 <= int(side) <= 4096 for side in sides
    ):
        raise InputError(f"--size {text} is no size; give a side, as 224, or HEIGHTxWIDTH, of 1 to 4096 pixels.")
    return int(sides[0]), int(sides[-1])


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers between commas. Raises InputError."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} {text} are no numbers; give them with commas between, as 0.5,0.5,0.5.") from error


def _names(path: Path) -> tuple[str, ...]:
    """The lines of a text file. Raises InputError."""
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(
            f"{path} cannot be read ({reason}); name a text file with the name of a class on each line."
        ) from error
    if not names or not all(names) or len(set(names)) < len(names):
        raise InputError(f"{path} must have a different name on each line; an empty or a repeated one is there.")
    if odd := next((name for name in names if not name.isprintable()), None):
        raise InputError(f"{path} has a name with characters that cannot be shown, {odd!r}; write it without them.")
    return names
