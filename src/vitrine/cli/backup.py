"""vitrine index backup|restore: a catalogue into one file, and one from it."""

from pathlib import Path
from typing import Annotated

import typer

from vitrine.cli import output
from vitrine.errors import CatalogueError


def backup(
    name: Annotated[str, typer.Argument(help="The catalogue.")],
    file: Annotated[Path, typer.Argument(help="The file to write; an older backup is replaced.")],
    as_json: output.Json = False,
) -> None:
    """Write a catalogue into one file, its model too, and read all of it again. Others may search, add and remove
    meanwhile; the backup is of one moment.

    Example: vitrine index backup shop /backups/shop.vitrine
    """
    from vitrine.catalogue import backup
    from vitrine.catalogue.local import LocalCatalogue

    with LocalCatalogue.open(name) as opened, output.stage(f"Back up {name}") as progress:
        items = backup.write(opened, file, progress)
    size = file.stat().st_size
    if as_json:
        output.print_json({"catalogue": name, "file": str(file), "items": items, "bytes": size})
    else:
        print(f"{name}: {items:,} items in {file} ({size / 1e6:,.1f} MB), read again and sound.")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `vitrine index backup` wrote.")],
    catalogue: Annotated[str, typer.Option("--catalogue", help="The name of the new catalogue.", show_default=False)],
    as_json: output.Json = False,
) -> None:
    """Make a catalogue from a backup. All of it is read and checked.

    Example: vitrine index restore /backups/shop.vitrine --catalogue shop
    """
    from vitrine.catalogue import backup
    from vitrine.catalogue.local import LocalCatalogue, named

    with output.stage(f"Restore {file}") as progress:
        lost = backup.restore(file, catalogue, progress)
    with LocalCatalogue.open(catalogue) as opened:
        opened.save_index()
        items = len(opened)
    if as_json:
        facts = {"catalogue": catalogue, "file": str(file), "items": items}
        output.print_json({**facts, "lost": [vars(one) for one in lost]})
    else:
        print(f"{catalogue}: {items:,} items from {file}.")
    if lost:
        raise CatalogueError(f"The backup {file} is damaged; {named(lost)}; the others are in {catalogue!r} now.")
