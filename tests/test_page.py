"""The page in a real browser, against a real server: Playwright with the system's Chromium."""

import base64
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Locator, Page, Request, expect, sync_playwright

from pictures import save_folder, written
from vitrine.datasets import drawn_garments

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
def browser() -> Iterator[Browser]:
    """The system's Chromium. Without it the tests are skipped, loudly; where CI is set they fail."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "NOT RUN: needs Chromium; install it, for example with `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Open]:
    """Open the page; whatever it throws, whatever its policy forbids, and whatever it asks of others fails the test."""
    wrong: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((server.address, "data:", "blob:")):
            wrong.append(f"asked {request.url}")

    def said(message: ConsoleMessage) -> None:
        if "Content Security" in message.text:
            wrong.append(message.text)

    contexts = []

    def opened(hash: str = "", size: tuple[int, int] = DESK, locale: str = "en-GB", address: str | None = None) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale=locale)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", said)
        page.on("request", asked)
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


def give(page: Page, file: Path) -> None:
    """Choose that file, and wait for the answer."""
    page.set_input_files("#chosen", file)
    expect(page.locator(".names li")).to_have_count(10)


def drop(page: Page, kind: str, file: Path) -> None:
    page.evaluate(DROP, [kind, file.name, base64.b64encode(file.read_bytes()).decode()])


def ids(page: Page) -> list[str]:
    """What is shown: the thumbnails' ids, in order."""
    return [
        str(address).split("/items/")[1].split("/")[0]
        for address in page.locator(".grid .card > button img").evaluate_all("all => all.map((one) => one.src)")
    ]


def unlock(page: Page, token: str = TOKEN) -> None:
    page.get_by_role("button", name="Unlock").click()
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Yes").click()


