"""The training loop: the whole data set as one tensor, one pass of the loop per batch, in the order it happens.

Every epoch draws its random numbers from a generator seeded by (seed, epoch), so a run that is stopped and resumed sees
what an unbroken one sees, and on the same processor ends with the same file.
"""

import copy
import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vitrine
from vitrine import images, storage
from vitrine.datasets import Dataset
from vitrine.errors import InputError
from vitrine.modelfile import ModelCard
from vitrine.similarity import Similarity
from vitrine.spec import ImageSpec
from vitrine.training import checkpoints, losses, models, resuming, splitting
from vitrine.training.checkpoints import Checkpoint
from vitrine.training.export import export
from vitrine.training.lessons import ClassLesson, Lesson, as_tensors
from vitrine.training.photo import export as photo_export
from vitrine.training.photo import taken
from vitrine.training.photo import units as photo_units
from vitrine.training.photo.lesson import PhotoLesson
from vitrine.training.processes import ALONE, Group
from vitrine.training.recipe import Recipe
from vitrine.training.records import Epoch, Step, Watch, write_history, write_run
from vitrine.training.resuming import MODEL_FILE
from vitrine.training.state import State, learning_rate

__all__ = [
    "ALONE",
    "MODEL_FILE",
    "DivergedError",
    "Epoch",
    "Learnt",
    "Result",
    "Step",
    "Watch",
    "check_device",
    "learn",
    "train",
]


class DivergedError(InputError):
    """The loss grew without bound."""


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
    group: Group = ALONE,
) -> Result:
    """Train `recipe` on `dataset` (its training part) and write everything into the folder `run`.

    beside: the training part of what `data.beside` names. resume: go on from the folder's checkpoint, or export a
    finished run again; the recipe (but for ONLY_FOR_EXPORT) and the data must be those that it was started with. until:
    stop, and export, after the first epoch whose validation accuracy reaches it. Raises InputError (a run is there
    already, or none to resume, or another recipe), DataError, StorageError, ModelFileError. group: of the processes
    that learn together this is the first; the others call `learn`.
    """
    learnt = learn(
        recipe,
        dataset,
        run,
        beside=beside,
        resume=resume,
        until=until,
        device=device,
        watch=watch or Watch(),
        group=group,
    )
    network, lesson = learnt.state.averaged.eval(), learnt.state.lesson
    data, path = learnt.facts["data"], run / MODEL_FILE
    if isinstance(lesson, PhotoLesson):
        card = photo_export.export(network, lesson, learnt.image, data, learnt.validation, path)
    else:
        assert isinstance(network, models.Network)  # as `_lesson` made them
        assert isinstance(lesson, ClassLesson)
        network.fit(learnt.seen)
        write_run(run, learnt.facts, learnt.state, learnt.seen[:1])  # with what was fitted
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

    state: State
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
    group: Group = ALONE,
) -> Learnt:
    """`train` up to the last epoch: all but the model file. Where a group learns, each of its processes calls this, and
    the first one writes.
    """
    check_device(device)
    group, device = group.on(device)
    group.check_batch(recipe.training.batch_size)
    training, validation = splitting.split(dataset, recipe.data, recipe.training.seed, recipe.model.name == "photo")
    image = splitting.image_spec(training, recipe.data)
    facts = {"recipe": recipe.to_json(), "data": splitting.data_facts(dataset, beside)}
    state = State(_lesson(recipe, training, beside, image, device, group))
    splitting.check_held_out(state.lesson, validation, recipe.data.validation)
    _give_weights(state, run, facts, fresh=not resume)
    history = _begun(state, run, facts, resume)
    group.agree(
        {
            "recipe": f"{recipe.to_json()} {until}",
            "data": str(facts["data"]),
            "checkpoint": str([vars(line) for line in history]),
            "version of vitrine or PyTorch": f"{vitrine.__version__} {torch.__version__}",
        }
    )
    state.join()

    validation = dataclasses.replace(validation, images=images.resize(validation.images, image))
    seen, truth = as_tensors(validation, image, device)
    if group.first:
        storage.remove_parts(run)
        write_run(run, facts, state, seen[:1])
        if resume:
            write_history(run, history)  # a kill between checkpoint and history leaves the history a line short
    for epoch in range(len(history) + 1, recipe.training.epochs + 1):
        if until is not None and history and history[-1].validation_accuracy >= until:
            break
        history.append(_epoch(state, epoch, len(training), (seen, truth), watch))
        if group.first:
            lines = [vars(each) for each in history]
            checkpoints.save(run, Checkpoint(epoch, state.tensors(), {**facts, "history": lines}))
            write_history(run, history)
        watch.epoch(history[-1])

    return Learnt(state, history, image, facts, validation, seen)


