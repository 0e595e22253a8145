"""The command line: parse, one call, print. Each command imports what it needs when it runs, so that help and first
answers are quick.

output.py    printing, progress bars, JSON
data.py      vitrine data show|verify
train.py     vitrine train
together.py  the same in several processes: torchrun -m vitrine.training
look.py      vitrine classify
search.py    vitrine search
compare.py   vitrine compare
evaluate.py  vitrine evaluate
unseen.py    vitrine evaluate RECIPE --protocol unseen-classes
report.py    vitrine report
index.py     vitrine index add|list|info|verify|remove
sync.py      vitrine index sync
engine.py    its --engine
guard.py     who waits for a process that uses Ray
duplicates.py  vitrine index duplicates
exchange.py  vitrine index export|import
backup.py    vitrine index backup|restore
files.py     what backup, restore, export and import share
rebuild.py   vitrine index rebuild
copying.py   vitrine index copy
plan.py      vitrine index plan
map.py       vitrine map
fill.py      what add and sync share
model.py     vitrine model card
wrap.py      vitrine model wrap
learn.py     vitrine model learn|forget
serve.py     vitrine serve
demo.py      vitrine demo
"""

from typing import Annotated

import typer

import vitrine
from vitrine.cli import (
    compare,
    data,
    demo,
    evaluate,
    guard,
    index,
    look,
    map,
    model,
    output,
    report,
    search,
    serve,
    train,
)

app = typer.Typer(
    name="vitrine",
    help="Recognises garments in pictures and finds look-alikes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.command("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("classify")(look.classify)
app.command("search")(search.search)
app.command("compare")(compare.compare)
app.add_typer(index.app, name="index")
app.command("map")(map.map_)
app.add_typer(model.app, name="model")
app.command("serve")(serve.serve)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"vitrine {vitrine.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Recognises garments in pictures and finds look-alikes."""


def main() -> None:
    """The console script: what vitrine raises on purpose becomes one sentence on standard error and exit code 2, and so
    does what the operating system refuses.
    """
    try:
        with output.sentences():
            app()
    except SystemExit as end:
        guard.all_is_said(end.code)
        raise
