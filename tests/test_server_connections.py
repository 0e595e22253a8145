"""A real server and clients that behave badly: slow, silent, too many, gone before the answer, or no HTTP at all."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vitrine.server import answers, connections, running
from vitrine.server.app import Settings, create_app
from vitrine.server.limits import Limits
from vitrine.server.security import HEADERS

TOKEN = "a-token-of-the-tests"
HEAD = b"Host: 127.0.0.1\r\n"
FORM = HEAD + b"Content-Type: application/x-www-form-urlencoded\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n"
READY = b"GET /readyz HTTP/1.1\r\n" + HEAD + b"\r\n"


@dataclass
class Answered:
    """The answer to a request, and whether the server closed the connection after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    @property
    def problem(self) -> dict[str, Any]:
        """Of the shape and with the headers that problems have."""
        assert self.headers["content-type"] == "application/problem+json"
        assert {name: self.headers.get(name.lower()) for name in HEADERS} == HEADERS
        said = json.loads(self.body)
        assert list(said) == ["type", "title", "status", "detail", "code"]
        assert said["status"] == self.status
        return dict(said)


@dataclass
class Running:
    """A server on a thread."""

    port: int
    app: Any
    opened: list[socket.socket] = field(default_factory=list)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.opened.append(connection)
        return connection

    def send(self, content: bytes) -> socket.socket:
        """A connection on which that was sent."""
        connection = self.connect()
        connection.sendall(content)
        return connection

    def ready(self) -> int:
        """The status of /readyz, after a moment."""
        time.sleep(0.1)
        with closing(self.send(READY)) as connection:
            return read(connection).status

    def healthy(self) -> bool:
        with closing(self.send(HEALTH)) as connection:
            return read(connection).status == 200


