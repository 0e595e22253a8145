"""What `index add` and `index sync` share: the catalogue that is filled, and what is said of it afterwards."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vitrine.cli import output
from vitrine.errors import CatalogueError, DataError, InputError

if TYPE_CHECKING:
    from vitrine.catalogue import Catalogue, Lost
    from vitrine.encoder import Encoder
    from vitrine.indexing import Report

Target = Annotated[
    str | None, typer.Option("--catalogue", help="Its name; made if it is not there.", show_default="the folder's name")
]
NewModel = Annotated[
    str | None, typer.Option("--model", help="The model of a new catalogue.", show_default="by what the pictures are")
]
Index = Annotated[
    Literal["auto", "exact", "hnsw", "ivf", "ivf-sq8"] | None,
    typer.Option("--index", help="How it is searched from now on; auto: by its size.", show_default="as it is"),
]


def check_folder(name: str) -> None:
    """Raises InputError for no name at all, which to Path is the current folder."""
    if not name:
        raise InputError("The folder's name is empty; name a folder of pictures.")


def is_parquet(what: str) -> bool:
    """Whether that is meant to be a Parquet file of pictures. Raises MissingExtraError where it cannot be read."""
    if not what.lower().endswith(".parquet") or Path(what).is_dir():
        return False
    output.check_extra("pyarrow.parquet", "parquet", "Parquet files need")
    return True


def name_of(what: str) -> str:
    """The name of the catalogue for that folder, file or data set, where none is given."""
    what = what[: -len(".parquet")] if what.lower().endswith(".parquet") else what
    return re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", Path(what).resolve().name)).strip("-")


@dataclass(frozen=True)
class Filling:
    """A catalogue that is being filled, and its model. lost: what the disk had damaged in it."""

    catalogue: "Catalogue"
    encoder: "Encoder"
    lost: "tuple[Lost, ...]"


@dataclass(frozen=True)
class Wish:
    """model: of a new catalogue, by name; None for the one that the files are for, or for `default` where a data set is
    added instead of files. index: the kind. mend: look for damage first, and mend it. keep_empty: keep a new catalogue
    even if nothing comes of it.
    """

    model: str | None
    index: str | None
    files: Sequence[str | Path | bytes] | None = None
    mend: bool = False
    keep_empty: bool = False


@contextmanager
def filling(name: str, wish: Wish) -> Iterator[Filling]:
    """The catalogue of that name, or a new one. At the end its index is made ready."""
    from vitrine.catalogue import by_name

    by_name.check(name)  # refuses what is no name before a model is loaded
    new = not by_name.exists(name)
    opened = by_name.create(name, _new_model(name, wish)) if new else by_name.open_(name)
    items: int | None = None  # not known: then nothing is deleted
    try:
        with opened, opened.sole_writer():
            lost = () if new or not wish.mend else _mend(opened)
            try:
                encoder = _model(opened, wish.model)
                if wish.index is not None:
                    opened.use_index(wish.index)
                yield Filling(opened, encoder, lost)
            finally:
                items = len(opened)
            opened.save_index()
    except KeyboardInterrupt:
        output.say(f"Stopped. {name} holds {items or 0:,} items; run the same command again to go on.")
        raise
    finally:
        if new and items == 0 and not wish.keep_empty:
            with suppress(CatalogueError):  # somebody else is at it, or has deleted it
                by_name.delete(name, only_empty=True)


def _new_model(name: str, wish: Wish) -> "Encoder":
    """The model for a new catalogue. Where there was a choice, it is said."""
    from vitrine import choosing
    from vitrine.encoder import Encoder

    if wish.model is not None or wish.files is None:
        return Encoder.load(wish.model or choosing.DEFAULT)
    choice = choosing.for_files(wish.files)
    encoder = Encoder.load(choice.model)
    if choosing.photo_is_there():
        output.say(f"{name} is searched by the model {choice.model}: {choice} (--model names another).")
    return encoder


def _mend(opened: "Catalogue") -> "tuple[Lost, ...]":
    from vitrine.catalogue.sentences import named

    with output.stage(f"Check {opened.name}") as progress:
        lost = opened.repair(progress)
    if lost:  # said now: nobody knows of them any more if what follows fails
        output.say(f"The disk had damaged {opened.name}; {named(lost)}.")
    return lost


def _model(opened: "Catalogue", named: str | None) -> "Encoder":
    """The catalogue's own model. One that is named must be that."""
    from vitrine.encoder import Encoder

    if named is not None:
        card = Encoder.load(named).card
        opened.check_model(card.identity, card.name)
    return opened.encoder()


@dataclass(frozen=True)
class Outcome:
    """What came of a filling. items: how many there are now. mended: how many damaged items are back. lost: the damaged
    ones that are not.
    """

    name: str
    items: int
    report: "Report"
    mended: int = 0
    lost: "tuple[Lost, ...]" = ()

    @classmethod
    def of(cls, filled: Filling, report: "Report") -> "Outcome":
        back = filled.catalogue.ids(one.source for one in filled.lost if one.source)
        lost = tuple(one for one in filled.lost if one.source not in back)
        return cls(filled.catalogue.name, len(filled.catalogue), report, len(filled.lost) - len(lost), lost)


def tell(what: str, outcome: Outcome, as_json: bool) -> None:
    """Print what came of it.

    Raises DataError where no picture could be read, CatalogueError where damaged items did not come back.
    """
    name, report = outcome.name, outcome.report
    if as_json:
        output.print_json(
            {
                "catalogue": name,
                "items": outcome.items,
                "added": report.added,
                "replaced": report.replaced,
                "removed": report.removed,
                "unchanged": report.unchanged,
                "columns_updated": report.columns_updated,
                "unreadable": [{"source": str(entry.path), "reason": entry.reason} for entry in report.unreadable],
                "unmatched": [vars(line) for line in report.unmatched],
                "mended": outcome.mended,
                "lost": [vars(one) for one in outcome.lost],
            }
        )
    else:
        removed = f" {report.removed:,} removed," if report.removed else ""
        columns = f" ({report.columns_updated:,} with other columns or label)" if report.columns_updated else ""
        mended = f" {outcome.mended:,} damaged before, read again." if outcome.mended else ""
        print(
            f"{name}: {report.added:,} added, {report.replaced:,} replaced,{removed} {report.unchanged:,}"
            f" unchanged{columns}; {outcome.items:,} items.{mended}",
            flush=True,
        )
    _say_unmatched(report)
    output.list_unreadable(report.unreadable)
    if outcome.lost:
        from vitrine.catalogue.sentences import named

        raise CatalogueError(
            f"The disk had damaged {name}; {named(outcome.lost)}; this did not come back from here: add it again from"
            " where it came."
        )
    if report.unreadable and not report.changed + report.unchanged:
        raise DataError(f"None of the {len(report.unreadable)} pictures in {what} could be read; nothing was added.")


def _say_unmatched(report: "Report") -> None:
    if report.unmatched:
        shown = ", ".join(f"line {line.line} ({line.file})" for line in report.unmatched[: output.LISTED])
        more = ", ..." if len(report.unmatched) > output.LISTED else ""
        output.say(f"The CSV names pictures that are not there: {shown}{more}.")
