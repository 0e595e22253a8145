"""The map of the page in a real browser, against a real server."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Route, expect

from map_hands import (
    ACCENT,
    POINTERS,
    binary,
    box,
    corner,
    counted,
    draw,
    first_colour,
    lattice,
    made,
    open_map,
    painted,
    pixels,
    settled,
)
from page_fixtures import TOKEN, Open, Server, start, unlock

pytestmark = pytest.mark.slow


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
    before = settled(page)
    far = painted(page)
    box = canvas.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    for _ in range(4):
        page.mouse.wheel(0, -400)
    assert (settled(page) != before).any()
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


@pytest.fixture
def own(shop: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own home, which may be written."""
    shutil.copytree(shop, tmp_path / "own")
    running = start(tmp_path / "own")
    yield running
    running.stop()


def test_a_photo_lies_where_the_server_says(open_page: Open, boot: Path) -> None:
    page = open_page()
    made(page, binary(lattice(40), ["a"], [0] * 1600))
    page.route("**/api/map/place", lambda route: route.fulfill(json={"x": 7, "y": -12}))
    page.set_input_files("#chosen", boot)
    expect(page.locator("#status")).to_contain_text("look-alike")  # said when it is there
    canvas = page.locator("canvas").bounding_box()
    assert canvas is not None
    page.mouse.move(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    expect(page.locator(".tip")).to_contain_text(f"a · {12 * 40 + 7 + 1}")


def test_a_lasso_selects(open_page: Open) -> None:
    page = open_page("#map")
    open_map(page)
    count = draw(page)
    assert 0 < count < 60
    assert page.locator(".picked .small-grid a").count() == count
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id,label,x,y"
    assert len(lines) == count + 1
    expect(page.get_by_role("button", name="Remove from the collection")).to_have_count(0)
    page.get_by_role("button", name="Let go").click()
    expect(page.locator(".picked h2")).to_have_count(0)


def test_a_lasso_stays_around_its_dots(open_page: Open) -> None:
    page = open_page("#map")
    canvas = open_map(page)
    draw(page, [(0.3, 0.3), (0.3, 0.7), (0.6, 0.7), (0.6, 0.3), (0.3, 0.3)])
    before = box(pixels(page), ACCENT)
    canvas.press("ArrowLeft")
    panned = box(pixels(page), ACCENT)
    assert np.subtract(panned, before) == pytest.approx([80, 0, 80, 0], abs=1)
    wide = pixels(page).shape[1]
    page.set_viewport_size({"width": 1240, "height": 900})
    page.wait_for_function("wide => document.querySelector('canvas').width < wide - 100", arg=wide)
    shift = (pixels(page).shape[1] - wide) / 2
    assert np.subtract(box(pixels(page), ACCENT), panned) == pytest.approx([shift, 0, shift, 0], abs=2)
    canvas.press("+")
    left, top, right, bottom = box(pixels(page), ACCENT)
    assert (right - left) / (panned[2] - panned[0]) == pytest.approx(1.6, rel=0.02)
    assert (bottom - top) / (panned[3] - panned[1]) == pytest.approx(1.6, rel=0.02)


def test_what_is_removed_stays_away(open_page: Open, own: Server) -> None:
    page = open_page("#map", address=own.address)
    open_map(page)
    unlock(page)
    open_map(page)
    whole = settled(page)
    count = draw(page)
    page.route("**/api/map", lambda route: route.fulfill(status=304))  # no newer map comes
    page.get_by_role("button", name="Remove from the collection").click()
    page.locator("dialog").get_by_role("button", name="Remove from the collection").click()
    expect(page.locator(".picked h2")).to_have_count(0)
    expect(page.locator("#collection")).to_have_text(f"shop · {60 - count} items")
    assert counted(page) == 60 - count
    before = settled(page)
    assert np.mean(before != whole) > 0.01
    for line in page.locator(".legend button").all():
        line.click()
        line.click()
    assert np.mean(settled(page) != before) < 1e-3


def test_what_was_removed_before_it_failed_is_gone(open_page: Open, own: Server) -> None:
    page = open_page(address=own.address)
    page.route("**/page/picked.js", lambda route: small_batches(route))
    page.reload()
    page.evaluate("location.hash = '#map'")
    unlock(page)
    open_map(page)
    asked: list[str] = []

    def second_fails(route: Route) -> None:
        if route.request.method == "DELETE":
            asked.append(route.request.url)
        if len(asked) == 2:
            route.fulfill(status=503, json={"code": "busy", "detail": "The server is busy."})
        else:
            route.continue_()

    count = draw(page)
    assert count > 10
    page.route("**/api/map", lambda route: route.fulfill(status=304))
    page.route("**/api/items?id=*", second_fails)
    page.get_by_role("button", name="Remove from the collection").click()
    page.locator("dialog").get_by_role("button", name="Remove from the collection").click()
    expect(page.locator(".said-over")).to_have_text("The server is busy.")
    assert len(asked) == 2
    assert counted(page) == 55
    expect(page.locator("#collection")).to_have_text("shop · 55 items")


def small_batches(route: Route) -> None:
    answer = route.fetch()
    assert "const BATCH = 500;" in answer.text()
    route.fulfill(response=answer, body=answer.text().replace("const BATCH = 500;", "const BATCH = 5;"))


def test_a_newer_question_ends_the_one_before(open_page: Open) -> None:
    page = open_page("#map")
    open_map(page)
    held: list[Route] = []
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.route("**/api/search", lambda route: held.append(route), times=1)
    page.evaluate("location.hash = '#map?like=3'")
    for _ in range(50):
        if held:
            break
        page.wait_for_timeout(50)
    with page.expect_request("**/api/search") as second:
        page.evaluate("location.hash = '#map?like=5&min=0.10&class=Bag'")
    sent = second.value.post_data or ""
    assert "label = 'Bag'" in sent
    assert 'name="threshold"\r\n\r\n0.1\r\n' in sent
    expect(page.locator("#status")).to_contain_text("look-alike")
    assert any(url.endswith("/api/search") for url in failed)
    expect(page.locator(".said-over")).to_be_empty()


def test_a_flight_ends_when_somebody_moves(open_page: Open) -> None:
    page = open_page()
    made(page, binary(lattice(40), ["a"], [0] * 1600))
    with page.expect_response("**/api/search") as answered:
        page.evaluate("location.hash = '#map?like=20'")
    answered.value.finished()
    page.wait_for_timeout(200)  # it flies
    page.get_by_role("button", name="All", exact=True).click()
    at_once = pixels(page)
    page.wait_for_timeout(1200)
    assert np.array_equal(at_once, pixels(page))


def test_only_the_first_button_and_a_single_finger_point(open_page: Open) -> None:
    page = open_page()
    made(page, binary(lattice(5), ["a"], [0] * 25))
    canvas = page.locator("canvas").bounding_box()
    assert canvas is not None
    x, y = canvas["width"] / 2, canvas["height"] / 2
    page.mouse.click(canvas["x"] + x, canvas["y"] + y, button="right")
    assert "like" not in page.url
    two = [["down", 1, x, y], ["down", 2, x + 200, y], ["up", 2, x + 200, y], ["up", 1, x, y]]
    page.evaluate(POINTERS, two)
    assert "like" not in page.url
    page.evaluate(POINTERS, [["down", 1, x, y], ["up", 1, x, y]])
    page.wait_for_url("**#search?like=13")


def test_two_fingers_move_it_by_what_is_between_them(open_page: Open) -> None:
    page = open_page()
    made(page, binary(lattice(20), ["a"], [0] * 400))
    colour = first_colour(page)
    before = box(pixels(page), colour)
    steps: list[list[Any]] = [["down", 1, 500, 300], ["down", 2, 700, 300]]
    for step in range(1, 11):
        steps += [["move", 1, 500 + 3 * step, 300 + 2 * step], ["move", 2, 700 + 3 * step, 300 + 2 * step]]
    page.evaluate(POINTERS, steps)
    assert np.subtract(box(pixels(page), colour), before) == pytest.approx([30, 20, 30, 20], abs=3)


def test_a_line_that_is_interrupted_is_given_up(open_page: Open) -> None:
    page = open_page()
    made(page, binary(lattice(20), ["a"], [0] * 400))
    page.get_by_role("button", name="Lasso").click()
    line = [["down", 1, 300, 300], ["move", 1, 700, 300], ["move", 1, 700, 600]]
    for end in (["cancel", 1, 700, 600], ["down", 2, 800, 600]):
        page.evaluate(POINTERS, line)
        assert (pixels(page) == ACCENT).all(axis=2).any()
        page.evaluate(POINTERS, [end])
        assert not (pixels(page) == ACCENT).all(axis=2).any()
        page.evaluate(POINTERS, [["up", 1, 700, 600], ["up", 2, 800, 600]])
    expect(page.locator(".picked h2")).to_have_count(0)


def test_the_tip_goes_when_the_button_is_pressed(open_page: Open) -> None:
    page = open_page()
    made(page, binary(lattice(5), ["a"], [0] * 25))
    canvas = page.locator("canvas").bounding_box()
    assert canvas is not None
    page.mouse.move(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    expect(page.locator(".tip")).to_be_visible()
    page.mouse.down()
    expect(page.locator(".tip")).to_be_hidden()


def test_a_newer_map_takes_the_place_of_an_older(open_page: Open, own: Server, boot: Path) -> None:
    page = open_page("#map", address=own.address)
    open_map(page)
    unlock(page)
    image: Any = {"name": "boot.jpg", "mimeType": "image/jpeg", "buffer": boot.read_bytes()}
    sent = page.request.post(
        f"{own.address}api/items", multipart={"image": image}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert sent.ok
    page.reload()
    canvas = open_map(page)
    assert counted(page) == 60
    canvas.press("ArrowLeft")
    before = settled(page)
    expect(page.locator(".legend li")).to_contain_text(["no class"], timeout=30_000)
    assert counted(page) == 61
    changed = np.mean((settled(page) != before).any(axis=2))  # it has one picture more
    canvas.press("0")
    assert changed < 0.4 * np.mean((settled(page) != before).any(axis=2))


def test_a_map_that_fails_for_now_is_asked_for_again(open_page: Open) -> None:
    page = open_page()
    refusal = {"code": "map", "detail": "The map could not be computed."}
    page.route(
        "**/api/map", lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, json=refusal), times=1
    )
    page.evaluate("location.hash = '#map'")
    expect(page.locator(".said-over")).to_have_text("The map could not be computed.")
    open_map(page)
    expect(page.locator(".said-over")).to_be_empty()


def test_every_class_has_its_colour_and_the_rest_two_greys(open_page: Open) -> None:
    page = open_page()
    labels = [*(f"class {number:02d}" for number in range(20)), {"others": 5}, None]
    others = [f"other {number}" for number in range(5)]
    made(page, binary(lattice(11), labels, [place % 22 for place in range(121)], others=(others, range(5))))
    lines = page.locator(".legend li span").all_text_contents()
    assert lines[:20] == labels[:20]
    assert lines[20:] == ["5 other classes", "no class"]
    colours = page.locator(".legend i").evaluate_all("dots => dots.map((dot) => dot.style.background)")
    assert len(set(colours)) == 22


def test_a_csv_names_every_class(open_page: Open) -> None:
    """Those that share a colour, too, and none as none."""
    page = open_page()
    others = (['a "b"', "c"], [1, 0, 0, 1])
    made(page, binary(lattice(3), ["own", {"others": 2}, None], [0, 1, 2, 1, 1, 0, 2, 1, 0], others=others))
    count = draw(page, [(0.01, 0.12), (0.01, 0.99), (0.99, 0.99), (0.99, 0.12), (0.01, 0.12)])
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        labels = {int(line["id"]): line["label"] for line in csv.DictReader(file)}
    own = ["own", "c", "", 'a "b"', 'a "b"', "own", "", "c", "own"]
    assert labels.items() <= dict(enumerate(own, 1)).items()
    assert len(labels) == count
    assert {"own", "", "c", 'a "b"'} == set(labels.values())


def test_it_follows_the_theme_of_the_system(open_page: Open) -> None:
    page = open_page("#map")
    open_map(page)
    page.emulate_media(color_scheme="dark")
    corner(page, (0x1D, 0x1B, 0x18))
    page.emulate_media(color_scheme="light")
    corner(page, (255, 255, 255))


def test_without_a_map_there_is_nothing_to_press(open_page: Open) -> None:
    page = open_page()
    page.route("**/api/map", lambda route: route.fulfill(status=202, json={"status": "computing", "progress": 0.5}))
    page.evaluate("location.hash = '#map'")
    said = page.locator(".said-over")
    expect(said).to_have_text("The map is being computed: 50%")
    for part in (".over", ".legend", ".plane canvas"):
        expect(page.locator(part)).to_be_hidden()
    text, plane = said.bounding_box(), page.locator(".plane").bounding_box()
    assert text is not None
    assert plane is not None
    assert text["y"] + text["height"] / 2 == pytest.approx(plane["y"] + plane["height"] / 2, abs=20)
    page.unroute("**/api/map")
    open_map(page)
    expect(page.locator(".over")).to_be_visible()


@pytest.mark.parametrize(("scale", "ratio"), [(2, 2), (3, 2), (1.5, 1.5)])
def test_it_is_as_fine_as_the_screen(open_page: Open, scale: float, ratio: float) -> None:
    page = open_page(scale=scale)
    made(page, binary(lattice(30), ["a"], [0] * 900))
    wide = page.locator("canvas").evaluate("canvas => [canvas.width, canvas.clientWidth]")
    assert wide[0] == pytest.approx(ratio * wide[1], abs=1)
    canvas = page.locator("canvas").bounding_box()
    colour = first_colour(page)
    left, top, _, _ = box(pixels(page), colour)
    assert canvas is not None
    page.mouse.click(canvas["x"] + left / ratio + 2, canvas["y"] + top / ratio + 2)
    page.wait_for_url("**#search?like=1")


def test_thumbnails_are_asked_for_at_rest_the_middle_first(open_page: Open) -> None:
    page = open_page()
    asked: list[int] = []
    failed: list[str] = []
    held: list[Route] = []

    def thumbnail(route: Route) -> None:
        asked.append(int(route.request.url.split("/items/")[1].split("/")[0]))
        held.append(route)

    made(page, binary(lattice(41), ["a"], [0] * 1681))
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.route("**/thumbnail?v=*", thumbnail)
    moving = """async () => {
        const canvas = document.querySelector('canvas');
        const {left, top, width, height} = canvas.getBoundingClientRect();
        for (let frame = 0; frame < 30; frame++) {
            canvas.dispatchEvent(new WheelEvent('wheel', {clientX: left + width / 2, clientY: top + height / 2,
                deltaY: frame < 20 ? -80 : 1, bubbles: true, cancelable: true}));
            await new Promise((done) => setTimeout(done, 20));
        }
    }"""
    page.evaluate(moving)
    assert asked == []
    for _ in range(50):
        page.wait_for_timeout(200)
        if len(asked) >= 6:
            break
    page.wait_for_timeout(300)
    assert len(asked) == 6
    assert asked[0] == 20 * 41 + 21
    assert set(asked[1:5]) == {asked[0] + step for step in (-41, -1, 1, 41)}
    page.get_by_role("button", name="All", exact=True).click()
    page.wait_for_timeout(600)
    assert len([url for url in failed if "thumbnail" in url]) == 6
    assert len(asked) == 6
    for route in held:
        route.abort()
