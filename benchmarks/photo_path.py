"""What the photo path costs beyond decoding: from the bytes of a 12-megapixel JPEG to what a model sees.

    python benchmarks/photo_path.py [--rounds 40] [--json]

Each round times, one after the other and from the same bytes:

    whole    Pillow decodes all of it
    scaled   Pillow decodes it at the scale that the path decodes it at
    path     `images.opened` and `images.prepare`

for a model of the look of Fashion-MNIST and for one that wants photos as they are, of a product shot and of a scene,
both drawn. Printed: medians, and the median of what a round's path took beyond its scaled decoding; with --json as
lines of JSON for results/photo_path.jsonl.
"""

import argparse
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import PIL
from PIL import Image

from vitrine import images
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.spec import ImageSpec

SIZE = (4000, 3000)
SPECS = {"Fashion-MNIST": PLAIN_GREY, "photo": ImageSpec(96, 96, 3, "any", (0.0,) * 3, (1.0,) * 3)}


def drawn(plain: bool) -> bytes:
    """A red thing on white, or on a floor of boards; as noisy as a telephone's picture, quality 90."""
    rng = np.random.default_rng(0)
    shades = np.full(SIZE[0] // 8, 245) if plain else np.repeat(rng.integers(90, 200, 20), SIZE[0] // 160)
    small = np.broadcast_to(shades[None, :, None], (SIZE[1] // 8, SIZE[0] // 8, 3)).astype(np.uint8).copy()
    small[80:320, 180:320] = (190, 40, 50)
    picture = np.asarray(Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = picture + rng.integers(-6, 7, (SIZE[1], SIZE[0], 1))
    written = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(written, "JPEG", quality=90)
    return written.getvalue()


def decoded(content: bytes, size: tuple[int, int] | None = None) -> None:
    """By Pillow, at the smallest scale that gives that size, or whole."""
    with Image.open(io.BytesIO(content)) as opened:
        if size is not None:
            opened.draft(None, size)
        opened.load()


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def measured(content: bytes, spec: ImageSpec, rounds: int) -> dict[str, float]:
    """Medians over the rounds, in milliseconds."""
    size = images.opened(content, spec=spec).size
    ways: dict[str, Callable[[], object]] = {
        "whole": lambda: decoded(content),
        "scaled": lambda: decoded(content, size),
        "path": lambda: images.prepare(images.opened(content, spec=spec), spec),
    }
    for work in ways.values():
        work()
    took = [{name: milliseconds(work) for name, work in ways.items()} for _ in range(rounds)]
    found = {name: statistics.median(one[name] for one in took) for name in ways}
    beyond = [one["path"] - one["scaled"] for one in took]
    quarters = statistics.quantiles(beyond, n=4)
    return {**found, "beyond": statistics.median(beyond), "beyond_low": quarters[0], "beyond_high": quarters[2]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    facts = {
        "size": list(SIZE),
        "rounds": options.rounds,
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "pillow": PIL.__version__,
    }
    print(json.dumps(facts) if options.json else ", ".join(f"{key} {value}" for key, value in facts.items()))
    for picture in ("product shot", "scene"):
        content = drawn(picture == "product shot")
        for look, spec in SPECS.items():
            found = measured(content, spec, options.rounds)
            line = {"picture": picture, "look": look, **{name: round(value, 2) for name, value in found.items()}}
            if options.json:
                print(json.dumps(line), flush=True)
            else:
                print(
                    f"{picture:13s} {look:14s} whole {found['whole']:7.1f} ms  scaled {found['scaled']:6.1f} ms"
                    f"  path {found['path']:6.1f} ms  beyond {found['beyond']:5.1f} ms"
                    f" ({found['beyond_low']:.1f} to {found['beyond_high']:.1f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
