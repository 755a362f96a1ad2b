"""A trial: one design of the network, and what was measured of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from edgesr.compress.search.design import Design


@dataclass(frozen=True)
class Trial:
    """One design and its figures.

    Attributes:
        number: order in which it was tried, from 0.
        design: what was tried.
        label: the design in words.
        changes: everything that :func:`edgesr.surgery.apply_changes` needs to build the network.
        params: of the whole network.
        upsampler_params: of the layers that took the upsamplers' place.
        macs: of one LR tile of 16 x 16.
        start: "psnr_drop" [dB] and "sam_drop" [degrees] on budget windows before any training, and
            the ends of their intervals, see :func:`edgesr.evaluation.drop.drop_between`.
        latency_ms: median on the chosen runtime; None where the design was beyond a limit before.
        finetuned: like ``start``, after a short distillation; None where the design was beyond a
            limit on cost and was not trained.
        finished: like ``start``, after the whole distillation; None where that was not done.
    """

    number: int
    design: Design
    label: str
    changes: list[dict[str, Any]]
    params: int
    upsampler_params: int
    macs: int
    start: dict[str, float] = field(default_factory=dict)
    latency_ms: float | None = None
    finetuned: dict[str, float] | None = None
    finished: dict[str, float] | None = None

    @property
    def drop(self) -> dict[str, float]:
        """What is known of its quality after the longest training that it had."""
        return self.finished or self.finetuned or self.start

    def won_on_top(self) -> float:
        """Share of the dB won by the short training that the whole one has won on top, from 0."""
        start, short, whole = (
            found["psnr_drop"] if found else 0.0
            for found in (self.start, self.finetuned, self.finished)
        )
        return max(0.0, short - whole) / (start - short) if short < start else 0.0

    def costs(self) -> dict[str, float]:
        """The figures that a budget may bound, by name; what was not measured is left out."""
        found = {"latency_ms": self.latency_ms, "params": self.params, "macs": self.macs}
        return {name: value for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)
