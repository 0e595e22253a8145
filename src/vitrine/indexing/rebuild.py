"""A catalogue moved to another model: every item is embedded anew, while the old vectors are searched, and then all of
them are changed at once.

An item is embedded from its file where that is there and unchanged, else from its small picture. For what came from a
data set that is the same, pixel by pixel; for others it is nearly so: docs/catalogue.md says how nearly.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrine import images
from vitrine.catalogue import Catalogue, Known, content_hash
from vitrine.encoder import Encoder
from vitrine.errors import DataError, ImageError
from vitrine.progress import Progress, silent
from vitrine.spec import ImageSpec

BATCH = 500
_NAMED = 10  # of the items that cannot be embedded, in a sentence


@dataclass
class Rebuilt:
    """items: how many there are. kept: how many were done already by a run that was stopped. thumbnails: how many were
    embedded from their small pictures in this run, as their files are gone or changed.
    """

    items: int
    kept: int = 0
    thumbnails: int = 0


@dataclass(frozen=True)
class _Seen:
    """An item's picture as the model wants it. whole: not made of a small copy."""

    image: npt.NDArray[np.uint8]
    whole: bool


def rebuild(catalogue: Catalogue, encoder: Encoder, progress: Progress = silent) -> Rebuilt:
    """Move a catalogue to another model. Until all is done it is searched by the old one, and nobody else can write;
    after a stop the same call goes on.

    Raises DataError where an item has neither a file nor a small picture: then it stays with the old model; what the
    catalogue raises.
    """
    if catalogue.moved(encoder):
        count = len(catalogue)
        return Rebuilt(count, kept=count)
    with catalogue.moving(encoder) as collected, images.decoders() as pool:
        items = sorted(catalogue.known(), key=lambda item: item.id)
        there = collected.ids()
        left = [item for item in items if item.id not in there]
        done = Rebuilt(len(items), kept=len(items) - len(left))
        failed: list[Known] = []
        for first in range(0, len(left), BATCH):
            batch = left[first : first + BATCH]
            thumbnails = [catalogue.item(item.id).thumbnail for item in batch]
            seen = list(pool.map(_see, batch, thumbnails, repeat(encoder.card.image)))
            failed += [item for item, picture in zip(batch, seen, strict=True) if picture is None]
            good = [(item.id, picture) for item, picture in zip(batch, seen, strict=True) if picture is not None]
            if good:
                vectors = encoder.run(np.stack([picture.image for _, picture in good])).embeddings.astype("<f4")
                collected.add((id, vector.tobytes()) for (id, _), vector in zip(good, vectors, strict=True))
            done.thumbnails += sum(not picture.whole for _, picture in good)
            progress(done.kept + first + len(batch), len(items))
        if failed:
            raise DataError(_sentence(catalogue.name, failed))
    return done


def _see(item: Known, thumbnail: bytes, spec: ImageSpec) -> _Seen | None:
    """The item's picture, or None where there is none."""
    with suppress(ImageError):
        if os.path.isabs(item.source):
            written = images.content(Path(item.source))
            if content_hash(written) == item.content:
                return _Seen(images.prepare(images.opened(written, item.source, spec), spec), whole=True)
    with suppress(ImageError):
        small = images.read(thumbnail)
        if content_hash(small.tobytes()) == item.content:  # of a data set
            return _Seen(images.resize(small[None], spec)[0], whole=True)
        if not images.is_blank(small):
            return _Seen(images.prepare(small, spec), whole=False)
    return None


def _sentence(name: str, failed: list[Known]) -> str:
    shown = ", ".join(f"{item.id} ({item.source})" for item in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED:,} more" if len(failed) > _NAMED else ""
    return (
        f"{len(failed):,} items of {name!r} cannot be embedded anew, as their files are gone or changed and there is no"
        f" small picture of them: {shown}{more}; bring the files back, or take the items out with `vitrine index"
        " remove`, and run it again: the others are kept."
    )
