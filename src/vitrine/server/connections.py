"""What uvicorn leaves to a proxy, which need not be there: clients that send slowly, take no answer, or are too many,
and requests that are no HTTP.
"""

import asyncio
from typing import Any

import h11
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from vitrine.server import problems, security

MOST = 512
"""Connections at a time that are answered."""

_TOLD = 64  # so many more are told that there are too many; others are cut off, so that files can still be opened
_TAKEN = 16 * 2**10  # bytes of an answer that a client takes in the time that it has, at least


class Connection(H11Protocol):
    """A connection. Idle, it is closed after `timeout_keep_alive` seconds, as uvicorn does it; so much time, too, has a
    client for the head of a request, for what it still sends of one that was answered, and to take part of an answer.
    """

    _owed: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > MOST + _TOLD:
            transport.abort()
        elif len(self.connections) > MOST:
            self.app = _full
        self.timeout_keep_alive_task = self._later(self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._owed, self._untaken):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        self._refuse(
            400, "That is no request of HTTP/1.1, or its address and headers have more than 16 KiB; send another."
        )

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = self._later(self._check_taken, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._untaken is not None:
            self._untaken.cancel()

    def _later(self, call: Any, *arguments: Any) -> asyncio.TimerHandle:
        return self.loop.call_later(self.timeout_keep_alive, call, *arguments)

    def _watch(self) -> None:
        """Let the time run while the client owes bytes that nobody else waits for: what is missing of a head, or of a
        body that was answered already.
        """
        theirs = self.conn.their_state
        if theirs is h11.IDLE:
            owes = bool(self.conn.trailing_data[0])
        else:
            owes = theirs is h11.SEND_BODY and self.cycle.response_complete
        if owes and self._owed is None:
            self._owed = self._later(self._cut)
        elif not owes and self._owed is not None:
            self._owed.cancel()
            self._owed = None

    def _cut(self) -> None:
        self._refuse(408, f"The request's head took longer than {self.timeout_keep_alive:g} s; send it faster.")

    def _check_taken(self, before: int) -> None:
        """before: bytes of an answer that were waiting."""
        waiting = self.transport.get_write_buffer_size()
        if waiting > before - _TAKEN:
            self.transport.abort()
        else:
            self._untaken = self._later(self._check_taken, waiting)

    def _refuse(self, status: int, detail: str) -> None:
        """Say so, where no answer was begun, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None:
            self.cycle.disconnected = True  # whoever is at work on it answers nobody
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            said = _last(problems.problem(status, {400: "malformed", 408: "slow"}[status], detail))
            for event in (
                h11.Response(status_code=status, headers=said.raw_headers),
                h11.Data(data=bytes(said.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _last(response: Response) -> Response:
    """The same, as the last one of its connection, which no middleware sees."""
    response.headers.update({**security.HEADERS, "Cache-Control": "no-store", "Connection": "close"})
    return response


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """In place of the application."""
    detail = f"The server has {MOST} connections, as many as it takes; ask again in a second."
    await _last(problems.problem(503, "busy", detail, {"Retry-After": "1"}))(scope, receive, send)
