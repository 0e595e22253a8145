"""Pictures as they come in a form."""

from collections.abc import Sequence

from fastapi import UploadFile

from vitrine.server.answers import Upload

_NAME = 100  # characters of a file's name that are kept


def uploads(files: Sequence[UploadFile]) -> list[Upload]:
    return [upload(file) for file in files]


def upload(file: UploadFile) -> Upload:
    """The name is for sentences and answers only: no path of it is ever opened."""
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    plain = "".join(letter for letter in name if letter.isprintable())[-_NAME:]
    return Upload(plain or "The picture", file.file)
