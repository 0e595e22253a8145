"""All losses on the same encoder, data and epochs; and what the weights of the shipped recipe trade.

    VITRINE_DATA=... python benchmarks/losses.py losses --out runs/losses
    VITRINE_DATA=... python benchmarks/losses.py weights --out runs/losses
    python benchmarks/losses.py picture --picture docs/images/trade-off.png

Nothing here sees the test set: training is a part of the training set, and everything is measured on the validation
split (accuracy, leave one out within it, and find-original of all of it among all 20,000). A line of JSON for each
run, kept in OUT/results.jsonl; runs that are there already are not made again. Ends with a table, mean ± sd over the
seeds, which --json leaves away. `picture` trains nothing: it draws the weights that results/losses.jsonl holds.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrine import evaluation
from vitrine.datasets import Dataset, Splits, fashion_mnist
from vitrine.encoder import Encoder
from vitrine.training import checkpoints, loop, splitting
from vitrine.training import recipe as recipes
from vitrine.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BUDGET = {"data.limit": "20000", "data.validation": "0.1", "training.mirror": "false", "training.epochs": "4"}
FEATURES = {"model.looks": "0", "model.shape_channels": "0", "model.embedding": "64"}
"""What is compared are the features that the classifier has."""
PLAIN = {**FEATURES, "training.views": "1", "loss.positives": "class", "loss.second_view": "0"}
"""One view of each image. Where there are two, the classifier learns from one of them."""

LOSSES: dict[str, dict[str, str]] = {
    "cross-entropy": {**PLAIN, "loss.metric": "none"},
    "report A's head": {
        **PLAIN,
        "loss.metric": "report-a",
        "loss.cross_entropy": "0",
        "sampler.name": "pairs",
        "training.ema": "0",
    },
    "contrastive": {**PLAIN, "loss.metric": "contrastive", "loss.cross_entropy": "0", "loss.weight": "1"},
    "triplet": {**PLAIN, "loss.metric": "triplet", "loss.cross_entropy": "0", "loss.weight": "1"},
    "supervised contrastive": {**PLAIN, "loss.metric": "supcon", "loss.cross_entropy": "0", "loss.weight": "1"},
    "CosFace": {
        **PLAIN,
        "loss.metric": "cosface",
        "loss.cross_entropy": "0",
        "loss.weight": "1",
        "loss.scale": "16",
        "loss.margin": "0.2",
    },
    "cross-entropy + supervised contrastive": {**PLAIN, "loss.metric": "supcon", "loss.weight": "1"},
    "cross-entropy + views": FEATURES,
    "cross-entropy + views on looks": {},
}
"""The rows of the table: name to overrides of the recipe siamese."""

SECOND_VIEW = (0.0, 0.1, 1.0)
LOOKS_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
SHIPPED = (0.1, 0.1)
"""second_view and looks_weight of the recipe."""

LOG = Path(__file__).with_name("results") / "losses.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["losses", "weights", "picture"])
    parser.add_argument("--out", type=Path, default=Path("runs/losses"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="lines of JSON only, for results/losses.jsonl")
    parser.add_argument("--picture", type=Path, help="draw the weights as curves into this PNG")
    arguments = parser.parse_args()
    if arguments.what == "picture":
        if not arguments.picture:
            parser.error("name the PNG with --picture")
        lines = map(json.loads, LOG.read_text(encoding="utf-8").splitlines())
        _draw([line for line in lines if "name" in line], arguments.picture)
        return
    train = fashion_mnist.load().train
    rows = []
    for seed in range(arguments.seeds):  # a whole table with each seed
        for name, overrides in _variants(arguments.what).items():
            rows.append(_row(name, {**BUDGET, **overrides, "training.seed": str(seed)}, train, arguments.out))
            print(json.dumps(rows[-1]), flush=True)
    if not arguments.json:
        _print(rows)
    if arguments.picture:
        _draw(rows, arguments.picture)


def _variants(what: str) -> dict[str, dict[str, str]]:
    if what == "losses":
        return LOSSES
    return {
        f"second view {share:g}, looks {looks:g}": {
            "loss.second_view": str(share),
            "model.looks_weight": str(looks),
        }
        for share in SECOND_VIEW
        for looks in LOOKS_WEIGHTS
    }


def _row(name: str, overrides: dict[str, str], train: Dataset, out: Path) -> dict[str, str | float]:
    """The result that is kept, or a new one."""
    recipe = recipes.load("siamese", overrides)
    kept = out / "results.jsonl"
    lines = kept.read_text().splitlines() if kept.exists() else []
    wanted = json.loads(json.dumps(recipe.to_json()))
    for line in map(json.loads, lines):
        if line["name"] == name and line["recipe"] == wanted:
            found: dict[str, str | float] = {key: line[key] for key in line if key != "recipe"}
            return found
    encoder = Encoder.load(_trained(recipe, name, train, out))
    row: dict[str, str | float] = {"name": name, "seed": recipe.training.seed, **_measured(encoder, recipe, train)}
    with kept.open("a") as file:
        file.write(json.dumps({**row, "recipe": wanted}) + "\n")
    return row


def _trained(recipe: Recipe, name: str, train: Dataset, out: Path) -> Path:
    """The model file. Variants that differ only in what export needs share a run, which is exported again."""
    run = out / f"{name.split(', looks ')[0].replace(' ', '-')}-{recipe.training.seed}"
    return loop.train(recipe, train, run, resume=checkpoints.exists(run)).model


def _measured(encoder: Encoder, recipe: Recipe, train: Dataset) -> dict[str, str | float]:
    _, validation = splitting.split(train, recipe.data, recipe.training.seed)
    held = {source: None for source in validation.sources}
    used = train[: recipe.data.limit]
    rest = used[np.array([i for i, source in enumerate(used.sources) if source not in held])]
    among = evaluation.leave_one_out(encoder, validation)
    original = evaluation.find_original(encoder, Splits(rest, validation), seed=1, count=len(validation))
    measured = {
        "accuracy": among.accuracy,
        "precision_at_1": among.precision_at_1,
        "map_at_r": among.map_at_r,
        "success_at_1": original.success_at_1,
        "success_at_10": original.success_at_10,
        "pair_loss": encoder.card.metrics["validation_pair_loss"],
    }
    return {key: round(float(value or 0), 6) for key, value in measured.items()}


def _print(rows: list[dict[str, str | float]]) -> None:
    keys = [key for key in rows[0] if key not in ("name", "seed")]
    print("| loss | " + " | ".join(keys) + " |\n|---|" + "---|" * len(keys))
    for name in dict.fromkeys(str(row["name"]) for row in rows):
        cells = []
        for key in keys:
            values = [float(row[key]) for row in rows if row["name"] == name]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{spread}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def _draw(rows: list[dict[str, str | float]], path: Path) -> None:
    """A line for each share of the second view, a point for each weight of the looks: class against picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.5))
    for share, marker in zip(SECOND_VIEW, "osD", strict=True):
        points = []
        for looks in LOOKS_WEIGHTS:
            found = [row for row in rows if row["name"] == f"second view {share:g}, looks {looks:g}"]
            points.append([statistics.mean(float(row[key]) for row in found) for key in ("success_at_1", "map_at_r")])
        across, up = zip(*points, strict=True)
        (line,) = axes.plot(across, up, marker=marker, label=f"second_view {share:g}")
        for looks, x, y in zip(LOOKS_WEIGHTS, across, up, strict=True):
            _note(axes, f"{looks:g}", (x, y), (-20, -12), line.get_color())
            if (share, looks) == SHIPPED:
                axes.plot(x, y, "o", color="black", markersize=16, markerfacecolor="none")
                _note(axes, "shipped weights", (x, y), (12, 8), "black")
    axes.margins(x=0.06)
    axes.set_xlabel("original found first (success at 1)")
    axes.set_ylabel("MAP@R, leave one out")
    axes.set_title("Validation: same class against same picture; numbers: looks_weight")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _note(axes: "Axes", text: str, point: tuple[float, float], away: tuple[float, float], colour: Any) -> None:
    """A word beside a point, so many typographic points away."""
    axes.annotate(text, point, xytext=away, textcoords="offset points", fontsize=9, color=colour)


if __name__ == "__main__":
    main()
