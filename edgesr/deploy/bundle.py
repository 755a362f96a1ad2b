"""``edgesr bundle``: from a finished run to the folder that goes to a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgesr_export.errors import ExportError
from edgesr_export.model_file import read_graph
from edgesr_export.native import NativeIO, native_reference, recorded_io, to_native
from edgesr_export.runner import ONNX_RUNTIME, open_runner
from edgesr_export.sizes import Shape, fit, input_shape
from edgesr_export.targets import ALWAYS, TARGETS, Target
from edgesr_jetson.bundle import MANIFEST, IntegersModel, NativeModel, make_bundle
from msgspec import to_builtins
from torch import nn

from edgesr.cube import Scene
from edgesr.deploy import reference_tiles
from edgesr.deploy.quality import Network
from edgesr.deploy.variants import FOLDER as MODELS
from edgesr.errors import OptionError
from edgesr.loading.card import card_of_weights
from edgesr.loading.weights import load_network
from edgesr.loading.workload import files_read, open_scene
from edgesr.outputs import check_folder, check_outputs
from edgesr.progress import timed_stage
from edgesr.recipe.recipes import CompressRecipe
from edgesr.recipe.tile_range import TileRange, parse_tile_range
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


def bundle(run: Path, *, tiles: TileRange | None = None, overwrite: bool = False) -> Path:
    """Write ``run/bundle`` and ``run/bundle.tar.gz``: models by precision, and how to check them.

    Args:
        run: folder of a finished ``edgesr compress``; its cube must still be where it was. What it
            made for TensorRT goes to the board, in every precision, for native numbers too.
        tiles: LR sides that engines are built for there: least, tuned for, largest; by default
            those of the run.
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
    return bundle_report(run, read(source), tiles=tiles, overwrite=overwrite)


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


def bundle_report(
    run: Path, report: Report, *, tiles: TileRange | None = None, overwrite: bool = False
) -> Path:
    """Do as :func:`bundle`, with the report of a run that is about to be finished."""
    target = board_target()
    models, for_cpu = (_by_precision(report, name) for name in (target.name, ALWAYS))
    if not models:
        raise OptionError(
            f"{run} holds no models for {target.label}; compress with {target.name} among --targets"
        )
    recipe = CompressRecipe.load(run / RECIPE)
    student = load_network(run / STUDENT, recipe.model if ":" in recipe.model else None)
    scene = open_scene(recipe, student.metadata["data"], None)
    files = {precision: run / model.path for precision, model in models.items()}
    shape = input_shape(next(iter(files.values())))
    sides = _sides(recipe, tiles, shape, scene.train[0].height // scene.scale)
    references = _references(scene, shape, sides)
    networks = {**dict.fromkeys(files, _in_torch(student.model)), **_int8(files)}
    served = sides and ((sides[0],) * 2, (sides[2],) * 2)
    card = card_of_weights(run / STUDENT, student)
    facts = {**_facts(report, models), "card": to_builtins(card)}
    with timed_stage("make the bundle"):
        return make_bundle(
            files,
            references,
            {name: [one(tile) for tile in references] for name, one in networks.items()},
            facts,
            run / BUNDLE,
            tile_range=served,
            native={
                name: _native(run, model, for_cpu.get(name), networks[name], references)
                for name, model in models.items()
                if model.native
            },
            overwrite=overwrite,
        )


def _in_torch(network: nn.Module) -> Network:
    """What a network answers, from array to array."""

    def answer(tile: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = network(torch.from_numpy(tile)).numpy()
        return found

    return answer


def _int8(files: Mapping[str, Path]) -> dict[str, Network]:
    """Its own file's answers: then the comparison shows what the board adds."""
    return {"int8": open_runner(files["int8"], ONNX_RUNTIME)} if "int8" in files else {}


def _sides(
    recipe: CompressRecipe, tiles: TileRange | None, shape: Shape, reference: int
) -> TileRange | None:
    """LR sides that engines are built for; None for a network that fixes its size.

    Where nobody names them: from the ``reference`` tiles up, tuned for the tile that the run times.
    """
    if None not in shape[2:]:
        if tiles is not None:
            raise OptionError(
                f"the network fixes the size of its input to {shape[2]} x {shape[3]} pixels; leave"
                " out --tile-range"
            )
        return None
    if tiles is not None:
        return tiles
    if recipe.tile_range is not None:
        return parse_tile_range(recipe.tile_range)
    tuned = recipe.latency_tile
    return min(reference, tuned), tuned, max(LARGEST, tuned)


def _references(scene: Scene, shape: Shape, sides: TileRange | None) -> list[np.ndarray]:
    """Real training tiles [1, B, h, w]; of ``sides`` the first has the size to be tuned for."""
    tiles = reference_tiles(scene, shape)
    if sides is not None:
        least, best, most = sides
        inside = [[min(max(side, least), most) for side in one.shape[2:]] for one in tiles[1:]]
        sizes = [(best, best), *inside]
        tiles = [fit(one, (None, None, *size)) for one, size in zip(tiles, sizes, strict=True)]
    return [one.numpy() for one in tiles]


def _by_precision(report: Report, target: str) -> dict[str, DeployedModel]:
    models = report.deployment.models if report.deployment else ()
    return {model.precision: model for model in models if model.target == target}


def _native(
    run: Path,
    model: DeployedModel,
    on_cpu: DeployedModel | None,
    network: Network,
    references: Sequence[np.ndarray],
) -> NativeModel:
    """The native file of a model, with the references in its numbers.

    Where it takes bytes, for TensorRT, the one of ``on_cpu`` goes along, for boards that have ONNX
    Runtime alone.
    """
    path, io = _native_io(run, model)
    inputs = [to_native(tile, io) for tile in references]
    outputs = [native_reference(tile, io, network) for tile in inputs]
    as_bytes, integers = io.pairs(io.input_dtype), None
    if as_bytes and on_cpu is not None and on_cpu.native is not None:
        other, same_io = _native_io(run, on_cpu)
        own = None
        if on_cpu.precision == "int8":  # its own ranges, and perhaps other layers
            run_own = open_runner(run / on_cpu.path, ONNX_RUNTIME)
            own = [native_reference(tile, same_io, run_own) for tile in inputs]
        integers = IntegersModel(other, own)
    selects = io.selection is not None
    return NativeModel(path, inputs, outputs, selects, io.nodata, as_bytes, integers)


def _native_io(run: Path, model: DeployedModel) -> tuple[Path, NativeIO]:
    """The native file of a model, and what its numbers mean."""
    assert model.native is not None
    path = run / model.native.path
    io = recorded_io(read_graph(path))
    if io is None:
        raise ExportError(f"{path} does not say what its numbers mean; compress again")
    return path, io


def _facts(report: Report, models: Mapping[str, DeployedModel]) -> dict[str, Any]:
    """What the bundle says of the network; ``models`` of the report by precision."""
    data = report.data.to_dict()
    facts: dict[str, Any] = {
        "network": report.student.model,
        "surgery": report.chosen and report.chosen.to_dict(),
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
