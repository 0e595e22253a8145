"""Threads that answer: a few of them, each with its own opened catalogue, for a catalogue is for one thread at a time.
The index is a view of the same file for all of them, and the model is loaded once.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from vitrine import images, storage
from vitrine.bridging import Viewer
from vitrine.catalogue import Catalogue, by_name, index_kinds
from vitrine.choosing import Models
from vitrine.encoder import Encoder
from vitrine.errors import CatalogueError, ItemError
from vitrine.server.counters import Counters
from vitrine.server.limits import Limits
from vitrine.server.problems import Refusal

Answer = TypeVar("Answer")


class GivenUp(Exception):
    """Nobody waits for that answer any more, and nobody is told."""


@dataclass
class Desk:
    """What an answer is made with. encoder: the catalogue's own model, on one thread. viewer: what pictures are seen
    with: that model, for photos perhaps a second one. given_up: set when nobody waits for the answer that is being
    made.
    """

    catalogue: Catalogue
    encoder: Encoder
    viewer: Viewer
    limits: Limits
    counters: Counters
    given_up: threading.Event

    def go_on(self) -> None:
        """To be called before every longer step. Raises GivenUp."""
        if self.given_up.is_set():
            raise GivenUp


class Desks:
    """The threads. To be closed."""

    def __init__(self, name: str, limits: Limits, counters: Counters, encoder: Encoder | None = None) -> None:
        """name: of the catalogue. encoder: its model, where it is loaded already."""
        self.name = name
        self._limits = limits
        self._counters = counters
        self._here = threading.local()
        self._encoder = encoder and encoder.on_one_thread()
        self._others = Models(one_thread=True)
        self._loading = threading.Lock()
        self._writing = asyncio.Lock()
        self._count = max(2, storage.cores())
        images.keep_memory()
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

    async def ask(self, request: Request, work: Callable[[Desk], Answer], writes: bool = False) -> Answer:
        """What `work` answers on one of the threads, the request's form being read. Raises what it raises; Refusal
        where it takes too long; ClientDisconnect where the client leaves. In both cases it never begins, or is given up
        at its next step. writes: one such at a time, so that waiting for other programs' writes keeps one thread busy
        at most.
        """
        given_up = threading.Event()
        try:
            async with asyncio.timeout(self._limits.work_seconds), AsyncExitStack() as stack:
                if writes:
                    await stack.enter_async_context(self._writing)
                return await _while_there(request, asyncio.wrap_future(self._pool.submit(self._answer, work, given_up)))
        except TimeoutError as error:
            raise Refusal(
                503,
                "timeout",
                f"The answer took longer than {self._limits.work_seconds:g} s; ask again later, or ask for less.",
                {"Retry-After": "5"},
            ) from error
        finally:
            given_up.set()

    def _answer(self, work: Callable[[Desk], Answer], given_up: threading.Event) -> Answer:
        try:
            return work(self._desk(given_up))
        except ItemError:
            raise
        except CatalogueError:
            if getattr(self._here, "desk", None) is None:  # it could not be opened
                raise
            self._leave()
        return work(self._desk(given_up))  # once more, from its file: it may have moved to another model

    def _desk(self, given_up: threading.Event) -> Desk:
        """The one of this thread, made if there is none, or the catalogue is another by now."""
        found: Desk | None = getattr(self._here, "desk", None)
        if found is not None and found.catalogue.replaced():
            self._leave()
            found = None
        if found is None:
            found = self._here.desk = self._opened(given_up)
        found.given_up = given_up
        found.catalogue.give_up_when(given_up.is_set)
        return found

    def _leave(self) -> None:
        self._here.desk.catalogue.close()
        self._here.desk = None

    def _opened(self, given_up: threading.Event) -> Desk:
        catalogue = by_name.open_(self.name)
        try:
            encoder = self._model(catalogue)
            viewer = Viewer(encoder, catalogue, self._others)
            return Desk(catalogue, encoder, viewer, self._limits, self._counters, given_up)
        except BaseException:
            catalogue.close()
            raise

    def _model(self, catalogue: Catalogue) -> Encoder:
        """The catalogue's model, loaded if it is another one than before. Raises as `Catalogue.encoder`."""
        with self._loading:
            if self._encoder is None or self._encoder.card.identity != catalogue.info().identity:
                self._encoder = catalogue.encoder().on_one_thread()
            catalogue.check_model(self._encoder.card.identity, self._encoder.card.name)
            return self._encoder


@dataclass(frozen=True)
class Asking:
    """The threads, as a request sees them."""

    desks: Desks
    request: Request

    async def ask(self, work: Callable[[Desk], Answer], writes: bool = False) -> Answer:
        """See `Desks.ask`."""
        return await self.desks.ask(self.request, work, writes)


def desks_of(request: Request) -> Asking:
    """The threads of the application that the request came to."""
    found = request.app.state.desks
    assert isinstance(found, Desks)
    return Asking(found, request)


async def _while_there(request: Request, asked: "asyncio.Future[Answer]") -> Answer:
    """Raises ClientDisconnect where the client leaves before there is an answer."""
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((asked, leaving), return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return asked.result()
        leaving.result()
        raise ClientDisconnect
    finally:
        asked.cancel()
        if not leaving.cancel():
            leaving.exception()  # of a body that nobody wants


async def _left(request: Request) -> None:
    """Until the client is gone. Raises Refusal for a body that may not be, where the route has not read it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
