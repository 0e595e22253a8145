"""A folder for the Embedding Projector, in TensorBoard (`tensorboard --logdir FOLDER`) or its web page: embeddings and
map as tables, what is known of the items, and their thumbnails in one picture.

    tensors.tsv  the embeddings        map.tsv     the map
    metadata.tsv id, label, source     sprite.png  thumbnails, row by row; at most 8192 pixels a side
    projector_config.pbtxt             what belongs together
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrine import images, storage
from vitrine.catalogue import Catalogue, Vectors
from vitrine.errors import InputError
from vitrine.mapping import Mapped, sprites
from vitrine.progress import Progress, silent

FILES = ("tensors.tsv", "map.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")
SPRITE = 8192  # pixels: what browsers take as a texture
LARGEST = 64  # pixels a thumbnail
_ROWS = 1_000


def export(catalogue: Catalogue, mapped: Mapped, folder: Path, progress: Progress = silent) -> None:
    """Write the five files into that folder, in place of older ones of these names. Raises InputError where the folder
    holds other files, StorageError, and what the catalogue raises.
    """
    check(folder)
    ids, vectors, _ = catalogue.vectors()
    there = np.isin(mapped.ids, ids)
    chosen = vectors[np.searchsorted(ids, mapped.ids[there])]
    storage.make_folder(folder)
    side = _side(catalogue, mapped.ids[there].tolist())
    tiles = sprites.tiles(catalogue, _told(mapped.ids[there].tolist(), progress), side)
    count = int(np.count_nonzero(there))
    sheet = sprites.sheet(tiles, count, side, sprites.columns(count))
    storage.write_bytes(folder / "sprite.png", sprites.encoded(sheet, "PNG"))
    _write_table(folder / "tensors.tsv", chosen)
    _write_table(folder / "map.tsv", mapped.points[there])
    storage.write_text(folder / "metadata.tsv", _metadata(mapped, there))
    parts = [_part("embeddings", "tensors.tsv", side), _part("map", "map.tsv", side)]
    storage.write_text(folder / "projector_config.pbtxt", "".join(parts))


def check(folder: Path) -> None:
    """Raises InputError where that folder is a file, or holds other files than ours."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder, for there will be several files in it.")
    if folder.is_dir():
        others = sorted(path.name for path in folder.iterdir() if path.name not in FILES)
        if others:
            raise InputError(f"{folder} holds other files ({others[0]}); name an empty folder, or a new one.")


def _side(catalogue: Catalogue, ids: list[int]) -> int:
    """Pixels a side of a thumbnail in the sprite: no more than the first of them has."""
    first = max(images.read(catalogue.item(ids[0]).thumbnail).shape) if ids else LARGEST
    return max(1, min(LARGEST, first, SPRITE // max(1, sprites.columns(len(ids)))))


def _told(ids: list[int], progress: Progress) -> Iterator[int]:
    """The ids, and how far whoever takes them is."""
    for done, id in enumerate(ids):
        if done % 100 == 0:
            progress(done, len(ids))
        yield id


def _write_table(path: Path, rows: Vectors) -> None:
    """Numbers of five digits, tabs between."""
    line = "\t".join(["%.5g"] * rows.shape[1]) + "\n"
    with storage.writing(path) as part, open(part, "w", encoding="utf-8") as file:
        for first in range(0, len(rows), _ROWS):
            block = rows[first : first + _ROWS]
            file.write((line * len(block)) % tuple(block.ravel().tolist()))


def _metadata(mapped: Mapped, there: npt.NDArray[np.bool_]) -> str:
    lines = ["id\tlabel\tsource"]
    for place in np.flatnonzero(there).tolist():
        label = mapped.labels[place] or ""
        lines.append(f"{mapped.ids[place]}\t{_cell(label)}\t{_cell(mapped.sources[place])}")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A text that stays in its cell."""
    return " ".join(text.split())


def _part(name: str, file: str, side: int) -> str:
    return (
        "embeddings {\n"
        f'  tensor_name: "{name}"\n'
        f'  tensor_path: "{file}"\n'
        '  metadata_path: "metadata.tsv"\n'
        "  sprite {\n"
        '    image_path: "sprite.png"\n'
        f"    single_image_dim: {side}\n"
        f"    single_image_dim: {side}\n"
        "  }\n"
        "}\n"
    )
