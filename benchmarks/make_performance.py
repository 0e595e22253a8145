"""Writes docs/performance.md: the page performance.md.jinja, filled with the figures of the logs in results/.

    python benchmarks/make_performance.py [--check] [--picture]

--check writes nothing and exits with 1 where the page is not what the logs say. --picture draws docs/images/growth.png,
too.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import logs
import make_results

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
PICTURE = PAGE.parent / "images" / "growth.png"
FILES = tuple(
    f"{name}.jsonl" for name in ("catalogue_search", "catalogue_peers", "search", "adding", "map", "server", "page")
)

PANELS: dict[str, Callable[[dict[str, float]], float]] = {
    "one query, µs": lambda line: 1e6 / line["single_per_s"],
    "building, s": lambda line: line["build_s"],
    "peak memory while building, GB": lambda line: line["peak_bytes"] / 1e9,
    "file, GB": lambda line: line["bytes_per_item"] * line["items"] / 1e9,
}
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")  # Okabe and Ito 2008
MARKERS = "osD^vPX*"


def page(found: logs.Logs) -> str:
    """The page as Markdown."""
    words = {"peers": found.of("catalogue_peers.jsonl"), "adding": found.of("adding.jsonl"), "files": FILES}
    return make_results.rendered(HERE / "performance.md.jinja", {"logs": found, "sizes": sizes(found), **words})


def sizes(found: logs.Logs) -> list[dict[str, Any]]:
    """What search.py said of each number of items: its first line, with the lines of the contestants as `found`."""
    sizes: list[dict[str, Any]] = []
    for line in found.of("search.jsonl"):
        if "what" in line:
            sizes[-1]["found"].append(line)
        else:
            sizes.append({**line, "found": []})
    return sorted(sizes, key=lambda size: int(size["items"]))


def draw(found: logs.Logs, path: Path) -> None:
    """A line for each contestant in each panel, both axes logarithmic."""
    from matplotlib.figure import Figure

    lines = [line for size in sizes(found) for line in size["found"]]
    names = list(dict.fromkeys(line["what"] for line in lines))
    figure = Figure(figsize=(10, 8), layout="constrained", dpi=110)
    for axes, (title, value) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for number, name in enumerate(names):
            points = [(line["items"], value(line)) for line in lines if line["what"] == name]
            axes.plot(
                *zip(*points, strict=True), MARKERS[number], ls="-", color=COLOURS[number], label=name, alpha=0.85
            )
        axes.set(xscale="log", yscale="log", xlabel="items", title=title)
        axes.grid(True, which="major", color="#dddddd")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="say whether the page is what the logs say")
    parser.add_argument("--picture", action="store_true", help="draw docs/images/growth.png, too")
    given = parser.parse_args()
    found = logs.read(HERE / "results")
    if given.picture:
        draw(found, PICTURE)
    make_results.write_or_check(page(found), PAGE, given.check, Path(__file__).name)


if __name__ == "__main__":
    main()
