"""Data sets: pictures of one size with their classes, whatever they came from.

fashion_mnist.py    the 70,000 official images, from a folder, the cache or the official addresses
image_folder.py     anybody's folder of pictures, decoded once
labelled_files.py   pictures and their classes as a CSV names them
csv_lines.py        a CSV about pictures, line by line
drawn_garments.py   garments drawn by vitrine itself, for when there is no data, and for tests
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vitrine.errors import DataError

ClassNames = dict[str, tuple[str, ...]]
"""Language code ("en" always, "uk" and "ru" where known) to the names of the classes, in the order of their indices."""

UNLABELLED = -1


@dataclass(frozen=True)
class Dataset:
    """Images of one size, in one array.

    images: (n, h, w, c) uint8, c 1 (grey) or 3 (RGB); may be memory-mapped.
    labels: (n,) int64, an index into the class names, or -1 for an image without a class.
    class_names: see `ClassNames`.
    sources: n strings that say where each image came from; unique.
    name: what to call the data set in print.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    class_names: ClassNames
    sources: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(
                f"Images of {self.name} have shape {self.images.shape} and type {self.images.dtype}; needed is (n, h,"
                " w, c) uint8."
            )
        if self.labels.shape != (n,) or len(self.sources) != n:
            raise DataError(
                f"{self.name} has {n} images, {len(self.labels)} labels and {len(self.sources)} sources; the three must"
                " agree."
            )
        if n and not UNLABELLED <= int(self.labels.min()) <= int(self.labels.max()) < len(self.class_names["en"]):
            raise DataError(f"{self.name} has a label outside its {len(self.class_names['en'])} classes.")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: npt.NDArray[np.intp] | slice) -> "Dataset":
        """The part of the data set that an index array or a slice chooses."""
        chosen = range(len(self))[which] if isinstance(which, slice) else which.tolist()
        return replace(
            self, images=self.images[which], labels=self.labels[which], sources=tuple(self.sources[i] for i in chosen)
        )

    @property
    def labelled(self) -> bool:
        """Whether every image has a class."""
        return bool((self.labels != UNLABELLED).all())

    def counts(self) -> npt.NDArray[np.int64]:
        """(classes,) int64: how many images each class has."""
        return np.bincount(self.labels[self.labels != UNLABELLED], minlength=len(self.class_names["en"])).astype(
            np.int64
        )

    def checksum(self) -> str:
        """SHA-256 over the shape, the pixels and the labels: the same data, whatever files it came from."""
        digest = hashlib.sha256(f"{self.images.shape}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """A data set with its training and test parts."""

    train: Dataset
    test: Dataset

    def whole(self) -> Dataset:
        """Both parts as one data set, the training part first."""
        return replace(
            self.train,
            images=np.concatenate([self.train.images, self.test.images]),
            labels=np.concatenate([self.train.labels, self.test.labels]),
            sources=self.train.sources + self.test.sources,
        )
