"""What the tests of the page share: a server, a browser, and hands. Playwright is imported only where a browser is
asked for, because every test loads this module.
"""

import base64
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pictures import save_folder, written
from vitrine.datasets import drawn_garments

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize

TOKEN = "a-token-of-the-tests"
PHONE, TABLET, DESK = (390, 844), (820, 1180), (1440, 900)
DROP = """async ([kind, name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], name, {type: 'image/png'}));
    const event = kind === 'drop'
        ? new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true})
        : new ClipboardEvent('paste', {clipboardData: files, bubbles: true, cancelable: true});
    document.body.dispatchEvent(event);
}"""


@dataclass
class Server:
    """`vitrine serve` in a process of its own."""

    home: Path
    process: "subprocess.Popen[str]"
    address: str

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        self.process.communicate(timeout=10)
        return self.process.returncode

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])


def start(home: Path, port: int = 0) -> Server:
    """A server that is ready, of the catalogue "shop"."""
    command = [sys.executable, "-c", "import vitrine.cli; vitrine.cli.main()", "serve", "--catalogue", "shop"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, "VITRINE_HOME": str(home), "VITRINE_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("http://"):
            address = line.split()[0]
            break
    else:
        pytest.fail(f"vitrine serve ended with {process.wait()}")
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}readyz", timeout=5).close()
            return Server(home, process, address)
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server is never ready")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a catalogue "shop" of 60 drawn garments."""
    place = tmp_path_factory.mktemp("page")
    save_folder(drawn_garments.load(train=60, test=10).train, place / "shop")
    command = [sys.executable, "-c", "import vitrine.cli; vitrine.cli.main()", "index", "add", str(place / "shop")]
    subprocess.run(command, env={**os.environ, "VITRINE_HOME": str(place / "home")}, check=True, capture_output=True)
    return place / "home"


@pytest.fixture(scope="module")
def server(shop: Path) -> Iterator[Server]:
    running = start(shop)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The system's Chromium. Without it the tests are skipped, loudly; where CI is set they fail."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "NOT RUN: needs Chromium; install it, for example with `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # on a busy machine
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: "Browser", server: Server) -> Iterator[Open]:
    """Open the page; whatever it throws, whatever its policy forbids, and whatever it asks of others fails the test."""
    wrong: list[str] = []
    others: list[str] = []

    def asked(request: "Request") -> None:
        if not request.url.startswith((server.address, *others, "data:", "blob:")):
            wrong.append(f"asked {request.url}")

    def said(message: "ConsoleMessage") -> None:
        if "Content Security" in message.text:
            wrong.append(message.text)

    contexts = []

    def opened(
        hash: str = "",
        size: tuple[int, int] = DESK,
        locale: str = "en-GB",
        address: str | None = None,
        scale: float = 1,
    ) -> "Page":
        """scale: pixels of the screen to one of the page."""
        viewport: ViewportSize = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, locale=locale, device_scale_factor=scale)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", said)
        page.on("request", asked)
        if address:
            others.append(address)
        page.goto(f"{address or server.address}{hash}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """A photo of 400x533: a boot on white."""
    drawing = drawn_garments.draw(9, 3, size=300)[..., 0]
    shot = Image.new("L", (400, 533), 255)
    shot.paste(Image.fromarray(255 - drawing), (50, 100))
    (tmp_path / "boot.jpg").write_bytes(written(shot.convert("RGB"), "JPEG", quality=90))
    return tmp_path / "boot.jpg"


def give(page: "Page", file: Path) -> None:
    """Choose that file, and wait for the answer."""
    from playwright.sync_api import expect

    page.set_input_files("#chosen", file)
    expect(page.locator(".names li")).to_have_count(10)


def drop(page: "Page", kind: str, file: Path) -> None:
    page.evaluate(DROP, [kind, file.name, base64.b64encode(file.read_bytes()).decode()])


def ids(page: "Page") -> list[str]:
    """What is shown: the thumbnails' ids, in order."""
    return [
        str(address).split("/items/")[1].split("/")[0]
        for address in page.locator(".grid .card > button img").evaluate_all("all => all.map((one) => one.src)")
    ]


def unlock(page: "Page", token: str = TOKEN) -> None:
    page.get_by_role("button", name="Unlock").click()
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Yes").click()
