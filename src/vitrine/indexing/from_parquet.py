"""A Parquet file of pictures and a catalogue brought to agree: as a folder is, row by row.

Where the pictures are in the file itself, their sources are `FILE#NAME`, and an item is taken out when its row is gone.
Where it names files, their sources are those files, as if they were added from their folder; then an item does not say
that it came from here, and none is taken out. While the file looks as it did, no picture in it is read.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitrine.catalogue import Catalogue, Known
from vitrine.choosing import SAMPLE, Models
from vitrine.encoder import Encoder
from vitrine.errors import DataError, InputError
from vitrine.indexing import Report, reading
from vitrine.indexing.folder import DEFAULT, How, Pass
from vitrine.indexing.here import Here
from vitrine.indexing.picture_rows import PictureRows, loaded
from vitrine.indexing.reading import Engine, Given, Wanted
from vitrine.progress import Progress, silent


def samples(path: Path) -> Sequence[str | bytes]:
    """A few of the pictures, for the choice of a model. Raises as `PictureRows.read`."""
    rows = PictureRows.read(str(path))
    return _Rows(rows).samples([Wanted(source, None, None, rows.place(source)) for source in rows.sources])


class ParquetSync:
    """As `FolderSync`, of a Parquet file."""

    def __init__(self, encoder: Encoder, path: Path, how: How = DEFAULT, engine: Engine | None = None) -> None:
        """Raises InputError for a CSV: the file itself has the columns."""
        if how.columns is not None:
            raise InputError(f"--columns is for a folder; the columns of {path} are in the file itself.")
        self.encoder = encoder
        self.engine = engine or Here()
        self.how = how
        self.seconds = 0.0
        self._path = str(path)
        self._models = Models(one_thread=True)
        self._unreadable: dict[str, tuple[str, str]] = {}

    def run(self, catalogue: Catalogue, progress: Progress = silent) -> Report:
        """As `FolderSync.run`. Raises DataError where the file is not there, is no Parquet, or has no rows (any more);
        InputError for its columns; what the catalogue raises.
        """
        with catalogue.sole_writer():
            start = time.perf_counter()
            rows = PictureRows.read(self._path)
            if not rows.rows and not self.how.allow_empty:
                raise DataError(f"{self._path} has no rows; nothing was changed. Take all out with --allow-empty.")
            one = Pass(catalogue, self.encoder, _Rows(rows), self.how, Report(), self._models)
            one.compare(rows.sources, self._unreadable)
            self.seconds = time.perf_counter() - start
            one.read(self.engine, progress)
            one.refresh()
            if self.how.drop:
                one.drop()
            self._unreadable = one.failed
        return one.report


@dataclass(frozen=True)
class _Rows:
    """See `folder.Origin`."""

    rows: PictureRows

    @property
    def begins(self) -> str:
        return self.rows.begins

    def wanted(self, source: str, known: Known | None) -> Wanted:
        return Wanted(source, known, self.rows.columns(source), self.rows.place(source))

    def label(self, source: str) -> str | None:
        return self.rows.label(source)

    def look(self, source: str) -> tuple[str, float]:
        return reading.look(source) if self.rows.pictures is None else (self.rows.stamp, self.rows.changed)

    def samples(self, wanted: Sequence[Wanted]) -> Sequence[str | bytes]:
        count = min(SAMPLE, len(wanted))
        chosen = [wanted[number * len(wanted) // count] for number in range(count)]
        if self.rows.pictures is None:
            return [one.file for one in chosen]
        given = (one.given for one in loaded(sorted(chosen, key=lambda one: one.place or ())))
        return [one.written for one in given if isinstance(one, Given)]

    def gone(self, items: Sequence[Known]) -> list[int]:
        if self.rows.pictures is None:
            return []
        if items and reading.look(self.rows.path)[0] != self.rows.stamp:
            raise DataError(f"{self.rows.path} has changed meanwhile; nothing was taken out; run it again.")
        return [item.id for item in items]
