"""``python -m benchmarks.live`` on a small bundle: what it measures, not how fast."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgesr_jetson.bundle import NativeModel, make_bundle
from jetson_fakes import LOWER, UPPER, expected, native_expected, native_file, onnx_file, tiles

from benchmarks.live import main

CARD = {
    "bands": {"index": [1, 2, 4], "count": 5},
    "normalisation": {"lower": [LOWER] * 3, "upper": [UPPER] * 3},
    "fill": [600.0] * 3,
    "nodata": 0,
    "context": 1,
}


@pytest.mark.parametrize("has_native", [True, False])
def test_a_bare_loop_and_a_live_run_take_turns(tmp_path, capsys, has_native):
    inputs = tiles((6, 5), (8, 10))
    given = [np.full((1, 5, *one.shape[2:]), 500, "uint16") for one in inputs]
    outputs = [native_expected(one, 0) for one in given]
    native = NativeModel(native_file(tmp_path / "native.onnx"), given, outputs, True, 0)
    make_bundle({"fp32": onnx_file(tmp_path / "fp32.onnx")}, inputs,
                [expected(tile) for tile in inputs], {"card": CARD}, tmp_path / "bundle",
                native={"fp32": native} if has_native else None)  # fmt: skip
    main(["--bundle", str(tmp_path / "bundle"), "--lines", "18", "--width", "23", "--rounds", "2",
          "--folder", str(tmp_path), "--json", str(tmp_path / "found.json")])  # fmt: skip
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["native_model"] is True) == has_native
    assert found["written_type"] == ("uint16" if has_native else "float32")
    assert (found["tile"], found["columns"]) == ([6, 9], 3)
    assert found["ratio"] == np.median(found["ratios"])
    assert len(found["ratios"]) == 2
    assert set(found["dropped"]) == {"0.95", "1.05"}
    assert all(0 <= count <= 18 for count in found["dropped"].values())
    table = capsys.readouterr().out
    assert f"{found['live_lines_hz']:.1f} lines/s" in table
    assert "3 columns of 6 x 9" in table
    assert not list(tmp_path.glob("tmp*"))
