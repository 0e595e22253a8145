"""vitrine index: catalogues."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrine.cli import backup, copying, duplicates, exchange, output, plan, rebuild, sync
from vitrine.cli.fill import (
    Filling,
    Index,
    NewModel,
    Outcome,
    Target,
    Wish,
    check_folder,
    filling,
    is_parquet,
    name_of,
    tell,
)
from vitrine.errors import CatalogueError, DataError, InputError, VitrineError

if TYPE_CHECKING:
    from vitrine.catalogue import Catalogue, Info
    from vitrine.indexing import Report

app = typer.Typer(no_args_is_help=True, help="Make catalogues of pictures, add and remove.")
app.command("sync")(sync.sync)
app.command("duplicates")(duplicates.duplicates)
app.command("export")(exchange.export)
app.command("import")(exchange.import_)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("rebuild")(rebuild.rebuild)
app.command("copy")(copying.copy)
app.command("plan")(plan.plan)

Name = Annotated[str, typer.Argument(help="The catalogue.")]


@app.command()
def add(
    what: Annotated[str, typer.Argument(help="fashion-mnist, drawn, a folder of pictures, or a Parquet file of them.")],
    catalogue: Target = None,
    model: NewModel = None,
    index: Index = None,
    data_dir: output.DataDir = None,
    as_json: output.Json = False,
) -> None:
    """Add pictures to a catalogue. What is there already is left alone, what changed is replaced: run it again after a
    stop. Columns of an items.csv in the folder are kept with its pictures.

    Example: vitrine index add ~/shop/pictures --catalogue shop
    """
    from vitrine.datasets import by_name, image_folder

    check_folder(what)
    name = catalogue or name_of(what)
    if catalogue is None and name in by_name.NAMES and what not in by_name.NAMES:
        raise InputError(f"The folder is called like the data set {name}; name its catalogue with --catalogue.")
    files: Sequence[str | Path | bytes] | None = None
    if is_parquet(what):
        from vitrine.indexing import from_parquet

        files = from_parquet.samples(Path(what))
    elif what not in by_name.NAMES:
        if not Path(what).is_dir():
            raise DataError(
                f"There is no data set and no folder {what!r}; known are {', '.join(by_name.NAMES)}, or name a folder"
                " of pictures or a Parquet file."
            )
        files = image_folder.scan(Path(what))[0]  # what cannot be added makes no catalogue
    with filling(name, Wish(model, index, files)) as filled:
        report = _add(what, filled, data_dir)
        outcome = Outcome.of(filled, report)
    tell(what, outcome, as_json)


def _add(what: str, filled: Filling, data_dir: Path | None) -> "Report":
    from vitrine.datasets import by_name
    from vitrine.indexing import data_set, folder

    catalogue, encoder = filled.catalogue, filled.encoder
    if is_parquet(what):
        from vitrine.indexing.from_parquet import ParquetSync

        with output.stage(f"Add {what} to {catalogue.name}") as progress:
            return ParquetSync(encoder, Path(what), folder.How(drop=False)).run(catalogue, progress)
    if what not in by_name.NAMES:
        with output.stage(f"Add {what} to {catalogue.name}") as progress:
            return folder.add_folder(catalogue, encoder, Path(what), progress)
    with output.stage(f"Load {what}") as progress:
        dataset = by_name.load(what, data_dir, progress=progress).splits.whole()
    with output.stage(f"Add {what} to {catalogue.name}") as progress:
        return data_set.add_dataset(catalogue, encoder, dataset, progress)


@app.command("list")
def list_(
    server: Annotated[
        str | None,
        typer.Argument(help="A Milvus server, as milvus+http://HOST:19530.", show_default="this machine"),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """The catalogues that there are, on this machine or on a Milvus server."""
    from vitrine.catalogue import by_name

    failed: list[VitrineError] = []
    names = by_name.names(server)
    for name in names:
        try:
            with by_name.open_(name) as opened:
                info = opened.info()
        except VitrineError as error:
            failed.append(error)
            continue
        if as_json:
            output.print_json(_facts(info))
        else:
            print(f"{info.name:24s} {info.items:>10,} items  {info.bytes / 1e6:>8,.1f} MB  model {info.model}")
    for other in failed[:-1]:
        output.say(f"vitrine: {other}")
    if failed:
        raise failed[-1]
    if not names and not as_json:
        output.say(
            "There is no catalogue yet; make one with `vitrine index add`, or the one of the demo with `vitrine demo`."
        )


@app.command()
def info(name: Name = "fashion-mnist", as_json: output.Json = False) -> None:
    """What a catalogue holds and what made it."""
    from vitrine.catalogue import by_name

    with by_name.open_(name) as opened:
        facts = _facts(opened.info())
    if as_json:
        output.print_json(facts)
    else:
        facts["columns"] = ", ".join(f"{column} ({count:,})" for column, count in facts["columns"].items()) or "-"
        for key, value in facts.items():
            print(f"{key:16s} {value:,}" if isinstance(value, int) else f"{key:16s} {value}")


def _facts(info: "Info") -> dict[str, Any]:
    return {
        "catalogue": info.name,
        "items": info.items,
        "labels": info.labels,
        "model": info.model,
        "identity": info.identity,
        "dimensions": info.dimensions,
        "index": info.index,
        "bytes": info.bytes,
        "format_version": info.format_version,
        "columns": info.columns,
    }


@app.command()
def verify(name: Name = "fashion-mnist", as_json: output.Json = False) -> None:
    """Read everything in a catalogue, and name what the disk has damaged.

    Example: vitrine index verify shop
    """
    from vitrine.catalogue import by_name, sentences

    with by_name.open_(name) as opened:
        with output.stage(f"Check {name}") as progress:
            damage = opened.check(progress)
        items = None if damage.found else len(opened)
        index = None
        if not damage.found:
            opened.encoder()  # its copy of the model, too
            with output.stage(f"Check the index of {name}"):
                index = opened.check_index()
    if as_json:
        facts = {"catalogue": name, "items": items, "sound": not damage.found, "problem": damage.problem}
        facts |= {"index": index}
        output.print_json({**facts, "lost": [vars(one) for one in damage.lost]})
    elif not damage.found:
        print(f"{name}: {items:,} items, all sound.")
        if index == "deleted":
            print("The index beside them was damaged, or of another vitrine, and is deleted; the next search makes it.")
    if damage.found:
        raise CatalogueError(sentences.damaged(name, damage))


@app.command()
def remove(
    name: Name,
    ids: Annotated[
        list[int] | None,
        typer.Argument(min=1, max=2**63 - 1, help="Ids of items, as `vitrine search` prints them.", show_default=False),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="The item that came from there; may be repeated.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole catalogue.")] = False,
    as_json: output.Json = False,
) -> None:
    """Take items out of a catalogue, or delete it whole.

    Example: vitrine index remove shop 17 18
    """
    from vitrine.catalogue import by_name

    if everything == bool(ids or source):
        raise InputError("Say which items to remove, by id or --source, or --all for the whole catalogue.")
    if everything:
        removed, left = _delete(name), 0
        wanted: set[int] = set()
    else:
        with by_name.open_(name) as opened:
            wanted = set(ids or []) | _ids_of(source or [], opened)
            removed = opened.remove(sorted(wanted))
            opened.save_index()
            left = len(opened)
    if as_json:
        output.print_json({"catalogue": name, "removed": removed, "items": left})
    else:
        print(f"{name}: {'all' if removed is None else f'{removed:,}'} removed, {left:,} left.")
    if removed is not None and removed < len(wanted):
        raise InputError(
            f"{len(wanted) - removed} of the {len(wanted)} items were not in {name}; the others were removed."
        )


def _delete(name: str) -> int | None:
    """Delete a catalogue; how many items it had, or None where it is too damaged to tell."""
    from vitrine.catalogue import by_name

    removed: int | None = None
    with suppress(CatalogueError), by_name.open_(name) as opened:
        removed = len(opened)  # --all means all, whatever state it is in
    by_name.delete(name)
    return removed


def _ids_of(sources: list[str], opened: "Catalogue") -> set[int]:
    known = opened.ids([path for source in sources for path in (source, os.path.abspath(source))])
    found = set()
    for source in sources:
        id = known.get(source, known.get(os.path.abspath(source)))
        if id is None:
            raise InputError(f"The catalogue {opened.name!r} has no item from {source!r}; nothing was removed.")
        found.add(id)
    return found
