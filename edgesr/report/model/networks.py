"""Networks and what was measured of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from edgesr.report.model._base import (
    Amount,
    Count,
    Entry,
    Positive,
    Range,
    Shape,
    Share,
    doc,
)
from edgesr.report.model.surgery import Drop, Groups, HasSetting, Method, Rank, Setting, Settings

AtMostOne = Annotated[float, Meta(le=1.000001)]


class Metrics(Entry, frozen=True, kw_only=True):
    """Quality against the HR image, on [0, 1] data, averaged over the windows of the split."""

    mpsnr: Annotated[
        float,
        doc("Mean over bands of the peak signal-to-noise ratio, peak 1, in dB; higher is better."),
    ]
    mssim: Annotated[AtMostOne, doc("Mean over bands of the structural similarity; 1 is best.")]
    sam: Annotated[Amount, doc("Mean spectral angle in degrees; 0 is best.")]
    cc: Annotated[AtMostOne, doc("Mean over bands of the correlation coefficient; 1 is best.")]
    rmse: Annotated[Amount, doc("Root mean squared error; 0 is best.")]
    ergas: Annotated[Amount, doc("Relative global error (ERGAS) for the scale; 0 is best.")]


class Times(Entry, frozen=True, kw_only=True):
    """Wall time of one call."""

    median: Annotated[Amount, doc("Median, in milliseconds.")]
    p95: Annotated[Amount, doc("95th percentile, in milliseconds.")]


class Latency(Entry, frozen=True, kw_only=True):
    """Wall time of one call, all networks of the run measured in turn in one process."""

    runtime: Annotated[str, doc("What executed the network, such as 'onnxruntime CPU float32'.")]
    input_shape: Annotated[Shape, doc("Shape [N, B, h, w] of the LR input.")]
    threads: Annotated[Positive, doc("Threads within an operator.")]
    repeats: Annotated[Positive, doc("Measured calls.")]
    median: Annotated[Amount, doc("Median, in milliseconds.")]
    p95: Annotated[Amount, doc("95th percentile, in milliseconds.")]


class Measured(Entry, frozen=True, kw_only=True):
    """What was measured of a network without parameters."""

    metrics: Annotated[Metrics, doc("Quality on the test region.")]


class Distillation(Entry, frozen=True, kw_only=True):
    """Training of a network after the surgery."""

    epochs: Annotated[
        Count, doc("Epochs that were run; 0 when the closed form was kept without training.")
    ]
    best_epoch: Annotated[Count, doc("Epoch whose weights were kept; 0 is the closed form.")]
    kept: Annotated[
        Literal["closed form", "distilled"],
        doc("Which weights tuning preferred and the budget allowed."),
    ]
    share: Annotated[
        Share | None,
        doc("Of the way from the closed form to those weights; null where the budget allowed all."),
    ] = None
    validation: Annotated[
        Drop | None, doc("Loss of what was kept; null where it was not held against the budget.")
    ] = None
    history: Annotated[
        list[dict[str, Any]] | None,
        doc("Per epoch: losses, rate and figures on tuning windows, as the trainer noted them."),
    ] = None


class Network(Entry, frozen=True, kw_only=True):
    """A network and what was measured of it."""

    model: Annotated[str | None, doc("Name or factory of the network.")] = None
    weights: Annotated[
        str | None, doc("Where the weights came from, or the file that holds them.")
    ] = None
    params: Annotated[Positive, doc("Learnable parameters of the whole network.")]
    macs: Annotated[
        Count,
        doc("Multiply-accumulates for one input of macs_input_shape, as fvcore counts them."),
    ]
    macs_input_shape: Annotated[
        Shape, doc("Shape [N, B, h, w] of the LR input that macs holds for.")
    ]
    upsampler_params: Annotated[Count, doc("Learnable parameters of the upsampling layers.")]
    metrics: Annotated[Metrics, doc("Quality on the test region.")]
    latency_ms: Annotated[Latency, doc("Latency of the exported network.")]
    naive_latency_ms: Annotated[
        Latency | None,
        doc("Latency of the same network as torch exports it, without the exact rewrites."),
    ] = None
    speedup: Annotated[
        Range | None,
        doc(
            "95 % interval of how many times as long the teacher takes, both with the exact"
            " rewrites, round by round; one that spans 1 is no difference."
        ),
    ] = None
    distillation: Annotated[Distillation | None, doc("Training of this network.")] = None


class PaperBaseline(Network, frozen=True, kw_only=True):
    """The network with the paper's upsampler."""

    groups: Annotated[Positive, doc("g of the grouped convolution.")]


class UpsamplerAlone(Network, HasSetting, frozen=True, kw_only=True):
    """The network of which the upsampler alone was made smaller, distilled in the same run."""

    method: Method = field(name="pass")
    rank: Rank = None
    groups: Groups = None
    setting: Setting = None
    settings: Settings = None
