"""``edgesr bench``: measure the models of a finished run again, beside results from boards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from edgesr.compress.deploy_config import deploy_config
from edgesr.compress.stages.students import PUBLISHED
from edgesr.deploy import Engine, Model
from edgesr.deploy import stage as deployment
from edgesr.deploy.profiles import profile_models
from edgesr.deploy.stage import Artifacts
from edgesr.deploy.variants import NativeFile
from edgesr.errors import OptionError
from edgesr.evaluation.tiling import require_memory_for_tile
from edgesr.loading.weights import load_network
from edgesr.loading.workload import open_workload
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import Report, environment, read
from edgesr.report.board_results import BoardResult
from edgesr.report.boards_table import DesktopRow, render_boards
from edgesr.report.console import deployment_notes, deployment_table, notes
from edgesr.report.model import DeployedModel, Deployment, Profile, SkippedEntry
from edgesr.report.profile_table import render_profiles
from edgesr.report.validation import typed
from edgesr.run_folder import RECIPE, REPORT, STUDENT, finished_report
from edgesr.surgery import Candidate, require_sites


def stored(run: Path) -> dict[str, Any]:
    """What the run itself has measured, in the form of :func:`bench`.

    Raises:
        OptionError: the folder is no finished run, or one without deployed models.
    """
    report, deployed = deployed_report(run)
    return {"deployment": deployed.to_dict(), "environment": report.environment.to_dict()}


def bench(
    run: Path, *, tile: int | None = None, threads: int | None = None, profile: bool = False
) -> dict[str, Any]:
    """Measure what a run made, in one process with the uncompressed and the paper's network.

    Args:
        run: folder of a finished ``edgesr compress``; its cube and weights must still be where
            they were.
        tile: LR side of the tile to time; that of the run by default.
        threads: CPU threads; those of the run by default.
        profile: measure every layer of every model on its runtime, too.

    Returns:
        ``deployment`` as ``report.json`` has it, and the ``environment`` that it was measured in;
        with ``profile`` also ``profiles``, one a runtime, and ``not_profiled``, with the reasons.

    Raises:
        OptionError: the folder is no finished run, or one of its models is gone or changed.
        ExportError: a model that was timed cannot be profiled.
    """
    report, deployed = deployed_report(run)
    recipe = CompressRecipe.load(run / RECIPE)
    recipe = replace(recipe, threads=threads or recipe.threads or os.cpu_count())
    if tile:
        recipe = replace(recipe, latency_tile=tile, export_size=None)
    made = _made(run, deployed)
    workload = open_workload(recipe)
    require_memory_for_tile(workload.model, len(workload.scene.bands), recipe.tile, "--tile")
    factory = recipe.model if ":" in recipe.model else None
    student = load_network(run / STUDENT, factory).model.eval()
    with tempfile.TemporaryDirectory() as scratch:
        table, _ = deployment.measure(
            deploy_config(recipe),
            run,
            made,
            workload,
            student,
            _baseline(report, workload.model, workload.example()),
            Path(scratch),
        )
    found: dict[str, Any] = {
        "deployment": table,
        "environment": environment(recipe.device, torch.get_num_threads()),
    }
    if profile:
        config = deploy_config(recipe)
        found["profiles"], found["not_profiled"] = profile_models(
            run,
            table["models"],
            table["engines"],
            student,
            workload.example(config.tile).numpy(),
            config.threads,
        )
    return found


def deployed_report(run: Path) -> tuple[Report, Deployment]:
    """The report of a run, and what of it is measured again.

    Raises:
        OptionError: the folder is no finished run, or one without deployed models.
    """
    report = read(finished_report(run))
    if report.not_exported:
        raise OptionError(f"{run} holds no deployed models: {report.not_exported}")
    if report.deployment is None:
        raise OptionError(f"{run} holds no deployed models; compress again with this version")
    return report, report.deployment


def _made(run: Path, deployed: Deployment) -> Artifacts:
    models = {entry.path: _model(entry) for entry in deployed.models}
    engines = [Engine(**entry.to_dict()) for entry in deployed.engines]
    files = [path for model in models.values() for path in model.paths]
    require_files(run, [*files, *(engine.path for engine in engines)])
    return Artifacts(list(models.values()), engines, [])


def _model(entry: DeployedModel) -> Model:
    """The model of an entry: on some runtimes one file gives several."""
    stored = entry.to_dict()
    native = NativeFile(**_known(NativeFile, stored["native"])) if entry.native else None
    precision = Path(entry.path).stem.rpartition("-")[2]
    return Model(**{**_known(Model, stored), "precision": precision, "native": native})


def _known(kind: type[Model | NativeFile], stored: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says of the fields of ``kind``."""
    return {item.name: stored[item.name] for item in fields(kind) if item.name in stored}


def require_files(run: Path, paths: Iterable[str]) -> None:
    """Refuse a run that has lost some of its files."""
    missing = [path for path in paths if not (run / path).is_file()]
    if missing:
        raise OptionError(f"{run} has lost {', '.join(missing)}; compress again")


def _baseline(report: Report, model: nn.Module, example: torch.Tensor) -> dict[str, nn.Module]:
    """The paper's network: its weights change no latency, so the plain slices will do."""
    if report.paper_baseline is None:
        return {}
    groups = report.paper_baseline.groups
    entry = next((one for one in report.candidates if one.groups == groups), None)
    if entry is None:
        raise OptionError(f"{REPORT} does not list the paper's network among its candidates")
    settings = entry.settings or {site.name: groups for site in report.sites}
    candidate = Candidate(PUBLISHED, groups, settings, 0, 0)
    baseline, _ = candidate.perform(model, require_sites(model, example))
    return {deployment.PAPER: baseline.eval()}


def render(found: Mapping[str, Any], boards: Sequence[BoardResult]) -> None:
    """Print what :func:`bench` found, and results of boards beside it."""
    console = Console(highlight=False)
    table, machine = typed(found["deployment"], Deployment), found["environment"]["cpu"]
    console.print(deployment_table(table))
    console.print(notes(deployment_notes(table)))
    if "profiles" in found:
        profiles = typed(found["profiles"], list[Profile])
        render_profiles(profiles, typed(found["not_profiled"], list[SkippedEntry]), console)
    if boards:
        console.print()
        render_boards(boards, _desktop_rows(table, machine), console)


def _desktop_rows(table: Deployment, machine: str) -> list[DesktopRow]:
    return [
        DesktopRow(
            machine,
            entry.precision,
            entry.runtime,
            tuple(table.input_shape),
            entry.latency_ms.median,
        )
        for entry in table.models
        if entry.latency_ms
    ]
