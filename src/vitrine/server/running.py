"""A socket, uvicorn on it, until Ctrl-C."""

import errno
import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from vitrine.errors import InputError
from vitrine.server.connections import MOST, Connection

_GRACE = 10  # seconds for what is being answered, at the end
_IDLE = 30  # seconds: see `connections.Connection`


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises InputError: the port is busy, or not ours to take;
    the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(f"There is no host {host!r} ({error}); name one of this machine's with --host.") from error
    try:
        if hasattr(socket, "SO_REUSEADDR") and socket.SO_REUSEADDR and not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a restart, not beside another
        listening.bind(address)
        listening.listen(MOST)
    except OSError as error:
        listening.close()
        raise InputError(_why_not(error, host, port)) from error
    return listening


def url(listening: socket.socket) -> str:
    """What to open in a browser of this machine."""
    host, port = listening.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def run(app: FastAPI, listening: socket.socket, started: Callable[[], None]) -> None:
    """Answer until Ctrl-C, then finish what is being answered. started: called once requests are taken.

    Raises KeyboardInterrupt at the end.
    """
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what clients do wrong is told to them
    Server(config(app), started).run(sockets=[listening])


def config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn runs the application."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_GRACE,
    )


class Server(uvicorn.Server):
    """Says when it has started."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is busy: another program listens there; end it, or name another with --port."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} is not for everybody's programs ({error.strerror}); name one above 1023 with --port."
    return f"Nothing can listen on {host}, port {port} ({error.strerror}); name others with --host and --port."
