"""The summary of a run, for a person with ten seconds: eighty columns, colour only to help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgesr.errors import shown
from edgesr.report.model import (
    DeployedModel,
    Deployment,
    Distillation,
    EngineEntry,
    NativeModel,
    Report,
    SearchEntry,
    Times,
)
from edgesr.report.validation import parse
from edgesr.report.wording import (
    equal_share,
    export_warning,
    folds_note,
    is_equal,
    network_rows,
    quantity,
    surgery_name,
)

Note = tuple[str, str]


def render(report: Report | Mapping[str, Any], console: Console | None = None) -> None:
    """Print a report: what was compressed, the networks, the candidates, the files.

    Args:
        report: of a run, or the content of its ``report.json``.
        console: where to print; standard output by default. NO_COLOR and pipes are honoured.

    Raises:
        ReportError: the content does not fit the types of the report.
    """
    report = report if isinstance(report, Report) else parse(report)
    console = console or Console(highlight=False)
    parts: list[Text | Table] = [Text(shown(_headline(report)), style="bold"), _networks(report)]
    if report.candidates:
        parts.append(_candidates(report))
    if report.search:
        parts.append(_designs(report.search))
    if report.deployment:
        parts.append(deployment_table(report.deployment))
    for part in (*parts, notes(_notes(report))):
        console.print()
        console.print(part)


def notes(lines: Iterable[tuple[str, str]]) -> Table:
    """Grid of labels and what they say."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in lines:
        grid.add_row(label, Text(shown(text)))
    return grid


def _giga(macs: float) -> str:
    """In one unit, so that a column can be compared at a glance; at most eight characters."""
    return f"{macs / 1e9:.4f} G" if macs < 1e9 else f"{macs / 1e9:#.4g} G"


def _milliseconds(duration: float, width: int = 5) -> str:
    """At most so many characters below ten seconds, for the table to keep its width."""
    text = f"{duration:.1f}"
    return text if len(text) <= width else f"{duration:.0f}"


def _headline(report: Report) -> str:
    teacher, student, data = report.teacher, report.student, report.data
    scale = f" x{data.scale}" if data.scale else ""
    shrink = teacher.upsampler_params / max(student.upsampler_params, 1)
    gain = student.metrics.mpsnr - teacher.metrics.mpsnr
    name = teacher.model or "network"
    if report.chosen is None:
        return f"{name}{scale}, {data.name}: deployed as it is"
    smaller = (
        f"{teacher.macs / student.macs:.1f}x fewer MACs,"
        f" {teacher.params / student.params:.1f}x smaller"
        if report.search
        else f"upsampler {shrink:.1f}x smaller"
    )
    return f"{name}{scale}, {data.name}: {smaller}, {_speed(report)}, {_signed(gain)} dB"


def _signed(number: float) -> str:
    return f"{round(number, 3) + 0.0:+.3f}"


def _speed(report: Report) -> str:
    if is_equal(report.student.speedup):
        return "no faster"
    ratio = report.teacher.latency_ms.median / report.student.latency_ms.median
    return f"{ratio:.2f}x faster" if ratio >= 1 else f"{1 / ratio:.2f}x slower"


def _networks(report: Report) -> Table:
    table = _table("Test region", "MPSNR dB", "SAM deg", "Params", "Upsampler", "MACs", "ms")
    bicubic = report.bicubic.metrics
    table.add_row("bicubic", f"{bicubic.mpsnr:.3f}", f"{bicubic.sam:.3f}", *"----")
    if naive := report.teacher.naive_latency_ms:
        table.add_row("teacher, plain", *"-----", _milliseconds(naive.median))
    for row in network_rows(report):
        network = row.network
        table.add_row(
            row.name,
            f"{network.metrics.mpsnr:.3f}",
            f"{network.metrics.sam:.3f}",
            quantity(network.params),
            quantity(network.upsampler_params),
            _giga(network.macs),
            _milliseconds(network.latency_ms.median),
            style="bold green" if row.kind == "student" else "",
        )
    return table


def _candidates(report: Report) -> Table:
    table = _table("Candidates", "MPSNR dB", "at worst", "SAM deg", "Upsampler", "MACs", "ms")
    for candidate in report.candidates:
        latency, lost = candidate.latency_ms, candidate.validation
        table.add_row(
            ("> " if candidate.chosen else "= " if candidate.equal else "  ")
            + surgery_name(candidate),
            _signed(-lost.mpsnr_drop),
            _signed(-lost.worst_mpsnr_drop) if lost.mpsnr_interval else "-",
            _signed(lost.sam_drop),
            quantity(candidate.upsampler_params),
            _giga(candidate.macs),
            "-" if latency is None else _milliseconds(latency, 4),
            style="bold green" if candidate.chosen else "",
        )
    return table


