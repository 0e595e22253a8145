"""The page in headless Chromium, against a real server with the demo's catalogue of 70,000 and its map.

    VITRINE_DATA=... python benchmarks/page.py [--turns 5] [--scale 1] [--json]

Needs the development tools and Chromium. The catalogue and its map are made in VITRINE_HOME if they are missing. Each
turn is a browser that has kept nothing. Measured:

    first paint   ms until the first text is painted ("first contentful paint")
    own assets    bytes of HTML, CSS and scripts, as they are
    photo         ms from choosing a photo of 400x533 until class, bars and look-alikes are on the page
    map           ms from opening the map until all points are painted; bytes of its data
    frames        a second while it is panned, and while it is zoomed in and out, by requestAnimationFrame, with all
                  points in sight and with thumbnails
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from vitrine.datasets import drawn_garments

SIZE: ViewportSize = {"width": 1440, "height": 900}
Facts = dict[str, float]
FRAMES = """async ([what, count]) => {
    const canvas = document.querySelector('canvas');
    const {left, top, width, height} = canvas.getBoundingClientRect();
    const at = (x, y) => ({clientX: left + x, clientY: top + y, pointerId: 1, bubbles: true, cancelable: true});
    const wheel = (delta) => canvas.dispatchEvent(
        new WheelEvent('wheel', {...at(width / 2, height / 2), deltaY: delta}));
    const move = (type, x) => canvas.dispatchEvent(new PointerEvent(type, at(x, height / 2)));
    canvas.setPointerCapture = () => {};
    const times = [];
    let last = performance.now();
    if (what === 'pan') move('pointerdown', width / 2);
    for (let frame = 0; frame < count; frame++) {
        if (what === 'pan') move('pointermove', width / 2 + 60 * Math.sin(frame / 8));
        else wheel(frame % 60 < 30 ? -25 : 25);
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - last);
        last = now;
    }
    if (what === 'pan') move('pointerup', width / 2);
    times.sort((a, b) => a - b);
    const total = times.reduce((sum, time) => sum + time, 0);
    return [1000 * count / total, times[Math.floor(0.95 * count)]];
}"""


@contextmanager
def server() -> Iterator[str]:
    """`vitrine serve`; its address."""
    command = [sys.executable, "-c", "import vitrine.cli; vitrine.cli.main()", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("http://"):
                break
        else:
            sys.exit(f"vitrine serve ended with {process.wait()}")
        try:
            yield line.split()[0]
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        sys.exit("There is no Chromium; install it, for example with `apt-get install chromium`.")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


def photo(folder: Path) -> Path:
    """A boot on white, 400x533."""
    shot = Image.new("RGB", (400, 533), "white")
    shot.paste(Image.fromarray(255 - drawn_garments.draw(9, 3, size=300)[..., 0]).convert("RGB"), (50, 100))
    shot.save(folder / "boot.jpg", quality=90)
    return folder / "boot.jpg"


def until_map(page: Page, address: str) -> None:
    """Wait until there is a map."""
    while page.request.get(f"{address}api/map", timeout=120_000).status == 202:
        time.sleep(2)


def opened(page: Page, address: str) -> Facts:
    page.goto(address)
    page.wait_for_selector(".grid .card img")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    paint, assets = page.evaluate(
        """() => [
            performance.getEntriesByName('first-contentful-paint')[0].startTime,
            [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
                .filter((one) => !one.name.includes('/api/'))
                .reduce((sum, one) => sum + one.decodedBodySize, 0),
        ]"""
    )
    return {"first_paint_ms": paint, "own_assets_bytes": assets}


def answered(page: Page, file: Path) -> Facts:
    start = time.perf_counter()
    page.set_input_files("#chosen", file)
    page.wait_for_selector(".names li")
    page.wait_for_selector(".grid .said")
    return {"photo_ms": 1000 * (time.perf_counter() - start)}


def mapped(page: Page, address: str) -> Facts:
    page.goto("about:blank")
    start = time.perf_counter()
    page.goto(f"{address}#map")
    page.wait_for_selector(".legend li")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    facts = {"map_ms": 1000 * (time.perf_counter() - start)}
    facts["map_bytes"] = page.evaluate(
        "performance.getEntriesByType('resource').find((one) => one.name.endsWith('/api/map')).decodedBodySize"
    )
    for what in ("pan", "zoom"):
        facts[f"{what}_frames_per_s"], facts[f"{what}_slow_frame_ms"] = page.evaluate(FRAMES, [what, 150])
    return facts


def near(page: Page, file: Path) -> Facts:
    """Where a photo falls, with thumbnails."""
    with page.expect_response("**/api/map/place") as placed:
        page.set_input_files("#chosen", file)
    placed.value.finished()
    page.wait_for_timeout(4000)  # it flies there, and pictures come
    frames, slow = page.evaluate(FRAMES, ["pan", 150])
    return {"thumbnails_frames_per_s": frames, "thumbnails_slow_frame_ms": slow}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="lines of JSON, for results/page.jsonl")
    parser.add_argument("--scale", type=float, default=1, help="pixels of the screen to one of the page; default: 1")
    options = parser.parse_args()
    turns: list[Facts] = []
    with tempfile.TemporaryDirectory() as folder, server() as address, browser() as running:
        file = photo(Path(folder))
        version = running.version
        for _ in range(options.turns):
            page = running.new_page(viewport=SIZE, device_scale_factor=options.scale)
            until_map(page, address)
            turns.append({**opened(page, address), **answered(page, file), **mapped(page, address), **near(page, file)})
            page.close()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    facts: dict[str, Any] = {"chromium": version, "machine": machine, "turns": options.turns, "scale": options.scale}
    print(json.dumps(facts) if options.json else ", ".join(f"{key} {value}" for key, value in facts.items()))
    for key in turns[0]:
        values = [turn[key] for turn in turns]
        line: dict[str, Any] = {"what": key}
        for name, of in (("median", statistics.median), ("least", min), ("most", max)):
            line[name] = round(float(of(values)), 1)
        text = f"{key:28s} {line['median']:12,.1f} ({line['least']:,.1f} to {line['most']:,.1f})"
        print(json.dumps(line) if options.json else text)


if __name__ == "__main__":
    main()
