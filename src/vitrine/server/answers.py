"""What the routes call: questions to one opened catalogue, answered in the shapes of schemas.py."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vitrine import explaining, images
from vitrine.bridging import View
from vitrine.catalogue import Item, Vectors, content_hash, filters, relevance
from vitrine.catalogue.relevance import Example, Page
from vitrine.encoder import Encoder, Outputs, Prediction
from vitrine.errors import ImageError, InputError, ItemError
from vitrine.images import Crop, Pixels
from vitrine.server.desks import Desk

Answer = dict[str, Any]

_LARGEST = 1600  # pixels: the longest side of an original that is shown
_LABELS = 200  # classes that are listed
_UPLOADED = "upload"  # how the source of what came over HTTP begins


class File(Protocol):
    """A file that was sent, open for reading."""

    def seek(self, offset: int, /) -> int: ...

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class Upload:
    """A picture that was sent. name: what its sender calls it, in plain characters. crop: the part that is meant."""

    name: str
    file: File
    crop: Crop | None = None

    def content(self) -> bytes:
        """All of it, each time: a question may be asked twice. The limit of a whole request is the limit here."""
        self.file.seek(0)
        return self.file.read()


@dataclass(frozen=True)
class Wanted:
    """What a search is asked for; see `schemas.SearchForm`. like, unlike: items' ids and weights."""

    pictures: Sequence[tuple[Upload, float]]
    unlike_pictures: Sequence[Upload]
    like: Sequence[tuple[int, float]]
    unlike: Sequence[tuple[int, float]]
    k: int
    offset: int
    threshold: float | None
    where: str | None


@dataclass(frozen=True)
class Look:
    """How an answer is worded. input: whether it also holds what the model saw."""

    lang: str = "en"
    input: bool = False


@dataclass(frozen=True)
class _Seen:
    """A picture as a model sees it, (h, w, c), and what that says of it. vector: (d,), of the catalogue's kind."""

    source: str
    image: Pixels
    model: Encoder
    outputs: Outputs
    vector: Vectors


@dataclass(frozen=True)
class Shown:
    """A picture to be shown. kind: its media type. original: not the small copy."""

    content: bytes
    kind: str
    original: bool


# --- questions


def classify(desk: Desk, upload: Upload, look: Look) -> Answer:
    """As `schemas.ClassifyAnswer`. Raises ImageError, or InputError where the model has no classes."""
    seen = _see(desk, upload)
    model = {"source": seen.source, "model": seen.model.card.name}
    return {**model, **_prediction(seen, look.lang), "input": _input(seen, look)}


def explain(desk: Desk, upload: Upload, look: Look) -> Answer:
    """As `schemas.ExplainAnswer`. Raises ImageError; InputError where the model has no classes."""
    content = upload.content()
    desk.go_on()
    with desk.counters.stage("decode"):
        view = desk.viewer.look(content, upload.name, desk.limits.pixels, upload.crop)
        *_, step = images.steps(view.picture, view.answering.card.image)
    seen = _run(desk, view, upload.name)
    facts = {"source": seen.source, "model": seen.model.card.name, **_prediction(seen, look.lang)}
    with desk.counters.stage("explain"):
        found = explaining.explain(seen.model, step.image, lambda done, total: desk.go_on())
    heat = explaining.overlay(found.heat, step.frame, *view.picture.shape[:2])
    return {**facts, "way": found.way, "heat": _address(heat)}


def search(desk: Desk, wanted: Wanted, look: Look) -> Answer:
    """As `schemas.SearchAnswer`. Raises ImageError, InputError, ItemError; what the catalogue raises."""
    if not wanted.pictures and not wanted.like:
        raise InputError("Send one picture to search with as image, or name an item of the catalogue with like.")
    condition = None if wanted.where is None else filters.parse(wanted.where, desk.catalogue.columns())
    seen = [_see(desk, upload) for upload, _ in wanted.pictures]
    weights = [weight for _, weight in wanted.pictures]
    chosen = [_example(one, weight) for one, weight in zip(seen, weights, strict=True)]
    chosen += [_item_example(desk, *one) for one in wanted.like]
    unlike = [_see(desk, upload) for upload in wanted.unlike_pictures]
    avoided = [_example(one) for one in unlike]
    avoided += [_item_example(desk, *one) for one in wanted.unlike]
    page = Page(wanted.k, wanted.offset, wanted.threshold, condition)
    with desk.counters.stage("search"):
        matches = relevance.look_alikes(desk.catalogue, chosen, avoided, page)
    return {
        "source": chosen[0].source if len(chosen) == 1 and not avoided else None,
        "model": desk.encoder.card.name,
        "bridge": next((one.model.card.name for one in (*seen, *unlike) if one.model is not desk.encoder), None),
        "like": [one.source for one in chosen],
        "unlike": [one.source for one in avoided],
        "matches": [match._asdict() for match in matches],
        "prediction": _shown(seen[0], look.lang) if seen else None,
        "input": _input(seen[0], look) if seen else None,
        "learnt": _learnt(seen[0].model) if seen else [],
    }


