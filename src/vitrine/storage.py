"""Where things live, and how they are written: the only reader of the environment.

`VITRINE_HOME` puts everything that vitrine keeps under one folder; otherwise the platform's own data and cache folders
are used. `VITRINE_DATA` names a folder that holds data sets and is never written to, `VITRINE_TOKEN` the token of
`vitrine serve`, `VITRINE_MILVUS` a file about Milvus servers, `VITRINE_MILVUS_TOKEN` what they let us in with. torchrun
tells each process its number there.
"""

import errno
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import platformdirs

from vitrine.errors import StorageError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again",
    errno.EROFS: "the disk is read-only; choose another place with VITRINE_HOME or an option of the command",
    errno.EACCES: "permission is denied; choose another place with VITRINE_HOME or an option of the command",
    errno.EPERM: "permission is denied; choose another place with VITRINE_HOME or an option of the command",
    errno.EEXIST: "a file is in the way; choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def data_folder() -> Path:
    """What must be kept: catalogues, models, runs."""
    home = os.environ.get("VITRINE_HOME")
    return Path(home).expanduser() / "data" if home else platformdirs.user_data_path("vitrine", appauthor=False)


def cache_folder() -> Path:
    """What can be made or downloaded again: data sets, decoded folders."""
    home = os.environ.get("VITRINE_HOME")
    return Path(home).expanduser() / "cache" if home else platformdirs.user_cache_path("vitrine", appauthor=False)


def user_data_sets() -> Path | None:
    """The folder named by `VITRINE_DATA`, if any. Raises StorageError where that names the home of nobody."""
    named = os.environ.get("VITRINE_DATA")
    try:
        return Path(named).expanduser() if named else None
    except RuntimeError as error:
        raise StorageError(f"VITRINE_DATA is {named}, the home of nobody here; name a folder.") from error


def server_token() -> str | None:
    """What `VITRINE_TOKEN` says, if anything: who sends it to `vitrine serve` may change the catalogue."""
    return os.environ.get("VITRINE_TOKEN") or None


def milvus_token() -> str | None:
    """What `VITRINE_MILVUS_TOKEN` says, if anything: user:password, or a key, for catalogues on Milvus."""
    return os.environ.get("VITRINE_MILVUS_TOKEN") or None


def milvus_file() -> Path | None:
    """The file that says how Milvus servers are used: the one that `VITRINE_MILVUS` names, or milvus.toml in the data
    folder if there is one.
    """
    named = os.environ.get("VITRINE_MILVUS")
    usual = data_folder() / "milvus.toml"
    return Path(named).expanduser() if named else usual if usual.is_file() else None


def torchrun(name: str) -> int:
    """A number that torchrun tells each process that it starts, such as RANK; 0 without torchrun."""
    written = os.environ.get(name, "")
    return int(written) if written.isdecimal() else 0


def hush_grpc() -> None:
    """Have gRPC, which is about to be loaded, say nothing on standard error, unless the environment says otherwise."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def memory() -> int:
    """Bytes of memory that there are for us: the machine's, or what a container allows; 4 GiB where nobody says."""
    found = [4 * 2**30]
    with suppress(AttributeError, OSError, ValueError):  # not on Windows
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):  # "max" where there is no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


def cores() -> int:
    """How many processor cores this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def disk_error(error: OSError, path: Path) -> StorageError:
    """The sentence for an operating system's refusal at `path`."""
    reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}; check the disk and the path")
    return StorageError(f"Cannot write {path}: {reason}.")


def identity(path: Path | str) -> tuple[int, int] | None:
    """Which file or folder that is, whatever lies there by that name later; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def make_folder(path: Path) -> Path:
    """Create `path` with its parents. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
    return path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its name at the end: the old file or the new one, never a half of
    either.

    Raises StorageError when the disk refuses; then and on any other error, Ctrl-C included, nothing is left behind.
    """
    make_folder(path.parent)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        part.touch(exist_ok=False)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        settle(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Delete what a program that was killed while `writing` into that folder left behind; nobody may be writing there.
    Raises StorageError.
    """
    for part in folder.glob(".*.part"):
        try:
            part.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, part) from error


def settle(folder: Path) -> None:
    """See to it that names given in that folder outlive a power failure, where the system can promise that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises StorageError."""
    with writing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, atomically. Raises StorageError."""
    write_bytes(path, content.encode())


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """While it lasts nobody else holds the lock of that path, an empty file. seconds: to wait for another.

    The lock is SQLite's: the system takes it back from a program that dies. Raises StorageError, or sqlite3's
    OperationalError where another holds it for longer.
    """
    try:
        path.touch()
    except OSError as error:
        raise disk_error(error, path) from error
    with closing(sqlite3.connect(path, timeout=seconds, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield


def remove_folder(path: Path) -> None:
    """Delete a folder and what is in it; a missing one is fine. Raises StorageError."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(error, path) from error
