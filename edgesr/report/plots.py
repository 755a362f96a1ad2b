"""The two figures of the LKCA-Net paper, drawn for the user's own model.

The paper: "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution", Figures 1
(where the parameters are) and 4 (how few singular values hold the upsampler).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from edgesr.errors import OptionError
from edgesr.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
BACKBONE, UPSAMPLER, INK, MUTED = "#9db4c0", "#d1495b", "#22303c", "#66788a"
ENERGY = "#2e6f95"


@dataclass(frozen=True)
class Share:
    """Parameters of one network: ``label`` such as ``x4``, the upsampling layers, all the rest."""

    label: str
    backbone: int
    upsampler: int

    @property
    def upsampler_share(self) -> float:
        """Share of the parameters that the upsampler holds, in [0, 1]."""
        return self.upsampler / (self.backbone + self.upsampler)


def parameter_share(shares: Sequence[Share], path: Path, *, title: str = "") -> Path:
    """Draw the paper's Fig. 1: one bar a network, divided into backbone and upsampler.

    Args:
        shares: one entry a network, such as the same one at several scales; drawn top down.
        path: file to write, ``.png`` or ``.svg``.
        title: name of the network.

    Raises:
        OptionError: another suffix, or no share.
    """
    if not shares:
        raise OptionError("a figure of parameter shares needs at least one network, got none")
    with _figure(path, (7.2, 1.5 + 0.52 * len(shares))) as (figure, axes):
        rows = range(len(shares))
        upsampler = np.array([share.upsampler_share for share in shares])
        axes.barh(rows, 1 - upsampler, color=BACKBONE, height=0.62)
        axes.barh(rows, upsampler, left=1 - upsampler, color=UPSAMPLER, height=0.62)
        for row, share in zip(rows, shares, strict=True):
            _percent(axes, row, 1 - upsampler[row], (1 - upsampler[row]) / 2, INK)
            _percent(axes, row, upsampler[row], 1 - upsampler[row] / 2, "white")
            total = share.backbone + share.upsampler
            axes.text(1.015, row, _millions(total), va="center", color=MUTED, fontsize=9)
        axes.text(0, -0.55, "backbone", color=MUTED, fontsize=10, va="bottom")
        axes.text(1, -0.55, "upsampler", color=UPSAMPLER, fontsize=10, ha="right", va="bottom")
        axes.set_yticks(rows, [share.label for share in shares], fontsize=11, color=INK)
        axes.tick_params(left=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(shares) - 0.5, -0.62)
        axes.set_xticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        _title(axes, title, "where the parameters are")
        figure.subplots_adjust(right=0.87)
    return path


def cumulative_spectrum(
    singular_values: ArrayLike, path: Path, *, target: float = 0.9, title: str = ""
) -> Path:
    """Draw the paper's Fig. 4: the share of the spectrum that the first r singular values hold.

    Both the sum of the values (as the paper) and the sum of their squares are drawn, with the
    rank at which each reaches ``target``.

    Args:
        singular_values: descending, at least one above 0.
        path: file to write, ``.png`` or ``.svg``.
        target: share in (0, 1].
        title: name of the network or site.

    Raises:
        OptionError: another suffix, a target out of range, or values without a positive one.
    """
    values = np.asarray(singular_values, dtype=np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all() or values.max() <= 0:
        raise OptionError("a spectrum needs finite singular values with one above 0")
    if not 0 < target <= 1:
        raise OptionError(f"the rank target must lie in (0, 1], got {target}; try 0.9")
    from matplotlib.ticker import MaxNLocator

    with _figure(path, (7.2, 4.3)) as (_, axes):
        axes.axhline(target, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            f"target {target:.0%}",
            (values.size, target),
            xytext=(-2, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            color=MUTED,
            fontsize=9,
        )
        curves = (
            ("squared energy", values**2, ENERGY, 0.16),
            ("sum, as in the paper", values, UPSAMPLER, 0.06),
        )
        for name, weights, colour, height in curves:
            _curve(axes, weights, target, name, colour, height)
        axes.set_xlim(0, values.size)
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlabel("number of singular values kept", color=INK)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.tick_params(colors=MUTED)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(MUTED)
        _title(axes, title, f"cumulative spectrum of {values.size} singular values")
    return path


def _curve(
    axes: Axes, weights: np.ndarray, target: float, name: str, colour: str, height: float
) -> None:
    """One cumulative curve; its rank is dropped to the axis and written at ``height``."""
    share = np.cumsum(weights) / weights.sum()
    rank = int(np.argmax(share >= target * (1 - 1e-12))) + 1
    ranks = np.arange(len(share) + 1)
    axes.plot(ranks, np.concatenate([[0.0], share]), color=colour, linewidth=2.2)
    axes.plot([rank, rank], [0, share[rank - 1]], color=colour, linewidth=0.9, linestyle=":")
    axes.plot(rank, share[rank - 1], "o", color=colour, markersize=6, clip_on=False)
    right = rank < 0.6 * len(share)
    axes.annotate(
        f"{name}: rank {rank}",
        (rank, height),
        xytext=(7 if right else -7, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        color=colour,
        fontsize=10,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _percent(axes: Axes, row: float, share: float, centre: float, colour: str) -> None:
    """Write a share into its part of the bar, or in the ink of the bar beside a narrow part."""
    narrow = share < 0.06
    if narrow:
        outwards = share / 2 + 0.01
        centre, colour = centre + (outwards if centre < 0.5 else -outwards), INK
    axes.text(
        centre,
        row,
        f"{share:.1%}" if narrow else f"{share:.0%}",
        ha="center" if not narrow else "left" if centre < 0.5 else "right",
        va="center",
        color=colour,
        fontsize=11,
        fontweight="bold",
    )


def _millions(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e5 else f"{number / 1e3:.1f} k"


def _title(axes: Axes, title: str, subject: str) -> None:
    text = f"{title}: {subject}" if title else subject[0].upper() + subject[1:]
    axes.set_title(text, loc="left", color=INK, fontsize=12, pad=14)


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[tuple[Figure, Axes]]:
    """A figure that is written to ``path`` when the block succeeds; no display is touched."""
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"figures are written as {' or '.join(SUFFIXES)}, got {path.name}")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    yield figure, figure.add_subplot()
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
    with (
        rc_context({"svg.hashsalt": "edgesr", "svg.fonttype": "none"}),
        atomic_path(path) as temporary,
    ):
        figure.savefig(temporary, dpi=160, bbox_inches="tight", metadata=metadata)
