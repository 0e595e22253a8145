"""From one catalogue into another, of any kind.

The copy is made out of sight, in a `Staging`, and takes its name when all of it has been read again and agrees. Items
are copied by id, and ids are never used again; so a copy that was stopped goes on after the highest id it holds, and
what has come, gone or changed in the source since is found by comparing what both know, id by id.
"""

import hashlib
import json
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from vitrine.catalogue import Catalogue, Entry, Known
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, InputError
from vitrine.progress import Progress, silent

BATCH = 1000  # items at once: some 2 MB
_ROUNDS = 5  # for a source that cannot be read as of one moment
_LENGTH = struct.Struct("<q")
_TOLD = 2000  # items between two reports of progress, when reading


@dataclass(frozen=True)
class Record:
    """What a copy that is under way is of. source: the catalogue's name. model, identity: see `ModelCard`."""

    source: str
    model: str
    identity: str

    def to_json(self) -> dict[str, Any]:
        return {"format_version": 1, **vars(self)}

    @classmethod
    def from_json(cls, said: Any, name: str) -> "Record":
        """name: of the copy. Raises CatalogueError where it does not say that."""
        try:
            return cls(str(said["source"]), str(said["model"]), str(said["identity"]))
        except (KeyError, TypeError) as error:
            raise CatalogueError(
                f"The unfinished copy {name!r} does not say what it is of ({said!r}); throw it away with `vitrine index"
                f" remove {name} --all` and run it again."
            ) from error


class Staging(Protocol):
    """Where a copy is made that becomes the catalogue of that name."""

    name: str

    def record(self) -> Record | None:
        """What the copy under way is of; None where there is none. Raises CatalogueError where that cannot be read."""
        ...

    def begin(self, record: Record, encoder: Encoder) -> None:
        """Make an empty catalogue, out of sight."""
        ...

    def open(self) -> Catalogue:
        """The catalogue out of sight."""
        ...

    def publish(self, finished: Catalogue, lock: ExitStack) -> None:
        """Give it its name, closing it: from here on it is a catalogue like any other. lock: holds that the caller is
        its sole writer; it may be closed.

        Raises CatalogueError where another has that name meanwhile.
        """
        ...

    def existing(self) -> Catalogue | None:
        """The catalogue that has that name already, if there is one."""
        ...


@dataclass(frozen=True)
class Sum:
    """What a catalogue holds, in short. checksum: 32 hex digits, whatever the order and the ids of the items."""

    items: int
    checksum: str


@dataclass
class Copied:
    """items, checksum: of the whole copy. kept: items that were there from an earlier run. copied, removed, updated:
    in this run. finished: it has its name now. already: it had that before.
    """

    items: int = 0
    checksum: str = ""
    kept: int = 0
    copied: int = 0
    removed: int = 0
    updated: int = 0
    finished: bool = False
    already: bool = False


def copy(source: Catalogue, staging: Staging, finish: bool = True, progress: Progress = silent) -> Copied:
    """Copy a catalogue with its model, ids and times. The source can be searched and written meanwhile. After a stop
    the same call goes on; nothing is copied twice. finish: give the copy its name when it agrees with the source.

    Raises InputError for a copy to itself; CatalogueError where there is another catalogue of that name, where what was
    begun is of another source or model, where the source is damaged, and where both do not agree in the end; what the
    back ends raise.
    """
    name = unicodedata.normalize("NFC", source.name)
    if name == staging.name:
        raise InputError(f"{source.name!r} cannot be copied to itself; give the copy another name.")
    there = staging.existing()
    if there is not None:
        with closing(there):
            return _compared(source, there, progress)
    encoder = source.encoder()
    wanted = Record(name, encoder.card.name, encoder.card.identity)
    _begin(staging, wanted, encoder)
    with closing(staging.open()) as destination, ExitStack() as lock:
        lock.enter_context(destination.sole_writer())
        done = _filled(source, destination, wanted, progress)
        if finish:
            staging.publish(destination, lock)
            done.finished = True
    return done


def summed(entries: Iterable[Entry], told: Callable[[int], None] = lambda count: None) -> Sum:
    """Of all items of a catalogue: every one's source, label, content hash, columns, stamp, time, vector, thumbnail."""
    total = count = 0
    for entry in entries:
        total = (total + _digest(entry)) % 2**128
        count += 1
        if count % _TOLD == 0:
            told(count)
    told(count)
    return Sum(count, f"{total:032x}")


def _begin(staging: Staging, wanted: Record, encoder: Encoder) -> None:
    found = staging.record()
    if found is None:
        staging.begin(wanted, encoder)
        return
    how = f"finish it first, or throw it away with `vitrine index remove {staging.name} --all`"
    if found.source != wanted.source:
        raise CatalogueError(
            f"{staging.name!r} is an unfinished copy of {found.source!r}, and not of {wanted.source!r}; {how}."
        )
    if found.identity != wanted.identity:
        raise CatalogueError(
            f"{staging.name!r} is an unfinished copy of {found.source!r} when that was of the model {found.model}"
            f" ({found.identity[:8]}); now it is of {wanted.model} ({wanted.identity[:8]}): throw the copy away with"
            f" `vitrine index remove {staging.name} --all` and run it again."
        )


