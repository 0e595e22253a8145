"""What the commands share in printing: results on standard output, everything else on standard error."""

import importlib
import io
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vitrine.errors import InputError, MissingExtraError, VitrineError

if TYPE_CHECKING:
    from vitrine import progress
    from vitrine.datasets.image_folder import Unreadable

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, one object a line.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="A folder that holds the four Fashion-MNIST files, or a fashion-mnist folder with them.",
        show_default=False,
    ),
]
Model = Annotated[str, typer.Option("--model", help="A model by name, or the path of a model file.")]
ModelOrNone = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A model by name, or the path of a model file.",
        show_default="photo for photos, default for what looks like Fashion-MNIST",
    ),
]

LISTED = 20


def console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: dict[str, Any]) -> None:
    """One object on one line; all in ASCII where standard output is not UTF-8."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(value, ensure_ascii=plain, allow_nan=False), flush=True)


def bars() -> Progress:
    """Progress bars with the time left; where standard error is no terminal nothing is drawn."""
    columns: tuple[ProgressColumn, ...] = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True, highlight=False), disable=not sys.stderr.isatty())


@contextmanager
def stage(description: str) -> Iterator["progress.Progress"]:
    """One piece of long work: a bar on a terminal, a line where there is none."""
    if not sys.stderr.isatty():
        say(f"{description} ...")
    with bars() as drawn:
        task = drawn.add_task(description, total=None)

        def progress(done: int, total: int, /) -> None:
            drawn.update(task, completed=done, total=total)

        yield progress
        known = drawn.tasks[task].total or 1
        drawn.update(task, total=known, completed=known)


def check_extra(module: str, extra: str, use: str) -> None:
    """Raises MissingExtraError where what this module needs is not installed.

    use: what needs it, the subject of the sentence, as "Training needs".
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{use} {error.name}, which is not installed; install it with: pip install 'vitrine[{extra}]' (in this"
            " repository: make install)."
        ) from error


def check_picture(out: Path | None, inputs: Sequence[str]) -> None:
    """Raises InputError where a picture would be drawn into a file of another kind, or over one of the inputs."""
    if out is None:
        return
    if not out.name.lower().endswith(".png"):
        raise InputError(f"{out} does not end in .png; pictures are drawn as PNG files.")
    if any(
        source and source != "-" and Path(source).exists() and out.exists() and out.samefile(source)
        for source in inputs
    ):
        raise InputError(
            f"{out} is one of the pictures that were given, and would be lost; name another file to draw into."
        )


def list_unreadable(unreadable: Sequence["Unreadable"]) -> None:
    """What was left out, at the end, with the reasons."""
    if not unreadable:
        return
    say(f"Left out: {len(unreadable)} {'file' if len(unreadable) == 1 else 'files'}.")
    for entry in unreadable[:LISTED]:
        say(f"  {entry.reason}")
    if len(unreadable) > LISTED:
        say(f"  ... and {len(unreadable) - LISTED} more.")


def refusal(error: BaseException) -> str | None:
    """The sentence for what vitrine raises on purpose, and for what the operating system refuses; None for the rest."""
    if isinstance(error, VitrineError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; check the path and its permissions."
    return None


@contextmanager
def sentences() -> Iterator[None]:
    """What is raised on purpose within becomes one sentence on standard error and exit code 2."""
    warnings.filterwarnings("ignore", module="PIL")  # images/ refuses what cannot be used, in one sentence
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to stop
    try:
        yield
    except (VitrineError, OSError) as error:
        say(f"vitrine: {refusal(error)}")
        sys.exit(2)


def bar(share: float, width: int = 24) -> str:
    """A probability as a bar of block characters.

    >>> bar(0.5, 4)
    '██  '
    """
    eighths = round(share * width * 8)
    partial = " ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else ""
    return ("█" * (eighths // 8) + partial).ljust(width)
