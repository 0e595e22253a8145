"""A run's folder read back: all that is there, and a note for what is not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitrine.datasets import Splits, by_name
from vitrine.datasets.holdout import Rule, hold_out
from vitrine.datasets.image_folder import PHOTO, PLAIN_GREY, Unreadable
from vitrine.encoder import Encoder
from vitrine.errors import DataError, InputError, ModelFileError, StorageError
from vitrine.images import resize
from vitrine.messages import Words
from vitrine.plots import Curves
from vitrine.progress import Progress, silent
from vitrine.spec import ImageSpec

MODEL, HISTORY, FACTS, CHECKPOINT = "model.onnx", "history.jsonl", "run.json", "checkpoint.json"

SERIES = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "seconds")


@dataclass(frozen=True)
class Layer:
    """A line of the model's summary. kind: of layer; shape: of its output, "" where it has none."""

    name: str
    kind: str
    shape: str
    parameters: int


@dataclass(frozen=True)
class Run:
    """What a run's folder holds. recipe, data, machine: as in run.json, empty where that is missing. history: a line
    per epoch, the keys of `SERIES` and `epoch`, nan for what is missing. layers: the model's, none where training did
    not write them down. encoder: None where there is no model file that can be used. notes: what is missing or not as
    it should be, in the report's language.
    """

    folder: Path
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    machine: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    layers: tuple[Layer, ...]
    encoder: Encoder | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.recipe.get("name") or self.folder.resolve().name)

    @property
    def seed(self) -> int | None:
        found = table(self.recipe, "training").get("seed")
        return found if isinstance(found, int) else None

    @property
    def parameters(self) -> int | None:
        return sum(layer.parameters for layer in self.layers) if self.layers else None

    @property
    def seconds(self) -> float:
        """Of the epochs' training; nan where it is not known."""
        return float(np.sum([line["seconds"] for line in self.history])) if self.history else float("nan")

    def curves(self, name: str) -> Curves:
        series = [np.array([line[key] for line in self.history]) for key in SERIES[:4]]
        return Curves(name, np.array([int(line["epoch"]) for line in self.history], np.int64), *series)


@dataclass(frozen=True)
class Images:
    """A run's data. splits: its test part is what to measure on, and training has not learnt from it. kind: what that
    is, "test" or, where the data have no test part, "validation".
    """

    splits: Splits
    kind: str
    unreadable: list[Unreadable]


def read(folder: Path, words: Words) -> Run:
    """Raises InputError where there is no run."""
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "missing"
        raise InputError(f"{folder} is {kind}; name the folder of a run, as `vitrine train` makes it (runs/RECIPE).")
    notes: list[str] = []
    facts = _facts(folder, words, notes)
    encoder = _encoder(folder, words, notes)
    history = _history(folder, words, notes)
    if not facts and encoder is None and not history:
        raise InputError(
            f"The folder {folder} holds no run: neither {FACTS} nor {HISTORY} nor {MODEL} can be read there; name one"
            " that `vitrine train` has made (runs/RECIPE)."
        )
    recipe = table(facts, "recipe") or (encoder.card.recipe if encoder else {})
    data = table(facts, "data") or (encoder.card.data if encoder else {})
    layers = _layers(facts)
    planned = table(recipe, "training").get("epochs")
    if encoder is None and isinstance(planned, int) and len(history) < planned:
        values = {"done": words.whole(len(history)), "planned": words.count(planned, "of_epochs")}
        notes.insert(0, words.text("note.interrupted", values))
    if not layers:
        notes.append(words.text("note.no_layers"))
    if not facts.get("machine"):
        notes.append(words.text("note.no_machine"))
    return Run(folder, recipe, data, table(facts, "machine"), tuple(history), layers, encoder, tuple(notes))


def images(
    run: Run, words: Words, name: str | None, data_dir: Path | None, notes: list[str], progress: Progress = silent
) -> Images | None:
    """The images that the run was trained on, if they can be found and are the same; else None, and a note why. name:
    where they are now, if not where they were.
    """
    wanted = name or run.data.get("name") or table(run.recipe, "data").get("name")
    if not isinstance(wanted, str) or not wanted:
        notes.append(words.text("note.data_unknown"))
        return None
    try:
        loaded = by_name.load(wanted, data_dir, _look(run), progress)
    except (DataError, StorageError, InputError) as error:
        notes.append(words.text("note.data_gone", {"data": wanted, "error": str(error)}))
        return None
    train, test = loaded.splits.train, loaded.splits.test
    checksum = run.data.get("checksum")
    if checksum and checksum != train.checksum():
        notes.append(words.text("note.data_changed", {"data": wanted, "images": words.count(len(train), "image")}))
        return None
    if not checksum:
        notes.append(words.text("note.no_checksum"))
    recipe = table(run.recipe, "data")
    left_out = [number for number in _list(recipe.get("leave_out")) if isinstance(number, int)]
    if left_out:
        known = words.count(len(left_out), "class")
        notes.append(words.text("note.left_out", {"classes": known}))
        train, test = (part[np.flatnonzero(~np.isin(part.labels, left_out))] for part in (train, test))
    if len(test):
        return _in_the_models_classes(run, Images(Splits(train, test), "test", loaded.unreadable), words, notes)
    share, rule, limit = recipe.get("validation"), recipe.get("split"), recipe.get("limit")
    if not (isinstance(share, float) and rule in ("random", "last") and run.seed is not None and checksum):
        notes.append(words.text("note.no_split"))
        return None
    known_rule: Rule = "last" if rule == "last" else "random"
    whole = loaded.splits.train
    limit = limit if isinstance(limit, int) else 0
    limited: Literal["all", "training"] = "training" if table(run.recipe, "model").get("name") == "photo" else "all"
    learnt, held = hold_out(whole, share, known_rule, run.seed, limit, left_out, limited)
    return _in_the_models_classes(run, Images(Splits(learnt, held), "validation", loaded.unreadable), words, notes)


