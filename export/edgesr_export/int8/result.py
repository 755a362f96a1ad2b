"""What a quantisation decided, layer by layer; part of it travels in the file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgesr_export.int8.control import Drop
from edgesr_export.int8.speed import GroupSpeed
from edgesr_export.model_file import read_graph
from edgesr_export.paired import Paired
from edgesr_export.records import read_record

_KEY = "int8_layers"


@dataclass(frozen=True)
class Decided:
    """What :func:`remember` keeps: precision and reason, by name of the layer."""

    layers: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class LayerPrecision:
    """One conv, gemm or matmul layer.

    Attributes:
        name: of the node.
        kind: such as "dense 3x3 conv".
        shape: of its weights; empty where they are computed.
        precision: "int8" or "fp32".
        reason: why.
        alone: what quantising this layer alone costs on validation; None where it was not ranked.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    precision: str
    reason: str
    alone: Drop | None = None

    @property
    def left_out(self) -> bool:
        """Whether it is float only so that the limits hold."""
        return self.precision != "int8" and self.alone is not None


@dataclass(frozen=True)
class QuantisationResult:
    """What :func:`edgesr_export.int8.quantize` found.

    Attributes:
        path: the file; None, and nothing written, where no layer is quantised.
        target: what the file is for.
        layers: every conv, gemm and matmul layer, in the order of the graph.
        before: metrics of the float32 network, or of the reference given, on validation.
        after: of the quantised one, run as the target does (TensorRT's by ONNX Runtime);
            equal to ``before`` without one.
        drop: the difference of the two, with its intervals where they were asked for.
        tiles: number of calibration tiles.
        trials: sets of layers that were evaluated.
        groups: what each group of layers saves; empty where the target is not this machine.
        times: the float32 network against the quantised one; None likewise.
    """

    path: Path | None
    target: str
    layers: tuple[LayerPrecision, ...]
    before: dict[str, float]
    after: dict[str, float]
    drop: Drop
    tiles: int
    trials: int
    groups: tuple[GroupSpeed, ...] = ()
    times: Paired | None = None

    @property
    def quantised(self) -> tuple[str, ...]:
        """Names of the layers in int8; empty where none is."""
        return tuple(layer.name for layer in self.layers if layer.precision == "int8")

    def summary(self) -> str:
        """One line for people."""
        if not self.quantised:
            return f"none quantised of {len(self.layers)} layers for {self.target}"
        faster = "" if self.times is None else f", {self.times.ratio:.2f} times as fast"
        return (
            f"{len(self.quantised)} of {len(self.layers)} layers in int8 for {self.target}: "
            f"{-self.drop.psnr:+.3f} dB, {self.drop.sam:+.3f} degrees on validation{faster}"
        )


def remember(model: onnx.ModelProto, target: str, layers: tuple[LayerPrecision, ...]) -> None:
    """Write the decisions into the file's properties; those that stand there stay."""
    decisions = {
        "target": target,
        "layers": {layer.name: [layer.precision, layer.reason] for layer in layers},
    }
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**entries, _KEY: json.dumps(decisions)})


def recorded_layers(path: Path | str) -> dict[str, tuple[str, str]]:
    """Precision and reason, by name of the layer, of a file; empty where it was made otherwise."""
    found = read_record(read_graph(Path(path)), _KEY, Decided)
    return {} if found is None else found.layers
