"""The summary of a run, for a person with ten seconds: eighty columns, colour only to help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgesr.report.wording import export_warning

Section = Mapping[str, Any]


def render(report: Section, console: Console | None = None) -> None:
    """Print a valid report: what was compressed, the networks, the candidates, the files.

    Args:
        report: the content of ``report.json``.
        console: where to print; standard output by default. NO_COLOR and pipes are honoured.
    """
    console = console or Console(highlight=False)
    parts: list[Text | Table] = [Text(_headline(report), style="bold"), _networks(report)]
    if report["candidates"]:
        parts.append(_candidates(report))
    if "search" in report:
        parts.append(_designs(report["search"]))
    if "deployment" in report:
        parts.append(deployment_table(report["deployment"]))
    for part in (*parts, notes(_notes(report))):
        console.print()
        console.print(part)


def notes(lines: Iterable[tuple[str, str]]) -> Table:
    """Grid of labels and what they say."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in lines:
        grid.add_row(label, Text(text))
    return grid


def surgery_name(surgery: Section) -> str:
    """Short name of a candidate or of the choice: ``low-rank R=32`` or ``grouped g=8``."""
    if surgery["pass"] == "lowrank":
        return f"low-rank R={surgery['rank']}"
    return f"grouped g={surgery['groups']}"


