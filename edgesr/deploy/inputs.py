"""The images that an exported network is compared on, and its export in the way that serves."""

from __future__ import annotations

from pathlib import Path

import torch
from edgesr_export.tracing import (
    FIXED,
    ONE_SIZE,
    STRATEGIES,
    Tracing,
    export_with_fallbacks,
    tracing,
)
from edgesr_export.verify import Agreement
from torch import Tensor, nn

from edgesr.errors import ModelError, OptionError
from edgesr.loading.fitting import check_fit
from edgesr.loading.signature import call_of
from edgesr.loading.workload import LR_PATCH, Size, Workload

MULTIPLES = (2, 4, 8, 16, 32, 64)
"""Of which networks may need their sizes."""


def write_network(
    module: nn.Module,
    workload: Workload,
    size: Size,
    path: Path,
    like: Path | None = None,
    *,
    one_size: bool = False,
) -> tuple[Tracing, Agreement]:
    """Write a network as ONNX, of free size if possible; one that is cut into tiles at one size.

    See :func:`edgesr_export.tracing.export_with_fallbacks`.

    Args:
        module: the network.
        workload: the scene.
        size: LR size that the file has where no size can be free.
        path: file to write.
        like: file of a relative of the network: begin with the way that served there.
        one_size: the file has that size, whatever could be free.

    Raises:
        ExportError: there is no way.
    """
    ladder = ONE_SIZE if one_size else STRATEGIES
    strategies = tracing(like).strategies if like else ladder
    if (call := call_of(module)) and call.side:
        strategies = FIXED  # how many tiles an image has would have to stay a symbol
    return export_with_fallbacks(
        module,
        path,
        real_images(workload, size),
        workload.example(size),
        adversarial_images(len(workload.scene.bands)),
        strategies=strategies,
    )


def require_size(workload: Workload, size: tuple[int, int]) -> None:
    """Refuse an ``--export-size`` that the network does not take.

    Raises:
        OptionError: it does not; the next larger one that it takes is named, if one is found.
    """
    if _takes(workload, size):
        return
    height, width = size
    larger = sorted({(-(-height // n) * n, -(-width // n) * n) for n in MULTIPLES} - {size})
    found = next((one for one in larger if _takes(workload, one)), None)
    hint = f"{found[0]}x{found[1]} is one that it takes" if found else "choose a larger one"
    raise OptionError(f"--export-size {height}x{width} is no size that the network takes; {hint}")


def _takes(workload: Workload, size: Size) -> bool:
    try:
        check_fit(workload.model, workload.example(size), workload.scene.scale)
    except ModelError:
        return False
    return True


def real_images(workload: Workload, size: Size) -> list[Tensor]:
    """Return LR images [N, B, h, w] of the scene: a training tile, then other sizes and a batch."""
    corner, tile = window_corner(workload), workload.example()
    odd = corner[:, :, : min(13, corner.shape[2]), : min(17, corner.shape[3])]
    return [tile, corner, odd, torch.cat([tile, tile.flip(-1)]), workload.example(size)]


def window_corner(workload: Workload) -> Tensor:
    """Return a corner [1, B, h, w] of a test window: ONNX Runtime holds whole attention maps."""
    lr, _ = workload.scene.pair(workload.scene.test[0])
    return lr[None, :, : 2 * LR_PATCH, : 2 * LR_PATCH]


def adversarial_images(bands: int) -> dict[str, Tensor]:
    """Return LR images [N, B, h, w] that are no data, by name."""
    flat = torch.ones(1, bands, LR_PATCH, LR_PATCH)
    step = torch.zeros_like(flat)
    step[..., LR_PATCH // 2 :] = 1
    noise = torch.rand(2, bands, 13, 17, generator=torch.Generator().manual_seed(0))
    return {"zeros": torch.zeros_like(flat), "ones": flat, "a step": step, "noise": noise}