def read(connection: socket.socket) -> Answered:
    """One answer."""
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = {}
        while (line := file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        body = file.read(int(headers.get("content-length", 0)))
    return Answered(status, headers, body, headers.get("connection") == "close")


def ended(connection: socket.socket) -> bool:
    """Whether the server closes it, soon."""
    try:
        while connection.recv(2**16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


Serve = Callable[..., Running]


@pytest.fixture
def serve(served: Path) -> Iterator[Serve]:
    """Run a server with those limits, which gives clients one second for what `Connection` has them do."""
    stops: list[Callable[[], None]] = []

    def start(**limits: Any) -> Running:
        app = create_app(Settings("shop", TOKEN, limits=Limits(**limits)))
        config = running.config(app)
        config.timeout_keep_alive = 1
        listening, begun = running.listen("127.0.0.1", 0), threading.Event()
        server = running.Server(config, begun.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        made = Running(listening.getsockname()[1], app)

        def stop() -> None:
            for connection in made.opened:
                connection.close()
            server.should_exit = True
            thread.join()

        thread.start()
        stops.append(stop)
        assert begun.wait(20)
        return made

    yield start
    for stop in stops:
        stop()


def test_who_sends_the_head_of_a_request_slowly(serve: Serve) -> None:
    server = serve()
    connection = server.send(b"GET / HTTP/1.1\r\n")
    start = time.monotonic()
    while time.monotonic() < start + 5:
        try:
            connection.sendall(b"x: y\r\n")
        except ConnectionError:
            break
        time.sleep(0.05)
    assert time.monotonic() - start < 4
    assert server.healthy()


def test_half_a_head_is_answered_in_a_sentence(serve: Serve) -> None:
    connection = serve().send(HEALTH)
    assert read(connection).status == 200
    connection.sendall(b"GET / HTTP/1.1\r\n")  # and no more, in a connection that has served already
    answered = read(connection)
    assert (answered.status, answered.problem["code"], answered.closed) == (408, "slow", True)
    assert answered.problem["detail"] == "The request's head took longer than 1 s; send it faster."
    assert ended(connection)


def test_who_says_nothing_is_closed_without_a_word(serve: Serve) -> None:
    connection = serve().connect()
    assert connection.recv(100) == b""


def test_a_body_that_was_answered_before_it_came_is_not_waited_for(serve: Serve) -> None:
    connection = serve().send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n" + FORM + b"\r\n")
    assert read(connection).status == 405
    start = time.monotonic()
    while time.monotonic() < start + 5:
        try:
            connection.sendall(b"x")
        except ConnectionError:
            break
        time.sleep(0.05)
    assert time.monotonic() - start < 4


def test_a_body_that_comes_in_time_leaves_the_connection_as_it_was(serve: Serve) -> None:
    connection = serve().send(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n" + FORM + b"\r\n01234")
    assert read(connection).status == 405
    connection.sendall(b"56789" + HEALTH)
    assert read(connection).status == 200


def test_who_takes_no_answer_does_not_keep_its_place(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests on a connection, whose answers are larger than what the system holds of them: the second one waits
    for the first to be taken.
    """
    begun: list[int] = []

    def large(desk: object, id: int) -> dict[str, str]:
        begun.append(id)
        return {"large": "x" * 30_000_000}

    monkeypatch.setattr(answers, "item", large)
    server = serve(at_once=1)
    server.send((b"GET /api/items/1 HTTP/1.1\r\n" + HEAD + b"\r\n") * 2)
    end = time.monotonic() + 60
    while len(begun) < 2:
        time.sleep(0.01)
        assert time.monotonic() < end
    assert server.ready() == 503
    while server.ready() != 200:
        assert time.monotonic() < end


def test_who_takes_an_answer_slowly_gets_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than one may lie idle, but some of it all the time."""
    monkeypatch.setattr(answers, "item", lambda desk, id: {"large": "x" * 10_000_000})
    connection = serve().send(b"GET /api/items/1 HTTP/1.1\r\n" + HEAD + b"\r\n")
    taken, start = 0, time.monotonic()
    while taken < 10_000_000 and (content := connection.recv(200_000)):
        taken += len(content)
        time.sleep(0.06)
    assert taken > 10_000_000
    assert time.monotonic() - start > 2


def test_more_connections_than_there_may_be(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 3)
    monkeypatch.setattr(connections, "_TOLD", 1)
    server = serve()
    first = [server.send(HEALTH) for _ in range(3)]
    assert [read(one).status for one in first] == [200] * 3
    told = server.send(HEALTH)
    answered = read(told)
    assert (answered.status, answered.problem["code"], answered.headers["retry-after"]) == (503, "busy", "1")
    assert ended(told)
    waiting = server.connect()  # the fourth
    time.sleep(0.2)
    assert ended(server.connect())
    waiting.close()
    first[0].close()
    time.sleep(0.2)
    assert server.healthy()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS to where there is none\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"x: " + b"y" * 20_000,
        b"POST /api/classify HTTP/1.1\r\n" + FORM + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/classify HTTP/1.1\r\n" + FORM + b"Content-Length: -1\r\n\r\n",
        b"POST /api/classify HTTP/1.1\r\n" + FORM + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    ],
)
def test_what_is_no_http_is_refused_as_a_problem(
    serve: Serve, sent: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    connection = server.send(sent)
    answered = read(connection)
    assert (answered.status, answered.problem["code"], answered.closed) == (400, "malformed", True)
    assert ended(connection)
    assert server.healthy()
    assert (capfd.readouterr().err, caplog.records) == ("", [])


def test_what_comes_wrong_after_the_answer(
    serve: Serve, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    connection = serve().send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + FORM + b"\r\n")
    assert read(connection).status == 405
    connection.sendall(b"no chunk\r\n")
    assert ended(connection)
    assert (capfd.readouterr().err, caplog.records) == ("", [])


class Held:
    """In place of an answer: ends when it is told to. begun: how many began."""

    def __init__(self) -> None:
        self.begun = 0
        self.end = threading.Event()

    def __call__(self, desk: Any, id: int) -> dict[str, Any]:
        self.begun += 1
        assert self.end.wait(20)
        return {}


def test_what_nobody_waits_for_is_not_begun(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    monkeypatch.setattr(answers, "item", held)
    server = serve()
    threads = server.app.state.desks._count
    asked = b"GET /api/items/1 HTTP/1.1\r\n" + HEAD + b"\r\n"
    first = [server.send(asked) for _ in range(threads)]
    while held.begun < threads:
        time.sleep(0.01)
    left = [server.send(asked) for _ in range(5)]
    time.sleep(0.3)
    for connection in left:
        connection.close()
    time.sleep(0.3)
    held.end.set()
    assert [read(one).status for one in first] == [200] * threads
    assert read(server.send(READY)).status == 200
    assert held.begun == threads
    metrics = read(server.send(b"GET /metrics HTTP/1.1\r\n" + HEAD + b"\r\n")).body.decode()
    assert re.search(r'requests_total\{method="GET",route="/api/items/\{id\}",status="499"\} 5\.0', metrics)
    assert re.search(r"requests_inside 1\.0", metrics)


def test_what_nobody_waits_for_is_not_added(serve: Serve, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves while its picture is looked at."""
    real, seen, go_on = answers._new_item, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        made = real(*arguments)
        seen.set()
        assert go_on.wait(20)
        return made

    monkeypatch.setattr(answers, "_new_item", slow)
    server = serve()
    part = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + photo.read_bytes() + b"\r\n"
    )
    body = part + b"--x--\r\n"
    head = b"POST /api/items HTTP/1.1\r\n" + HEAD + f"Authorization: Bearer {TOKEN}\r\n".encode()
    head += f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    connection = server.send(head + body)
    assert seen.wait(20)
    connection.close()
    time.sleep(0.3)
    go_on.set()
    for _ in range(3):
        answered = read(server.send(READY))
        assert json.loads(answered.body) == {"status": "ready", "items": 50}
        time.sleep(0.1)


def test_one_writes_at_a_time_and_leaves_threads_to_read(
    serve: Serve, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()
    monkeypatch.setattr(answers, "remove", lambda desk, ids: held(desk, ids[0]))
    server = serve()
    head = b"DELETE /api/items?id=1 HTTP/1.1\r\n" + HEAD + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    writing = [server.send(head) for _ in range(server.app.state.desks._count + 1)]
    time.sleep(0.3)
    assert read(server.send(b"GET /api/items/1 HTTP/1.1\r\n" + HEAD + b"\r\n")).status == 200
    assert held.begun == 1
    held.end.set()
    assert [read(one).status for one in writing] == [200] * len(writing)


@pytest.mark.parametrize("address", ["/", "/healthz", "/api/items/3", "/api/items/3/thumbnail", "/nothing"])
def test_head_is_get_without_its_content(serve: Serve, address: str) -> None:
    server = serve()
    got = read(server.send(f"GET {address} HTTP/1.1\r\n".encode() + HEAD + b"\r\n"))
    connection = server.send(f"HEAD {address} HTTP/1.1\r\n".encode() + HEAD + b"\r\n")
    sent = connection.recv(2**16)
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == b""
    assert int(head.split()[1]) == got.status
    assert f"content-length: {len(got.body)}".encode() in head
    connection.sendall(HEALTH)
    assert read(connection).status == 200