def quantity(number: float) -> str:
    """Four significant places with a unit, as papers print them: 3.707 M, 0.8669 G, 77.82 k."""
    for limit, unit in ((1e8, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:#.4g} {unit}"
    return f"{number:g}"


def _giga(macs: float) -> str:
    """In one unit, so that a column can be compared at a glance; at most eight characters."""
    return f"{macs / 1e9:.4f} G" if macs < 1e9 else f"{macs / 1e9:#.4g} G"


def _milliseconds(duration: float) -> str:
    """At most five characters, for the table to keep its width."""
    return f"{duration:.1f}" if duration < 999.95 else f"{duration:.0f}"


def _headline(report: Section) -> str:
    teacher, student, data = report["teacher"], report["student"], report["data"]
    name = teacher.get("model", "network")
    scale = f" x{data['scale']}" if "scale" in data else ""
    speed = teacher["latency_ms"]["median"] / student["latency_ms"]["median"]
    shrink = teacher["upsampler_params"] / max(student["upsampler_params"], 1)
    gain = student["metrics"]["mpsnr"] - teacher["metrics"]["mpsnr"]
    smaller = (
        f"{teacher['macs'] / student['macs']:.1f}x fewer MACs,"
        f" {teacher['params'] / student['params']:.1f}x smaller"
        if "search" in report
        else f"upsampler {shrink:.1f}x smaller"
    )
    return f"{name}{scale}, {data['name']}: {smaller}, {_speed(speed)}, {_signed(gain)} dB"


def _signed(number: float) -> str:
    return f"{round(number, 3) + 0.0:+.3f}"


def _speed(ratio: float) -> str:
    return f"{ratio:.2f}x faster" if ratio >= 1 else f"{1 / ratio:.2f}x slower"


def _networks(report: Section) -> Table:
    table = _table("Test region", "MPSNR dB", "SAM deg", "Params", "Upsampler", "MACs", "ms")
    bicubic = report["bicubic"]["metrics"]
    table.add_row("bicubic", f"{bicubic['mpsnr']:.3f}", f"{bicubic['sam']:.3f}", *"----")
    if naive := report["teacher"].get("naive_latency_ms"):
        table.add_row("teacher, plain", *"-----", _milliseconds(naive["median"]))
    rows = [("teacher", report["teacher"], ""), ("student", report["student"], "bold green")]
    if found := report.get("search"):
        rows.append(("upsampler alone", found["upsampler_alone"], ""))
    if baseline := report["paper_baseline"]:
        rows.append((f"paper's g={baseline['groups']}", baseline, ""))
    for name, network, style in rows:
        table.add_row(
            name,
            f"{network['metrics']['mpsnr']:.3f}",
            f"{network['metrics']['sam']:.3f}",
            quantity(network["params"]),
            quantity(network["upsampler_params"]),
            _giga(network["macs"]),
            _milliseconds(network["latency_ms"]["median"]),
            style=style,
        )
    return table


def _candidates(report: Section) -> Table:
    table = _table("Candidates", "MPSNR dB", "SAM deg", "Params", "Upsampler", "MACs", "ms")
    for candidate in report["candidates"]:
        latency, lost = candidate["latency_ms"], candidate["validation"]
        table.add_row(
            ("> " if candidate["chosen"] else "  ") + surgery_name(candidate),
            _signed(-lost["mpsnr_drop"]),
            _signed(lost["sam_drop"]),
            quantity(candidate["params"]),
            quantity(candidate["upsampler_params"]),
            _giga(candidate["macs"]),
            "-" if latency is None else _milliseconds(latency),
            style="bold green" if candidate["chosen"] else "",
        )
    return table


def _designs(found: Section) -> Table:
    """The first design, the Pareto front of the search and what was chosen, cheapest last."""
    table = _table("Search", "MPSNR dB", "SAM deg", "Params", "Blocks", "MACs", "ms")
    shown = [
        t
        for t in found["trials"]
        if t["validation"] and (t["chosen"] or t["on_front"] or t["number"] == 0)
    ]
    for trial in sorted(shown, key=lambda t: -t["macs"]):
        lost = trial["validation"]
        table.add_row(
            f"{'>' if trial['chosen'] else ' '} trial {trial['number']}",
            _signed(-lost["mpsnr_drop"]),
            _signed(lost["sam_drop"]),
            quantity(trial["params"]),
            f"-{trial['removed']}" if trial["removed"] else "all",
            _giga(trial["macs"]),
            _milliseconds(trial["latency_ms"]),
            style="bold green" if trial["chosen"] else "",
        )
    return table


def deployment_table(deployment: Section) -> Table:
    """Table of precision and runtime: latency, quality on test, size, largest difference."""
    table = _table("Deployed", "MPSNR dB", "SAM deg", "int8", "MB", "Differs", "ms")
    fastest = min(
        (one["latency_ms"]["median"] for one in deployment["models"] if one["latency_ms"]),
        default=0.0,
    )
    for model in deployment["models"]:
        latency = model["latency_ms"]
        counts = model.get("counts", {})
        median = latency and latency["median"]
        table.add_row(
            f"{model['runtime'].removesuffix(', CPU')} {model['precision']}",
            f"{model['metrics']['mpsnr']:.3f}",
            f"{model['metrics']['sam']:.3f}",
            f"{counts['int8']}/{sum(counts.values())}" if "int8" in counts else "-",
            f"{model['bytes'] / 1e6:.1f}",
            f"{model['max_abs_difference']:.0e}",
            "-" if median is None else _milliseconds(median),
            style="bold green" if median == fastest else "",
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, title=None)
    table.add_column(first, no_wrap=True, min_width=16)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _notes(report: Section) -> Iterator[tuple[str, str]]:
    data, environment = report["data"], report["environment"]
    distillation, latency = report["distillation"], report["student"]["latency_ms"]
    mode = data["normalisation"].get("mode", "")
    lead = report["teacher"]["metrics"]["mpsnr"] - report["bicubic"]["metrics"]["mpsnr"]
    if lead < 0:
        yield (
            "warning",
            f"the teacher is {-lead:.3f} dB below bicubic; train it longer before you use what"
            " came of it",
        )
    yield "chosen", f"{surgery_name(report['chosen'])}: {report['chosen']['why']}"
    if found := report.get("search"):
        yield (
            "search",
            f"{_count(len(found['trials']), 'design')} on {found['runtime']}, seed {found['seed']};"
            f" taken: {next(t['label'] for t in found['trials'] if t['chosen'])}: {found['why']};"
            " table: change on validation after a short healing",
        )
    yield (
        "spectrum",
        "; ".join(
            f"{entry['site']}: {entry['target']:.0%} of the sum at rank {entry['rank']['sum']},"
            f" of the energy at {entry['rank']['energy']}, of {min(entry['rows'], entry['cols'])}"
            for entry in report["spectrum"]
        ),
    )
    yield (
        "training",
        f"{distillation['epochs']} epochs of distillation; kept: {distillation['kept']}"
        + (f" (epoch {distillation['best_epoch']})" if distillation["best_epoch"] else ""),
    )
    yield (
        "data",
        f"{data['name']}, bands {data['bands']}, {data['degradation']} LR, {mode} normalisation;"
        " candidates: change on validation, before training",
    )
    yield (
        "MACs",
        f"input {_by(report['student']['macs_input_shape'])}, counted as fvcore does",
    )
    yield (
        "ms",
        f"input {_by(latency['input_shape'])}, median of {latency['repeats']},"
        f" {latency['runtime']}, {_count(latency['threads'], 'thread')}, {environment['cpu']}"
        + ("; plain: exported without rewrites" if "naive_latency_ms" in report["teacher"] else ""),
    )
    if warning := export_warning(report):
        yield "warning", warning
    if onnx := report.get("onnx"):
        yield (
            "ONNX",
            f"opset {onnx['opset']}, differs from the student by at most"
            f" {onnx['max_abs_difference']:.1e} ({_count(len(onnx['inputs']), 'input')});"
            f" {_count(len(onnx['rewrites']), 'exact rewrite')}",
        )
        yield from deployment_notes(report["deployment"])
    yield "time", f"{sum(report['timing_s'].values()):.0f} s"
    yield (
        "files",
        f"{report.get('folder', '.')}: {', '.join(file['path'] for file in report['files'])}"
        + (", models" if "deployment" in report else "")
        + "; open report.html in a browser",
    )


def deployment_notes(deployment: Section) -> Iterator[tuple[str, str]]:
    """Lines below the table of what was deployed: how it was measured, ratios, engines."""
    untimed = {one["runtime"] for one in deployment["models"] if one["latency_ms"] is None}
    yield (
        "deployed",
        f"input {_by(deployment['input_shape'])}, {_count(deployment['threads'], 'thread')}, median"
        f" of {deployment['repeats']}, all in turn; int8: layers in int8 of all that compute"
        + "".join(f"; {runtime} needs its GPU: quality by ONNX Runtime" for runtime in untimed),
    )
    for number, ratio in enumerate(deployment["ratios"]):
        yield (
            "" if number else "faster",
            f"{ratio['ratio']:.1f}x {ratio['name']}: {ratio['from']}"
            f" {_milliseconds(ratio['from_ms'])} ms, now {_milliseconds(ratio['to_ms'])} ms",
        )
    if engines := deployment["engines"]:
        built = ", ".join(f"{Path(one['path']).name} ({one['build_s']:.0f} s)" for one in engines)
        yield "engines", f"{engines[0]['library']}: {built}"
    for absent in deployment["absent"]:
        yield "absent", f"{absent['what']}: {absent['why']}"


def _by(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
