"""Garments drawn by vitrine itself, in the ten classes of Fashion-MNIST, with seeded variety: cut, sleeve, texture,
shade.

They stand in where no real data can be had, and serve the tests. Each drawing is made of polygons on a canvas whose
sides are 0 to 1 (x to the right, y down) at four times the wanted size, then shrunk. The drawings are frozen: tests
hold their checksum, because what a model makes of them means something only as long as they were not changed to please
it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from vitrine.datasets import Dataset, Splits
from vitrine.datasets.fashion_mnist import CLASS_NAMES

Points = list[tuple[float, float]]

_OVERSAMPLING = 4


class _Canvas:
    """A grey picture, 0 = ground, and the random choices for one garment."""

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.side = size * _OVERSAMPLING
        self.random = random
        self.image = Image.new("L", (self.side, self.side))
        self.pen = ImageDraw.Draw(self.image)

    def between(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def shape(self, points: Points, shade: float) -> None:
        """A filled polygon. shade: 0 to 1."""
        self.pen.polygon([(x * self.side, y * self.side) for x, y in points], fill=_grey(shade))

    def symmetric(self, right: Points, shade: float) -> None:
        """A polygon that is its own mirror image about x = 0.5; `right` is its right half from top to bottom."""
        self.shape(right + [(1 - x, y) for x, y in reversed(right)], shade)

    def pair(self, points: Points, shade: float) -> None:
        """A polygon and its mirror image."""
        self.shape(points, shade)
        self.shape([(1 - x, y) for x, y in points], shade)

    def line(self, points: Points, shade: float, width: float) -> None:
        self.pen.line(
            [(x * self.side, y * self.side) for x, y in points],
            fill=_grey(shade),
            width=max(1, round(width * self.side)),
            joint="curve",
        )

    def dot(self, x: float, y: float, radius: float, shade: float) -> None:
        self.pen.ellipse(
            [(x - radius) * self.side, (y - radius) * self.side, (x + radius) * self.side, (y + radius) * self.side],
            fill=_grey(shade),
        )


def draw(label: int, seed: int, size: int = 28) -> npt.NDArray[np.uint8]:
    """One garment of class `label` (0 to 9, the order of Fashion-MNIST): (size, size, 1) uint8 on a black ground."""
    canvas = _Canvas(size, np.random.default_rng([label, seed]))
    shade = canvas.between(0.45, 0.95)
    _GARMENTS[label](canvas, shade)
    cloth = _textured(canvas, printed=label in (0, 2, 3, 6))
    small = cloth.filter(ImageFilter.GaussianBlur(_OVERSAMPLING * 0.35)).resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.uint8)[..., None]


def load(seed: int = 0, train: int = 3_000, test: int = 1_000) -> Splits:
    """Drawn training and test parts, the ten classes in turn; no drawing is in both."""
    return Splits(train=_dataset("train", seed, train), test=_dataset("test", seed + 500_000, test))


def _dataset(part: str, seed: int, count: int) -> Dataset:
    labels = np.arange(count) % 10  # (n,)
    images = np.stack(
        [draw(int(label), seed * 1_000_003 + index) for index, label in enumerate(labels)]
    )  # (n, 28, 28, 1)
    sources = tuple(f"drawn/{part}/{index:05d}" for index in range(count))
    return Dataset(images, labels.astype(np.int64), CLASS_NAMES, sources, name="drawn")


def _grey(shade: float) -> int:
    return int(np.clip(shade, 0, 1) * 255)


def _textured(canvas: _Canvas, printed: bool) -> Image.Image:
    """Stripes, checks or a print where the cloth is, soft folds, and a grain."""
    cloth = np.asarray(canvas.image, np.float32)  # (side, side)
    y, x = np.mgrid[0 : canvas.side, 0 : canvas.side] / canvas.side
    kind = (
        canvas.random.choice(["plain", "stripes", "checks", "chest"], p=[0.6, 0.18, 0.07, 0.15]) if printed else "plain"
    )
    frequency, depth = canvas.between(6, 13), canvas.between(0.12, 0.4)
    bands = (np.sin(2 * np.pi * frequency * y) > 0).astype(np.float32)
    if kind == "stripes":
        cloth = cloth * (1 - depth * bands)
    elif kind == "checks":
        cloth = cloth * (1 - depth / 2 * (bands + (np.sin(2 * np.pi * frequency * x) > 0)))
    elif kind == "chest":
        inside = (abs(x - 0.5) < canvas.between(0.07, 0.14)) & (abs(y - 0.42) < canvas.between(0.05, 0.12))
        cloth = np.where(inside & (cloth > 0), cloth * canvas.between(0.35, 0.75), cloth)
    folds = 1 - canvas.between(0, 0.1) * (
        1 + np.sin(2 * np.pi * (canvas.between(1, 3) * x + canvas.between(-0.6, 0.6) * y) + canvas.between(0, 6))
    )
    edge_light = 1 - canvas.between(0.1, 0.35) * np.abs(x - 0.5)
    grain = 1 + 0.04 * np.repeat(
        np.repeat(canvas.random.standard_normal((canvas.side // _OVERSAMPLING,) * 2), _OVERSAMPLING, 0),
        _OVERSAMPLING,
        1,
    )
    return Image.fromarray(np.clip(cloth * folds * edge_light * grain, 0, 255).astype(np.uint8))


def _torso(canvas: _Canvas, shade: float, hem: float, width: float) -> tuple[float, float]:
    """Shoulders, sides and neck; returns where the sleeve starts and the half width of the shoulders."""
    shoulder, top = canvas.between(0.2, 0.25), canvas.between(0.02, 0.05)
    neck = canvas.between(0.08, 0.12)
    depth = canvas.between(0.04, 0.12)
    canvas.symmetric(
        [
            (0.5, top + depth),
            (0.5 + neck * 0.7, top + depth * 0.7),
            (0.5 + neck, top),
            (0.5 + shoulder, top + 0.07),
            (0.5 + width, 0.35),
            (0.5 + width * canvas.between(0.95, 1.08), hem),
            (0.5, hem + canvas.between(0, 0.02)),
        ],
        shade,
    )
    return top, shoulder


def _long_sleeves(canvas: _Canvas, shade: float, top: float, shoulder: float, cuff_y: float) -> None:
    """Sleeves that hang down beside the body, with a dark gap towards it."""
    outer = canvas.between(0.38, 0.44)
    width = canvas.between(0.09, 0.12)
    canvas.pair(
        [
            (0.5 + shoulder - 0.02, top + 0.06),
            (0.5 + shoulder + 0.06, top + 0.12),
            (0.5 + outer, cuff_y - 0.02),
            (0.5 + outer - width, cuff_y),
            (0.5 + shoulder - 0.03, top + 0.3),
        ],
        shade * canvas.between(0.85, 1.0),
    )


def _gap(canvas: _Canvas, top: float, body: float, cuff_y: float) -> None:
    """The shadow between body and sleeve."""
    canvas.pair(
        [(0.5 + body - 0.02, top + 0.26), (0.5 + body + 0.025, cuff_y + 0.02), (0.5 + body - 0.02, cuff_y + 0.02)],
        canvas.between(0, 0.25),
    )


def _t_shirt(canvas: _Canvas, shade: float) -> None:
    top, shoulder = _torso(canvas, shade, canvas.between(0.95, 0.98), canvas.between(0.24, 0.29))
    reach, low = canvas.between(0.4, 0.48), canvas.between(0.26, 0.36)
    canvas.pair(
        [
            (0.5 + shoulder - 0.04, top + 0.04),
            (0.5 + shoulder + 0.03, top + 0.07),
            (0.5 + reach, low - 0.05),
            (0.5 + reach - 0.1, low + 0.03),
            (0.5 + shoulder - 0.02, top + 0.24),
        ],
        shade * canvas.between(0.88, 1.0),
    )


def _trouser(canvas: _Canvas, shade: float) -> None:
    waist, hip, hem = canvas.between(0.13, 0.17), canvas.between(0.17, 0.21), canvas.between(0.07, 0.12)
    foot = canvas.between(0.12, 0.2)
    crotch = canvas.between(0.25, 0.33)
    canvas.pair(
        [
            (0.5, 0.02),
            (0.5 + waist, 0.02),
            (0.5 + hip, 0.24),
            (0.5 + foot, 0.98),
            (0.5 + foot - hem, 0.98),
            (0.5 + 0.008, crotch),
            (0.5, crotch),
        ],
        shade,
    )
    canvas.line([(0.5 - waist, 0.07), (0.5 + waist, 0.07)], shade * 0.75, 0.012)


def _pullover(canvas: _Canvas, shade: float) -> None:
    body, hem, cuff = canvas.between(0.25, 0.29), canvas.between(0.9, 0.96), canvas.between(0.8, 0.95)
    top, shoulder = _torso(canvas, shade, hem, body)
    _long_sleeves(canvas, shade, top, shoulder, cuff)
    _gap(canvas, top, body, cuff)
    canvas.line([(0.5 - body, hem - 0.05), (0.5 + body, hem - 0.05)], shade * 0.8, 0.014)
    if canvas.chance(0.3):  # a hood or a high neck
        canvas.symmetric([(0.5, 0.01), (0.58, 0.02), (0.61, 0.09), (0.5, 0.14)], shade * 0.7)


def _dress(canvas: _Canvas, shade: float) -> None:
    strap, chest, waist, hem = (
        canvas.between(0.07, 0.12),
        canvas.between(0.12, 0.16),
        canvas.between(0.09, 0.14),
        canvas.between(0.16, 0.27),
    )
    waist_y = canvas.between(0.33, 0.43)
    canvas.symmetric(
        [
            (0.5, canvas.between(0.08, 0.16)),
            (0.5 + strap - 0.035, 0.02),
            (0.5 + strap, 0.02),
            (0.5 + chest, 0.17),
            (0.5 + waist, waist_y),
            (0.5 + (waist + hem) / 2 + 0.02, 0.68),
            (0.5 + hem, 0.97),
            (0.5, 0.985),
        ],
        shade,
    )
    if canvas.chance(0.4):
        low = canvas.between(0.22, 0.6)
        canvas.pair(
            [
                (0.5 + strap - 0.01, 0.03),
                (0.5 + chest + 0.04, 0.1),
                (0.5 + chest + canvas.between(0.08, 0.12), low),
                (0.5 + chest + 0.03, low + 0.02),
                (0.5 + chest - 0.02, 0.2),
            ],
            shade * 0.92,
        )
    if canvas.chance(0.35):
        canvas.line([(0.5 - waist, waist_y), (0.5 + waist, waist_y)], shade * canvas.between(0.4, 0.7), 0.025)


def _coat(canvas: _Canvas, shade: float) -> None:
    body, hem, cuff = canvas.between(0.25, 0.29), canvas.between(0.96, 0.98), canvas.between(0.78, 0.92)
    top, shoulder = _torso(canvas, shade, hem, body)
    _long_sleeves(canvas, shade, top, shoulder, cuff)
    _gap(canvas, top, body, cuff)
    canvas.line(
        [(0.5, top + 0.1), (0.5 + canvas.between(-0.02, 0.02), hem)], shade * canvas.between(0.25, 0.5), 0.014
    )  # the front opening
    lapel = canvas.between(0.24, 0.36)
    canvas.pair(
        [(0.5 + 0.1, top), (0.5 + 0.15, top + 0.12), (0.5 + 0.01, lapel), (0.5 + 0.03, top + 0.1)],
        shade * canvas.between(0.6, 0.8),
    )
    if canvas.chance(0.6):
        canvas.pair([(0.58, 0.64), (0.7, 0.62), (0.7, 0.645), (0.58, 0.665)], shade * 0.6)  # pockets


def _sandal(canvas: _Canvas, shade: float) -> None:
    heel = canvas.between(0.0, 0.2)
    floor, arch = 0.74, 0.74 - heel
    thick = canvas.between(0.03, 0.07)
    canvas.shape(
        [
            (0.03, floor - thick - 0.01),
            (0.3, floor - thick - 0.01),
            (0.6, arch - thick),
            (0.96, arch - thick - 0.05),
            (0.97, arch),
            (0.62, arch + 0.02),
            (0.33, floor),
            (0.04, floor),
        ],
        shade,
    )
    if heel > 0.06:
        canvas.shape(
            [(0.86, arch - 0.03), (0.97, arch - 0.03), (0.96, floor + 0.01), (0.9 - heel * 0.2, floor + 0.01)],
            shade * 0.9,
        )
    wide = canvas.between(0.025, 0.05)
    lift = canvas.between(0.14, 0.2)
    canvas.line(
        [
            (0.12, floor - thick),
            (0.22, floor - thick - lift),
            (0.34, floor - thick - lift * 0.8),
            (0.4, floor - thick - 0.02),
        ],
        shade * 0.9,
        wide,
    )
    if canvas.chance(0.6):
        canvas.line(
            [(0.22, floor - thick - lift), (0.5, arch - thick - 0.2), (0.72, arch - thick - 0.24)],
            shade * 0.85,
            wide * 0.8,
        )
    canvas.line(
        [
            (0.66, arch - thick - 0.02),
            (0.72, arch - thick - 0.24),
            (0.93, arch - thick - 0.22),
            (0.95, arch - thick - 0.04),
        ],
        shade * 0.95,
        wide,
    )


def _shirt(canvas: _Canvas, shade: float) -> None:
    body, hem, cuff = canvas.between(0.23, 0.27), canvas.between(0.95, 0.98), canvas.between(0.78, 0.95)
    top, shoulder = _torso(canvas, shade, hem, body)
    if canvas.chance(0.7):
        _long_sleeves(canvas, shade, top, shoulder, cuff)
        _gap(canvas, top, body, cuff)
    else:
        canvas.pair(
            [
                (0.5 + shoulder - 0.04, top + 0.04),
                (0.5 + shoulder + 0.03, top + 0.07),
                (0.5 + 0.42, 0.36),
                (0.5 + 0.31, 0.4),
                (0.5 + shoulder - 0.02, top + 0.24),
            ],
            shade * 0.9,
        )
    canvas.pair(
        [
            (0.505, top + 0.14),
            (0.5 + 0.05, top + 0.02),
            (0.5 + 0.11, top),
            (0.5 + 0.12, top + 0.07),
            (0.5 + 0.06, top + 0.15),
        ],
        min(1.0, shade * 1.2),
    )  # the collar
    canvas.line([(0.5, top + 0.12), (0.5, hem)], shade * 0.7, 0.01)
    for button in range(6):
        canvas.dot(0.5, top + 0.2 + button * 0.12, 0.012, shade * 0.35)
    if canvas.chance(0.4):
        canvas.shape([(0.58, 0.33), (0.68, 0.33), (0.68, 0.44), (0.63, 0.46), (0.58, 0.44)], shade * 0.8)


def _sneaker(canvas: _Canvas, shade: float) -> None:
    top, toe = canvas.between(0.34, 0.4), canvas.between(0.54, 0.6)
    sole = canvas.between(0.05, 0.08)
    floor = 0.74
    canvas.shape(
        [
            (0.02, floor - sole),
            (0.02, toe + 0.04),
            (0.09, toe),
            (0.28, toe - 0.04),
            (0.5, top + 0.06),
            (0.62, top),
            (0.7, top + 0.06),
            (0.84, top + 0.05),
            (0.95, top - 0.01),
            (0.97, toe),
            (0.97, floor - sole),
        ],
        shade,
    )
    canvas.shape(
        [(0.01, floor - sole), (0.98, floor - sole - 0.01), (0.98, floor), (0.03, floor)],
        min(1.0, shade * canvas.between(0.5, 1.3)),
    )
    canvas.line([(0.02, floor - sole), (0.97, floor - sole)], shade * 0.45, 0.012)
    for lace in range(4):
        x = 0.34 + lace * 0.06
        canvas.line([(x, toe - 0.05 - lace * 0.03), (x + 0.07, toe - 0.02 - lace * 0.025)], shade * 0.5, 0.014)
    if canvas.chance(0.6):
        canvas.line(
            [(0.5, floor - sole - 0.02), (0.66, toe - 0.06), (0.8, floor - sole - 0.03)],
            min(1.0, shade * canvas.between(0.4, 1.4)),
            0.03,
        )


def _bag(canvas: _Canvas, shade: float) -> None:
    half, top, bottom = canvas.between(0.34, 0.47), canvas.between(0.32, 0.42), canvas.between(0.84, 0.95)
    flare = canvas.between(-0.05, 0.03)
    canvas.symmetric(
        [
            (0.5, top),
            (0.5 + half + flare, top),
            (0.5 + half, bottom - 0.04),
            (0.5 + half - 0.04, bottom),
            (0.5, bottom),
        ],
        shade,
    )
    reach, high = canvas.between(0.16, 0.27), canvas.between(0.05, 0.15)
    canvas.line(
        [
            (0.5 - reach, top + 0.02),
            (0.5 - reach * 0.8, high + 0.05),
            (0.5 - reach * 0.4, high),
            (0.5 + reach * 0.4, high),
            (0.5 + reach * 0.8, high + 0.05),
            (0.5 + reach, top + 0.02),
        ],
        shade * canvas.between(0.7, 1.0),
        canvas.between(0.03, 0.05),
    )
    if canvas.chance(0.6):  # a flap
        canvas.line(
            [
                (0.5 - half, top + 0.04),
                (0.5 - half * 0.7, top + 0.22),
                (0.5 + half * 0.7, top + 0.22),
                (0.5 + half, top + 0.04),
            ],
            shade * 0.6,
            0.014,
        )
        canvas.dot(0.5, top + 0.22, 0.03, shade * 0.45)
    else:
        canvas.line([(0.5 - half, top + 0.06), (0.5 + half, top + 0.06)], shade * 0.65, 0.014)


def _ankle_boot(canvas: _Canvas, shade: float) -> None:
    shaft, top, toe = canvas.between(0.46, 0.56), canvas.between(0.03, 0.18), canvas.between(0.62, 0.7)
    heel = canvas.between(0.03, 0.14)
    floor = 0.94
    canvas.shape(
        [
            (0.03, floor - 0.05),
            (0.03, toe + 0.1),
            (0.1, toe + 0.03),
            (0.3, toe - 0.05),
            (shaft - 0.03, toe - 0.18),
            (shaft, top),
            (0.93, top + canvas.between(-0.02, 0.03)),
            (0.92, toe - 0.1),
            (0.97, toe + 0.08),
            (0.96, floor - heel),
            (0.62, floor - heel),
            (0.5, floor - 0.04),
        ],
        shade,
    )
    canvas.shape([(0.03, floor - 0.05), (0.5, floor - 0.05), (0.5, floor), (0.04, floor)], shade * 0.7)
    canvas.shape([(0.72, floor - heel - 0.01), (0.96, floor - heel - 0.01), (0.95, floor), (0.74, floor)], shade * 0.7)
    if canvas.chance(0.5):
        for lace in range(4):
            y = toe - 0.1 - lace * 0.1
            canvas.line([(shaft - 0.01, y), (shaft + 0.12, y + 0.02)], shade * 0.55, 0.014)
    else:
        canvas.line([(0.72, top + 0.02), (0.72, toe)], shade * 0.6, 0.014)
    if canvas.chance(0.3):
        canvas.line([(shaft, toe - 0.16), (0.94, toe - 0.12)], shade * 0.5, 0.03)


_GARMENTS: tuple[Callable[[_Canvas, float], None], ...] = (
    _t_shirt,
    _trouser,
    _pullover,
    _dress,
    _coat,
    _sandal,
    _shirt,
    _sneaker,
    _bag,
    _ankle_boot,
)
