"""What backup, restore, export and import share: what they say of a catalogue and a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitrine.cli import output

if TYPE_CHECKING:
    from vitrine.catalogue import Lost


def written(catalogue: str, file: Path, items: int, as_json: bool, sure: str = "") -> None:
    """Say that a whole catalogue lies in a file now."""
    size = file.stat().st_size
    if as_json:
        output.print_json({"catalogue": catalogue, "file": str(file), "items": items, "bytes": size})
    else:
        print(f"{catalogue}: {items:,} items in {file} ({size / 1e6:,.1f} MB){sure}.")


def made_from(catalogue: str, file: Path, as_json: bool, lost: "Sequence[Lost] | None" = None) -> None:
    """Say what is in a catalogue that was made from a file. lost: what a backup has lost; None where it is none."""
    from vitrine.catalogue import by_name

    with by_name.open_(catalogue) as opened:
        items = len(opened)
    if as_json:
        more = {} if lost is None else {"lost": [vars(one) for one in lost]}
        output.print_json({"catalogue": catalogue, "file": str(file), "items": items, **more})
    else:
        print(f"{catalogue}: {items:,} items from {file}.")
