"""vitrine index sync: a catalogue that follows a folder."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import engine as engines
from vitrine.cli import guard, output
from vitrine.cli.fill import Index, NewModel, Outcome, Target, Wish, check_folder, filling, is_parquet, name_of, tell
from vitrine.errors import CatalogueError, VitrineError

if TYPE_CHECKING:
    from vitrine.catalogue import Catalogue
    from vitrine.encoder import Encoder
    from vitrine.indexing.folder import FolderSync, How
    from vitrine.indexing.from_parquet import ParquetSync
    from vitrine.indexing.reading import Engine

_CALM = 2.0  # seconds: while watching, a picture that is still being written is left for the next look
_SHARE = 10  # of the time spent looking: what is rested at least
_DAY = 86_400.0  # seconds


def sync(
    folder: Annotated[str, typer.Argument(help="A folder of pictures, or a Parquet file of them.")],
    catalogue: Target = None,
    model: NewModel = None,
    index: Index = None,
    columns: Annotated[
        Path | None,
        typer.Option("--columns", help="A CSV about the pictures.", show_default="items.csv in the folder"),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Take everything out if the folder holds no pictures any more.")
    ] = False,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read every picture, even if its size and times say it is unchanged.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep at it until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, max=_DAY, help="Seconds between looks with --watch.")
    ] = 5.0,
    engine: engines.Name = "here",
    ray_address: engines.Address = None,
    ship: engines.Ship = False,
    as_json: output.Json = False,
) -> None:
    """Bring a catalogue to agree with a folder: new pictures are added, changed ones embedded anew, gone ones taken
    out, and the columns of a CSV kept with them. Run it again after a stop. A damaged catalogue is mended first.

    Example: vitrine index sync ~/shop/pictures --catalogue shop --watch
    """
    check_folder(folder)
    if engine == "ray":
        guard.guard()
    from vitrine.indexing.folder import How
    from vitrine.indexing.here import Here

    where = engines.engine(engine, ray_address, ship, to_the_end=not watch)
    name = catalogue or name_of(folder)
    with filling(name, Wish(model, index, _pictures(folder), mend=True, keep_empty=watch)) as filled:
        looking = _looking(filled.encoder, folder, How(allow_empty=allow_empty, columns=columns, reread=reread), where)
        with output.stage(f"Bring {name} up to date") as progress:
            report = looking.run(filled.catalogue, progress)
        outcome = Outcome.of(filled, report)
    try:
        tell(folder, outcome, as_json)
    except VitrineError as error:
        if not watch:
            raise
        output.say(f"vitrine: {error}")
    if watch:
        looking.how = replace(looking.how, reread=False, calm=_CALM)
        looking.engine = Here()  # a cluster is for the many at once
        output.say(f"Watching {folder}; stop with Ctrl-C.")
        _watch(looking, outcome, interval, as_json)


def _pictures(what: str) -> "Sequence[str | bytes]":
    """Pictures that are there, all or some. What is no folder and no Parquet file makes no catalogue."""
    if is_parquet(what):
        from vitrine.indexing import from_parquet

        return from_parquet.samples(Path(what))
    from vitrine.datasets import image_folder

    return image_folder.find(what)[0]


def _looking(encoder: "Encoder", what: str, how: "How", engine: "Engine") -> "FolderSync | ParquetSync":
    if is_parquet(what):
        from vitrine.indexing.from_parquet import ParquetSync

        return ParquetSync(encoder, Path(what), how, engine)
    from vitrine.indexing.folder import FolderSync

    return FolderSync(encoder, Path(what), how, engine)


def _watch(looking: "FolderSync | ParquetSync", last: Outcome, interval: float, as_json: bool) -> None:
    """Look again and again. What is wrong is said once: it may pass."""
    from vitrine.catalogue import by_name

    said = ""
    while True:
        time.sleep(max(interval, _SHARE * looking.seconds))
        problem = ""
        try:
            with by_name.open_(last.name) as opened:
                before, last = last, _look_again(looking, opened)
                if last.report.changed or last.report.unreadable != before.report.unreadable:
                    tell("the folder", last, as_json)
        except VitrineError as error:
            problem = str(error)
        if problem and problem != said:
            output.say(f"vitrine: {problem}")
        said = problem


def _look_again(looking: "FolderSync | ParquetSync", opened: "Catalogue") -> Outcome:
    try:
        opened.check_model(looking.encoder.card.identity, looking.encoder.card.name)
    except CatalogueError:
        looking.encoder = opened.encoder()  # it has moved to another model
    report = looking.run(opened)
    if report.changed:
        opened.save_index()
    return Outcome(opened.name, len(opened), report)
