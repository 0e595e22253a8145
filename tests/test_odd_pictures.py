"""What nobody takes on purpose: an animation, one pixel, a strip, nothing at all. Each gets an answer, in bounds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import written
from vitrine import images
from vitrine.datasets.image_folder import PLAIN_GREY
from vitrine.spec import ImageSpec

PHOTO = ImageSpec(96, 96, 3, "any", (0.0,) * 3, (1.0,) * 3)
SHADES = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
MOST = 2**30  # bytes


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (80, 60), (shade, 40, 90)) for shade in (30, 120, 200)]
    return written(frames[0], kind, save_all=True, append_images=frames[1:])


def gradient() -> Image.Image:
    return Image.merge("RGB", [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256), 90)])


def odd() -> dict[str, bytes]:
    made = {f"animation.{kind}": animation(kind) for kind in ("gif", "webp", "avif")}
    pictures = {
        "one-pixel": Image.new("RGB", (1, 1), (200, 30, 40)),
        "flat-strip": Image.fromarray(SHADES).resize((30000, 10)),
        "high-strip": Image.fromarray(SHADES).resize((10, 30000)),
        "plain-strip": Image.new("RGB", (30000, 10), "white"),
        "line": Image.new("L", (1, 9_000_000), 90),
        "white": Image.new("RGB", (600, 800), "white"),
        "black": Image.new("L", (600, 800)),
        "red": Image.new("RGB", (600, 800), (200, 30, 40)),
        "transparent": Image.new("RGBA", (600, 800), (0, 0, 0, 0)),
        "gradient": gradient(),
        "noise": Image.fromarray(SHADES),
    }
    return made | {f"{name}.png": written(picture) for name, picture in pictures.items()}


ODD = odd()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("spec", [PLAIN_GREY, PHOTO], ids=["fashion", "photo"])
def test_it_is_read_and_prepared(name: str, spec: ImageSpec) -> None:
    for image in (images.read(ODD[name], spec=spec), images.opened(ODD[name], spec=spec)):
        seen = images.prepare(image, spec)
        assert seen.shape == spec.shape
        assert seen.dtype == np.uint8
        assert (images.steps(image, spec)[-1].image == seen).all()
        images.thumbnail(image)


MEASURED = """
import atexit, pathlib, resource, sys
def most():
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # Linux: what getrusage says has that of the process in it that started this one
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
atexit.register(lambda: print(most(), file=sys.stderr))
"""


def run(code: str, *arguments: object) -> tuple[str, int]:
    """Standard output of Python code in a process of its own, and the most memory that this ever had, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED + code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, int(done.stderr.split()[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="the process cannot say how much memory it had")
def test_classify_answers_each_in_bounded_memory(tmp_path: Path) -> None:
    for name, content in ODD.items():
        (tmp_path / name).write_bytes(content)
    out, memory = run("from vitrine.cli import main; main()", "classify", tmp_path, "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert {Path(found["source"]).name for found in answers} == set(ODD)
    assert all(sum(found["probabilities"]) == pytest.approx(1, abs=1e-5) for found in answers)
    assert memory < MOST


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the process cannot say how much memory it had")
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "P"])
def test_the_largest_pictures_need_no_more_than_a_gigabyte(mode: str, tmp_path: Path) -> None:
    with Image.new(mode, (9400, 9400)) as picture:
        picture.save(tmp_path / "large.png", compress_level=1)
    read = (
        "from pathlib import Path; from vitrine import images; from vitrine.spec import ImageSpec;"
        "spec = ImageSpec(96, 96, 3, 'any', (0.0,) * 3, (1.0,) * 3);"
        "images.prepare(images.opened(Path(sys.argv[1]), spec=spec), spec)"
    )
    assert run(read, tmp_path / "large.png")[1] < MOST
