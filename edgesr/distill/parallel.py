"""The processes that train together: one alone, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from edgesr.errors import OptionError, brief


@dataclass(frozen=True)
class Workers:
    """This process's place among ``count`` processes."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that evaluates, writes and prints."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's part of a global batch, of the same size in all processes."""
        if batch % self.count:
            raise OptionError(
                f"a batch of {batch} cannot be shared by {self.count} processes; "
                f"use a multiple of {self.count}"
            )
        size = batch // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def from_first(self, values: list[float]) -> list[float]:
        """The first process's values, in all processes."""
        if self.count == 1:
            return values
        message = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(message, src=0)
        return message.tolist()

    def mean(self, value: float) -> float:
        """Mean of a value over the processes."""
        if self.count == 1:
            return value
        message = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(message)
        return float(message) / self.count


def _device(name: str, local_rank: int) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"unknown device {name!r}; use cpu, cuda or cuda:0") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise OptionError(f"device {name!r} needs a CUDA GPU and none was found; use cpu")
        index = local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise OptionError(
                f"device cuda:{index} does not exist, {torch.cuda.device_count()} found; "
                "start no more processes than there are GPUs"
            )
        return torch.device("cuda", index)
    return device


def place(variable: str, usual: int) -> int:
    """A number that torchrun sets in the environment, such as ``RANK``; ``usual`` without it.

    Raises:
        OptionError: it is no such number.
    """
    text = os.environ.get(variable, str(usual))
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise OptionError(
            f"the environment has {variable}={text!r:.40}, which is no number of a process; unset"
            " it, or start with torchrun"
        )
    return int(text)


def _join(backend: str) -> None:
    try:
        dist.init_process_group(backend)
    except (ValueError, RuntimeError) as error:  # variables of torchrun, or its processes, lack
        raise OptionError(
            f"the processes of this training cannot be joined ({brief(error)}); start it with"
            " torchrun, or unset WORLD_SIZE"
        ) from error


@contextmanager
def workers(device: str) -> Iterator[Workers]:
    """Join the processes that torchrun started, or stand alone; leave them at the end.

    A process group that exists already is used and left open.
    """
    count = place("WORLD_SIZE", 1)
    own = _device(device, place("LOCAL_RANK", 0))
    if count == 1 and not dist.is_initialized():
        yield Workers(0, 1, own)
        return
    opened = not dist.is_initialized()
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if opened:
        _join("nccl" if own.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), own)
    finally:
        if opened:
            dist.destroy_process_group()
