"""Reports: one self-contained HTML page on a training, or on several side by side, and its pictures.

runs.py         a run's folder read back, and its data found
measured.py     the model measured on images that it has not learnt from
sections.py     the parts of the page on one run
comparison.py   the page on several
page.py         sections into HTML
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrine import projection, storage
from vitrine.datasets.image_folder import Unreadable
from vitrine.errors import InputError
from vitrine.messages import Words
from vitrine.progress import Progress
from vitrine.projection import Map
from vitrine.report import comparison, measured, page, runs, sections
from vitrine.report.comparison import Row
from vitrine.report.measured import Measured
from vitrine.report.page import Section
from vitrine.report.runs import Images, Run
from vitrine.report.sections import Maker

PAGE = "index.html"

PICTURES = (
    "curves.png", "first-25.png", "confusion.png", "classes.png", "answers.png", "wrong.png", "pairs.png",
    "neighbours-right.png", "neighbours-wrong.png", "map.png", "map-classes.png", "distances.png", "reliability.png",
)  # fmt: skip
"""All that a report may draw."""

Stage = Callable[[str], AbstractContextManager[Progress]]
"""Announces a stage of the work by name and gives the progress to report to while it lasts."""


@dataclass(frozen=True)
class Options:
    """data, data_dir: where the data are now, if not where the run had them; seed: chooses the items that are shown;
    map: whether to draw it.
    """

    data: str | None = None
    data_dir: Path | None = None
    seed: int = 0
    map: bool = True


@dataclass(frozen=True)
class Reported:
    """What was found out of a run, and where it stands. trustworthiness: None where there is no map; pictures: of the
    page.
    """

    run: Run
    measured: Measured | None
    trustworthiness: float | None
    notes: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    page: Path
    pictures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """The key figures; None for what could not be measured."""
        found = self.measured
        retrieval = found.retrieval if found else None
        pairs = found.pairs.found if found and found.pairs else None
        return {
            "run": str(self.run.folder),
            "measured_on": found.kind if found else None,
            "n": len(found.asked) if found else None,
            "accuracy": _rounded(found, "accuracy"),
            "ece": _rounded(found, "ece"),
            **{key: _rounded(retrieval, key) for key in ("precision_at_1", "r_precision", "map_at_r")},
            **{key: _rounded(pairs, key) for key in ("pair_loss", "pair_error")},
            "trustworthiness": None if self.trustworthiness is None else round(self.trustworthiness, 6),
            "parameters": self.run.parameters,
            "epochs": len(self.run.history),
            "page": str(self.page),
            "pictures": [str(path) for path in self.pictures],
            "notes": list(self.notes),
        }


def one(folder: Path, out: Path, words: Words, stage: Stage, options: Options) -> Reported:
    """The report on one run, written into the folder `out`: all that can be drawn, and notes on what cannot.

    The page and its pictures are put there when all are done; pictures of an older report go. Raises InputError where
    there is no run, StorageError.
    """
    run = runs.read(folder, words)
    _check_place(out)
    notes, images, found = _look(run, words, stage, options)
    drawn, trust = _map(found, words, stage, options, notes)
    with _all_or_nothing(out) as place, stage(f"Draw {out / PAGE}"):
        made = Maker(run, words, place, options.seed)
        parts = _sections(made, images, found, drawn, trust)
        title = words.text("page.title", {"name": run.name})
        (place / PAGE).write_text(page.render(title, notes, parts, words), encoding="utf-8")
    return Reported(run, found, trust, tuple(notes), _unreadable(images), out / PAGE, _pictures(parts, out))


def several(folders: Sequence[Path], out: Path, words: Words, stage: Stage, options: Options) -> list[Reported]:
    """The report on runs side by side. Raises InputError where one of them is no run, StorageError."""
    read = [runs.read(folder, words) for folder in folders]
    _check_place(out)
    looked = [_look(run, words, stage, options) for run in read]
    rows = [Row(run, found, tuple(notes)) for run, (notes, _, found) in zip(read, looked, strict=True)]
    with _all_or_nothing(out) as place, stage(f"Draw {out / PAGE}"):
        parts, said = comparison.sections(rows, words, place)
        title = words.text("page.comparison", {"runs": words.count(len(rows), "run")})
        (place / PAGE).write_text(page.render(title, said, parts, words), encoding="utf-8")
    return [
        Reported(row.run, row.measured, None, row.notes, _unreadable(images), out / PAGE, _pictures(parts, out))
        for row, (_, images, _) in zip(rows, looked, strict=True)
    ]


def _look(run: Run, words: Words, stage: Stage, options: Options) -> tuple[list[str], Images | None, Measured | None]:
    """A run's data and its model measured on them, with all notes."""
    notes = list(run.notes)
    with stage(f"Load the data of {run.folder}") as progress:
        images = runs.images(run, words, options.data, options.data_dir, notes, progress)
    if images and images.unreadable:
        notes.append(words.text("note.unreadable", {"images": words.count(len(images.unreadable), "image")}))
    if images is None or run.encoder is None:
        return notes, images, None
    with stage(f"Measure {run.folder}") as progress:
        found = measured.measure(run.encoder, images, words, notes, progress)
    return notes, images, found


