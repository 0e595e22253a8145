"""Why the model says so, on the page: heat over the photo, and a sentence."""

import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from page_fixtures import PHONE, Open, give

pytestmark = pytest.mark.slow

HEAT = """(image) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const brush = canvas.getContext('2d');
    brush.drawImage(image, 0, 0);
    const pixels = brush.getImageData(0, 0, canvas.width, canvas.height).data;
    return Math.max(...pixels.filter((_, place) => place % 4 === 3));
}"""


def lies_on(page: Page, over: str, under: str) -> None:
    """The two elements are at the same place, to a pixel or two."""
    boxes = [page.locator(selector).bounding_box() for selector in (over, under)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0] == pytest.approx(boxes[1], abs=3)


@pytest.mark.parametrize("size", [(1440, 900), PHONE])
def test_heat_is_laid_over_the_photo_and_taken_away(open_page: Open, boot: Path, size: tuple[int, int]) -> None:
    page = open_page(size=size)
    give(page, boot)
    why = page.get_by_role("button", name="Why?")
    expect(why).to_have_attribute("aria-pressed", "false")
    why.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".heat")).to_be_visible()
    expect(why).to_have_attribute("aria-pressed", "true")
    expect(why).to_be_focused()
    lies_on(page, ".heat", ".frame")
    page.evaluate("scrollTo(0, 0)")
    for part in (".heat", ".why"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)  # together
    assert page.locator(".heat").evaluate(HEAT) > 200
    label = page.locator(".names li span").first.text_content()
    said = page.locator(".why [role=status]")
    expect(said).to_have_text(re.compile(f"“{label}”,? (the model looked|lies) mostly (at|on|in) the "))
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.keyboard.press("Enter")
    expect(page.locator(".heat")).to_have_count(0)
    expect(why).to_have_attribute("aria-pressed", "false")
    expect(said).to_have_text("")


def test_of_a_part_the_heat_lies_on_that_part(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    page.locator(".frame").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_url("**crop=**")
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".heat")).to_be_visible()
    lies_on(page, ".heat", ".crop")
    page.locator("input[type=range]").fill("0.5")  # another question about the same part
    page.wait_for_url("**min=0.50**")
    expect(page.locator(".waiting")).to_have_count(0)
    expect(page.locator(".heat")).to_be_visible()
    page.get_by_role("button", name="Whole picture").click()
    expect(page.locator(".heat")).to_have_count(0)
    expect(page.get_by_role("button", name="Why?")).to_have_attribute("aria-pressed", "false")


def test_a_refusal_is_a_sentence(open_page: Open, boot: Path) -> None:
    page = open_page()

    def refuse(route: Route) -> None:
        body = {"type": "about:blank", "title": "", "status": 503, "detail": "Too many at once.", "code": "busy"}
        route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(body))

    page.route("**/api/explain", refuse)
    give(page, boot)
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".why [role=status]")).to_have_text("Too many at once.")
    expect(page.get_by_role("button", name="Why?")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".heat")).to_have_count(0)


@pytest.mark.parametrize(("locale", "why", "looked"), [("uk", "Чому?", "переважно"), ("ru", "Почему?", "в основном")])
def test_it_says_why_in_the_language_of_the_page(
    open_page: Open, boot: Path, locale: str, why: str, looked: str
) -> None:
    page = open_page(locale=locale)
    give(page, boot)
    page.get_by_role("button", name=why).click()
    expect(page.locator(".heat")).to_be_visible()
    expect(page.locator(".why [role=status]")).to_contain_text(looked)


def test_an_item_of_the_collection_is_not_asked_why(open_page: Open) -> None:
    page = open_page("#search?like=1")
    expect(page.locator(".grid .card")).to_have_count(24)
    expect(page.get_by_role("button", name="Why?")).to_have_count(0)
