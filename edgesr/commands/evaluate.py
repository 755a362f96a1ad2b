"""``edgesr evaluate``: a network's six metrics beside bicubic, on one split of a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from edgesr_export.card import ModelCard, read_card
from edgesr_export.sizes import fit
from msgspec import to_builtins
from torch import Tensor, nn

from edgesr.cube import Scene
from edgesr.deploy.file_network import open_file
from edgesr.deploy.quality import SessionModule
from edgesr.errors import ModelError, OptionError
from edgesr.evaluation import evaluate as evaluation
from edgesr.evaluation.tiling import ALWAYS_WHOLE
from edgesr.loading.card_files import ONNX, RUNTIMES, fitting_card, given_card
from edgesr.loading.fitting import check_fit
from edgesr.loading.workload import open_scene, open_workload, prepare_torch, scene_example
from edgesr.recipe.recipes import DEFAULT_MODEL, WeightsRecipe

METRICS = {
    "mpsnr": ("MPSNR", "dB", 3),
    "mssim": ("MSSIM", "", 4),
    "sam": ("SAM", "deg", 3),
    "cc": ("CC", "", 4),
    "rmse": ("RMSE", "", 5),
    "ergas": ("ERGAS", "", 3),
}


def evaluate(
    recipe: WeightsRecipe | None = None,
    split: str = "test",
    *,
    runtime: str | None = None,
    card: Path | None = None,
) -> dict[str, Any]:
    """Measure the recipe's network and bicubic on ``split`` (test, tuning or budget) of its scene.

    Args:
        recipe: the scene and the network, whose weights may be an ``.onnx`` of any precision, of
            normalised or native numbers; None is the shipped teacher on the embedded cube.
        split: "test", "tuning" or "budget".
        runtime: that runs an ``.onnx``, on tiles of 64 x 64 LR pixels; by default ONNX Runtime.
        card: file that says what an ``.onnx`` of another tool was trained on. Without any, the
            recipe has to name bands and normalisation.

    Returns:
        ``data`` (the scene), ``weights``, ``split``, ``runs`` (device or runtime, and precision),
        ``network`` and ``bicubic`` (six metrics).

    Raises:
        ModelError, ExportError: a network that cannot be used, or whose numbers nobody knows.
        OptionError: options that do not go together.
    """
    recipe = recipe or WeightsRecipe()
    path = Path(recipe.weights or "")
    network: nn.Module
    if path.suffix == ONNX:
        if recipe.model != DEFAULT_MODEL or recipe.checkpoint_key is not None:
            raise OptionError(f"{path} is a whole network; leave out --model and --checkpoint-key")
        runtime = runtime or RUNTIMES[ONNX]
        network, scene = _of_file(recipe, path, runtime, card)
        weights, tile, runs = path.name, ALWAYS_WHOLE, f"{runtime}, {_precision(path)}"
    else:
        if runtime or card:
            raise OptionError("--runtime and --card are for an .onnx file; leave them out")
        workload = open_workload(recipe)
        network, scene, weights = workload.model, workload.scene, workload.weights
        tile, runs = None, "CPU, float32"  # as large as the memory allows
    return {
        "data": scene.describe(),
        "weights": weights,
        "split": split,
        "runs": runs,
        "network": evaluation.evaluate(network, scene, split, tile=tile),
        "bicubic": evaluation.evaluate_bicubic(scene, split),
    }


def _of_file(
    recipe: WeightsRecipe, path: Path, runtime: str, given: Path | None
) -> tuple[SessionModule, Scene]:
    """A model file and its scene."""
    prepare_torch(recipe.device, recipe.threads, recipe.seed)
    own = read_card(path)
    card = given_card(given) if given else own
    if card is None and not (recipe.bands and recipe.normalisation):
        raise ModelError(
            f"{path} does not say what it was trained on; pass --bands and --normalisation as in"
            " its training, or --card FILE, a file that says it"
        )
    if own is not None and own.input.kind == "native" and (recipe.bands or recipe.normalisation):
        raise OptionError(
            f"{path} holds its own bands and normalisation; leave out --bands and --normalisation"
        )
    network = open_file(path, runtime, torch.get_num_threads())

    def given_tile(tile: Tensor) -> Tensor:
        if network.bands not in (None, tile.shape[1]):
            raise ModelError(
                f"{path} takes {network.bands} bands, not {tile.shape[1]}; pass --bands as in its"
                " training"
            )
        return fit(tile, (None, None, *(network.fixed_size or (None, None))))

    def scale(tile: Tensor) -> int:
        lr = given_tile(tile)
        return int(network(lr).shape[2] // lr.shape[2])

    if card is not None and network.bands is not None:
        fitting_card(path, network.bands, card)
    scene = open_scene(recipe, {} if card is None else _stored(card), card.scale if card else scale)
    check_fit(network, given_tile(scene_example(scene)), scene.scale)
    return network, scene


def _stored(card: ModelCard) -> dict[str, Any]:
    """A card as the header of weights has the same."""
    return {
        "name": card.data,
        "scale": card.scale,
        "bands": card.bands.index,
        "wavelengths_nm": card.bands.wavelengths_nm,
        "fwhm_nm": card.bands.fwhm_nm,
        "normalisation": to_builtins(card.normalisation),
        "native": to_builtins(card.native),
    }


def _precision(path: Path) -> str:
    card = read_card(path)
    return "precision of the file" if card is None else card.precision


def render(comparison: dict[str, Any]) -> str:
    """Lay :func:`evaluate`'s result out as a small table."""
    data = comparison["data"]
    lines = [
        f"{data['name']}, {comparison['split']} region, {data['shape'][2]} bands,"
        f" x{data['scale']}, weights {comparison['weights']}, {comparison['runs']}",
        f"{'':12}{'bicubic':>12}{'network':>12}{'gain':>12}",
    ]
    for key, (name, unit, digits) in METRICS.items():
        bicubic, network = comparison["bicubic"][key], comparison["network"][key]
        lines.append(
            f"{f'{name} {unit}':12}{bicubic:12.{digits}f}{network:12.{digits}f}"
            f"{network - bicubic:+12.{digits}f}"
        )
    return "\n".join(lines)
