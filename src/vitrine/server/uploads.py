"""Pictures as they come in a form."""

from collections.abc import Sequence
from itertools import chain, repeat

from fastapi import UploadFile

from vitrine.errors import InputError
from vitrine.images import Crop
from vitrine.server.answers import Upload

_NAME = 100  # characters of a file's name that are kept


def uploads(files: Sequence[UploadFile], crops: Sequence[str] = ()) -> list[Upload]:
    """crops: of the first files, empty for all of a picture. Raises InputError for a crop that is none, and for more
    crops than files.
    """
    if len(crops) > len(files):
        raise InputError(f"{len(crops)} crop came with {len(files)} image; send at most one for each.")
    return [upload(file, crop) for file, crop in zip(files, chain(crops, repeat("")), strict=False)]


def upload(file: UploadFile, crop: str = "") -> Upload:
    """The name is for sentences and answers only: no path of it is ever opened. Raises InputError."""
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    plain = "".join(letter for letter in name if letter.isprintable())[-_NAME:]
    return Upload(plain or "The picture", file.file, Crop.parse(crop) if crop else None)
