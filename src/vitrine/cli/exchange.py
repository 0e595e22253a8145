"""vitrine index export|import: a catalogue as a Parquet file, and one from such a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import files, output
from vitrine.errors import InputError, ModelFileError

if TYPE_CHECKING:
    from vitrine.catalogue.parquet import Facts
    from vitrine.encoder import Encoder

Name = Annotated[str, typer.Argument(help="The catalogue.")]


def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The Parquet file to write; an older one is replaced.")],
    thumbnails: Annotated[bool, typer.Option(help="With small pictures of the items.")] = True,
    as_json: output.Json = False,
) -> None:
    """Write a catalogue into a Parquet file: vectors, labels, sources, columns and small pictures of all items. It is
    read by pandas and other programs, and by `vitrine index import`.

    Example: vitrine index export shop shop.parquet
    """
    if not file.name.lower().endswith(".parquet"):
        raise InputError(f"{file} does not end in .parquet; name the file so that other programs know it.")
    output.check_extra("pyarrow.parquet", "parquet", "Parquet files need")
    from vitrine.catalogue import by_name, parquet

    with by_name.open_(name) as opened, output.stage(f"Export {name}") as progress:
        items = parquet.export(opened, file, thumbnails, progress)
    files.written(name, file, items, as_json)


def import_(
    file: Annotated[Path, typer.Argument(help="A file that `vitrine index export` wrote.")],
    catalogue: Annotated[str, typer.Option("--catalogue", help="The name of the new catalogue.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="The model that made the vectors, by name or path.", show_default="found by its identity"
        ),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Make a catalogue from a Parquet file. It gets the items with their ids, or nothing where anything is wrong.

    Example: vitrine index import shop.parquet --catalogue shop-2
    """
    output.check_extra("pyarrow.parquet", "parquet", "Parquet files need")
    from vitrine.catalogue import by_name, parquet

    by_name.check(catalogue)  # refuses what is no name
    encoder = _model(parquet.facts_of(file), model, file)
    with output.stage(f"Import {file}") as progress:
        by_name.load(file, catalogue, encoder, progress)
    files.made_from(catalogue, file, as_json)


def _model(facts: "Facts", named: str | None, file: Path) -> "Encoder":
    """The model that is named, or one of those known by name that made these vectors."""
    from vitrine import encoder as encoders
    from vitrine.encoder import Encoder

    if named is not None:
        return Encoder.load(named)
    known = encoders.of_identity(facts.identity)
    if known is not None:
        return known
    raise ModelFileError(
        f"The vectors in {file} are of the model {facts.model} ({facts.identity[:8]}), which is not among those known"
        f" here ({', '.join(encoders.names())}); name its file with --model."
    )
