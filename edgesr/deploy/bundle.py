"""``edgesr bundle``: from a finished run to the folder that goes to a board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from edgesr_export.runner import ONNX_RUNTIME, open_runner
from edgesr_export.sizes import input_shape
from edgesr_export.targets import TARGETS, Target
from edgesr_jetson.bundle import MANIFEST, make_bundle

from edgesr.deploy import reference_tiles
from edgesr.deploy.variants import FOLDER as MODELS
from edgesr.errors import OptionError
from edgesr.loading.weights import load_network
from edgesr.loading.workload import files_read, open_scene
from edgesr.outputs import check_folder, check_outputs
from edgesr.progress import timed_stage
from edgesr.recipe.recipes import CompressRecipe
from edgesr.report import Report, read
from edgesr.report.model import DeployedModel
from edgesr.run_folder import ARCHIVE, BUNDLE, RECIPE, STUDENT, finished_report

LARGEST = 128  # LR side up to which engines are built


def board_target() -> Target:
    """The target whose files a board takes.

    Raises:
        OptionError: none is registered.
    """
    for target in TARGETS.load().values():
        if target.bundled:
            return target
    raise OptionError("no target is made for boards here; a bundle needs one")


def bundle(run: Path, *, overwrite: bool = False) -> Path:
    """Write ``run/bundle`` and ``run/bundle.tar.gz``: models by precision, and how to check them.

    Args:
        run: folder of a finished ``edgesr compress``; its cube must still be where it was. What it
            made for TensorRT goes to the board, in every precision.
        overwrite: replace an earlier bundle.

    Returns:
        The archive.

    Raises:
        OptionError: the folder is no finished run; the bundle exists, is something else, holds what
            it is made of, or cannot be written.
        ReportError: its report cannot be read, or does not fit the schema.
        BundleError: what the run holds makes no bundle.
    """
    source = finished_report(run)
    _check_place(run, source, overwrite)
    return bundle_report(run, read(source), overwrite=overwrite)


def _check_place(run: Path, source: Path, overwrite: bool) -> None:
    """Refuse to replace what was not asked to be, is no bundle, or is needed."""
    folder = run / BUNDLE
    models = (run / MODELS).glob("*")
    recipe = CompressRecipe.load(run / RECIPE)
    inputs = [source, run / RECIPE, run / STUDENT, *models, *files_read(recipe)]
    check_outputs([run / ARCHIVE], inputs, overwrite=overwrite)
    check_folder(folder, inputs)
    if not folder.exists():
        return
    if not overwrite:
        raise OptionError(f"{folder} exists; pass --overwrite")
    if any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise OptionError(f"{folder} is no bundle: it has no {MANIFEST}; move it away")


def bundle_report(run: Path, report: Report, *, overwrite: bool = False) -> Path:
    """Do as :func:`bundle`, with the report of a run that is about to be finished."""
    target = board_target()
    models = {
        model.precision: model
        for model in (report.deployment.models if report.deployment else ())
        if model.target == target.name
    }
    if not models:
        raise OptionError(
            f"{run} holds no models for {target.label}; compress with {target.name} among --targets"
        )
    recipe = CompressRecipe.load(run / RECIPE)
    student = load_network(run / STUDENT, recipe.model if ":" in recipe.model else None)
    scene = open_scene(recipe, student.metadata["data"], None)
    files = {precision: run / model.path for precision, model in models.items()}
    shape = input_shape(next(iter(files.values())))
    tiles = reference_tiles(scene, shape)
    smallest = (tiles[0].shape[2], tiles[0].shape[3])
    with torch.inference_mode():
        answers = [student.model(tile).numpy() for tile in tiles]
    outputs = dict.fromkeys(files, answers)
    facts = _facts(report, models)
    with timed_stage("make the bundle"):
        if "int8" in files:
            own = open_runner(files["int8"], ONNX_RUNTIME)
            outputs["int8"] = [own(tile.numpy()) for tile in tiles]
        return make_bundle(
            files,
            [tile.numpy() for tile in tiles],
            outputs,
            facts,
            run / BUNDLE,
            tile_range=(smallest, (LARGEST, LARGEST)) if None in shape[2:] else None,
            overwrite=overwrite,
        )


def _facts(report: Report, models: Mapping[str, DeployedModel]) -> dict[str, Any]:
    """What the bundle says of the network; ``models`` of the report by precision."""
    data = report.data.to_dict()
    facts: dict[str, Any] = {
        "network": report.student.model,
        "surgery": report.chosen.to_dict(),
        "metrics": {precision: model.metrics.to_dict() for precision, model in models.items()},
        "data": {key: data[key] for key in ("name", "shape", "bands", "scale")},
        "normalisation": report.data.normalisation,
        "created": report.created,
    }
    if report.search:
        facts["design"] = report.search.chosen.label
    if "int8" in models:
        made = models["int8"].to_dict()
        facts["int8"] = {key: made[key] for key in ("counts", "validation", "tuned")}
    return facts
