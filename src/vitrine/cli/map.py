"""vitrine map: the map of a catalogue, and what it is drawn or exported as."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitrine.cli import output
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.catalogue import Catalogue
    from vitrine.mapping import Found, Mapped
    from vitrine.mapping.page import Colour

KINDS = ("parquet", "tensorboard")
CONFIDENCE = "of the 15 nearest, so many have its class"
_SAID = {"computed": "computed", "updated": "brought up to date", "kept": "as it was kept"}


def map_(
    catalogue: Annotated[str, typer.Option("--catalogue", help="The catalogue.")] = "fashion-mnist",
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=2**31 - 1, help="Of the computation; another one is another map.", show_default="101"
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Compute it anew, whatever is there.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Draw it into this PNG.", show_default=False)] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Write a page to walk through, one file that needs no network.", show_default=False
        ),
    ] = None,
    colour: Annotated[
        Literal["class", "confidence"],
        typer.Option(
            "--colour",
            help="Of --out and --html: by class, or by how many of an item's 15 nearest have its class: where few do,"
            " its label or the model may be wrong.",
        ),
    ] = "class",
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            "--export",
            metavar="KIND PATH",
            help="parquet FILE for Embedding Atlas, or tensorboard FOLDER for the Embedding Projector.",
            show_default=False,
        ),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Map a catalogue: what looks alike lies close together. The map is kept with the catalogue; items that come later
    are placed on it, and when more than a tenth has changed it is computed anew.

    Example: vitrine map --catalogue shop --out map.png --html map.html
    """
    _check(out, html, export)
    from vitrine import mapping
    from vitrine.catalogue import by_name

    start = time.perf_counter()
    with by_name.open_(catalogue) as opened:
        with output.stage(f"Map {catalogue}") as progress:
            found = mapping.find(opened, seed, again, progress)
        seconds = time.perf_counter() - start
        mapped = mapping.items(opened, found.stored)
        if colour == "confidence":
            _check_confidence(mapped, catalogue)
        if out is not None:
            _draw(mapped, out, _title(catalogue, mapped), colour)
        if html is not None:
            _write_page(opened, mapped, html, colour)
        if export is not None:
            _export(opened, mapped, *export)
    _tell(catalogue, found, seconds, out, html, export, as_json)


def _check(out: Path | None, html: Path | None, export: tuple[str, Path] | None) -> None:
    """Raises InputError, MissingExtraError: before anything is computed."""
    output.check_picture(out, [])
    if html is not None and not html.name.lower().endswith((".html", ".htm")):
        raise InputError(f"{html} does not end in .html; name the page (--html) so that a browser knows it.")
    if export is None:
        return
    kind, path = export
    if kind not in KINDS:
        raise InputError(f"There is no export {kind!r} (--export); there are {' and '.join(KINDS)}.")
    if kind == "parquet":
        if not path.name.lower().endswith(".parquet"):
            raise InputError(f"{path} does not end in .parquet; name the file so that other programs know it.")
        output.check_extra("pyarrow.parquet", "parquet", "Parquet files need")
    else:
        from vitrine.mapping import projector

        projector.check(path)


def _check_confidence(mapped: "Mapped", catalogue: str) -> None:
    """Raises InputError."""
    if mapped.confidence is None:
        raise InputError(
            f"The map of {catalogue!r} was kept by an older vitrine and does not tell how confident its labels are;"
            f" compute it anew with `vitrine map --catalogue {catalogue} --again`."
        )


def _title(catalogue: str, mapped: "Mapped") -> str:
    return f"{catalogue}: {len(mapped.ids):,} items"


def _draw(mapped: "Mapped", path: Path, title: str, colour: "Colour") -> None:
    from vitrine import mapping, plots

    if colour == "confidence" and mapped.confidence is not None:
        plots.by_share(mapped.points, mapped.confidence.share, path, title, CONFIDENCE)
    else:
        found = mapping.classes(mapped.labels)
        plots.collection(mapped.points, found.which, found.names, found.own, path, title)
    output.say(f"Map: {path}")


def _write_page(opened: "Catalogue", mapped: "Mapped", path: Path, colour: "Colour") -> None:
    from vitrine.mapping import page

    with output.stage(f"Write {path}") as progress:
        pictures = page.write(opened, mapped, path, f"Map of {opened.name}", colour, progress)
    size = path.stat().st_size / 1e6
    output.say(f"Page: {path} ({size:,.1f} MB{'' if pictures else ', without thumbnails: too many for one file'})")


def _export(opened: "Catalogue", mapped: "Mapped", kind: str, path: Path) -> None:
    with output.stage(f"Export {path}") as progress:
        if kind == "parquet":
            from vitrine.mapping import atlas

            atlas.export(mapped, path)
        else:
            from vitrine.mapping import projector

            projector.export(opened, mapped, path, progress)
    output.say(f"Export: {path}")


def _tell(
    catalogue: str,
    found: "Found",
    seconds: float,
    out: Path | None,
    html: Path | None,
    export: tuple[str, Path] | None,
    as_json: bool,
) -> None:
    stored = found.stored
    if as_json:
        output.print_json(
            {
                "catalogue": catalogue,
                "items": len(stored.ids),
                "made": found.made,
                "placed": stored.placed,
                "seed": stored.seed,
                "trustworthiness": round(stored.trust, 6),
                "seconds": round(seconds, 3),
                "picture": None if out is None else str(out),
                "page": None if html is None else str(html),
                "export": None if export is None else str(export[1]),
            }
        )
        return
    placed = f", {stored.placed:,} of them placed later" if stored.placed else ""
    print(
        f"{catalogue}: map of {len(stored.ids):,} items{placed}, {_SAID[found.made]} in {seconds:,.1f} s;"
        f" trustworthiness {stored.trust:.4f}."
    )
    if out is None and html is None and export is None:
        output.say("Look at it with --out map.png or --html map.html.")
