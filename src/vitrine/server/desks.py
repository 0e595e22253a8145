"""Threads that answer: a few of them, each with its own opened catalogue, for a catalogue is for one thread at a time.
The index is a view of the same file for all of them, and the model is loaded once.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from vitrine import storage
from vitrine.catalogue import index_kinds
from vitrine.catalogue.local import LocalCatalogue
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, ItemError
from vitrine.server.counters import Counters
from vitrine.server.limits import Limits
from vitrine.server.problems import Refusal

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Desk:
    """What an answer is made with. encoder: the catalogue's own model, on one thread."""

    catalogue: LocalCatalogue
    encoder: Encoder
    limits: Limits
    counters: Counters


class Desks:
    """The threads. To be closed."""

    def __init__(self, name: str, limits: Limits, counters: Counters, encoder: Encoder | None = None) -> None:
        """name: of the catalogue. encoder: its model, where it is loaded already."""
        self.name = name
        self._limits = limits
        self._counters = counters
        self._here = threading.local()
        self._encoder = encoder and encoder.on_one_thread()
        self._loading = threading.Lock()
        self._count = max(2, storage.cores())
        self._pool = ThreadPoolExecutor(self._count, "desk", index_kinds.on_one_thread)

    def close(self) -> None:
        """Wait for what was asked, and close every catalogue on the thread that opened it."""
        together = threading.Barrier(self._count)
        for _ in range(self._count):
            self._pool.submit(self._close, together)
        self._pool.shutdown()

    def _close(self, together: threading.Barrier) -> None:
        together.wait()  # so that each thread does it once
        if getattr(self._here, "desk", None) is not None:
            self._leave()

    async def ask(self, work: Callable[[Desk], Answer]) -> Answer:
        """What `work` answers on one of the threads. Raises what it raises; Refusal where it takes too long: then it
        goes on, or never begins, and nobody hears of it.
        """
        try:
            async with asyncio.timeout(self._limits.work_seconds):
                return await asyncio.wrap_future(self._pool.submit(self._answer, work))
        except TimeoutError as error:
            raise Refusal(
                503,
                "timeout",
                f"The answer took longer than {self._limits.work_seconds:g} s; ask again later, or ask for less.",
                {"Retry-After": "5"},
            ) from error

    def _answer(self, work: Callable[[Desk], Answer]) -> Answer:
        desk = self._desk()
        try:
            return work(desk)
        except ItemError:
            raise
        except CatalogueError:  # it has moved to another model, or is damaged: once more, from its file
            self._leave()
        return work(self._desk())

    def _desk(self) -> Desk:
        """The one of this thread, made if there is none, or the catalogue is another by now."""
        found: Desk | None = getattr(self._here, "desk", None)
        if found is not None and found.catalogue.replaced():
            self._leave()
            found = None
        if found is None:
            found = self._here.desk = self._opened()
        return found

    def _leave(self) -> None:
        self._here.desk.catalogue.close()
        self._here.desk = None

    def _opened(self) -> Desk:
        catalogue = LocalCatalogue.open(self.name)
        try:
            return Desk(catalogue, self._model(catalogue), self._limits, self._counters)
        except BaseException:
            catalogue.close()
            raise

    def _model(self, catalogue: LocalCatalogue) -> Encoder:
        """The catalogue's model, loaded if it is another one than before. Raises as `LocalCatalogue.encoder`."""
        with self._loading:
            if self._encoder is None or self._encoder.card.identity != catalogue.info().identity:
                self._encoder = catalogue.encoder().on_one_thread()
            catalogue.check_model(self._encoder.card.identity, self._encoder.card.name)
            return self._encoder


def desks_of(request: Request) -> Desks:
    """The threads of the application that the request came to."""
    found = request.app.state.desks
    assert isinstance(found, Desks)
    return found
