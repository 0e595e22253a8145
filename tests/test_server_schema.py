"""Schemathesis asks whatever the OpenAPI schema allows, and much that it does not; every answer is as it says."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from vitrine.server import running
from vitrine.server.app import Settings, create_app

TOKEN = "a-token-of-the-tests"
PICTURES = Path(__file__).with_name("schemathesis_pictures.py")


@pytest.fixture
def address(served: Path) -> Iterator[str]:
    """Of a real server, on a thread."""
    listening = running.listen("127.0.0.1", 0)
    app = create_app(Settings("shop", TOKEN))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield running.url(listening)
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    ("without", "hooks"),
    [
        # what a picture and a filter is no schema can say: some of what it allows cannot be used
        (["positive_data_acceptance"], {}),
        # with real pictures, which its JSON cannot hold, and so counts as wrong
        (["positive_data_acceptance", "negative_data_rejection"], {"SCHEMATHESIS_HOOKS": str(PICTURES)}),
    ],
)
@pytest.mark.slow
def test_every_answer_is_as_the_schema_says(address: str, without: list[str], hooks: dict[str, str]) -> None:
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
    options = ["--max-examples", "15", "--seed", "1", "--generation-database", "none", "--suppress-health-check", "all"]
    options += ["--header", f"Authorization: Bearer {TOKEN}", "--exclude-checks", ",".join(without), "--no-color"]
    done = subprocess.run(
        [*command, f"{address}openapi.json", *options],
        env={**os.environ, **hooks},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 16" in done.stdout
