"""A folder of pictures and a catalogue brought to agree: new pictures are added, changed ones embedded anew, gone ones
taken out, and what a CSV says of them is kept with them.

First both are compared, then pictures are decoded and embedded on all cores, batch by batch; each batch is safe once it
is in the catalogue. So a run that was stopped goes on where it was.

Whether a picture has changed is told by the hash of its bytes. It need not be read for that where its size and the
times of its last change (of its content, and of anything about it) are those that were seen when it was read last; a
time that was younger than two seconds then proves nothing, as file systems count no finer than that.
"""

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import NoReturn, Protocol

from vitrine import choosing, images, storage
from vitrine.bridging import Viewer
from vitrine.catalogue import Catalogue, Item, Known, Vectors
from vitrine.choosing import Models
from vitrine.datasets.image_folder import Unreadable, find
from vitrine.encoder import Encoder
from vitrine.errors import DataError
from vitrine.indexing import Report, Unmatched, items_csv
from vitrine.indexing.here import Here
from vitrine.indexing.items_csv import Table
from vitrine.indexing.reading import Decoded, Engine, Reader, Refused, Wanted, look
from vitrine.progress import Progress, silent

_CHUNK = 5000  # items that are given other columns at once


@dataclass(frozen=True)
class How:
    """drop: take out items whose picture is gone. allow_empty: even if no picture at all is left. columns: the CSV, or
    None for items.csv in the folder, if there is one. reread: every picture, whatever its times say. calm: seconds that
    a picture must have been left alone before it is read.
    """

    drop: bool = True
    allow_empty: bool = False
    columns: Path | None = None
    reread: bool = False
    calm: float = 0.0


DEFAULT = How()


class FolderSync:
    """Brings a catalogue to agree with a folder, once or again and again. Sources are absolute paths; the label of a
    picture is its first sub-folder's name.
    """

    def __init__(self, encoder: Encoder, folder: Path, how: How = DEFAULT, engine: Engine | None = None) -> None:
        """engine: where pictures are decoded and embedded; None for this machine."""
        self.encoder = encoder
        self.engine = engine or Here()
        self._folder = os.path.abspath(folder)
        self.how = how
        self._models = Models(one_thread=True)
        self.seconds = 0.0  # that it took last to look, before anything was read or embedded
        self._unreadable: dict[str, tuple[str, str]] = {}  # file -> the stamp it had, and why it could not be read

    def run(self, catalogue: Catalogue, progress: Progress = silent) -> Report:
        """Look once, and do what there is to do; progress counts the pictures that must be read.

        Raises DataError when the folder is not there, or holds no pictures (any more); InputError for its CSV; what
        the catalogue raises.
        """
        with catalogue.sole_writer():
            start = time.perf_counter()
            root = storage.identity(self._folder)
            found, refused = find(self._folder)
            if not found and not self.how.allow_empty:
                self._refuse_empty(catalogue, refused)
            origin = _Folder(self._folder, root, self._table())
            one = Pass(catalogue, self.encoder, origin, self.how, Report(unreadable=refused), self._models)
            one.compare(found, self._unreadable)
            one.report.unmatched = origin.unmatched()
            self.seconds = time.perf_counter() - start
            one.read(self.engine, progress)
            one.refresh()
            if self.how.drop:
                one.drop()
            self._unreadable = one.failed
        return one.report

    def _refuse_empty(self, catalogue: Catalogue, refused: list[Unreadable]) -> NoReturn:
        """An empty folder is more often a drive that is missing than a shop that is sold out."""
        there = sum(1 for _ in catalogue.known(_inside(self._folder))) if self.how.drop else 0
        if there:
            raise DataError(
                f"The folder {self._folder} holds no pictures any more, and {there:,} items of {catalogue.name!r} come"
                " from it; nothing was taken out: if a drive is missing, connect it; if they are to go, say"
                " --allow-empty."
            )
        why = refused[0].reason if refused else f"looked for are {', '.join(sorted(images.SUFFIXES))}."
        raise DataError(f"The folder {self._folder} holds no pictures; {why}")

    def _table(self) -> Table | None:
        beside = Path(self._folder) / items_csv.NAME
        path = self.how.columns or (beside if beside.is_file() else None)
        return None if path is None else items_csv.read(path, self._folder)


