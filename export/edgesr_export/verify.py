"""Does a file compute what the module computes? Asked of the runtime, not of the exporter.

Large activations make roundings of float32 large. Where file and module differ by more than a
network of usual activations gives, both are compared with the module in float64: a file that is as
close to it as the module in float32 is right.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.modes import evaluating
from edgesr_export.runtime import session

if TYPE_CHECKING:
    import torch
    from torch import nn

TOLERANCE = 1e-4
"""Largest accepted difference on data in [0, 1]; rounding of a deep float32 network is ~1e-6."""

CLOSE = 4
"""How many times as far from float64 as the module in float32 a file may be: sums in another order
round otherwise."""


class DisagreementError(ExportError):
    """A file computes something else than its module.

    Attributes:
        difference: largest absolute one.
    """

    def __init__(self, message: str, difference: float) -> None:
        super().__init__(message)
        self.difference = difference


@dataclass(frozen=True)
class Agreement:
    """How far a file is from its module.

    Attributes:
        max_abs_difference: largest absolute difference over all inputs and pixels.
        inputs: shape [N, C, H, W] of each input compared.
        rounding: what float32 may differ by, where that is more than the tolerance: :data:`CLOSE`
            times the distance of the module from itself in float64; else 0.
    """

    max_abs_difference: float
    inputs: tuple[tuple[int, ...], ...]
    rounding: float = 0.0


def compare(
    path: Path | str,
    module: nn.Module,
    inputs: Iterable[torch.Tensor],
    *,
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Run the file in ONNX Runtime on the CPU and ``module`` in torch, on the same ``inputs``.

    Give inputs of other sizes and batches than the export's example: a graph that froze a size
    agrees on the example alone.

    Raises:
        ExportError: no input, another shape, a value that is not finite, or a difference beyond
            ``tolerance`` that is no rounding of float32 (:class:`DisagreementError`).
    """
    import torch

    run = session(path)
    shapes: list[tuple[int, ...]] = []
    largest = wrong = rounding = 0.0
    with evaluating(module), torch.no_grad():
        for tensor in inputs:
            expected = module(tensor).float().cpu().numpy()
            answer = run(tensor.cpu().numpy())
            difference = _difference(answer, expected, path)
            if difference > tolerance:
                allowed = _rounding(module, tensor, expected, answer)
                wrong, rounding = max(wrong, 0 if allowed else difference), max(rounding, allowed)
            largest = max(largest, difference)
            shapes.append(tuple(tensor.shape))
    if not shapes:
        raise ExportError(f"{path} was compared on no input; give at least one")
    if wrong:
        raise DisagreementError(
            f"{path} differs from the network by {wrong:.2e}, more than {tolerance:.0e}; "
            "do not use it, export again without rewrites to find the cause",
            wrong,
        )
    return Agreement(largest, tuple(shapes), rounding)


def takes(module: nn.Module, image: torch.Tensor) -> bool:
    """Whether the module itself runs on ``image`` and answers finite values.

    Many a network divides by the spread of its input, or needs sizes of some multiple.
    """
    import torch

    with evaluating(module), torch.no_grad():
        try:
            return bool(torch.isfinite(module(image)).all())
        except Exception:  # whatever a third-party network raises
            return False


def _rounding(
    module: nn.Module, image: torch.Tensor, expected: np.ndarray, actual: np.ndarray
) -> float:
    """What float32 may differ from float64 by on ``image``; 0 where ``actual`` is further off."""
    try:
        exact = copy.deepcopy(module).double()(image.double()).cpu().numpy()
    except Exception:  # whatever a third-party network raises that cannot be copied or widened
        return 0.0
    own, of_file = (float(np.abs(one - exact).max()) for one in (expected, actual))
    return CLOSE * own if of_file <= CLOSE * own else 0.0


def _difference(actual: np.ndarray, expected: np.ndarray, path: Path | str) -> float:
    if actual.shape != expected.shape:
        raise ExportError(
            f"{path} answers {actual.shape} where the network answers {expected.shape}"
        )
    difference = float(np.abs(actual.astype(np.float64) - expected).max())
    if not np.isfinite(difference):
        raise ExportError(f"{path} or the network answers values that are not finite")
    return difference
