"""The map of the page in a real browser, against a real server."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from page_fixtures import Open


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
