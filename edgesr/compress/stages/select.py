"""Which of the measured surgeries is taken: the fastest within the budget, compared in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgesr_export.paired import compare
from torch import Tensor

from edgesr.compress.candidates import MARGIN, Bench, CalibratedModel, SurgeryOptions, select
from edgesr.compress.search.budget import Budget
from edgesr.progress import timed_stage
from edgesr.surgery import Candidate

REFERENCE = "the reference"


@dataclass(frozen=True)
class Comparison:
    """Two networks, timed side by side.

    Attributes:
        first, second: what was compared: labels of candidates, or :data:`REFERENCE`.
        ratio: how many times as long the first takes; median over the rounds.
        interval: of the ratio, 95 %.
        rounds: how many there were.
        faster: the label of the one that is faster; None where they count as equal.
    """

    first: str
    second: str
    ratio: float
    interval: tuple[float, float]
    rounds: int
    faster: str | None


@dataclass(frozen=True)
class Selected:
    """The surgery that is taken, and the comparisons that decided; the last is the reference's.

    None where there is nothing to take: the network is deployed as it is.
    """

    candidate: Candidate | None = None
    compared: list[Comparison] = field(default_factory=list)


def select_surgery(
    options: SurgeryOptions,
    budget: Budget,
    calibrated: CalibratedModel,
    candidates: Sequence[Candidate],
    tile: Tensor,
    threads: int,
    scratch: Path,
) -> Selected:
    """Choose among measured surgeries; see :func:`edgesr.surgery.choose`.

    Args:
        options: whether one setting was asked for.
        budget: what may be lost.
        calibrated: the reference.
        candidates: measured.
        tile: LR input [1, B, h, w] that is timed.
        threads: CPU threads of the runtime.
        scratch: folder for ONNX files.

    Raises:
        OptionError: nothing keeps to the budget.
    """
    bench = Bench(calibrated, tile, threads, scratch)
    compared: list[Comparison] = []

    def against(first: Candidate | None, second: Candidate) -> bool:
        calls = [
            bench.reference() if one is None else bench.call(one, calibrated.operate(one))
            for one in (first, second)
        ]
        found = compare(*calls, margin=MARGIN)
        before, after = (REFERENCE if one is None else one.label for one in (first, second))
        faster = {-1: before, 1: after}.get(found.verdict)
        compared.append(
            Comparison(before, after, found.ratio, found.interval(), len(found.first_ms), faster)
        )
        return found.verdict > 0

    with timed_stage("compare the fastest candidates in pairs"):
        taken = select(candidates, options, budget.psnr_drop, budget.sam_drop, against)
        against(None, taken)
    return Selected(taken, compared)
