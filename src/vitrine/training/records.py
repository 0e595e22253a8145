"""What a training tells while it goes on, and what it writes down of itself beside the checkpoint: run.json and
history.jsonl.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

import vitrine
from vitrine import storage
from vitrine.training import summary
from vitrine.training.state import State


@dataclass(frozen=True)
class Step:
    """Where the loop is, after each batch. loss and accuracy: means over the epoch so far, on augmented images."""

    epoch: int
    epochs: int
    done: int
    images: int
    loss: float
    accuracy: float
    images_per_second: float


@dataclass(frozen=True)
class Epoch:
    """A line of history.jsonl. Validation is measured with the averaged weights where the recipe averages them."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class Watch:
    """What to call while training goes on."""

    step: Callable[[Step], None] = lambda step: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


def write_run(run: Path, facts: dict[str, Any], state: State, example: Tensor) -> None:
    """run.json: recipe, data, machine, and the network's layers."""
    found = {
        **facts,
        "machine": _machine(state.device, state.lesson.group.size),
        "layers": summary.layers(state.averaged, example),
    }
    storage.write_text(run / "run.json", json.dumps(found, indent=1) + "\n")


def write_history(run: Path, history: list[Epoch]) -> None:
    storage.write_text(run / "history.jsonl", "".join(json.dumps(vars(line)) + "\n" for line in history))


def _machine(device: str, processes: int) -> dict[str, Any]:
    name: npt.NDArray[Any] | str = (
        torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    return {
        "device": device,
        "name": str(name),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vitrine": vitrine.__version__,
    }
