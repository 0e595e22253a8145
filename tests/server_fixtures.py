"""What the tests of what a server refuses share: clients, and the shape of a problem."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from vitrine.server.app import Settings, create_app
from vitrine.server.security import HEADERS

TOKEN = "a-token-of-the-tests"
HOST = "http://127.0.0.1"
Connect = Callable[..., TestClient]


@pytest.fixture
def connect(served: Path) -> Iterator[Connect]:
    """A client of a server with these settings."""
    connected: list[TestClient] = []

    def made(**settings: Any) -> TestClient:
        client = TestClient(create_app(Settings("shop", **{"token": TOKEN, **settings})), HOST)
        connected.append(client.__enter__())
        return client

    yield made
    for client in connected:
        client.__exit__(None, None, None)


@pytest.fixture
def client(connect: Connect) -> TestClient:
    return connect()


def problem(response: Any) -> tuple[int, str, str]:
    """Status, code and sentence of a problem, which has the shape and the headers that it must have."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert list(body) == ["type", "title", "status", "detail", "code"]
    assert body["status"] == response.status_code
    assert "Traceback" not in response.text
    assert body["detail"][-1] in ".?"
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    return body["status"], body["code"], body["detail"]
