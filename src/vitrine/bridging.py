"""From photos to a catalogue of grey pictures: two models together, each for what it can.

A model that was trained on Fashion-MNIST tells garments on black apart and finds their look-alikes, but takes most
photos of garments on a bed or a hanger for another class, and what it finds is of that. A model for photos knows the
class, but takes many times as long to embed a large catalogue. Where the embedding of the catalogue's model holds the
class probabilities as a part of their own (decision 0005), a photo can be brought into it:

    e = (p, sqrt(1 + w - |p|^2) u) / sqrt(1 + w)

p, the class probabilities, is what the photo model says; u, the unit vector of looks and shape, is what the catalogue's
own model sees in the same photo. w is read off the embedding itself: its first part adds up to 1 / sqrt(1 + w).
What looks like Fashion-MNIST is embedded by the catalogue's model alone. A photo that is added to such a catalogue is
brought into it in the same way as one that is asked about, so that it is found by itself.
docs/decisions/0009-two-models.md has the reasons, and how it is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vitrine import choosing, images, metrics
from vitrine.catalogue import Catalogue, Vectors
from vitrine.choosing import Models, Opened
from vitrine.encoder import Encoder, Outputs
from vitrine.errors import ImageError
from vitrine.images import Crop, Picture, Pixels

_PROBES = 4
_SAME = 1e-4  # how far apart sums may be that only rounding tells apart
_SAMPLE = 20  # items that are looked at

Given = tuple[Picture, str | None]
"""A picture, and what to call it in an error."""


def is_joint(model: Encoder) -> bool:
    """Whether the model's embedding begins with the class probabilities, by what it says of a few made pictures: these
    numbers are never negative, add up to the same, which is less than 1, and are largest for the class of the largest
    logit.
    """
    classes = len(model.card.names())
    if not 0 < classes < model.card.embedding:
        return False
    height, width, channels = model.card.image.shape
    probes = np.random.default_rng(0).integers(0, 256, (_PROBES, height, width, channels), np.uint8)
    probes[0], probes[1, : height // 2] = 0, 0
    said = model.run(probes)
    first = said.embeddings[:, :classes].astype(np.float64)  # (n, classes)
    sums = first.sum(axis=1)
    alike = bool(np.ptp(sums) < _SAME and _SAME < sums[0] < 1 - _SAME)
    return alike and bool(first.min() >= 0 and (first.argmax(axis=1) == said.logits.argmax(axis=1)).all())


def with_classes(embeddings: Vectors, probabilities: npt.NDArray[np.floating]) -> Vectors:
    """Joint embeddings (n, d) with other class probabilities (n, classes): (n, d) float32, L2-normalised, of the same
    weight and the same looks.

    >>> plain = np.array([[0.5, 0.5, 0.75**0.5 * 0.6, 0.75**0.5 * 0.8]]) / 1.25**0.5  # w = 0.25, u = (0.6, 0.8)
    >>> (with_classes(plain, np.array([[1.0, 0.0]])) * 1.25**0.5).astype(float).round(4).tolist()
    [[1.0, 0.0, 0.3, 0.4]]
    """
    classes = probabilities.shape[1]
    whole = embeddings.astype(np.float64)
    scale = whole[:, :classes].sum(axis=1, keepdims=True)  # 1 / sqrt(1 + w)
    looks = whole[:, classes:]
    looks = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-12)
    rest = np.sqrt(np.maximum(scale**-2 - np.square(probabilities).sum(axis=1, keepdims=True), 0))
    joined: Vectors = (np.concatenate([probabilities, rest * looks], axis=1) * scale).astype(np.float32)
    return joined


@dataclass(frozen=True)
class Bridge:
    """own: the model of a catalogue, whose embedding is joint. photo: a photo model of the same classes."""

    own: Encoder
    photo: Encoder

    def vectors(self, pictures: Sequence[Picture]) -> Vectors:
        """Photos as (n, d) float32, L2-normalised, in the space of the catalogue. Raises ImageError."""
        seen = [self.see(Opened.read(picture)) for picture in pictures]
        return np.concatenate([self.run(one).vectors for one in seen])

    def see(self, opened: Opened) -> "View":
        """A photo, as both models see it. It is decoded again only if the photo model wants another scale."""
        small = images.read(opened.image, spec=self.own.card.image)
        own = images.prepare(small, self.own.card.image)
        picture = opened.reread(self.photo)
        return View(picture, images.prepare(picture, self.photo.card.image), self.photo, own, self)

    def run(self, view: "View") -> "Said":
        """What both say of a photo."""
        said = self.photo.run(view.image[None])
        looks = self.own.run(view.own[None]).embeddings
        return Said(said, with_classes(looks, metrics.softmax(said.logits, self.photo.card.temperature)))


@dataclass(frozen=True)
class Said:
    """What is said of one picture. outputs: by the model that answers. vectors: (1, d) float32, L2-normalised, in the
    space of the catalogue's model.
    """

    outputs: Outputs
    vectors: Vectors


@dataclass(frozen=True)
class View:
    """A picture that a catalogue is asked about, before any model is asked. picture: (h, w, c), to be shown. image:
    (h, w, c) as `answering` sees it, the model that says what it is. own: as the catalogue's model sees it. bridge:
    None where that is asked alone.
    """

    picture: Pixels
    image: Pixels
    answering: Encoder
    own: Pixels
    bridge: Bridge | None = None

    def run(self) -> Said:
        """Ask the model, or both."""
        if self.bridge:
            return self.bridge.run(self)
        outputs = self.answering.run(self.own[None])
        return Said(outputs, outputs.embeddings)


class Sees(Protocol):
    """Knows which models a picture is for."""

    def see(self, opened: Opened) -> View:
        """Raises ImageError; ModelFileError where a model is needed and damaged."""
        ...


def see(opened: Opened, own: Encoder, bridge: Bridge | None) -> View:
    """A picture as a catalogue's model sees it, or for a photo both. Raises ImageError."""
    if bridge is not None:
        return bridge.see(opened)
    image = opened.reread(own)
    seen = images.prepare(image, own.card.image)
    return View(image, seen, own, seen)


