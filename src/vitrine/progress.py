"""How work that takes long tells how far it is."""

from typing import Protocol


class Progress(Protocol):
    """How a library call tells of its progress; the command line draws a bar of it."""

    def __call__(self, done: int, total: int, /) -> None: ...


def silent(done: int, total: int, /) -> None:
    """The progress of a call that nobody watches."""
