"""Ranges of tensors within a network, by running it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx
import onnxruntime

from edgesr_export.errors import ExportError
from edgesr_export.int8.scheme import Range


def observe(
    model: onnx.ModelProto, tensors: Collection[str], tiles: Iterable[np.ndarray]
) -> dict[str, Range]:
    """Least and greatest value of each tensor over all tiles, widened to hold 0.

    Raises:
        ExportError: a tensor has values that are not finite.
    """
    names = sorted(set(tensors))
    if not names:
        return {}
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    # beyond these, a tensor may be fused away although it is asked for
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    run = onnxruntime.InferenceSession(
        opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = run.get_inputs()[0].name
    ranges: dict[str, Range] = {}
    for tile in tiles:
        for name, values in zip(names, run.run(names, {feed: tile}), strict=True):
            if not np.isfinite(values).all():
                raise ExportError(
                    f"tensor {name} is not finite on a calibration tile; the network is broken"
                )
            seen = Range(min(0.0, float(values.min())), max(0.0, float(values.max())))
            ranges[name] = seen | ranges.get(name, seen)
    return ranges
