"""The data of photos.py: photos and their groups, altered copies, and what models answer, kept from run to run."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import photo_figures
from vitrine import images, storage
from vitrine.datasets import image_folder
from vitrine.encoder import Encoder, Outputs
from vitrine.images import Picture

KEPT = Path(__file__).parent.parent / ".bench" / "photos"
"""Where answers are kept; git ignores it."""

CHUNK, BLOCK = 250, 2_000
"""How many pictures are held at once, and how many answers are kept in one file."""

COPIES = 3
"""How many altered copies of each photo."""


@dataclass(frozen=True)
class Photos:
    """paths: n files. folders: (n,) the class folder of each."""

    paths: tuple[Path, ...]
    folders: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, which: npt.NDArray[np.intp]) -> "Photos":
        return Photos(tuple(self.paths[i] for i in which), self.folders[which])

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """(n,) index in GROUPS, -1 for hats, shorts and skirts."""
        names = list(photo_figures.GROUPS)
        return np.array([names.index(name) if name in names else -1 for name in self.folders.tolist()], np.int64)


def load(part: str) -> Photos:
    """`train` or `validation` of the clothing photos. Ends the program where they are not there."""
    named = storage.user_data_sets()
    place = (named or Path()) / "clothing-photos" / part
    if named is None or not place.is_dir():
        sys.exit(f"There is no folder {place}; set VITRINE_DATA to the folder that holds clothing-photos/.")
    paths, _ = image_folder.scan(place)
    folders = [image_folder.class_of(path, place) or "" for path in paths]
    strange = set(folders) - {*photo_figures.GROUPS, *photo_figures.OTHERS}
    if strange:
        sys.exit(f"{place} has photos in {sorted(strange)}; its folders are the ten of clothing-dataset-small.")
    return Photos(tuple(paths), np.array(folders))


def altered(photo: npt.NDArray[np.uint8], random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A copy of a photo (h, w, c): 85 to 100 % of each side at a random place; brighter or darker, of more or less
    contrast, of another gamma, and in light of another colour.
    """
    h, w = photo.shape[:2]
    rows, columns = (max(1, round(side * float(random.uniform(0.85, 1)))) for side in (h, w))
    top, left = int(random.integers(h - rows + 1)), int(random.integers(w - columns + 1))
    values = photo[top : top + rows, left : left + columns] / 255
    values = values ** random.uniform(0.8, 1.25) * random.uniform(0.8, 1.2)
    values = (values - 0.5) * random.uniform(0.8, 1.2) + 0.5
    values = values * random.uniform(0.9, 1.1, photo.shape[2])
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def copies(photos: Photos) -> tuple[int, Callable[[int], Picture]]:
    """How many altered copies there are, and how to make one: copy i is of photo i // COPIES."""
    return COPIES * len(photos), lambda i: altered(
        images.read(photos.paths[i // COPIES]), np.random.default_rng([i // COPIES, i % COPIES])
    )


def answers(encoder: Encoder, what: str, pictures: Sequence[Picture]) -> Outputs:
    """What a model says of pictures, by its photo path."""
    return made_answers(encoder, f"{what} {told_apart(pictures)}", len(pictures), lambda i: pictures[i])


def made_answers(encoder: Encoder, what: str, count: int, make: Callable[[int], Picture]) -> Outputs:
    """The same of pictures that are made when they are needed; `what` says which they are.

    Kept in .bench/photos under the model file, the photo path's own code, and `what`: a run that is stopped goes on
    where it was, but for a block.
    """
    title, key = f"{encoder.card.name} {encoder.card.seed}: {what.split()[0]}", _key(encoder, what, count)
    blocks = []
    for start in range(0, count, BLOCK):
        places = range(start, min(count, start + BLOCK))
        kept = KEPT / f"{key}-{start}.npz"
        blocks.append(_read(kept) if kept.exists() else _block(encoder, places, make, kept))
        _tell(title, places.stop, count)
    return _joined(blocks)


def _block(encoder: Encoder, places: range, make: Callable[[int], Picture], kept: Path) -> Outputs:
    parts = [places[start : start + CHUNK] for start in range(0, len(places), CHUNK)]
    found = _joined([encoder.run(encoder.prepare([make(i) for i in part])) for part in parts])
    with storage.writing(kept) as file, file.open("wb") as written:  # to a name, savez would add its suffix
        np.savez(written, logits=found.logits, embeddings=found.embeddings)
    return found


def _read(kept: Path) -> Outputs:
    with np.load(kept) as found:
        return Outputs(found["logits"], found["embeddings"])


def _joined(parts: Sequence[Outputs]) -> Outputs:
    return Outputs(np.concatenate([p.logits for p in parts]), np.concatenate([p.embeddings for p in parts]))


def _tell(title: str, done: int, count: int) -> None:
    """One line that is written over on a terminal, elsewhere a line each."""
    text = f"{title} {done:,} of {count:,}"
    if sys.stderr.isatty():
        print(f"\r\033[K{text if done < count else ''}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _key(encoder: Encoder, what: str, count: int) -> str:
    digest = hashlib.sha256(f"{what} {count} ".encode())
    for content in (encoder.content, *(path.read_bytes() for path in _photo_path())):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:32]


def _photo_path() -> list[Path]:
    """The code that turns a photo into what a model sees: answers that were kept are of that code only."""
    file = Path(str(images.__file__))
    code = sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]
    return [*code, Path(__file__)]


def told_apart(pictures: Sequence[Picture]) -> str:
    """Changes when a file is written anew, or a picture is another: 64 hex digits."""
    digest = hashlib.sha256()
    for picture in pictures:
        if isinstance(picture, Path):
            status = picture.stat()
            digest.update(f"{picture} {status.st_size} {status.st_mtime_ns}\n".encode())
        else:
            pixels = np.asarray(picture)
            digest.update(f"{pixels.shape}\n".encode() + pixels.tobytes())
    return digest.hexdigest()