def _designs(found: SearchEntry) -> Table:
    """The first design, the Pareto front of the search and what was chosen, cheapest last."""
    table = _table("Search", "MPSNR dB", "at worst", "SAM deg", "Blocks", "MACs", "ms")
    for trial in sorted(found.trials, key=lambda t: -t.macs):
        lost = trial.validation
        if lost is None or not (trial.chosen or trial.on_front or trial.number == 0):
            continue
        table.add_row(
            f"{'>' if trial.chosen else ' '} trial {trial.number}",
            _signed(-lost.mpsnr_drop),
            _signed(-lost.worst_mpsnr_drop) if lost.mpsnr_interval else "-",
            _signed(lost.sam_drop),
            f"-{trial.removed}" if trial.removed else "all",
            _giga(trial.macs),
            "-" if trial.latency_ms is None else _milliseconds(trial.latency_ms, 4),
            style="bold green" if trial.chosen else "",
        )
    return table


def deployment_table(deployment: Deployment) -> Table:
    """Table of precision and runtime: latency, quality on test, size, largest difference.

    A last column has the latency of native files, where there are any.
    """
    has_native = any(model.native for model in deployment.models)
    names = ("MPSNR dB", "SAM deg", "int8", "MB", "Differs", "ms")
    short = ("MPSNR", "SAM", "int8", "MB", "Diff", "ms", "native")  # within eighty columns
    table = _table("Deployed", *(short if has_native else names))
    fastest = min((one.latency_ms.median for one in deployment.models if one.latency_ms), default=0)
    for model in deployment.models:
        median = model.latency_ms.median if model.latency_ms else None
        layers = deployment.layers_of(model)
        table.add_row(
            f"{model.runtime.removesuffix(', CPU')} {model.precision}",
            f"{model.metrics.mpsnr:.3f}",
            f"{model.metrics.sam:.3f}",
            f"{layers['int8']}/{sum(layers.values())}" if "int8" in layers else "-",
            f"{model.bytes / 1e6:.1f}",
            f"{model.max_abs_difference:.0e}",
            _median(model.latency_ms),
            *([_median(model.native.latency_ms if model.native else None)] if has_native else []),
            style="bold green" if median == fastest else "",
        )
    return table


def _median(times: Times | None) -> str:
    return "-" if times is None else _milliseconds(times.median)


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, title=None)
    table.add_column(first, no_wrap=True, min_width=16)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _notes(report: Report) -> Iterator[Note]:
    """Lines below the tables: how the network was chosen, measured, exported, and where it is."""
    lead = report.teacher.metrics.mpsnr - report.bicubic.metrics.mpsnr
    if lead < 0:
        yield (
            "warning",
            f"the teacher is {-lead:.3f} dB below bicubic; train it longer before you use what"
            " came of it",
        )
    yield from _choice_notes(report)
    yield from _measurement_notes(report)
    if warning := export_warning(report):
        yield "warning", warning
    if onnx := report.onnx:
        yield (
            "ONNX",
            f"opset {onnx.opset}, differs from the student by at most"
            f" {onnx.max_abs_difference:.1e} ({_count(len(onnx.inputs), 'input')});"
            f" {_count(len(onnx.rewrites), 'exact rewrite')}",
        )
    if report.deployment:
        yield from deployment_notes(report.deployment)
    yield "time", f"{sum(report.timing_s.values()):.0f} s"
    yield (
        "files",
        f"{report.folder or '.'}: {', '.join(file.path for file in report.files)}"
        + (", models" if report.deployment else "")
        + "; open report.html in a browser",
    )


def _choice_notes(report: Report) -> Iterator[Note]:
    """What was chosen and why, from which spectrum, and how it was trained."""
    distillation = report.distillation
    if report.chosen is None:
        yield "chosen", "--method none: nothing was replaced or trained; the student is the teacher"
        return
    yield "chosen", f"{surgery_name(report.chosen)}: {report.chosen.why}"
    for pair in report.chosen.compared:
        low, high = pair.interval
        verdict = f"{pair.faster} is faster" if pair.faster else "equally fast"
        yield (
            "",
            f"{pair.first} takes {low:.2f} to {high:.2f} times as long as {pair.second}"
            f" ({pair.rounds} rounds): {verdict}",
        )
    if found := report.search:
        yield (
            "search",
            f"{_count(len(found.trials), 'design')} on {found.runtime}, seed {found.seed};"
            f" taken: {found.chosen.label}: {found.why};"
            " table: change on budget blocks after a short fine-tuning",
        )
    yield (
        "spectrum",
        "; ".join(
            f"{entry.site}: {entry.target:.0%} of the sum at rank {entry.rank.sum},"
            f" of the energy at {entry.rank.energy}, of {min(entry.rows, entry.cols)}"
            for entry in report.spectrum
        ),
    )
    yield "training", f"{distillation.epochs} epochs of distillation; kept: {_kept(distillation)}"


def _kept(found: Distillation) -> str:
    """Which weights were kept, and what they change on budget blocks."""
    words: str = found.kept
    if found.share is not None:
        words = f"{found.share:.0%} of the way from the closed form, which the budget allows"
    if found.best_epoch:
        words += f" (epoch {found.best_epoch})"
    if lost := found.validation:
        words += f"; change on budget blocks {_signed(-lost.mpsnr_drop)} dB"
        if lost.mpsnr_interval:
            low, high = lost.mpsnr_interval
            words += f" ({_signed(-high)} to {_signed(-low)})"
    return words


