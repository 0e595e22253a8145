"""Pictures that show no clothing, drawn by code: noise, pages of text, digits, landscapes, textures.

    python benchmarks/no_clothing.py SHEET.png

The command draws a sheet of some of each kind, to look at.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

EACH = 40
SIZES = ((400, 533), (533, 400), (480, 480), (300, 400))
"""Width and height: those of the clothing photos, and others."""

Colour = tuple[int, int, int]
Generator = np.random.Generator

TEXT = """the of and to in is that it was for on are as with his they at be this from have or by one had not but what
all were when we there can an your which their said if do will each about how up out them then she many some so these
would other into has more her two like him see time could no make than first been its who now people my made over did
down only way find use may water long little very after words called just where most know"""


def pictures(each: int = EACH, seed: int = 0) -> dict[str, list[Image.Image]]:
    """Kind -> so many RGB pictures of it."""
    return {
        name: [draw(np.random.default_rng([seed, number, i])) for i in range(each)]
        for number, (name, draw) in enumerate(KINDS.items())
    }


def _size(random: Generator) -> tuple[int, int]:
    return SIZES[int(random.integers(len(SIZES)))]


def _colour(random: Generator, low: int = 0, high: int = 256) -> Colour:
    red, green, blue = (int(value) for value in random.integers(low, high, 3))
    return red, green, blue


def _noise(random: Generator) -> Image.Image:
    """White, coarse or soft, grey or coloured, even or about one colour; or salt and pepper."""
    width, height = _size(random)
    grain = int(random.choice([1, 1, 4, 16, 64]))
    channels = int(random.choice([1, 3]))
    shape = (-(-height // grain), -(-width // grain), channels)
    kind = random.choice(["even", "normal", "salt"])
    if kind == "even":
        values = random.integers(0, 256, shape).astype(np.float64)
    elif kind == "normal":
        values = random.normal(_colour(random)[:channels], random.uniform(10, 70), shape)
    else:
        values = np.where(random.random(shape) < random.uniform(0.02, 0.5), 255.0 * random.integers(0, 2, shape), 128)
    pixels = np.clip(np.broadcast_to(values, (*shape[:2], 3)), 0, 255).astype(np.uint8)
    how = Image.Resampling.NEAREST if random.random() < 0.5 else Image.Resampling.BICUBIC
    return Image.fromarray(pixels).resize((width, height), how)


def _page(random: Generator) -> Image.Image:
    """Lines of words, in one or two columns, perhaps a title and a picture's frame; sometimes light on dark."""
    width, height = _size(random)
    dark = random.random() < 0.2
    paper, ink = (
        (_colour(random, 0, 60), _colour(random, 200)) if dark else (_colour(random, 225), _colour(random, 0, 80))
    )
    page = Image.new("RGB", (width, height), paper)
    pen, size = ImageDraw.Draw(page), int(random.integers(9, 26))
    font, columns = ImageFont.load_default(size), int(random.integers(1, 3))
    margin = int(random.integers(10, 45))
    top = margin
    if random.random() < 0.5:
        pen.text(
            (margin, margin), " ".join(random.choice(TEXT.split(), 3)).title(), ink, ImageFont.load_default(2 * size)
        )
        top += 3 * size
    wide = (width - margin * (columns + 1)) // columns
    for column in range(columns):
        left = margin + column * (wide + margin)
        for y in range(top, height - margin - size, int(size * 1.4)):
            if random.random() > 0.06:  # else between paragraphs
                pen.text((left, y), _line(random, font, wide), ink, font)
    if random.random() < 0.3:
        x, y = int(random.integers(width // 2)), int(random.integers(height // 2))
        pen.rectangle((x, y, x + width // 3, y + height // 4), _colour(random), ink, 2)
    return page.rotate(float(random.normal(0, 2)), Image.Resampling.BICUBIC, fillcolor=paper)


def _line(random: Generator, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, wide: int) -> str:
    """As many words as fit."""
    line = ""
    while font.getlength(longer := f"{line} {random.choice(TEXT.split())}".strip()) < wide:
        line = longer
    return line


STROKES: dict[int, list[list[tuple[float, float]]]] = {
    0: [[(0.5, 0), (0.1, 0.3), (0.1, 0.7), (0.5, 1), (0.9, 0.7), (0.9, 0.3), (0.5, 0)]],
    1: [[(0.3, 0.2), (0.55, 0), (0.55, 1)]],
    2: [[(0.1, 0.2), (0.5, 0), (0.9, 0.25), (0.6, 0.6), (0.1, 1), (0.9, 1)]],
    3: [[(0.1, 0.1), (0.6, 0), (0.85, 0.25), (0.45, 0.48), (0.9, 0.75), (0.5, 1), (0.1, 0.9)]],
    4: [[(0.7, 1), (0.7, 0), (0.1, 0.65), (0.95, 0.65)]],
    5: [[(0.85, 0), (0.2, 0), (0.15, 0.45), (0.6, 0.4), (0.9, 0.7), (0.55, 1), (0.1, 0.9)]],
    6: [[(0.75, 0), (0.25, 0.4), (0.1, 0.75), (0.5, 1), (0.85, 0.75), (0.5, 0.5), (0.15, 0.7)]],
    7: [[(0.1, 0), (0.9, 0), (0.4, 1)]],
    8: [
        [
            (0.5, 0.47),
            (0.15, 0.25),
            (0.5, 0),
            (0.85, 0.25),
            (0.5, 0.47),
            (0.1, 0.75),
            (0.5, 1),
            (0.9, 0.75),
            (0.5, 0.47),
        ]
    ],
    9: [[(0.85, 0.3), (0.5, 0), (0.15, 0.3), (0.5, 0.5), (0.85, 0.3), (0.7, 1)]],
}


def _digit(random: Generator) -> Image.Image:
    """One to three digits of trembling strokes, light on black as in MNIST, or any colour on any paper."""
    width, height = _size(random)
    ground, ink = ((0, 0, 0), (255, 255, 255)) if random.random() < 0.4 else (_colour(random), _colour(random))
    picture = Image.new("RGB", (width, height), ground)
    pen, count = ImageDraw.Draw(picture), int(random.integers(1, 4))
    wide, high = 0.8 * width / count * random.uniform(0.6, 0.95), height * random.uniform(0.4, 0.8)
    thick = max(4, int(min(wide, high) * random.uniform(0.06, 0.18)))
    for place in range(count):
        left, top = width * (0.1 + 0.8 * place / count), (height - high) * random.uniform(0.2, 0.8)
        for stroke in STROKES[int(random.integers(10))]:
            shaken = np.array(stroke) + random.normal(0, 0.03, (len(stroke), 2))
            points = [(left + x * wide, top + y * high) for x, y in shaken.tolist()]
            pen.line(points, ink, thick, joint="curve")
            for x, y in points:
                pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), ink)
    turned = picture.rotate(float(random.normal(0, 8)), Image.Resampling.BICUBIC, fillcolor=ground)
    return turned.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 2))))


