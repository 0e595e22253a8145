"""vitrine index backup|restore: a catalogue into one file, and one from it."""

from pathlib import Path
from typing import Annotated

import typer

from vitrine.cli import files, output
from vitrine.errors import CatalogueError

_NOT = "backed up into a file or restored from one; use Milvus's own backup, or export and import it"


def backup(
    name: Annotated[str, typer.Argument(help="The catalogue.")],
    file: Annotated[Path, typer.Argument(help="The file to write; an older backup is replaced.")],
    as_json: output.Json = False,
) -> None:
    """Write a catalogue into one file, its model too, and read all of it again. Others may search, add and remove
    meanwhile; the backup is of one moment.

    Example: vitrine index backup shop /backups/shop.vitrine
    """
    from vitrine.catalogue import backup, by_name
    from vitrine.catalogue.local import LocalCatalogue

    by_name.check_here(name, _NOT)
    with LocalCatalogue.open(name) as opened, output.stage(f"Back up {name}") as progress:
        items = backup.write(opened, file, progress)
    files.written(name, file, items, as_json, sure=", read again and sound")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `vitrine index backup` wrote.")],
    catalogue: Annotated[str, typer.Option("--catalogue", help="The name of the new catalogue.", show_default=False)],
    as_json: output.Json = False,
) -> None:
    """Make a catalogue from a backup. All of it is read and checked.

    Example: vitrine index restore /backups/shop.vitrine --catalogue shop
    """
    from vitrine.catalogue import backup, by_name
    from vitrine.catalogue.sentences import named

    by_name.check_here(catalogue, _NOT)
    with output.stage(f"Restore {file}") as progress:
        lost = backup.restore(file, catalogue, progress)
    files.made_from(catalogue, file, as_json, lost)
    if lost:
        raise CatalogueError(f"The backup {file} is damaged; {named(lost)}; the others are in {catalogue!r} now.")
