"""What a model has learnt after its training, in a JSON file of the models folder: docs/file-formats.md.

The file goes by the model's identity, so that every copy of the model, that of a catalogue too, finds it.
"""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vitrine import background, storage
from vitrine.errors import InputError, ModelFileError, StorageError
from vitrine.modelfile import ModelCard

FORMAT_VERSION = 1
FEWEST, FEWEST_OTHERS = 2, 20
"""Pictures that a class is learnt from, and of other things, from which it has to be told; at least."""

_LONGEST = 200  # characters of a name
_SECONDS_TO_WAIT = 5.0  # for another writer
_SAME = 1e-5  # embeddings no farther apart are of the same picture

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LearntClass:
    """embeddings: (n, d) float32, of unit length, of the pictures that it was learnt from."""

    name: str
    embeddings: Vectors


@dataclass(frozen=True)
class Learnt:
    """identity, model: of which model, and its name. classes: in the order in which they were learnt. others: (m, d)
    float32, of pictures that show other things, from which the classes are told.
    """

    identity: str
    model: str
    classes: tuple[LearntClass, ...]
    others: Vectors

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.classes)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "identity": self.identity,
            "model": self.model,
            "dimensions": self.others.shape[1],
            "classes": [
                {"name": one.name, "pictures": len(one.embeddings), "embeddings": _written(one.embeddings)}
                for one in self.classes
            ],
            "others": background.to_json(self.others),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Learnt":
        """Raises KeyError, TypeError, ValueError or OverflowError for what is no such file."""
        size = int(fields["dimensions"])
        classes = tuple(LearntClass(str(one["name"]), _read(one["embeddings"], size)) for one in fields["classes"])
        if not classes or any(len(one.embeddings) < FEWEST for one in classes):
            raise ValueError("there is no class, or one has too few pictures")
        if len({one.name for one in classes}) < len(classes) or not all(_can_be_called(one.name) for one in classes):
            raise ValueError("two classes have the same name, or one has none")
        others = background.from_json(fields["others"])
        if len(others) < FEWEST_OTHERS or others.shape[1] != size:
            raise ValueError("there are too few other pictures")
        return cls(str(fields["identity"]), str(fields["model"]), classes, others)


def place(identity: str) -> Path:
    """Where the classes lie that a model of that identity has learnt."""
    return storage.data_folder() / "models" / f"{identity}.learnt.json"


def read(card: ModelCard) -> Learnt | None:
    """What the model has learnt; None where that is nothing.

    Raises ModelFileError: it cannot be read, is too new, is damaged, or is of another model.
    """
    path = place(card.identity)
    try:
        fields = json.loads(path.read_bytes())
        version = int(fields["format_version"])
        if version < 1:
            raise ValueError(f"there is no format {version}")
        found = Learnt.from_json(fields) if version <= FORMAT_VERSION else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}); it holds the classes learnt later.") from error
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"{path}, which holds the classes that {card.name} has learnt, is damaged ({type(error).__name__}:"
            f" {error}); delete it and learn them again."
        ) from error
    if found is None:
        raise ModelFileError(
            f"{path} has format {version}, newer than this vitrine knows ({FORMAT_VERSION}); update vitrine."
        )
    if found.identity != card.identity or found.others.shape[1] != card.embedding:
        raise ModelFileError(f"{path} holds classes of another model than {card.name}; delete it and learn them again.")
    return found


def learn(
    card: ModelCard,
    name: str,
    shown: Vectors,
    others: Vectors | None = None,
    own: Vectors | None = None,
) -> Learnt:
    """Keep one more class, from embeddings (n, d) of its pictures; others: (m, d) of other things, None for those that
    were given before; own: the background that the model file has, if it has one.

    Raises InputError for a name that cannot be, or is there, and for too few different pictures of either kind;
    ModelFileError as `read`; StorageError.
    """
    called = _checked(name)
    check_shown(shown)
    with _writing(card) as before:
        _check_free(called, card, before)
        made = LearntClass(called, np.asarray(shown, np.float32))
        told_from = before.others
        if others is not None or not len(told_from):
            told_from = np.concatenate([before.others[:0], *(part for part in (own, others) if part is not None)])
        _check_others(card, told_from)
        after = replace(before, model=card.name, classes=(*before.classes, made), others=told_from)
        _write(after)
        return _now(card)


