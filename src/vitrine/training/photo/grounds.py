"""Pictures by code that show no garment: what garments are laid on, and what the net learns to know nothing of."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pixels = npt.NDArray[np.uint8]


def grounds(n: int, size: int, seed: int) -> Pixels:
    """(n, size, size, 3) uint8: clouds, gradients, stripes, checks, noise, text, digits, hills and shapes in turn."""
    generator = np.random.default_rng(seed)
    kinds = (_clouds, _gradient, _stripes, _noise, _text, _digits, _hills, _shapes)
    return np.stack([kinds[i % len(kinds)](size, generator) for i in range(n)])


def _colour(generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """(3,) 0 to 255; half of them hardly coloured, as most things are."""
    grey = generator.uniform(0, 255)
    spread = generator.uniform(0, 1) ** 2 * 120
    return np.clip(grey + generator.normal(0, 1, 3) * spread, 0, 255)


def _between(weights: npt.NDArray[np.float64], generator: np.random.Generator) -> Pixels:
    """Weights (size, size) from 0 to 1 as a way from one colour to another."""
    one, other = _colour(generator), _colour(generator)
    return np.clip(one + (other - one) * weights[..., None], 0, 255).astype(np.uint8)


def _smooth(size: int, cells: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    coarse = Image.fromarray(generator.uniform(0, 255, (cells, cells)).astype(np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float64) / 255


def _clouds(size: int, generator: np.random.Generator) -> Pixels:
    weights = sum(_smooth(size, 2**k, generator) / 2**k for k in range(1, 1 + int(generator.integers(1, 6))))
    return _between(np.asarray(weights), generator)


def _gradient(size: int, generator: np.random.Generator) -> Pixels:
    angle = generator.uniform(0, 2 * math.pi)
    down, right = np.mgrid[0:size, 0:size] / size - 0.5
    plain = _between(np.clip(down * math.sin(angle) + right * math.cos(angle) + 0.5, 0, 1), generator)
    noise = generator.normal(0, generator.uniform(0, 8), plain.shape)
    return np.clip(plain + noise, 0, 255).astype(np.uint8)


def _stripes(size: int, generator: np.random.Generator) -> Pixels:
    angle, period = generator.uniform(0, math.pi), generator.uniform(3, size / 2)
    down, right = np.mgrid[0:size, 0:size]
    wave = np.sin((down * math.sin(angle) + right * math.cos(angle)) * 2 * math.pi / period)
    if generator.random() < 0.5:  # checks, planks
        wave = wave * np.sin((down * math.cos(angle) - right * math.sin(angle)) * 2 * math.pi / period)
    sharp = np.clip(wave * generator.uniform(0.5, 10), -1, 1) / 2 + 0.5
    return _between(np.clip(sharp + 0.2 * (_smooth(size, 8, generator) - 0.5), 0, 1), generator)


def _noise(size: int, generator: np.random.Generator) -> Pixels:
    cell = int(generator.choice([1, 1, 2, 4, 8]))
    cells = -(-size // cell)
    values = generator.normal(_colour(generator), generator.uniform(5, 90), (cells, cells, 3))
    if generator.random() < 0.5:
        values[:] = values.mean(axis=2, keepdims=True)
    clipped = np.clip(values, 0, 255).astype(np.uint8)
    return clipped.repeat(cell, axis=0).repeat(cell, axis=1)[:size, :size]


def _canvas(size: int, generator: np.random.Generator) -> tuple[Image.Image, tuple[int, ...]]:
    """A plain picture and a colour that shows on it."""
    ground = _colour(generator)
    ink = 255 - ground if generator.random() < 0.7 else _colour(generator)
    return Image.new("RGB", (size, size), tuple(int(v) for v in ground)), tuple(int(v) for v in ink)


def _text(size: int, generator: np.random.Generator) -> Pixels:
    image, ink = _canvas(size, generator)
    draw = ImageDraw.Draw(image)
    height = int(generator.integers(6, 20))
    font = ImageFont.load_default(height)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    ,.AEIMRST"))
    for top in range(int(generator.integers(0, 10)), size, int(height * 1.4)):
        line = "".join(generator.choice(letters, size // 3))
        draw.text((int(generator.integers(-5, 12)), top), line, ink, font)
    return np.asarray(image.rotate(generator.normal(0, 6), Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0))))


def _digits(size: int, generator: np.random.Generator) -> Pixels:
    image, ink = _canvas(size, generator)
    draw = ImageDraw.Draw(image)
    for _ in range(int(generator.integers(1, 4))):
        font = ImageFont.load_default(int(generator.uniform(0.4, 1.0) * size))
        place = generator.uniform(-0.1, 0.5, 2) * size
        draw.text((float(place[0]), float(place[1])), str(generator.integers(0, 100)), ink, font)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 2)))))


def _hills(size: int, generator: np.random.Generator) -> Pixels:
    image = Image.fromarray(_gradient(size, generator))
    draw = ImageDraw.Draw(image)
    right = np.arange(0, size + 4, 4)
    for level in np.sort(generator.uniform(0.3, 0.95, int(generator.integers(1, 5)))):
        waves = sum(generator.normal(0, 0.06) * np.sin(right / size * f + generator.uniform(0, 6)) for f in (3, 7, 17))
        ridge = [(float(x), float((level + y) * size)) for x, y in zip(right, np.asarray(waves), strict=True)]
        draw.polygon([(0, size), *ridge, (size, size)], tuple(int(v) for v in _colour(generator)))
    grain = generator.normal(0, generator.uniform(0, 10), (size, size, 1))
    return np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)


def _shapes(size: int, generator: np.random.Generator) -> Pixels:
    image = Image.fromarray(_clouds(size, generator) if generator.random() < 0.5 else _gradient(size, generator))
    draw = ImageDraw.Draw(image)
    for _ in range(int(generator.integers(1, 8))):
        ends = np.sort(generator.uniform(0, size, (2, 2)), axis=0).ravel().tolist()
        colour = tuple(int(v) for v in _colour(generator))
        kind = int(generator.integers(0, 3))
        if kind == 2:
            draw.polygon([(float(x), float(y)) for x, y in generator.uniform(0, size, (3, 2))], colour)
        elif kind:
            draw.ellipse(ends, colour)
        else:
            draw.rectangle(ends, colour)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 1.5)))))
