"""Figures and times as people read them, for the page's text, tables and charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgesr.report.model import Drop, HasSetting, Network, Report, Validation

NONE = "–"


@dataclass(frozen=True)
class Row:
    """One network of a report: its name for people, the name of its colour, and its figures."""

    name: str
    kind: str
    network: Network


def network_rows(report: Report) -> list[Row]:
    """The networks that a run measured: teacher, student, and those it is compared with."""
    rows = [Row("teacher", "teacher", report.teacher), Row("student", "student", report.student)]
    if found := report.search:
        rows.append(Row("upsampler alone", "alone", found.upsampler_alone))
    if baseline := report.paper_baseline:
        rows.append(Row(f"paper's g={baseline.groups}", "paper", baseline))
    return rows


def surgery_name(surgery: HasSetting) -> str:
    """Short name of a candidate or of the choice, as its pass calls it: ``low-rank R=32``.

    A pass that is not registered here, as in a report from elsewhere, has its own name and setting.
    """
    from edgesr.surgery.passes import PASSES

    known = PASSES.get(surgery.method)
    return known.label(surgery.value) if known else f"{surgery.method} {surgery.value}"


def quantity(number: float) -> str:
    """Four significant places with a unit, as papers print them: 3.707 M, 0.8669 G, 77.82 k."""
    for limit, unit in ((1e8, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:#.4g} {unit}"
    return f"{number:g}"


def export_warning(report: Report) -> str | None:
    """What is to be known before the ONNX file is trusted; None where it takes any image."""
    if reason := report.not_exported:
        return (
            f"There is no ONNX file, and latencies are PyTorch's: {reason}. Replace that operator"
            " in the network, or load the student's weights in PyTorch."
        )
    found = report.onnx.tracing if report.onnx else None
    if found is None:
        return None
    parts = []
    if found.how == "recorded":
        parts.append(
            "It was recorded on real input, and Python that depends on values always takes the"
            f" branch of that input ({found.why})."
        )
    if found.differs:
        images = ", ".join(f"{name} (by {by:.1e})" for name, by in found.differs.items())
        parts.append(f"It is right on the real tiles tried and wrong for {images}.")
    if found.size != "free":
        height, width = found.size
        alone = f"It takes {height} x {width} pixels alone"
        if report.recipe.get("export_size"):
            parts.append(f"{alone}, as --export-size asks.")
        else:
            why = f" ({found.why})" if found.why else ""
            parts.append(f"{alone}{why}; --export-size HxW chooses another size.")
    return " ".join(["The ONNX file:", *parts]) if parts else None


def milliseconds(duration: float) -> str:
    """Three significant places at least: 0.123, 4.56, 45.6, 1234 (ms)."""
    for limit, places in ((1, 3), (10, 2), (1000, 1)):
        if duration < limit:
            return f"{duration:.{places}f}"
    return f"{duration:,.0f}"


def interval(lost: Drop | Validation) -> str:
    """Both ends of the interval of a change of MPSNR: −0.031 to +0.002."""
    if lost.mpsnr_interval is None:
        return NONE
    low, high = lost.mpsnr_interval
    return f"{signed(-high)} to {signed(-low)}"


def folds_note(report: Report) -> str:
    """That drops of candidates come from folds too, and why; empty where they do not."""
    folds = max((one.validation.folds for one in report.candidates), default=0)
    if not folds:
        return ""
    budget = report.data.split.get("budget")
    count = "too few budget blocks" if budget is None else plural(budget.windows, "budget block")
    return (
        f"{count} alone would make no sound interval: beside them each candidate was measured on"
        f" {folds} folds of the training part, calibrated on the rest of it each time. A trained"
        " network has seen the folds, so what it loses is measured on budget blocks alone."
    )


def signed(number: float, places: int = 3) -> str:
    """With its sign, a real minus, and no negative zero: +0.012, −0.035."""
    return f"{round(number, places) + 0.0:+.{places}f}".replace("-", "−")


def fixed(number: Any, places: int = 3) -> str:
    """A number with so many decimals; a dash for what is no number."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return NONE
    return f"{number:,.{places}f}".replace("-", "−")


def times(ratio: float) -> str:
    """How many times: 90, 9.1, 2.10."""
    return f"{ratio:.0f}" if ratio >= 30 else f"{ratio:.1f}" if ratio >= 4 else f"{ratio:.2f}"


def speed(before: float, after: float) -> str:
    """How a duration changed: ``2.10 times faster``."""
    if after <= 0 or before <= 0:
        return NONE
    ratio = before / after
    return f"{times(ratio)} times faster" if ratio >= 1 else f"{times(1 / ratio)} times slower"


def is_equal(interval: Sequence[float] | None) -> bool:
    """Whether the interval of a ratio spans 1: no difference was shown."""
    return interval is not None and interval[0] <= 1 <= interval[1]


def student_speed(report: Report) -> str:
    """The student's speed beside the teacher's: ``2.10 times faster``, or that none is shown."""
    if is_equal(interval := report.student.speedup):
        low, high = interval or (1.0, 1.0)
        return f"as fast as before ({low:.2f} to {high:.2f} times)"
    return speed(report.teacher.latency_ms.median, report.student.latency_ms.median)


def reduction(before: float, after: float) -> str:
    """How a size changed: ``90 times smaller``, ``66 % less``."""
    if before <= 0 or after <= 0:
        return NONE
    if before / after >= 4:
        return f"{times(before / after)} times smaller"
    change = 100 * (after / before - 1)
    return f"{abs(change):.0f} % {'less' if change < 0 else 'more'}"


def by(shape: Any) -> str:
    """A shape: 1 × 151 × 32 × 32."""
    return " × ".join(str(length) for length in shape)


def plural(number: int, noun: str) -> str:
    """1 layer, 2 layers, 1,234 layers."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def equal_share(share: float) -> str:
    """Of values that are equal, never rounded up: 99.999%, and 100% where all are."""
    return f"{math.floor(1e5 * share) / 1e3:g}%"


def size(count: float) -> str:
    """Bytes: 386 B, 5.6 MB."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """45 s, 12 min 38 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def day(moment: str) -> str:
    """A date of ISO 8601 as ``21 November 2026, 15:15``; other text as it is."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{parsed.day} {parsed:%B %Y, %H:%M}"
