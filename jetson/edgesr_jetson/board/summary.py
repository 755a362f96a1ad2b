"""What a person reads when a run has ended: ten seconds, no scrolling."""

from __future__ import annotations

from typing import Any

from .errors import is_absent

SHOWN = 5
"""Layers that are named of each profiled model."""

NOTABLE = 0.01
"""Share of the values of a live run outside the training range that is worth a line."""


def warnings(board: dict[str, Any]) -> list[str]:
    """What makes figures of this board less than comparable."""
    locked = board["clocks"]["locked"]
    if locked is False:
        return ["clocks are not locked, figures will vary; sudo jetson_clocks locks them"]
    if is_absent(locked):
        return [f"whether clocks are locked is unknown: {locked['absent']}"]
    return []


def summarise(result: dict[str, Any]) -> str:
    """Text of a result, a failed one included."""
    lines = [""]
    board = result["board"]
    if board:
        mode = board["power_mode"]
        lines.append(
            f"{_text(board['model'])} | L4T {_text(board['l4t'])} | power mode "
            f"{_text(mode if is_absent(mode) else mode['name'])} | clocks locked: "
            f"{_text(board['clocks']['locked'])}"
        )
    if result["runtime"]:
        lines.append(f"{result['runtime']['name']} {result['runtime']['version']}")
    measured = [entry for entry in result["models"] if "latency_ms" in entry]
    if measured:
        lines.append(
            f"{'model':12}{'median ms':>10}{'p99 ms':>9}{'alone ms':>10}{'lines/s':>10}"
            f"{'slowdown':>10}{'mJ/frame':>10}{'max diff':>10}"
        )
    lines += [_row(entry) for entry in measured]
    for entry in measured:
        lines += _slowest(entry)
    for entry in result["models"]:
        if entry["status"] != "verified":
            lines.append(f"{entry['name']:12}{entry['status']}: {entry['reason']}")
    if result["live"]:
        lines += _live(result["live"])
    if result["error"]:
        lines.append(f"failed: {result['error']}")
    return "\n".join(lines)


def _row(entry: dict[str, Any]) -> str:
    whole, bare = (entry["latency_ms"][key] for key in ("with_transfers", "without_transfers"))
    return (
        f"{entry['name']:12}{whole['median']:10.2f}{whole['p99']:9.2f}{bare['median']:10.2f}"
        f"{entry['throughput']['input_lines_per_s']:10.0f}"
        f"{_number(entry['sustained'].get('slowdown'), '.2f'):>10}"
        f"{_number(entry['power'].get('energy_per_frame_mj'), '.1f'):>10}"
        f"{entry['verification']['max_abs_difference']:10.1e}"
    )


def _slowest(entry: dict[str, Any]) -> list[str]:
    """Lines of the summary: the layers of a model that take longest; none without a profile."""
    found = entry.get("profile")
    if not found or is_absent(found):
        return []
    total = found["sum_ms"] or 1.0
    lines = [
        f"{entry['name']}: sum of {len(found['layers'])} layers {found['sum_ms']:.2f} ms, whole "
        f"call {found['whole_ms']:.2f} ms; slowest:"
    ]
    for layer in sorted(found["layers"], key=lambda one: -one["ms"])[:SHOWN]:
        source = ", ".join(layer.get("modules") or layer.get("nodes") or [layer["layer"]])
        lines.append(
            f"{layer['ms']:10.3f} ms {layer['ms'] / total:6.1%}  {layer.get('precision', ''):5}"
            f"{layer['op']}: {source}"
        )
    return lines


def _live(report: dict[str, Any]) -> list[str]:
    counts, spent = report["lines"], report["processing_per_line_ms"]
    late = report["latency_per_line_ms"]
    lines = [
        f"lines: {counts['received']} received, {counts['processed']} super-resolved, "
        f"{counts['dropped']} dropped",
        f"per line: {spent['median']:.3f} ms of work (p99 {spent['p99']:.3f}): "
        + ", ".join(f"{part} {ms:.3f}" for part, ms in report["parts_per_line_ms"].items()),
        f"written {late['median']:.1f} ms after it came in (p99 {late['p99']:.1f})",
        f"sustains {report['sustainable_line_rate_hz']:.1f} lines/s, limited by "
        f"{report['limited_by']}",
    ]
    outside = report["outside_training_range"]
    if not is_absent(outside) and outside >= NOTABLE:
        lines.append(
            f"{outside:.1%} of the values lie outside the range that the network was trained on, "
            "and are clipped: look at --dtype, --width, --layout and the units of the source"
        )
    real_time = report["real_time"]
    if not is_absent(real_time):
        lines.append(
            f"a line comes every {real_time['line_period_ms']:.3f} ms: margin "
            f"{real_time['margin_ms']:+.3f} ms, load {real_time['load']:.0%}, "
            f"{'kept up' if real_time['kept_up'] else 'did not keep up'}"
        )
    mark = report["published_mark"]
    lines.append(
        f"PRISMA takes a line in {mark['prisma_line_ms']} ms: margin "
        f"{mark['margin_to_prisma_ms']:+.3f} ms (its swath and bands are its own)"
    )
    return lines


def _text(value: Any) -> str:
    if is_absent(value):
        return "unknown"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, float) else "-"
