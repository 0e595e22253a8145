"""The page of `vitrine map --html` in a real browser, opened from its file; and the modules that are put into it."""

import csv
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from map_hands import POINTERS, box, pixels, settled
from map_items import clustered
from vitrine import mapping
from vitrine.catalogue.local import LocalCatalogue
from vitrine.catalogue.map_file import StoredMap
from vitrine.encoder import Encoder
from vitrine.mapping import page as map_page
from vitrine.mapping import scripts

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Request

COUNT = 4_000
RED = (0xB8, 0x40, 0x34)  # of class 0
CORNERS = [(0.02, 0.02), (0.02, 0.98), (0.5, 0.98), (0.5, 0.02)]
FRAMES = """async () => {
    const canvas = document.querySelector('#map');
    const begin = performance.now();
    for (let frame = 0; frame < 60; frame++) {
        canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: frame < 30 ? -40 : 40, bubbles: true, cancelable: true}));
        await new Promise(requestAnimationFrame);
    }
    return 60000 / (performance.now() - begin);
}"""


@pytest.fixture
def shop(encoder: Encoder) -> LocalCatalogue:
    """Four thousand items in three groups, which lie beside each other on the map; the first bears a wrong label."""
    catalogue = LocalCatalogue.create("shop", encoder)
    catalogue.add(clustered(COUNT))
    return catalogue


