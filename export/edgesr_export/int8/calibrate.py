"""Ranges, int8 weights and corrected biases: NNCF's post-training quantisation, read back.

NNCF's own graph is not kept. It is read layer by layer, so that any subset of the layers can be
quantised later without collecting statistics again, with the pairs that the target wants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgesr_export.errors import ExportError, one_line
from edgesr_export.int8.layers import Layer
from edgesr_export.int8.scheme import QuantScheme, Range
from edgesr_export.int8.telemetry import load_nncf, quiet

PASSED_ON = ("Concat", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose")
"""Operators that change no value, behind which NNCF may have left the pair of a layer."""


@dataclass(frozen=True)
class Weight:
    """int8 weights with zero point 0 and a scale [n] float32 for each index of ``axis``."""

    values: np.ndarray
    scale: np.ndarray
    axis: int


@dataclass(frozen=True)
class Calibration:
    """What is known of the layers that can be quantised.

    Attributes:
        ranges: of tensors that enter or leave a layer, by name.
        weights: by name of the layer.
        biases: by name of the layer, after correction; absent where there is none.
    """

    ranges: Mapping[str, Range]
    weights: Mapping[str, Weight]
    biases: Mapping[str, np.ndarray]


def checked_tiles(tiles: Iterable[np.ndarray], model: onnx.ModelProto) -> list[np.ndarray]:
    """The calibration tiles as float32 arrays [1, B, h, w].

    Raises:
        ExportError: none, or one of another shape or type, or with values that are not finite.
    """
    entry = next(v for v in model.graph.input if v.name not in _stored(model))
    wanted = [d.dim_value or d.dim_param or "any" for d in entry.type.tensor_type.shape.dim]
    checked = []
    for index, given in enumerate(tiles):
        tile = np.asarray(given)
        fits = tile.ndim == 4 and tile.shape[0] == 1 and tile.size > 0
        if fits:
            pairs = zip(tile.shape[1:], wanted[1:], strict=True)
            fits = all(not isinstance(want, int) or got == want for got, want in pairs)
        if not fits:
            raise ExportError(
                f"calibration tile {index} has shape {list(tile.shape)}; the network takes "
                f"{[1, *wanted[1:]]}"
            )
        if not np.issubdtype(tile.dtype, np.floating):
            raise ExportError(
                f"calibration tile {index} holds {tile.dtype}; give what the network gets, "
                "normalised floating-point values"
            )
        if not np.isfinite(tile).all():
            raise ExportError(
                f"calibration tile {index} has NaN or infinite values; leave out tiles with nodata"
            )
        checked.append(np.ascontiguousarray(tile, np.float32))
    if not checked:
        raise ExportError("there is no calibration tile; give some of the training data")
    return checked


def calibrate(
    model: onnx.ModelProto, layers: Collection[Layer], tiles: list[np.ndarray], scheme: QuantScheme
) -> Calibration:
    """Quantise every layer of ``layers`` by NNCF and read what it found.

    Args:
        model: of :func:`edgesr_export.int8.layers.prepare`.
        layers: which to quantise; those that NNCF leaves in float have no weights in the result.
        tiles: of :func:`checked_tiles`.
        scheme: of the target.

    Raises:
        ExportError: NNCF is not installed, or fails.
    """
    nncf = load_nncf()
    names = {layer.name for layer in layers}
    others = [node.name for node in model.graph.node if node.name not in names]
    feed = next(v.name for v in model.graph.input if v.name not in _stored(model))
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    preset = nncf.QuantizationPreset
    try:
        with quiet():
            found = nncf.quantize(
                copy,
                nncf.Dataset(tiles, lambda tile: {feed: tile}),
                preset=preset.PERFORMANCE if scheme.symmetric else preset.MIXED,
                subset_size=len(tiles),
                # not validated: NNCF takes out nodes that do nothing before it looks for them
                ignored_scope=nncf.IgnoredScope(names=others, validate=False),
                advanced_parameters=_parameters(nncf, scheme),
            )
    except Exception as error:  # NNCF raises many kinds; the caller needs one
        raise ExportError(f"NNCF cannot quantise the network: {one_line(error)}") from error
    return _read(model, found, names)


def calibration_key(
    model: onnx.ModelProto, layers: Collection[Layer], tiles: list[np.ndarray], scheme: QuantScheme
) -> str:
    """Equal where :func:`calibrate` finds the same."""
    digest = hashlib.sha256(model.SerializeToString(deterministic=True))
    for tile in tiles:
        digest.update(repr(tile.shape).encode() + tile.tobytes())
    settings = sorted(layer.name for layer in layers), scheme.symmetric, scheme.timed
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def _parameters(nncf: Any, scheme: QuantScheme) -> Any:
    """One scale per activation tensor: no target has more.

    By default NNCF gives the first layer 7 bits, because CPUs without VNNI overflow at 8; GPUs do
    not, and this machine cannot time them.
    """
    advanced = nncf.quantization.advanced_parameters
    fix = advanced.OverflowFix.DISABLE if not scheme.timed else advanced.OverflowFix.FIRST_LAYER
    return nncf.AdvancedQuantizationParameters(
        overflow_fix=fix,
        activations_quantization_params=advanced.QuantizationParameters(per_channel=False),
    )


def _read(source: onnx.ModelProto, found: onnx.ModelProto, names: set[str]) -> Calibration:
    inputs = {node.name: list(node.input) for node in source.graph.node}
    stored = _stored(found)
    producers = {name: node for node in found.graph.node for name in node.output}
    ranges: dict[str, Range] = {}
    weights: dict[str, Weight] = {}
    biases: dict[str, np.ndarray] = {}
    for node in found.graph.node:
        if node.name not in names:
            continue
        values = _range_of(node.input[0], producers, stored)
        weight = _weight_of(node.input[1], producers, stored)
        if values is None or weight is None:
            continue
        tensor = inputs[node.name][0]
        ranges[tensor] = values | ranges.get(tensor, values)
        weights[node.name] = weight
        if len(node.input) > 2 and node.input[2] in stored:
            biases[node.name] = stored[node.input[2]].astype(np.float32)
    return Calibration(ranges, weights, biases)


def _range_of(
    name: str, producers: Mapping[str, onnx.NodeProto], stored: Mapping[str, np.ndarray]
) -> Range | None:
    node = producers.get(name)
    if node is None:
        return None
    if node.op_type == "DequantizeLinear":
        scale, zero = stored[node.input[1]], stored[node.input[2]]
        levels = np.iinfo(zero.dtype)
        low = (levels.min - zero.astype(np.float64)) * scale
        high = (levels.max - zero.astype(np.float64)) * scale
        return Range(float(np.min(low)), float(np.max(high)))
    if node.op_type not in PASSED_ON:
        return None
    count = len(node.input) if node.op_type == "Concat" else 1
    parts = [_range_of(tensor, producers, stored) for tensor in node.input[:count]]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    union = known[0]
    for part in known[1:]:
        union |= part
    return union


def _weight_of(
    name: str, producers: Mapping[str, onnx.NodeProto], stored: Mapping[str, np.ndarray]
) -> Weight | None:
    node = producers.get(name)
    if node is None or node.op_type != "DequantizeLinear" or node.input[0] not in stored:
        return None
    values, scale, zero = (stored[tensor] for tensor in node.input)
    if values.dtype != np.int8 or zero.any():
        return None
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % values.ndim
    scale = np.broadcast_to(scale.astype(np.float32).reshape(-1), (values.shape[axis],))
    return Weight(values, np.ascontiguousarray(scale), axis)


def _stored(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
