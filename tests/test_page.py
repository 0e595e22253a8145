"""The page in a real browser, against a real server: Playwright with the system's Chromium."""

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FilePayload, expect

from page_fixtures import DESK, PHONE, TABLET, Open, Server, drop, give, ids, start, unlock
from vitrine import choosing
from vitrine.encoder import Encoder


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
    assert sum(float(share.strip("<>%\u00a0")) for share in shares) == pytest.approx(100, abs=2)
    expect(page.locator(".grid .card")).to_have_count(24)
    spec = Encoder.load(choosing.choose(choosing.Opened.read(boot))).card.image
    shown = page.locator(".saw img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert shown == [spec.width, spec.height]


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
    ("locale", "title"), [("uk-UA", "Що це і що на це схоже?"), ("ru-RU", "Что это и что на это похоже?")]
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
    page.wait_for_url(f"**#compare?a=3&b={shown}&like=3")
    expect(page.locator(".verdict strong")).to_contain_text("%")


def test_who_has_the_token_adds_and_removes(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    expect(page.get_by_role("button", name="Add to the collection")).to_have_count(0)
    unlock(page)
    page.get_by_role("button", name="Add to the collection").click()
    page.get_by_label("Class", exact=True).last.fill("Ankle boot")
    page.locator("dialog").get_by_role("button", name="Add to the collection").click()
    expect(page.get_by_text("Added as item 61.")).to_have_role("status")
    expect(page.locator(".trouble")).to_be_hidden()
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
    for view in ("", "#search?like=3&unlike=5", "photo", "#compare?a=3&b=4", "#map?colour=confidence"):
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
