"""vitrine serve as a command: a process that listens, answers and ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from random import Random
from urllib.request import Request, urlopen

import numpy as np
import pytest
from fastapi import FastAPI

from pictures import Cli, one_sentence
from vitrine import demo, images
from vitrine.catalogue import folders, local
from vitrine.datasets import Splits
from vitrine.server import running

# a process that was started in the background may have been told to ignore Ctrl-C, and hands that on
SCRIPT = "import signal, vitrine.cli; signal.signal(signal.SIGINT, signal.default_int_handler); vitrine.cli.main()"
COMMAND = [sys.executable, "-c", SCRIPT, "serve", "--port", "0", "--catalogue", "shop"]


@contextmanager
def started(*options: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process, and its address."""
    with subprocess.Popen(
        [*COMMAND, *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            found = re.match(r"(http://\S+/) answers from the catalogue shop; stop with Ctrl-C\.", said)
            assert found, said + process.stderr.read()
            yield process, found[1]
        finally:
            process.kill()


def test_it_answers_until_ctrl_c(served: Path, tmp_path: Path) -> None:
    token = "a-token-in-the-environment"
    with started(VITRINE_TOKEN=token) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        with urlopen(f"{address}readyz") as answer:
            assert answer.read() == b'{"status":"ready","items":50}'
            assert "server" not in answer.headers
        with urlopen(
            Request(f"{address}api/items?id=1", method="DELETE", headers={"Authorization": f"Bearer {token}"})
        ):
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err
    left = [path.name for path in folders.folder("shop").iterdir()]
    assert not [name for name in left if name.endswith(("-wal", "-shm"))], "every catalogue was closed"


def test_ctrl_c_lets_an_answer_be_finished(served: Path) -> None:
    """A request whose body is under way when Ctrl-C comes is answered still."""
    with started() as (process, address):
        port = int(address.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\nlike"
            )
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            connection.sendall(b"=3")
            connection.settimeout(20)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert process.wait(30) == 130


def test_ctrl_c_does_not_wait_for_idle_connections(served: Path) -> None:
    with started() as (process, address):
        port = int(address.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            start = time.perf_counter()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert time.perf_counter() - start < 5


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_ever(served: Path) -> None:
    """A client that never sends all of its request is told, and nobody sees a traceback."""
    with started() as (process, address):
        port = int(address.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\nlike"
            )
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
            answered = connection.recv(10_000)
        assert process.returncode == 130
        assert answered.startswith(b"HTTP/1.1 503")
        assert b"The server is being stopped; ask again when it runs." in answered
        assert "Traceback" not in err


def add(address: str, token: str, pictures: Iterator[bytes], acknowledged: list[tuple[int, str]]) -> None:
    """Add one picture after the other until the server is gone."""
    with suppress(OSError, HTTPException):
        for picture in pictures:
            part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + picture
            request = Request(
                f"{address}api/items",
                data=part + b"\r\n--x--\r\n",
                headers={"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=x"},
            )
            with urlopen(request, timeout=30) as answer:
                (added,) = json.load(answer)["added"]
            acknowledged.append((added["id"], added["source"]))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_is_there_after_a_kill(served: Path, seed: int) -> None:
    """Three clients add pictures when the server is killed; the catalogue is sound, and the next server starts."""
    token, random = "a-token-of-the-tests", Random(seed)
    acknowledged: list[tuple[int, str]] = []
    drawn = np.random.default_rng(seed).integers(0, 256, (3, 1000, 20, 20), np.uint8)
    with started(VITRINE_TOKEN=token) as (process, address):
        clients = [
            threading.Thread(target=add, args=(address, token, map(images.png, own[..., None]), acknowledged))
            for own in drawn
        ]
        for client in clients:
            client.start()
        wanted, end = random.randint(1, 20), time.monotonic() + 60
        while len(acknowledged) < wanted and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.02))
        process.kill()
        process.wait()
        for client in clients:
            client.join()
    assert len(acknowledged) >= wanted
    with local.LocalCatalogue.open("shop") as opened:
        assert opened.check().found is False
        assert {id: opened.item(id).source for id, _ in acknowledged} == dict(acknowledged)
        assert len(acknowledged) <= len(opened) - 50 <= len(acknowledged) + 3  # one of each client's under way
        for id, _ in acknowledged:
            (best,) = opened.search(opened.item(id).vector[None], 1)[0]
            assert best.score == pytest.approx(1, abs=1e-5)
        count = len(opened)
    with started() as (_, address), urlopen(f"{address}readyz") as answer:
        assert json.load(answer) == {"status": "ready", "items": count}


def test_a_busy_port_is_named(cli: Cli, served: Path) -> None:
    with running.listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        code, out, err = cli("serve", "--catalogue", "shop", "--port", port)
    assert (code, out) == (2, "")
    assert err == (
        f"vitrine: Port {port} of 127.0.0.1 is busy: another program listens there; end it, or name another with"
        " --port.\n"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--catalogue", "none"], "There is no catalogue 'none'"),
        (["--catalogue", "a/b"], "'a/b' cannot name a catalogue"),
        (["--host", "no such host"], "There is no host 'no such host'"),
        (["--host", "192.0.2.1"], "Nothing can listen on 192.0.2.1, port 0"),
        (["--token", ""], "The token has 0 characters"),
        (["--token", "short"], "The token has 5 characters"),
        (["--token", "with a blank in it"], "or some that a header cannot hold"),
        (["--allow-host", "http://shop.example"], "'http://shop.example' is no name of a host"),
        (["--allow-host", "shop.example:8000"], "'shop.example:8000' is no name of a host"),
        (["--allow-host", "*"], "'*' is no name of a host"),
    ],
)
def test_what_cannot_be_served(cli: Cli, served: Path, options: list[str], says: str) -> None:
    code, out, err = cli("serve", "--port", 0, *options)
    assert (code, out, one_sentence(err)) == (2, "", True)
    assert says in err


