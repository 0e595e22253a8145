"""The training loop: the whole data set as one tensor, one pass of the loop per batch, in the order it happens.

Every epoch draws its random numbers from a generator seeded by (seed, epoch), so a run that is stopped and resumed sees
what an unbroken one sees, and on the same processor ends with the same file.
"""

import contextlib
import copy
import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import vitrine
from vitrine import images, storage
from vitrine.datasets import UNLABELLED, Dataset
from vitrine.datasets.holdout import hold_out
from vitrine.errors import DataError, InputError
from vitrine.modelfile import ModelCard
from vitrine.similarity import Similarity
from vitrine.spec import ImageSpec
from vitrine.training import checkpoints, losses, models, summary
from vitrine.training.checkpoints import Checkpoint
from vitrine.training.export import export
from vitrine.training.lessons import ClassLesson, Lesson, as_tensors
from vitrine.training.muon import Muon
from vitrine.training.photo import export as photo_export
from vitrine.training.photo import taken
from vitrine.training.photo import units as photo_units
from vitrine.training.photo.lesson import PhotoLesson
from vitrine.training.recipe import DataTable, OptimiserTable, Recipe, ScheduleTable, names

MODEL_FILE = "model.onnx"

ONLY_FOR_EXPORT = (
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


class DivergedError(InputError):
    """The loss grew without bound."""


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
class Result:
    """A finished training. history: one entry per epoch, those before a resume too. unvalidated: names of the classes
    of which no image was held out, so that no figure of validation speaks of them.
    """

    model: Path
    card: ModelCard
    history: list[Epoch]
    parameters: int
    unvalidated: tuple[str, ...]


@dataclass(frozen=True)
class Watch:
    """What to call while training goes on."""

    step: Callable[[Step], None] = lambda step: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


def train(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    *,
    beside: Dataset | None = None,
    resume: bool = False,
    until: float | None = None,
    device: str = "cpu",
    watch: Watch | None = None,
) -> Result:
    """Train `recipe` on `dataset` (its training part) and write everything into the folder `run`.

    beside: the training part of what `data.beside` names. resume: go on from the folder's checkpoint, or export a
    finished run again; the recipe (but for ONLY_FOR_EXPORT) and the data must be those that it was started with. until:
    stop, and export, after the first epoch whose validation accuracy reaches it. Raises InputError (a run is there
    already, or none to resume, or another recipe), DataError, StorageError, ModelFileError.
    """
    learnt = learn(
        recipe, dataset, run, beside=beside, resume=resume, until=until, device=device, watch=watch or Watch()
    )
    network, lesson = learnt.state.averaged.eval(), learnt.state.lesson
    data, path = learnt.facts["data"], run / MODEL_FILE
    if isinstance(lesson, PhotoLesson):
        card = photo_export.export(network, lesson, learnt.image, data, learnt.validation, path)
    else:
        assert isinstance(network, models.Network)  # as `_lesson` made them
        assert isinstance(lesson, ClassLesson)
        network.fit(learnt.seen)
        _write_run(run, learnt.facts, learnt.state, learnt.seen[:1])  # with what was fitted
        table = _head_table(lesson.objective)
        card = export(network, recipe, learnt.image, data, learnt.validation, path, table)
    return Result(
        run / MODEL_FILE, card, learnt.history, models.parameter_count(network), _unvalidated(recipe, learnt.validation)
    )


def _unvalidated(recipe: Recipe, validation: Dataset) -> tuple[str, ...]:
    """See `Result`."""
    counts = validation.counts()
    names = validation.class_names["en"]
    return tuple(name for k, name in enumerate(names) if not counts[k] and k not in recipe.data.leave_out)


@dataclass(frozen=True)
class Learnt:
    """A training that has not been exported. seen: the validation images as the network sees them; facts: the recipe,
    and the data's name, size and checksum.
    """

    state: "_State"
    history: list[Epoch]
    image: ImageSpec
    facts: dict[str, Any]
    validation: Dataset
    seen: Tensor


def learn(
    recipe: Recipe,
    dataset: Dataset,
    run: Path,
    *,
    beside: Dataset | None = None,
    resume: bool,
    until: float | None,
    device: str,
    watch: Watch,
) -> Learnt:
    """`train` up to the last epoch: all but the model file."""
    check_device(device)
    training, validation = split(dataset, recipe.data, recipe.training.seed, recipe.model.name == "photo")
    image = _image_spec(training, recipe.data)
    facts = {
        "recipe": recipe.to_json(),
        "data": data_facts(dataset, beside),
    }
    state = _State(_lesson(recipe, training, beside, image, device))
    _check_held_out(state.lesson, validation, recipe.data.validation)
    if recipe.model.teachers:
        assert isinstance(state.lesson, PhotoLesson)  # no other recipe may have teachers
        for name in recipe.model.teachers:
            teacher = copy.deepcopy(state.network).eval().requires_grad_(False)
            _start_from(teacher, run.parent / name, facts, "model.teachers")
            state.lesson.teachers.append(teacher)
    if recipe.model.start and not resume:
        _start_from(state.network, run.parent / recipe.model.start, facts, "model.start")
        state.averaged.load_state_dict(state.network.state_dict())
    if recipe.model.weights and not resume:
        taken.take(state.network, recipe.model.weights)
        state.averaged.load_state_dict(state.network.state_dict())
    history: list[Epoch] = []
    if resume:
        history = _resume(state, run, facts)
        _write_history(run, history)  # a kill between checkpoint and history leaves the history a line short
    elif checkpoints.exists(run) or (run / MODEL_FILE).exists():
        raise InputError(f"There is a run in {run} already; go on with it (--resume), or name another folder (--out).")

    validation = dataclasses.replace(validation, images=images.resize(validation.images, image))
    seen, truth = as_tensors(validation, image, device)
    _write_run(run, facts, state, seen[:1])
    for epoch in range(len(history) + 1, recipe.training.epochs + 1):
        if until is not None and history and history[-1].validation_accuracy >= until:
            break
        start = time.perf_counter()
        loss, accuracy = _train_epoch(state, epoch, watch)
        seconds = time.perf_counter() - start
        with state.autocast():
            validation_loss, validation_accuracy = state.lesson.evaluate(state.averaged.eval(), seen, truth)
        line = Epoch(
            epoch,
            loss,
            accuracy,
            validation_loss,
            validation_accuracy,
            state.rate,
            round(seconds, 3),
            round(len(training) / seconds, 1),
        )
        if not math.isfinite(loss) or not math.isfinite(validation_loss):
            worst = validation_loss if math.isfinite(loss) else loss
            raise DivergedError(
                f"The loss became {worst} in epoch {epoch}; train with a smaller optimiser.learning_rate (now"
                f" {recipe.optimiser.learning_rate:g})."
            )
        history.append(line)
        checkpoints.save(
            run, Checkpoint(epoch, state.tensors(), {**facts, "history": [vars(each) for each in history]})
        )
        _write_history(run, history)
        watch.epoch(line)

    return Learnt(state, history, image, facts, validation, seen)


def data_facts(dataset: Dataset, beside: Dataset | None) -> dict[str, Any]:
    """Name, size and checksum of what a run learns from."""
    facts: dict[str, Any] = {"name": dataset.name, "images": len(dataset), "checksum": dataset.checksum()}
    return facts if beside is None else {**facts, "beside": data_facts(beside, None)}


def _lesson(recipe: Recipe, training: Dataset, beside: Dataset | None, image: ImageSpec, device: str) -> Lesson:
    if recipe.model.name != "photo":
        return ClassLesson(recipe, training, image, device)
    units = photo_units.of_folders(
        training.class_names["en"],
        beside.class_names if beside else None,
        recipe.classes,
        recipe.data.leave_out,
        recipe.photograph.nothing > 0,
    )
    return PhotoLesson(recipe, units, training, beside, image, device)


def _head_table(objective: losses.Objective) -> Similarity | None:
    """Report A's head as a table, for it is a function of one number, the distance of two vectors of probabilities; at
    most sqrt(2). None where the recipe has no such head. Where the curve should rise a little, it is held.
    """
    if not isinstance(objective.metric, losses.ReportAHead):
        return None
    distances = torch.linspace(0, math.sqrt(2), 257)
    weights = next(objective.metric.parameters())
    curve = objective.metric.probability(distances.to(weights.device)).double().cpu().numpy()
    return Similarity("class-distance", tuple(distances.tolist()), tuple(np.minimum.accumulate(curve).tolist()))


def check_device(device: str) -> None:
    """Raises InputError when torch cannot compute there."""
    try:
        float(torch.ones(1, device=device) + 1)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch built without CUDA
        raise InputError(
            f"torch cannot use the device {device!r} here; allowed is cpu, or cuda on a machine with a GPU."
        ) from error


def split(dataset: Dataset, table: DataTable, seed: int, photos: bool = False) -> tuple[Dataset, Dataset]:
    """Training and validation parts, both in the data set's order. photos: table.limit is of the training part alone.

    Raises DataError for images without a class, and when a class would be left without training images.
    """
    if not dataset.labelled:
        stray = dataset.sources[int(np.argmax(dataset.labels == UNLABELLED))]
        raise DataError(
            f"{dataset.name} has images without a class, such as {stray}; training needs a sub-folder per class, or"
            " a CSV of files and labels."
        )
    names = dataset.class_names["en"]
    if len(names) < 2:
        raise DataError(
            f"{dataset.name} has one class only, {names[0]!r}; there is nothing to tell apart: add another."
        )
    if any(label >= len(names) for label in table.leave_out) or len(names) - len(set(table.leave_out)) < 2:
        raise DataError(
            f"data.leave_out is {list(table.leave_out)}; {dataset.name} has the classes 0 to {len(names) - 1}, and two"
            " at least must be left to train on."
        )
    training, validation = hold_out(
        dataset, table.validation, table.split, seed, table.limit, table.leave_out, "training" if photos else "all"
    )
    n = len(training) + len(validation)
    if (len(training) < 2 and not table.limit) or not len(validation):
        raise DataError(
            f"{dataset.name} has {n} images, too few to hold {table.validation:g} of them out for validation; add some."
        )
    counts = training.counts()
    missing = [name for k, name in enumerate(names) if not counts[k] and k not in table.leave_out]
    if missing:
        raise DataError(
            f"No training images would be left of the class {missing[0]!r} of {dataset.name}; add pictures, or change"
            f" data.limit (now {table.limit}), data.split ({table.split}) or data.validation ({table.validation:g})."
        )
    return training, validation


def _check_held_out(lesson: Lesson, validation: Dataset, share: float) -> None:
    """Raises DataError where no photo is held out that shows a class: nothing could be measured or calibrated."""
    if isinstance(lesson, PhotoLesson) and not lesson.units.shows_classes(torch.from_numpy(validation.labels.copy())):
        raise DataError(
            f"No photo of {validation.name} that shows one of the classes would be held out for validation; add some,"
            f" or hold out more (data.validation, now {share:g})."
        )


class _State:
    """All that changes while training: weights, their average, the optimiser, the number of steps taken."""

    def __init__(self, lesson: Lesson) -> None:
        self.lesson, recipe = lesson, lesson.recipe
        self.recipe, self.device = recipe, lesson.device
        self.network: nn.Module = lesson.network
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know this call by keyword alone
        self.averaged = copy.deepcopy(self.network) if recipe.training.ema else self.network
        self.objective: nn.Module = lesson.objective
        parts = (self.objective,) if recipe.model.frozen else (self.network, self.objective)
        learnt = [parameter for part in parts for parameter in part.parameters() if parameter.requires_grad]
        self.optimiser = _optimiser(learnt, recipe.optimiser)
        self.steps, self.rate = 0, 0.0

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        wanted = self.recipe.training.precision
        fast = self.device != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
        return torch.autocast(
            self.device, torch.bfloat16, enabled=wanted == "bf16" or (wanted == "auto" and bool(fast))
        )

    def update_average(self) -> None:
        """Exponential moving average, faster at the start; batch norms' running statistics too."""
        decay = min(self.recipe.training.ema, (1 + self.steps) / (10 + self.steps))
        for mean, value in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            if value.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        """Everything above as named tensors."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        found |= {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        if self.recipe.training.ema:
            found |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        for index, entries in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{index}.{key}": value for key, value in entries.items() if isinstance(value, Tensor)}
        return {**found, "steps": torch.tensor(self.steps)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.network.load_state_dict(_named(tensors, "network."))
        self.objective.load_state_dict(_named(tensors, "objective."))
        self.averaged.load_state_dict(_named(tensors, "averaged.") or self.network.state_dict())
        stored = self.optimiser.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".", 2)
                stored["state"].setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(stored)
        self.steps = int(tensors["steps"])


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _train_epoch(state: _State, epoch: int, watch: Watch) -> tuple[float, float]:
    """One epoch; its mean loss and accuracy."""
    recipe, lesson = state.recipe, state.lesson
    generator = torch.Generator(state.device).manual_seed((recipe.training.seed << 20) + epoch)
    torch.manual_seed((recipe.training.seed << 20) + epoch)  # dropout draws from the global one
    batches = lesson.batches(generator)
    n = sum(len(batch) for batch in batches)
    total_loss = torch.zeros((), device=state.device)
    right = torch.zeros((), device=state.device)
    done = 0
    start = time.perf_counter()
    state.network.train(not recipe.model.frozen)
    state.lesson.objective.train()
    for chosen in batches:
        state.rate = learning_rate(
            recipe.optimiser, recipe.schedule, state.steps, recipe.training.epochs * len(batches)
        )
        for group in state.optimiser.param_groups:
            group["lr"] = state.rate
        loss, told = lesson.learn(chosen, (epoch - 1) / recipe.training.epochs, generator, state.autocast())
        state.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        state.optimiser.step()
        state.steps += 1
        if recipe.training.ema:
            state.update_average()
        total_loss += loss.detach() * len(chosen)
        right += told
        done += len(chosen)
        watch.step(
            Step(
                epoch,
                recipe.training.epochs,
                done,
                n,
                float(total_loss) / done,
                float(right) / done,
                done / (time.perf_counter() - start),
            )
        )
    return float(total_loss) / n, float(right) / n


def learning_rate(optimiser: OptimiserTable, schedule: ScheduleTable, step: int, steps: int) -> float:
    """The rate of step `step` of `steps`, counted from 0."""
    if schedule.name == "constant":
        return optimiser.learning_rate
    warmup = schedule.warmup * steps
    if step < warmup:
        return optimiser.learning_rate * (step + 1) / (warmup + 1)
    left = (steps - step) / (steps - warmup)  # 1 at the top, towards 0 at the last step
    return optimiser.learning_rate * (left if schedule.name == "one-cycle" else (1 - math.cos(math.pi * left)) / 2)


def _optimiser(parameters: list[nn.Parameter], table: OptimiserTable) -> torch.optim.Optimizer:
    if table.name == "muon":
        return Muon(parameters, table.learning_rate, table.weight_decay)
    weights = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": table.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if table.name == "sgd":
        return torch.optim.SGD(groups, lr=table.learning_rate, momentum=table.momentum, nesterov=table.momentum > 0)
    kind = torch.optim.AdamW if table.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=table.learning_rate)


def _image_spec(training: Dataset, table: DataTable) -> ImageSpec:
    """The spec that the model file will carry, with mean and sd of the training images. Fashion-MNIST and folders
    brought to its look have a dark ground.
    """
    h, w, c = training.images.shape[1:]
    if table.kept:
        h = w = table.size
    mean, sd = (0.0,) * c, (1.0,) * c
    if table.normalise == "standard":
        counts = np.stack(
            [np.bincount(training.images[..., channel].ravel(), minlength=256) for channel in range(c)]
        )  # (c, 256)
        shares, values = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
        means = shares @ values
        mean = tuple(round(float(value), 6) for value in means)
        sd = tuple(
            max(round(float(np.sqrt(share @ (values - middle) ** 2)), 6), 1e-3)
            for share, middle in zip(shares, means, strict=True)
        )
    return ImageSpec(h, w, c, "any" if table.beside or c == 3 else "dark", mean, sd)


def _start_from(network: nn.Module, run: Path, facts: dict[str, Any], key: str) -> None:
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
    split_keys = [key for key in wanted if key.startswith("data.") and key not in ("data.size", "data.kept")]
    if wanted["data.split"] == "random":
        split_keys.append("training.seed")
    differing = [key for key in split_keys if stored[key] != wanted[key]]
    if differing or found.facts.get("data") != facts["data"]:
        raise InputError(
            f"The run in {run} was trained on other images ({', '.join(differing) or 'the data set differs'}), so it"
            " may know what is held out here; train it again as this one."
        )
    try:
        network.load_state_dict(_named(found.tensors, "averaged.") or _named(found.tensors, "network."))
    except RuntimeError as error:
        raise InputError(
            f"The run in {run} is of another network; name another in {key}, or change the recipe's [model]."
        ) from error


def _resume(state: _State, run: Path, facts: dict[str, Any]) -> list[Epoch]:
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


def _write_run(run: Path, facts: dict[str, Any], state: _State, example: Tensor) -> None:
    """run.json: recipe, data, machine, and the network's layers."""
    found = {**facts, "machine": _machine(state.device), "layers": summary.layers(state.averaged, example)}
    storage.write_text(run / "run.json", json.dumps(found, indent=1) + "\n")


def _write_history(run: Path, history: list[Epoch]) -> None:
    storage.write_text(run / "history.jsonl", "".join(json.dumps(vars(line)) + "\n" for line in history))


def _machine(device: str) -> dict[str, Any]:
    name: npt.NDArray[Any] | str = (
        torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    return {
        "device": device,
        "name": str(name),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vitrine": vitrine.__version__,
    }
