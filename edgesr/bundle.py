"""``edgesr bundle``: from a finished run to the folder that goes to a board."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from edgesr.cube import Scene
from edgesr.errors import OptionError
from edgesr.job import open_scene
from edgesr.progress import stage
from edgesr.recipe import CompressRecipe
from edgesr.run import ONNX, RECIPE, REPORT, STUDENT
from edgesr.weights import load_network
from export.fp16 import to_fp16
from jetson.bundle import make_bundle

TILES = 3  # real tiles that a board is verified on
LARGEST = 128  # LR side up to which engines are built


def bundle(run: Path, *, overwrite: bool = False) -> Path:
    """Write ``run/bundle`` and ``run/bundle.tar.gz``: FP32 and FP16 models, and how to check them.

    Args:
        run: folder of a finished ``edgesr compress``; its cube must still be where it was.
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
    facts = {
        "network": report["student"]["model"],
        "surgery": report["chosen"],
        "metrics": report["student"]["metrics"],
        "data": {key: report["data"][key] for key in ("name", "shape", "bands", "scale")},
        "normalisation": report["data"]["normalisation"],
        "created": report["created"],
    }
    with tempfile.TemporaryDirectory() as folder, stage("make the bundle"):
        half = Path(folder) / "fp16.onnx"
        to_fp16(run / ONNX, half)
        return make_bundle(
            {"fp32": run / ONNX, "fp16": half},
            [tile.numpy() for tile in tiles],
            answers,
            facts,
            run / "bundle",
            tile_range=((height, width), (LARGEST, LARGEST)),
            overwrite=overwrite,
        )


def reference_tiles(scene: Scene) -> list[Tensor]:
    """Return a few real LR tiles [1, B, h, w], of training patches: test pixels stay here."""
    step = max(1, len(scene.train) // TILES)
    return [scene.pair(window)[0][None] for window in scene.train[::step][:TILES]]
