"""The logs in results/: what was measured, of which model, and the figures that the page takes from it.

A log is a file of JSON lines. A line with the key `command` stands above the lines that this command printed. README.md
says how each log is made.
"""

import json
import re
import shlex
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MISSING = "not measured yet"

PIXELS = "raw pixels"
SHIPPED = {"default": "siamese-0", "compact": "compact-0"}
"""The run that each shipped model comes from."""

EVALUATED = ("query-gallery", "leave-one-out", "find-original", "pairs")
UNSEEN = "unseen-classes"

ROUNDING = 1e-4
"""Two logs of one measurement may differ by this, for one of them may have fewer digits."""


class LogError(Exception):
    """A log that cannot be read, or that contradicts another; one sentence."""


@dataclass(frozen=True)
class Line:
    """One line of a log. file: its name; command and conditions: of the line above it that names them, or empty."""

    file: str
    command: str
    conditions: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What one line says of one model. subject: its recipe, or a name; settings: what differs from the recipe.

    protocol: of `vitrine evaluate`; `card` and `history` for copies of a run folder; a log's name for other benchmarks.
    """

    subject: str
    seed: int
    protocol: str
    facts: dict[str, Any]
    file: str
    classes: tuple[int, ...] = ()
    settings: str = ""


@dataclass(frozen=True)
class Logs:
    """Everything that results/ holds."""

    lines: list[Line]
    measured: list[Measured]

    def of(self, file: str) -> list[dict[str, Any]]:
        """The lines of one log; none where it is missing."""
        return [line.facts for line in self.lines if line.file == file]

    def commands(self) -> dict[str, list[Line]]:
        """Log to its lines, the first of each command under the same conditions only."""
        found: dict[str, dict[tuple[str, str], Line]] = {}
        for line in self.lines:
            found.setdefault(line.file, {}).setdefault((line.command, line.conditions), line)
        return {file: list(lines.values()) for file, lines in found.items()}

    def values(
        self, subject: str, protocol: str, key: str, classes: tuple[int, ...] = (), settings: str = ""
    ) -> dict[int, float]:
        """Seed to figure. Raises LogError where two logs contradict each other."""
        found: dict[int, float] = {}
        wanted = (subject, protocol, tuple(classes), settings)
        for one in self.measured:
            value = one.facts.get(key)
            if (one.subject, one.protocol, one.classes, one.settings) != wanted or value is None:
                continue
            if abs(found.setdefault(one.seed, value) - value) > ROUNDING:
                raise LogError(
                    f"{one.file} says {value} for {key} of {subject}, seed {one.seed}, {protocol}, and another line"
                    f" says {found[one.seed]}; keep the one that is right."
                )
        return dict(sorted(found.items()))

    def figure(self, subject: str, protocol: str, key: str, digits: int = 4) -> str:
        """Mean ± sd over the seeds, which are named where they are not all that were measured."""
        values = self.values(subject, protocol, key)
        partly = values and protocol in EVALUATED and list(values) != self.seeds(subject)
        return shown(values, digits) + (f" ({named(list(values))})" if partly else "")

    def single(self, subject: str, seed: int, protocol: str, key: str, digits: int = 4) -> str:
        """The figure of one seed."""
        value = self.values(subject, protocol, key).get(seed)
        return MISSING if value is None else f"{value:.{digits}f}"

    def seeds(self, subject: str, protocols: tuple[str, ...] = EVALUATED) -> list[int]:
        return sorted({one.seed for one in self.measured if one.subject == subject and one.protocol in protocols})

    def subjects(self, protocol: str) -> list[str]:
        """Whatever this protocol was measured of, in the order of the logs."""
        return list(dict.fromkeys(one.subject for one in self.measured if one.protocol == protocol))

    def runs(self, subject: str) -> list[Measured]:
        """The copies of run folders of one recipe, by seed."""
        found = [one for one in self.measured if (one.subject, one.protocol) == (subject, "history")]
        return sorted(found, key=lambda one: one.seed)

    def unseen(self) -> list[tuple[str, str]]:
        """Subject and settings of all that was measured on unseen classes."""
        return list(dict.fromkeys((one.subject, one.settings) for one in self.measured if one.protocol == UNSEEN))

    def unseen_seeds(self, subject: str, settings: str) -> list[int]:
        return list(self.values(subject, UNSEEN, "map_at_r", (), settings))


def shown(values: Mapping[int, float], digits: int = 4) -> str:
    """Mean and sample standard deviation of the figures of several seeds."""
    if not values:
        return MISSING
    mean = f"{statistics.mean(values.values()):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values.values()):.{digits}f}"


def named(seeds: list[int]) -> str:
    """As in "seeds 0, 1"; empty without seeds."""
    if not seeds:
        return ""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def read(folder: Path) -> Logs:
    """All logs of a folder, and the copies of run folders in its folder `runs`. Raises LogError."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in _lines(path)]
    runs = [one for run in sorted((folder / "runs").glob("*/")) for one in _run(run)]
    return Logs(lines, [*filter(None, map(_measured, lines)), *runs])


