"""The map of the page, coloured by confidence, and narrowed to a selection."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from map_hands import binary, counted, draw, lattice, made, open_map, pixels, settled
from page_fixtures import PHONE, Open

pytestmark = pytest.mark.slow

DOUBT, SURE = (0x44, 0x01, 0x54), (0x5E, 0xC9, 0x62)
DOUBT_DARK, SURE_DARK = (0xFD, 0xE7, 0x25), (0x3B, 0x52, 0x8B)
GREY = (0x6B, 0x6B, 0x6B)
AGREE = [0, *[15] * 1679, 0]
OF = [*[15] * 1680, 0]
MAP = binary(lattice(41), ["a", "b"], [place % 2 for place in range(1681)], (AGREE, OF))


def has(seen: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((seen == colour).all(axis=2).any())


def test_it_is_coloured_by_confidence_and_the_link_says_so(open_page: Open) -> None:
    page = open_page()
    made(page, MAP)
    scale = page.locator(".scale")
    expect(scale).to_be_hidden()
    assert not has(pixels(page), SURE)
    page.get_by_label("confidence").check()
    page.wait_for_url("**#map?colour=confidence")
    expect(scale).to_be_visible()
    expect(scale).to_contain_text("0%")
    seen = pixels(page)
    assert has(seen, DOUBT)
    assert has(seen, SURE)
    assert has(seen, GREY)  # the one of which nothing is known
    assert page.locator(".legend i").first.evaluate("dot => dot.style.background") == ""
    page.reload()
    open_map(page)
    expect(page.get_by_label("confidence")).to_be_checked()
    assert has(pixels(page), SURE)
    page.get_by_label("class", exact=True).check()
    expect(scale).to_be_hidden()
    assert page.url.endswith("#map")
    assert not has(pixels(page), SURE)


def test_it_goes_along_to_the_search_and_back(open_page: Open) -> None:
    page = open_page("#map?colour=confidence")
    open_map(page)
    page.get_by_role("link", name="Search").click()
    page.wait_for_url("**#search?colour=confidence")
    page.get_by_role("link", name="Map").click()
    open_map(page)
    expect(page.get_by_label("confidence")).to_be_checked()


def test_it_is_chosen_with_the_keys(open_page: Open) -> None:
    page = open_page()
    made(page, MAP)
    page.get_by_label("class", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("confidence")).to_be_checked()
    expect(page.get_by_label("confidence")).to_be_focused()
    assert has(pixels(page), SURE)


def test_on_dark_ground_its_other_end_stands_out(open_page: Open) -> None:
    page = open_page()
    made(page, MAP, "#map?colour=confidence")
    assert has(pixels(page), SURE)
    assert not has(pixels(page), SURE_DARK)
    page.get_by_role("button", name="Light / dark").click()
    page.wait_for_timeout(200)
    seen = pixels(page)
    assert has(seen, DOUBT_DARK)
    assert has(seen, SURE_DARK)
    assert not has(seen, SURE)


def test_the_tip_says_how_many_agree(open_page: Open) -> None:
    page = open_page()
    made(page, MAP)
    canvas = page.locator("canvas").bounding_box()
    assert canvas is not None
    middle = (canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    page.mouse.move(*middle)
    tip = page.locator(".tip")
    expect(tip).to_contain_text("a · 841")
    assert "nearest" not in str(tip.text_content())
    page.get_by_label("confidence").check()
    page.mouse.move(middle[0] + 1, middle[1])
    expect(tip).to_contain_text("15 of 15 nearest have its class")


def test_a_map_without_neighbours_has_no_choice(open_page: Open) -> None:
    page = open_page()
    made(page, binary(lattice(41), ["a", "b"], [place % 2 for place in range(1681)]), "#map?colour=confidence")
    expect(page.locator(".by")).to_be_hidden()
    expect(page.locator(".scale")).to_be_hidden()
    assert not has(pixels(page), SURE)
    assert not has(pixels(page), GREY)


@pytest.mark.parametrize(
    ("locale", "by", "says"), [("uk-UA", "певність", "найближчих"), ("ru-RU", "уверенность", "ближайших")]
)
def test_it_is_said_in_the_language_of_the_page(open_page: Open, locale: str, by: str, says: str) -> None:
    page = open_page(locale=locale, size=PHONE)
    made(page, MAP)
    page.get_by_label(by).check()
    expect(page.locator(".scale")).to_contain_text(says)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0


def test_the_servers_own_map_tells_it(open_page: Open) -> None:
    page = open_page("#map?colour=confidence")
    open_map(page)
    expect(page.get_by_label("confidence")).to_be_checked()


# --- only what is selected


def test_only_what_is_selected_is_shown_and_all_again(open_page: Open) -> None:
    page = open_page("#map")
    open_map(page)
    whole = settled(page)
    count = draw(page)
    assert 0 < count < 60
    page.get_by_role("button", name="Only these").click()
    expect(page.locator(".picked h2")).to_have_count(0)
    assert counted(page) == count
    back = page.get_by_role("button", name=f"Only {count} shown: show all")
    expect(back).to_be_focused()
    alone = settled(page)
    assert np.mean((alone != whole).any(axis=2)) > 0.005
    page.get_by_role("button", name="Lasso").click()  # no line any more
    line = page.locator(".legend button").first
    line.click()
    assert np.mean((settled(page) != alone).any(axis=2)) > 0
    line.click()
    back.click()
    expect(back).to_be_hidden()
    assert counted(page) == 60
    assert np.mean((settled(page) != whole).any(axis=2)) < 1e-3


def test_a_line_around_all_then_selects_what_is_shown(open_page: Open) -> None:
    page = open_page()
    made(page, MAP)
    half = draw(page, [(0.01, 0.01), (0.01, 0.99), (0.5, 0.99), (0.5, 0.01), (0.01, 0.01)])
    assert 0 < half < 1681
    page.get_by_role("button", name="Only these").click()
    page.evaluate("document.activeElement.blur()")
    again = draw(page, [(0.01, 0.15), (0.01, 0.99), (0.8, 0.99), (0.8, 0.15), (0.01, 0.15)])
    assert 0 < again <= half
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == again
    for line in lines:
        id, _, x, y = line.split(",")
        assert (float(x), float(y)) == ((int(id) - 1) % 41, -((int(id) - 1) // 41))  # as the server sent them
