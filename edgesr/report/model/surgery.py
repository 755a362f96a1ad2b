"""What was found in the teacher, and what was made of it: sites, spectra, surgeries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, field

from edgesr.report.model._base import (
    Amount,
    Count,
    Entry,
    Positive,
    Range,
    Shape,
    Share,
    Text,
    doc,
)

KEYS = ("rank", "groups", "setting")
"""Where a surgery has its setting: ranks, groups, or what another pass counts in."""


class SiteEntry(Entry, frozen=True, kw_only=True):
    """One learnable upsampler."""

    name: Annotated[str, doc("Name of the site.")]
    layers: Annotated[
        list[str],
        Meta(
            min_length=1,
            description="Module paths; more than one when parallel layers share their input.",
        ),
    ]
    kind: Annotated[Literal["subpixel", "transposed", "resize"], doc("How it enlarges.")]
    scale: Annotated[int, Meta(ge=2, description="Its magnification.")]
    kernel: Annotated[Shape, doc("Kernel size along each axis.")]
    stride: Annotated[Shape | None, doc("Stride along each axis.")] = None
    in_channels: Annotated[Positive, doc("Input channels.")]
    out_channels: Annotated[Positive, doc("Output channels, summed over the layers.")]
    groups: Annotated[Positive, doc("Groups of the convolution.")]
    params: Annotated[Count, doc("Parameters, summed over the layers.")]
    macs: Annotated[Count, doc("Multiply-accumulates on the example input.")]
    param_share: Annotated[Share, doc("Share of the network's parameters.")]
    mac_share: Annotated[Share, doc("Share of the network's multiply-accumulates.")]
    bias: Annotated[bool | None, doc("Whether the layers have a bias.")] = None
    positions: Annotated[
        Count | None, doc("How often each weight is used on the example input.")
    ] = None


class Ranks(Entry, frozen=True, kw_only=True):
    """Fewest singular values that hold the target."""

    sum: Annotated[Positive, doc("Of the cumulative sum, as in the paper.")]
    energy: Annotated[Positive, doc("Of the cumulative sum of squares.")]


class SpectrumEntry(Entry, frozen=True, kw_only=True):
    """One site's spectrum."""

    site: Annotated[str, doc("Name of the site.")]
    rows: Annotated[Positive, doc("Rows of the matrix.")]
    cols: Annotated[Positive, doc("Columns of the matrix.")]
    target: Annotated[float, Meta(gt=0, le=1, description="Share to be held, --rank-target.")]
    rank: Annotated[Ranks, doc("Fewest singular values that hold the target.")]
    effective_rank: Annotated[Amount, doc("exp of the entropy of the normalised singular values.")]
    singular_values: Annotated[
        list[Amount], Meta(min_length=1, description="All of them, descending.")
    ]


Interval = Annotated[list[float], Meta(min_length=2, max_length=2)]


class Drop(Entry, frozen=True, kw_only=True):
    """Loss against the teacher on budget windows; negative is a gain."""

    mpsnr_drop: Annotated[float, doc("Loss of MPSNR in dB.")]
    sam_drop: Annotated[float, doc("Growth of SAM in degrees.")]
    mpsnr_interval: Annotated[
        Interval | None, doc("Both ends of the interval of mpsnr_drop; null where there is none.")
    ] = None
    sam_interval: Annotated[
        Interval | None, doc("Both ends of the interval of sam_drop; null where there is none.")
    ] = None
    folds: Annotated[
        Count,
        doc(
            "Folds of the training part that were measured beside too few budget windows, each with"
            " the closed form of the rest of that part."
        ),
    ] = 0

    @property
    def worst_mpsnr_drop(self) -> float:
        """The upper end of the interval, else the loss itself."""
        return self.mpsnr_interval[1] if self.mpsnr_interval else self.mpsnr_drop


