from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.profile import profile, table
from edgesr_export.profile.ort import node_times


@pytest.fixture
def path(tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 20]>
        two (float[n, 3, h, w] x) => (float[n, 3, h, w] y) { e = Erf(x) y = Sin(e) }"""
    file = tmp_path / "two.onnx"
    onnx.save(onnx.parser.parse_model(text), file)
    return file


def test_every_operator_has_its_time(path):
    times = profile(path, np.ones((1, 3, 64, 64), np.float32), runs=3)
    assert set(times) == {"Erf", "Sin"}
    assert all(time > 0 for time in times.values())
    assert list(times.values()) == sorted(times.values(), reverse=True)


def test_nothing_is_left_behind(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile(path, np.ones((1, 3, 4, 4), np.float32), runs=1)
    assert [file.name for file in tmp_path.iterdir()] == ["two.onnx"]


def test_the_table_has_both_and_their_sums():
    lines = table({"Conv": 1.5, "Resize": 20.0}, {"Conv": 2.25, "Add": 0.5}).splitlines()
    cells = [line.split() for line in lines]
    assert cells[0] == ["operator", "before", "ms", "after", "ms"]
    assert cells[1:] == [
        ["Resize", "20.00", "-"],
        ["Conv", "1.50", "2.25"],
        ["Add", "-", "0.50"],
        ["sum", "21.50", "2.75"],
    ]


def test_no_run_is_refused(path):
    with pytest.raises(ExportError, match="at least 1 run"):
        profile(path, np.ones((1, 3, 4, 4), np.float32), runs=0)


def test_nodes_are_told_one_by_one_in_their_order(path):
    image = np.ones((1, 3, 64, 64), np.float32)
    found = node_times(path, image, runs=3)
    assert [node.op for node in found] == ["Erf", "Sin"]
    assert len({node.layer for node in found}) == 2
    assert all(node.ms > 0 for node in found)
