"""Writes docs/photos.md: the page photos.md.jinja, filled with the figures of the log results/photos.jsonl.

    python benchmarks/make_photos.py [--check]

--check writes nothing and exits with 1 where the page is not what the log says.
"""

import argparse
import sys
from pathlib import Path

import logs
import make_results
import photo_data
import photo_figures
import photo_table
from photo_table import Line
from vitrine.datasets.fashion_mnist import CLASS_NAMES

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "photos.md"
LOG = "photos.jsonl"


def page(found: logs.Logs) -> str:
    """The page as Markdown. Raises LogError where lines contradict each other, or are of a sample."""
    lines = found.of(LOG)
    if any(line["sample"] is not None for line in lines):
        raise logs.LogError(f"{LOG} has lines of a --sample, which is for a quick look; make it anew without.")
    grouped = photo_table.names(lines, "groups")
    words = {
        "rows": rows(lines),
        "beside": [(title, name, _shown(lines, name, key)) for key, title, name in _beside(lines)],
        "grouped": {name: photo_table.by_group(lines, name) for name in grouped},
        "confused": next((line for line in lines if line["name"] in grouped[:1] and "confusion" in line), None),
        "groups": list(photo_figures.GROUPS),
        "classes": CLASS_NAMES["en"],
        "curve": {photos: logs.shown(right) for photos, right in photo_table.curve(lines).items()},
        "kinds": [line for line in lines if "no_clothing_by" in line],
        "new": [line for line in lines if "new_by" in line],
        "shown": logs.shown,
        "copies": photo_data.COPIES,
        "made": found.commands().get(LOG, []),
    }
    return make_results.rendered(HERE / "photos.md.jinja", words)


def rows(lines: list[Line]) -> list[dict[str, str]]:
    """A row for each figure that is asked for and each model that has it."""
    found = []
    for asked in photo_table.ASKED:
        limit = f"{'at most' if asked.at_most else 'at least'} {asked.value:.2f}"
        for name in photo_table.asked_of(lines, asked) or [""]:
            row = {"title": asked.title, "asked": limit, "name": name, "figure": logs.MISSING, "n": ""}
            if name:
                met = photo_table.reached(asked, photo_table.values(lines, name, asked.key))
                figure = _shown(lines, name, asked.key)
                row["figure"] = f"**{figure}**" if met else figure
                row["n"] = f"{photo_table.count(lines, name, photo_table.COUNTS[asked.key]):,}"
            found.append(row)
    return found


def _beside(lines: list[Line]) -> list[tuple[str, str, str]]:
    """Key, title and row of the figures that nothing is asked of."""
    return [(key, title, name) for key, title in photo_table.BESIDE.items() for name in photo_table.names(lines, key)]


def _shown(lines: list[Line], name: str, key: str) -> str:
    return logs.shown(photo_table.values(lines, name, key))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="say whether the page is what the log says")
    check = parser.parse_args().check
    try:
        make_results.write_or_check(page(logs.read(HERE / "results")), PAGE, check, Path(__file__).name)
    except logs.LogError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
