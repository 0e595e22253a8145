"""How large a request may be, how long it may take, how many there may be at a time."""

import asyncio
import time
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.server.problems import Refusal

_GATED = ("/api/", "/readyz")  # what takes work
_KINDS = (b"multipart/form-data", b"application/x-www-form-urlencoded", b"")
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")
_DRAINED = 4  # times the limit: so much of a body that is too large is read and thrown away


@dataclass(frozen=True)
class Limits:
    """body: bytes of a request. pixels: of one picture. at_once: requests of the API that are read, wait or are
    answered at the same time. body_seconds: to send a body. work_seconds: to be answered after that, waiting included.
    """

    body: int = 32 * 2**20
    pixels: int = 50_000_000
    at_once: int = 64
    body_seconds: float = 60.0
    work_seconds: float = 30.0


class Gate:
    """ASGI middleware: lets in as many requests that take work as there may be, and of each as much as is allowed."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_GATED):
            await self.app(scope, receive, send)
            return
        if self.inside >= self.limits.at_once:
            raise Refusal(
                503,
                "busy",
                f"The server has {self.inside} requests at hand, as many as it takes; ask again in a second.",
                {"Retry-After": "1"},
            )
        headers = Headers(scope=scope)
        if scope["method"] == "POST":
            _check_kind(headers.get("content-type", ""))
        self.inside += 1
        try:
            await self.app(scope, _Body(headers, receive, self.limits).receive, send)
        finally:
            self.inside -= 1


class _Body:
    """A request's body, message by message, never more than is allowed."""

    def __init__(self, headers: Headers, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._end = time.monotonic() + limits.body_seconds
        self._read = 0
        self._done = False
        self._headers = headers

    async def receive(self) -> Message:
        """Raises Refusal: it is too large, or takes too long."""
        if self._done:
            return await self._receive()  # until the client goes away
        if self._announced > self._limits.body:
            await self._refuse()
        message = await self._next()
        if self._read > self._limits.body:
            await self._refuse()
        return message

    @property
    def _announced(self) -> int:
        length = self._headers.get("content-length", "0")
        return int(length) if length.isdigit() else 0

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(self._end - time.monotonic()):
                message = await self._receive()
        except TimeoutError as error:
            raise Refusal(
                408,
                "slow",
                f"The request's body took longer than {self._limits.body_seconds:g} s; send it faster, or a smaller"
                " picture.",
                {"Connection": "close"},
            ) from error
        self._read += len(message.get("body", b""))
        self._done = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def _refuse(self) -> None:
        """Throw away what still comes, to a point: a browser that is cut off while it sends shows no answer."""
        waits = self._headers.get("expect", "").lower() == "100-continue" and not self._read
        while not self._done and not waits and self._read <= _DRAINED * self._limits.body:
            await self._next()
        raise Refusal(
            413,
            "too-large",
            f"The request has more than {self._limits.body:,} bytes, which are allowed; make the picture smaller.",
            {"Connection": "close"},
        )


def _check_kind(kind: str) -> None:
    """Raises Refusal for what is no form, and for a form in anything but UTF-8: Python knows encodings that take a
    minute for a megabyte.
    """
    sent, options = parse_options_header(kind)
    if sent not in _KINDS:
        raise Refusal(400, "malformed", f"The body is {_short(sent)}; send a form, multipart/form-data.")
    charset = options.get(b"charset", b"utf-8").lower()
    if charset not in _CHARSETS:
        raise Refusal(400, "malformed", f"The form is in the encoding {_short(charset)}; send it in UTF-8.")


def _short(said: bytes) -> str:
    """For a sentence."""
    return repr(said.decode("latin-1")[:40])
