"""Going on: with a run that was stopped, or from the weights of a finished one."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from vitrine.errors import InputError
from vitrine.training import checkpoints
from vitrine.training.recipe import Recipe, names
from vitrine.training.records import Epoch
from vitrine.training.state import State, named

MODEL_FILE = "model.onnx"

ONLY_FOR_EXPORT = (
    "data.middle",
    "training.mirror",
    "model.looks_weight",
    "model.looks_share",
    "model.kind",
    "model.half",
    "model.shape_channels",
    "model.shape_places",
    "model.shape_picture",
    "model.shape_share",
    "model.sharpness",
)
"""Keys of a recipe that a run may be resumed, or a finished one exported again, with other values of."""


def start_from(network: nn.Module, run: Path, facts: dict[str, Any], key: str) -> None:
    """Take the weights of a finished run, which `key` names. Raises InputError when there is none, of another network,
    or of other training images: what is held out here it may have learnt.
    """
    if not (run / MODEL_FILE).exists() or not checkpoints.exists(run):
        first = run.name if run.name in names() else "RECIPE"
        raise InputError(
            f"This recipe learns from a finished run in {run}, and there is none; make it first: vitrine train"
            f" {first} --out {run}"
        )
    found = checkpoints.load(run)
    stored, wanted = _decisive(found.facts.get("recipe")), _decisive(json.loads(json.dumps(facts["recipe"])))
    split_keys = [
        key for key in wanted if key.startswith("data.") and key not in ("data.size", "data.kept", "data.middle")
    ]
    if wanted["data.split"] == "random":
        split_keys.append("training.seed")
    differing = [key for key in split_keys if stored[key] != wanted[key]]
    if differing or found.facts.get("data") != facts["data"]:
        raise InputError(
            f"The run in {run} was trained on other images ({', '.join(differing) or 'the data set differs'}), so it"
            " may know what is held out here; train it again as this one."
        )
    try:
        network.load_state_dict(named(found.tensors, "averaged.") or named(found.tensors, "network."))
    except RuntimeError as error:
        raise InputError(
            f"The run in {run} is of another network; name another in {key}, or change the recipe's [model]."
        ) from error


def check_place(run: Path, resume: bool) -> None:
    """That a folder is free for a new run, or that there is one to resume; to be told before anything long begins.

    Raises InputError.
    """
    there = checkpoints.exists(run)
    if resume and not there:
        raise InputError(f"There is no checkpoint in {run} to resume from; train without --resume.")
    if not resume and (there or (run / MODEL_FILE).exists()):
        raise InputError(f"There is a run in {run} already; go on with it (--resume), or name another folder (--out).")


def resume(state: State, run: Path, facts: dict[str, Any]) -> list[Epoch]:
    """Load the folder's checkpoint into `state`; the epochs done so far."""
    checkpoint = checkpoints.load(run)
    stored, wanted = checkpoint.facts, json.loads(json.dumps(facts))
    same = {
        "recipe": _decisive(stored.get("recipe")) == _decisive(wanted["recipe"]),
        "data": stored.get("data") == wanted["data"],
    }
    differing = [key for key in same if not same[key]]
    if differing:
        raise InputError(
            f"The run in {run} was started with another {' and '.join(differing)}; resume it as it was started, or name"
            " another folder (--out)."
        )
    try:
        state.load(checkpoint.tensors)
    except RuntimeError as error:
        raise InputError(
            f"The run in {run} is of a network that this version of vitrine builds in another way; train it again."
        ) from error
    return [Epoch(**line) for line in checkpoint.facts["history"]]


def _decisive(recipe: Any) -> dict[str, Any]:
    """The keys of a stored recipe that training depends on; one that vitrine did not know then has its default."""
    known = json.loads(json.dumps(Recipe("").to_json()))
    stored = recipe if isinstance(recipe, dict) else {}
    values = {
        f"{table}.{key}": stored.get(table, {}).get(key, default)
        for table, entries in known.items()
        if table not in ("name", "classes")
        for key, default in entries.items()
        if f"{table}.{key}" not in ONLY_FOR_EXPORT
    }
    return {**values, "classes": stored.get("classes", {})}
