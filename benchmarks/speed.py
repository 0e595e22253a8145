"""Start-up, first answer, throughput, and reopening a large catalogue, each as a user meets it.

    VITRINE_DATA=... python benchmarks/speed.py

Whole commands are timed as new processes, five times each after one warm-up; printed: median, least and most.
Without Fashion-MNIST drawn garments stand in, and the first line says so.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vitrine import indexing
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Dataset, drawn_garments, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.errors import DataError

RUNS = 5


def timed(what: str, work: Callable[[], object]) -> float:
    """Print and return the median of RUNS, in milliseconds."""
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    median = statistics.median(times)
    print(f"{what:58s} {median:9.1f} ms  ({min(times):.1f} to {max(times):.1f})", flush=True)
    return median


def command(*arguments: str) -> Callable[[], object]:
    """A vitrine command as a new process."""
    whole = [sys.executable, "-c", "import vitrine.cli; vitrine.cli.main()", *arguments]
    return lambda: subprocess.run(whole, check=True, capture_output=True)


def data() -> Dataset:
    try:
        return fashion_mnist.load().whole()
    except DataError:
        return drawn_garments.load().whole()


def main() -> None:
    dataset = data()
    print(f"{dataset.name}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as place:
        os.environ["VITRINE_HOME"] = place
        photo = Path(place) / "photo.jpg"
        Image.fromarray(255 - drawn_garments.draw(9, 3, size=600)[..., 0]).save(photo)
        timed("an empty Python", lambda: subprocess.run([sys.executable, "-c", ""], check=True))
        timed("vitrine --help", command("--help"))
        timed("vitrine classify PHOTO, a new process", command("classify", str(photo)))
        encoder = Encoder.load()
        timed("classify one 600x600 photo, model loaded", lambda: encoder.classify([photo]))
        timed("classify one 28x28 image, model loaded", lambda: encoder.run(dataset.images[:1]))
        part = dataset.images[:10_000]
        took = timed(f"embed {len(part):,} images", lambda: encoder.run(part))
        print(f"{'':58s} {1000 * len(part) / took:9,.0f} images/s")
        with LocalCatalogue.create("all", encoder) as catalogue:
            start = time.perf_counter()
            indexing.add_dataset(catalogue, encoder, dataset)
            print(f"add {len(dataset):,} images to a catalogue {time.perf_counter() - start:34.1f} s")
            catalogue.save_index()
            query = encoder.run(dataset.images[:1]).embeddings
            timed("search, catalogue open", lambda: catalogue.search(query, 12))

        def reopen() -> None:
            with LocalCatalogue.open("all") as opened:
                opened.search(query, 12)

        timed("reopen the catalogue and search", reopen)
        timed("vitrine search PHOTO, a new process", command("search", str(photo), "--catalogue", "all"))
        assert np.isfinite(query).all()


if __name__ == "__main__":
    main()
