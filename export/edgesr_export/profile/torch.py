"""Operators as torch's profiler tells them, by the module that calls them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesr_export.profile.layers import (
    RUNS,
    WARMUP,
    LayerTime,
    Profiled,
    check_runs,
    medians,
    whole_call,
)
from edgesr_export.profile.memory import PeakMemory
from edgesr_export.runner import TorchRunner

if TYPE_CHECKING:
    from torch import nn

_RUN, _MODULE = "edgesr run", "edgesr module "
_PRECISIONS = {"torch.float32": "fp32", "torch.float16": "fp16", "torch.bfloat16": "bf16"}


def torch_profile(
    module: nn.Module,
    image: np.ndarray,
    *,
    threads: int = 1,
    device: str = "cpu",
    runs: int = RUNS,
) -> Profiled:
    """Operators of a module in torch, in the order in which they are first called.

    A layer is what one module calls by one name: ``attention.far: aten::conv2d``. On a GPU its
    time is that of the kernels.

    Args:
        module: network; stays as it is.
        image: what to run it on.
        threads: threads of the CPU.
        device: such as "cuda:0".
        runs: measured runs, at least 1, after two that are not.

    Raises:
        ExportError: a module that does not go to the device, or fails on the image.
    """
    from torch.profiler import ProfilerActivity, profile, record_function

    check_runs(runs)
    on_cpu = device == "cpu"
    with PeakMemory() as memory:
        run = TorchRunner(module, threads, device)
        peak, whole = _watched(run, image, runs, device)
    activities = [ProfilerActivity.CPU, *([] if on_cpu else [ProfilerActivity.CUDA])]
    with _named_modules(run.module), profile(activities=activities) as found:
        for number in range(WARMUP + runs):
            with record_function(f"{_RUN} {number}"):
                run(image)
    layers = _layers(found.events(), runs, on_cpu, _PRECISIONS.get(str(run.dtype)))
    used = (memory.growth_bytes, memory.absent) if on_cpu else (peak, "")
    return Profiled(tuple(layers), whole, runs, *used)


def _watched(
    run: TorchRunner, image: np.ndarray, runs: int, device: str
) -> tuple[int | None, float]:
    """Peak memory of the GPU in bytes, None on the CPU, and milliseconds of a call."""
    if device == "cpu":
        return None, whole_call(lambda: run(image), runs)
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    whole = whole_call(lambda: run(image), runs)
    return int(torch.cuda.max_memory_allocated(device)), whole


@contextmanager
def _named_modules(module: nn.Module) -> Iterator[None]:
    """Every call of a submodule is recorded under its path."""
    from torch.profiler import record_function

    open_: list[Any] = []
    handles = []

    def enter(name: str) -> None:
        open_.append(record_function(f"{_MODULE}{name}"))
        open_[-1].__enter__()

    for name, one in module.named_modules():
        handles.append(one.register_forward_pre_hook(lambda *_, name=name: enter(name)))
        handles.append(
            one.register_forward_hook(
                lambda *_: open_.pop().__exit__(None, None, None), always_call=True
            )
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(events: Any, runs: int, on_cpu: bool, precision: str | None) -> list[LayerTime]:
    """Outermost operators of each run, by the module that calls them."""
    spent: dict[str, dict[tuple[str, str], float]] = {}
    calls = [event for event in events if event.name.startswith("aten::")]
    for event in sorted(calls, key=lambda event: event.time_range.start):
        place = _place(event)
        if place is None:
            continue
        run, module = place
        key = (module, event.name)
        taken = event.cpu_time_total if on_cpu else event.device_time_total
        found = spent.setdefault(run, {})
        found[key] = found.get(key, 0.0) + taken / 1e3
    numbered = sorted(spent, key=lambda name: int(name.rpartition(" ")[2]))
    return [
        LayerTime(
            f"{module}: {name}" if module else name,
            name,
            ms,
            precision,
            modules=(module,) if module else (),
        )
        for (module, name), ms in medians([spent[run] for run in numbered[-runs:]]).items()
    ]


def _place(event: Any) -> tuple[str, str] | None:
    """The run and the module that an operator was called in; None within another operator."""
    module: str | None = None
    above = event.cpu_parent
    while above is not None:
        if above.name.startswith("aten::"):
            return None
        if above.name.startswith(_MODULE) and module is None:
            module = above.name.removeprefix(_MODULE)
        if above.name.startswith(_RUN):
            return above.name, module or ""
        above = above.cpu_parent
    return None
