"""What a catalogue refuses, and what a damaged one has lost, as sentences."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vitrine.catalogue import Damage, Lost
from vitrine.catalogue.tables import Unsound
from vitrine.errors import CatalogueError, InputError, StorageError, VitrineError

_NAMED = 10  # of the lost items, in a sentence


@contextmanager
def translated(name: str, path: Path) -> Iterator[None]:
    """SQLite's refusals as ours; where pages are damaged, Unsound. A catalogue that is closed, or used by another
    thread than opened it, is the caller's mistake: sqlite3.ProgrammingError.
    """
    try:
        yield
    except (VitrineError, Unsound, sqlite3.ProgrammingError):
        raise
    except OverflowError as error:
        raise InputError(f"A number is too large for a catalogue ({error}); ids are below 2^63.") from error
    except UnicodeEncodeError as error:
        raise CatalogueError(
            f"{error.object!r} is no text in UTF-8, as all is in a catalogue; name something else."
        ) from error
    except sqlite3.DatabaseError as error:
        text = str(error)
        if any(sign in text for sign in ("malformed", "Could not decode", "not a database", "UNIQUE constraint")):
            raise Unsound(text) from error
        if "interrupted" in text:
            raise InputError("This takes longer than it may; ask for less, as with a shorter filter.") from error
        if "locked" in text or "busy" in text:
            raise CatalogueError(
                f"Another program is writing to the catalogue in {path}; wait for it to end and run it again."
            ) from error
        if "full" in text:
            raise StorageError(
                f"Cannot write {path}: the disk is full; free some space and run it again. What was in the catalogue is"
                " still there."
            ) from error
        if "readonly" in text or "read-only" in text:
            raise StorageError(
                f"Cannot write {path}: it is read-only; choose another place with VITRINE_HOME."
            ) from error
        if "disk I/O" in text or "unable to open" in text:
            raise StorageError(
                f"Cannot use {path}: the disk refuses ({text}); see whether it is full, read-only or failing, and run"
                " it again. What was in the catalogue is still there."
            ) from error
        raise CatalogueError(f"The catalogue in {path} refused ({text}); see `vitrine index verify {name}`.") from error


@contextmanager
def final(name: str, path: Path) -> Iterator[None]:
    """As `translated`, where nothing can be saved from damage."""
    try:
        with translated(name, path):
            yield
    except Unsound as error:
        raise CatalogueError(
            f"The catalogue in {path} is damaged beyond reading ({error}); delete it with `vitrine index remove {name}"
            " --all` and add the pictures anew."
        ) from error


def damaged(name: str, found: Damage) -> str:
    """What a damaged catalogue has lost, and what to do."""
    more = len(found.lost) > _NAMED
    mends = f"`vitrine index sync FOLDER --catalogue {name}` mends it and brings back what still lies in FOLDER"
    return (
        f"The catalogue {name!r} is damaged on the disk"
        f" ({found.problem or 'checksums are wrong'}); {named(found.lost)}; {found.advice or mends}"
        + (f" (all that is lost: `vitrine index verify {name} --json`)." if more else ".")
    )


def named(lost: Sequence[Lost]) -> str:
    """Which items are lost, as a part of a sentence."""
    if not lost:
        return "no item is known to be lost"
    shown = ", ".join(f"{one.id} ({one.source or 'its source cannot be read'})" for one in lost[:_NAMED])
    more = f" and {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
    return f"{len(lost):,} {'item is' if len(lost) == 1 else 'items are'} lost: {shown}{more}"
