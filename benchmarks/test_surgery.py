"""The closed forms and what they need: gathering moments, decomposing, replacing, calibrating."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from edgesr_export.model_file import load_model

from benchmarks.interleave import Calls
from benchmarks.names import BANDS, RANK
from benchmarks.zoo import (
    CALIBRATION_TILES,
    AbsentError,
    Zoo,
    plausible_tiles,
)
from edgesr.surgery import factorise, grouped, lowrank, moments, require_sites, spectrum

SIDE, TILES = 32, 16
WINDOWS = SIDE * SIDE * TILES
STEPS = {
    "moments": f"second moments of {WINDOWS} windows",
    "spectrum": "spectrum of the weights",
    "factorise": "whitened SVD",
    "low rank": f"rank {RANK} from the SVD",
    "grouped": "least squares for g = 8",
}


@pytest.mark.parametrize("step", STEPS)
def test_surgery(in_turn: Callable[..., None], zoo: Zoo, step: str) -> None:
    def gather() -> tuple[Calls, dict[str, str]]:
        model = zoo.model("dense")
        tiles = torch.from_numpy(plausible_tiles(TILES, BANDS, SIDE))
        site = require_sites(model, tiles[:1])[0]
        seen = moments(model, site, tiles)
        shared = factorise(model, site, seen)
        return {
            "moments": lambda: moments(model, site, tiles),
            "spectrum": lambda: spectrum(model, site),
            "factorise": lambda: factorise(model, site, seen),
            "low rank": lambda: lowrank(model, site, RANK, factorisation=shared),
            "grouped": lambda: grouped(model, site, 8, seen),
        }, {}

    in_turn("surgery", step, gather, seconds=15, step=STEPS[step])


FILES = {
    "plain": "export by torch",
    "slabs": "exact rewrites, each compared",
    "fp16": "FP16, compared",
    "openvino": "rewrites for OpenVINO, compared",
    "int8": "INT8 for the CPU: calibrate, time each group of layers, compare",
}


@pytest.mark.parametrize("form", FILES)
def test_making_a_file(timed_once: Callable[..., None], zoo: Zoo, form: str) -> None:
    """Once each; the plain file that the others start from does not count again."""
    try:
        zoo.file("dense", form)
    except AbsentError as error:
        pytest.skip(str(error))
    timed_once("making a file", zoo.took["dense", form], step=FILES[form])


def test_calibration(timed_once: Callable[..., None], zoo: Zoo) -> None:
    """Ranges of every layer by NNCF, the part of INT8 that grows with the number of tiles."""
    pytest.importorskip("nncf")
    from edgesr_export.int8.calibrate import calibrate
    from edgesr_export.int8.layers import find_layers, prepare
    from edgesr_export.targets import find_target

    model = prepare(load_model(zoo.file("dense", "rewritten")))
    layers = [layer for layer in find_layers(model) if not layer.fixed]
    tiles = [tile[None] for tile in plausible_tiles(CALIBRATION_TILES, BANDS, 16)]
    start = time.perf_counter()
    calibrate(model, layers, tiles, find_target("cpu").scheme)
    timed_once(
        "making a file",
        time.perf_counter() - start,
        step=f"of which calibration by NNCF, {CALIBRATION_TILES} tiles of 16 x 16",
    )
