from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from benchmarks.memory import peak_memory

COPIES = 16


def test_the_peak_holds_the_output_and_little_else(tmp_path):
    """[1, 8, 256, 256] float32, 2 MB, sixteen times along the bands: 32 MB, once as the runtime's
    and perhaps once as ours."""
    graph = helper.make_graph(
        [helper.make_node("Concat", ["x"] * COPIES, ["y"], axis=1)],
        "copies",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8 * COPIES, "h", "w"])],
    )
    path = tmp_path / "copies.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    output = 4 * 8 * COPIES * 256 * 256
    assert output <= peak_memory("onnx", path, 8, 256, threads=1) < 4 * output
