"""Where catalogues live, each in a folder of its name: which there are, how one comes about, and how it goes."""

import os
import re
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from vitrine import storage
from vitrine.catalogue import sentences
from vitrine.catalogue.access import writer_lock
from vitrine.catalogue.store import Store
from vitrine.errors import CatalogueError, InputError, StorageError

_STALE = 86_400.0  # seconds: what has no name yet and is older was left by a program that was killed


def folder(name: str) -> Path:
    """Where a catalogue of that name lives, or would. Raises InputError for what is no name."""
    name = unicodedata.normalize("NFC", name)  # macOS hands over names decomposed
    if name.endswith(".") or not re.fullmatch(r"\w[\w.-]{0,59}", name):
        raise InputError(
            f"{name!r} cannot name a catalogue (--catalogue); allowed: up to 60 letters, digits, '-', '_' and '.', not"
            " '.' or '-' first."
        )
    return storage.data_folder() / "catalogues" / name


def staged(name: str) -> Path:
    """Where a copy is made that becomes the catalogue of that name: see `copying`. Raises InputError."""
    place = folder(name)
    return place.with_name(f".copy-{place.name}")


def exists(name: str) -> bool:
    """Whether there is a catalogue of that name. Raises InputError for what is no name."""
    return (folder(name) / "catalogue.sqlite").exists()


def names() -> list[str]:
    """The catalogues that there are."""
    found = (path.parent.name for path in (storage.data_folder() / "catalogues").glob("*/catalogue.sqlite"))
    return sorted(name for name in found if not name.startswith("."))


def find(name: str) -> Path:
    """Where the catalogue of that name lives. Raises CatalogueError when there is none; InputError for what is no
    name.
    """
    if not exists(name):
        if staged(name).exists():
            raise CatalogueError(
                f"The catalogue {name!r} is an unfinished copy; finish it with `vitrine index copy`, or throw it away"
                f" with `vitrine index remove {name} --all`."
            )
        there = f"there are {', '.join(names())}" if names() else "there is none yet"
        raise CatalogueError(
            f"There is no catalogue {name!r} ({there}); make it with `vitrine index add`, or the one of the demo with"
            " `vitrine demo`."
        )
    return folder(name)


@contextmanager
def making(name: str) -> Iterator[Path]:
    """An empty folder that becomes the catalogue of that name if all goes well, and goes away if not.

    Raises CatalogueError when there is one already; StorageError.
    """
    if exists(name):
        raise CatalogueError(f"There is a catalogue {name!r} already; choose another name.")
    with making_at(folder(name), name) as made:
        yield made


@contextmanager
def making_at(place: Path, name: str) -> Iterator[Path]:
    """The same for a folder that is no catalogue yet, or not by its name. Raises as `making`."""
    _sweep(place.parent)
    made = storage.make_folder(place.with_name(f".new-{uuid.uuid4().hex}"))
    try:
        with sentences.final(name, place):
            yield made
        publish(made, place, name)
    except OSError as error:
        raise storage.disk_error(error, place) from error
    finally:
        with suppress(StorageError):
            storage.remove_folder(made)


def publish(made: Path, place: Path, name: str) -> None:
    """Move a folder that holds a whole catalogue to where the one of that name lies, or is made. Raises CatalogueError
    where there is one; StorageError.
    """
    try:
        made.rename(place)
        storage.settle(place.parent)
    except OSError as error:
        if exists(name):
            raise CatalogueError(f"Another program has just made a catalogue {name!r}; run it again.") from error
        if place.exists():
            raise CatalogueError(
                f"{place} is in the way of the catalogue {name!r}; choose another name, or delete it with"
                f" `vitrine index remove {name} --all`."
            ) from error
        raise storage.disk_error(error, place) from error


def delete(name: str, only_empty: bool = False) -> None:
    """Delete a whole catalogue, a damaged one or an unfinished copy, too; or only if it holds no items.

    Raises CatalogueError when there is none, or somebody else writes; StorageError.
    """
    place = folder(name)
    if not place.exists() and staged(name).is_dir():
        place = staged(name)
    if not place.is_dir():
        raise CatalogueError(f"There is no catalogue {name!r}; see `vitrine index list`.")
    if place.is_symlink():
        raise CatalogueError(f"{place} is a link; delete the link and what it points to by hand.")
    gone = place.with_name(f".gone-{uuid.uuid4().hex}")  # first out of sight as a whole: half a catalogue is never seen
    with sentences.translated(name, place), ExitStack() as lock:
        lock.enter_context(writer_lock(place))  # nobody is at it, and whoever waits finds that it is gone
        if only_empty:
            path = find(name) / "catalogue.sqlite"
            with sentences.final(name, path), closing(Store.open(name, path)) as there:
                if there.meta().items:
                    return
        if os.name == "nt":
            lock.close()  # there, what holds a lock cannot be moved
        try:
            place.rename(gone)
        except OSError as error:
            raise storage.disk_error(error, place) from error
    for leftover in place.parent.glob(".gone-*"):  # one that could not be deleted before, too
        storage.remove_folder(leftover)
    _sweep(place.parent)


def _sweep(catalogues: Path) -> None:
    """Delete what programs that were killed were making."""
    for made in catalogues.glob(".new-*"):
        if all(is_stale(path) for path in (made, *made.glob("*"))):
            with suppress(StorageError):
                storage.remove_folder(made)


def is_stale(path: Path) -> bool:
    """Whether nobody has written there for so long that nobody will."""
    try:
        return time.time() - path.stat().st_mtime > _STALE
    except OSError:
        return False