def add_folder(catalogue: Catalogue, encoder: Encoder, folder: Path, progress: Progress = silent) -> Report:
    """What is new or changed in a folder; nothing is taken out. See `FolderSync`."""
    return FolderSync(encoder, folder, How(drop=False)).run(catalogue, progress)


class Origin(Protocol):
    """Where pictures come from. begins: how the sources begin of all that does."""

    @property
    def begins(self) -> str: ...

    def wanted(self, source: str, known: Known | None) -> Wanted:
        """One that is there, with the columns that its item is to have."""
        ...

    def label(self, source: str) -> str | None: ...

    def look(self, source: str) -> tuple[str, float]:
        """As `reading.look`."""
        ...

    def samples(self, wanted: Sequence[Wanted]) -> Sequence[str | bytes]:
        """Some of these pictures, or all."""
        ...

    def gone(self, items: Sequence[Known]) -> list[int]:
        """The ids of those items whose pictures are surely gone, of some that were not found. Raises DataError where it
        is itself gone.
        """
        ...


@dataclass
class Pass:
    """One look at where pictures come from, and what comes of it. models: those that are asked beside the
    catalogue's.
    """

    catalogue: Catalogue
    encoder: Encoder
    origin: Origin
    how: How
    report: Report
    models: Models
    wanted: list[Wanted] = field(default_factory=list)
    refreshed: list[Known] = field(default_factory=list)
    gone: list[Known] = field(default_factory=list)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)

    # --- what there is to do

    def compare(self, found: list[str], failed: dict[str, tuple[str, str]]) -> None:
        """found: the pictures' sources, in order. failed: those that could not be read last time."""
        sources = [source for source in found if self._utf8(source)]
        begins = self.origin.begins
        for source, known in _pairs(sources, self.catalogue.known(begins) if _encodes(begins) else ()):
            if source is not None:
                self._compare(self.origin.wanted(source, known), failed.get(source))
            elif known is not None:
                self.gone.append(known)

    def _compare(self, wanted: Wanted, failed: tuple[str, str] | None) -> None:
        stamp, changed = self.origin.look(wanted.file)
        if failed and failed[0] == stamp:
            self._fail(wanted.file, stamp, failed[1])
        elif wanted.known and wanted.known.stamp == stamp and not self.how.reread:
            self._keep(wanted, wanted.known, stamp)
        elif not 0 <= time.time() - changed < self.how.calm:
            self.wanted.append(wanted)

    def _keep(self, wanted: Wanted, known: Known, stamp: str | None) -> None:
        """The picture is as it was."""
        now = replace(known, label=self.origin.label(wanted.file), columns=wanted.columns, stamp=stamp)
        self.report.unchanged += 1
        self.report.columns_updated += (now.label, now.columns) != (known.label, known.columns)
        if now != known:
            self.refreshed.append(now)

    def _fail(self, file: str, stamp: str | None, reason: str) -> None:
        """stamp: what the file looked like when it was read; None where that proves nothing: then it is read again."""
        if stamp is not None:
            self.failed[file] = (stamp, reason)
        self.report.unreadable.append(Unreadable(Path(file), reason))

    def _utf8(self, file: str) -> bool:
        if _encodes(file):
            return True
        shown = file.encode(errors="replace").decode()
        self.report.unreadable.append(Unreadable(Path(file), f"{shown} has a name that is not valid UTF-8; rename it."))
        return False

    # --- doing it

    def read(self, engine: Engine, progress: Progress) -> None:
        """Decode, embed and add."""
        if self.wanted:
            if self.wanted[0].place:
                self.wanted.sort(key=attrgetter("place"))  # in the order in which a Parquet file is read
            single = self.encoder.on_one_thread()
            engine.read(self.wanted, Reader(single, self._viewer(single)), self._take, progress)

    def _viewer(self, own: Encoder) -> Viewer | None:
        """For photos, where the catalogue is of what looks like Fashion-MNIST; if more comes than is there, then by
        what comes.
        """
        viewer = Viewer(own, self.catalogue, self.models)
        if not viewer.fits:
            return None
        if len(self.catalogue) >= len(self.wanted):
            return viewer if viewer.possible() else None
        return viewer if choosing.for_files(self.origin.samples(self.wanted)).model == choosing.DEFAULT else None

    def _take(self, batch: Sequence[Wanted], pictures: Sequence[Decoded | Refused]) -> None:
        """Add one batch."""
        items, replaced = [], 0
        for wanted, picture in zip(batch, pictures, strict=True):
            if isinstance(picture, Refused):
                self._fail(wanted.file, picture.stamp, picture.reason)
            elif picture.vector is not None:
                items.append(self._item(wanted, picture, picture.vector))
                replaced += wanted.known is not None
            elif wanted.known:
                self._keep(wanted, wanted.known, picture.stamp)
        if items:
            self.catalogue.add(items)
            self.report.replaced += replaced
            self.report.added += len(items) - replaced

    def _item(self, wanted: Wanted, picture: Decoded, vector: Vectors) -> Item:
        label = self.origin.label(wanted.file)
        return Item(wanted.file, label, picture.content, vector, picture.thumbnail, wanted.columns, picture.stamp)

    def refresh(self) -> None:
        for first in range(0, len(self.refreshed), _CHUNK):
            self.catalogue.refresh(self.refreshed[first : first + _CHUNK])

    def drop(self) -> None:
        """Take out what is gone."""
        gone = self.origin.gone(self.gone)
        if gone:
            self.report.removed += self.catalogue.remove(gone)


