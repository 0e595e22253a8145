"""Pictures into a catalogue: decode, embed, add, in batches; what is there already is left alone, so a stopped run goes
on.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrine import images
from vitrine.catalogue import Catalogue, Item
from vitrine.datasets import UNLABELLED, Dataset, Progress, silent
from vitrine.datasets.image_folder import Unreadable, class_of, scan
from vitrine.encoder import Encoder
from vitrine.errors import ImageError
from vitrine.spec import ImageSpec

BATCH = 500


@dataclass
class Report:
    """added: new items. replaced: items whose picture had changed. unchanged: items that were there already.
    unreadable: files that were left out.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)


def add_dataset(catalogue: Catalogue, encoder: Encoder, dataset: Dataset, progress: Progress = silent) -> Report:
    """Every image of a data set that already has the look that the model wants. Raises what the catalogue raises."""
    there = catalogue.contents()
    report = Report()
    names = dataset.class_names["en"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(dataset), BATCH):
            batch = dataset[first : first + BATCH]
            contents = [hashlib.sha256(image).hexdigest()[:32] for image in np.ascontiguousarray(batch.images)]
            wanted = _sorted_out(report, there, batch.sources, contents)
            if wanted:
                chosen = batch[np.array(wanted, np.intp)]
                thumbnails = pool.map(images.thumbnail, chosen.images)
                vectors = encoder.run(chosen.images).embeddings
                labels = [names[label] if label != UNLABELLED else None for label in chosen.labels]
                catalogue.add(
                    [
                        Item(*entry)
                        for entry in zip(
                            chosen.sources, labels, [contents[i] for i in wanted], vectors, thumbnails, strict=True
                        )
                    ]
                )
            progress(min(first + BATCH, len(dataset)), len(dataset))
    return report


def add_folder(catalogue: Catalogue, encoder: Encoder, folder: Path, progress: Progress = silent) -> Report:
    """Every picture under a folder; its label is its first sub-folder's name. Sources are absolute paths.

    Raises DataError when there is no folder or it holds no pictures; what the catalogue raises.
    """
    files, refused = scan(folder)
    there = catalogue.contents()
    report = Report(unreadable=refused)
    batches = [files[first : first + BATCH] for first in range(0, len(files), BATCH)]
    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        following = _submit(pool, batches[0], there, encoder.card.image)
        for number, batch in enumerate(batches):
            decoded = following
            following = (
                _submit(pool, batches[number + 1], there, encoder.card.image) if number + 1 < len(batches) else []
            )  # while this one is embedded
            try:
                _add_decoded(catalogue, encoder, folder, list(zip(batch, decoded, strict=True)), there, report)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            done += len(batch)
            progress(done, len(files))
    return report


@dataclass(frozen=True)
class _Decoded:
    """A picture that was read. image: as the model wants it; None where the catalogue has the same content already."""

    content: str
    image: npt.NDArray[np.uint8] | None
    thumbnail: bytes


def _source(file: Path) -> str:
    return os.path.abspath(file)


def _submit(
    pool: ThreadPoolExecutor, files: Sequence[Path], there: dict[str, str], spec: ImageSpec
) -> list["Future[_Decoded | str]"]:
    return [pool.submit(_decode, file, there.get(_source(file)), spec) for file in files]


def _decode(file: Path, known: str | None, spec: ImageSpec) -> _Decoded | str:
    """The picture, or why it cannot be taken. known: the content that the catalogue has for it."""
    try:
        _source(file).encode()
        written = images.content(file)
        content = hashlib.sha256(written).hexdigest()[:32]
        if content == known:
            return _Decoded(content, None, b"")
        image = images.read(written, str(file))
        return _Decoded(content, images.prepare(image, spec), images.thumbnail(image))
    except ImageError as error:
        return str(error)
    except UnicodeEncodeError:
        return f"{_source(file).encode(errors='replace').decode()} has a name that is not valid UTF-8; rename it."


def _add_decoded(
    catalogue: Catalogue,
    encoder: Encoder,
    folder: Path,
    batch: "list[tuple[Path, Future[_Decoded | str]]]",
    there: dict[str, str],
    report: Report,
) -> None:
    """Embed and add one batch."""
    files, read = [], []
    for file, future in batch:
        picture = future.result()
        if isinstance(picture, str):
            report.unreadable.append(Unreadable(file, picture))
        else:
            files.append(file)
            read.append(picture)
    wanted = _sorted_out(report, there, [_source(file) for file in files], [picture.content for picture in read])
    prepared = [image for i in wanted if (image := read[i].image) is not None]
    if prepared:
        vectors = encoder.run(np.stack(prepared)).embeddings
        catalogue.add(
            [
                Item(_source(files[i]), class_of(files[i], folder), read[i].content, vector, read[i].thumbnail)
                for i, vector in zip(wanted, vectors, strict=True)
            ]
        )


def _sorted_out(report: Report, there: dict[str, str], sources: Sequence[str], contents: Sequence[str]) -> list[int]:
    """Which of the pictures are to be added; the report counts them."""
    wanted = [
        i for i, (source, content) in enumerate(zip(sources, contents, strict=True)) if there.get(source) != content
    ]
    changed = sum(sources[i] in there for i in wanted)
    report.replaced += changed
    report.added += len(wanted) - changed
    report.unchanged += len(sources) - len(wanted)
    return wanted
