"""What may be sent to the server that it cannot or must not take: a problem in one sentence, and it goes on."""

import asyncio
import errno
import json
import os
import struct
import tempfile
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from server_fixtures import TOKEN, Connect, problem
from small_models import small_model
from vitrine import storage
from vitrine.catalogue import folders
from vitrine.catalogue.local import LocalCatalogue
from vitrine.indexing.folder import FolderSync
from vitrine.server import answers, desks
from vitrine.server.app import Settings, create_app
from vitrine.server.limits import Limits

PART = b'--x\r\nContent-Disposition: form-data; name="k"\r\n\r\n'


def bomb() -> bytes:
    """A PNG whose header promises 100,000 x 100,000 pixels."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in ((b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)), (b"IDAT", b"x")):
        parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(kind + content))]
    return b"".join(parts)


# --- pictures


@pytest.mark.parametrize("address", ["/api/classify", "/api/explain", "/api/search", "/api/compare", "/api/items"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "boot.jpg is empty (0 bytes); give a picture."),
        (
            b"only text",
            "boot.jpg is not a picture that can be read; allowed are JPEG, PNG, WebP, BMP, GIF, TIFF, HEIC and AVIF.",
        ),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "boot.jpg is not a picture that can be read"),
        (bomb(), "boot.jpg has more than 50,000,000 pixels; make it smaller."),
        (b"\xff\xd8\xff\xe0" + bytes(500), "boot.jpg is "),
    ],
)
def test_what_is_no_picture(client: TestClient, address: str, content: bytes, says: str) -> None:
    sent = [("image", ("boot.jpg", content))] * (2 if address == "/api/compare" else 1)
    status, code, detail = problem(client.post(address, files=sent, headers={"Authorization": f"Bearer {TOKEN}"}))
    assert (status, code) == (422, "image")
    assert detail.startswith(says)


def test_a_picture_of_too_many_pixels(connect: Connect, photo: Path) -> None:
    client = connect(limits=Limits(pixels=1000))
    status, code, detail = problem(client.post("/api/classify", files={"image": ("a.jpg", photo.read_bytes())}))
    assert (status, code) == (422, "image")
    assert detail == "a.jpg has 380x460 pixels; allowed are 1,000. Make it smaller."


def test_a_name_is_only_a_name(client: TestClient, photo: Path) -> None:
    """Whatever a picture is called, no file of that name is opened, and no line of it is broken."""
    for name in ("/etc/passwd", "..\\..\\boot.ini", "a\x07b\u2028c.jpg", "x" * 1000):
        found = client.post("/api/classify", files={"image": (name, photo.read_bytes())})
        source = found.json()["source"]
        assert source.isprintable()
        assert not set(source) & {"/", "\\"}
        assert len(source) <= 100


# --- values


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"like": "1", "k": "0"}, "k is 0; it must be at least 1."),
        ({"like": "1", "k": "1000000000"}, "k is 1000000000; it must be at most 1000."),
        ({"like": "1", "k": "many"}, "k is 'many'; it must be a whole number."),
        ({"like": "1", "k": "1.5"}, "k is '1.5'; it must be a whole number."),
        ({"like": "1", "show_input": "maybe"}, "show_input is 'maybe'; it must be true or false."),
        ({"like": "1", "offset": "-1"}, "offset is -1; it must be at least 0."),
        ({"like": "1", "threshold": "nan"}, "threshold is 'nan'; "),
        ({"like": "1", "threshold": "2"}, "threshold is 2; it must be at most 1."),
        ({"like": "1", "lang": "de"}, "lang is 'de'; "),
        ({"like": "1", "colour": "red"}, "There is no field colour; /openapi.json lists those that there are."),
        ({"like": "one"}, "like.0 is 'one'; it must be an item's id, 12, or one with a weight, 12:0.5."),
        ({"like": "9223372036854775808"}, "9223372036854775808 is no item's id; they are below 2^63."),
        ({"like": ["1"] * 65}, "like comes 65 times; allowed are 64."),
        ({"like": "1", "image": "text"}, "image.0 is 'text'; it must be a file, a part with a filename."),
        ({"like": "1", "image_weight": "1"}, "1 image_weight came with 0 image; send at most one for each."),
        ({"like": "1", "where": "labl = 'Bag'"}, "The filter is wrong at character 1, 'labl': there is no such field"),
        ({"like": "1", "where": "x" * 10_001}, "where is a text of 10,001 characters; string should have at most"),
        ({"like": "1:0", "unlike": "2:0"}, "What to be like and what to be unlike cancel each other out"),
        ({"k": "3"}, "Send one picture to search with as image, or name an item of the catalogue with like."),
    ],
)
def test_what_cannot_be_searched(client: TestClient, form: dict[str, Any], says: str) -> None:
    status, code, detail = problem(client.post("/api/search", data=form))
    assert (status, code) == (422, "input")
    assert detail.startswith(says)


@pytest.mark.parametrize("label", ["", "two\nlines", "\x00", "x" * 201])
def test_what_is_no_label(client: TestClient, photo: Path, label: str) -> None:
    files = {"image": ("a.jpg", photo.read_bytes())}
    answered = client.post(
        "/api/items", files=files, data={"label": label}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    if label:
        assert problem(answered)[:2] == (422, "input")
        assert answered.json()["detail"].startswith("label is ")
    else:
        assert answered.json()["added"][0]["label"] is None


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_cannot_be_compared(client: TestClient, photo: Path, count: int) -> None:
    files = [("image", ("a.jpg", photo.read_bytes()))] * min(count, 2)
    answered = client.post("/api/compare", files=files or None, data={"id": [1]} if count > 2 else {})
    status, code, detail = problem(answered)
    assert (status, code) == (422, "input")
    assert count == 0 or detail == f"{count} came to be compared; send two in all, pictures as image or items as id."


@pytest.mark.parametrize("outputs", [["logits", "embedding"], ["embedding"]])
def test_a_model_that_cannot_compare_says_so(served: Path, photo: Path, outputs: list[str]) -> None:
    """No more can it later: the client is not to try again."""
    own = small_model(outputs)
    with LocalCatalogue.create("plain", own) as catalogue:
        FolderSync(own, served).run(catalogue)
    files = [("image", (photo.name, photo.read_bytes()))]
    with TestClient(create_app(Settings("plain")), "http://127.0.0.1") as client:
        answered = client.post("/api/compare", files=files, data={"id": ["1"]})
    status, code, detail = problem(answered)
    assert (status, code) == (422, "input")
    assert "cannot compare" in detail
    assert "Retry-After" not in answered.headers


@pytest.mark.parametrize(
    ("method", "address", "form", "code"),
    [
        ("GET", "/api/items/51", None, "item"),
        ("GET", "/api/items/51/image", None, "item"),
        ("GET", "/api/items/51/thumbnail", None, "item"),
        ("POST", "/api/search", {"like": "51"}, "item"),
        ("POST", "/api/compare", {"id": ["1", "51"]}, "item"),
        ("DELETE", "/api/items?id=51", None, "item"),
        ("GET", "/api/items/0", None, "input"),
        ("GET", "/api/items/one", None, "input"),
        ("GET", "/api/items/9223372036854775808", None, "input"),
        ("DELETE", "/api/items", None, "input"),
        ("GET", "/api/items/..%2f..%2fetc%2fpasswd/image", None, "not-found"),
        ("GET", "/../../etc/passwd", None, "not-found"),
        ("GET", "/static/", None, "not-found"),
        ("GET", "/docs", None, "not-found"),
        ("GET", "/api/search", None, "method"),
        ("PUT", "/api/items", None, "method"),
    ],
)
def test_what_is_not_there(client: TestClient, method: str, address: str, form: Any, code: str) -> None:
    status, said, detail = problem(
        client.request(method, address, data=form, headers={"Authorization": f"Bearer {TOKEN}"})
    )
    assert (said, status) == (code, {"item": 404, "not-found": 404, "method": 405, "input": 422}[code])
    assert code != "item" or detail == "The catalogue 'shop' has no item 51." or method == "DELETE"


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("multipart/form-data", b"--x\r\n", "(Missing boundary in multipart)"),
        ("multipart/form-data; boundary=x", b"--y\r\nContent-Disposition: form-data\r\n\r\n1\r\n--y--", "(Invalid"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\x00\r\n\r\n", ""),
        ("multipart/form-data; boundary=x", PART + b"1" * 2**21, "(Part exceeded maximum size of 1024KB)"),
        ("multipart/form-data; boundary=x", (PART + b"1\r\n") * 1001, "(Too many fields. Maximum number of fields is"),
        ("multipart/form-data; boundary=" + "x" * 5000, b"--x", "The form cannot be read ("),
        ("application/json", b"{", "The body is 'application/json'; send a form, multipart/form-data."),
        ("application/json", b"[" * 1_000_000, "The body is 'application/json'; send a form, multipart/form-data."),
        ("text/plain", b"image", "The body is 'text/plain'; send a form, multipart/form-data."),
        ("application/x-www-form-urlencoded", b"%%%=&&&", "There is no field %%%;"),
    ],
)
def test_a_broken_form(client: TestClient, kind: str, body: bytes, says: str) -> None:
    status, code, detail = problem(client.post("/api/search", content=body, headers={"Content-Type": kind}))
    assert (status, code) in ((400, "malformed"), (422, "input"))
    assert says in detail
    assert client.get("/api/items/1", headers={"Content-Type": kind}).status_code == 200


# --- how large, how long, how many


def scope(length: int | None) -> dict[str, Any]:
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=x")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    target = {
        "method": "POST",
        "path": "/api/classify",
        "raw_path": b"/api/classify",
        "query_string": b"",
        "scheme": "http",
    }
    return {"type": "http", "http_version": "1.1", "headers": headers, **target, "root_path": "", "app": None}


def sent(app: Any, given: dict[str, Any], messages: Iterator[Message]) -> list[Message]:
    """What the application answers to a request that comes in these pieces."""
    answered: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return next(messages)

    async def send(message: Message) -> None:
        answered.append(message)

    asyncio.run(app(given, receive, send))
    return answered


@pytest.mark.parametrize("announced", [True, False])
def test_60_mb_are_refused_without_being_held(served: Path, announced: bool) -> None:
    piece, count = bytes(2**16), 60 * 2**4
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'

    def pieces() -> Iterator[Message]:
        yield {"type": "http.request", "body": head, "more_body": True}
        for _ in range(count - 1):
            yield {"type": "http.request", "body": piece, "more_body": True}
        yield {"type": "http.request", "body": piece, "more_body": False}

    app = create_app(Settings("shop"))
    tracemalloc.start()
    try:
        start, body = sent(app, scope(60 * 2**20 if announced else None), pieces())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        app.state.desks.close()
    assert start["status"] == 413
    said = json.loads(body["body"])
    assert said["code"] == "too-large"
    assert said["detail"] == "The request has more than 33,554,432 bytes, which are allowed; make the picture smaller."
    assert peak < 8 * 2**20


def test_who_sends_too_slowly(connect: Connect, served: Path) -> None:
    def pieces() -> Iterator[Message]:
        yield {"type": "http.request", "body": b"--x", "more_body": True}
        while True:
            time.sleep(0.03)
            yield {"type": "http.request", "body": b"-", "more_body": True}

    app = create_app(Settings("shop", limits=Limits(body_seconds=0.1)))
    start, body = sent(app, scope(None), pieces())
    app.state.desks.close()
    assert (start["status"], json.loads(body["body"])["code"]) == (408, "slow")


def test_more_than_there_is_room_for(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is answered, one more waits, the third is sent away at once, and the next is taken again."""
    begun, end = threading.Event(), threading.Event()

    def slow(desk: desks.Desk, id: int) -> answers.Answer:
        begun.set()
        assert end.wait(20)
        return {}

    client = connect(limits=Limits(at_once=2))
    monkeypatch.setattr(answers, "item", slow)
    asking = [threading.Thread(target=client.get, args=("/api/items/1",)) for _ in range(2)]
    for thread in asking:
        thread.start()
    assert begun.wait(20)
    refused = [client.get("/api/items/1")]
    while refused[-1].status_code != 503:
        refused.append(client.get("/api/items/1"))
    status, code, detail = problem(refused[-1])
    assert (status, code, refused[-1].headers["retry-after"]) == (503, "busy", "1")
    assert detail == "The server has 2 requests at hand, as many as it takes; ask again in a second."
    assert client.get("/healthz").status_code == 200
    end.set()
    for thread in asking:
        thread.join()
    assert client.get("/api/items/1").status_code == 200