def test_a_damaged_catalogue_is_named_at_the_start(cli: Cli, served: Path) -> None:
    (folders.folder("shop") / "catalogue.sqlite").write_bytes(b"no catalogue")
    code, _, err = cli("serve", "--port", 0, "--catalogue", "shop")
    assert (code, one_sentence(err)) == (2, True)
    assert "is damaged" in err


def test_the_catalogue_of_the_demo_is_made_if_it_is_missing(
    cli: Cli, drawn: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Fashion-MNIST and without a network it is one of drawn garments, as in the demo."""
    monkeypatch.setattr(demo, "_data", lambda *_: drawn)
    ran: list[str] = []

    def run(app: FastAPI, _: socket.socket, started: Callable[[], None]) -> None:
        ran.append(app.state.desks.name)
        started()

    monkeypatch.setattr(running, "run", run)
    code, out, err = cli("serve", "--port", 0)
    assert (code, out, ran) == (0, "", ["drawn"])
    assert "Put 250 drawn images into the catalogue" in err
    assert re.search(r"http://127\.0\.0\.1:\d+/ answers from the catalogue drawn; stop with Ctrl-C\.", err)
    with local.LocalCatalogue.open("drawn") as opened:
        assert len(opened) == 250


def test_open_and_a_host_for_all(cli: Cli, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    monkeypatch.setattr(running, "run", lambda app, listening, started: started())
    code, _, err = cli("serve", "--port", 0, "--catalogue", "shop", "--host", "0.0.0.0", "--open")
    assert code == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", opened[0])
    assert "Whoever reaches this machine can search in it and see its pictures, unencrypted." in err


def has_ipv6() -> bool:
    """Asked of the system itself, not of what is tested."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", r"http://127\.0\.0\.1:\d+/"), ("::1", r"http://\[::1\]:\d+/"), ("::", r"http://\[::1\]:\d+/")],
)
def test_addresses(host: str, url: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("NOT RUN: this machine has no IPv6")
    with running.listen(host, 0) as listening:
        assert re.fullmatch(url, running.url(listening))


def test_after_a_stop_the_port_is_free_at_once(served: Path) -> None:
    with running.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), first.accept()[0]:
            pass  # the server's side closes first: the port lies in TIME_WAIT
    running.listen("127.0.0.1", port).close()


def test_the_demo_data_is_named(cli: Cli) -> None:
    assert "[default: fashion-mnist]" in re.sub(r"\s+", " ", cli("serve", "--help")[1])