@dataclass
class _Folder:
    """See `Origin`. root: which folder it was when it was looked through. table: the CSV about its pictures."""

    folder: str
    root: tuple[int, int] | None
    table: Table | None
    matched: set[str] = field(default_factory=set)

    @property
    def begins(self) -> str:
        return _inside(self.folder)

    def wanted(self, source: str, known: Known | None) -> Wanted:
        columns = known.columns if known else None
        if self.table is not None:
            line = self.table.source(source)
            self.matched |= {line} if line else set()
            columns = (self.table.lines[line].cells or None) if line else None
        return Wanted(source, known, columns)

    def label(self, source: str) -> str | None:
        return _label(source, self.folder)

    def look(self, source: str) -> tuple[str, float]:
        return look(source)

    def samples(self, wanted: Sequence[Wanted]) -> Sequence[str | bytes]:
        return [one.file for one in wanted]

    def gone(self, items: Sequence[Known]) -> list[int]:
        gone = [item.id for item in items if _is_gone(item.source)]
        if gone and storage.identity(self.folder) != self.root:
            raise DataError(f"The folder {self.folder} went away meanwhile; nothing was taken out; run it again.")
        return gone

    def unmatched(self) -> list[Unmatched]:
        lines = self.table.lines.items() if self.table else ()
        return [Unmatched(line.number, line.file) for source, line in lines if source not in self.matched]


def _inside(folder: str) -> str:
    """How the path of everything in that folder begins."""
    return os.path.join(folder, "")


def _label(file: str, folder: str) -> str | None:
    """As `image_folder.class_of`, of texts: every look asks it of every picture."""
    first, below, _ = file.removeprefix(_inside(folder)).partition(os.sep)
    return first if below else None


def _encodes(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pairs(files: Sequence[str], items: Iterable[Known]) -> Iterator[tuple[str | None, Known | None]]:
    """Each file with its item, either None where there is no such; both are in code point order."""
    rest = iter(items)
    known = next(rest, None)
    for file in files:
        while known is not None and known.source < file:
            yield None, known
            known = next(rest, None)
        if known is not None and known.source == file:
            yield file, known
            known = next(rest, None)
        else:
            yield file, None
    while known is not None:
        yield None, known
        known = next(rest, None)


def _is_gone(file: str) -> bool:
    """Whether there is surely no such file; one that cannot be looked at may be there."""
    try:
        return not stat.S_ISREG(os.stat(file).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
