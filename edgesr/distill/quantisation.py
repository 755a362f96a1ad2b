"""Fine-tuning a network for int8: its weights learn to live with the rounding of the export."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from edgesr.distill.int8 import int8_layers, layers_within, simulated_int8
from edgesr.distill.trainer import TrainConfig, TrainResult, train
from edgesr.errors import DataError
from edgesr.surgery.structure import clone

if TYPE_CHECKING:
    from edgesr.cube.scene import Scene
    from edgesr.surgery.sites import Site

CALIBRATION_TILES = 12
"""Training tiles that ranges are measured on."""


def quantisation_aware(
    student: nn.Module,
    scenes: Sequence[Scene],
    config: TrainConfig,
    *,
    sites: Sequence[Site],
    teacher: nn.Module | None = None,
    layers: Collection[str] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> TrainResult:
    """Fine-tune ``student`` in place, as :func:`edgesr.distill.trainer.train` does, for int8.

    All figures of the result are those of the network in simulated int8
    (:mod:`edgesr.distill.int8`). The weights that do best on tuning blocks in that form are kept;
    the initial ones count, so that they never get worse in it.

    Args:
        student: trained float network from [N, B, h, w] to [N, B, H, W].
        scenes: the first is the target; ranges are measured on its training tiles.
        config: the options; a learning rate well below that of the first training.
        sites: the upsampling layers that distillation compares.
        teacher: network to distil from; None for the student as it was given, in float.
        layers: module paths of what is quantised, where a path stands for all within; None for
            those that the export takes (:func:`edgesr.distill.int8.int8_layers`).
        checkpoint: file that is replaced after every epoch; not that of another training.
        resume: continue from ``checkpoint`` if it exists, on CPU to the same bits.
        progress: report on stderr.

    Returns:
        The student with float weights, for the export to quantise as any others. No trace of the
        simulation is left: it has the same modules and keys of the state dict.

    Raises:
        ModelError: there is nothing to quantise, ``layers`` names what the network has not, or an
            input of a layer is not finite; and see :func:`edgesr.distill.trainer.train`.
        DataError: the target has no training windows; likewise.
        OptionError: likewise.
    """
    tiles = _calibration_tiles(scenes[0])
    if teacher is None or teacher is student:
        teacher = clone(student)
    paths = int8_layers(student, tiles[0]) if layers is None else layers_within(student, layers)
    with simulated_int8(student, paths, tiles) as simulation:
        return train(
            student,
            scenes,
            config,
            teacher=teacher,
            sites=sites,
            checkpoint=checkpoint,
            resume=resume,
            progress=progress,
            before_validation=simulation.calibrate,
        )


def _calibration_tiles(scene: Scene) -> list[Tensor]:
    """LR tiles [1, B, h, w] from all over the training windows."""
    if not scene.train:
        raise DataError(
            f"the scene {scene.cube.name!r} has no training windows to measure ranges on; "
            "use a smaller patch"
        )
    step = max(1, len(scene.train) // CALIBRATION_TILES)
    return [scene.pair(window)[0][None] for window in scene.train[::step][:CALIBRATION_TILES]]
