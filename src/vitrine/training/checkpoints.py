"""What a stopped training needs to go on: tensors in `checkpoint.safetensors`, with the epoch and the recipe in that
file's header, one atomic write for both; `checkpoint.json` repeats the header for people.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from vitrine import storage
from vitrine.errors import InputError

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """epoch: how many epochs are done. tensors: by name, everything that the loop's state holds. facts: JSON, the
    recipe among them.
    """

    epoch: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint over the one before it, atomically. Raises StorageError."""
    facts = {"epoch": checkpoint.epoch, **checkpoint.facts}
    contiguous = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    storage.write_bytes(folder / FILE, safetensors.torch.save(contiguous, metadata={"vitrine": json.dumps(facts)}))
    storage.write_text(folder / "checkpoint.json", json.dumps(facts, indent=1) + "\n")


def exists(folder: Path) -> bool:
    return (folder / FILE).exists()


def load(folder: Path) -> Checkpoint:
    """Raises InputError when there is none or it is damaged."""
    path = folder / FILE
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["vitrine"])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise InputError(f"There is no checkpoint in {folder} to resume from; train without --resume.") from error
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"The checkpoint {path} is damaged ({error}); delete the folder and train anew.") from error
    return Checkpoint(int(facts.pop("epoch")), tensors, facts)