def compare(desk: Desk, sides: Sequence[Upload | int], look: Look) -> Answer:
    """As `schemas.CompareAnswer`; sides: two pictures, or items' ids. Raises ImageError, InputError, ItemError,
    ModelFileError.
    """
    if len(sides) != 2:
        raise InputError(f"{len(sides)} came to be compared; send two in all, pictures as image or items as id.")
    a, b = _see_together(desk, [_given(desk, side) for side in sides])
    found = a.model.comparison(a.outputs, b.outputs)
    card = a.model.card
    assert card.similarity is not None  # or `comparison` had raised
    facts = {"same_probability": found.same_probability, "score": found.score, "model": card.name}
    facts |= {"measure": card.similarity.measure, "distance": found.distance}
    for side, seen in (("a", a), ("b", b)):
        shows = _shown(seen, look.lang) or {}
        facts[side] = {"source": seen.source, **{key: shows.get(key) for key in ("label", "probability", "known")}}
    return facts


def item(desk: Desk, id: int) -> Answer:
    """As `schemas.ItemAnswer`. Raises ItemError."""
    found = desk.catalogue.item(id)
    facts = {"id": id, "source": found.source, "label": found.label, "columns": found.columns}
    return {**facts, "content": found.content, "original": _original(found) is not None}


def picture(desk: Desk, id: int) -> Shown:
    """The file that the item came from, made anew, at most 1,600 pixels a side; the small copy where it is gone or
    changed. Raises ItemError.
    """
    found = desk.catalogue.item(id)
    original = _original(found)
    if original is not None:
        with suppress(ImageError), desk.counters.stage("decode"):
            opened = images.opened(original, found.source, pixels=desk.limits.pixels)
            return Shown(images.jpeg(opened, _LARGEST), "image/jpeg", original=True)
    return _small(found)


def thumbnail(desk: Desk, id: int) -> Shown:
    """The item's small copy. Raises ItemError."""
    return _small(desk.catalogue.item(id))


def about(desk: Desk, writable: bool) -> Answer:
    """As `schemas.CatalogueAnswer`."""
    info = vars(desk.catalogue.info())
    counts = {"label_counts": desk.catalogue.labels(_LABELS)}
    return {"catalogue": info.pop("name"), **info, **counts, "writable": writable, "version": desk.catalogue.version()}


def model(desk: Desk) -> Answer:
    """As `schemas.ModelAnswer`."""
    return {**desk.encoder.card.to_json(), "learnt": _learnt(desk.encoder)}


def ready(desk: Desk) -> int:
    """How many items there are, after one search: then everything is there that a search needs."""
    count = len(desk.catalogue)
    direction = np.zeros((1, desk.encoder.card.embedding), np.float32)
    direction[0, 0] = 1
    desk.catalogue.search(direction, 1)
    return count


# --- changes


def add(desk: Desk, uploads: Sequence[Upload], label: str | None) -> Answer:
    """As `schemas.AddAnswer`: all of them, or none. Raises ImageError, CatalogueError, StorageError."""
    items = list({one.source: one for one in (_new_item(desk, upload, label) for upload in uploads)}.values())
    desk.go_on()  # what nobody waits for is not added
    with desk.catalogue.sole_writer():
        there = desk.catalogue.ids(one.source for one in items)
        new = [one for one in items if one.source not in there]
        ids = there | dict(zip((one.source for one in new), desk.catalogue.add(new) if new else (), strict=True))
        desk.catalogue.save_index()
    added = [
        {
            "id": ids[one.source],
            "source": one.source,
            "label": _label(desk, one, there),
            "added": one.source not in there,
        }
        for one in items
    ]
    return {"catalogue": desk.catalogue.name, "added": added, "items": len(desk.catalogue)}


def remove(desk: Desk, ids: Sequence[int]) -> Answer:
    """As `schemas.RemoveAnswer`. Raises ItemError where none of them is there; CatalogueError, StorageError."""
    removed = desk.catalogue.remove(sorted(set(ids)))
    desk.catalogue.save_index()
    if not removed:
        raise ItemError(f"The catalogue {desk.catalogue.name!r} has none of these items; nothing was removed.")
    return {"catalogue": desk.catalogue.name, "removed": removed, "items": len(desk.catalogue)}


