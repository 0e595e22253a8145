"""Where a model looked: how much each place of a picture counts for the class that it was taken for.

Where the model file gives class activation maps (Zhou et al. 2016, arXiv 1512.04150), these say it. Of any other model
it is found out from outside (Zeiler and Fergus 2014, arXiv 1311.2901): a patch in the colour of the ground covers one
place after another, and what the class loses by it is what the place was worth.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine.encoder import Encoder
from vitrine.images import Frame, Pixels
from vitrine.progress import Progress, silent
from vitrine.spec import ImageSpec

Heat = npt.NDArray[np.float32]
Way = Literal["activation", "occlusion"]

_ACROSS = 14  # patches lie at so many places along each side,
_PATCH = 4  # and each covers one part in so many of it
_AT_ONCE = 1_000_000  # pixels that go through the model together
_NOTHING = 1e-3  # what moves the log-odds by less has not mattered
_SHOWN = 256  # pixels: the longest side of a heat to be laid over a photo
_OPAQUE = 0.8  # how much of the photo the greatest heat covers

_PLASMA = ("0d0887", "4c02a1", "7e03a8", "a92395", "cc4778", "e56b5d", "f89540", "fdc527", "f0f921")
"""Matplotlib's plasma, in eighths: as even to the eye as it is in numbers, also for who sees less of red or green."""


@dataclass(frozen=True)
class Explanation:
    """Where a model looked. heat: (H, W) float32, 0 to 1, over the model's input: 1 where it mattered most; where no
    place mattered more than the others, all 0. class_index, label: the class that is explained; label in English. way:
    how it was found out.
    """

    heat: Heat
    class_index: int
    label: str
    way: Way


def explain(encoder: Encoder, image: Pixels, progress: Progress = silent) -> Explanation:
    """Where the model looked in an image (H, W, c) from `images.prepare` when it took it for the class that it did.

    progress: called before every longer step; what it raises ends the work. Raises InputError for another array, or
    where the model has no classes; ModelFileError as `Encoder.run` does.
    """
    chosen = encoder.predictions(encoder.run(image[None]))[0]
    own = chosen.class_index < len(encoder.card.names())  # or it was learnt later, and has no map
    way: Way = "activation" if encoder.card.activation and own else "occlusion"
    if way == "activation":
        evidence = _activation(encoder, image, chosen.class_index)
    else:
        evidence = _smooth(_occlusion(encoder, image, chosen.class_index, progress))
    return Explanation(_scaled(evidence), chosen.class_index, chosen.label, way)


def over(heat: Heat, frame: Frame, height: int, width: int) -> Heat:
    """The heat (H, W) of a model's input, of which `frame` says what part of the photo it shows, as (height, width)
    float32 over the whole photo; 0 where the model saw nothing of it.
    """
    rows, columns = heat.shape
    across, down = columns / (frame.width * width), rows / (frame.height * height)
    affine = (across, 0, -frame.left * width * across, 0, down, -frame.top * height * down)
    whole = Image.fromarray(heat).transform(
        (width, height), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor=0
    )
    return np.clip(np.asarray(whole, np.float32), 0, 1)


def colours(heat: npt.ArrayLike) -> Pixels:
    """(..., 3) uint8: the colours of heat, 0 to 1, from violet by red to yellow.

    >>> colours([0, 1]).tolist()
    [[13, 8, 135], [240, 249, 33]]
    """
    table = np.array([list(bytes.fromhex(colour)) for colour in _PLASMA])  # (9, 3)
    steps = np.linspace(0, 1, len(table))
    parts = [np.interp(np.asarray(heat), steps, table[:, channel]) for channel in range(3)]
    return np.round(np.stack(parts, axis=-1)).astype(np.uint8)


def painted(photo: Pixels, heat: Heat) -> Pixels:
    """A photo (h, w, 1 or 3) with its heat (h, w) laid over it, (h, w, 3): the more heat, the less shines through."""
    opaque = _OPAQUE * heat[..., None]
    return np.round(photo * (1 - opaque) + colours(heat) * opaque).astype(np.uint8)


def overlay(heat: Heat, frame: Frame, height: int, width: int) -> Pixels:
    """(h, w, 4) RGBA in the proportions of a photo of that size, to be laid over it: the heat's colours, and the heat
    itself, 0 to 255, as their opacity. No side has more than 256 pixels.
    """
    scale = min(1.0, _SHOWN / max(height, width))
    whole = over(heat, frame, math.ceil(height * scale), math.ceil(width * scale))
    return np.concatenate([colours(whole), np.round(255 * whole[..., None]).astype(np.uint8)], axis=-1)