def test_it_opens_with_something_to_begin_with(open_page: Open) -> None:
    page = open_page()
    expect(page.get_by_role("heading", name="What is it, and what looks like it?")).to_be_visible()
    expect(page.locator("#collection")).to_have_text("shop · 60 items")
    expect(page.locator(".grid .card")).to_have_count(24)
    page.locator(".grid .card > button").first.click()
    expect(page.get_by_text("An item of the collection")).to_be_visible()
    expect(page.locator(".grid .card")).to_have_count(24)


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(open_page: Open, boot: Path, kind: str) -> None:
    page = open_page()
    expect(page.locator(".drop")).to_be_visible()
    drop(page, kind, boot)
    expect(page.locator(".names li")).to_have_count(10)
    shares = page.locator(".names b").all_text_contents()
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=2)
    expect(page.locator(".grid .card")).to_have_count(24)
    assert page.locator(".saw img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [28, 28]


def test_the_answer_is_that_of_the_api(open_page: Open, server: Server, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    expect(page.locator(".grid .card")).to_have_count(24)
    image: FilePayload = {"name": "boot.jpg", "mimeType": "image/jpeg", "buffer": boot.read_bytes()}
    form: dict[str, str | float | bool | bytes | FilePayload] = {"image": image, "k": "24"}
    answer = page.request.post(f"{server.address}api/search", multipart=form).json()
    assert ids(page) == [str(match["id"]) for match in answer["matches"]]
    scores = page.locator(".grid .said b").all_text_contents()
    assert [float(score) for score in scores] == pytest.approx(
        [match["score"] for match in answer["matches"]], abs=6e-4
    )


def test_a_box_is_drawn_around_what_is_meant(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    frame = page.locator(".frame")
    box = frame.bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(400 / 533, rel=0.01)
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
    with page.expect_response("**/api/search") as answered:
        page.mouse.up()
    assert answered.value.ok
    expect(page.get_by_role("button", name="Whole picture")).to_be_visible()
    crop = [float(part) for part in page.url.split("crop=")[1].split("&")[0].split(",")]
    assert crop == pytest.approx([0.1, 0.2, 0.8, 0.6], abs=0.02)
    page.reload()  # the browser keeps the photo
    expect(page.locator(".crop")).to_be_visible()
    page.get_by_role("button", name="Whole picture").click()
    expect(page.locator(".crop")).to_be_hidden()
    assert "crop" not in page.url
    page.locator(".frame").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".crop")).to_be_visible()
    page.wait_for_url("**crop=**")


def test_from_match_to_match_and_back(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    first = ids(page)
    page.locator(".grid .card > button").nth(2).click()
    page.wait_for_url(f"**#search?like={first[2]}")
    expect(page.get_by_text("An item of the collection")).to_be_visible()
    page.go_back()
    expect(page.locator(".names li")).to_have_count(10)
    assert ids(page) == first


def test_more_like_this_and_less_like_that(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    more, less = ids(page)[1], ids(page)[4]
    page.get_by_role("button", name="More like this").nth(1).click()
    expect(page.locator(".chip")).to_have_text([f"+ {more}×"])
    expect(page.locator(".waiting")).to_have_count(0)
    page.locator(f".card:has(img[src*='/items/{less}/'])").get_by_role("button", name="Less like this").click()
    expect(page.locator(".chip")).to_have_text([f"+ {more}×", f"− {less}×"])
    expect(page.locator(f".grid img[src*='/items/{less}/']")).to_have_count(0)
    link = page.url
    assert f"like={more}&unlike={less}" in link
    page.locator(".chip button").first.click()
    expect(page.locator(".chip")).to_have_text([f"− {less}×"])


def test_threshold_class_and_more(open_page: Open) -> None:
    page = open_page("#search?like=1")
    expect(page.locator(".grid .card")).to_have_count(24)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".grid .card")).to_have_count(48)
    assert len(set(ids(page))) == 48
    page.locator(".tools select").select_option("Bag")
    expect(page.locator(".grid .said span").first).to_have_text("Bag")
    assert set(page.locator(".grid .said span").all_text_contents()) == {"Bag"}
    assert "class=Bag" in page.url
    page.locator(".tools select").select_option("")
    page.locator("input[type=range]").fill("0.99")
    page.wait_for_url("**min=0.99**")
    expect(page.locator(".waiting")).to_have_count(0)
    scores = [float(score) for score in page.locator(".grid .said b").all_text_contents()]
    assert all(score >= 0.99 for score in scores)
    assert len(scores) < 24


@pytest.mark.parametrize(
    ("locale", "title"), [("uk-UA", "Що це, і що на це схоже?"), ("ru-RU", "Что это, и что на это похоже?")]
)
def test_it_speaks_the_browsers_language(open_page: Open, boot: Path, locale: str, title: str) -> None:
    page = open_page(locale=locale)
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    give(page, boot)
    expect(page.locator("html")).to_have_attribute("lang", locale[:2])
    names = page.locator(".names li span:first-child").all_text_contents()
    assert {"uk": "Сукня", "ru": "Платье"}[locale[:2]] in names
    page.locator("#language").select_option("en")
    expect(page.get_by_text("What the model saw")).to_be_visible()
    assert "Dress" in page.locator(".names li span:first-child").all_text_contents()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_every_word_is_there_in_every_language() -> None:
    source = (resources.files("vitrine.server") / "static" / "page" / "words.js").read_text(encoding="utf-8")
    keys = {
        language: re.findall(r'(?:^|[\s,{])"?([\w.-]+)"?: ["\[]', body)
        for language, body in re.findall(r"^  (en|uk|ru): \{\n(.*?)^  \},", source, re.DOTALL | re.MULTILINE)
    }
    assert set(keys) == {"en", "uk", "ru"}
    assert len(keys["en"]) > 60
    assert keys["en"] == keys["uk"] == keys["ru"]


def test_two_are_compared(open_page: Open, boot: Path) -> None:
    page = open_page("#compare")
    expect(page.get_by_text("Do both show the same kind of garment?")).to_be_visible()
    page.set_input_files("#chosen", boot)
    page.wait_for_url("**a=photo:**")
    page.goto(page.url + "&b=5")
    expect(page.locator(".verdict strong")).to_contain_text("%")
    expect(page.locator(".verdict dd")).to_have_count(2)
    page.goto(page.url.split("#")[0] + "#compare?a=5&b=5")
    expect(page.locator(".verdict dd").last).to_have_text("0.000")


def test_a_match_is_compared_with_the_question(open_page: Open) -> None:
    page = open_page("#search?like=3")
    other = page.locator(".grid .card").first
    expect(other).to_be_visible()
    shown = ids(page)[0]
    other.get_by_role("button", name="Compare with it").click()
    page.wait_for_url(f"**#compare?a=3&b={shown}")
    expect(page.locator(".verdict strong")).to_contain_text("%")


def test_who_has_the_token_adds_and_removes(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    expect(page.get_by_role("button", name="Add to the collection")).to_have_count(0)
    unlock(page)
    page.get_by_role("button", name="Add to the collection").click()
    page.get_by_label("Class", exact=True).last.fill("Ankle boot")
    page.locator("dialog").get_by_role("button", name="Add to the collection").click()
    expect(page.locator(".trouble")).to_contain_text("Added as item 61.")
    expect(page.locator("#collection")).to_have_text("shop · 61 items")
    expect(page.locator(".grid .said b").first).to_have_text("1.000")
    assert ids(page)[0] == "61"
    page.get_by_role("button", name="Remove from the collection").first.click()
    page.locator("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("#collection")).to_have_text("shop · 61 items")
    page.get_by_role("button", name="Remove from the collection").first.click()
    page.locator("dialog").get_by_role("button", name="Remove from the collection").click()
    expect(page.locator("#collection")).to_have_text("shop · 60 items")
    expect(page.locator(".grid img[src*='/items/61/']")).to_have_count(0)


def test_a_wrong_token_is_refused(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    unlock(page, "not-the-servers-token")
    page.get_by_role("button", name="Add to the collection").click()
    page.locator("dialog").get_by_role("button", name="Add to the collection").click()
    expect(page.locator(".trouble")).to_contain_text("token")
    expect(page.locator("#collection")).to_have_text("shop · 60 items")


def test_what_is_no_picture_is_said_in_a_sentence(open_page: Open, tmp_path: Path, boot: Path) -> None:
    page = open_page()
    (tmp_path / "note.png").write_bytes(b"this is no picture")
    page.set_input_files("#chosen", tmp_path / "note.png")
    expect(page.get_by_role("alert").filter(has_text="picture")).to_be_visible()
    assert "Traceback" not in page.content()
    give(page, boot)
    expect(page.locator(".trouble")).to_be_hidden()


def test_a_file_of_60_mb_is_refused_in_a_sentence(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    noise = np.random.default_rng(0).integers(0, 256, 60 * 2**20, np.uint8).tobytes()
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff\xe0" + noise)
    page.set_input_files("#chosen", tmp_path / "large.jpg")
    expect(page.locator(".trouble, .away").filter(visible=True)).to_have_count(1, timeout=20_000)
    expect(page.locator(".trouble")).to_contain_text("more than 33,554,432 bytes")


def test_an_item_that_is_gone_is_said(open_page: Open) -> None:
    page = open_page("#search?like=999")
    expect(page.locator(".trouble")).to_contain_text("999")
    expect(page.get_by_role("button", name="Choose a picture")).to_be_visible()


def test_the_server_goes_away_and_comes_back(browser: Browser, shop: Path) -> None:
    running = start(shop)
    page = browser.new_page()
    page.goto(f"{running.address}#search?like=3")
    expect(page.locator(".grid .card")).to_have_count(24)
    running.process.kill()
    running.process.communicate()
    page.locator(".grid .card > button").first.click()
    expect(page.locator("#away")).to_be_visible()
    again = start(shop, running.port)
    expect(page.locator("#away")).to_be_hidden(timeout=15_000)
    expect(page.locator(".grid .card")).to_have_count(24)
    page.close()
    again.stop()


def test_what_was_looked_at_is_kept_and_forgotten(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    expect(page.locator(".grid .card")).to_have_count(24)
    page.locator(".mark").click()
    expect(page.locator(".past a")).to_have_count(1)
    page.locator(".past a").click()
    expect(page.locator(".names li")).to_have_count(10)
    page.locator(".mark").click()
    page.get_by_role("button", name="Forget these").click()
    expect(page.locator(".past")).to_have_count(0)
    page.reload()
    expect(page.locator(".drop")).to_be_visible()
    expect(page.locator(".past")).to_have_count(0)


@pytest.mark.parametrize("size", [PHONE, TABLET, DESK])
@pytest.mark.parametrize("dark", [False, True])
def test_everybody_can_use_it(open_page: Open, boot: Path, size: tuple[int, int], dark: bool) -> None:
    """Axe finds nothing in any view, and nothing is wider than the screen."""
    page = open_page(size=size)
    page.emulate_media(color_scheme="dark" if dark else "light")
    for view in ("", "#search?like=3&unlike=5", "photo", "#compare?a=3&b=4", "#map"):
        if view == "photo":
            give(page, boot)
        else:
            page.goto(f"{page.url.split('#')[0]}{view}")
        expect(page.locator(".waiting")).to_have_count(0)
        expect(page.locator("main .photo, main .drop, main .legend li").first).to_be_visible(timeout=60_000)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], view


def open_map(page: Page) -> Locator:
    """The map, once it is computed; its canvas."""
    expect(page.locator(".legend li").first).to_be_visible(timeout=60_000)
    canvas = page.locator("canvas")
    expect(canvas).to_be_visible()
    return canvas


def painted(page: Page) -> set[str]:
    """The colours of the canvas."""
    colours: list[str] = page.evaluate(
        """async () => {
            await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
            const canvas = document.querySelector('canvas');
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return [...new Set(new Uint32Array(data.buffer))].map(String);
        }"""
    )
    return set(colours)


def test_the_map_shows_every_class_and_hides_it(open_page: Open) -> None:
    page = open_page("#map")
    open_map(page)
    line = page.locator(".legend button").first
    colour = page.evaluate(
        """() => {
            const [r, g, b] = getComputedStyle(document.querySelector('.legend i')).backgroundColor.match(/\\d+/g);
            return String(((255 << 24) | (b << 16) | (g << 8) | r) >>> 0);
        }"""
    )
    assert colour in painted(page)
    line.click()
    expect(line).to_have_attribute("aria-pressed", "false")
    assert colour not in painted(page)
    line.click()
    assert colour in painted(page)


def test_the_map_is_walked_with_wheel_mouse_and_keys(open_page: Open) -> None:
    page = open_page("#map")
    canvas = open_map(page)
    far = painted(page)
    box = canvas.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    for _ in range(4):
        page.mouse.wheel(0, -400)
    page.wait_for_function("performance.getEntriesByType('resource').some((one) => one.name.includes('thumbnail'))")
    page.mouse.down()
    page.mouse.move(middle[0] + 3000, middle[1], steps=3)
    page.mouse.up()
    assert len(painted(page)) < len(far)
    page.get_by_role("button", name="All", exact=True).click()
    assert page.evaluate("document.activeElement.textContent") == "All"
    canvas.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    assert len(painted(page)) >= len(far)


def test_a_photo_flies_to_its_place_on_the_map(open_page: Open, boot: Path) -> None:
    page = open_page("#map")
    open_map(page)
    with page.expect_response("**/api/map/place") as placed:
        page.set_input_files("#chosen", boot)
    assert set(placed.value.json()) == {"x", "y"}
    page.wait_for_url("**#map?photo=**")
    expect(page.locator("#status")).to_have_text("24 look-alikes")


def test_a_lasso_selects(open_page: Open) -> None:
    page = open_page("#map")
    canvas = open_map(page)
    page.get_by_role("button", name="Lasso").click()
    box = canvas.bounding_box()
    assert box is not None
    corners = [(0.01, 0.2), (0.01, 0.99), (0.99, 0.99), (0.99, 0.6), (0.7, 0.6), (0.5, 0.2), (0.01, 0.2)]
    for number, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=2)
        if not number:
            page.mouse.down()
    page.mouse.up()
    said = page.locator(".picked h2")
    expect(said).to_contain_text("selected")
    count = int(str(said.text_content()).split()[0])
    assert 0 < count < 60
    assert page.locator(".picked .small-grid a").count() == count
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id,label,x,y"
    assert len(lines) == count + 1
    expect(page.get_by_role("button", name="Remove from the collection")).to_have_count(0)
    page.get_by_role("button", name="Let go").click()
    expect(said).to_have_count(0)


def test_keys_alone_are_enough(open_page: Open) -> None:
    page = open_page("#search?like=3")
    expect(page.locator(".grid .card")).to_have_count(24)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.card > button') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**#search?like=**")


def test_it_is_small(open_page: Open, server: Server) -> None:
    """Own assets below 300 KB."""
    page = open_page()
    expect(page.locator(".grid .card")).to_have_count(24)
    sizes = page.evaluate(
        "performance.getEntriesByType('resource').filter((one) => !one.name.includes('/api/'))"
        ".map((one) => one.decodedBodySize)"
    )
    assert 0 < sum(sizes) < 300_000
