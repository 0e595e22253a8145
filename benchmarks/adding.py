"""A folder of JPEGs into a catalogue, beside what decoding and the model alone take on the same cores.

    VITRINE_DATA=... python benchmarks/adding.py [--items 10000] [--turns 3] [--width 600] [--json]

The folder: Fashion-MNIST's test items as shop photos, dyed, woven, on a plain ground, 600x800 in colour, quality 85;
always the same. In turns, each a new process on the cores that this one may use:

    floor   each JPEG to the array that the model takes, by `images.opened` and `images.prepare`, then the model, by
            `Encoder.run` in batches of 250. As many processes as cores, each with its core and its share of the files,
            so nothing is shared and nothing is waited for. Timed is this alone: not the start, the imports or the
            loading of the model
    plain   the same without the photo path: Pillow decodes the whole JPEG, and every so many pixels are taken
    add     `vitrine index add FOLDER`, the whole command, a new catalogue
    sync    `vitrine index sync FOLDER`, likewise

Printed for each: the median seconds of the turns, pictures a second, seconds of the processor, the most memory that the
largest process had; and the speed of add and sync as a share of the floor's and of plain's, turn by turn, median, least
and most, by the clock and by the processor's time, which others on the machine disturb less.
"""

import argparse
import io
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from vitrine import images
from vitrine.datasets import fashion_mnist
from vitrine.encoder import BATCH, Encoder
from vitrine.spec import ImageSpec

KINDS = ("floor", "plain", "add", "sync")
WAIT = 120.0  # seconds, until every process of the floor's has its model
Pixels = npt.NDArray[np.uint8]
Decode = Callable[[Path, ImageSpec], Pixels]


# --- the pictures


def weaves(width: int) -> list[Image.Image]:
    """Some cloths, as what is lighter and darker than 128."""
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 10, (16, width, width)).clip(0, 255).astype(np.uint8)
    return [Image.merge("RGB", [Image.fromarray(cloth)] * 3) for cloth in noise]


