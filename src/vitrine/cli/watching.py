"""A training as a terminal shows it: a bar and a line for each epoch, and after Ctrl-C how to go on."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from vitrine.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitrine.training.loop import Epoch, Step, Watch
    from vitrine.training.processes import Group

Done = TypeVar("Done")

SEARCH_FILE = "tune.json"
"""What makes a folder one of --tune (`training.tuning.FACTS_FILE`, whose import takes half a second)."""


@dataclass
class Started:
    """What a training was started by: `command`, before its own arguments; group: the processes that learn together,
    None: one alone. What is known later: run, its folder; resume: whether it goes on.
    """

    command: tuple[str, ...]
    group: "Group | None" = None
    run: Path | None = None
    resume: bool = False
    again: str = ""

    @property
    def several(self) -> bool:
        return self.group is not None and self.group.size > 1

    def stopped(self) -> str:
        """What to say where it was stopped."""
        from vitrine.training import checkpoints

        if self.run is None or not (checkpoints.exists(self.run) or (self.run / SEARCH_FILE).exists()):
            return "Stopped; nothing was kept."
        again = self.again or shlex.join(
            [*self.command, *sys.argv[1:], *([] if "--resume" in sys.argv else ["--resume"])]
        )
        return f"Stopped. Go on from the last whole epoch with: {again}"


def stoppable(work: "Callable[[Watch], Done]", started: Started, as_json: bool) -> "Done":
    """Do the work, watched; Ctrl-C ends it with a sentence that says how to go on."""
    try:
        return _watched(work, as_json)
    except KeyboardInterrupt:
        if started.several:
            raise  # all are to stop, and one to say so
        output.say(started.stopped())
        raise typer.Exit(130) from None


def _watched(work: "Callable[[Watch], Done]", as_json: bool) -> "Done":
    """Do the work with a bar for the whole run and a line for each epoch that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from vitrine.training.loop import Watch

    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None, epoch="", state="")

        def step(at: "Step") -> None:
            state = f"loss {at.loss:.3f}  accuracy {at.accuracy:.3f}  {at.images_per_second:,.0f} images/s"
            bar.update(
                task,
                total=at.epochs * at.images,
                completed=(at.epoch - 1) * at.images + at.done,
                epoch=f"{at.epoch}/{at.epochs}",
                state=state,
            )

        def epoch(line: "Epoch") -> None:
            if as_json:
                output.print_json(vars(line))
            else:
                text = (
                    f"epoch {line.epoch:3d}  train {line.train_loss:.4f} {line.train_accuracy:.4f}  validation"
                    f" {line.validation_loss:.4f} {line.validation_accuracy:.4f}  {line.seconds:.1f} s"
                )
                bar.console.print(text) if sys.stderr.isatty() else output.say(text)

        return work(Watch(step, epoch))
