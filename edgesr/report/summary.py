"""What the page says first: one sentence, and six figures before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgesr.report.model import Report
from edgesr.report.wording import (
    by,
    export_warning,
    fixed,
    is_equal,
    milliseconds,
    plural,
    quantity,
    reduction,
    signed,
    student_speed,
    times,
)


@dataclass(frozen=True)
class KeyFigure:
    """A figure after compression beside the one before.

    Attributes:
        label: what it is, with its unit.
        after, before: as text.
        change: in words.
        remains: share of the earlier cost that is left, in [0, 1]; None where no bar makes sense.
        good: whether the change is for the better; None where it is neither.
    """

    label: str
    after: str
    before: str
    change: str
    remains: float | None = None
    good: bool | None = None


def headline(report: Report) -> str:
    """The result in one sentence, whatever it is."""
    teacher, student = report.teacher, report.student
    if report.chosen is None:
        return "The network was deployed as it is: nothing was replaced or trained."
    shrink = teacher.upsampler_params / max(student.upsampler_params, 1)
    gain = round(student.metrics.mpsnr - teacher.metrics.mpsnr, 3)
    quality = (
        f"loses {-gain:.3f} dB" if gain < 0 else f"gains {gain:.3f} dB" if gain else "loses nothing"
    )
    runs = f"runs {student_speed(report)} and {quality}."
    if report.search:
        return f"The network computes {times(teacher.macs / student.macs)} times less, {runs}"
    return f"The upsampler is {times(shrink)} times smaller; the network {runs}"


def retained(report: Report) -> float | None:
    """Share of the teacher's lead over bicubic, in MPSNR, that the student keeps.

    None where the teacher does not lead.
    """
    bicubic, teacher, student = (
        one.metrics.mpsnr for one in (report.bicubic, report.teacher, report.student)
    )
    return (student - bicubic) / (teacher - bicubic) if teacher > bicubic else None


def key_figures(report: Report) -> list[KeyFigure]:
    """Sizes, cost, latency and quality of the student, each beside the teacher's."""
    teacher, student = report.teacher, report.student
    before, after = teacher.latency_ms.median, student.latency_ms.median
    psnr = student.metrics.mpsnr - teacher.metrics.mpsnr
    angle = student.metrics.sam - teacher.metrics.sam
    sizes = [
        KeyFigure(
            label,
            quantity(small),
            quantity(large),
            reduction(large, small),
            min(1.0, small / large) if large else None,
            small < large,
        )
        for label, small, large in (
            ("Upsampler, parameters", student.upsampler_params, teacher.upsampler_params),
            ("Network, parameters", student.params, teacher.params),
            ("Cost, MACs", student.macs, teacher.macs),
        )
    ]
    return [
        *sizes,
        KeyFigure(
            "Latency, ms",
            milliseconds(after),
            milliseconds(before),
            student_speed(report),
            min(1.0, after / before) if before else None,
            None if is_equal(student.speedup) else after < before,
        ),
        KeyFigure(
            "MPSNR, dB (higher is better)",
            fixed(student.metrics.mpsnr),
            fixed(teacher.metrics.mpsnr),
            f"{signed(psnr)} dB",
        ),
        KeyFigure(
            "SAM, degrees (lower is better)",
            fixed(student.metrics.sam),
            fixed(teacher.metrics.sam),
            f"{signed(angle)}°",
        ),
    ]


def best_deployed(report: Report) -> tuple[str, float, float] | None:
    """The fastest model that was timed: its name, how much faster than the plain export, its MPSNR.

    None where nothing was deployed or the plain export was not timed.
    """
    naive = report.teacher.naive_latency_ms
    models = report.deployment.models if report.deployment else []
    timed = [(one.latency_ms.median, one) for one in models if one.latency_ms]
    if not naive or not timed:
        return None
    median, best = min(timed, key=lambda pair: pair[0])
    return f"{best.precision}, {best.runtime}", naive.median / median, best.metrics.mpsnr


def warnings(report: Report) -> Iterator[str]:
    """What a reader should know before believing the headline."""
    lead = report.teacher.metrics.mpsnr - report.bicubic.metrics.mpsnr
    if lead < 0:
        yield (
            f"The teacher is {-lead:.3f} dB below bicubic interpolation on the test region: train"
            " it longer before you use what came of it."
        )
    limit = report.recipe.get("max_psnr_drop")
    lost = report.teacher.metrics.mpsnr - report.student.metrics.mpsnr
    if limit is not None and lost > limit:
        yield (
            f"On the test region the student loses {lost:.3f} dB, more than the {limit:g} dB that"
            " the recipe allows on budget blocks."
        )
    if is_equal(report.student.speedup):
        yield (
            "On this machine the student is not shown to be faster than the teacher: what it gains"
            " is size."
        )
    elif report.student.latency_ms.median > report.teacher.latency_ms.median:
        yield ("On this machine the student is slower than the teacher: what it gains is size.")
    if warning := export_warning(report):
        yield warning


def timing_conditions(report: Report) -> str:
    """Under what conditions the latencies of the networks hold."""
    timed = report.student.latency_ms
    return (
        f"{timed.runtime}, {plural(timed.threads, 'thread')}, {report.environment.cpu},"
        f" input {by(timed.input_shape)}, median of {timed.repeats}"
    )


def test_conditions(report: Report) -> str:
    """On what the quality was measured."""
    data = report.data
    text = f"test region of {data.name}"
    if part := data.split.get("test"):
        sizes = ", ".join(part.sizes or ()).replace(" x ", " × ")
        text += f", {plural(part.windows, 'window')}" + (f" of {sizes} pixels" if sizes else "")
    return f"{text}, [0, 1] data, float32"