def shop_photo(image: Pixels, weave: Image.Image, rng: np.random.Generator) -> bytes:
    """One item (28, 28, 1) as a JPEG, as wide as the weave and 4/3 as high: a dyed garment on a light, plain ground."""
    width, height = weave.width, weave.width * 4 // 3
    light = Image.fromarray(image[..., 0]).resize(weave.size, Image.Resampling.BICUBIC)
    ground, dye = rng.integers(235, 256, 3), rng.uniform(0.3, 0.9, 3)
    grey = np.arange(256)
    dyed = Image.merge("RGB", [light.point((220 - 220 / 255 * depth * grey).tolist()) for depth in dye])
    shot = Image.new("RGB", (width, height), tuple(ground.tolist()))
    cover = light.point((8 * grey).clip(0, 255).tolist())
    shot.paste(ImageChops.add(dyed, weave, offset=-128), (0, (height - width) // 2), cover)
    written = io.BytesIO()
    shot.save(written, "JPEG", quality=85)
    return written.getvalue()


def fill(folder: Path, count: int, width: int) -> int:
    """So many pictures, a class per sub-folder; how many bytes they have."""
    test = fashion_mnist.load().test
    cloths = weaves(width)
    size = 0
    for number in range(count):
        image, label = test.images[number % len(test)], int(test.labels[number % len(test)])
        photo = shop_photo(image, cloths[number % len(cloths)], np.random.default_rng(number))
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        size += (place / f"{number:06d}.jpg").write_bytes(photo)
    return size


# --- what decoding and the model take


def by_vitrine(file: Path, spec: ImageSpec) -> Pixels:
    return images.prepare(images.opened(file, spec=spec), spec)


def by_pillow(file: Path, spec: ImageSpec) -> Pixels:
    """Every pixel decoded; which of them the model is shown costs nothing."""
    with Image.open(file) as opened:
        small = opened.resize((spec.width, spec.height), Image.Resampling.NEAREST).convert("L")
    return np.asarray(small)[..., None].repeat(spec.channels, axis=2)


DECODE: dict[str, Decode] = {"floor": by_vitrine, "plain": by_pillow}


@dataclass(frozen=True)
class Spent:
    """seconds: by the clock. processor: seconds of all cores together. peak: bytes, of the largest process."""

    seconds: float
    processor: float
    peak: int = 0


def share(core: int, files: list[Path], decode: Decode, ready: Barrier, took: "SimpleQueue[float]") -> None:
    """One process of the floor's: its core, its files."""
    os.sched_setaffinity(0, {core})
    images.decoders().shutdown()  # memory is kept as vitrine keeps it; the threads are not used
    encoder = Encoder.load()
    spec = encoder.card.image
    encoder.run(np.zeros((BATCH, *spec.shape), np.uint8))
    ready.wait(WAIT)
    start = time.process_time()
    for first in range(0, len(files), BATCH):
        encoder.run(np.stack([decode(file, spec) for file in files[first : first + BATCH]]))
    took.put(time.process_time() - start)


def floor(folder: Path, decode: Decode) -> Spent:
    """Every file, one process a core."""
    files, cores = sorted(folder.rglob("*.jpg")), sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")  # nothing here has threads yet
    ready = context.Barrier(len(cores) + 1)
    took: SimpleQueue[float] = context.SimpleQueue()
    shares = [
        context.Process(target=share, args=(core, files[number :: len(cores)], decode, ready, took))
        for number, core in enumerate(cores)
    ]
    for one in shares:
        one.start()
    ready.wait(WAIT)
    start = time.perf_counter()
    for one in shares:
        one.join()
    seconds = time.perf_counter() - start
    if any(one.exitcode for one in shares):
        sys.exit("A process of the floor's failed.")
    return Spent(seconds, sum(took.get() for _ in shares))


# --- in turns


def command(kind: str, folder: Path) -> Spent:
    """A command of vitrine's on that folder, from its start to its end."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as home:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "import vitrine.cli; vitrine.cli.main()", "index", kind, str(folder)],
            env={**os.environ, "VITRINE_HOME": home},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(seconds, used.ru_utime + used.ru_stime)


def inner(kind: str, folder: Path) -> None:
    """In a process of its own, so that the peak is this kind's."""
    spent = floor(folder, DECODE[kind]) if kind in DECODE else command(kind, folder)
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps(vars(replace(spent, peak=peak))))


def run(kind: str, folder: Path) -> Spent:
    whole = [sys.executable, __file__, "--inner", kind, "--folder", str(folder)]
    return Spent(**json.loads(subprocess.run(whole, check=True, stdout=subprocess.PIPE).stdout))


def turns(folder: Path, count: int) -> dict[str, list[Spent]]:
    """Each kind once a turn; which is first changes."""
    spent: dict[str, list[Spent]] = {kind: [] for kind in KINDS}
    for number in range(count):
        for place in range(len(KINDS)):
            kind = KINDS[(number + place) % len(KINDS)]
            spent[kind].append(run(kind, folder))
    return spent


# --- what is said


def times(spent: list[Spent], count: int) -> dict[str, float]:
    seconds = statistics.median(one.seconds for one in spent)
    return {
        "seconds": round(seconds, 2),
        "pictures_per_second": round(count / seconds, 1),
        "processor_seconds": round(statistics.median(one.processor for one in spent), 2),
        "peak_bytes": max(one.peak for one in spent),
    }


def speeds(ours: list[Spent], best: list[Spent]) -> dict[str, float]:
    """Our speed as a share of the best there can be, turn by turn."""
    found = {
        "speed": [other.seconds / one.seconds for one, other in zip(ours, best, strict=True)],
        "speed_by_processor": [other.processor / one.processor for one, other in zip(ours, best, strict=True)],
    }
    told = {}
    for name, ratios in found.items():
        told[name] = round(statistics.median(ratios), 4)
        told[f"{name}_least"], told[f"{name}_most"] = round(min(ratios), 4), round(max(ratios), 4)
    return told


def report(spent: dict[str, list[Spent]], count: int, as_json: bool) -> None:
    for kind in KINDS:
        line = times(spent[kind], count)
        if as_json:
            print(json.dumps({"what": kind, **line}), flush=True)
        else:
            print(
                f"{kind:6s} {line['seconds']:8.2f} s  {line['pictures_per_second']:7.1f} pictures/s"
                f"  {line['processor_seconds']:8.2f} s of processor  {line['peak_bytes'] / 1e6:6.0f} MB"
            )
    for kind in ("add", "sync"):
        for best in DECODE:
            line = speeds(spent[kind], spent[best])
            if as_json:
                print(json.dumps({"what": kind, "beside": best, **line}), flush=True)
            else:
                print(
                    f"{kind:4s} beside {best}: {line['speed']:.3f} ({line['speed_least']:.3f} to"
                    f" {line['speed_most']:.3f}); by the processor's time {line['speed_by_processor']:.3f}"
                    f" ({line['speed_by_processor_least']:.3f} to {line['speed_by_processor_most']:.3f})"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--width", type=int, default=600, help="of the pictures; their height is 4/3 of it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inner", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inner:
        inner(given.inner, given.folder)
        return
    card = Encoder.load().card
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        size = fill(folder, given.items, given.width)
        facts = {
            "items": given.items,
            "width": given.width,
            "height": given.width * 4 // 3,
            "bytes_each": size // given.items,
            "model": card.name,
            "identity": card.identity[:8],
            "cores": len(os.sched_getaffinity(0)),
            "machine": f"{platform.machine()}, load {os.getloadavg()[0]:.1f}",
            "turns": given.turns,
        }
        print(json.dumps(facts) if given.json else ", ".join(f"{key} {value}" for key, value in facts.items()))
        report(turns(folder, given.turns), given.items, given.json)


if __name__ == "__main__":
    main()
