"""Training in several processes: what torchrun costs with one, how much faster two are, with a thread each; beside them
one process with two threads. Two seeds or more tell whether what is learnt differs by more than the seed.

VITRINE_DATA=... python benchmarks/together.py [--recipe siamese] [--limit 6000] [--epochs 3] [--seeds 1] [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAIN = [sys.executable, "-c", "from vitrine.cli import main; main()", "train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "-m", "vitrine.training"]
WAYS: dict[str, tuple[list[str], int, int]] = {
    "vitrine train": (PLAIN, 1, 1),
    "torchrun, 1 process": (TORCHRUN, 1, 1),
    "torchrun, 2 processes": (TORCHRUN, 2, 1),
    "vitrine train, 2 threads": (PLAIN, 1, 2),
}
"""Name -> what is started, processes, threads of each."""


def measured(way: str, arguments: list[str], run: Path) -> dict[str, float]:
    """Seconds in all, and of an epoch (the median of those after the first); validation after the last."""
    program, processes, threads = WAYS[way]
    started = [*program[:4], "--nproc-per-node", str(processes), *program[4:]] if program is TORCHRUN else program
    start = time.perf_counter()
    done = subprocess.run(
        [*started, *arguments, "--out", str(run)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    later = history[1:] or history
    return {
        "processes": processes,
        "threads": threads,
        "seconds_an_epoch": round(statistics.median(line["seconds"] for line in later), 3),
        "images_per_second": round(statistics.median(line["images_per_second"] for line in later)),
        "seconds": round(seconds, 1),
        "validation_accuracy": round(history[-1]["validation_accuracy"], 4),
        "validation_loss": round(history[-1]["validation_loss"], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="siamese")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--limit", type=int, default=6000, help="images, 0: all")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="lines of JSON, for results/together.jsonl")
    asked = parser.parse_args()
    for seed in range(asked.seeds):
        wanted = {"data.name": asked.data, "data.limit": asked.limit, "training.epochs": asked.epochs, "seed": seed}
        arguments = [asked.recipe, *(f"--{key}={value}" for key, value in wanted.items())]
        with tempfile.TemporaryDirectory() as place:
            for way in WAYS:
                line = {"recipe": asked.recipe, "way": way, "seed": seed, "limit": asked.limit, "epochs": asked.epochs}
                line |= measured(way, arguments, Path(place) / str(list(WAYS).index(way)))
                text = ", ".join(f"{key} {value}" for key, value in line.items())
                print(json.dumps(line) if asked.json else text, flush=True)


if __name__ == "__main__":
    main()
