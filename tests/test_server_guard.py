"""Who may ask the server, by which name, from which page, and with which token."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from server_fixtures import TOKEN, Connect, problem
from vitrine.catalogue.local import LocalCatalogue
from vitrine.server.security import HEADERS


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:8000",
        "",
        "a b",
        "[::1",
        "evil@",
        "evil@127.0.0.1",
        "127.0.0.1/evil.example",
        "127.0.0.1#evil.example",
        "127.0.0.1:80:80",
        "127.0.0.1,evil.example",
    ],
)
def test_another_host(client: TestClient, host: str) -> None:
    for address in ("/", "/api/catalogue", "/nothing"):
        assert problem(client.get(address, headers={"Host": host}))[:2] == (421, "host")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "localhost:1",
        "[::1]:8000",
        "192.168.1.7",
        "[2001:db8::7]",
        "[::ffff:127.0.0.1]:8000",
        "LOCALHOST",
        "localhost.:8000",
        "shop.example",
        "shop.example:443",
    ],
)
def test_our_own_hosts(connect: Connect, host: str) -> None:
    assert connect(hosts=["Shop.example"]).get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1234"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "file://"},
        {"Origin": "chrome-extension://127.0.0.1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_from_elsewhere(client: TestClient, headers: dict[str, str]) -> None:
    told = {**headers, "Authorization": f"Bearer {TOKEN}"}
    assert problem(client.post("/api/search", data={"like": "1"}, headers=told))[:2] == (403, "origin")
    assert problem(client.delete("/api/items?id=1", headers=told))[:2] == (403, "origin")
    with LocalCatalogue.open("shop") as opened:
        assert len(opened) == 50


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://127.0.0.1:80"},
        {"Origin": "https://shop.example", "Host": "shop.example"},
        {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
    ],
)
def test_the_page_itself(connect: Connect, headers: dict[str, str]) -> None:
    client = connect(hosts=["shop.example"])
    assert client.post("/api/search", data={"like": "1"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
    ],
)
def test_a_page_from_elsewhere_shows_nothing_of_ours(client: TestClient, headers: dict[str, str], status: int) -> None:
    """A link may be followed from anywhere."""
    for address in ("/", "/api/items/1/thumbnail", "/api/map"):
        answered = client.get(address, headers=headers).status_code
        assert answered == status or (answered, status, address) == (202, 200, "/api/map")


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ÿ"]
)
def test_a_wrong_token(client: TestClient, photo: Path, given: str | None) -> None:
    headers = {} if given is None else {b"Authorization": given.encode()}
    files = {"image": ("a.jpg", photo.read_bytes())}
    for answered in (
        client.post("/api/items", files=files, headers=headers),
        client.delete("/api/items?id=1", headers=headers),
    ):
        assert problem(answered)[:2] == (401, "token")
        assert answered.headers["www-authenticate"] == "Bearer"
    with LocalCatalogue.open("shop") as opened:
        assert len(opened) == 50


def test_without_a_token_nothing_can_be_changed(connect: Connect) -> None:
    client = connect(token=None)
    for headers in ({}, {"Authorization": "Bearer None"}, {"Authorization": "Bearer "}):
        status, code, detail = problem(client.delete("/api/items?id=1", headers=headers))
        assert (status, code) == (403, "no-token")
        assert "start it with --token" in detail


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("PUT", "/api/items", "DELETE, POST"),
        ("GET", "/api/items", "DELETE, POST"),
        ("POST", "/api/items/3", "GET, HEAD"),
        ("OPTIONS", "/api/search", "POST"),
        ("POST", "/", "GET, HEAD"),
        ("HEAD", "/api/search", "POST"),
    ],
)
def test_what_an_address_takes_is_said(client: TestClient, method: str, address: str, allowed: str) -> None:
    answered = client.request(method, address)
    assert (answered.status_code, answered.headers["allow"]) == (405, allowed)


def test_no_other_origin_may_read(client: TestClient) -> None:
    for method, address in (("GET", "/"), ("GET", "/api/items/1/image"), ("OPTIONS", "/api/search")):
        headers = client.request(method, address, headers={"Access-Control-Request-Method": "POST"}).headers
        assert not any(name.startswith("access-control") for name in headers)
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
