from __future__ import annotations

import pytest
import torch
from edgesr_export.errors import ExportError
from edgesr_export.runtime import session
from torch import nn

from edgesr.compress.timing_files import for_target, static_onnx

TILE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)).eval()


def test_a_file_that_is_there_is_not_made_again(tmp_path):
    first = network(0)
    path = static_onnx(tmp_path, TILE, "first", first)
    fast = for_target(path, first, TILE)
    with torch.no_grad():
        assert abs(session(fast)(TILE.numpy()) - first(TILE).numpy()).max() < 1e-5
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert set(before) == {path, fast}
    assert for_target(static_onnx(tmp_path, TILE, "first", first), first, TILE) == fast
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_what_differs_from_its_network_is_never_taken(tmp_path):
    path = static_onnx(tmp_path, TILE, "first", network(0))
    for _ in range(2):
        with pytest.raises(ExportError):
            for_target(path, network(1), TILE)
