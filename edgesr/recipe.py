"""Recipes: everything that decides a run, in one validated place.

A recipe is a frozen dataclass. Its fields are the command line's options, the keys of
``recipe.toml`` and the arguments of the Python call at once, so the three cannot drift apart.
Nothing here imports torch or numpy: ``edgesr --help`` must answer at once.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_type_hints

from edgesr.errors import OptionError
from edgesr.files import atomic_path

EMBEDDED = "indian_pines"
DEFAULT_MODEL = "lkca_net"


@dataclass(frozen=True)
class Check:
    """A range or set of values, with the words that name it in help and in errors."""

    words: str
    holds: Callable[[Any], bool]


POSITIVE = Check("an integer of at least 1", lambda value: value >= 1)
NOT_NEGATIVE = Check("a number of at least 0", lambda value: value >= 0)
ABOVE_ZERO = Check("a number above 0", lambda value: value > 0)
SHARE = Check("a number in (0, 1]", lambda value: 0 < value <= 1)
PART = Check("a number in [0, 1)", lambda value: 0 <= value < 1)
SCALE = Check("an integer of at least 2", lambda value: value >= 2)
SEED = Check("an integer from 0 to 2^63 - 1", lambda value: 0 <= value < 2**63)


def one_of(*choices: str) -> Check:
    """Check that a value is one of ``choices``."""
    return Check(f"one of {', '.join(choices)}", lambda value: value in choices)


def list_with(first: str, *others: str) -> Check:
    """Check that a value is a comma separated list of the words given, ``first`` among them."""
    return Check(
        f"a list of {', '.join((first, *others))} with {first} in it, such as {first},{others[-1]}",
        lambda value: first in (given := value.split(",")) and {*given} <= {first, *others},
    )


def option(
    default: Any, group: str, text: str, *, check: Check | None = None, metavar: str | None = None
) -> Any:
    """Describe one field of a recipe: its default, help group, help text and valid values."""
    return field(
        default=default,
        metadata={"group": group, "help": text, "check": check, "metavar": metavar},
    )


def field_type(recipe: type, name: str) -> type:
    """Return the plain type of a field: ``int`` for ``int | None``."""
    hint = get_type_hints(recipe)[name]
    if isinstance(hint, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


@dataclass(frozen=True)
class Recipe:
    """Options that every command on a scene shares."""

    data: str = option(
        EMBEDDED, "Data", f"cube: a file, file.mat:variable, file.h5:/path, or {EMBEDDED}"
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
        check=POSITIVE,
        metavar="PIXELS",
    )
    model: str = option(
        DEFAULT_MODEL,
        "Network",
        "lkca_net, dacn, vdsr, 3dfcnn, or your own package.module:factory",
    )
    seed: int = option(0, "Run", "seed of every random draw", check=SEED)
    threads: int | None = option(
        None, "Run", "CPU threads (default: all cores)", check=POSITIVE, metavar="N"
    )
    device: str = option("cpu", "Run", "torch device for training: cpu, cuda, cuda:1")

    def __post_init__(self) -> None:
        for item in fields(self):
            value, check = getattr(self, item.name), item.metadata["check"]
            expected = field_type(type(self), item.name)
            if value is None and item.default is None:
                continue
            if expected is float and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, item.name, value := float(value))
            if not isinstance(value, expected) or (
                isinstance(value, bool) and expected is not bool
            ):
                raise OptionError(
                    f"{option_name(item.name)} must be {_article(expected)}, not {value!r}"
                )
            if isinstance(value, float) and not math.isfinite(value):
                raise OptionError(f"{option_name(item.name)} must be finite, not {value!r}")
            if check is not None and not check.holds(value):
                raise OptionError(f"{option_name(item.name)} must be {check.words}, not {value!r}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build a recipe from plain values.

        Raises:
            OptionError: a key that this recipe does not have, or a value outside its range.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise OptionError(
                f"the recipe has unknown keys {', '.join(unknown)}; known are"
                f" {', '.join(sorted(known))}"
            )
        return cls(**values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe that :meth:`save` wrote.

        Raises:
            OptionError: the file is missing, is no TOML, or holds unknown keys or values.
        """
        return cls.from_mapping(read_toml(path))

    def save(self, path: Path) -> None:
        """Write the recipe as TOML, a section for each group of options; unset keys stay out."""
        import tomli_w

        sections: dict[str, dict[str, Any]] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                sections.setdefault(item.metadata["group"].lower(), {})[item.name] = value
        with atomic_path(path) as temporary:
            temporary.write_text(tomli_w.dumps(sections))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe's values by name."""
        return asdict(self)


