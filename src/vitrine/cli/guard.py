"""A process that waits for the one that uses Ray, and says how it ended.

Ray ends the one that uses it, with 1 and without a word, when it loses its head or what it has on this machine; and its
C++ part may crash, most of all on its way out. No code of ours runs then in that process.
"""

import atexit
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from vitrine.cli import output

_STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_CRASHES = tuple(getattr(signal, name) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL") if hasattr(signal, name))
_TURNS = 3  # processes until it is given up
_ALL_SAID, _IN_ORDER = b"s", b"o"
_ADVICE = "look at these machines, and run the same command again to go on"

_other: socket.socket | None = None
"""To the process that waits."""


def guard() -> None:
    """Go on in a process of its own, and after a crash in another one, before there is anything that two processes
    cannot share; this one waits, and does not come back. On Windows, which has no fork, nothing is done.
    """
    global _other
    if not hasattr(os, "fork"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # until it is known who takes them
    before = {stop: signal.getsignal(stop) for stop in _STOPS}
    for left in reversed(range(_TURNS)):
        here, there = socket.socketpair()
        child = os.fork()
        if not child:
            break
        there.close()
        _wait(child, here, left, before)
    here.close()
    os.setpgid(0, 0)  # else Ctrl-C would come twice
    for stop, handler in before.items():
        signal.signal(stop, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    _other = there
    atexit.register(there.send, _IN_ORDER)
    threading.Thread(target=_end_with, args=(there,), daemon=True).start()


def all_is_said(code: int | str | None) -> None:
    """The command ends with this code, and has said what it had to say: whether Ray crashes after this is nobody's
    business, and what it writes then goes nowhere.
    """
    if _other is None or isinstance(code, str):
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError):  # nobody reads it
                stream.flush()
    _other.send(_ALL_SAID + bytes([(code or 0) & 0xFF]))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


def _wait(child: int, ended: socket.socket, left: int, before: dict[int, Any]) -> None:
    """End as that process does; come back, with the signals blocked, where another one is to go on. ended: what it
    sends before it ends. left: how many others may go on. before: who took each signal.
    """
    asked: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for stop in _STOPS:
        if before[stop] != signal.SIG_IGN:  # as under nohup: the other one ignores it, too
            signal.signal(stop, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    said = b""
    with ended, suppress(BlockingIOError):
        said = ended.recv(3, socket.MSG_DONTWAIT)
    crashed = -code in _CRASHES
    ended_by_ray = crashed or (code == 1 and not said.endswith(_IN_ORDER))
    if ended_by_ray and said.startswith(_ALL_SAID):
        code = said[1]
    elif crashed and asked:  # on its way out, after all was said
        code = -asked[0]
    elif crashed and left:
        _say(f"Ray has crashed ({signal.Signals(-code).name}); what was written is kept, and another process goes on.")
        return
    elif crashed:
        _say(f"Ray has crashed {_TURNS} times ({signal.Signals(-code).name}); what was written is kept: {_ADVICE}.")
        code = 2
    elif ended_by_ray:
        _say(f"Ray has gone away, on this machine or at the head of its cluster; what was written is kept: {_ADVICE}.")
        code = 2
    os._exit(code if code >= 0 else 128 - code)


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).show_cursor()
    output.say(f"vitrine: {text}")


def _end_with(other: socket.socket) -> NoReturn:
    """Who waits has been killed."""
    other.recv(1)
    os._exit(1)