def check_name(card: ModelCard, name: str) -> None:
    """Raises InputError for a name that a class cannot have, ModelFileError as `read`."""
    _check_free(_checked(name), card, _now(card))


def _check_free(called: str, card: ModelCard, before: Learnt) -> None:
    """Raises InputError where a class has that name already."""
    learnt = {one.casefold(): one for one in before.names}
    if called.casefold() in learnt:
        raise InputError(
            f"{card.name} has learnt {learnt[called.casefold()]} already; forget it first with `vitrine model forget`,"
            " or choose another name."
        )
    own = {one.casefold(): one for names in card.classes.values() for one in names}
    if called.casefold() in own:
        raise InputError(f"{card.name} knows the class {own[called.casefold()]} already; choose another name.")


def _check_others(card: ModelCard, others: Vectors) -> None:
    """Raises InputError where there are too few pictures of other things."""
    if len(others) < FEWEST_OTHERS:
        known = "1 picture" if len(others) == 1 else f"{len(others) or 'no'} pictures"
        raise InputError(
            f"A class has to be told from other things, and of these {card.name} knows {known}; name a folder"
            f" of at least {FEWEST_OTHERS}, of all kinds, with --against."
        )


def forget(card: ModelCard, name: str) -> Learnt:
    """Take a class away; with the last one the file goes, too.

    Raises InputError where there is no such class, ModelFileError as `read`, StorageError.
    """
    _without(name, card, _now(card))  # before there is a lock, which is a file
    with _writing(card) as before:
        kept = _without(name, card, before)
        after = replace(before, classes=kept)
        if kept:
            _write(after)
        else:
            _remove(place(card.identity))
        return _now(card)


def _without(name: str, card: ModelCard, before: Learnt) -> tuple[LearntClass, ...]:
    """The other classes. Raises InputError where there is none of that name."""
    kept = tuple(one for one in before.classes if one.name.casefold() != name.strip().casefold())
    if len(kept) == len(before.classes):
        known = f"it has learnt {', '.join(before.names)}" if before.classes else "it has learnt none"
        raise InputError(f"{card.name} has learnt no class {name!r}; {known}.")
    return kept


@contextmanager
def _writing(card: ModelCard) -> Iterator[Learnt]:
    """What there is now, and nobody else changes it meanwhile. Raises StorageError, ModelFileError."""
    path = place(card.identity)
    storage.make_folder(path.parent)
    try:
        with storage.locked(path.with_suffix(".lock"), _SECONDS_TO_WAIT):
            yield _now(card)
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} is being written by another vitrine; try again in a moment.") from error


def _now(card: ModelCard) -> Learnt:
    """What was learnt, also where that is nothing. Raises ModelFileError."""
    return read(card) or Learnt(card.identity, card.name, (), np.empty((0, card.embedding), np.float32))


def _write(learnt: Learnt) -> None:
    storage.write_text(place(learnt.identity), json.dumps(learnt.to_json(), ensure_ascii=False))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage.disk_error(error, path) from error


def _checked(name: str) -> str:
    """Raises InputError."""
    called = name.strip()
    if not _can_be_called(called):
        raise InputError(
            f"A class cannot be called {name[:_LONGEST]!r}; give it a name of 1 to {_LONGEST} characters on one line."
        )
    return called


def _can_be_called(name: str) -> bool:
    return bool(name) and name.isprintable() and len(name) <= _LONGEST


def check_shown(shown: Vectors) -> None:
    """Raises InputError where fewer than FEWEST pictures differ."""
    different = 0
    for i, row in enumerate(shown):
        different += not i or bool(np.linalg.norm(shown[:i] - row, axis=1).min() > _SAME)
    if different < FEWEST:
        raise InputError(
            f"A class is learnt from at least {FEWEST} different pictures, better from 5 or more; {different}"
            f" {'was' if different == 1 else 'were'} given."
        )


def _written(vectors: Vectors) -> str:
    """(n, d) as base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(vectors, "<f4").tobytes()).decode()


def _read(text: str, size: int) -> Vectors:
    """Raises ValueError."""
    found = np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(-1, size).astype(np.float32)
    if len(found) and not np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-3:  # refuses NaN, too
        raise ValueError("an embedding is not of unit length")
    return found
