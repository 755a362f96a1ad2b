"""What each target takes, and how a range of values becomes a scale and a zero point there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.int8.layers import Layer

_LEAST_SCALE = float(np.finfo(np.float32).tiny) * 256


@dataclass(frozen=True)
class Range:
    """Real values that the 256 levels of a quantised tensor span; 0 lies within."""

    low: float
    high: float

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class QuantScheme:
    """One target.

    Attributes:
        name: "cpu", "openvino" or "tensorrt".
        element: type of quantised activations; weights are int8 with one scale per channel.
        symmetric: zero point 0.
        outputs: pairs behind a layer too. ONNX Runtime has no int8 convolution of float output;
            a pair on the inputs alone would be two passes over the data for nothing. TensorRT
            and OpenVINO compute in int8 from the inputs alone and lose no precision behind the
            layer (OpenVINO, LKCA-Net of rank 32, 1 thread, bfloat16: also 91 ms to 83).
        timed: whether this machine can tell what gets faster.
    """

    name: str
    element: type[np.int8] | type[np.uint8]
    symmetric: bool
    outputs: bool
    timed: bool

    def affine(self, values: Range) -> tuple[np.ndarray, np.ndarray]:
        """Scale (float32) and zero point (of ``element``), both scalar arrays."""
        if self.symmetric:
            scale, zero = max(-values.low / 128, values.high / 127), 0
        else:
            scale = (values.high - values.low) / 255
            zero = round(-values.low / max(scale, _LEAST_SCALE))
        return (
            np.array(max(scale, _LEAST_SCALE), np.float32),
            np.array(np.clip(zero, 0, 255) if zero else 0, self.element),
        )

    def unfit(self, layer: Layer) -> str:
        """Why the target should not compute the layer in int8; empty where it may."""
        if self.name == "tensorrt" and layer.operator == "Conv" and layer.groups > 1:
            width = layer.shape[1]
            if width > 1 and (width % 4 or (layer.shape[0] // layer.groups) % 4):
                return "groups whose width is no multiple of 4 have no int8 kernel in TensorRT"
        return ""


CPU = QuantScheme("cpu", np.uint8, symmetric=False, outputs=True, timed=True)
"""uint8 activations: kernels of ONNX Runtime for int8 activations are slower than for uint8."""

OPENVINO = QuantScheme("openvino", np.uint8, symmetric=False, outputs=False, timed=True)
"""Scales and zero points of any kind, which OpenVINO's transformations see through."""

TENSORRT = QuantScheme("tensorrt", np.int8, symmetric=True, outputs=False, timed=False)
"""int8 with zero point 0 alone: TensorRT takes uint8 for int8, with wrong ranges."""

TARGETS = {scheme.name: scheme for scheme in (CPU, OPENVINO, TENSORRT)}


def find_scheme(target: str) -> QuantScheme:
    """The scheme of a target.

    Raises:
        ExportError: an unknown target.
    """
    if target not in TARGETS:
        raise ExportError(f"a target is one of {', '.join(TARGETS)}, got {target!r}")
    return TARGETS[target]
