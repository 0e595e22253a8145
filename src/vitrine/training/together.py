"""How the processes that torchrun starts begin, and how they end: what ends one of them ends all, for the others would
wait for it, and one of them says why.

Each writes down how it ended in torchrun's store, a dictionary over the network that outlives it. Who has written
nothing there and is gone was killed.
"""

import contextlib
import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import FrameType
from typing import Literal, NoReturn

from torch import distributed
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]  # its own names, which its stubs leave out
from torch.distributed.rendezvous import rendezvous

from vitrine import storage
from vitrine.errors import InputError
from vitrine.training.processes import ALONE, Group

PATIENCE = 10.0
"""Seconds that the others have to say how they ended. torchrun waits for 30 before it kills."""

MEETING = timedelta(minutes=5)
"""How long all processes may take to start."""

WHOLE_DAY = timedelta(days=1)
"""How long one may load data, measure or wait for that."""

Kind = Literal["done", "refused", "stopped", "crashed"]


class Terminated(BaseException):
    """The system asks the process to end (SIGTERM)."""


@dataclass(frozen=True)
class Ending:
    """How a process ended, and what is to be said about it. order: how many had ended before it."""

    kind: Kind
    text: str
    code: int
    order: int = 0


@dataclass(frozen=True)
class Edge:
    """What the command line knows. refusal: the sentence for an exception that was raised on purpose, else None;
    stopped: what to say of a training that was stopped, and how to go on.
    """

    refusal: Callable[[BaseException], str | None]
    stopped: Callable[[], str]


def size() -> int:
    """How many processes torchrun has started; 1 without it."""
    return storage.torchrun("WORLD_SIZE") or 1


def restarted() -> bool:
    """Whether torchrun has started this anew after a failure (--max-restarts)."""
    return storage.torchrun("TORCHELASTIC_RESTART_COUNT") > 0


def run(work: Callable[[Group], object], edge: Edge) -> int:
    """Do the work as one of the processes that torchrun has started, or alone; the exit code. Only the first prints."""
    if size() == 1:
        work(ALONE)
        return 0
    board = Board(*_met())
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, _asked_to_end)
    try:
        distributed.init_process_group(
            "gloo", store=board.store, rank=board.rank, world_size=board.size, timeout=WHOLE_DAY
        )
        with contextlib.ExitStack() as stack:
            if board.rank:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            work(Group(board.rank, board.size, storage.torchrun("LOCAL_RANK")))
        ending = Ending("done", "", 0)
    except BaseException as error:
        ending = _ending(error, edge)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, signal.SIG_IGN)  # torchrun ends those that are left
    with contextlib.suppress(RuntimeError):  # torchrun itself may be gone, and its store
        board.write(ending)
    with contextlib.suppress(Exception):
        distributed.destroy_process_group()  # those who wait for this one wait no longer
    return _said_once(board, ending, edge) if ending.code else 0


def _met() -> tuple[Store, int, int]:
    """The store, the number of this process, and how many there are. Raises InputError where they do not meet."""
    try:
        store, rank, every = next(rendezvous("env://", timeout=MEETING))
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"Process {storage.torchrun('RANK')} of {size()} cannot meet the others ({error}); start them all with:"
            " torchrun --nproc-per-node N -m vitrine.training RECIPE, or unset WORLD_SIZE to train in one."
        ) from error
    # torchrun starts all anew with the store of before (--max-restarts)
    return PrefixStore(f"vitrine/{storage.torchrun('TORCHELASTIC_RESTART_COUNT')}", store), rank, every


