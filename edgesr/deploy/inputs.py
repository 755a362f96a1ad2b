"""The images that an exported network is compared on, and its export in the way that serves."""

from __future__ import annotations

from pathlib import Path

import torch
from edgesr_export.tracing import FIXED, STRATEGIES, Tracing, export_with_fallbacks, tracing
from edgesr_export.verify import Agreement
from torch import Tensor, nn

from edgesr.loading.signature import call_of
from edgesr.loading.workload import LR_PATCH, Workload


def write_network(
    module: nn.Module, workload: Workload, side: int, path: Path, like: Path | None = None
) -> tuple[Tracing, Agreement]:
    """Write a network as ONNX, of free size if possible; one that is cut into tiles at one size.

    See :func:`edgesr_export.tracing.export_with_fallbacks`.

    Args:
        module: the network.
        workload: the scene.
        side: LR side that the file has where no size can be free.
        path: file to write.
        like: file of a relative of the network: begin with the way that served there.

    Raises:
        ExportError: there is no way.
    """
    strategies = tracing(like).strategies if like else STRATEGIES
    if (call := call_of(module)) and call.side:
        strategies = FIXED  # how many tiles an image has would have to stay a symbol
    return export_with_fallbacks(
        module,
        path,
        real_images(workload, side),
        workload.example(side),
        adversarial_images(len(workload.scene.bands)),
        strategies=strategies,
    )


def real_images(workload: Workload, side: int) -> list[Tensor]:
    """Return LR images [N, B, h, w] of the scene: a training tile, then other sizes and a batch."""
    corner, tile = window_corner(workload), workload.example()
    odd = corner[:, :, : min(13, corner.shape[2]), : min(17, corner.shape[3])]
    return [tile, corner, odd, torch.cat([tile, tile.flip(-1)]), workload.example(side)]


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