Method = Annotated[
    Text,
    doc(
        "Kind of surgery, by the name of its pass: 'lowrank' (k x k to R channels, then 1 x 1),"
        " 'grouped' (as in the paper), or another."
    ),
]
Rank = Annotated[Positive | None, doc("R, where the pass is set by a rank.")]
Groups = Annotated[Positive | None, doc("g, where the pass is set by a number of groups.")]
Setting = Annotated[Positive | None, doc("The setting of a pass that counts in something else.")]
Settings = Annotated[
    dict[str, Positive] | None,
    doc("Setting of each site, by the site's name, where sites differ."),
]


class HasSetting:
    """A pass and its setting, which stands under one of :data:`KEYS`."""

    __slots__ = ()
    method: str
    rank: int | None
    groups: int | None
    setting: int | None
    settings: Mapping[str, int] | None

    @property
    def value(self) -> int:
        """The rank, the number of groups, or whatever the pass is set by."""
        return next(value for key in KEYS if (value := getattr(self, key)) is not None)

    def __post_init__(self) -> None:
        """Hold the setting to its pass, where that pass is registered here.

        Raises:
            ValueError: no setting, several, or one under another key than the pass has.
        """
        from edgesr.surgery.passes import PASSES

        found = [key for key in KEYS if getattr(self, key) is not None]
        known = PASSES.get(self.method)
        expected = setting_key(known.setting) if known else None
        if len(found) != 1 or expected not in (None, *found):
            raise ValueError(
                f"the pass {self.method!r} needs {expected or 'one of ' + ', '.join(KEYS)} and"
                f" nothing else, got {' and '.join(found) or 'nothing'}"
            )


def setting_key(setting: str) -> str:
    """The key of :data:`KEYS` under which a pass that is set by ``setting`` is reported."""
    return setting if setting in KEYS else "setting"


class SurgeryEntry(Entry, HasSetting, frozen=True, kw_only=True):
    """A pass and its setting."""

    method: Method = field(name="pass")
    rank: Rank = None
    groups: Groups = None
    setting: Setting = None
    settings: Settings = None


class Comparison(Entry, frozen=True, kw_only=True):
    """Two networks, timed side by side until one was shown to be faster."""

    first: Annotated[str, doc("One: the label of a candidate, or 'the reference'.")]
    second: Annotated[str, doc("The other.")]
    ratio: Annotated[Amount, doc("How many times as long the first takes, median of the rounds.")]
    interval: Annotated[Range, doc("95 % interval of the ratio.")]
    rounds: Annotated[Positive, doc("Rounds, each of both.")]
    faster: Annotated[str | None, doc("Which is faster; null where they count as equal.")]


class ChosenEntry(SurgeryEntry, frozen=True, kw_only=True):
    """The surgery of the student."""

    why: Annotated[str, doc("Why this one.")]
    compared: Annotated[
        list[Comparison],
        doc("The comparisons that decided before training; the last is with the reference."),
    ] = field(default_factory=list)


class CandidateEntry(SurgeryEntry, frozen=True, kw_only=True):
    """A surgery evaluated in closed form, before any training."""

    params: Annotated[Count, doc("Parameters of the whole network.")]
    upsampler_params: Annotated[Count, doc("Parameters of its upsampling layers.")]
    macs: Annotated[Count, doc("Multiply-accumulates on the teacher's macs_input_shape.")]
    latency_ms: Annotated[
        Amount | None,
        doc(
            "Median latency in milliseconds, measured like the teacher's but in closed form; null"
            " when not measured."
        ),
    ]
    validation: Annotated[
        Drop, doc("Loss against the teacher on budget windows; negative is a gain.")
    ]
    chosen: Annotated[bool, doc("Whether this one became the student.")]
    equal: Annotated[
        bool | None,
        doc("Whether its interval and that of the chosen one overlap; null where there is none."),
    ] = None
    reason: Annotated[str, doc("Why it was chosen or passed over.")]
