"""vitrine index: catalogues."""

import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import output
from vitrine.errors import CatalogueError, DataError, InputError, VitrineError

if TYPE_CHECKING:
    from vitrine.catalogue import Info
    from vitrine.encoder import Encoder

app = typer.Typer(no_args_is_help=True, help="Make catalogues of pictures, add and remove.")

Name = Annotated[str, typer.Argument(help="The catalogue.")]


@app.command()
def add(
    what: Annotated[str, typer.Argument(help="fashion-mnist, drawn, or a folder of pictures.")],
    catalogue: Annotated[
        str | None,
        typer.Option("--catalogue", help="Its name; made if it is not there.", show_default="the folder's name"),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model of a new catalogue.", show_default="default")
    ] = None,
    data_dir: output.DataDir = None,
    as_json: output.Json = False,
) -> None:
    """Add pictures to a catalogue. What is there already is left alone, what changed is replaced: run it again after a
    stop.

    Example: vitrine index add ~/shop/pictures --catalogue shop
    """
    from vitrine import indexing
    from vitrine.catalogue import local
    from vitrine.datasets import by_name, image_folder

    name = catalogue or re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", Path(what).resolve().name)).strip("-")
    if catalogue is None and name in by_name.NAMES and what not in by_name.NAMES:
        raise InputError(f"The folder is called like the data set {name}; name its catalogue with --catalogue.")
    encoder = _encoder(name, model)
    # what cannot be added makes no catalogue
    if what in by_name.NAMES:
        with output.stage(f"Load {what}") as progress:
            dataset = by_name.load(what, data_dir, encoder.card.image, progress).splits.whole()
    elif Path(what).is_dir():
        image_folder.scan(Path(what))
    else:
        raise DataError(
            f"There is no data set and no folder {what!r}; known are {', '.join(by_name.NAMES)}, or name a folder of"
            " pictures."
        )
    new = not local.exists(name)
    opened = local.LocalCatalogue.create(name, encoder) if new else local.LocalCatalogue.open(name)
    items: int | None = None  # not known: then nothing is deleted
    try:
        with opened, output.stage(f"Add {what} to {name}") as progress:
            try:
                if what in by_name.NAMES:
                    report = indexing.add_dataset(opened, encoder, dataset, progress)
                else:
                    report = indexing.add_folder(opened, encoder, Path(what), progress)
                opened.save_index()
            finally:
                items = opened.info().items
    except KeyboardInterrupt:
        output.say(f"Stopped. {name} holds {items or 0:,} items; run the same command again to go on.")
        raise
    finally:
        if new and items == 0:  # nothing came of it
            local.delete(name)
    if as_json:
        output.print_json(
            {
                "catalogue": name,
                "items": items,
                "added": report.added,
                "replaced": report.replaced,
                "unchanged": report.unchanged,
                "unreadable": [{"source": str(entry.path), "reason": entry.reason} for entry in report.unreadable],
            }
        )
    else:
        print(
            f"{name}: {report.added:,} added, {report.replaced:,} replaced, {report.unchanged:,} unchanged; {items:,}"
            " items."
        )
    output.list_unreadable(report.unreadable)
    if report.unreadable and not report.added + report.replaced + report.unchanged:
        raise DataError(f"None of the {len(report.unreadable)} pictures in {what} could be read; nothing was added.")


def _encoder(name: str, model: str | None) -> "Encoder":
    """The catalogue's own model, or the one that a new catalogue will have. A model that is named must be its own."""
    from vitrine.catalogue import local
    from vitrine.encoder import Encoder

    local.folder(name)  # refuses what is no name before a model is loaded
    if not local.exists(name):
        return Encoder.load(model or "default")
    with local.LocalCatalogue.open(name) as opened:
        if model is not None:
            card = Encoder.load(model).card
            opened.check_model(card.identity, card.name)
        return opened.encoder()


@app.command("list")
def list_(as_json: output.Json = False) -> None:
    """The catalogues that there are."""
    from vitrine.catalogue import local

    failed: list[VitrineError] = []
    for name in local.names():
        try:
            with local.LocalCatalogue.open(name) as opened:
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
    if not local.names() and not as_json:
        output.say(
            "There is no catalogue yet; make one with `vitrine index add`, or the one of the demo with `vitrine demo`."
        )


@app.command()
def info(name: Name = "fashion-mnist", as_json: output.Json = False) -> None:
    """What a catalogue holds and what made it."""
    from vitrine.catalogue.local import LocalCatalogue

    with LocalCatalogue.open(name) as opened:
        facts = _facts(opened.info())
    if as_json:
        output.print_json(facts)
    else:
        for key, value in facts.items():
            print(f"{key:16s} {value:,}" if isinstance(value, int) else f"{key:16s} {value}")


def _facts(info: "Info") -> dict[str, str | int]:
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
    }


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
    from vitrine.catalogue import local

    if everything == bool(ids or source):
        raise InputError("Say which items to remove, by id or --source, or --all for the whole catalogue.")
    if everything:
        removed, left = _delete(name), 0
        wanted: set[int] = set()
    else:
        with local.LocalCatalogue.open(name) as opened:
            wanted = set(ids or [])
            if source:
                numbers, _, sources = opened.vectors()
                wanted |= _ids_of(source, dict(zip(sources, numbers.tolist(), strict=True)), name)
            removed = opened.remove(sorted(wanted))
            opened.save_index()
            left = opened.info().items
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
    from vitrine.catalogue import local

    removed: int | None = None
    with suppress(CatalogueError), local.LocalCatalogue.open(name) as opened:
        removed = opened.info().items  # --all means all, whatever state it is in
    local.delete(name)
    return removed


def _ids_of(sources: list[str], known: dict[str, int], name: str) -> set[int]:
    found = set()
    for source in sources:
        id = known.get(source, known.get(os.path.abspath(source)))
        if id is None:
            raise InputError(f"The catalogue {name!r} has no item from {source!r}; nothing was removed.")
        found.add(id)
    return found
