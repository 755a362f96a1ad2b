"""From options and a bundle to a live run: which numbers, which tiles, which network."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from .contents import WIDEN, Bundle, Model
from .errors import BoardError, absent
from .live import LivePlan
from .live_grid import make_grid, overlap_of
from .live_numbers import Numbers, Wishes, choose_numbers, native_numbers
from .live_output import Lines
from .live_source import Shape, Source, open_source
from .native import why_no_native


@dataclass(frozen=True)
class Way:
    """How a source's numbers go through a network.

    Attributes:
        native: True where that is the bundle's native model, else absent: why not.
    """

    numbers: Numbers
    native: Any


def open_live(bundle: Bundle, options: argparse.Namespace) -> Source:
    """The source of ``--live``; raw data have all bands of the sensor where the bundle knows them.

    Raises:
        BoardError: it cannot be opened, or does not fit the bundle.
    """
    known = [bundle.bands]
    if bundle.card.count is not None:
        known = [*known, bundle.card.count] if options.normalised else [bundle.card.count, *known]
    shape = Shape(known, options.width, options.dtype, options.layout, options.bands)
    return open_source(options.live, shape, options.stall)


def choose_way(
    bundle: Bundle, model: Model, source: Source, options: argparse.Namespace, as_bytes: bool
) -> Way:
    """Through the native model where there is one for these numbers, else through numpy.

    Args:
        as_bytes: the form of native models that the runtime takes.

    Raises:
        BoardError: integers without a normalisation.
    """
    reason = why_no_native(model, as_bytes)
    if model.native is not None and reason is None:
        found = native_numbers(bundle, model.native, source.dtype, source.bands, _wishes(options))
        if not isinstance(found, str):
            return Way(found, True)
        reason = found
    return plain_way(bundle, source, options, str(reason))


def plain_way(bundle: Bundle, source: Source, options: argparse.Namespace, reason: str) -> Way:
    """Through numpy, for a reason; see :func:`choose_way`."""
    numbers = choose_numbers(bundle, source.dtype, source.bands, _wishes(options))
    return Way(numbers, absent(reason))


def make_plan(bundle: Bundle, source: Source, options: argparse.Namespace) -> LivePlan:
    """Blocks along the track and columns across it.

    Both overlap by the network's context, which the bundle may know; blocks by ``--context`` where
    that is given, and not at all in bundles that do not know it.

    Raises:
        BoardError: no engine of the bundle takes blocks of that height.
    """
    low, high = bundle.profile.smallest, bundle.profile.largest
    known = bundle.card.context
    context = known if isinstance(known, int) else None
    grid = make_grid(source.width, low[3], high[3], overlap_of(context, high[3]))
    height, before, after, fade = source.height, 0, 0, 0
    if not source.is_tiles:
        height = options.block_lines or _height(bundle, context if options.context is None else 0)
        if options.context is not None:
            before = after = options.context
        elif known is not None:
            along = overlap_of(context, height)
            fade = along.fade
            before, after = (0, fade) if fade else (along.size // 2, along.size // 2)
    if not low[2] <= height <= high[2]:
        raise BoardError(
            f"a block of {height} lines is outside the bundle's range {low[2]} to {high[2]}; "
            f"choose --block-lines inside, or make a bundle with a wider range ({WIDEN})"
        )
    return LivePlan(
        options.line_rate, height, grid, before, after, fade, options.queue, options.lines
    )


def notices(source: Source, plan: LivePlan, numbers: Numbers) -> list[str]:
    """What the user should know before the run, and may want otherwise."""
    lines = []
    if len(plan.grid.columns) > 1:
        lines.append(
            f"lines of {source.width} samples go through the network in {len(plan.grid.columns)} "
            f"columns of {plan.grid.width}; wider engines: {WIDEN}"
        )
    if numbers.written.kind != "f" and not numbers.is_declared:
        lines.append(
            f"no nodata value is known: {numbers.written_nodata:g} stands for it in the output;"
            " say another with --nodata"
        )
    return lines


def lines_of(bundle: Bundle, source: Source, numbers: Numbers) -> Lines:
    """What is written."""
    return Lines(
        bands=bundle.bands,
        width=source.width * bundle.scale,
        scale=bundle.scale,
        dtype=numbers.written,
        nodata=numbers.written_nodata,
        card=bundle.card,
        is_native=not numbers.is_unit,
    )


def describe(source: Source, plan: LivePlan, way: Way) -> dict[str, Any]:
    """Conditions of a run, for its report."""
    numbers, grid = way.numbers, plan.grid
    return {
        "source": source.name,
        "kind": "tiles" if source.is_tiles else "lines",
        "source_bands": source.bands,
        "source_type": source.dtype.name,
        "written_type": numbers.written.name,
        "native_model": way.native,
        "input_shape": [1, numbers.count, plan.block_lines, grid.width],
        "columns": len(grid.columns),
        "context_lines": plan.before,
        "fade_lines": plan.fade,
    }


def _wishes(options: argparse.Namespace) -> Wishes:
    return Wishes(options.normalised, options.nodata, options.write_dtype)


def _height(bundle: Bundle, context: int | None) -> int:
    """The bundle's typical height, or more where context would leave few new lines in it."""
    typical, largest = bundle.profile.typical[2], bundle.profile.largest[2]
    return max(typical, min(largest, 4 * (context or 0)))
