"""``edgesr evaluate``: a network's six metrics beside bicubic, on one split of a scene."""

from __future__ import annotations

from typing import Any

from edgesr.evaluation import evaluate as evaluation
from edgesr.loading.workload import open_workload
from edgesr.recipe.recipes import WeightsRecipe

METRICS = {
    "mpsnr": ("MPSNR", "dB", 3),
    "mssim": ("MSSIM", "", 4),
    "sam": ("SAM", "deg", 3),
    "cc": ("CC", "", 4),
    "rmse": ("RMSE", "", 5),
    "ergas": ("ERGAS", "", 3),
}


def evaluate(recipe: WeightsRecipe | None = None, split: str = "test") -> dict[str, Any]:
    """Measure the recipe's network and bicubic on ``split`` (test, tuning or budget) of its scene.

    Args:
        recipe: the scene and the network; None is the shipped teacher on the embedded cube.
        split: "test", "tuning" or "budget".

    Returns:
        ``data`` (the scene), ``weights``, ``split``, ``network`` and ``bicubic`` (six metrics).
    """
    workload = open_workload(recipe or WeightsRecipe())
    return {
        "data": workload.scene.describe(),
        "weights": workload.weights,
        "split": split,
        "network": evaluation.evaluate(workload.model, workload.scene, split),
        "bicubic": evaluation.evaluate_bicubic(workload.scene, split),
    }


def render(comparison: dict[str, Any]) -> str:
    """Lay :func:`evaluate`'s result out as a small table."""
    data = comparison["data"]
    lines = [
        f"{data['name']}, {comparison['split']} region, {data['shape'][2]} bands,"
        f" x{data['scale']}, weights {comparison['weights']}, CPU, float32",
        f"{'':12}{'bicubic':>12}{'network':>12}{'gain':>12}",
    ]
    for key, (name, unit, digits) in METRICS.items():
        bicubic, network = comparison["bicubic"][key], comparison["network"][key]
        lines.append(
            f"{f'{name} {unit}':12}{bicubic:12.{digits}f}{network:12.{digits}f}"
            f"{network - bicubic:+12.{digits}f}"
        )
    return "\n".join(lines)