def _map(
    found: Measured | None, words: Words, stage: Stage, options: Options, notes: list[str]
) -> tuple[Map | None, float | None]:
    if found is None:
        return None, None
    if not options.map:
        notes.append(words.text("note.map_skipped"))
        return None, None
    if len(found.asked) < projection.LEAST:
        notes.append(words.text("note.few_for_map", {"least": words.count(projection.LEAST, "image")}))
        return None, None
    with stage(f"Draw the map of {len(found.asked):,} embeddings") as progress:
        drawn = projection.project(found.embeddings, progress=progress)
    return drawn, projection.trustworthiness(found.embeddings, drawn.points)


def _sections(
    make: Maker, images: Images | None, found: Measured | None, drawn: Map | None, trust: float | None
) -> list[Section]:
    """In the order of the page."""
    run, parts = make.run, []
    parts.append(sections.figures(make, found, trust))
    if run.layers:
        parts.append(sections.model(make))
    if run.history:
        parts.append(sections.curves(make))
    if images and len(images.splits.train):
        parts.append(sections.first(make, images.splits.train))
    if found and run.encoder:
        parts += [sections.confusion(make, found), sections.classes(make, found)]
        parts += [sections.answers(make, found, run.encoder), sections.wrong(make, found)]
        parts += [sections.pairs(make, found)] if found.pairs else []
        parts.append(sections.neighbours(make, found))
        if drawn and trust is not None:
            parts.append(sections.mapped(make, found, drawn, trust))
        parts += [sections.distances(make, found)] if found.pairs else []
        parts.append(sections.reliability(make, found))
    return [*parts, sections.recipe(make, checked=bool(images and run.data.get("checksum")))]


@contextmanager
def _all_or_nothing(out: Path) -> Iterator[Path]:
    """A temporary folder, whose files go into `out` at the end, the page last; nothing of it is left when something
    goes wrong, Ctrl-C included. Raises StorageError.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".report-", dir=out.parent) as made:
            yield Path(made)
            storage.make_folder(out)
            for name in (*PICTURES, PAGE):
                if (Path(made) / name).exists():
                    (Path(made) / name).replace(out / name)
                else:
                    (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise storage.disk_error(error, out) from error


def _check_place(out: Path) -> None:
    """Raises InputError where the report would take the place of something else, StorageError; before any work."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the report with --out.")
    page_there = out / PAGE
    if page_there.exists() and page.MARK.encode() not in page_there.read_bytes()[:2000]:
        raise InputError(f"{page_there} is not a report of vitrine's, and would be lost; name another folder (--out).")
    storage.make_folder(out.parent)


def _pictures(parts: Sequence[Section], out: Path) -> tuple[Path, ...]:
    return tuple(out / picture.name for part in parts for _, picture in part.pictures)


def _unreadable(images: Images | None) -> tuple[Unreadable, ...]:
    return tuple(images.unreadable) if images else ()


def _rounded(found: object, key: str) -> float | None:
    value = getattr(found, key, None)
    return round(value, 6) if isinstance(value, float) else None
