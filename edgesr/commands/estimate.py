"""``edgesr estimate``: how long a run's models might take on a board that is not here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from edgesr_export.targets import ALWAYS, find_target
from edgesr_export.work import Work
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgesr.commands.bench import deployed_report, require_files
from edgesr.cube.memory import require_memory
from edgesr.deploy.boards import Board, boards, find_board
from edgesr.deploy.estimate import estimate_layers, spread
from edgesr.errors import OptionError, shown
from edgesr.evaluation.peaks import measure_roof
from edgesr.evaluation.roofline import Roof
from edgesr.report import environment
from edgesr.report.model import DeployedModel, Deployment

BOARD_TARGET = "tensorrt"
CHECKED = ("fp32", "int8")
"""Precisions whose peaks are measured here."""

MOST = 12
"""Layers of a table; the rest is summed up in one line."""


def estimate(
    run: Path, board: str, *, tile: int | None = None, threads: int | None = None
) -> dict[str, Any]:
    """Estimate every model for boards of a run, and the error of doing so on this machine.

    Args:
        run: folder of a finished ``edgesr compress``.
        board: name of a board of :func:`edgesr.deploy.boards.boards`.
        tile: LR side of the input; that of the run by default.
        threads: of the CPU, for the check on this machine; the run's by default.

    Returns:
        ``estimate``: board, input and models, no figure of which was measured on it;
        ``check_here``: this machine, and measured over estimated time on it by precision.

    Raises:
        OptionError: an unknown board, or a folder without deployed models.
        ExportError: a file whose layers cannot be told.
    """
    found = find_board(board)
    _, deployed = deployed_report(run)
    models = _files(deployed)
    require_files(run, models.values())
    shape = (*deployed.input_shape[:2], *((tile, tile) if tile else deployed.input_shape[2:]))
    return {
        "estimate": {
            "board": found.name,
            "label": found.label,
            "derived": found.derived,
            "sources": list(found.sources),
            "input_shape": list(shape),
            "models": [
                _model(run / path, precision, shape, found) for precision, path in models.items()
            ],
        },
        "check_here": _check(run, deployed, shape, threads or deployed.threads),
    }


def render(found: Mapping[str, Any]) -> None:
    """Print what :func:`estimate` found; every line of it says that it is an estimate."""
    console = Console(highlight=False)
    told = found["estimate"]
    height, width = told["input_shape"][2:]
    console.print(
        Text(
            f"estimate, not measured: {told['label']}, LR {height} x {width}, GPU alone, at its"
            " published dense peaks",
            style="bold",
        )
    )
    for model in told["models"]:
        console.print()
        if "absent" in model:
            console.print(Text(f"{model['precision']}: no estimate: {model['absent']}"))
            continue
        title = f"{model['precision']}, {model['file']}"
        console.print(Text(shown(title), style="bold"))
        console.print(_table(model))
    console.print()
    console.print(Text(f"peaks: {told['derived']}; {', '.join(told['sources'])}", style="dim"))
    for line in _checks(found["check_here"]):
        console.print(Text(shown(line)))


def render_boards() -> None:
    """Print the boards that can be named."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("Board", no_wrap=True)
    table.add_column("What it is", overflow="fold")
    for name in ("fp32", "fp16", "int8", "GB/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for board in boards().values():
        peaks = (board.roof.operations.get(one) for one in ("fp32", "fp16", "int8"))
        cells = ("-" if peak is None else f"{peak / 1e12:g}" for peak in peaks)
        table.add_row(board.name, board.label, *cells, f"{board.roof.bytes_per_s / 1e9:g}")
    console = Console(highlight=False)
    console.print(table)
    console.print(Text("tera-operations a second of the GPU, dense, as published", style="dim"))


def _files(deployed: Deployment) -> dict[str, str]:
    """Files by precision: those for boards, else those that are always made."""
    for target in (BOARD_TARGET, ALWAYS):
        if found := {_precision(one): one.path for one in deployed.models if one.target == target}:
            return found
    raise OptionError(f"the run has no model for {BOARD_TARGET} or {ALWAYS}; compress again")


def _precision(model: DeployedModel) -> str:
    return model.precision.partition(",")[0]


def _model(path: Path, precision: str, shape: tuple[int, ...], board: Board) -> dict[str, Any]:
    head = {"file": path.name, "precision": precision}
    layers = Work(path, shape).layers()
    lacking = {one.precision for one in layers if one.macs} - board.roof.operations.keys()
    if lacking:
        return {**head, "absent": f"{board.label} has no {', '.join(sorted(lacking))} arithmetic"}
    found = estimate_layers(layers, board.roof)
    return {
        **head,
        "estimate_ms": sum(one.estimate_ms for one in found),
        "layers": [
            {**asdict(one.work), "estimate_ms": one.estimate_ms, "bound": one.bound}
            for one in found
        ],
    }


def _check(run: Path, deployed: Deployment, shape: tuple[int, ...], threads: int) -> dict[str, Any]:
    """Measured over estimated time here, of the files that are made for this machine."""
    usual = find_target(ALWAYS)
    files = {
        _precision(one): one.path
        for one in deployed.models
        if one.target == ALWAYS and _precision(one) in CHECKED
    }
    require_files(run, files.values())
    for path in files.values():
        most = max((layer.bytes for layer in Work(run / path, shape).layers()), default=0)
        require_memory(most, f"a layer at {shape[2]} x {shape[3]}", "choose a smaller --tile")
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        roof = measure_roof(Path(scratch), threads)
    found: dict[str, dict[str, Any]] = {}
    for precision, path in files.items():
        measured = usual.profile(run / path, precision, image, threads=threads)
        checked = spread(run / path, measured, shape, roof)
        found[precision] = {"runtime": usual.label, **asdict(checked)}
    machine = environment("cpu", threads)["cpu"]
    return {"machine": machine, "threads": threads, "precisions": found, "peaks": _peaks(roof)}


def _peaks(roof: Roof) -> dict[str, float]:
    return {**roof.operations, "bytes_per_s": roof.bytes_per_s}


def _table(model: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("Layer", overflow="fold")
    table.add_column("Comes from", overflow="fold")
    for name in ("M MACs", "MB", "estimate ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    ranked = sorted(model["layers"], key=lambda layer: -layer["estimate_ms"])
    for layer in ranked[:MOST]:
        table.add_row(
            Text(shown(layer["layer"])),
            Text(shown(layer["module"])),
            f"{layer['macs'] / 1e6:.2f}",
            f"{layer['bytes'] / 1e6:.3f}",
            f"{layer['estimate_ms']:.4f}",
            layer["bound"],
        )
    if rest := ranked[MOST:]:
        spent = sum(layer["estimate_ms"] for layer in rest)
        table.add_row(f"{len(rest)} others", "", "", "", f"{spent:.4f}", "")
    table.add_section()
    table.add_row("all layers", "", "", "", f"{model['estimate_ms']:.4f}", "")
    return table


def _checks(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"the error of this method, measured time over estimated time, on {found['machine']}"
        f" ({found['threads']} CPU threads) with its measured peaks:"
    )
    for precision, one in found["precisions"].items():
        yield (
            f"  {precision}, {one['runtime']}: median {one['median']:.1f}, 10-90 %"
            f" {one['p10']:.1f} to {one['p90']:.1f} over {one['layers']} layers; whole call"
            f" {one['whole']:.1f}; {one['unexplained']:.0%} of the time in layers that the"
            " runtime added"
        )
