"""Anybody's folder of pictures: a class per sub-folder (deeper folders belong to the first), or a flat folder without
classes.

Pictures are decoded once, in parallel, into the look that an image spec asks for, and kept as one memory-mapped file in
the cache.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vitrine import images, storage
from vitrine.datasets import UNLABELLED, Dataset
from vitrine.errors import DataError, ImageError
from vitrine.progress import Progress, silent
from vitrine.spec import ImageSpec

PLAIN_GREY = ImageSpec(28, 28, 1, "dark", (0.0,), (1.0,))
"""The look of Fashion-MNIST."""

PHOTO = ImageSpec(128, 128, 3, "any", (0.0,) * 3, (1.0,) * 3)
"""Photos in colour."""

_CACHE_VERSION = 4  # to be raised when `images.prepare` changes what it gives


@dataclass(frozen=True)
class Unreadable:
    """A file that was left out, and why, in one sentence."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Folder:
    """What a folder held."""

    dataset: Dataset
    unreadable: list[Unreadable]


def scan(folder: Path) -> tuple[list[Path], list[Unreadable]]:
    """The picture files under `folder`, by suffix, hidden ones left out, in order of their paths; linked folders are
    not entered. And the sub-folders that cannot be read.

    Raises DataError when there is no such folder, it cannot be read, or it holds no pictures.
    """
    found, unreadable = find(os.fspath(folder))
    if not found:
        why = unreadable[0].reason if unreadable else f"looked for are {', '.join(sorted(images.SUFFIXES))}."
        raise DataError(f"The folder {folder} holds no pictures; {why}")
    return sorted(map(Path, found)), unreadable


def find(folder: str) -> tuple[list[str], list[Unreadable]]:
    """As `scan`, but as texts in code point order, and a folder without pictures is fine."""
    if not os.path.isdir(folder):
        what = f"{folder} is a file" if os.path.exists(folder) else f"There is no folder {folder}"
        raise DataError(f"{what}; name a folder of pictures.")
    refused: list[OSError] = []
    found: list[str] = []
    for place, folders, names in os.walk(folder, onerror=refused.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(place, name) for name in names if _is_picture(name)]
    unreadable = [
        Unreadable(Path(error.filename), f"{error.filename} cannot be read ({error.strerror}).") for error in refused
    ]
    if any(error.filename == folder for error in refused):
        raise DataError(f"The folder {folder} holds no pictures; {unreadable[0].reason}")
    return sorted(found), unreadable


def class_of(picture: Path, folder: Path) -> str | None:
    """The name of the first sub-folder on the way from `folder` to `picture`; None for a picture that lies in `folder`
    itself.
    """
    parts = picture.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else None


def load(folder: Path, spec: ImageSpec = PLAIN_GREY, progress: Progress = silent) -> Folder:
    """The folder as a data set in the look of `spec`, decoded now or taken from the cache where nothing changed since.

    Raises DataError (no folder, no pictures, none readable) and StorageError (the cache cannot be written).
    """
    files, refused = scan(folder)
    found = decoded(folder, files, spec, progress)
    classes = [class_of(Path(source), folder) for source in found.sources]
    names = sorted({name for name in classes if name is not None})
    labels = np.array([names.index(name) if name is not None else UNLABELLED for name in classes], np.int64)
    dataset = Dataset(found.images, labels, {"en": tuple(names)}, found.sources, name=str(folder))
    return Folder(dataset, refused + found.unreadable)


@dataclass(frozen=True)
class Decoded:
    """images: (n, h, w, c) uint8, memory-mapped; sources: their n paths."""

    images: npt.NDArray[np.uint8]
    sources: tuple[str, ...]
    unreadable: list[Unreadable]


def decoded(place: Path, files: list[Path], spec: ImageSpec, progress: Progress = silent) -> Decoded:
    """Files that lie at or are named by `place`, in the look of `spec`; from the cache where nothing changed since.

    Raises DataError (none can be read) and StorageError (the cache cannot be written).
    """
    cached = storage.cache_folder() / "folders" / _key(place, files, spec)
    if _is_outdated(cached, spec):
        storage.remove_folder(cached)
    if not (cached / "folder.json").exists():
        _decode(files, spec, cached, progress)
    return _open(place, spec, cached)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in images.SUFFIXES


def _key(place: Path, files: list[Path], spec: ImageSpec) -> str:
    """Changes when a file is added, removed or written, or another look is wanted."""
    digest = hashlib.sha256(
        f"{_CACHE_VERSION} {json.dumps(spec.to_json())} {place.resolve()}".encode(errors="surrogateescape")
    )
    for file in files:
        try:
            status = file.stat()
            digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        except OSError:
            digest.update(f"{file} gone\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:24]


def _decode(files: list[Path], spec: ImageSpec, cached: Path, progress: Progress) -> None:
    """Write images.u8 (n x h x w x c bytes) and folder.json into a new folder, which takes its name when whole."""
    storage.make_folder(cached.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=".part-", dir=cached.parent) as place:
            facts = _write_images(files, spec, Path(place) / "images.u8", progress)
            (Path(place) / "folder.json").write_text(json.dumps(facts), encoding="utf-8")
            if not cached.exists():
                whole = Path(place) / "whole"
                whole.mkdir()
                for name in ("images.u8", "folder.json"):
                    (Path(place) / name).rename(whole / name)
                whole.rename(cached)
    except OSError as error:
        raise storage.disk_error(error, cached) from error


def _write_images(files: list[Path], spec: ImageSpec, target: Path, progress: Progress) -> dict[str, Any]:
    readable: list[str] = []
    unreadable: list[tuple[str, str]] = []
    with open(target, "wb") as written:
        for done, (file, image) in enumerate(_each(files, spec), 1):
            if isinstance(image, str):
                unreadable.append((str(file), image))
            else:
                written.write(image)
                readable.append(str(file))
            progress(done, len(files))
    return {"readable": readable, "unreadable": unreadable}


def _each(files: list[Path], spec: ImageSpec) -> Iterator[tuple[Path, bytes | str]]:
    """Each file with the bytes of its image, or with the reason why there are none; in order, on all cores."""

    def one(file: Path) -> bytes | str:
        try:
            return images.prepare(images.opened(file, spec=spec), spec).tobytes()
        except ImageError as error:
            return str(error)

    with images.decoders() as pool:
        try:
            yield from zip(files, pool.map(one, files), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _is_outdated(cached: Path, spec: ImageSpec) -> bool:
    """Whether there is a cache that is damaged, or that lacks a file which can be read now: rights may have changed, or
    what a file holds, and its time not.
    """
    try:
        facts = json.loads((cached / "folder.json").read_text(encoding="utf-8"))
        left_out = [Path(file) for file, _ in facts["unreadable"]]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return bool(left_out) and any(isinstance(image, bytes) for _, image in _each(left_out, spec))


def _open(place: Path, spec: ImageSpec, cached: Path) -> Decoded:
    try:
        facts = json.loads((cached / "folder.json").read_text(encoding="utf-8"))
        unreadable = [Unreadable(Path(file), reason) for file, reason in facts["unreadable"]]
        sources = tuple(facts["readable"])
        if not sources:
            raise DataError(
                f"None of the {len(unreadable)} pictures in {place} can be read; the first: {unreadable[0].reason}"
            )
        pixels = np.memmap(cached / "images.u8", np.uint8, "r", shape=(len(sources), *spec.shape))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"The cache of {place} in {cached} is damaged ({error}); delete it and run again.") from error
    return Decoded(pixels, sources, unreadable)