@pytest.fixture
def mapped(shop: LocalCatalogue) -> mapping.Mapped:
    random = np.random.default_rng(0)
    group = np.arange(COUNT) % 3
    points = (random.normal(size=(COUNT, 2)) + np.stack([8 * group, 0 * group], axis=1)).astype(np.float32)
    near = np.stack([(np.arange(COUNT) + 3 * step) % COUNT for step in range(1, 16)], axis=1).astype(np.int32)
    near[0] = np.arange(1, 46, 3)  # of the second group
    stored = StoredMap(np.arange(1, COUNT + 1), points, 1, COUNT, COUNT, "0" * 32, 1, 1.0, near)
    return mapping.items(shop, stored)


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, shop: LocalCatalogue, mapped: mapping.Mapped, tmp_path: Path) -> Iterator[Opened]:
    """Write the page and open its file; whatever it throws, says to the console, or asks for fails the test."""
    wrong: list[str] = []
    contexts = []

    def asked(request: "Request") -> None:
        if not request.url.startswith((path.as_uri(), "data:", "blob:")):
            wrong.append(f"asked {request.url}")

    def said(message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            wrong.append(message.text)

    path = tmp_path / "map.html"

    def open_file(colour: map_page.Colour = "class", dark: bool = False, touch: bool = False) -> Page:
        assert map_page.write(shop, mapped, path, "Map of shop", colour)
        context = browser.new_context(
            viewport={"width": 1200, "height": 800},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            offline=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", said)
        page.on("request", asked)
        page.goto(path.as_uri())
        expect(page.locator("#status")).to_have_text("4,000 items")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert wrong == []


def lasso(page: Page) -> int:
    """Draw a line around the left half; how many it selects."""
    page.get_by_role("button", name="Lasso").click()
    canvas = page.locator("#map").bounding_box()
    assert canvas is not None
    for number, (x, y) in enumerate([*CORNERS, CORNERS[0]]):
        page.mouse.move(canvas["x"] + x * canvas["width"], canvas["y"] + y * canvas["height"], steps=2)
        if not number:
            page.mouse.down()
    page.mouse.up()
    said = page.locator("#picked h2")
    expect(said).to_contain_text("selected")
    return int(str(said.text_content()).split()[0].replace(",", ""))


def test_it_draws_every_class_and_hides_it(opened: Opened) -> None:
    page = opened()
    colours = page.locator("#legend i").evaluate_all(
        "dots => dots.map((dot) => getComputedStyle(dot).backgroundColor.match(/\\d+/g).map(Number))"
    )
    assert len(colours) == 3
    boxes = [box(pixels(page), colour) for colour in colours]
    assert boxes[0][2] < boxes[1][2] < boxes[2][2]  # the groups, from left to right
    line = page.locator("#legend button").first
    line.click()
    expect(line).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#status")).to_have_text("2,666 of 4,000 items")
    assert not (pixels(page) == RED).all(axis=2).any()
    line.dblclick()
    expect(page.locator("#status")).to_have_text("1,334 of 4,000 items")
    assert (pixels(page) == RED).all(axis=2).any()
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.locator("#status")).to_have_text("4,000 items")


def test_it_is_walked_with_wheel_keys_buttons_and_fingers(opened: Opened) -> None:
    page = opened()
    whole = settled(page)
    canvas = page.locator("#map")
    steps: list[Callable[[], object]] = [
        lambda: canvas.press("ArrowRight"),
        lambda: canvas.press("+"),
        lambda: page.get_by_role("button", name="Nearer").click(),
        lambda: canvas.dblclick(position={"x": 300, "y": 100}),
        lambda: page.mouse.wheel(0, -300),
        lambda: page.evaluate(POINTERS, [["down", 1, 300, 300], ["down", 2, 500, 300], ["move", 2, 700, 300]]),
    ]
    before = whole
    for step in steps:
        step()
        now = settled(page)
        assert (now != before).any()
        before = now
    page.evaluate(POINTERS, [["up", 1, 300, 300], ["up", 2, 700, 300]])
    page.get_by_role("button", name="Show all").click()
    page.mouse.move(5, 5)
    assert np.array_equal(settled(page), whole)


def test_near_by_dots_become_pictures(opened: Opened) -> None:
    page = opened()
    canvas = page.locator("#map")
    far = len(np.unique(settled(page).reshape(-1, 3), axis=0))
    for _ in range(8):
        canvas.press("+")
    near = len(np.unique(settled(page).reshape(-1, 3), axis=0))
    assert far < 10
    assert near > 30  # shades of grey


def test_the_pointer_shows_the_picture(opened: Opened) -> None:
    page = opened()
    left, _, _, _ = box(pixels(page), RED)
    canvas = page.locator("#map").bounding_box()
    assert canvas is not None
    row = np.nonzero((pixels(page)[:, left] == RED).all(axis=1))[0][0]
    page.mouse.move(canvas["x"] + left + 1, canvas["y"] + row + 1)
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    expect(page.locator("#what")).to_have_text("class 0")
    expect(page.locator("#where")).to_contain_text(" · ")
    expect(page.locator("#sure")).to_contain_text(" of 15 nearest have its class")
    page.wait_for_function(
        """() => {
            const seen = document.querySelector('#seen');
            const {data} = seen.getContext('2d').getImageData(64, 64, 1, 1);
            return data[3] === 255 && data[0] === data[1];
        }"""
    )
    page.mouse.move(canvas["x"] + 2, canvas["y"] + 2)
    expect(tip).to_be_hidden()


def test_a_tap_shows_the_picture_and_keeps_it(opened: Opened) -> None:
    page = opened(touch=True)
    left, _, _, _ = box(pixels(page), RED)
    row = np.nonzero((pixels(page)[:, left] == RED).all(axis=1))[0][0]
    canvas = page.locator("#map").bounding_box()
    assert canvas is not None
    page.touchscreen.tap(canvas["x"] + left + 1, canvas["y"] + row + 1)
    expect(page.locator("#tip")).to_be_visible()
    page.wait_for_timeout(200)
    expect(page.locator("#what")).to_have_text("class 0")
    expect(page.locator("#tip")).to_be_visible()


def test_a_lasso_selects_saves_and_shows_alone(opened: Opened) -> None:
    page = opened()
    count = lasso(page)
    assert 0 < count < COUNT
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count
    assert {row["label"] for row in rows} <= {"class 0", "class 1"}
    page.get_by_role("button", name="Only these").click()
    expect(page.locator("#status")).to_have_text(f"{count:,} of 4,000 items")
    back = page.get_by_role("button", name=f"Only {count:,} shown: show all")
    expect(back).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("4,000 items")
    expect(back).to_be_hidden()


@pytest.mark.parametrize("dark", [False, True])
def test_by_confidence_what_is_in_doubt_stands_out(opened: Opened, dark: bool) -> None:
    page = opened("confidence", dark)
    expect(page.get_by_label("confidence")).to_be_checked()
    expect(page.locator("#scale")).to_be_visible()
    seen = pixels(page)
    ground, doubt, sure = (int(seen[0, 0].sum()), (0xFD, 0xE7, 0x25), (0x3B, 0x52, 0x8B))
    if not dark:
        doubt, sure = (0x44, 0x01, 0x54), (0x5E, 0xC9, 0x62)
    few, many = ((seen == colour).all(axis=2) for colour in (doubt, sure))
    assert 0 < few.sum() < 100  # one dot
    assert many.sum() > 1_000
    assert abs(sum(doubt) - ground) > abs(sum(sure) - ground)
    page.get_by_label("class", exact=True).check()
    expect(page.locator("#scale")).to_be_hidden()
    assert (pixels(page) == RED).all(axis=2).any()
    page.emulate_media(color_scheme="light" if dark else "dark")
    page.wait_for_timeout(100)
    assert abs(int(pixels(page)[0, 0].sum()) - ground) > 300


def test_without_confidence_there_is_no_choice(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, mapped: mapping.Mapped
) -> None:
    object.__setattr__(mapped, "confidence", None)
    page = opened("confidence")
    expect(page.locator("#by")).to_be_hidden()
    assert (pixels(page) == RED).all(axis=2).any()


@pytest.mark.parametrize("dark", [False, True])
def test_everybody_can_use_it(opened: Opened, dark: bool) -> None:
    page = opened("confidence", dark)
    lasso(page)
    for width in (390, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_moves_smoothly(opened: Opened) -> None:
    assert opened().evaluate(FRAMES) > 10  # the benchmark asks for more, of more points


# --- the modules that are put into it


def test_every_module_of_the_canvas_is_joined_once() -> None:
    script = scripts.joined("templates/map.js")
    assert script.count("class Plane {") == script.count("class Grid {") == script.count("function hands(") == 1
    assert script.index("class Grid {") < script.index("class Plane {") < script.index("class Page {")
    assert "import" not in script.replace("important", "")
    assert "</script" not in script
    served = resources.files("vitrine.mapping") / "canvas"
    assert {one.name for one in served.iterdir()} == {"colours.js", "grid.js", "hands.js", "pictures.js", "plane.js"}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ('import * as all from "./a.js";\n', "import \\* as all"),
        ('export { one } from "./a.js";\n', "export { one }"),
        ("export default 1;\n", "export default"),
        ('const found = await import("./a.js");\n', "await import"),
        ('const end = "</script>";\n', "</script>"),
        ('import { one } from "./a.js";\nconst one = 1;\n', "one is there twice"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str
) -> None:
    (tmp_path / "a.js").write_text("export const one = 1;\n")
    (tmp_path / "b.js").write_text(source)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=says):
        scripts.joined("b.js")


def test_what_can_be_joined_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.js").write_text("export const one = 1;\n")
    (tmp_path / "c.js").write_text('import { one } from "./in/a.js";\nexport function two() {\n  return 2 * one;\n}\n')
    (tmp_path / "b.js").write_text('import { one } from "./in/a.js";\nimport { two } from "./c.js";\n\ntwo(one);\n')
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    expected = "const one = 1;\n\nfunction two() {\n  return 2 * one;\n}\n\n\ntwo(one);\n"
    assert scripts.joined("b.js") == expected


def test_the_scale_is_viridis() -> None:
    """The page's colours are matplotlib's, which the PNG has."""
    import matplotlib
    from matplotlib.colors import to_hex

    source = (resources.files("vitrine.mapping") / "canvas" / "colours.js").read_text(encoding="utf-8")
    (line,) = [line for line in source.splitlines() if line.startswith("const VIRIDIS")]
    colours = [part for part in line.split('"') if part.startswith("#")]
    expected = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(colours)))
    for colour, wanted in zip(colours, expected, strict=True):
        channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert np.abs(np.array(channels) - 255 * wanted[:3]).max() <= 2, (colour, to_hex(wanted))
