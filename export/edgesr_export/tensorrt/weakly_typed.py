"""Precision on TensorRT 8.x, which has no strongly typed networks.

There the types of a file are hints. Flags allow the lower precisions, and constraints on single
layers hold the builder to what the file asks; the inspector proves afterwards that it obeyed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edgesr_export.tensorrt.api import Api

OBEY = ("OBEY_PRECISION_CONSTRAINTS", "STRICT_TYPES")
"""The flag that makes constraints binding, by its newer and its older name."""


def constrain(
    api: Api, config: Any, network: Any, asked: Mapping[str, str], kept: Collection[str]
) -> None:
    """Allow the precisions that ``asked`` names, and fix those of its layers.

    Args:
        api: a library without strong typing.
        config: of the builder.
        network: as parsed.
        asked: precision, by name of the ONNX node.
        kept: further nodes that stay in float32.
    """
    half = "fp16" in asked.values()
    if half:
        config.set_flag(api.module.BuilderFlag.FP16)
    if "int8" in asked.values():
        config.set_flag(api.module.BuilderFlag.INT8)
    obey = next(filter(None, map(api.builder_flag, OBEY)), None)
    if obey is not None:
        config.set_flag(obey)
    types = {"fp32": api.module.float32, "fp16": api.module.float16}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        precision = "fp32" if layer.name in kept else asked.get(layer.name)
        if half and precision in types:  # int8 follows from the Q/DQ pairs around a layer
            layer.precision = types[precision]
