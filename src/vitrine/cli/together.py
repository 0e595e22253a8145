"""torchrun --nproc-per-node N -m vitrine.training: `vitrine train` in several processes that learn together."""

import sys
from typing import TYPE_CHECKING

import typer

from vitrine.cli import output, train, watching

if TYPE_CHECKING:
    from vitrine.training.processes import Group

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train.train)


def main() -> None:
    """What `python -m vitrine.training` does, by itself or as one of the processes that torchrun has started."""
    with output.sentences():
        output.check_extra("vitrine.training.together", "train", "Training needs")
        from vitrine.training import together

        started = watching.Started(_command(together.size()), resume=together.restarted())

        def work(group: "Group") -> None:
            started.group = group
            app(obj=started, prog_name="python -m vitrine.training")

        sys.exit(together.run(work, together.Edge(output.refusal, started.stopped)))


def _command(size: int) -> tuple[str, ...]:
    """How this was started, as far as it can be known."""
    from vitrine import storage

    if size == 1:
        return "python", "-m", "vitrine.training"
    here = storage.torchrun("LOCAL_WORLD_SIZE")
    machines = () if here == size else ("--nnodes", str(size // max(here, 1)))
    return "torchrun", *machines, "--nproc-per-node", str(here or size), "-m", "vitrine.training"
