"""What a search is told."""

from __future__ import annotations

from dataclasses import dataclass

from edgesr.compress.search.budget import Budget
from edgesr.distill.config import TrainConfig
from edgesr.loading.workload import Size


@dataclass(frozen=True)
class SearchOptions:
    """How designs are searched for.

    Attributes:
        budget: the limits.
        method: "auto", or the one pass that designs may use on the upsampler.
        runtime: what latency is measured on.
        trials: designs to try.
        seed: of the proposals and of the order of training patches.
        tile: LR size of the tile that is timed.
        threads: CPU threads of the runtime.
        training: of a trial; 0 epochs judge the closed form.
    """

    budget: Budget
    method: str
    runtime: str
    trials: int
    seed: int
    tile: Size
    threads: int
    training: TrainConfig
