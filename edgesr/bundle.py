"""``edgesr bundle``: from a finished run to the folder that goes to a board."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgesr.cube import Scene
from edgesr.errors import OptionError
from edgesr.job import open_scene
from edgesr.metrics import mpsnr, sam
from edgesr.progress import stage
from edgesr.recipe import CompressRecipe
from edgesr.run import ONNX, RECIPE, REPORT, STUDENT
from edgesr.weights import load_network
from export.fp16 import to_fp16
from export.runtime import session
from jetson.bundle import make_bundle

INT8 = "int8-tensorrt"
CALIBRATION_TILES = 12
MAX_SAM_DROP = 0.05  # degrees, where the recipe sets no limit
TILES = 3  # real tiles that a board is verified on
LARGEST = 128  # LR side up to which engines are built


def bundle(run: Path, *, int8: bool = False, overwrite: bool = False) -> Path:
    """Write ``run/bundle`` and ``run/bundle.tar.gz``: models by precision, and how to check them.

    Args:
        run: folder of a finished ``edgesr compress``; its cube must still be where it was.
        int8: beside FP32 and FP16, quantise for TensorRT (needs the extra ``int8``): calibrated on
            training tiles, as many layers as the recipe's budget allows on validation.
        overwrite: replace an earlier bundle.

    Returns:
        The archive.

    Raises:
        OptionError: the folder is no finished run.
        BundleError: the bundle exists, or cannot be written.
    """
    if not (run / REPORT).is_file():
        raise OptionError(f"{run} is no finished run: it has no {REPORT}; name a run folder")
    recipe = CompressRecipe.load(run / RECIPE)
    report = json.loads((run / REPORT).read_text())
    factory = recipe.model if ":" in recipe.model else None
    student = load_network(run / STUDENT, factory)
    scene = open_scene(recipe, student.metadata["data"], None)
    tiles = reference_tiles(scene)
    height, width = tiles[0].shape[2:]
    with torch.inference_mode():
        answers = [student.model(tile).numpy() for tile in tiles]
    facts: dict[str, Any] = {
        "network": report["student"]["model"],
        "surgery": report["chosen"],
        "metrics": report["student"]["metrics"],
        "data": {key: report["data"][key] for key in ("name", "shape", "bands", "scale")},
        "normalisation": report["data"]["normalisation"],
        "created": report["created"],
    }
    with tempfile.TemporaryDirectory() as folder, stage("make the bundle"):
        files = {"fp32": run / ONNX, "fp16": Path(folder) / "fp16.onnx"}
        to_fp16(run / ONNX, files["fp16"])
        outputs = dict.fromkeys(files, answers)
        if int8:
            files[INT8], facts[INT8] = _quantised(run / ONNX, Path(folder), scene, recipe)
            own = session(files[INT8])
            outputs[INT8] = [own(tile.numpy()) for tile in tiles]
        return make_bundle(
            files,
            [tile.numpy() for tile in tiles],
            outputs,
            facts,
            run / "bundle",
            tile_range=((height, width), (LARGEST, LARGEST)),
            overwrite=overwrite,
        )


def _quantised(
    source: Path, folder: Path, scene: Scene, recipe: CompressRecipe
) -> tuple[Path, dict[str, Any]]:
    from export.int8 import quantize

    def on_validation(network: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        scores = []
        for lr, hr in scene.pairs("validation"):
            sr = torch.from_numpy(network(lr[None].numpy())).clamp(0, 1)
            scores.append((float(mpsnr(sr, hr[None])), float(sam(sr, hr[None]))))
        psnr, angle = np.mean(scores, axis=0)
        return {"mpsnr": float(psnr), "sam": float(angle)}

    step = max(1, len(scene.train) // CALIBRATION_TILES)
    windows = scene.train[::step][:CALIBRATION_TILES]
    result = quantize(
        source,
        folder / f"{INT8}.onnx",
        [scene.pair(window)[0][None].numpy() for window in windows],
        target="tensorrt",
        evaluate=on_validation,
        max_psnr_drop=recipe.max_psnr_drop,
        max_sam_drop=MAX_SAM_DROP if recipe.max_sam_drop is None else recipe.max_sam_drop,
    )
    if result.path is None:
        raise OptionError(
            "not one layer can be int8 within the recipe's limits; leave out --int8, or compress"
            " with a larger --max-psnr-drop"
        )
    return result.path, {
        "layers": len(result.layers),
        "int8_layers": len(result.quantised),
        "validation_drop": asdict(result.drop),
    }


def reference_tiles(scene: Scene) -> list[Tensor]:
    """Return a few real LR tiles [1, B, h, w], of training patches: test pixels stay here."""
    step = max(1, len(scene.train) // TILES)
    return [scene.pair(window)[0][None] for window in scene.train[::step][:TILES]]
