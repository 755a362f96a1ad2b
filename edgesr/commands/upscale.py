"""``edgesr upscale``: a whole cube through a network, with its units and georeference kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgesr.cube import Cube, Normalisation, read_cube, write_cube
from edgesr.cube.memory import require_memory
from edgesr.cube.nodata import held_nodata
from edgesr.cube.parts import cube_files
from edgesr.cube.writers import written_files
from edgesr.errors import DataError, ModelError
from edgesr.evaluation.evaluate import check_tile, super_resolve
from edgesr.loading.fitting import check_fit
from edgesr.loading.weights import Loaded, load_network
from edgesr.loading.workload import LR_PATCH, stored_bands
from edgesr.outputs import check_outputs
from edgesr.progress import timed_stage

_COPIES = 3  # of the result in float32: as the network gives it, in native numbers, masked


def upscale_file(
    source: str,
    target: Path,
    weights: str,
    tile: int | None = None,
    factory: str | None = None,
    *,
    overwrite: bool = False,
) -> Cube:
    """Super-resolve the cube ``source`` and write it to ``target``.

    Args:
        source: LR cube in the native numbers of the scene the network was trained on.
        target: file to write; the suffix chooses the format.
        weights: weights file that carries its bands and normalisation.
        tile: LR side of the tiles that are super-resolved at a time; None is as large as the
            memory allows.
        factory: ``package.module:function`` that builds the network, where it is none of edgesr's.
        overwrite: replace the files of ``target`` that exist, unless they are inputs.

    Raises:
        OptionError: ``target`` exists, is an input, or cannot be written.
        ModelError: the weights do not say how to normalise, or contradict their network.
        DataError: the cube lacks bands that the network needs, the result does not fit into the
            memory, or ``target`` has an unknown suffix.
    """
    inputs = [*cube_files(source), Path(weights)]
    check_outputs(written_files(target), inputs, overwrite=overwrite)
    loaded = load_network(Path(weights), factory)
    result = upscale(read_cube(source), loaded, tile)
    write_cube(result, target)
    return result


def upscale(cube: Cube, loaded: Loaded, tile: int | None = None) -> Cube:
    """Super-resolve a cube [H, W, B] to [H r, W r, B'], B' being the network's bands.

    Numbers are normalised as at training and brought back to the cube's own; nodata pixels are
    filled with the mean of the valid ones for the network and stay nodata in the result.
    """
    check_tile(tile)
    stored = loaded.metadata.get("data") or {}
    if not {"normalisation", "scale"} <= stored.keys():
        raise ModelError("the weights carry no normalisation; use weights written by edgesr")
    selection = stored_bands(stored, cube)
    if selection is not None:
        cube = cube.select_bands(selection)
    normalisation = Normalisation.from_dict(stored["normalisation"])
    invalid = cube.invalid() if cube.may_hold_nodata else np.zeros(cube.shape[:2], bool)
    if invalid.all():
        raise DataError(f"{cube.name} holds no valid pixel; nothing to super-resolve")
    scale = int(stored["scale"])
    height, width, bands = (cube.shape[0] * scale, cube.shape[1] * scale, cube.shape[2])
    require_memory(
        _COPIES * 4 * height * width * bands,
        f"{cube.name}: super-resolving to {height} x {width} pixels, {bands} bands,",
        "crop the cube, and super-resolve its parts",
    )
    with np.errstate(over="ignore"):  # a nodata of float64, which is replaced next
        values = np.array(cube.data, dtype=np.float32)
    values[invalid] = values[~invalid].mean(axis=0)
    lr = torch.from_numpy(np.ascontiguousarray(normalisation.apply(values).transpose(2, 0, 1)))
    check_fit(loaded.model.eval(), lr[None, :, :LR_PATCH, :LR_PATCH], scale)
    with timed_stage(f"super-resolve {cube.name}"):
        sr = super_resolve(loaded.model.eval(), lr, scale=scale, tile=tile)
    native = np.empty((*sr.shape[1:], len(sr)), dtype=np.float32)
    for row in range(len(native)):  # whole, the intermediate results would take four times as much
        native[row] = normalisation.invert(sr[:, row].T.numpy())
    blank = invalid.repeat(scale, axis=0).repeat(scale, axis=1)
    held = held_nodata(cube.nodata, native.dtype)
    native[blank] = np.nan if held is None else held
    return cube.upscaled(native, scale)
