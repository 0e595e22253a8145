"""--engine: where `index sync` decodes and embeds."""

import atexit
import os
import signal
import socket
import threading
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from vitrine.cli import output
from vitrine.errors import InputError

if TYPE_CHECKING:
    from vitrine.indexing.reading import Engine

Name = Annotated[
    Literal["here", "ray"], typer.Option("--engine", help="Where pictures are embedded: here, or on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--ray-address", help="The head of the cluster, HOST:PORT.", show_default="a Ray is started on this machine"
    ),
]
Ship = Annotated[
    bool,
    typer.Option("--ship", help="Pictures are read here and travel, for a cluster that does not see the folder."),
]


def engine(name: str, address: str | None, ship: bool) -> "Engine":
    """Raises InputError for what only a cluster needs; MissingExtraError."""
    if name == "ray":
        output.check_extra("pyarrow", "scale", "--engine ray needs")
        from vitrine.indexing import ray_cluster
        from vitrine.indexing.on_ray import OnRay

        ray_cluster.keep_quiet()
        output.check_extra("ray.data", "scale", "--engine ray needs")
        return OnRay(address, ship)
    if address is not None or ship:
        option = "--ship" if address is None else "--ray-address"
        raise InputError(f"{option} is for --engine ray; say that, too, or leave it out.")
    from vitrine.indexing.here import Here

    return Here()


def guard() -> None:
    """Go on in a process of its own, before there is anything that two processes cannot share: Ray ends the one that
    uses it, with 1 and without a word, when it loses its head or what it has on this machine. The other one waits here
    for how that ends, and says so.
    """
    if not hasattr(os, "fork"):
        return
    here, there = socket.socketpair()
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # until it is known who takes them
    asked: list[int] = []
    child = os.fork()
    if child:
        there.close()
        for sign in stops:
            signal.signal(sign, partial(_hand_on, child, asked))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        _wait(child, here, asked)
    here.close()
    os.setpgid(0, 0)  # else Ctrl-C would come twice
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    atexit.register(there.send, b"in order")
    threading.Thread(target=_end_with, args=(there,), daemon=True).start()


def _hand_on(child: int, asked: list[int], number: int, frame: FrameType | None) -> None:
    asked.append(number)
    with suppress(ProcessLookupError):
        os.kill(child, number)


def _wait(child: int, ended: socket.socket, asked: list[int]) -> NoReturn:
    """End as that process does. ended: something comes there from one that ends in order. asked: the signals that it
    was handed.
    """
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if asked and code == -signal.SIGABRT:  # Ray, on its way out, after all was said
        code = -asked[0]
    if code == 1 and not ended.recv(1):
        from rich.console import Console

        Console(stderr=True).show_cursor()
        output.say(
            "vitrine: Ray has gone away, on this machine or at the head of its cluster; what was written is kept: look"
            " at these machines, and run the same command again to go on."
        )
        code = 2
    os._exit(code if code >= 0 else 128 - code)


def _end_with(other: socket.socket) -> NoReturn:
    """Who waits has been killed."""
    other.recv(1)
    os._exit(1)
