"""The page step by step: what one step leaves for the next, when answers are late, and when they are refusals."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from page_fixtures import DESK, PHONE, TABLET, Open, Server, give, ids, unlock
from pictures import written

pytestmark = pytest.mark.slow

WAY = "document.querySelector('.frame').setAttribute('data-before', '')"
KEYS = """() => new Promise((resolve) => {
    const opening = indexedDB.open('vitrine', 1);
    opening.onsuccess = () => {
        const asked = opening.result.transaction('photos').objectStore('photos').getAllKeys();
        asked.onsuccess = () => { opening.result.close(); resolve(asked.result); };
    };
})"""
CORNER = """async (selector) => {
    const image = document.querySelector(selector);
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 1;
    canvas.getContext('2d').drawImage(image, 0, 0);
    return [image.naturalWidth, image.naturalHeight, ...canvas.getContext('2d').getImageData(0, 0, 1, 1).data];
}"""
SURE = """() => {
    const real = fetch;
    window.fetch = async (address, options) => {
        const response = await real(address, options);
        if (!/api.(search|compare)$/.test(address)) return response;
        const said = await response.json();
        for (const one of [said.prediction, said.a, said.b]) if (one) {
            one.probability = 0.99996;
            one.probabilities = one.probabilities?.map((_, number) => number ? 0.000004 : 0.99996);
        }
        return new Response(JSON.stringify({...said, same_probability: 0.99999}), {headers: response.headers});
    };
}"""
ADDRESSES = """() => {
    window.addresses = new Set();
    const [make, revoke] = [URL.createObjectURL.bind(URL), URL.revokeObjectURL.bind(URL)];
    URL.createObjectURL = (one) => { const made = make(one); window.addresses.add(made); return made; };
    URL.revokeObjectURL = (one) => { window.addresses.delete(one); revoke(one); };
}"""


def problem(route: Route, status: int, code: str, detail: str) -> None:
    body = json.dumps({"status": status, "code": code, "detail": detail})
    route.fulfill(status=status, content_type="application/problem+json", body=body)


def go(page: Page, hash: str) -> None:
    page.evaluate("(hash) => { location.hash = hash; }", hash)


def answered(page: Page) -> None:
    expect(page.locator(".grid .card").first).to_be_visible()
    expect(page.locator(".waiting")).to_have_count(0)


def crop_of(page: Page) -> str:
    return page.url.split("crop=")[1].split("&")[0]


def test_a_photo_is_opened_after_all_were_forgotten(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    answered(page)
    page.locator(".mark").click()
    page.get_by_role("button", name="Forget these").click()
    expect(page.locator(".past")).to_have_count(0)
    assert page.evaluate(KEYS) == []
    give(page, boot)
    page.reload()
    expect(page.locator(".names li")).to_have_count(10)


def test_photos_that_nothing_shows_any_more_are_deleted(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    answered(page)
    first = page.evaluate(KEYS)
    assert len(first) == 1
    page.evaluate("localStorage.clear()")
    page.locator(".mark").click()
    page.reload()
    page.locator(".grid .card > button").first.click()  # the past is now this item alone
    answered(page)
    for _ in range(50):
        if not page.evaluate(KEYS):
            break
        page.wait_for_timeout(100)
    assert page.evaluate(KEYS) == []


def test_a_late_answer_is_thrown_away(open_page: Open) -> None:
    page = open_page("#search?like=5")
    answered(page)
    held: list[Route] = []
    page.route("**/api/items/3", lambda route: held.append(route))
    with page.expect_request("**/api/items/3"):
        go(page, "#search?like=3")
    go(page, "#search?like=4")
    expect(page.locator(".asked p").first).to_contain_text("4 ·")
    answered(page)
    for route in held:
        route.fulfill(json={"id": 3, "label": "Bag", "source": "late", "columns": {}, "original": False})
    page.wait_for_timeout(300)
    expect(page.locator(".asked")).not_to_contain_text("late")
    assert page.locator(".trouble").is_hidden()


def test_a_late_photo_does_not_come_back(open_page: Open, boot: Path) -> None:
    """A view that was left draws nothing more, and keeps no address of a photo."""
    page = open_page()
    give(page, boot)
    answered(page)
    question = page.url.split("#")[1]
    page.goto(f"{page.url.split('#')[0]}#compare")
    page.reload()
    page.evaluate(ADDRESSES)
    expect(page.locator(".pair")).to_be_visible()
    page.evaluate(
        """async (question) => {
            const shown = new Promise((resolve) => addEventListener('popstate', resolve, {once: true}));
            location.hash = question;
            await shown; // the photo is still being read
            location.hash = 'compare';
        }""",
        question,
    )
    expect(page.locator(".pair")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("addresses.size") == 0
    expect(page.locator(".answer")).to_have_count(0)
    go(page, question)
    answered(page)
    assert page.evaluate("addresses.size") == 1


@pytest.mark.parametrize("size", [PHONE, TABLET, DESK])
@pytest.mark.parametrize("locale", ["uk-UA", "ru-RU"])
def test_long_names_fit_on_the_cards(open_page: Open, size: tuple[int, int], locale: str) -> None:
    page = open_page("", size, locale)

    def named(route: Route) -> None:
        answer = route.fetch().json()
        route.fulfill(json={**answer, "matches": [{**one, "label": "T-shirt/top"} for one in answer["matches"]]})

    page.route("**/api/search", named)
    go(page, "#search?like=1")
    expect(page.locator(".grid .said span").first).to_have_text("Футболка/топ")
    wide = page.locator(".grid .card").evaluate_all(
        "all => all.map((one) => [one, one.querySelector('.said'), one.querySelector('.acts')])"
        ".flat().filter((one) => one.scrollWidth > one.clientWidth).length"
    )
    assert wide == 0


@pytest.mark.parametrize("size", [PHONE, TABLET])
def test_the_maps_legend_covers_no_button(open_page: Open, size: tuple[int, int]) -> None:
    page = open_page("#map", size)
    expect(page.locator(".legend li").first).to_be_visible(timeout=60_000)
    plane, legend = page.locator(".plane canvas").bounding_box(), page.locator(".legend").bounding_box()
    assert plane is not None
    assert legend is not None
    assert legend["y"] >= plane["y"] + plane["height"]
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Lasso").click()


def test_the_question_goes_along_to_the_map_and_back(open_page: Open) -> None:
    page = open_page("#search?like=3&unlike=5")
    answered(page)
    page.get_by_role("link", name="Map").click()
    page.wait_for_url("**#map?like=3&unlike=5")
    expect(page.locator("#status")).to_have_text("24 look-alikes", timeout=60_000)
    page.get_by_role("link", name="Search").click()
    page.wait_for_url("**#search?like=3&unlike=5")
    expect(page.locator(".chip")).to_have_count(2)


def test_the_part_of_a_photo_is_compared(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    go(page, f"{page.url.split('#')[1]}&crop=0.1,0.2,0.8,0.6")
    expect(page.locator(".crop")).to_be_visible()
    answered(page)
    page.get_by_role("button", name="Compare with it").first.click()
    page.wait_for_url("**#compare?a=photo:*@0.1000,0.2000,0.8000,0.6000&b=*")
    expect(page.locator(".verdict strong")).to_contain_text("%")
    size = page.locator(".slot img").first.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert size == [320, 320]
    page.reload()
    expect(page.locator(".verdict strong")).to_contain_text("%")


def test_a_side_stays_while_the_other_changes(open_page: Open, boot: Path) -> None:
    page = open_page("#compare?b=5")
    page.evaluate(ADDRESSES)
    page.set_input_files("#chosen", boot)
    expect(page.locator(".verdict strong")).to_contain_text("%")
    page.locator(".slot img").first.evaluate("image => image.setAttribute('data-before', '')")
    before = page.evaluate("[...addresses]")
    go(page, page.url.split("#")[1].replace("b=5", "b=6"))
    expect(page.locator(".slot img[src*='/items/6/']")).to_be_visible()
    expect(page.locator(".verdict strong")).to_contain_text("%")
    expect(page.locator("img[data-before]")).to_be_visible()
    assert page.evaluate("[...addresses]") == before
    assert len(before) == 1
    page.locator(".mark").click()
    assert page.evaluate("addresses.size") == 0


def test_a_side_that_is_no_side_is_none(open_page: Open) -> None:
    page = open_page("#compare?a=abc&b=5")
    expect(page.locator(".slot").first).to_contain_text("First picture")
    expect(page.get_by_text("Drop a picture on each side")).to_be_visible()
    page.goto(f"{page.url.split('#')[0]}#compare?a=photo:&b=-1")
    expect(page.locator(".slot .photo p")).to_have_count(2)


def test_the_tools_say_what_the_address_says(open_page: Open) -> None:
    page = open_page("#search?like=1")
    answered(page)
    choice, slider = page.locator(".tools select"), page.locator("input[type=range]")
    slider.evaluate("one => one.setAttribute('data-before', '')")
    choice.select_option("Bag")
    page.wait_for_url("**class=Bag**")
    answered(page)
    choice.focus()
    page.go_back()
    expect(choice).to_have_value("")
    go(page, "#search?like=1&min=0.5&class=Dress")
    expect(choice).to_have_value("Dress")
    expect(slider).to_have_value("0.5")
    expect(page.locator("output")).to_have_text("0.50")
    expect(page.locator("input[data-before]")).to_have_count(1)


def test_the_slider_stays_under_the_hand(open_page: Open) -> None:
    page = open_page("#search?like=1")
    answered(page)
    slider = page.locator("input[type=range]")
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.wait_for_url("**min=0.**")
    dragged = float(slider.input_value())
    go(page, "#search?like=2&min=0.1")
    expect(page.locator(".asked p").first).to_contain_text("2 ·")
    assert float(slider.input_value()) == dragged
    page.mouse.up()


def test_the_box_is_moved_by_keys_again_and_again(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    answered(page)
    page.evaluate(WAY)
    page.locator(".photo > img").evaluate("one => one.setAttribute('data-before', '')")
    page.locator(".frame").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**crop=0.15**")
    answered(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.wait_for_url("**crop=0.2**")
    assert [float(part) for part in crop_of(page).split(",")] == pytest.approx([0.2, 0.1, 0.8, 0.75])
    page.go_back()
    page.wait_for_url("**crop=0.15**")
    assert page.locator(".crop").evaluate("box => parseFloat(box.style.left)") == pytest.approx(15)
    expect(page.locator("[data-before]")).to_have_count(2)
    page.get_by_role("button", name="Whole picture").click()
    expect(page.locator(".crop")).to_be_hidden()
    expect(page.locator(".frame")).to_be_focused()


@pytest.fixture
def phone(browser: Browser, server: Server) -> Iterator[Page]:
    """The page under a finger."""
    with browser.new_context(
        viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True, is_mobile=True, locale="en-GB"
    ) as context:
        page = context.new_page()
        page.goto(server.address)
        yield page


def test_a_finger_scrolls_until_it_is_told_to_draw(phone: Page, boot: Path) -> None:
    give(phone, boot)
    frame = phone.locator(".frame")
    stroke = """frame => {
        const {left, top} = frame.getBoundingClientRect();
        frame.setPointerCapture = () => {};
        for (const [type, place] of [['pointerdown', 20], ['pointermove', 120], ['pointerup', 120]])
            frame.dispatchEvent(new PointerEvent(type,
                {pointerType: 'touch', pointerId: 1, clientX: left + place, clientY: top + place, bubbles: true}));
    }"""
    assert frame.evaluate("one => getComputedStyle(one).touchAction") == "pan-y"
    frame.evaluate(stroke)
    expect(phone.locator(".crop")).to_be_hidden()
    toggle = phone.get_by_role("button", name="Draw a box")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    assert frame.evaluate("one => getComputedStyle(one).touchAction") == "none"
    frame.evaluate(stroke)
    expect(phone.locator(".crop")).to_be_visible()
    phone.wait_for_url("**crop=**")


def test_who_has_a_mouse_needs_no_button_to_draw(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    expect(page.get_by_role("button", name="Draw a box")).to_be_hidden()


def test_a_match_opens_at_its_top(open_page: Open) -> None:
    page = open_page("#search?like=3", PHONE)
    answered(page)
    assert page.evaluate("document.activeElement === document.body")
    card = page.locator(".grid .card > button").nth(12)
    card.scroll_into_view_if_needed()
    assert page.evaluate("scrollY") > 0
    card.click()
    expect(page.locator(".asked h2")).to_be_focused()
    assert page.evaluate("scrollY") == 0


def test_the_focus_goes_on_with_what_was_rated(open_page: Open) -> None:
    page = open_page("#search?like=3")
    answered(page)
    more = ids(page)[2]
    page.get_by_role("button", name="More like this").nth(2).click()
    expect(page.locator(f".chip[data-id='{more}'] button")).to_be_focused()
    answered(page)
    expect(page.locator(f".chip[data-id='{more}'] button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".tools h1")).to_be_focused()


def test_two_ratings_in_haste_both_count(open_page: Open) -> None:
    page = open_page("#search?like=3")
    answered(page)
    first, second = ids(page)[:2]
    page.evaluate(
        "() => [0, 1].forEach((n) => document.querySelectorAll('.card')[n].querySelector('.acts button').click())"
    )
    page.wait_for_url(f"**#search?like=3,{first},{second}")
    expect(page.locator(".chip")).to_have_count(3)


def test_a_missing_example_can_be_dropped(open_page: Open) -> None:
    page = open_page("#search?like=3,999")
    expect(page.locator(".trouble")).to_contain_text("999")
    page.locator(".chip[data-id='999'] button").click()
    page.wait_for_url("**#search?like=3")
    answered(page)
    expect(page.locator(".trouble")).to_be_hidden()


def test_what_is_removed_leaves_the_question(open_page: Open) -> None:
    page = open_page("#search?like=3")
    unlock(page)
    answered(page)
    gone = ids(page)[0]
    page.route(f"**/api/items?id={gone}", lambda route: route.fulfill(json={"removed": [int(gone)]}))
    page.route("**/api/search", lambda route: None)  # the card stays until there is an answer
    page.get_by_role("button", name="More like this").first.click()
    page.wait_for_url(f"**like=3,{gone}")
    page.get_by_role("button", name="Remove from the collection").first.click()
    page.unroute("**/api/search")
    page.locator("dialog").get_by_role("button", name="Remove from the collection").click()
    page.wait_for_url("**#search?like=3")
    expect(page.get_by_text(f"Item {gone} is removed.")).to_have_role("status")
    answered(page)


def test_what_is_transparent_becomes_white(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    shot = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    shot.paste((40, 60, 90, 255), (60, 60, 140, 140))
    (tmp_path / "cut.png").write_bytes(written(shot, "PNG"))
    give(page, tmp_path / "cut.png")
    key = page.url.split("photo=")[1]
    answered(page)
    go(page, f"#compare?a=photo:{key}@0.1,0.1,0.8,0.8&b=5")
    expect(page.locator(".verdict strong")).to_contain_text("%")
    assert page.evaluate(CORNER, ".slot img") == [160, 160, 255, 255, 255, 255]
    page.locator(".mark").click()
    assert page.evaluate(CORNER, ".past img")[2:] == [255, 255, 255, 255]


def test_a_server_that_is_not_ready_is_asked_again(open_page: Open) -> None:
    page = open_page()
    refused: list[str] = []

    def busy(route: Route) -> None:
        refused.append(route.request.url)
        problem(route, 503, "catalogue", "The catalogue is being rebuilt.")

    page.route("**/api/catalogue", busy, times=2)
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="being rebuilt")).to_be_visible()
    page.locator("#language").select_option("uk")  # nothing to draw yet
    expect(page.get_by_role("heading", name="Що це і що на це схоже?")).to_be_visible(timeout=10_000)
    expect(page.locator(".trouble")).to_have_count(0)
    assert len(refused) == 2


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("input", "Сервер не приймає такого запиту."),
        ("storage", "На диску сервера бракує місця, або запис туди заборонено."),
        ("timeout", "Це тривало надто довго; спробуйте ще раз."),
        ("of-tomorrow", "Сервер не зміг на це відповісти."),
    ],
)
def test_a_refusal_is_said_in_the_language_of_the_page(open_page: Open, code: str, sentence: str) -> None:
    page = open_page(locale="uk-UA")
    page.route("**/api/search", lambda route: problem(route, 422, code, "This is the server's own."))
    go(page, "#search?like=3")
    expect(page.locator(".trouble")).to_have_text(sentence)
    page.locator("#language").select_option("en")
    expect(page.locator(".trouble")).to_have_text("This is the server's own.")


def test_an_answer_that_is_none_is_said(open_page: Open) -> None:
    page = open_page()
    page.route("**/api/search", lambda route: route.fulfill(body="<html>", content_type="text/html"))
    go(page, "#search?like=3")
    expect(page.locator(".trouble")).to_have_text("Something went wrong on this page; reload it.")


def test_a_file_that_cannot_be_read_is_said(open_page: Open, boot: Path) -> None:
    page = open_page()
    expect(page.locator(".drop")).to_be_visible()
    page.evaluate("() => { File.prototype.arrayBuffer = () => Promise.reject(new Error('moved away')); }")
    page.set_input_files("#chosen", boot)
    expect(page.get_by_role("alert").filter(has_text="Something went wrong")).to_be_visible()


def test_a_token_that_is_refused_is_dropped(open_page: Open, boot: Path) -> None:
    page = open_page()
    give(page, boot)
    answered(page)
    unlock(page, "not-the-servers-token")
    answered(page)
    page.get_by_role("button", name="Remove from the collection").first.click()
    page.locator("dialog").get_by_role("button", name="Remove from the collection").click()
    expect(page.locator(".trouble")).to_contain_text("token")
    expect(page.get_by_role("button", name="Unlock")).to_be_visible()
    expect(page.get_by_role("button", name="Remove from the collection")).to_have_count(0)
    expect(page.get_by_role("button", name="Add to the collection")).to_have_count(0)


def test_nothing_is_certain(open_page: Open) -> None:
    page = open_page()
    shares = page.evaluate(
        "async () => { const {probability} = await import('./page/words.js');"
        " return [0, 0.0009, 0.0123, 0.5, 0.994, 0.997, 0.9991, 0.99996, 1].map(probability); }"
    )
    least, most = "<\u00a00.1%", ">\u00a099.9%"
    assert shares == [least, least, "1.2%", "50%", "99%", "99.7%", most, most, most]


@pytest.mark.parametrize("view", ["search", "compare"])
def test_what_is_nearly_certain_is_not_shown_as_certain(open_page: Open, boot: Path, view: str) -> None:
    page = open_page("#search" if view == "search" else "#compare?b=5")
    expect(page.locator("#collection")).to_contain_text("items")
    page.evaluate(SURE)
    page.set_input_files("#chosen", boot)
    if view == "search":
        expect(page.locator(".names b").first).to_have_text(">\u00a099.9%")
        expect(page.locator(".names b").last).to_have_text("<\u00a00.1%")
        fits = page.locator(".names b").evaluate_all("all => all.every((one) => one.scrollWidth <= one.clientWidth)")
        assert fits
    else:
        expect(page.locator(".verdict strong")).to_have_text(">\u00a099.9%")
        expect(page.locator(".is .soft").first).to_have_text(">\u00a099.9%")


def test_back_is_where_one_was(open_page: Open) -> None:
    """As far down, among as many matches; after a reload, too."""
    page = open_page("#search?like=3", size=(390, 700))
    answered(page)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".grid .card")).to_have_count(48)
    card = page.locator(".grid .card > button").nth(40)
    card.scroll_into_view_if_needed()
    down = page.evaluate("scrollY")
    assert down > 1000
    card.click()
    page.wait_for_url(lambda address: not address.endswith("#search?like=3"))
    answered(page)
    page.wait_for_function("scrollY === 0")
    page.go_back()
    expect(page.locator(".grid .card")).to_have_count(48)
    page.wait_for_function("down => Math.abs(scrollY - down) < 2", arg=down)
    page.wait_for_timeout(500)  # until where one is was noted
    page.reload()
    expect(page.locator(".grid .card")).to_have_count(48)
    page.wait_for_function("down => Math.abs(scrollY - down) < 2", arg=down)
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_text("Drop a picture on each side")).to_be_visible()
    page.go_back()
    page.wait_for_function("down => Math.abs(scrollY - down) < 2", arg=down)
    page.go_forward()
    expect(page.get_by_text("Drop a picture on each side")).to_be_visible()


def test_the_question_outlives_a_reload_of_a_comparison(open_page: Open) -> None:
    page = open_page("#search?like=3&unlike=5&min=0.20")
    answered(page)
    page.get_by_role("button", name="Compare with it").first.click()
    expect(page.locator(".verdict strong")).to_contain_text("%")
    page.reload()
    expect(page.locator(".verdict strong")).to_contain_text("%")
    sides = page.url.split("#compare?")[1].split("&like=")[0]
    page.get_by_role("link", name="Search").click()
    answered(page)
    expect(page.locator(".chip")).to_have_count(2)
    assert page.url.endswith(f"#search?like=3&unlike=5&min=0.20&{sides}")
    page.reload()
    answered(page)
    page.get_by_role("link", name="Compare").click()
    expect(page.locator(".verdict strong")).to_contain_text("%")


def test_the_link_to_the_content_keeps_the_question(open_page: Open) -> None:
    page = open_page("#search?like=3")
    answered(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    assert page.url.endswith("#search?like=3")


def test_a_picture_that_comes_before_the_page_is_ready_is_not_lost(open_page: Open, boot: Path) -> None:
    page = open_page("healthz")
    waiting: list[Route] = []
    page.route("**/api/catalogue", lambda route: waiting.append(route))
    page.goto(page.url.replace("healthz", ""))
    page.set_input_files("#chosen", boot)
    page.wait_for_timeout(300)
    waiting[0].continue_()
    expect(page.locator(".names li")).to_have_count(10)