def _landscape(random: Generator) -> Image.Image:
    """A sky that pales towards the horizon, perhaps a sun, three to five ridges of hills, each nearer and darker."""
    width, height = _size(random)
    high, low = np.array(_colour(random, 30, 200)), np.array(_colour(random, 150))
    down = np.linspace(0, 1, height)[:, None, None]
    picture = Image.fromarray(np.broadcast_to((1 - down) * high + down * low, (height, width, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    if random.random() < 0.5:
        x, y, r = random.uniform(0, width), random.uniform(0, height / 2), random.uniform(12, 50)
        pen.ellipse((x - r, y - r, x + r, y + r), _colour(random, 200))
    ridges = int(random.integers(3, 6))
    tint = np.array(_colour(random, 20, 160))
    for ridge in range(ridges):
        line = _ridge(random, width) * height * 0.12 + height * (0.4 + 0.5 * ridge / ridges)
        near = (ridge + 1) / ridges
        red, green, blue = (int(value) for value in (1 - near) * low * 0.8 + near * tint)
        pen.polygon([(0, height), *enumerate(line.tolist()), (width, height)], (red, green, blue))
    grain = random.normal(0, random.uniform(2, 12), (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def _ridge(random: Generator, width: int) -> npt.NDArray[np.float64]:
    """(width,): a sum of waves, finer ones lower."""
    x = np.linspace(0, 2 * np.pi, width)
    waves = [np.sin(f * x * random.uniform(0.7, 1.3) + random.uniform(0, 7)) / f for f in (1, 2, 4, 8, 16, 32)]
    total: npt.NDArray[np.float64] = np.sum(waves, axis=0)
    return total


def _texture(random: Generator) -> Image.Image:
    """Checks, stripes, dots or tiles, turned by any angle, over the whole picture."""
    width, height = _size(random)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    angle, period = random.uniform(0, np.pi), random.uniform(8, 90)
    u = (x * np.cos(angle) + y * np.sin(angle)) / period
    v = (y * np.cos(angle) - x * np.sin(angle)) / period
    kind = random.choice(["checks", "stripes", "dots", "tiles"])
    if kind == "checks":
        on = ((np.floor(u) + np.floor(v)) % 2).astype(np.bool_)
    elif kind == "stripes":
        on = u % 1 < random.uniform(0.2, 0.8)
    elif kind == "dots":
        on = (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < random.uniform(0.03, 0.2)
    else:
        on = (u % 1 < 0.08) | ((v + 0.5 * np.floor(u)) % 1 < 0.08)
    pixels = np.where(on[..., None], _colour(random), _colour(random)) + random.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


KINDS: dict[str, Callable[[Generator], Image.Image]] = {
    "noise": _noise,
    "text": _page,
    "digits": _digit,
    "landscapes": _landscape,
    "textures": _texture,
}


def sheet(each: int = 10, side: int = 150) -> Image.Image:
    """Some of each kind, a row a kind."""
    whole = Image.new("RGB", (each * side, len(KINDS) * side), "white")
    for row, drawn in enumerate(pictures(each).values()):
        for column, picture in enumerate(drawn):
            picture.thumbnail((side - 6, side - 6))
            whole.paste(picture, (column * side, row * side))
    return whole


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sheet().save(Path(sys.argv[1]))
