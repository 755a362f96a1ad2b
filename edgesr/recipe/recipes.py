"""Recipes: everything that decides a run, in one validated place.

A recipe is a frozen dataclass. Its fields are the command line's options, the keys of
``recipe.toml`` and the arguments of the Python call at once, so the three cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Self

from edgesr_export.targets import ALWAYS, PRECISIONS, TARGETS, runtimes

from edgesr.recipe.export_size import EXPORT_SIZE, HELP, parse_export_size
from edgesr.recipe.options import (
    ABOVE_ZERO,
    BATCH,
    CHANNELS,
    COUNT,
    COUNT_OR_NONE,
    NOT_NEGATIVE,
    PART,
    PER_CENT,
    SCALE,
    SEED,
    SEVERAL,
    SHARE,
    SIDE,
    THREADS,
    TILE,
    WEIGHT,
    Check,
    Options,
    list_with,
    one_of,
    option,
    registered,
)
from edgesr.recipe.tile_range import TILE_RANGE

EMBEDDED = "indian_pines"
DEFAULT_MODEL = "lkca_net"
CAPABILITY = Check(
    "a compute capability, such as 8.6 or 86",  # whether TensorRT builds for it, it says itself
    lambda text: re.fullmatch(r"(?i:sm_?)?\d{1,2}\.?\d", text.strip()) is not None,
)
PAPERS_DISTIL = "paper"
"""What the paper's baseline learns from its teacher."""
DEFAULT_DISTIL = PAPERS_DISTIL
"""What students do: at equal processor time it wins most back (``benchmarks/healing.py``)."""
NORMALISED, NATIVE = IO = ("normalised", "native")
"""What files take and give; those of normalised numbers are always made."""
_AXES = tuple("".join(order) for order in permutations("hwb"))


def _runtimes() -> Collection[str]:
    """Those that run an ONNX file."""
    return [name for name, runtime in runtimes().items() if runtime.suffix == ".onnx"]


def _usual_targets() -> tuple[str, ...]:
    return tuple(name for name, target in TARGETS.load().items() if target.by_default)


@dataclass(frozen=True)
class Recipe(Options):
    """Options that every command on a scene shares."""

    data: str = option(
        EMBEDDED, "Data", f"cube: a file, file.mat:variable, file.h5:/path, or {EMBEDDED}"
    )
    nodata: float | None = option(
        None,
        "Data",
        "the number that means no measurement, whatever the files say",
        metavar="X",
    )
    axes: str | None = option(
        None,
        "Data",
        "order of the axes of the stored arrays, whatever the files say: {names}",
        check=one_of(*_AXES),
        metavar="BHW",
    )
    wavelength_unit: str | None = option(
        None,
        "Data",
        "of the wavelengths, whatever the files say: nm or um",
        check=one_of("nm", "um"),
        metavar="UNIT",
    )
    protocol: str | None = option(
        None,
        "Data",
        "published split: chikusei, houston2018, pavia_centre, dacn_pavia_centre,"
        " dacn_pavia_university; or auto (default: that of the weights for the same cube, else"
        " auto; the embedded cube has its own)",
        metavar="NAME",
    )
    bands: str | None = option(
        None,
        "Data",
        "bands to use: all, clean (correlated with a neighbour), or a list such as 4-32,40-55"
        " (default: those of the weights, else clean)",
    )
    normalisation: str | None = option(
        None,
        "Data",
        "how numbers become [0, 1]: scene or band, fitted on the training region"
        " (default: as stored with the weights, else band)",
        check=one_of("scene", "band"),
        metavar="MODE",
    )
    degradation: str | None = option(
        None,
        "Data",
        "how LR images are made: bicubic (antialiased) or area"
        " (default: as stored with the weights, else bicubic)",
        check=one_of("bicubic", "area"),
        metavar="KIND",
    )
    scale: int | None = option(
        None, "Data", "magnification (default: that of the weights, else 4)", check=SCALE
    )
    patch: int | None = option(
        None,
        "Data",
        "training patch side, in HR pixels (default: that of the protocol; auto: 64, at x8 128,"
        " less in a small cube)",
        check=SIDE,
        metavar="PIXELS",
    )
    model: str = option(
        DEFAULT_MODEL,
        "Network",
        "lkca_net, dacn, vdsr, 3dfcnn, or your own package.module:factory",
    )
    checkpoint_key: str | None = option(
        None,
        "Network",
        "where in a checkpoint the weights lie, such as params_ema or state_dict.model (default:"
        " where the network fits)",
        metavar="KEY",
    )
    seed: int = option(0, "Run", "seed of every random draw", check=SEED)
    threads: int | None = option(
        None, "Run", "CPU threads (default: all cores)", check=THREADS, metavar="N"
    )
    device: str = option("cpu", "Run", "torch device for training: cpu, cuda, cuda:1")