def _measurement_notes(report: Report) -> Iterator[Note]:
    """What the figures of the tables hold for."""
    data, latency = report.data, report.student.latency_ms
    yield (
        "data",
        f"{data.name}, bands {data.bands}, {data.degradation} LR,"
        f" {data.normalisation.get('mode', '')} normalisation"
        + ("; candidates: change on budget blocks, before training" if report.candidates else "")
        + _interval_note(report),
    )
    if folds := folds_note(report):
        yield "folds", folds
    yield "MACs", f"input {_by(report.student.macs_input_shape)}, counted as fvcore does"
    yield (
        "ms",
        f"input {_by(latency.input_shape)}, median of {latency.repeats},"
        f" {latency.runtime}, {_count(latency.threads, 'thread')}, {report.environment.cpu}"
        + ("; plain: exported without rewrites" if report.teacher.naive_latency_ms else ""),
    )


def _interval_note(report: Report) -> str:
    """What the columns of the candidates say of intervals."""
    if any(one.validation.mpsnr_interval for one in report.candidates):
        return "; at worst: lower end of its interval; =: intervals overlap with the chosen one's"
    budget = report.data.split.get("budget")
    return "; a single budget block has no interval" if budget and budget.windows == 1 else ""


def deployment_notes(deployment: Deployment) -> Iterator[Note]:
    """Lines below the table of what was deployed: how it was measured, ratios, engines."""
    untimed = {one.runtime for one in deployment.models if one.latency_ms is None}
    yield (
        "deployed",
        f"input {_by(deployment.input_shape)}, {_count(deployment.threads, 'thread')}, median"
        f" of {deployment.repeats} rounds (fewer of slow ones), all in turn; int8: layers in int8"
        " of all that compute"
        + "".join(f"; {runtime} needs its GPU: quality by ONNX Runtime" for runtime in untimed),
    )
    if native := [model.native for model in deployment.models if model.native]:
        yield "native", _native_note(native)
    if lost := [one for one in deployment.models if one.validation]:
        yield "int8", f"change on budget blocks: {'; '.join(map(_int8_change, lost))}"
    for number, ratio in enumerate(deployment.ratios):
        yield (
            "" if number else "faster",
            f"{'equally fast,' if is_equal(ratio.interval) else f'{ratio.ratio:.1f}x'}"
            f" {ratio.name}: {ratio.from_}"
            f" {_milliseconds(ratio.from_ms)} ms, now {_milliseconds(ratio.to_ms)} ms",
        )
    if engines := deployment.engines:
        built = ", ".join(f"{Path(one.path).name} ({one.build_s:.0f} s)" for one in engines)
        yield "engines", f"{engines[0].library}: {built}"
        for why, names in _one_size(engines).items():
            yield "", f"one size alone: {', '.join(names)}: {why}"
    for absent in deployment.absent:
        yield "absent", f"{absent.what}: {absent.why}"


def _int8_change(model: DeployedModel) -> str:
    """What int8 changes against the float network, and what it changes at worst."""
    lost = model.validation
    assert lost  # the caller's
    at_worst = ""
    if lost.mpsnr_interval and lost.sam_interval:
        worst = _signed(-lost.mpsnr_interval[1]), _signed(lost.sam_interval[1])
        at_worst = f" (at worst {worst[0]} dB, {worst[1]} deg)"
    tuned = ", fine-tuned for it" if model.tuned else ""
    return (
        f"{model.target} {_signed(-lost.drop.mpsnr)} dB, {_signed(lost.drop.sam)} deg"
        f"{at_worst}{tuned}"
    )


def _one_size(engines: Sequence[EngineEntry]) -> dict[str, list[str]]:
    """Names of the engines that serve one size alone, by the reason."""
    found: dict[str, list[str]] = {}
    for one in engines:
        if one.why_one_size:
            found.setdefault(one.why_one_size, []).append(Path(one.path).name)
    return found


def _native_note(files: Sequence[NativeModel]) -> str:
    """What native files take and give, how far they are from their models, and NumPy's time."""
    first = files[0]
    unit = "1e-4 of a band's range" if first.output_dtype == "float32" else first.output_dtype
    text = (
        f"ms from {first.input_dtype} of {_count(first.sensor_bands, 'band')} to"
        f" {first.output_dtype}, in turn with the others (MPSNR: dB, SAM: degrees, Diff: largest"
        " difference to the student);"
        f" {equal_share(min(one.equal for one in files))} as the model answers to the same numbers,"
        f" the others within {max(one.difference for one in files):.2g} ({unit})"
    )
    timed = [
        (one.latency_ms.median, one.numpy_ms.median, Path(one.path).name)
        for one in files
        if one.latency_ms and one.numpy_ms
    ]
    if not timed:
        return text
    own, around, name = min(timed)
    return (
        f"{text}; {name}: {_milliseconds(own)} ms, with the numbers converted by NumPy"
        f" {_milliseconds(around)} ms"
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