def embedded(desk: Desk, upload: Upload) -> Vectors:
    """(1, d) float32: the picture's embedding, one of the catalogue's. Raises ImageError."""
    return _see(desk, upload).vector[None]


# --- parts of answers


def _see(desk: Desk, upload: Upload) -> _Seen:
    content = upload.content()
    desk.go_on()
    with desk.counters.stage("decode"):
        view = desk.viewer.look(content, upload.name, desk.limits.pixels, upload.crop)
    return _run(desk, view, upload.name)


def _run(desk: Desk, view: View, name: str) -> _Seen:
    with desk.counters.stage("model"):
        said = view.run()
    return _Seen(name, view.image, view.answering, said.outputs, said.vectors[0])


def _see_together(desk: Desk, given: Sequence[tuple[bytes, str]]) -> list[_Seen]:
    """Pictures with their names, as one model sees all of them; `vector` is of that."""
    desk.go_on()
    with desk.counters.stage("decode"):
        model, seen = desk.viewer.together(given, desk.limits.pixels)
    with desk.counters.stage("model"):
        outputs = [model.run(one[None]) for one in seen]
    rows = zip(given, seen, outputs, strict=True)
    return [_Seen(name, one, model, said, said.embeddings[0]) for (_, name), one, said in rows]


def _given(desk: Desk, side: Upload | int) -> tuple[bytes, str]:
    """A picture and its name: what was sent, or an item's file; its small copy where that is gone or changed."""
    if isinstance(side, Upload):
        return side.content(), side.name
    found = desk.catalogue.item(side)
    return _original(found) or found.thumbnail, found.source


def _example(seen: _Seen, weight: float = 1.0) -> Example:
    return Example(seen.source, seen.vector, weight=weight)


def _item_example(desk: Desk, id: int, weight: float) -> Example:
    found = desk.catalogue.item(id)
    return Example(found.source, found.vector, id, weight)


def _shown(seen: _Seen, lang: str) -> Answer | None:
    """What a picture shows, where the model has classes."""
    return _prediction(seen, lang) if seen.model.names() else None


def _prediction(seen: _Seen, lang: str) -> Answer:
    """As `schemas.Prediction`. Raises InputError where the model has no classes."""
    found: Prediction = seen.model.predictions(seen.outputs)[0]
    label = seen.model.names(lang)[found.class_index]
    probabilities = list(found.probabilities)
    chosen = {"class_index": found.class_index, "label": label, "probability": found.probability}
    return {**chosen, "probabilities": probabilities, "known": found.known}


def _learnt(model: Encoder) -> list[str]:
    """The classes that a model was taught later."""
    return list(model.judge.names) if model.judge else []


def _input(seen: _Seen, look: Look) -> str | None:
    if not look.input:
        return None
    return _address(seen.image)


def _address(image: Pixels) -> str:
    """A PNG in a data: address."""
    return f"data:image/png;base64,{base64.b64encode(images.png(image)).decode()}"


def _original(item: Item) -> bytes | None:
    """The bytes of the file that the item came from, None where it is gone or changed, or there was none."""
    if not os.path.isabs(item.source):
        return None
    with suppress(ImageError):
        content = images.content(Path(item.source))
        return content if content_hash(content) == item.content else None
    return None


def _small(item: Item) -> Shown:
    """Raises ItemError where the item has no picture."""
    for start, kind in ((b"\x89PNG\r\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg")):
        if item.thumbnail.startswith(start):
            return Shown(item.thumbnail, kind, original=False)
    raise ItemError(f"The item from {item.source} has no picture.")


def _label(desk: Desk, item: Item, there: dict[str, int]) -> str | None:
    """The label that an item has: where it was there already, not necessarily the one that was sent."""
    return desk.catalogue.item(there[item.source]).label if item.source in there else item.label


def _new_item(desk: Desk, upload: Upload, label: str | None) -> Item:
    """What was sent is not kept as it is: a small copy, its hash, its vector."""
    desk.go_on()
    content = upload.content()
    with desk.counters.stage("decode"):
        view = desk.viewer.look(content, upload.name, desk.limits.pixels)
        small = images.thumbnail(view.picture)
    hashed = content_hash(content)
    vector = _run(desk, view, upload.name).vector
    return Item(f"{_UPLOADED}/{hashed}/{upload.name}", label, hashed, vector, small)


def weighted(uploads: Sequence[Upload], weights: Sequence[float]) -> Iterator[tuple[Upload, float]]:
    """Each picture with its weight, 1 where there is none. Raises InputError for more weights than pictures."""
    if len(weights) > len(uploads):
        raise InputError(f"{len(weights)} image_weight came with {len(uploads)} image; send at most one for each.")
    return zip(uploads, chain(weights, repeat(1.0)), strict=False)
