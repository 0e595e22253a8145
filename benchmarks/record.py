"""Runs a command that prints lines of JSON, and keeps them as a log in results/, under the command and its conditions.

    python benchmarks/record.py [--new] LOG COMMAND...
    python benchmarks/record.py siamese.jsonl vitrine evaluate default --baselines --json

Lines are added at the end of the log; --new starts it afresh. Nothing is written where the command fails. Run it from
the repository, with the data in VITRINE_DATA, so that the command names no folder of your machine.
"""

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("numpy", "onnxruntime", "torch")


def conditions() -> str:
    """Day, processor, load, versions and commit, in words."""
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES if _installed(name)]
    commit = _git("rev-parse", "--short", "HEAD")
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no", "--", "src") else ""
    return ", ".join(
        [
            datetime.datetime.now(datetime.UTC).date().isoformat(),
            f"{os.cpu_count()} cores of {_processor()}",
            f"load {os.getloadavg()[0]:.1f}",
            f"Python {platform.python_version()}",
            *versions,
            f"commit {commit}{changed}",
        ]
    )


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    """As Linux names it, and whether it has AVX-512, which nets run faster with; elsewhere the architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    wide = "with" if any(line.startswith("flags") and " avx512f" in line for line in lines) else "without"
    return f"{names[0]} {wide} AVX-512" if names else platform.machine()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True)
    return done.stdout.strip()


def record(log: Path, command: list[str], new: bool = False) -> int:
    """Run the command, show what it prints, and write the log; the command's exit status."""
    above = {"command": shlex.join(command), "conditions": conditions()}  # the load before the command adds to it
    printed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or []:
            print(line, end="", flush=True)
            printed.append(line)
    if running.returncode == 0:
        kept = [line for line in printed if line.startswith("{")]
        with log.open("w" if new else "a", encoding="utf-8") as file:
            file.write(json.dumps(above) + "\n" + "".join(kept))
    return running.returncode


def main() -> None:
    words = sys.argv[1:]
    new = words[:1] == ["--new"]
    words = words[new:]
    if len(words) < 2 or not words[0].endswith(".jsonl") or Path(words[0]).name != words[0]:
        sys.exit(__doc__)
    sys.exit(record(RESULTS / words[0], words[1:], new))


if __name__ == "__main__":
    main()