def _filled(source: Catalogue, destination: Catalogue, wanted: Record, progress: Progress) -> Copied:
    """Bring the destination to agree with the source, and read both."""
    done = Copied()
    for _ in range(_ROUNDS):
        with source.reading():
            if source.info().identity != wanted.identity:
                raise CatalogueError(f"{source.name!r} has moved to another model meanwhile; run it again.")
            changed = _bring(source, destination, done, progress)
            items = len(source)
            ours = summed(source.entries(), _third(1, items, progress))
        theirs = summed(destination.entries(), _third(2, items, progress))
        if ours == theirs and len(destination) == theirs.items:
            done.items, done.checksum, done.kept = theirs.items, theirs.checksum, max(0, theirs.items - done.copied)
            return done
        if not changed:
            raise CatalogueError(
                f"What was copied to {destination.name!r} ({theirs.items:,} items) reads back other than"
                f" {source.name!r} has it ({ours.items:,} items); throw the copy away with `vitrine index remove"
                f" {destination.name} --all` and run it again."
            )
    raise CatalogueError(
        f"{source.name!r} keeps changing while it is copied; what is copied is kept: run it again when nobody writes."
    )


def _bring(source: Catalogue, destination: Catalogue, done: Copied, progress: Progress) -> bool:
    """Copy what is new, then put right what has changed; whether anything had to be done."""
    before, last = done.copied + done.removed + done.updated, source.last()
    entries = source.entries(destination.last())
    there, items = len(destination), len(source)
    told = _third(0, items, progress)
    told(min(there, items))
    while batch := list(islice(entries, BATCH)):
        destination.take(batch)
        done.copied += len(batch)
        there += len(batch)
        told(min(there, items))
    found = _differences(source.listed(), destination.listed())
    if found.gone:
        done.removed += destination.remove(found.gone)
    if found.changed:
        destination.refresh(found.changed)
        done.updated += len(found.changed)
    entries = _of_ids(source, found.missing)
    while batch := list(islice(entries, BATCH)):
        destination.take(batch)
        done.copied += len(batch)
    destination.take([], last)
    return done.copied + done.removed + done.updated > before


@dataclass(frozen=True)
class _Differences:
    """gone: ids of what only the destination has. changed: what is of another label, columns or stamp. missing: ids of
    what the destination lacks, or has otherwise.
    """

    gone: list[int]
    changed: list[Known]
    missing: list[int]


def _differences(source: Iterator[Known], destination: Iterator[Known]) -> _Differences:
    """What to do, from two lists by id."""
    found = _Differences([], [], [])
    ours, theirs = next(source, None), next(destination, None)
    while ours is not None or theirs is not None:
        if ours is None or (theirs is not None and theirs.id < ours.id):
            if theirs is not None:
                found.gone.append(theirs.id)
            theirs = next(destination, None)
            continue
        if theirs is None or ours.id < theirs.id or (ours.source, ours.content) != (theirs.source, theirs.content):
            found.missing.append(ours.id)
        elif ours != theirs:
            found.changed.append(ours)
        if theirs is not None and theirs.id == ours.id:
            theirs = next(destination, None)
        ours = next(source, None)
    return found


def _of_ids(source: Catalogue, ids: Iterable[int]) -> Iterator[Entry]:
    """The items of those ids."""
    wanted = set(ids)
    if not wanted:
        return
    highest = max(wanted)
    for entry in source.entries(min(wanted) - 1):
        if entry.id in wanted:
            yield entry
        if entry.id >= highest:
            return


def _compared(source: Catalogue, there: Catalogue, progress: Progress) -> Copied:
    """Where the destination has its name already: a copy that was finished before, or a refusal."""
    ours, theirs = source.info(), there.info()
    how = f"choose another name, or delete it with `vitrine index remove {there.name} --all`"
    if ours.identity != theirs.identity:
        raise CatalogueError(
            f"There is a catalogue {there.name!r} already, of the model {theirs.model} ({theirs.identity[:8]}), and"
            f" {source.name!r} is of {ours.model} ({ours.identity[:8]}); {how}."
        )
    items = ours.items
    if ours.items == theirs.items:
        with source.reading():
            whole = summed(source.entries(), _third(0, items, progress))
        if whole == summed(there.entries(), _third(1, items, progress)):
            return Copied(whole.items, whole.checksum, kept=whole.items, finished=True, already=True)
    raise CatalogueError(
        f"There is a catalogue {there.name!r} already ({theirs.items:,} items), with other items than {source.name!r}"
        f" ({ours.items:,}); {how}."
    )


def _third(number: int, items: int, progress: Progress) -> Callable[[int], None]:
    """Who is told of items in one of the three thirds of the work: copying, reading the one, reading the other."""
    return lambda count: progress((number * items + min(count, items)) // 3, max(1, items))


def _digest(entry: Entry) -> int:
    item = entry.item
    columns = None if not item.columns else json.dumps(item.columns, ensure_ascii=False, sort_keys=True)
    vector = np.asarray(item.vector, "<f4").tobytes()
    digest = hashlib.blake2b(digest_size=16)
    for part in (item.source, item.label, item.content, columns, item.stamp, entry.added, vector, item.thumbnail):
        content = part.encode() if isinstance(part, str) else part
        digest.update(_LENGTH.pack(-1 if content is None else len(content)))
        digest.update(content or b"")
    return int.from_bytes(digest.digest(), "little")