def _activation(encoder: Encoder, image: Pixels, chosen: int) -> Heat:
    """(H, W): the evidence for the class above that for all classes at the mean: what speaks for each of them alike
    moves no probability. In a picture of one colour it is 0: there a map shows the edges that the model puts around it.
    """
    if (image == image[0, 0]).all():
        return np.zeros(image.shape[:2], np.float32)
    maps = encoder.activation(image[None])[0]  # (classes, h, w)
    evidence = maps[chosen] - maps.mean(axis=0) if len(maps) > 1 else maps[chosen]
    height, width = image.shape[:2]
    return np.array(Image.fromarray(evidence).resize((width, height), Image.Resampling.BILINEAR))


def _occlusion(encoder: Encoder, image: Pixels, chosen: int, progress: Progress) -> Heat:
    """(H, W): by how much the log-odds of the class sink, at the mean over the patches that cover a place."""
    patches = _patches(encoder.card.image)
    ground = _ground(image, encoder.card.image)
    whole = _log_odds(encoder, image[None], chosen)[0]
    many = max(1, _AT_ONCE // (image.shape[0] * image.shape[1]))
    total, count = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    for first in range(0, len(patches), many):
        progress(first, len(patches))
        part = patches[first : first + many]
        covered = image[None].repeat(len(part), axis=0)  # (n, H, W, c)
        for one, patch in zip(covered, part, strict=True):
            one[patch] = ground
        for left, patch in zip(_log_odds(encoder, covered, chosen), part, strict=True):
            total[patch] += whole - left
            count[patch] += 1
    progress(len(patches), len(patches))
    worth = total / count
    return (worth if worth.max() > _NOTHING else np.zeros_like(worth)).astype(np.float32)


def _patches(spec: ImageSpec) -> list[tuple[slice, slice]]:
    """Places that overlap, row by row; at the edges they are cut off, so that none there is covered less often."""
    return [(rows, columns) for rows in _spans(spec.height) for columns in _spans(spec.width)]


def _spans(side: int) -> list[slice]:
    """Parts of one side, their centres at even distances.

    >>> _spans(4)
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    many, size = min(_ACROSS, side), max(1, side // _PATCH)
    starts = [math.floor((place + 0.5) * side / many - size / 2 + 0.5) for place in range(many)]
    return [slice(max(0, start), start + size) for start in starts]


def _ground(image: Pixels, spec: ImageSpec) -> Pixels:
    """(c,): the colour of what is not the thing: black or white where that is the model's ground, else what most of
    the edge is like.
    """
    if spec.channels == 1 and spec.ground != "any":
        return np.array([255 if spec.ground == "light" else 0], np.uint8)
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])  # (n, c)
    colour: Pixels = np.median(edge, axis=0).astype(np.uint8)
    return colour


def _log_odds(encoder: Encoder, batch: Pixels, chosen: int) -> npt.NDArray[np.float64]:
    """(n,): log(p / (1 - p)) of a class. Where the model is as good as certain, log p hardly moves; this still does."""
    outputs = encoder.run(batch)
    logits = outputs.logits.astype(np.float64) / encoder.card.temperature
    if encoder.judge and chosen >= logits.shape[1]:
        return encoder.judge.log_odds(outputs.embeddings)[:, chosen - logits.shape[1]]
    others = np.delete(logits, chosen, axis=1)
    if not others.shape[1]:  # a model of one class is always certain
        return np.zeros(len(batch))
    most = others.max(axis=1)
    odds: npt.NDArray[np.float64] = logits[:, chosen] - most - np.log(np.exp(others - most[:, None]).sum(axis=1))
    return odds


def _smooth(heat: Heat) -> Heat:
    """(H, W), averaged over the distance of two patches each way: no steps at their edges."""
    for axis in (0, 1):
        side = heat.shape[axis]
        size = max(1, round(side / _ACROSS))
        weights = np.convolve(np.ones(size), np.ones(size)) / size**2  # a tent of 2 * size - 1
        padded = np.pad(heat, [(size - 1, size - 1) if each == axis else (0, 0) for each in (0, 1)], mode="edge")
        parts = [weight * padded.take(np.arange(at, at + side), axis) for at, weight in enumerate(weights)]
        heat = np.stack(parts).sum(axis=0, dtype=np.float32)
    return heat


def _scaled(evidence: Heat) -> Heat:
    """(H, W) of 0 to 1: what is everywhere says nothing of where, and what speaks against the class is no heat."""
    above: Heat = np.maximum(evidence - max(0.0, float(evidence.min())), 0)
    most = float(above.max())
    return above / most if most > 0 else above
