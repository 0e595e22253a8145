"""Writes docs/results.md: the page results.md.jinja, filled with the figures of the logs in results/.

    python benchmarks/make_results.py [--check]

--check writes nothing and exits with 1 where the page is not what the logs say. Figures of others, with their sources,
stand in the page's template; every figure of ours comes from a log, and one without a log is "not measured yet".
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import jinja2

import logs

HERE = Path(__file__).parent
TEMPLATE = HERE / "results.md.jinja"
PAGE = HERE.parent / "docs" / "results.md"

WEIGHTS = "second view"
"""How losses.py names the rows of its table of weights."""


def page(found: logs.Logs) -> str:
    """The page as Markdown. Raises LogError where logs contradict each other."""
    return rendered(TEMPLATE, _words(found))


def rendered(template: Path, words: dict[str, Any]) -> str:
    """A page's template, filled."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"fixed": fixed, "duration": duration, "pluck": pluck}
    return environment.from_string(template.read_text(encoding="utf-8")).render({"missing": logs.MISSING, **words})


def _words(found: logs.Logs) -> dict[str, Any]:
    """What the template may say."""
    epoch_seconds = {name: found.values(name, "report_b_speed", "epoch_seconds") for name in ("vitrine", "keras")}
    ours, keras = epoch_seconds.values()
    names = found.subjects("losses")
    classifiers = pluck(found.of("keras_report_a.jsonl"), "stage", "classifier")
    return {
        "logs": found,
        "figure": found.figure,
        "single": found.single,
        "seeds": lambda subject: logs.named(found.seeds(subject, (*logs.EVALUATED, "report_b"))),
        "shown": logs.shown,
        "named": logs.named,
        "unseen": logs.UNSEEN,
        "ratios": sorted(keras[seed] / ours[seed] for seed in ours if seed in keras),
        "median": lambda name: fixed(statistics.median(epoch_seconds[name].values()), 2),
        "keras_classifiers": list({(line["scale"], line["seed"]): line for line in classifiers}.values()),
        "weights": [name for name in names if name.startswith(WEIGHTS)],
        "losses": [name for name in names if not name.startswith(WEIGHTS)],
    }


def fixed(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}"


def duration(milliseconds: float) -> str:
    """As milliseconds below 100 of them, as seconds from there on."""
    if milliseconds < 100:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds / 1000:.2f} s" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"


def pluck(lines: list[dict[str, Any]], key: str, value: object) -> list[dict[str, Any]]:
    """The lines that have this value."""
    return [line for line in lines if line.get(key) == value]


def write_or_check(text: str, page: Path, check: bool, script: str) -> None:
    """Write a page, or end the program where it is another."""
    if not check:
        page.write_text(text, encoding="utf-8")
    elif page.read_text(encoding="utf-8") != text:
        sys.exit(f"docs/{page.name} is not what the logs say; write it with: python benchmarks/{script}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="say whether the page is what the logs say")
    check = parser.parse_args().check
    try:
        write_or_check(page(logs.read(HERE / "results")), PAGE, check, Path(__file__).name)
    except logs.LogError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
