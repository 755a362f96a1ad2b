"""How large a tile a network can take at once, measured on two small ones; how large a step.

What a convolution needs grows with the number of pixels n, what attention needs with n squared:
two runs tell both parts, of the memory and of the multiply-accumulates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from edgesr.cube.memory import free_memory, require_memory, total_memory

ALWAYS_WHOLE = 64
"""LR side up to which an image is never cut: it costs little, whatever the network."""

LARGEST_TILE = 1024
STEP = 16
"""Tiles are multiples of this, so that a little more or less memory changes nothing."""

_PROBES = (16, 32)  # LR sides
_TOTAL_SHARE, _FREE_SHARE = 1 / 8, 1 / 2  # of the memory, for what one pass keeps alive


def tile_limit(model: nn.Module, bands: int, device: torch.device) -> int:
    """Return the largest LR side, a multiple of 16 from 64 to 1024, that is worth one pass.

    What the pass keeps alive takes at most an eighth of the memory (half of what is free, if that
    is less). Where the cost of a pixel grows with the image, as with attention over all pixels,
    the tile ends where that part equals the rest: larger ones only take longer, and show the
    network more than it was trained on.

    Args:
        model: network from [1, B, h, w] to [1, B, h r, w r], in evaluation mode.
        bands: B.
        device: where the network is.
    """
    runs = _probes(model, bands, device)
    linear, quadratic = _parts([peak for peak, _ in runs])
    area = _root(linear, quadratic, _budget(device))
    linear, quadratic = _parts([macs for _, macs in runs])
    if quadratic > 0:
        area = min(area, linear / quadratic)
    side = math.isqrt(int(min(area, LARGEST_TILE**2))) // STEP * STEP
    return max(side, ALWAYS_WHOLE)


def require_memory_for_tile(
    model: nn.Module, bands: int, size: tuple[int, int], option: str
) -> None:
    """Refuse a tile [1, B, h, w] at which one pass on the CPU keeps more than is free.

    Args:
        model: network from [1, B, h, w] to [1, B, h r, w r], in evaluation mode.
        bands: B.
        size: LR height and width that ``option`` asks for; up to 64 x 64 nothing is measured.

    Raises:
        DataError: it says how much is needed.
    """
    height, width = size
    area = height * width
    if area <= ALWAYS_WHOLE**2:
        return
    linear, quadratic = _parts([peak for peak, _ in _probes(model, bands, torch.device("cpu"))])
    require_memory(
        int(area * (linear + quadratic * area)),
        f"a tile of {height} x {width} pixels",
        f"choose a smaller {option}",
    )


def require_memory_for_step(network: nn.Module, lr: Tensor, patches: int) -> None:
    """Refuse a training step that keeps more for its gradients than is free.

    Args:
        network: in any mode, on the device of ``lr``; it runs once, in evaluation mode.
        lr: the input [N, B, h, w] that one patch becomes.
        patches: of the step.

    Raises:
        DataError: it says how much is needed.
    """
    training = network.training
    network.eval()
    try:
        with torch.enable_grad(), _Alive(network) as alive:
            network(lr.clone())
    finally:
        network.train(training)
    free = _memory(lr.device)[0]
    what, advice = f"a step of {patches} patches", "choose a smaller --batch or --patch"
    require_memory(patches * alive.peak, what, advice, free)


def _memory(device: torch.device) -> tuple[int, int]:
    """Bytes that are free, and all."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)
    return free_memory(), total_memory()


def _budget(device: torch.device) -> float:
    free, total = _memory(device)
    return min(total * _TOTAL_SHARE, free * _FREE_SHARE)


def _probes(model: nn.Module, bands: int, device: torch.device) -> list[tuple[int, int]]:
    """Peak and MACs on each of the two tiles."""
    return [_run(model, torch.zeros(1, bands, side, side, device=device)) for side in _PROBES]


def _parts(measured: list[int]) -> tuple[float, float]:
    """Return a and b of ``a n + b n^2`` through two measurements; what is not there is 0."""
    (n, m), (first, second) = (side * side for side in _PROBES), measured
    quadratic = (second / m - first / n) / (m - n)
    if quadratic * m < 0.02 * second / m:  # rounding, and what does not grow at all
        return second / m, 0.0
    return first / n - quadratic * n, quadratic


def _root(linear: float, quadratic: float, total: float) -> float:
    """Return the n at which ``linear n + quadratic n^2`` reaches ``total``."""
    if quadratic == 0:
        return total / max(linear, 1e-9)
    return (math.sqrt(linear**2 + 4 * quadratic * total) - linear) / (2 * quadratic)


def _run(model: nn.Module, lr: Tensor) -> tuple[int, int]:
    """Return the bytes alive at the peak of one pass, weights aside, and its MACs."""
    macs = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    with torch.no_grad(), macs, _Alive(model) as alive:
        model(lr)
    return alive.peak, macs.get_total_flops() // 2


class _Alive(TorchDispatchMode):
    """Adds up the tensors that operators have made and that something still holds."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.peak = 0
        self._weights = {
            value.untyped_storage().data_ptr()
            for value in model.state_dict().values()
            if isinstance(value, Tensor)  # a third-party state may hold more
        }
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self._weights:
                    reference = StorageWeakRef(storage)
                    self._held[reference.cdata] = (reference, storage.nbytes())
        self._held = {key: held for key, held in self._held.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._held.values()))
        return result


def _attention(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    return sdpa_flop_count(query, key, value)


_CPU_ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention
}
