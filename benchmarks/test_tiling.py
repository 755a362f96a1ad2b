"""Throughput of a whole image in tiles, overlaps and cross-fading included."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from benchmarks.interleave import Calls
from benchmarks.names import BANDS, SCALE
from benchmarks.zoo import Zoo, plausible_tiles
from edgesr.evaluation.evaluate import super_resolve

SIDE = 128
TILES = (48, 64, None)
"""LR sides of a tile; None is what the library chooses for this memory."""


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_tiled(in_turn: Callable[..., None], zoo: Zoo, tile: int | None) -> None:
    def gather() -> tuple[Calls, dict[str, str]]:
        model = zoo.model("R=32")
        lr = torch.from_numpy(plausible_tiles(1, BANDS, SIDE)[0])
        return {
            str(side): partial(super_resolve, model, lr, scale=SCALE, tile=side) for side in TILES
        }, {}

    in_turn(
        "an image in tiles",
        str(tile),
        gather,
        seconds=25,
        tile=tile,
        network="R=32",
        input_shape=[1, BANDS, SIDE, SIDE],
        output_pixels=(SIDE * SCALE) ** 2,
        input_lines=SIDE,
    )
