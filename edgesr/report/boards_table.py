"""Results of boards beside those of the desktop: one table on the console, one line a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgesr.report.board_results import BoardResult, is_absent

COLUMNS = ("ms", "p99", "lines/s", "W", "mJ")
UNITS = "ms: median of a frame, transfers included; lines/s: of LR input; mJ: energy of a frame"
DASH = "–"


@dataclass(frozen=True)
class DesktopRow:
    """One measurement on the machine that compressed the network.

    Attributes:
        machine: name of the processor.
        precision: "fp32", "fp16", "bf16" or "int8".
        runtime: what executed it, such as "ONNX Runtime, CPU".
        input_shape: [N, B, h, w] of the LR input.
        median_ms: wall time of a call.
        p99_ms: 99th percentile; None where it was not taken.
    """

    machine: str
    precision: str
    runtime: str
    input_shape: tuple[int, ...]
    median_ms: float
    p99_ms: float | None = None


def render_boards(
    boards: Sequence[BoardResult],
    desktop_rows: Sequence[DesktopRow],
    console: Console | None = None,
) -> None:
    """Print every model on every board and power mode, and the desktop's, by precision and size.

    Rows that can be compared (same precision, same input) stand together, the fastest first. What
    a board could not tell is a dash; why, what failed and what makes figures less than comparable
    (clocks not locked, other bundles) is said below the table.

    Args:
        boards: what :func:`edgesr.report.board_results.read_boards` read.
        desktop_rows: measurements of the desktop.
        console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    notes = _Notes()
    rows = [_desktop(row) for row in desktop_rows]
    for board in boards:
        rows += _models(board, notes)
    bundles = {board.content["bundle"]["id"] for board in boards if board.content["bundle"]}
    if len(bundles) > 1:
        notes.add("the results come from different bundles: their networks may differ")
    if rows:
        console.print(_table(rows))
        console.print(Text(UNITS, style="dim"))
    for board in boards:
        for line in _live(board, notes):
            console.print(Text(line))
    for line in notes.lines:
        console.print(Text(line, style="dim"))


@dataclass(frozen=True)
class _Row:
    place: str
    what: str
    precision: str
    input_shape: tuple[int, ...]
    median_ms: float
    cells: tuple[str, ...]

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.input_shape[1:], self.input_shape[:1], self.precision, self.median_ms)


class _Notes:
    """Lines below the table, each once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)

    def number(self, value: Any, place: str, what: str, form: str) -> str:
        """The number, or a dash and a line that says why there is none."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, form)
        if is_absent(value):
            self.add(f"{place}: no {what}: {value['absent']}")
        return DASH


def _desktop(row: DesktopRow) -> _Row:
    p99 = DASH if row.p99_ms is None else _ms(row.p99_ms)
    lines = format(row.input_shape[0] * row.input_shape[2] / row.median_ms * 1e3, ".0f")
    return _Row(
        row.machine,
        row.runtime.removesuffix(", CPU"),
        row.precision,
        tuple(row.input_shape),
        row.median_ms,
        (_ms(row.median_ms), p99, lines, DASH, DASH),
    )


def _models(board: BoardResult, notes: _Notes) -> list[_Row]:
    content, place = board.content, _place(board)
    if content["error"]:
        notes.add(f"{place}: {content['error']}")
    if content["board"] and content["board"]["clocks"]["locked"] is not True:
        notes.add(f"{place}: clocks not known to be locked, so figures may vary")
    rows = []
    for entry in content["models"]:
        if entry["status"] != "verified":
            notes.add(f"{place}: {entry['name']} failed: {entry['reason']}")
        elif "latency_ms" in entry:
            rows.append(_model(entry, place, _runtime(content), notes))
    return rows


def _model(entry: dict[str, Any], place: str, runtime: str, notes: _Notes) -> _Row:
    whole = entry["latency_ms"]["with_transfers"]
    power = entry.get("power", {"absent": "not measured"})
    running = power if is_absent(power) else power["running"]
    milliwatts = _part(running, "total_mw")
    watts = milliwatts if is_absent(milliwatts) else milliwatts / 1e3
    lines = entry.get("throughput", {}).get("input_lines_per_s")
    return _Row(
        place,
        runtime,
        entry["name"],
        tuple(entry["latency_ms"]["input_shape"]),
        whole["median"],
        (
            _ms(whole["median"]),
            _ms(whole["p99"]),
            notes.number(lines, place, "lines/s", ".0f"),
            notes.number(watts, place, "power", ".2f"),
            notes.number(_part(power, "energy_per_frame_mj"), place, "energy", ".1f"),
        ),
    )


def _part(section: dict[str, Any], key: str) -> Any:
    """A value of a section; the section itself where all of it is absent."""
    return section if is_absent(section) else section.get(key, {"absent": "not measured"})


def _place(board: BoardResult) -> str:
    """Board and power mode, or the name of the file where the board does not say what it is."""
    machine = board.content["board"] or {}
    model = machine.get("model")
    name = model if isinstance(model, str) else board.name
    mode = (machine.get("power_mode") or {}).get("name")
    return f"{name}, {mode}" if isinstance(mode, str) else name


def _runtime(content: dict[str, Any]) -> str:
    runtime = content["runtime"] or {}
    return f"{runtime.get('name', 'no runtime')} {runtime.get('version', '')}".strip()


def _live(board: BoardResult, notes: _Notes) -> list[str]:
    live = board.content["live"]
    if live is None:
        return []
    place, counts = _place(board), live["lines"]
    line = (
        f"{place}, live: {live['processing_per_line_ms']['median']:.3f} ms a line, "
        f"{counts['dropped']} of {counts['received']} lines dropped"
    )
    if is_absent(live["real_time"]):
        notes.add(f"{place}: no margin to real time: {live['real_time']['absent']}")
        return [line]
    margin = live["real_time"]["margin_ms"]
    return [f"{line}, margin {margin:+.3f} of {live['real_time']['line_period_ms']:.3f} ms"]


def _table(rows: Sequence[_Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("Machine", overflow="fold")
    table.add_column("Precision, runtime", overflow="fold")
    table.add_column("LR input", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    before: tuple[Any, ...] | None = None
    for row in sorted(rows, key=lambda row: row.order):
        comparable = row.order[:3]
        if before is not None and comparable != before:
            table.add_section()
        before = comparable
        images, _, height, width = row.input_shape
        shape = f"{height} x {width}" if images == 1 else f"{images} of {height} x {width}"
        table.add_row(row.place, f"{row.precision}, {row.what}", shape, *row.cells)
    return table


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 99.95 else f"{milliseconds:.0f}"