def _in_the_models_classes(run: Run, images: Images, words: Words, notes: list[str]) -> Images:
    """The images as the model sees them; where the recipe says in [classes] what its folders mean, those of folders
    that mean one class each, and a note on the other folders, where right and wrong are not one class.
    """
    images, recipe = _as_seen(run, images), run.recipe
    if run.encoder is None or not (table(recipe, "classes") or table(recipe, "data").get("beside")):
        return images
    classes, folders = run.encoder.card.classes, images.splits.train.class_names["en"]
    meant = [_list(table(recipe, "classes").get(folder, [folder])) for folder in folders]
    numbers = np.array(
        [classes["en"].index(str(one[0])) if len(one) == 1 and one[0] in classes["en"] else -1 for one in meant],
        np.int64,
    )
    left = [folder for folder, number in zip(folders, numbers, strict=True) if number < 0]
    if left:
        notes.append(words.text("note.folders_left", {"folders": ", ".join(left)}))
    parts = []
    for part in (images.splits.train, images.splits.test):
        known = part[np.flatnonzero(numbers[part.labels] >= 0)]
        parts.append(replace(known, labels=numbers[known.labels], class_names=classes))
    return replace(images, splits=Splits(*parts))


def table(facts: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A part of a JSON object that should be an object itself; empty where it is not."""
    found = facts.get(key)
    return found if isinstance(found, dict) else {}


def _list(found: object) -> list[object]:
    return list(found) if isinstance(found, list | tuple) else []


def _look(run: Run) -> ImageSpec:
    """What the data are brought to: as training did, so that their checksum is the same."""
    kept = table(run.recipe, "data").get("kept")
    if run.encoder:
        image = run.encoder.card.image
        look = replace(image, mean=(0.0,) * image.channels, sd=(1.0,) * image.channels, middle=1.0)
    else:
        look = PHOTO if table(run.recipe, "model").get("name") == "photo" else PLAIN_GREY
        size = table(run.recipe, "data").get("size")
        side = size if isinstance(size, int) and 1 <= size <= 4096 else PLAIN_GREY.height
        look = replace(look, height=side, width=side)
    return replace(look, height=kept, width=kept) if isinstance(kept, int) and 1 <= kept <= 4096 else look


def _as_seen(run: Run, images: Images) -> Images:
    """The images at the model's size, if training kept them at another."""
    if run.encoder is None or run.encoder.card.image.shape[2] != images.splits.train.images.shape[3]:
        return images
    spec, splits = run.encoder.card.image, images.splits
    train, test = (replace(part, images=resize(part.images, spec)) for part in (splits.train, splits.test))
    return replace(images, splits=Splits(train, test))


def _facts(folder: Path, words: Words, notes: list[str]) -> dict[str, Any]:
    """run.json, or its copy in checkpoint.json."""
    for name in (FACTS, CHECKPOINT):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if isinstance(found, dict) and table(found, "recipe"):
            return found
        if name == FACTS:
            notes.append(words.text("note.no_facts", {"file": FACTS}))
    return {}


def _encoder(folder: Path, words: Words, notes: list[str]) -> Encoder | None:
    if not (folder / MODEL).exists():
        notes.append(words.text("note.no_model", {"file": MODEL}))
        return None
    try:
        return Encoder.load(folder / MODEL)
    except ModelFileError as error:
        notes.append(words.text("note.bad_model", {"error": str(error)}))
        return None


def _history(folder: Path, words: Words, notes: list[str]) -> list[dict[str, float]]:
    """The epochs that can be read, each once, in order."""
    try:
        text = (folder / HISTORY).read_text(encoding="utf-8", errors="replace")
    except OSError:
        notes.append(words.text("note.no_history", {"file": HISTORY}))
        return []
    found: dict[int, dict[str, float]] = {}
    lines = [line for line in text.splitlines() if line.strip()]
    for line in lines:
        entry = _epoch(line)
        if entry:
            found[int(entry["epoch"])] = entry
    if len(found) < len(lines) or not lines:
        values = {"file": HISTORY, "read": words.whole(len(found)), "lines": words.whole(len(lines))}
        notes.append(words.text("note.bad_history", values))
    return [found[number] for number in sorted(found)]


def _epoch(line: str) -> dict[str, float] | None:
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            return None
        return {"epoch": int(entry["epoch"])} | {key: float(entry.get(key, "nan")) for key in SERIES}
    except (ValueError, KeyError, TypeError):
        return None


def _layers(facts: Mapping[str, Any]) -> tuple[Layer, ...]:
    """As training wrote them down."""
    try:
        return tuple(
            Layer(
                str(line["name"]), str(line["kind"]), " × ".join(map(str, line["shape"] or ())), int(line["parameters"])
            )
            for line in facts["layers"]
        )
    except (KeyError, TypeError, ValueError):
        return ()
