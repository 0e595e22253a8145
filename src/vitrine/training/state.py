"""All that changes while training."""

import contextlib
import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from vitrine.training.lessons import Lesson
from vitrine.training.muon import Muon
from vitrine.training.recipe import OptimiserTable, ScheduleTable


class State:
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
        wanted, kind = self.recipe.training.precision, torch.device(self.device).type
        fast = kind != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
        return torch.autocast(kind, torch.bfloat16, enabled=wanted == "bf16" or (wanted == "auto" and fast))

    def update_average(self) -> None:
        """Exponential moving average, faster at the start; batch norms' running statistics too."""
        decay = min(self.recipe.training.ema, (1 + self.steps) / (10 + self.steps))
        for mean, value in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            if value.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def join(self) -> None:
        """From now on, the network's gradients are those of all processes."""
        if not self.recipe.model.frozen:
            self.lesson.learner = self.lesson.group.wrapped(self.network)

    def meet(self) -> None:
        """Batch norms' running statistics become the mean of all processes'. They are linear in what was seen, so once
        in a while does as well as after every step.
        """
        nets = (self.network, self.averaged) if self.recipe.training.ema else (self.network,)
        self.lesson.group.average(each for net in nets for each in net.buffers() if each.is_floating_point())

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
        self.network.load_state_dict(named(tensors, "network."))
        self.objective.load_state_dict(named(tensors, "objective."))
        self.averaged.load_state_dict(named(tensors, "averaged.") or self.network.state_dict())
        stored = self.optimiser.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".", 2)
                stored["state"].setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(stored)
        self.steps = int(tensors["steps"])


def named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


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
