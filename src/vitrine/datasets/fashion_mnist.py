"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747): 60,000 training and 10,000 test images, 28x28 grey, ten
classes.

The four official files are looked for in a folder that the user names, then in `VITRINE_DATA`, then in the cache; then
they are downloaded. Their MD5 is checked at every load: a wrong or half file is never used.
"""

import errno
import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrine import storage
from vitrine.datasets import ClassNames, Dataset, Splits
from vitrine.errors import DataError, DownloadError
from vitrine.progress import Progress, silent

ADDRESSES = (  # the official ones, tried in this order
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)

CLASS_NAMES: ClassNames = {
    "en": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "uk": (
        "Футболка/топ",
        "Штани",
        "Пуловер",
        "Сукня",
        "Пальто",
        "Сандалії",
        "Сорочка",
        "Кросівки",
        "Сумка",
        "Черевики",
    ),
    "ru": (
        "Футболка/топ",
        "Брюки",
        "Пуловер",
        "Платье",
        "Пальто",
        "Сандалии",
        "Рубашка",
        "Кроссовки",
        "Сумка",
        "Ботинки",
    ),
}


@dataclass(frozen=True)
class File:
    """One of the official files. offset: bytes of header before the data (IDX format)."""

    name: str
    md5: str
    offset: int


FILES = {
    "train images": File("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 16),
    "train labels": File("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 8),
    "test images": File("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 16),
    "test labels": File("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 8),
}


@dataclass(frozen=True)
class Check:
    """What was found for one official file. path: None where it was found nowhere; problem: None where all is well."""

    file: File
    path: Path | None
    problem: str | None


def load(data_dir: Path | None = None, progress: Progress = silent) -> Splits:
    """Both parts of Fashion-MNIST, checked.

    data_dir: a folder that holds the four files or a `fashion-mnist/` folder with them; it is looked in first and never
    written to. progress: told of the bytes of a download. Raises DataError when a file is damaged in a user's folder,
    missing from `data_dir`, or cannot be downloaded; StorageError when the cache cannot be written.
    """
    folder = _locate(data_dir)
    if folder is None:
        folder = cache()
        _download_missing(folder, progress)
    contents = {part: _checked(folder / file.name, file) for part, file in FILES.items()}
    return Splits(train=_dataset("train", contents), test=_dataset("test", contents))


def cache() -> Path:
    """Where downloaded files are kept."""
    return storage.cache_folder() / "fashion-mnist"


def verify(data_dir: Path | None = None) -> list[Check]:
    """What there is of the four files, without downloading. Raises DataError when `data_dir` does not hold them."""
    folder = _locate(data_dir) or cache()
    return [_check(folder / file.name, file) for file in FILES.values()]


def _locate(data_dir: Path | None) -> Path | None:
    """The user's folder with the files, or None for the cache. A folder that the user names must hold them."""
    if data_dir is not None:
        found = _inside(data_dir)
        if found is None:
            raise DataError(
                f"No Fashion-MNIST in {data_dir}: needed are the four files"
                f" {', '.join(file.name for file in FILES.values())}, there or in its fashion-mnist folder."
            )
        return found
    named = storage.user_data_sets()
    return _inside(named) if named is not None else None


def _inside(folder: Path) -> Path | None:
    for place in (folder / "fashion-mnist", folder):
        if any((place / file.name).exists() for file in FILES.values()):
            return place
    return None


def _check(path: Path, file: File) -> Check:
    if not path.exists():
        return Check(file, None, "missing")
    try:
        content = path.read_bytes()
    except OSError as error:
        return Check(file, path, f"cannot be read ({error.strerror})")
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Check(file, path, None if found == file.md5 else f"wrong or half: its MD5 is {found}, not {file.md5}")


def _checked(path: Path, file: File) -> npt.NDArray[np.uint8]:
    """The file's data as a flat array. Raises DataError when it is missing or not the official file."""
    result = _check(path, file)
    if result.problem is not None:
        raise DataError(
            f"{path} is {result.problem}. Put the official file there, or name another folder with --data-dir."
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}). Put the official file there.") from error
    return np.frombuffer(content, np.uint8, offset=file.offset)


def _download_missing(folder: Path, progress: Progress) -> None:
    """Fetch what the cache lacks; a wrong or half file there is replaced."""
    checks = [_check(folder / file.name, file) for file in FILES.values()]
    bad = [check.file for check in checks if check.problem is not None]
    if not bad:
        return
    storage.make_folder(folder)
    for file in bad:
        _download(file, folder, progress)


def _download(file: File, folder: Path, progress: Progress) -> None:
    """Fetch one file into the cache from the first address that gives the right one."""
    import pooch  # loads requests: only where something is to be downloaded

    pooch.get_logger().setLevel("ERROR")
    failures = []
    for address in ADDRESSES:
        downloader = pooch.HTTPDownloader(progressbar=_Bar(progress), chunk_size=1 << 16, timeout=30)
        try:
            pooch.retrieve(address + file.name, f"md5:{file.md5}", fname=file.name, path=folder, downloader=downloader)
            return
        except ValueError:  # pooch's word for a hash that differs; it has deleted what came
            failures.append(f"{address} gave another file")
        except OSError as error:  # requests' errors are OSErrors too
            if isinstance(error, PermissionError) or error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
                raise storage.disk_error(error, folder) from error
            failures.append(f"{address} cannot be reached ({type(error).__name__})")
    raise DownloadError(
        f"Fashion-MNIST is not here and cannot be downloaded: {'; '.join(failures)}. Put its four files into {folder},"
        " or name their folder with --data-dir."
    )


class _Bar:
    """pooch's idea of a progress bar, passed on to ours."""

    def __init__(self, progress: Progress) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def update(self, step: int) -> None:
        self._done += step
        self._progress(self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        self._progress(self.total, self.total)


def _dataset(part: str, contents: dict[str, npt.NDArray[np.uint8]]) -> Dataset:
    images = contents[f"{part} images"].reshape(-1, 28, 28, 1)  # (n, 28, 28, 1) uint8
    labels = contents[f"{part} labels"].astype(np.int64)  # (n,)
    sources = tuple(f"fashion-mnist/{part}/{index:05d}" for index in range(len(images)))
    return Dataset(images, labels, CLASS_NAMES, sources, name="fashion-mnist")