@dataclass(frozen=True)
class WeightsRecipe(Recipe):
    """Options of the commands that start from trained weights."""

    weights: str | None = option(
        None,
        "Network",
        f"trained weights, .safetensors or a plain state dict (default for {EMBEDDED}: the"
        " shipped teacher)",
        metavar="FILE",
    )


@dataclass(frozen=True)
class AnalyzeRecipe(WeightsRecipe):
    """What ``edgesr analyze`` does."""

    rank_target: float = option(
        0.9, "Surgery", "share of the cumulative singular values to keep", check=SHARE
    )


@dataclass(frozen=True)
class CompressRecipe(WeightsRecipe):
    """What ``edgesr compress`` does."""

    teacher: str | None = option(
        None,
        "Network",
        "weights of a deeper network to distil from (default: the uncompressed network)",
        metavar="FILE",
    )
    rank_target: float = option(
        0.9, "Surgery", "share of the cumulative singular values to keep", check=SHARE
    )
    rank_criterion: str = option(
        "sum",
        "Surgery",
        "what is cumulated: sum (as published) or energy (squared)",
        check=one_of("sum", "energy"),
        metavar="KIND",
    )
    method: str = option(
        "auto",
        "Surgery",
        "pass that replaces the upsampler: auto (the fastest of all that are registered), grouped"
        " (as published), lowrank, or one of another package; none replaces nothing and deploys"
        " the network as it is",
        metavar="PASS",
    )
    groups: int | None = option(
        None, "Surgery", "take exactly this many groups (implies grouped)", check=SEVERAL
    )
    rank: int | None = option(
        None, "Surgery", "take exactly this rank (implies lowrank)", check=CHANNELS
    )
    exact_target: bool = option(
        False, "Surgery", "stay at the target's own rank; do not walk down from it"
    )
    init: str = option(
        "data",
        "Surgery",
        "closed-form start: data (on the layer's real input) or weights (plain SVD, slices)",
        check=one_of("data", "weights"),
        metavar="START",
    )
    max_psnr_drop: float = option(
        0.05, "Budget", "largest loss of MPSNR on budget blocks, in dB", check=NOT_NEGATIVE
    )
    max_sam_drop: float | None = option(
        None, "Budget", "largest loss of SAM on budget blocks, in degrees", check=NOT_NEGATIVE
    )
    confidence: float = option(
        90.0,
        "Budget",
        "per cent of the interval whose upper end must keep to both; 0 holds the mean against them",
        check=PER_CENT,
    )
    latency_tile: int = option(
        64, "Budget", "LR side of the tile that latency is measured on", check=TILE
    )
    search: bool = option(
        False,
        "Search",
        "compress the whole network, not the upsampler alone; so does any limit below",
    )
    max_latency_ms: float | None = option(
        None, "Search", "largest latency on --runtime, in ms", check=ABOVE_ZERO, metavar="MS"
    )
    max_params: float | None = option(
        None, "Search", "most parameters, such as 1e6", check=ABOVE_ZERO, metavar="N"
    )
    max_macs: float | None = option(
        None,
        "Search",
        "most MACs at a 16 x 16 LR input, such as 0.2e9",
        check=ABOVE_ZERO,
        metavar="N",
    )
    runtime: str = option(
        "onnxruntime",
        "Search",
        "what latency is measured on: {names}",
        check=registered(_runtimes),
        metavar="NAME",
    )
    trials: int = option(12, "Search", "designs to try", check=COUNT)
    precisions: tuple[str, ...] = option(
        PRECISIONS,
        "Deployment",
        "what is made for each target: {names}",
        check=list_with("fp32", lambda: PRECISIONS),
    )
    targets: tuple[str, ...] = option(
        _usual_targets,
        "Deployment",
        "what it is made for: {names}",
        check=list_with(ALWAYS, lambda: list(TARGETS)),
    )
    io: tuple[str, ...] = option(
        IO,
        "Deployment",
        "what the files take and give, numbers in [0, 1] or the sensor's own: {names}",
        check=list_with(NORMALISED, lambda: IO),
    )
    qat: bool = option(
        False,
        "Deployment",
        "where the limits leave layers out of int8, fine-tune with quantisation simulated",
    )
    compute_capability: str | None = option(
        None,
        "Deployment",
        "GPU that TensorRT engines are built for, such as 8.6 (default: the one here, else 8.6)",
        check=CAPABILITY,
        metavar="X.Y",
    )
    tile_range: str | None = option(
        None,
        "Deployment",
        "LR tile sides that engines serve: least, tuned for, largest"
        " (default: 8:64:128; a bundle: its reference tiles, --latency-tile, 128)",
        check=TILE_RANGE,
        metavar="MIN:OPT:MAX",
    )
    export_size: str | None = option(
        None,
        "Deployment",
        f"{HELP}; latency is then measured on it, too (default: any size; where the"
        " network allows one alone, the --latency-tile)",
        check=EXPORT_SIZE,
        metavar="HxW",
    )
    bundle: bool = option(False, "Deployment", "also write the bundle for a Jetson board")
    epochs: int | None = option(
        None,
        "Distillation",
        "epochs of fine-tuning; 0 keeps the closed form (default: 6; in a search 32, where more is"
        " to be mended, and an eighth for a trial)",
        check=COUNT_OR_NONE,
    )
    steps_per_epoch: int = option(12, "Distillation", "steps of an epoch", check=COUNT)
    batch: int = option(8, "Distillation", "patches of a step", check=BATCH)
    learning_rate: float = option(
        2e-4, "Distillation", "first learning rate; the last is a tenth of it", check=SHARE
    )
    amp: str = option(
        "auto",
        "Distillation",
        "mixed precision of fine-tuning: auto (bf16 where the processor computes in it), off, bf16"
        " or fp16 (fp16 needs a GPU)",
        check=one_of("auto", "off", "bf16", "fp16"),
        metavar="KIND",
    )
    distil: str = option(
        DEFAULT_DISTIL,
        "Distillation",
        "what is learnt from the teacher: paper (ground truth and decaying features, as published),"
        " output (the teacher's output alone), mix (ground truth and output), unlabelled (output,"
        " on images without ground truth), or one of another package",
        metavar="NAME",
    )
    alpha: float = option(0.01, "Distillation", "weight of the distillation loss", check=WEIGHT)
    decay: float = option(
        0.66, "Distillation", "d in the decay D = d^floor(epoch / f)", check=SHARE
    )
    decay_every: int = option(
        10, "Distillation", "f in the decay D = d^floor(epoch / f)", check=COUNT
    )
    patience: int | None = option(
        None,
        "Distillation",
        "stop after so many epochs without gain on tuning blocks (default: never; the gain comes"
        " with the last, smallest steps)",
        check=COUNT,
    )
    baseline_groups: int = option(
        8,
        "Distillation",
        "also distil the paper's grouped upsampler with so many groups, to compare; 0 leaves it",
        check=COUNT_OR_NONE,
    )

    @property
    def is_forced(self) -> bool:
        """Whether one setting is asked for, so that no budget decides."""
        return self.exact_target or bool(self.settings)

    @property
    def settings(self) -> dict[str, int]:
        """The settings of passes that are asked for exactly, by their key."""
        asked = {"groups": self.groups, "rank": self.rank}
        return {key: value for key, value in asked.items() if value is not None}

    @property
    def cost_limits(self) -> dict[str, float]:
        """The limits that were set, by the name of the figure that they bound."""
        limits = {
            "latency_ms": self.max_latency_ms,
            "params": self.max_params,
            "macs": self.max_macs,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def one_size(self) -> bool:
        """Whether the ONNX file is to take the size of :attr:`tile` alone."""
        return self.export_size is not None

    @property
    def tile(self) -> tuple[int, int]:
        """LR height and width of the tile that latency is measured on."""
        if self.export_size is not None:
            return parse_export_size(self.export_size)
        return self.latency_tile, self.latency_tile

    @property
    def searches(self) -> bool:
        """Whether the whole network is compressed within a budget."""
        return self.search or bool(self.cost_limits)

    @property
    def upsampler_alone(self) -> Self:
        """The same run without a search."""
        return replace(self, search=False, max_latency_ms=None, max_params=None, max_macs=None)

    @property
    def student_epochs(self) -> int:
        """The epochs that were asked for, or the default of this kind of run."""
        return (32 if self.searches else 6) if self.epochs is None else self.epochs


@dataclass(frozen=True)
class TrainRecipe(Recipe):
    """What ``edgesr train`` does."""

    blocks: int | None = option(None, "Network", "blocks of lkca_net (default: 16)", check=COUNT)
    groups: int | None = option(
        None, "Network", "groups of lkca_net's upsampler (default: 1)", check=CHANNELS
    )
    drop_path: float = option(0.0, "Network", "stochastic depth of lkca_net", check=PART)
    variant: str | None = option(
        None,
        "Network",
        "dacn as in the paper or as its authors published it (default: paper)",
        check=one_of("paper", "published"),
        metavar="KIND",
    )
    initial: str | None = option(
        None, "Network", "start from these weights instead of from scratch", metavar="FILE"
    )
    extra: tuple[str, ...] = option(
        (), "Data", "more cubes to mix in, comma separated (bands are matched by wavelength)"
    )
    mix: float = option(0.5, "Training", "share of a batch from the extra cubes", check=PART)
    focus: float = option(
        0.3, "Training", "last share of the epochs on the target scene alone", check=SHARE
    )
    epochs: int = option(300, "Training", "at most so many epochs", check=COUNT)
    steps_per_epoch: int | None = option(
        None, "Training", "steps of an epoch (default: every patch once)", check=COUNT
    )
    batch: int = option(32, "Training", "patches of a step, over all processes", check=BATCH)
    learning_rate: float = option(2e-3, "Training", "first learning rate", check=SHARE)
    final_learning_rate: float = option(
        2e-4, "Training", "last learning rate of the cosine", check=SHARE
    )
    warmup_steps: int = option(0, "Training", "steps of linear warm-up", check=COUNT_OR_NONE)
    clip: float = option(
        1.0, "Training", "largest gradient norm; 0 does not clip", check=NOT_NEGATIVE
    )
    ema: float | None = option(
        None, "Training", "keep a moving average of the weights with this decay", check=PART
    )
    loss: str = option(
        "hh",
        "Training",
        "hh (LKCA-Net's), dacn, or dacn-published (without the spectral term)",
        check=one_of("hh", "dacn", "dacn-published"),
    )
    patience: int | None = option(
        None, "Training", "stop after so many epochs without gain on tuning blocks", check=COUNT
    )
    amp: str = option(
        "off",
        "Training",
        "mixed precision: off, bf16 or fp16 (fp16 needs a GPU)",
        check=one_of("off", "bf16", "fp16"),
    )
