"""How long a network might take on a board that is not here: a roofline, layer by layer.

An estimate is never a measurement. It says how long a layer takes if the board reaches its
published peaks and nothing stays in a cache; how far real layers are from that is measured where
they can be, by the same method on this machine, with its own measured peaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgesr_export.profile import Profiled
from edgesr_export.work import LayerWork, Work

from edgesr.errors import OptionError
from edgesr.evaluation.roofline import Roof


@dataclass(frozen=True)
class LayerEstimate:
    """The estimated time of one layer.

    Attributes:
        work: what it computes and moves.
        estimate_ms: the longer of its arithmetic and its traffic.
        bound: which of the two: "arithmetic" or "traffic".
    """

    work: LayerWork
    estimate_ms: float
    bound: str


@dataclass(frozen=True)
class Spread:
    """Measured time over estimated time of the layers of one file on this machine.

    Attributes:
        layers: number of layers with both.
        p10, median, p90: percentiles of the ratio.
        whole: of the whole call.
        unexplained: share of the measured time in layers that the runtime added itself.
    """

    layers: int
    p10: float
    median: float
    p90: float
    whole: float
    unexplained: float


def estimate_layers(layers: Sequence[LayerWork], roof: Roof) -> list[LayerEstimate]:
    """The estimated time of each layer.

    Raises:
        OptionError: a layer computes in a precision that the machine has no peak for.
    """
    return [_estimate(layer, roof) for layer in layers]


def spread(path: Path, measured: Profiled, shape: Sequence[int], roof: Roof) -> Spread:
    """How far measured layers are from their estimates.

    Args:
        path: ONNX file that was measured.
        measured: its layers as the runtime executed them.
        shape: [N, B, h, w] of the input.
        roof: measured peaks of the machine.

    Raises:
        OptionError: no layer has both a time and an estimate.
    """
    work = Work(path, shape)
    ratios, unexplained = [], 0.0
    for layer in measured.layers:
        done = work.layer(layer.layer, layer.nodes)
        if not done.bytes or not layer.ms:
            unexplained += layer.ms
            continue
        ratios.append(layer.ms / _estimate(done, roof).estimate_ms)
    if not ratios:
        raise OptionError(f"no measured layer of {path} can be told from its file")
    p10, median, p90 = np.percentile(ratios, (10, 50, 90))
    whole = sum(one.estimate_ms for one in estimate_layers(work.layers(), roof))
    return Spread(
        len(ratios),
        float(p10),
        float(median),
        float(p90),
        measured.whole_ms / whole,
        unexplained / (measured.sum_ms or 1.0),
    )


def _estimate(layer: LayerWork, roof: Roof) -> LayerEstimate:
    traffic = roof.traffic_ms(layer.bytes)
    if not layer.macs:
        return LayerEstimate(layer, traffic, "traffic")
    if layer.precision not in roof.operations:
        raise OptionError(f"layer {layer.layer} computes in {layer.precision}, which has no peak")
    arithmetic = roof.arithmetic_ms(layer.macs, layer.precision)
    bound = "arithmetic" if arithmetic >= traffic else "traffic"
    return LayerEstimate(layer, max(arithmetic, traffic), bound)
