"""vitrine search: what looks like a picture, like an item, or like several and unlike others."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import look, output
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.bridging import Viewer
    from vitrine.catalogue import Catalogue, Match
    from vitrine.catalogue.relevance import Example
    from vitrine.images import Crop, Pixels


def search(
    path: Annotated[str | None, typer.Argument(help="A picture, or - for standard input.", show_default=False)] = None,
    id: Annotated[
        int | None,
        typer.Option(
            "--id", min=1, max=2**63 - 1, help="Search from an item of the catalogue instead.", show_default=False
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option("--like", help="A picture or an item's id, to be like; may be repeated.", show_default=False),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option("--unlike", help="A picture or an item's id, to be unlike; may be repeated.", show_default=False),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help="Only items that meet this; see the example.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many look-alikes.")] = 12,
    offset: Annotated[
        int,
        typer.Option(
            "--offset", min=0, max=10**9, help="Pass over so many of the best; pages of hnsw and ivf-sq8 may overlap."
        ),
    ] = 0,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=-1, max=1, help="Leave out what scores less.", show_default=False)
    ] = None,
    catalogue: Annotated[str, typer.Option("--catalogue", help="Where to search.")] = "fashion-mnist",
    out: Annotated[
        Path | None, typer.Option("--out", help="Draw query and matches into this PNG.", show_default=False)
    ] = None,
    as_json: output.Json = False,
    crop: look.CropOption = None,
) -> None:
    """Find what looks like a picture. Scores are cosine similarities: 1 is the same, 0 has nothing in common. Several
    examples become one query: the mean of the like less half the mean of the unlike.

    Example: vitrine search shoe.jpg -k 5 --where "label = 'Sneaker' and added > 2026-01-01" --out look-alikes.png

    Example: vitrine search --like 12 --like 40 --unlike 7
    """
    if (path is not None) + (id is not None) > 1 or not (path is not None or id is not None or like):
        raise InputError(
            "Name one picture to search with, or one item of the catalogue with --id, or several of both with --like."
        )
    output.check_picture(out, [path or "", *(like or []), *(unlike or [])])
    part = look.parsed(crop)
    if part is not None and path is None:
        raise InputError(
            "--crop is a part of the one picture to search with; name that picture without --like or --id."
        )
    from vitrine.bridging import Viewer
    from vitrine.catalogue import by_name, filters, relevance

    with by_name.open_(catalogue) as opened:
        condition = None if where is None else filters.parse(where, opened.columns())
        encoder = opened.encoder()
        examples = _Examples(opened, Viewer(encoder, opened))
        chosen = [examples.picture(path, part)] if path is not None else [examples.item(id)] if id is not None else []
        chosen += [examples.either(text) for text in like or []]
        avoided = [examples.either(text) for text in unlike or []]
        page = relevance.Page(k, offset, threshold, condition)
        examples_of = ([one.example for one in chosen], [one.example for one in avoided])
        matches = relevance.look_alikes(opened, *examples_of, page)
        if as_json:
            single = chosen[0].source if len(chosen) == 1 and not avoided else None
            sources = {"like": [one.source for one in chosen], "unlike": [one.source for one in avoided]}
            bridges = [one.bridge for one in (*chosen, *avoided) if one.bridge is not None]
            models = {"model": encoder.card.name, "bridge": bridges[0] if bridges else None}
            answer = {"source": single, **models, **sources}
            output.print_json({**answer, "matches": [match._asdict() for match in matches]})
        else:
            _print_matches(matches, catalogue, min(offset, len(opened)))
        if out is not None:
            _draw_matches(opened, chosen, matches, out)


@dataclass(frozen=True)
class _Shown:
    """An example, and what it looks like. bridge: the second model that saw it, if there was one, by its name."""

    example: "Example"
    picture: "Pixels"
    bridge: str | None = None

    @property
    def source(self) -> str:
        return self.example.source


@dataclass(frozen=True)
class _Examples:
    """Where examples come from."""

    catalogue: "Catalogue"
    viewer: "Viewer"

    def item(self, id: int) -> _Shown:
        from vitrine import images
        from vitrine.catalogue.relevance import Example

        item = self.catalogue.item(id)
        return _Shown(Example(item.source, item.vector, id), images.read(item.thumbnail))

    def picture(self, path: str, crop: "Crop | None" = None) -> _Shown:
        from vitrine.catalogue.relevance import Example

        view = self.viewer.look(look.given(path), look.called(path), crop=crop)
        example = Example(path, view.run().vectors[0])
        return _Shown(example, view.picture, view.answering.card.name if view.bridge else None)

    def either(self, text: str) -> _Shown:
        """An item by its id, or a picture; one whose name is a number is named ./12."""
        number = text.isascii() and text.isdigit() and len(text) <= 19 and 0 < int(text) < 2**63
        return self.item(int(text)) if number else self.picture(text)


def _print_matches(matches: list["Match"], catalogue: str, passed: int) -> None:
    """passed: how many of the best were left out before, at most."""
    if not matches and passed:
        print(f"Nothing in {catalogue} comes after the best {passed:,}; take a smaller --offset.")
    elif not matches:
        print(f"Nothing in {catalogue} is that much alike.")
    for match in matches:
        print(f"{match.score:7.4f}  {match.id:>8}  {match.label or '-':14s}  {match.source}")


def _draw_matches(catalogue: "Catalogue", chosen: list[_Shown], matches: list["Match"], path: Path) -> None:
    from vitrine import images, plots

    caption = "query" if len(chosen) == 1 else f"one of {len(chosen)}"
    first = plots.Tile(images.small(chosen[0].picture, 160), caption)
    tiles = [
        plots.Tile(
            images.read(catalogue.item(match.id).thumbnail),
            f"{match.label or Path(match.source).name[:16]}\n{match.score:.3f}",
        )
        for match in matches
    ]
    queries = (first if start == 0 else None for start in range(0, max(1, len(tiles)), 8))
    rows = [(query, tiles[8 * row : 8 * row + 8]) for row, query in enumerate(queries)]
    names = ", ".join(Path(one.source).name for one in chosen[:3]) + (", ..." if len(chosen) > 3 else "")
    plots.neighbours(rows, path, f"What looks like {names} in {catalogue.name}")
    output.say(f"Query and matches: {path}")