@dataclass
class Viewer:
    """What pictures are seen with that a catalogue is asked about: its own model, and for photos the two together where
    that helps, which is found out when it is needed. It does where its items look like Fashion-MNIST, its model does
    not want photos as they are, embeds jointly, and knows the classes that `photo` knows.
    """

    own: Encoder
    catalogue: Catalogue
    models: Models = field(default_factory=Models)
    _grey: tuple[int, bool] | None = None  # what is known of the items, and when

    def look(
        self,
        picture: Picture,
        name: str | None = None,
        pixels: int = images.MAX_PIXELS,
        crop: Crop | None = None,
    ) -> View:
        """Raises ImageError and InputError as `images.read`; ModelFileError where `photo` is needed and damaged."""
        if self.possible():
            return self.see(Opened.read(picture, name, pixels, crop))
        spec = self.own.card.image
        image = images.read(picture, name, spec, pixels, crop)
        own = images.prepare(image, spec)
        return View(image, own, self.own, own)

    def see(self, opened: Opened) -> View:
        """The same, for who knows that it is possible. Raises as `look`."""
        return see(opened, self.own, self.bridge if opened.is_photo else None)

    def together(self, pictures: Sequence[Given], pixels: int = images.MAX_PIXELS) -> tuple[Encoder, list[Pixels]]:
        """The model that is to see all of these pictures, and what it sees of each, (h, w, c). Raises as `look`."""
        if self.possible():
            opened = [Opened.read(picture, name, pixels) for picture, name in pictures]
            bridged = any(one.is_photo for one in opened) and self.bridge
            model = bridged.photo if bridged else self.own
            return model, [one.seen_by(model) for one in opened]
        spec = self.own.card.image
        return self.own, [images.prepare(images.read(one, name, spec, pixels), spec) for one, name in pictures]

    def possible(self) -> bool:
        """Whether a photo is bridged now, unless the classes are not the same: that is known to `bridge`, which loads a
        model.
        """
        return self.fits and self._items_are_grey()

    @cached_property
    def fits(self) -> bool:
        """The same of the models alone, whatever the items are."""
        return self.own.card.image.ground != "any" and choosing.photo_is_there() and is_joint(self.own)

    def _items_are_grey(self) -> bool:
        """Whether most of a few of its items look like Fashion-MNIST. It is looked at again when there are about twice
        or half as many.
        """
        size = len(self.catalogue).bit_length()
        if self._grey is None or self._grey[0] != size:
            found = [_is_grey(small) for small in self.catalogue.sample(_SAMPLE)]
            self._grey = size, found.count(True) > found.count(False)
        return self._grey[1]

    @cached_property
    def bridge(self) -> Bridge | None:
        """For photos, where it is possible; None where the classes are not the same. Raises ModelFileError."""
        photo = self.models.of(choosing.PHOTO)
        return Bridge(self.own, photo) if photo.card.names() == self.own.card.names() else None


def _is_grey(thumbnail: bytes) -> bool | None:
    """None for what is no picture, or stands for one that there is not."""
    try:
        small = images.read(thumbnail)
    except ImageError:
        return None
    return None if images.is_blank(small) else images.looks_like_fashion_mnist(small)
