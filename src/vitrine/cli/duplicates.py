"""vitrine index duplicates: items that show the same picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrine.cli import output

if TYPE_CHECKING:
    from vitrine.catalogue import Catalogue
    from vitrine.catalogue.duplicates import Group, Member

_GROUPS, _WIDE = 60, 3  # drawn at most: groups, and items of one beside its first


def duplicates(
    name: Annotated[str, typer.Argument(help="The catalogue.")] = "fashion-mnist",
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help="How alike, as a cosine similarity.", show_default="0.997"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Draw the groups into this PNG.", show_default=False)
    ] = None,
    as_json: output.Json = False,
) -> None:
    """List the items that show the same picture: exact copies, and those whose embeddings are as alike as the threshold
    says. A group is what is alike to its oldest item, so all but that one can go. Nothing is removed.

    Example: vitrine index duplicates shop --out duplicates.png
    """
    output.check_picture(out, [])
    from vitrine.catalogue import by_name, duplicates

    least = duplicates.THRESHOLD if threshold is None else threshold
    with by_name.open_(name) as opened:
        with output.stage(f"Compare the items of {name}") as progress:
            groups = duplicates.find(opened, least, progress)
        if out is not None and groups:
            _draw(opened, groups, out, f"Duplicates in {name}, from {least:g}")
        items = len(opened)
    exact = sum(member.exact for group in groups for member in group.others)
    near = sum(len(group.others) for group in groups) - exact
    if as_json:
        for group in groups:
            output.print_json({"items": [vars(member) for member in (group.first, *group.others)]})
        counts = {"groups": len(groups), "exact": exact, "near": near}
        picture = str(out) if out is not None and groups else None
        output.print_json({"catalogue": name, "items": items, "threshold": least, **counts, "picture": picture})
    else:
        _print(groups)
        print(
            f"{name}: {len(groups):,} {'group' if len(groups) == 1 else 'groups'} with {exact:,} exact copies and"
            f" {near:,} near-duplicates (from {least:g}) among {items:,} items."
        )


def _print(groups: list["Group"]) -> None:
    for group in groups:
        print(f"                {group.first.id:>8}  {group.first.source}")
        for member in group.others:
            print(f"{member.score:7.4f}  {'exact' if member.exact else 'near':5s}  {member.id:>8}  {member.source}")
        print()


def _draw(catalogue: "Catalogue", groups: list["Group"], path: Path, title: str) -> None:
    """Of too many groups some, from the most alike to the least."""
    from vitrine import images, plots

    def tile(member: "Member", caption: str) -> plots.Tile:
        return plots.Tile(images.read(catalogue.item(member.id).thumbnail), f"{member.id}\n{caption}")

    shown = groups
    if len(groups) > _GROUPS:
        shown = [groups[round(place * (len(groups) - 1) / (_GROUPS - 1))] for place in range(_GROUPS)]
    drawn = []
    for group in shown:
        left = len(group.others) - _WIDE
        first = tile(group.first, f"and {left} more" if left > 0 else "oldest")
        others = [tile(one, "exact copy" if one.exact else f"{one.score:.4f}") for one in group.others[:_WIDE]]
        drawn.append((first, others))
    plots.groups(drawn, path, title)
    chosen = f" ({_GROUPS} of {len(groups):,} groups, from the most to the least alike)" if shown is not groups else ""
    output.say(f"Groups: {path}{chosen}")
