"""Pictures of a scene's test region, as the networks of a run make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from edgesr_export.runner import ONNX_RUNTIME, open_runner
from edgesr_export.sizes import input_shape
from torch import Tensor, nn

from edgesr.cube import Scene
from edgesr.cube.degrade import bicubic_upsample
from edgesr.deploy import Model
from edgesr.deploy.quality import SessionModule
from edgesr.evaluation.evaluate import super_resolve
from edgesr.loading.workload import Workload
from edgesr.report.pictures import TRUTH, Pictures, visible

SURROUNDINGS = 16
"""LR pixels around the part of a large window that networks see and the pictures do not show."""


def draw_pictures(
    folder: Path, models: Sequence[Model], workload: Workload, student: nn.Module
) -> Pictures:
    """Show the test region as each network makes it; int8 is the first that was made.

    Args:
        folder: that the files of ``models`` lie in.
        models: what was made of the student.
        workload: the scene and the reference.
        student: the compressed network.
    """
    networks: dict[str, nn.Module] = {"teacher": workload.model, "student": student}
    for model in models:
        if model.precision == "int8":
            path = folder / model.path
            int8 = SessionModule(open_runner(path, ONNX_RUNTIME), input_shape(path))
            networks.setdefault("int8", int8)
    return take_pictures(workload.scene, networks)


def take_pictures(scene: Scene, networks: Mapping[str, nn.Module]) -> Pictures:
    """Show the first test window: as it is, interpolated, and super-resolved by each network.

    Of a window too large for a page, only the middle is computed, with ``SURROUNDINGS`` around it.

    Args:
        scene: whose test region is shown.
        networks: from [1, B, h, w] to [1, B, h r, w r], by the name that the page gives them:
            ``teacher``, ``student``, ``int8`` have colours of their own.
    """
    window = scene.test[0]
    scale, bands = scene.scale, len(scene.bands)
    names = (TRUTH, "bicubic", *networks)
    rows, columns = visible(bands, window.height, window.width, len(names))
    lr, hr = scene.pair(window)
    rows_lr, inner_rows = _around(rows, scale, lr.shape[1])
    columns_lr, inner_columns = _around(columns, scale, lr.shape[2])
    lr = lr[:, rows_lr, columns_lr]

    def shown(image: Tensor) -> np.ndarray:
        return image[:, inner_rows, inner_columns].numpy()

    interpolated = bicubic_upsample(lr[None], scale)[0].clamp(0, 1)
    images = {TRUTH: hr[:, rows, columns].numpy(), "bicubic": shown(interpolated)}
    for name, network in networks.items():
        images[name] = shown(super_resolve(network, lr, scale=scale))
    corner = (scene.crop.row, scene.crop.col) if scene.crop else (0, 0)
    known = scene.cube.wavelengths
    return Pictures(
        images,
        None if known is None else tuple(float(value) for value in known),
        (corner[0] + window.row + rows.start, corner[1] + window.col + columns.start),
        (window.height, window.width),
    )


def _around(shown: slice, scale: int, length: int) -> tuple[slice, slice]:
    """LR pixels to compute for some HR pixels, and where those lie in the result."""
    first = max(0, shown.start // scale - SURROUNDINGS)
    last = min(length, -(-shown.stop // scale) + SURROUNDINGS)
    return slice(first, last), slice(shown.start - first * scale, shown.stop - first * scale)
