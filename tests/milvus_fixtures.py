"""A real Milvus server on this machine for the tests: milvus-lite as a process of its own."""

import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

_NUMBERS = count(1)


def free_port() -> int:
    """Below those that the system gives to others meanwhile: gRPC's servers would share it without a word."""
    while True:
        port = random.SystemRandom().randrange(22_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Milvus:
    """The server, which can be killed and started again with what it has on the disk."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> str:
        return f"milvus+http://127.0.0.1:{self.port}"

    def name(self, start: str = "shop") -> str:
        """A name for a catalogue that no other test has."""
        return f"{self.server}/{start}_{next(_NUMBERS)}"

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("milvus-lite")), "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--data-dir", str(self.folder / "milvus")]
        with open(self.folder / "milvus.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(2400):  # two minutes: it took half of one on a busy machine
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError((self.folder / "milvus.log").read_text())

    def kill(self) -> None:
        """At once, without a chance to put anything in order."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def running(folder: Path) -> Iterator[Milvus]:
    """A server until the next step."""
    server = Milvus(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Milvus]:
    """A server that all tests share; each has catalogues of its own."""
    yield from running(tmp_path_factory.mktemp("milvus"))


@pytest.fixture
def milvus_alone(tmp_path: Path) -> Iterator[Milvus]:
    """A server for one test, which may kill it."""
    yield from running(tmp_path)
