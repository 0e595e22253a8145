"""Several processes that learn one network together, each from its part of every batch.

All of them draw the same batches and the same views from the same seeds, so only answers and gradients travel: the
answers of all to a batch are gathered, and each process computes the loss of the whole of it.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from vitrine.errors import InputError

Found = TypeVar("Found")

LEAST = 2
"""Images that batch norm needs: with fewer for each process, all learn the whole batch."""

SILENCE = timedelta(minutes=10)
"""How long to wait for another process within a step; a machine that has vanished says no word."""


@dataclass(frozen=True)
class Group:
    """Process `rank`, from 0, of `size`; `local`: its number on its machine. steps: the connections that gradients go
    over, None before `on`.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    steps: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the one that prints, measures and writes files."""
        return self.rank == 0

    def on(self, device: str) -> tuple["Group", str]:
        """The same group, ready to learn, and the device of this process: with "cuda" each has a GPU of its own.

        Raises InputError where there are too few of them, or one is named.
        """
        if self.size == 1:
            return self, device
        cuda = device.startswith("cuda")
        if cuda:
            if device != "cuda":
                raise InputError(f"--device {device} names one GPU for all processes; with several it must be cuda.")
            if self.local >= torch.cuda.device_count():
                raise InputError(
                    f"This machine has {torch.cuda.device_count()} GPUs for process {self.local}, counted from 0; start"
                    " one process for each GPU, or take --device cpu."
                )
            device = f"cuda:{self.local}"
            torch.cuda.set_device(device)
        steps = distributed.new_group(backend="nccl" if cuda else "gloo", timeout=SILENCE)
        return replace(self, steps=steps), device

    def check_batch(self, batch: int) -> None:
        """Raises InputError where a batch of the recipe has too few images for all processes."""
        if self.size > 1 and batch < LEAST * self.size:
            raise InputError(
                f"training.batch_size is {batch}, and {self.size} processes need {LEAST} images each; raise it to"
                f" {LEAST * self.size}, or start fewer processes."
            )

    def agree(self, facts: Mapping[str, str]) -> None:
        """Raises InputError, in all processes, where they were not given the same."""
        if self.size == 1:
            return
        digests = [hashlib.sha256(fact.encode(errors="surrogateescape")).digest() for fact in facts.values()]
        own = torch.tensor([list(digest) for digest in digests], dtype=torch.uint8)  # (facts, 32)
        every = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(every, own)
        for rank, other in enumerate(every):
            differing = [
                name for name, same in zip(facts, (other == every[0]).all(1).tolist(), strict=True) if not same
            ]
            if differing:
                raise InputError(
                    f"Process {rank} was given another {' and '.join(differing)} than process 0; all need the same"
                    " command, versions and files, the run's folder among them."
                )

    def in_turn(self, work: Callable[[], Found]) -> Found:
        """What all do, but one on each machine before the others, so that these find downloaded and decoded what it
        needs.
        """
        found = work() if self.local == 0 else None
        if self.size > 1:
            distributed.barrier()
        return work() if found is None else found

    def told(self, *values: float) -> tuple[float, ...]:
        """The numbers that the first process gave."""
        if self.size == 1:
            return values
        numbers = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(numbers, src=0)
        return tuple(numbers.tolist())

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network to learn with: its gradients become the mean of all processes'."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, process_group=self.steps, forward_sync_buffers=False)

    def part(self, n: int) -> slice:
        """Which rows of a batch of n are this process's: every so manieth, so that each has some of all kinds."""
        return slice(self.rank, None, self.size) if self._shares(n) else slice(None)

    def gathered(self, rows: Tensor, n: int) -> Tensor:
        """The rows (n, ...) of the whole batch, in its order, where each process has those of its part (m, ...).

        Gradients reach only a process's own rows, `size` times: each computes the whole loss, and the mean is taken
        afterwards.
        """
        if not self._shares(n):
            return rows
        missing = -(-n // self.size) - len(rows)
        own = torch.cat([rows.float(), rows.new_zeros((missing, *rows.shape[1:]), dtype=torch.float32)])
        if own.requires_grad:
            own.register_hook(lambda gradient: gradient * self.size)  # type: ignore[no-untyped-call]  # untyped in torch
        every = [torch.empty_like(own, requires_grad=False) for _ in range(self.size)]
        distributed.all_gather(every, own.detach().contiguous(), group=self.steps)
        every[self.rank] = own
        return torch.stack(every, dim=1).flatten(0, 1)[:n]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Make each the mean of all processes', in place."""
        found = list(tensors)
        if self.size == 1 or not found:
            return
        flat = torch.cat([each.flatten() for each in found])
        distributed.all_reduce(flat, group=self.steps)
        flat /= self.size
        for each, mean in zip(found, torch.split(flat, [each.numel() for each in found]), strict=True):
            each.copy_(mean.view_as(each))

    def _shares(self, n: int) -> bool:
        return self.size > 1 and n >= LEAST * self.size


ALONE = Group()