def read_toml(path: Path) -> dict[str, Any]:
    """Read the flat keys of a sectioned recipe file.

    Raises:
        OptionError: the file is missing or no TOML.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise OptionError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"the recipe {path} is not valid TOML: {error}") from error
    values: dict[str, Any] = {}
    for key, value in content.items():
        values.update(value if isinstance(value, dict) else {key: value})
    return values


def option_name(name: str) -> str:
    """Spell a field as the command line does: ``rank_target`` becomes ``--rank-target``."""
    return "--" + name.replace("_", "-")


def _article(kind: type) -> str:
    return {int: "an integer", float: "a number", str: "a text", bool: "true or false"}[kind]


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
        "family of the replacement: auto (the fastest), grouped (as published) or lowrank",
        check=one_of("auto", "grouped", "lowrank"),
        metavar="FAMILY",
    )
    groups: int | None = option(
        None, "Surgery", "take exactly this many groups (implies grouped)", check=SCALE
    )
    rank: int | None = option(
        None, "Surgery", "take exactly this rank (implies lowrank)", check=POSITIVE
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
        0.05, "Budget", "largest loss of MPSNR on validation, in dB", check=NOT_NEGATIVE
    )
    max_sam_drop: float | None = option(
        None, "Budget", "largest loss of SAM on validation, in degrees", check=NOT_NEGATIVE
    )
    latency_tile: int = option(
        64, "Budget", "LR side of the tile that latency is measured on", check=POSITIVE
    )
    precisions: str = option(
        "fp32,fp16,int8",
        "Deployment",
        "what is made for each target, comma separated; fp32 always is",
        check=list_with("fp32", "fp16", "int8"),
        metavar="LIST",
    )
    targets: str = option(
        "cpu,tensorrt,openvino",
        "Deployment",
        "what it is made for, comma separated; cpu always is",
        check=list_with("cpu", "tensorrt", "openvino"),
        metavar="LIST",
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
        metavar="X.Y",
    )
    bundle: bool = option(False, "Deployment", "also write the bundle for a Jetson board")
    epochs: int = option(
        12, "Distillation", "epochs of fine-tuning; 0 keeps the closed form", check=NOT_NEGATIVE
    )
    steps_per_epoch: int = option(12, "Distillation", "steps of an epoch", check=POSITIVE)
    batch: int = option(8, "Distillation", "patches of a step", check=POSITIVE)
    learning_rate: float = option(5e-5, "Distillation", "first learning rate", check=ABOVE_ZERO)
    alpha: float = option(
        0.01, "Distillation", "weight of the distillation loss", check=NOT_NEGATIVE
    )
    decay: float = option(
        0.66, "Distillation", "d in the decay D = d^floor(epoch / f)", check=SHARE
    )
    decay_every: int = option(
        10, "Distillation", "f in the decay D = d^floor(epoch / f)", check=POSITIVE
    )
    patience: int | None = option(
        5, "Distillation", "stop after so many epochs without gain on validation", check=POSITIVE
    )
    baseline_groups: int = option(
        8,
        "Distillation",
        "also distil the paper's grouped upsampler with so many groups, to compare; 0 leaves it",
        check=NOT_NEGATIVE,
    )

    @property
    def is_forced(self) -> bool:
        """Whether one setting is asked for, so that no budget decides."""
        return self.exact_target or self.groups is not None or self.rank is not None


@dataclass(frozen=True)
class TrainRecipe(Recipe):
    """What ``edgesr train`` does."""

    blocks: int | None = option(None, "Network", "blocks of lkca_net (default: 16)", check=POSITIVE)
    groups: int | None = option(
        None, "Network", "groups of lkca_net's upsampler (default: 1)", check=POSITIVE
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
    extra: str = option(
        "", "Data", "more cubes to mix in, comma separated (bands are matched by wavelength)"
    )
    mix: float = option(0.5, "Training", "share of a batch from the extra cubes", check=PART)
    focus: float = option(
        0.3, "Training", "last share of the epochs on the target scene alone", check=SHARE
    )
    epochs: int = option(300, "Training", "at most so many epochs", check=POSITIVE)
    steps_per_epoch: int | None = option(
        None, "Training", "steps of an epoch (default: every patch once)", check=POSITIVE
    )
    batch: int = option(32, "Training", "patches of a step, over all processes", check=POSITIVE)
    learning_rate: float = option(2e-3, "Training", "first learning rate", check=ABOVE_ZERO)
    final_learning_rate: float = option(
        2e-4, "Training", "last learning rate of the cosine", check=ABOVE_ZERO
    )
    warmup_steps: int = option(0, "Training", "steps of linear warm-up", check=NOT_NEGATIVE)
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
        None, "Training", "stop after so many epochs without gain on validation", check=POSITIVE
    )
    amp: str = option(
        "off",
        "Training",
        "mixed precision: off, bf16 or fp16 (fp16 needs a GPU)",
        check=one_of("off", "bf16", "fp16"),
    )
