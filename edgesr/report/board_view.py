"""Results of boards as rows of a table; what is absent says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgesr.report.board_results import BoardResult, is_absent
from edgesr.report.model import Report
from edgesr.report.wording import NONE, day, fixed, milliseconds

Section = Mapping[str, Any]


def board_sections(report: Report, boards: Sequence[BoardResult]) -> list[dict[str, Any]]:
    """What the page says of each result, in the order given."""
    return [
        _board(report, board, name) for board, name in zip(boards, board_names(boards), strict=True)
    ]


def _board(report: Report, board: BoardResult, name: str) -> dict[str, Any]:
    result = board.content
    machine, runtime = result["board"] or {}, result["runtime"] or {}
    notes = _Notes()
    facts = [
        ("board", notes.text(machine.get("model"), "board")),
        ("power mode", notes.text(_power_mode(machine), "power mode")),
        ("clocks locked", notes.text(machine.get("clocks", {}).get("locked"), "clocks")),
        ("JetPack", notes.text(machine.get("jetpack"), "JetPack")),
        ("L4T", notes.text(machine.get("l4t"), "L4T")),
        ("runtime", f"{runtime.get('name', 'none')} {runtime.get('version', '')}".strip()),
        ("measured", day(result["created"])),
    ]
    models = [_model(entry, notes) for entry in result["models"]]
    return {
        "file": board.name,
        "name": name,
        "facts": [(label, text) for label, text in facts if text != NONE],
        "error": result["error"],
        "same_run": _same_run(report, result),
        "models": models if any(one["why_not"] or one["timed"] for one in models) else [],
        "live": _live(result["live"], notes),
        "notes": notes.lines,
    }


def _power_mode(machine: Section) -> Any:
    mode = machine.get("power_mode")
    return mode["name"] if isinstance(mode, dict) and "name" in mode else mode


def board_names(boards: Sequence[BoardResult]) -> list[str]:
    """Board and power mode where they are known, with the file's name where that is not enough."""
    names = []
    for board in boards:
        machine = board.content["board"] or {}
        parts = [machine.get("model"), _power_mode(machine)]
        known = [part for part in parts if isinstance(part, str)]
        names.append(", ".join(known) if isinstance(parts[0], str) else board.name)
    return [
        name if names.count(name) == 1 or name == board.name else f"{name} ({board.name})"
        for name, board in zip(names, boards, strict=True)
    ]


class _Notes:
    """Reasons of what is absent, collected once each below the table."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def text(self, value: Any, what: str) -> str:
        if is_absent(value):
            line = f"{what}: {value['absent']}"
            if line not in self.lines:
                self.lines.append(line)
            return NONE
        if isinstance(value, bool):
            return "yes" if value else "no"
        return NONE if value is None else str(value)

    def number(self, value: Any, what: str, places: int = 1) -> str:
        return self.text(value, what) if is_absent(value) else fixed(value, places)


def _same_run(report: Report, result: Section) -> bool:
    """Whether the bundle was made from this very run."""
    facts = (result["bundle"] or {}).get("facts", {})
    return facts.get("created") == report.created


def _model(entry: Section, notes: _Notes) -> dict[str, Any]:
    if entry["status"] != "verified":
        return {
            "name": entry["name"],
            "why_not": f"{entry['status']}: {entry['reason']}",
            "timed": False,
        }
    timed = entry.get("latency_ms")
    power = entry.get("power", {"absent": "not measured"})
    running = power.get("running", power)
    sustained = entry.get("sustained", {"absent": "not measured"})
    heat = entry.get("temperatures_c", {}).get("end", {})
    return {
        "name": entry["name"],
        "why_not": None,
        "timed": timed is not None,
        "median": milliseconds(timed["with_transfers"]["median"]) if timed else NONE,
        "p99": milliseconds(timed["with_transfers"]["p99"]) if timed else NONE,
        "alone": milliseconds(timed["without_transfers"]["median"]) if timed else NONE,
        "lines": fixed(entry.get("throughput", {}).get("input_lines_per_s"), 0),
        "slowdown": notes.number(_part(sustained, "slowdown"), "sustained run", 2),
        "watts": notes.number(_watts(_part(running, "total_mw")), "power", 2),
        "energy": notes.number(_part(power, "energy_per_frame_mj"), "energy", 1),
        "energy_idle": notes.number(_part(power, "energy_per_frame_with_idle_mj"), "energy", 1),
        "hottest": fixed(max((v for v in heat.values() if _is_number(v)), default=None), 0),
        "difference": f"{entry['verification']['max_abs_difference']:.1e}",
    }


def _part(section: Any, key: str) -> Any:
    """A value of a section; the section itself where all of it is absent."""
    return section if is_absent(section) or not section else section.get(key)


def _watts(milliwatts: Any) -> Any:
    return milliwatts / 1e3 if _is_number(milliwatts) else milliwatts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _live(live: Section | None, notes: _Notes) -> list[tuple[str, str]] | None:
    if live is None:
        return None
    counts, real_time = live["lines"], live["real_time"]
    facts = [
        ("lines", f"{counts['received']:,} received, {counts['processed']:,} super-resolved,"
                  f" {counts['dropped']:,} dropped"),
        ("work a line", f"{milliseconds(live['processing_per_line_ms']['median'])} ms"
                        f" (p99 {milliseconds(live['processing_per_line_ms']['p99'])})"),
        ("ready after", f"{milliseconds(live['latency_per_line_ms']['median'])} ms"
                        f" (p99 {milliseconds(live['latency_per_line_ms']['p99'])})"),
    ]  # fmt: skip
    if is_absent(real_time):
        facts.append(("margin", notes.text(real_time, "margin to real time")))
    else:
        facts.append(
            (
                "margin",
                f"{fixed(real_time['margin_ms'], 3)} ms of {fixed(real_time['line_period_ms'], 3)}"
                f" ms a line",
            )
        )
    energy = notes.number(_part(live["power"], "energy_per_line_mj"), "energy", 2)
    facts.append(("energy a line", f"{energy} mJ"))
    return [(label, text) for label, text in facts if not text.startswith(NONE)]