def _asked_to_end(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _ending(error: BaseException, edge: Edge) -> Ending:
    if isinstance(error, SystemExit) and error.code != 130:  # what typer has to say of an option is said
        return Ending("refused" if error.code else "done", "", error.code if isinstance(error.code, int) else 1)
    if isinstance(error, KeyboardInterrupt | SystemExit | Terminated):  # typer makes a SystemExit of Ctrl-C
        return Ending("stopped", edge.stopped(), 143 if isinstance(error, Terminated) else 130)
    if sentence := edge.refusal(error):
        return Ending("refused", sentence, 2)
    return Ending("crashed", "".join(traceback.format_exception(error)), 1)


class Board:
    """What the processes write down for one another in torchrun's store."""

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        store.set(f"place/{rank}", json.dumps([platform.node(), os.getpid()]))

    def write(self, ending: Ending) -> None:
        """How this process ended."""
        order = self.store.add("endings", 1)
        self.store.set(f"ending/{self.rank}", json.dumps({**asdict(ending), "order": order}))

    def read(self) -> dict[int, Ending]:
        """How those have ended that have said so, by number."""
        known = [rank for rank in range(self.size) if self.store.check([f"ending/{rank}"])]
        return {rank: Ending(**json.loads(self.store.get(f"ending/{rank}"))) for rank in known}

    def settled(self) -> tuple[dict[int, Ending], list[int]]:
        """The endings once all have ended or PATIENCE is over, and who is gone without a word."""
        start = time.monotonic()
        while True:
            silent = [rank for rank in range(self.size) if rank not in self.read()]
            late = time.monotonic() - start > PATIENCE
            gone = [rank for rank in silent if self._gone(rank, late)]
            if late or len(gone) == len(silent):
                endings = self.read()  # the last words may have come after the look
                return endings, [rank for rank in gone if rank not in endings]
            time.sleep(0.05)

    def first_to_say(self) -> bool:
        """Whether this call is the first of all processes'."""
        return int(self.store.add("said", 1)) == 1

    def place(self, rank: int) -> tuple[str, int]:
        """The machine of a process, and its number there; ("", 0) where it never came."""
        if not self.store.check([f"place/{rank}"]):
            return "", 0
        machine, number = json.loads(self.store.get(f"place/{rank}"))
        return str(machine), int(number)

    def _gone(self, rank: int, late: bool) -> bool:
        machine, number = self.place(rank)
        if machine != platform.node():
            return late
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        return False


def _said_once(board: Board, own: Ending, edge: Edge) -> int:
    """Let one of those that end say what ended them all: the first that is left, and another only if it does not. The
    exit code of that.
    """
    try:
        endings, gone = board.settled()
        sentence, code = _cause(board, endings, gone, edge)
        if board.rank != min(rank for rank, ending in endings.items() if ending.code):
            time.sleep(PATIENCE / 10)
        if board.first_to_say():
            print(sentence, end="", file=sys.stderr, flush=True)
        return code
    except RuntimeError:  # the store is gone, with torchrun or the machine that it ran on
        if board.rank == 0 or own.kind != "crashed":
            print(f"vitrine: {own.text if own.kind == 'refused' else edge.stopped()}", file=sys.stderr, flush=True)
        return own.code


def _cause(board: Board, endings: dict[int, Ending], gone: list[int], edge: Edge) -> tuple[str, int]:
    """What is to be said, and the exit code."""
    if gone:
        machine, number = board.place(gone[0])
        where = f" (number {number} on {machine})" if machine else ""
        names = ", ".join(map(str, gone))
        return (
            f"vitrine: process {names} of 0 to {board.size - 1}{where} is gone: killed, perhaps for want of memory."
            f" {edge.stopped()}\n"
        ), 2
    failed = {rank: ending for rank, ending in endings.items() if ending.code}
    rank, cause = min(failed.items(), key=lambda pair: pair[1].order)
    first = endings.get(0, cause)
    if cause.kind == "refused" and first.kind == "refused":
        rank, cause = 0, first  # all were refused; most likely the same
    if cause.kind == "crashed":
        return f"Process {rank} of 0 to {board.size - 1}:\n{cause.text}", cause.code
    if cause.kind == "stopped":
        return f"{cause.text}\n", cause.code
    sentence = f"vitrine: {'' if rank == 0 else f'process {rank}: '}{cause.text}\n" if cause.text else ""
    return sentence, cause.code