def test_an_answer_that_takes_too_long(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(answers, "item", lambda desk, id: end.wait(20))
    answered = connect(limits=Limits(work_seconds=0.1)).get("/api/items/1")
    end.set()
    assert problem(answered)[:2] == (503, "timeout")
    assert answered.headers["retry-after"] == "5"


def wait_until_ready(client: TestClient) -> None:
    """On a busy machine it takes longer than what is allowed here."""
    while client.get("/readyz").status_code != 200:
        pass


def test_a_filter_that_takes_too_long(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is free again, too: as many as there are threads take too long, and the next question is answered."""
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"

    def slow(desk: desks.Desk, id: int) -> answers.Answer:
        assert isinstance(desk.catalogue, LocalCatalogue)
        with desk.catalogue.reading() as opened:
            return {"count": opened.connection.execute(endless).fetchone()[0]}

    client = connect(limits=Limits(work_seconds=1))
    wait_until_ready(client)
    with monkeypatch.context() as patch:
        patch.setattr(answers, "item", slow)
        for _ in range(storage.cores() + 2):
            status, code, detail = problem(client.get("/api/items/1"))
            assert (status, code) == (503, "timeout")
            assert detail == "The answer took longer than 1 s; ask again later, or ask for less."
    assert client.get("/api/items/1").status_code == 200


def test_a_long_answer_is_given_up_at_its_next_picture(
    connect: Connect, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun = answers._run, threading.Semaphore(0)

    def slow(*arguments: Any) -> Any:
        begun.release()
        time.sleep(0.5)
        return real(*arguments)

    client = connect(limits=Limits(work_seconds=1.5))
    wait_until_ready(client)
    monkeypatch.setattr(answers, "_run", slow)
    monkeypatch.setattr(answers.Upload, "content", lambda _: photo.read_bytes())  # the form's files are closed then
    files = [("image", (f"{number}.jpg", photo.read_bytes())) for number in range(10)]
    assert problem(client.post("/api/search", files=files))[:2] == (503, "timeout")
    time.sleep(1.5)
    count = 0
    while begun.acquire(blocking=False):
        count += 1
    assert 1 <= count <= 4


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "utf-16", "rot13", "no-such"])
def test_a_form_in_another_encoding(client: TestClient, charset: str) -> None:
    """Some take minutes for a megabyte: Python's punycode, while nobody else is answered."""
    body = b'--x\r\nContent-Disposition: form-data; name="where"\r\n\r\n' + b"a" * 300_000 + b"\r\n--x--\r\n"
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    start = time.perf_counter()
    status, code, detail = problem(client.post("/api/search", content=body, headers={"Content-Type": kind}))
    assert time.perf_counter() - start < 1
    assert (status, code, detail) == (400, "malformed", f"The form is in the encoding '{charset}'; send it in UTF-8.")


def test_what_is_wrong_is_not_repeated_at_length(client: TestClient) -> None:
    for form in (
        {"like": "1", "x" * 100_000: "1"},
        {"like": "1", "k": "-" + "9" * 3000},
        {"like": "1", "y" * 9999: ""},
    ):
        answered = client.post("/api/search", data=form)
        assert problem(answered)[:2] == (422, "input")
        assert len(answered.content) < 400
    assert len(client.get("/api/items/-" + "9" * 3000).content) < 400


def test_a_full_disk_while_a_picture_comes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than a megabyte lies in a file as it comes."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", full)
    status, code, detail = problem(client.post("/api/classify", files={"image": ("a.jpg", bytes(3 * 2**20))}))
    assert (status, code) == (507, "storage")
    assert detail == "A disk of the server is full; free some space there, and send it again."


# --- what breaks meanwhile


def test_a_damaged_catalogue(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200
    path = folders.folder("shop") / "catalogue.sqlite"
    with LocalCatalogue.open("shop") as opened:
        content = opened.item(3).source.encode()
    damaged = path.read_bytes().replace(content, b"?" * len(content))
    path.write_bytes(damaged)
    status, code, detail = problem(client.get("/api/items/3"))
    assert (status, code) == (503, "catalogue")
    assert "The catalogue 'shop' is damaged on the disk" in detail
    assert client.get("/healthz").status_code == 200


def test_a_catalogue_that_is_gone(client: TestClient) -> None:
    folders.delete("shop")
    for address in ("/readyz", "/api/catalogue", "/api/items/1"):
        status, code, detail = problem(client.get(address))
        assert (status, code) == (503, "catalogue")
        assert detail.startswith("There is no catalogue 'shop'")


def test_a_mistake_of_ours_shows_no_traceback(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mistaken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(answers, "item", mistaken)
    answered = client.get("/api/items/1")
    assert problem(answered)[:2] == (500, "internal")
    assert "secret" not in answered.text
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert 'status="500"} 1.0' in client.get("/metrics").text
