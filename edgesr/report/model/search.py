"""A search over designs of the whole network."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from edgesr.report.model._base import Amount, Count, Entry, doc
from edgesr.report.model.networks import UpsamplerAlone
from edgesr.report.model.surgery import Drop

Limit = Annotated[float, Meta(gt=0)]


class BudgetEntry(Entry, frozen=True, kw_only=True):
    """The limits of a search."""

    latency_ms: Annotated[Limit | None, doc("Largest latency in milliseconds.")] = None
    params: Annotated[Limit | None, doc("Most parameters.")] = None
    macs: Annotated[Limit | None, doc("Most multiply-accumulates.")] = None
    psnr_drop: Annotated[Amount, doc("Largest loss of MPSNR on budget windows in dB.")]
    sam_drop: Annotated[Amount | None, doc("Largest growth of SAM there in degrees; null for any.")]
    confidence: Annotated[
        Annotated[float, Meta(ge=0, lt=100)] | None,
        doc("Per cent of the intervals whose upper ends keep to both; 0: the drops themselves."),
    ] = None


class BlockEntry(Entry, frozen=True, kw_only=True):
    """One removable block."""

    path: Annotated[str, doc("Module path.")]
    distance: Annotated[
        Amount,
        doc(
            "Mean squared distance from the output with all blocks on training tiles, once it and"
            " all before it are gone."
        ),
    ]


class TrialEntry(Entry, frozen=True, kw_only=True):
    """One design: the upsampler's surgery, blocks left out, and large layers factorised."""

    number: Annotated[
        Count,
        doc("Order in which it was tried, from 0, which is the upsampler's surgery alone."),
    ]
    label: Annotated[str, doc("The design in words.")]
    removed: Annotated[Count, doc("Number of blocks left out: the first of 'blocks'.")]
    layer_error: Annotated[
        Amount, doc("Share of its output's energy that every other large layer could lose.")
    ]
    params: Annotated[Count, doc("Parameters of the whole network.")]
    upsampler_params: Annotated[Count, doc("Parameters of its upsampling layers.")]
    macs: Annotated[Count, doc("Multiply-accumulates on the teacher's macs_input_shape.")]
    latency_ms: Annotated[
        Amount | None,
        doc(
            "Median latency on the search's runtime, all trained trials in turn; null where a limit"
            " ruled the design out before."
        ),
    ]
    before_training: Annotated[
        Drop, doc("Loss against the original on budget windows; negative is a gain.")
    ]
    validation: Annotated[
        Drop | None,
        doc(
            "The same after a short distillation; null where a limit on cost ruled the design out"
            " before."
        ),
    ]
    finished: Annotated[
        Drop | None,
        doc("The same after the whole distillation; null where that was not done."),
    ] = None
    behind: Annotated[
        Drop | None,
        doc(
            "Loss after the short distillation against the trial that is best then, which must keep"
            " to the limits, too; null where none gains on the original."
        ),
    ] = None
    changes: Annotated[
        list[dict[str, Any]], doc("Structural changes in order, as the weights' header has them.")
    ]
    within: Annotated[
        bool, doc("Whether it keeps to every limit, after the longest distillation that it had.")
    ]
    on_front: Annotated[
        bool,
        doc("Whether no other trained trial beats it in latency, MACs and loss at once."),
    ]
    chosen: Annotated[bool, doc("Whether this one, trained to the end, was taken.")]


class SearchEntry(Entry, frozen=True, kw_only=True):
    """Search over designs of the whole network."""

    budget: Annotated[BudgetEntry, doc("The limits.")]
    runtime: Annotated[str, doc("What the latency was measured on.")]
    seed: Annotated[Count, doc("Seed of the proposals.")]
    why: Annotated[str, doc("Why the chosen trial was taken.")]
    blocks: Annotated[
        list[BlockEntry], doc("Removable blocks, the one with the least effect first.")
    ]
    trials: Annotated[
        list[TrialEntry], Meta(min_length=1, description="Every design that was tried.")
    ]
    upsampler_alone: Annotated[
        UpsamplerAlone,
        doc(
            "The network of which the upsampler alone was made smaller, distilled in the same run:"
            " what the run gives without a search."
        ),
    ]

    @property
    def chosen(self) -> TrialEntry:
        """The trial that was taken."""
        return next(trial for trial in self.trials if trial.chosen)
