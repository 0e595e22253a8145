"""`make demo` in a fresh clone with an empty home, twice: how long it takes, what it installs, what it measures.

VITRINE_DATA=... python benchmarks/make_demo.py [--json]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEYS = {"accuracy": "accuracy", "precision_at_1": "precision at 1", "demo_seconds": "time"}
"""Key in JSON to what stands before the figure in the demo's last lines."""


def run(clone: Path, home: Path) -> dict[str, float]:
    """Seconds of `make demo` as a whole, and what it says of itself."""
    environment = {key: value for key, value in os.environ.items() if key != "VITRINE_HOME"} | {"HOME": str(home)}
    start = time.perf_counter()
    done = subprocess.run(["make", "demo"], cwd=clone, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    return {"seconds": round(seconds, 1), **said(done.stdout)}


def said(text: str) -> dict[str, float]:
    found = {key: re.search(rf"^  {name} +([\d.]+)", text, re.MULTILINE) for key, name in KEYS.items()}
    return {key: float(match[1]) for key, match in found.items() if match}


def installed_mb(environment: Path) -> float:
    return round(sum(path.lstat().st_size for path in environment.rglob("*") if not path.is_dir()) / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="lines of JSON, for results/make_demo.jsonl")
    as_json = parser.parse_args().json
    repository = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as place:
        clone, home = Path(place) / "vitrine", Path(place) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
        for what in ("fresh clone", "again"):
            line: dict[str, str | float] = {"what": what, **run(clone, home)}
            if what == "fresh clone":
                line["installed_mb"] = installed_mb(clone / ".venv")
            text = ", ".join(f"{key} {value}" for key, value in line.items())
            print(json.dumps(line) if as_json else text, flush=True)


if __name__ == "__main__":
    main()