def _lines(path: Path) -> Iterator[Line]:
    command = conditions = ""
    for facts in _objects(path):
        if "command" in facts:
            command, conditions = facts["command"], facts.get("conditions", "")
        else:
            yield Line(path.name, command, conditions, facts)


def _objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, or the one of a file of JSON."""
    text = path.read_text(encoding="utf-8")
    try:
        return [json.loads(part) for part in (text.splitlines() if path.suffix == ".jsonl" else [text])]
    except json.JSONDecodeError as error:
        raise LogError(f"{path} is not JSON: {error}.") from error


def _measured(line: Line) -> Measured | None:
    """What a line says of a model; None where it is not of one model and one seed."""
    facts = line.facts
    if facts.get("protocol") == UNSEEN:
        seed, settings = _settings(line.command)
        if facts["model"] == PIXELS:
            seed, settings = 0, ""
        return Measured(facts["model"], seed, UNSEEN, facts, line.file, tuple(facts["classes"] or ()), settings)
    if "protocol" in facts and facts["data"] == "fashion-mnist":
        subject, seed = _which(facts["model"], line.file)
        return Measured(subject, seed, facts["protocol"], facts, line.file)
    if "name" in facts and "seed" in facts:
        return Measured(facts["name"], facts["seed"], line.file.removesuffix(".jsonl"), facts, line.file)
    return None


def _which(model: str, file: str) -> tuple[str, int]:
    """Recipe and seed of a model as `vitrine evaluate` names it."""
    if model == PIXELS:
        return PIXELS, 0
    return _recipe_and_seed(SHIPPED.get(model) or Path(model).parent.name, f"{file} names the model {model!r}")


def _recipe_and_seed(name: str, where: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.+)-(\d+)", name)
    if not found:
        raise LogError(f"{where}; a model is default, compact, raw pixels or the model.onnx of a folder RECIPE-SEED.")
    return found[1], int(found[2])


def _settings(command: str) -> tuple[int, str]:
    """The seed of a `vitrine evaluate RECIPE` and, in words, its --epochs and --set."""
    words = re.sub(r"(--[a-z]+)=", r"\1 ", command)
    pairs = list(zip(shlex.split(words), shlex.split(words)[1:], strict=False))
    seeds = [int(value) for option, value in pairs if option == "--seed"]
    epochs = [f"{value} epochs" for option, value in pairs if option == "--epochs"]
    return (seeds or [0])[-1], ", ".join([*epochs, *(value for option, value in pairs if option == "--set")])


def _run(folder: Path) -> Iterator[Measured]:
    """What the copy of a run folder says: its history.jsonl and run.json, and its model's card.json."""
    file = f"runs/{folder.name}"
    subject, seed = _recipe_and_seed(folder.name, f"There is a folder {file}")
    if (folder / "card.json").exists():
        card = _objects(folder / "card.json")[0]
        yield Measured(subject, seed, "card", card["metrics"], file)
    if (folder / "history.jsonl").exists():
        epochs = _objects(folder / "history.jsonl")
        machine = _objects(folder / "run.json")[0]["machine"] if (folder / "run.json").exists() else {}
        facts = {
            **epochs[-1],
            "epochs": epochs,
            "machine": machine,
            "total_seconds": sum(epoch["seconds"] for epoch in epochs),
            "epoch_seconds": statistics.median(epoch["seconds"] for epoch in epochs),
        }
        yield Measured(subject, seed, "history", facts, file)
