"""What the tests of the map in a browser share: to wait for it, to look at its canvas, and to draw on it."""

import base64
import io
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

CORNERS = [(0.01, 0.2), (0.01, 0.99), (0.99, 0.99), (0.99, 0.6), (0.7, 0.6), (0.5, 0.2), (0.01, 0.2)]
ACCENT = (0x1D, 0x5C, 0x55)
SEEN = """async () => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    return document.querySelector('canvas').toDataURL('image/png').split(',')[1];
}"""
POINTERS = """(steps) => {
    const canvas = document.querySelector('canvas');
    const {left, top} = canvas.getBoundingClientRect();
    canvas.setPointerCapture = () => {};
    for (const [kind, pointerId, x, y] of steps) canvas.dispatchEvent(new PointerEvent(
        `pointer${kind}`, {pointerId, clientX: left + x, clientY: top + y, bubbles: true, cancelable: true}));
}"""
Pixels = npt.NDArray[np.uint8]


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


def pixels(page: Page) -> Pixels:
    """What is on the canvas: (height, width, 3)."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(page.evaluate(SEEN)))).convert("RGB"))


def corner(page: Page, colour: Sequence[int]) -> None:
    """Wait until the canvas has that colour in its corner."""
    for _ in range(100):
        if tuple(pixels(page)[0, 0]) == tuple(colour):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"its corner never is {colour}")


def settled(page: Page) -> Pixels:
    """As `pixels`, once all pictures have come."""
    seen = pixels(page)
    for _ in range(40):
        page.wait_for_timeout(400)
        before, seen = seen, pixels(page)
        if (seen == before).all():
            return seen
    pytest.fail("it never comes to rest")


def box(seen: Pixels, colour: Sequence[int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what has that colour."""
    ys, xs = np.nonzero((np.abs(seen.astype(int) - colour) <= 3).all(axis=2))  # lines are blended with the ground
    assert len(xs), "nothing has that colour"
    return int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())


def draw(page: Page, corners: Sequence[tuple[float, float]] = CORNERS) -> int:
    """Draw a line with the lasso, by shares of the canvas's sides; how many it selects."""
    lasso = page.get_by_role("button", name="Lasso")
    if lasso.get_attribute("aria-pressed") == "false":
        lasso.click()
    canvas = page.locator("canvas").bounding_box()
    assert canvas is not None
    for number, (x, y) in enumerate(corners):
        page.mouse.move(canvas["x"] + x * canvas["width"], canvas["y"] + y * canvas["height"], steps=2)
        if not number:
            page.mouse.down()
    page.mouse.up()
    said = page.locator(".picked h2")
    expect(said).to_contain_text("selected")
    return int(str(said.text_content()).split()[0])


def counted(page: Page) -> int:
    """The items of the legend."""
    return sum(int(count.replace(",", "")) for count in page.locator(".legend b").all_text_contents())


def first_colour(page: Page) -> list[int]:
    """Of the first line of the legend."""
    dot = page.locator(".legend i").first
    found: list[int] = dot.evaluate("dot => getComputedStyle(dot).backgroundColor.match(/\\d+/g).map(Number)")
    return found


def binary(
    points: npt.NDArray[np.float32],
    labels: list[Any],
    which: Sequence[int],
    sure: tuple[Sequence[int], Sequence[int]] | None = None,
    others: tuple[Sequence[str], Sequence[int]] = ((), ()),
) -> bytes:
    """A map as the server sends it, of items 1 to n. sure: how many neighbours of each agree, and of how many. others:
    the names of the classes that share a colour, and which of them each of their items has.
    """
    n = len(points)
    facts = {"count": n, "labels": labels, "neighbours": sure and 15, "other_labels": others[0]}
    text = json.dumps({**facts, "trustworthiness": 1, "generation": 1, "current": True})
    front = struct.pack("<I", len(text)) + text.encode() + bytes(-len(text) % 4)
    ids = np.arange(1, n + 1, dtype="<u4")
    classes = np.array(which, "<u2").tobytes()
    near = b"" if sure is None else bytes(sure[0]) + bytes(sure[1])
    rest = np.array(others[1], "<u2").tobytes()
    return front + points.astype("<f4").tobytes() + ids.tobytes() + bytes(4 * n) + classes + near + rest


def lattice(side: int) -> npt.NDArray[np.float32]:
    """Side x side points, 1 apart, row by row from the top."""
    return np.stack(np.meshgrid(np.arange(side), -np.arange(side)), axis=-1).reshape(-1, 2).astype(np.float32)


def made(page: Page, content: bytes, hash: str = "#map") -> None:
    """Show that map in place of the server's."""
    page.route(
        "**/api/map",
        lambda route: route.fulfill(body=content, content_type="application/octet-stream", headers={"ETag": '"1-1"'}),
    )
    page.evaluate("hash => { location.hash = hash; }", hash)
    open_map(page)