def _give_weights(state: State, run: Path, facts: dict[str, Any], fresh: bool) -> None:
    """What the recipe takes from other runs, which lie beside this one, and models; first weights where it is fresh."""
    table = state.recipe.model
    if table.teachers:
        assert isinstance(state.lesson, PhotoLesson)  # no other recipe may have teachers
        for name in table.teachers:
            teacher = copy.deepcopy(state.network).eval().requires_grad_(False)
            resuming.start_from(teacher, run.parent / name, facts, "model.teachers")
            state.lesson.teachers.append(teacher)
    if fresh and table.start:
        resuming.start_from(state.network, run.parent / table.start, facts, "model.start")
    if fresh and table.weights:
        taken.take(state.network, table.weights)
    if fresh and (table.start or table.weights):
        state.averaged.load_state_dict(state.network.state_dict())


def _begun(state: State, run: Path, facts: dict[str, Any], resume: bool) -> list[Epoch]:
    """The epochs that are done, whose end becomes the state; none for a new run, whose folder must be free."""
    resuming.check_place(run, resume)
    return resuming.resume(state, run, facts) if resume else []


def _epoch(state: State, epoch: int, images: int, held_out: tuple[Tensor, Tensor], watch: Watch) -> Epoch:
    """Learn for an epoch and measure. images: how many there are to learn from; held_out: others, as the network sees
    them, and their labels. Raises DivergedError.
    """
    start = time.perf_counter()
    loss, accuracy = _train_epoch(state, epoch, watch)
    seconds = time.perf_counter() - start
    state.meet()
    measured = (0.0, 0.0)
    if state.lesson.group.first:
        with state.autocast():
            measured = state.lesson.evaluate(state.averaged.eval(), *held_out)
    validation_loss, validation_accuracy = state.lesson.group.told(*measured)
    if not math.isfinite(loss) or not math.isfinite(validation_loss):
        worst = validation_loss if math.isfinite(loss) else loss
        raise DivergedError(
            f"The loss became {worst} in epoch {epoch}; train with a smaller optimiser.learning_rate (now"
            f" {state.recipe.optimiser.learning_rate:g})."
        )
    return Epoch(
        epoch,
        loss,
        accuracy,
        validation_loss,
        validation_accuracy,
        state.rate,
        round(seconds, 3),
        round(images / seconds, 1),
    )


def _lesson(
    recipe: Recipe, training: Dataset, beside: Dataset | None, image: ImageSpec, device: str, group: Group
) -> Lesson:
    if recipe.model.name != "photo":
        return ClassLesson(recipe, training, image, device, group)
    units = photo_units.of_folders(
        training.class_names["en"],
        beside.class_names if beside else None,
        recipe.classes,
        recipe.data.leave_out,
        recipe.photograph.nothing > 0,
    )
    return PhotoLesson(recipe, units, training, beside, image, device, group)


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


def _train_epoch(state: State, epoch: int, watch: Watch) -> tuple[float, float]:
    """One epoch; its mean loss and accuracy."""
    recipe, lesson = state.recipe, state.lesson
    generator = torch.Generator(state.device).manual_seed((recipe.training.seed << 20) + epoch)
    # dropout draws from the global one, in each process for other images
    torch.manual_seed((recipe.training.seed << 20) + epoch + (lesson.group.rank << 52))
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
        lesson.group.average(each.grad for each in state.objective.parameters() if each.grad is not None)
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
