"""Start-up, first answer, throughput, and reopening a large catalogue, each as a user meets it.

    VITRINE_DATA=... python benchmarks/speed.py [--json]

Whole commands are timed as new processes, five times each after one warm-up; printed: median, least and most, with
--json as lines of JSON for results/speed.jsonl.
Without Fashion-MNIST drawn garments stand in, and the first line says so.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vitrine import choosing
from vitrine.catalogue.local import LocalCatalogue
from vitrine.datasets import Dataset, drawn_garments, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.errors import DataError
from vitrine.indexing import data_set

RUNS = 5


@dataclass(frozen=True)
class Clock:
    """Times work and prints what it took, for people or as JSON."""

    as_json: bool

    def start(self, facts: dict[str, str | int]) -> None:
        print(json.dumps(facts) if self.as_json else ", ".join(f"{key} {value}" for key, value in facts.items()))

    def timed(self, what: str, work: Callable[[], object], images: int = 0, once: bool = False) -> None:
        """RUNS times after a warm-up, or once. images: how many the work does, where images a second say more."""
        if not once:
            work()
        times = []
        for _ in range(1 if once else RUNS):
            start = time.perf_counter()
            work()
            times.append(1000 * (time.perf_counter() - start))
        median = statistics.median(times)
        if self.as_json:
            line = {"what": what, "milliseconds": round(median, 1), "least": round(min(times), 1)}
            print(json.dumps({**line, "most": round(max(times), 1), "images": images}), flush=True)
            return
        rate = f"  {1000 * images / median:,.0f} images/s" if images else ""
        print(f"{what:58s} {median:9.1f} ms  ({min(times):.1f} to {max(times):.1f}){rate}", flush=True)


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    clock = Clock(parser.parse_args().json)
    timed = clock.timed
    dataset = data()
    card = Encoder.load().card
    clock.start(
        {
            "data": dataset.name,
            "items": len(dataset),
            "model": card.name,
            "identity": card.identity[:8],
            "machine": platform.machine(),
            "cores": os.cpu_count() or 0,
            "python": platform.python_version(),
            "runs": RUNS,
            "photo_model": choosing.PHOTO,
        }
    )
    with tempfile.TemporaryDirectory() as place:
        os.environ["VITRINE_HOME"] = place
        photo = Path(place) / "photo.jpg"
        boot = drawn_garments.draw(9, 3, size=600) / 255.0
        Image.fromarray((255 - boot * (60, 170, 200)).astype(np.uint8)).save(photo)  # a red one on white
        chosen = Encoder.load(choosing.for_files([photo]).model)  # as the command does
        assert chosen.card.name == choosing.PHOTO
        timed("an empty Python", lambda: subprocess.run([sys.executable, "-c", ""], check=True))
        timed("vitrine --help", command("--help"))
        timed("vitrine classify PHOTO, a new process", command("classify", str(photo)))
        encoder = Encoder.load()
        timed("classify one 600x600 photo, model loaded", lambda: chosen.classify([photo]))
        timed("classify one 28x28 image, model loaded", lambda: encoder.run(dataset.images[:1]))
        part = dataset.images[:10_000]
        timed(f"embed {len(part):,} images", lambda: encoder.run(part), len(part))
        with LocalCatalogue.create("all", encoder) as catalogue:
            timed(
                f"add {len(dataset):,} images to a catalogue",
                lambda: data_set.add_dataset(catalogue, encoder, dataset),
                len(dataset),
                once=True,
            )
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
