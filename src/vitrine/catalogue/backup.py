"""A whole catalogue in one file, its model too, and a catalogue from such a file.

The file is a copy of catalogue.sqlite as of one moment, made by SQLite itself while others may write, with one table
more: `model`, which holds model.onnx in pieces. docs/file-formats.md says the same.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from vitrine import encoder as encoders
from vitrine import modelfile, storage
from vitrine.catalogue import Lost, damage, folders, sentences
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.store import Store
from vitrine.catalogue.tables import APPLICATION_ID, FORMAT_VERSION, Unsound
from vitrine.errors import CatalogueError, DataError, InputError, ModelFileError, StorageError
from vitrine.progress import Progress, silent

_PAGES = 1_000  # copied at once, 4 MB: progress and Ctrl-C come in between
_PIECE = 16 * 2**20  # SQLite keeps no more than a gigabyte in one cell
_MODEL = "CREATE TABLE model (part INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT"


def write(catalogue: LocalCatalogue, path: Path, progress: Progress = silent) -> int:
    """Write the catalogue as it is now into a file at `path`, in place of an older backup, read all of it again, and
    return how many items there are. Others may read and write meanwhile.

    Raises InputError where the file that is there is no backup, CatalogueError where the catalogue is damaged,
    StorageError where what was written is; then an older backup is still there.
    """
    _check_target(path)
    with catalogue.reading() as store, storage.writing(path) as part:
        items = store.meta().items
        model = catalogue.encoder().content
        try:
            _copy(store.connection, part, lambda done, total: progress(items * done // total, 2 * items))
            with closing(sqlite3.connect(part, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, whatever the original was
                copy.execute("BEGIN")
                copy.execute(_MODEL)
                pieces = [(model[first : first + _PIECE],) for first in range(0, len(model), _PIECE)]
                copy.executemany("INSERT INTO model (content) VALUES (?)", pieces)
                copy.execute("COMMIT")
            sound = _sound(part, model, lambda done, total: progress(items + done, 2 * items))
        except sqlite3.DatabaseError as error:
            if not any(sign in str(error) for sign in ("full", "disk I/O", "readonly", "unable to open")):
                raise
            raise StorageError(
                f"Cannot write {path}: the disk refuses ({error}); free some space there, or choose another."
            ) from error
        finally:
            for leftover in part.parent.glob(f"{part.name}-*"):
                leftover.unlink()
        if not sound:
            found = catalogue.check()
            if found.found:
                raise CatalogueError(sentences.damaged(catalogue.name, found))
            raise StorageError(f"What was written to {path} reads back wrong; the disk is failing: choose another.")
    return items


def restore(path: Path, name: str, progress: Progress = silent) -> tuple[Lost, ...]:
    """A new catalogue of that name from a backup; what a damaged backup has lost is returned.

    Where the model in it is damaged, one known here by its identity takes its place.

    Raises DataError: no file, no backup, damaged beyond that; ModelFileError: its model is, and is not known here;
    CatalogueError: it is too new, or there is a catalogue of that name; StorageError. Then there is no new catalogue.
    """
    with _opened(path) as backup, folders.making(name) as made:
        storage.write_bytes(made / "model.onnx", _sound_model(backup, path))
        _copy(backup, made / "catalogue.sqlite", progress)
        with closing(sqlite3.connect(made / "catalogue.sqlite", isolation_level=None)) as copy:
            try:
                copy.execute("DROP TABLE model")
            except sqlite3.DatabaseError as error:
                if "malformed" not in str(error):
                    raise  # else its pages are damaged, and the repair leaves them behind
        with LocalCatalogue.within(made, name) as restored:
            lost = restored.repair(progress)
            restored.save_index()
    return lost


def _copy(source: sqlite3.Connection, path: Path, progress: Progress) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        source.backup(copy, pages=_PAGES, progress=lambda _, left, total: progress(total - left, max(1, total)))


def _check_target(path: Path) -> None:
    """Raises InputError where something lies at `path` that is no backup, CatalogueError where it is a newer one."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it.")
    try:
        if path.exists():
            with _opened(path):
                pass
    except DataError as error:
        raise InputError(f"{path} is there already and is no backup of vitrine's; name another file.") from error


def _sound(path: Path, model: bytes, progress: Progress) -> bool:
    """Whether all that was written can be read again."""
    try:
        with _opened(path) as backup:
            store = Store("", path, backup, False)
            return not damage.check(store, store.meta(), progress).found and _model(backup) == model
    except (DataError, Unsound, sqlite3.DatabaseError):
        return False


def _model(backup: sqlite3.Connection) -> bytes:
    return b"".join(piece for (piece,) in backup.execute("SELECT content FROM model ORDER BY part"))


def _sound_model(backup: sqlite3.Connection, path: Path) -> bytes:
    """The model in the backup, or where that is damaged, the same from among those known here."""
    try:
        model = _model(backup)
        modelfile.parse(model, f"the backup {path}")
        return model
    except (ModelFileError, TypeError, sqlite3.DatabaseError) as error:
        with suppress(Unsound, sqlite3.DatabaseError):
            identity = Store("", path, backup, False).meta().identity
            known = encoders.of_identity(identity)
            if known is not None:
                return known.content
        raise ModelFileError(
            f"The model in the backup {path} is damaged ({error}), and the same is not among those known here"
            f" ({', '.join(encoders.names())})."
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A backup, to be read. Raises DataError, CatalogueError."""
    if not path.is_file():
        raise DataError(f"There is no file {path}; name one that `vitrine index backup` wrote.")
    try:
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"  # nobody writes, and nothing is to lie beside it
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as backup:
            ours, version = (
                backup.execute(f"PRAGMA {what}").fetchone()[0] for what in ("application_id", "user_version")
            )
            tables = {name for (name,) in backup.execute("SELECT name FROM sqlite_schema")}
            if ours != APPLICATION_ID or "model" not in tables:
                raise DataError(f"{path} is no backup of a catalogue; name one that `vitrine index backup` wrote.")
            if version > FORMAT_VERSION:
                raise CatalogueError(
                    f"The backup {path} has format {version}, newer than this vitrine knows ({FORMAT_VERSION}); update"
                    " vitrine."
                )
            yield backup
    except sqlite3.DatabaseError as error:
        signs = ("malformed", "not a database", "unsupported file format", "Could not decode", "unable to open")
        if not any(sign in str(error) for sign in signs):
            raise
        said = " ".join(str(error).split())  # SQLite names what it found, line breaks and all
        raise DataError(f"{path} is no backup of a catalogue, or damaged beyond reading ({said}).") from error
