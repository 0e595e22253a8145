"""What test_torchrun.py has learnt by one process and by several: recipes, data, and the program that torchrun starts
for the latter.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from torch import Tensor, nn

from test_photo_training import garments, photos
from test_photo_training import recipe as photo_recipe
from vitrine.cli import output
from vitrine.datasets import Dataset, drawn_garments
from vitrine.training import checkpoints, loop, recipe, together
from vitrine.training.loop import Epoch, Watch
from vitrine.training.processes import ALONE, Group
from vitrine.training.recipe import Recipe

PLAIN = {
    "data.name": "drawn",
    "model.name": "mlp",
    "batch_size": "59",  # of 180: parts of 30 and 29, and 3 at the end, too few for two
    "epochs": "3",
    "learning_rate": "0.02",
    "precision": "fp32",
    "ema": "0.9",
}
VIEWS = {
    "metric": "supcon",
    "positives": "image",
    "views": "2",
    "loss.second_view": "0.3",
    "second_view.rotate": "15",
    "second_view.noise": "0.05",
}
SMALL = {"model.name": "compact", "widths": "[8,16]", "blocks": "[1,1]", "embedding": "16"}
REPORT_A = {
    "metric": "report-a",
    "sampler.name": "pairs",
    "batch_size": "60",
    "steps": "3",
    "cross_entropy": "0",
    "ema": "0",
}

CASES: dict[str, dict[str, str]] = {
    "plain": {},
    "adamw": {"optimiser.name": "adamw", "learning_rate": "0.001"},
    "muon": {"optimiser.name": "muon", "learning_rate": "0.001"},
    "views": {**VIEWS},
    "triplet": {"metric": "triplet", "per_class": "7", "sampler.name": "per-class", "cross_entropy": "0", "ema": "0"},
    "contrastive": {"metric": "contrastive"},
    "cosface": {"metric": "cosface"},
    "report-a": REPORT_A,
    "frozen": {**REPORT_A, "start": "plain", "frozen": "true"},
    "norms": {**SMALL, "batch_size": "60", "learning_rate": "1e-9", "epochs": "1"},
    "siamese": {**SMALL, **VIEWS, "looks": "8", "looks_widths": "[8,8]"},
    "photo": {},
}
"""What differs from PLAIN. "siamese" and "photo" have batch norm, held still: that alone makes a difference else."""


class Still2d(nn.BatchNorm2d):
    """Batch norm that never looks at its batch."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False)


class Still1d(nn.BatchNorm1d):
    """The same for vectors."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False)


@contextlib.contextmanager
def still(case: str) -> Iterator[None]:
    """Nets are built with such batch norms; that of report A's head looks at the whole batch, and stays."""
    with contextlib.ExitStack() as stack:
        if case in ("siamese", "photo"):
            stack.enter_context(patch.object(nn, "BatchNorm2d", Still2d))
            stack.enter_context(patch.object(nn, "BatchNorm1d", Still1d))
        yield


def of(case: str) -> tuple[Recipe, Dataset, Dataset | None]:
    """Recipe, data, and what is learnt beside."""
    if case == "photo":
        short = photo_recipe(
            epochs="2", training__batch_size="31", photograph__mix="0.5", precision="fp32", nothing="3"
        )
        return short, photos(10), garments()
    changes = {
        "weight_decay": "5e-4",
        "label_smoothing": "0.1",
        "flip": "true",
        "augmentation.erase": "0.25",
        **CASES[case],
    }
    found = recipe.load("compact", {**PLAIN, **changes})
    return found, drawn_garments.load(train=200, test=50).train, None


def learn(case: str, run: Path, group: Group = ALONE, resume: bool = False, watch: Watch | None = None) -> list[Epoch]:
    """The history of a training that is not exported."""
    wanted, data, beside = of(case)
    watch = watch or Watch()
    with still(case):
        learnt = loop.learn(
            wanted, data, run, beside=beside, resume=resume, until=None, device="cpu", watch=watch, group=group
        )
    if group.first:
        (run / loop.MODEL_FILE).touch()  # so that "frozen" takes "plain" for finished
    return learnt.history


class Enough(Exception):
    """One epoch is done."""


def stopped_after_the_first(case: str, run: Path, group: Group = ALONE) -> None:
    def stop(line: Epoch) -> None:
        raise Enough

    with contextlib.suppress(Enough):
        learn(case, run, group, watch=Watch(epoch=stop))
    if group.first:
        assert checkpoints.load(run).epoch == 1


def main() -> None:
    """Arguments: a folder for the runs, and the cases. In it "half-alone", which one process began, is gone on with."""
    out = Path(sys.argv[1])

    def work(group: Group) -> None:
        for case in sys.argv[2:]:
            learn(case, out / case, group)
        if (out / "half-alone").exists():
            learn("plain", out / "half-alone", group, resume=True)
            stopped_after_the_first("plain", out / "half-together", group)

    sys.exit(together.run(work, together.Edge(output.refusal, lambda: "Stopped.")))


if __name__ == "__main__":
    main()
