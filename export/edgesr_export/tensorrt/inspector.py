"""Precision of every layer of a finished engine, read back.

Two sources, one form:

- the engine inspector, where the engine can be loaded, that is on a GPU that it was built for.
  8.5 to 10.x write one field "Format/Datatype", 11.x and RTX a field "Datatype";
- the report of its layers that the builder of TensorRT-RTX writes into the log at the end of a
  build with detailed verbosity; it needs no GPU.

Both name the ONNX nodes that went into a layer. A builder may fuse what it likes, but it may not
compute in another type than asked. TensorRT 10.13 on Thor did so silently (TensorRT#4590), and
TensorRT-RTX 1.7 turns a float32 convolution between two casts into one of float16.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgesr_export.errors import ExportError

ORDER = ("int8", "fp16", "bf16", "fp32")
"""Precisions from the lowest on; a layer has the lowest type that it reads."""

MOVERS = {"kgen", "reformat", "noop", "shape_call", "signal", "wait", "constant", "cast"}
"""Kinds of engine layers that prepare data for an arithmetic layer of the same ONNX node."""

_TYPE = re.compile(
    r"\b(u?int8|int4|fp8|fp4|bf16|bfloat16|half|fp16|float16|float|fp32|float32|int32|int64|bool)\b",
    re.IGNORECASE,
)
_NAMES = {
    **dict.fromkeys(("half", "fp16", "float16"), "fp16"),
    **dict.fromkeys(("float", "fp32", "float32"), "fp32"),
    **dict.fromkeys(("bf16", "bfloat16"), "bf16"),
}
_LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>.*?), Inputs: \[(?P<inputs>.*?)\], "
    r"(?:Constants: \[.*?\], )?Outputs: \[(?P<outputs>.*?)\], (?:ParameterType: .*?, )?"
    r"Tactic(?:Name|Value): .*?, StreamId: .*?Metadata: (?P<metadata>.*)"
)
_NODE = re.compile(r"\[ONNX Layer: (.*?)\]")


class PrecisionError(ExportError):
    """An engine computes a layer in another precision than asked."""


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine.

    Attributes:
        name: the builder's.
        kind: the builder's word for what it is.
        inputs: type of each tensor that it reads, constants left out.
        outputs: type of each tensor that it writes.
        nodes: ONNX nodes that went into it, as far as the builder says.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def precision(self) -> str | None:
        """Lowest precision among the tensors read; None for a layer that reads no numbers."""
        return next((kind for kind in ORDER if kind in self.inputs), None)

    @property
    def opaque(self) -> bool:
        """A region of many nodes that the builder does not open to view."""
        return not self.nodes or "ForeignNode[" in self.name


def layers_of_engine(api: Any, engine: Any) -> list[EngineLayer]:
    """Layers of a loaded engine, by the engine inspector."""
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(api.module.LayerInformationFormat.JSON)
    return parse_inspector(text)


def parse_inspector(text: str) -> list[EngineLayer]:
    """Layers in the JSON that the engine inspector writes.

    Raises:
        ExportError: the engine was built without detailed verbosity, so that it holds names alone.
    """
    layers = []
    for entry in json.loads(text).get("Layers", []):
        if not isinstance(entry, dict):
            raise ExportError(
                "the engine holds the names of its layers alone; build it again, with this tool"
            )
        metadata = str(entry.get("Metadata", ""))
        name = str(entry.get("Name", ""))
        layers.append(
            EngineLayer(
                name=name,
                kind=str(entry.get("LayerType", "")),
                inputs=_json_types(entry.get("Inputs", [])),
                outputs=_json_types(entry.get("Outputs", [])),
                nodes=tuple(_NODE.findall(metadata)) or _fused_names(name),
            )
        )
    return layers


def parse_report(text: str) -> list[EngineLayer]:
    """Layers in the report that the builder writes into the log."""
    layers = []
    for line in text.splitlines():
        if line.startswith("Name: ") and ", LayerType: " in line:
            match = _LINE.match(line)
            if match is None:
                raise ExportError(
                    f"the builder's report of layers is not understood: {line[:120]}; build where "
                    "the GPU is"
                )
            layers.append(
                EngineLayer(
                    name=match["name"],
                    kind=match["kind"],
                    inputs=_text_types(match["inputs"]),
                    outputs=_text_types(match["outputs"]),
                    nodes=tuple(_NODE.findall(match["metadata"])),
                )
            )
    return layers


def obtained(layers: Iterable[EngineLayer], names: Iterable[str]) -> dict[str, str | None]:
    """Precision in which each ONNX node is computed; None where the engine does not say.

    A node may appear in several layers: those that do arithmetic decide, and among them the
    lowest precision (a fused neighbour may read more).
    """
    by_node: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for node in layer.nodes:
            by_node.setdefault(node, []).append(layer)
    found: dict[str, str | None] = {}
    for name in names:
        candidates = by_node.get(name, [])
        arithmetic = [layer for layer in candidates if layer.kind.lower() not in MOVERS]
        precisions = {layer.precision for layer in arithmetic or candidates}
        found[name] = next((kind for kind in ORDER if kind in precisions), None)
    return found


def verify(asked: dict[str, str], layers: list[EngineLayer]) -> dict[str, str | None]:
    """Precision of every layer asked for, proved.

    A layer that is quantised in the file and that the builder has no int8 kernel for is computed
    in float, on the same quantised values: right, and no faster. The engine is int8 as long as one
    layer is.

    Returns:
        Of :func:`obtained`. None stands only where the builder hides layers in a closed region.

    Raises:
        PrecisionError: a layer in another precision, not one in int8 where int8 was asked for, or
            a layer that cannot be accounted for.
    """
    if asked and not layers:
        raise PrecisionError(
            "the precision of the engine cannot be read back (no report from the builder); "
            "build where its GPU is, and before anything else uses TensorRT in this process"
        )
    found = obtained(layers, asked)
    some_int8 = any(found[name] in ("int8", None) for name, kind in asked.items() if kind == "int8")
    wrong = [
        name
        for name, kind in found.items()
        if kind not in (None, asked[name]) and not (some_int8 and asked[name] == "int8")
    ]
    if wrong:
        some = ", ".join(f"{name} {found[name]} for {asked[name]}" for name in wrong[:3])
        raise PrecisionError(
            f"{len(wrong)} of {len(asked)} layers are not in the precision asked for ({some}"
            f"{', ...' if len(wrong) > 3 else ''}); this builder does not obey the file, ask for "
            "another precision or keep no single layers apart"
        )
    unseen = [name for name, kind in found.items() if kind is None]
    if unseen and not any(layer.opaque and layer.precision for layer in layers):
        raise PrecisionError(
            f"{len(unseen)} of {len(asked)} layers do not appear in the engine, such as "
            f"{unseen[0]}; simplify the file (fold its constants) and build again"
        )
    return found


def _fused_names(name: str) -> tuple[str, ...]:
    """Nodes by the name of a layer, for inspectors that write no metadata (before 8.6)."""
    return () if "ForeignNode[" in name else tuple(name.split(" + "))


def _json_types(tensors: list[Any]) -> tuple[str, ...]:
    types = []
    for tensor in tensors:
        written = [tensor.get(key) for key in ("Datatype", "DataType", "Format/Datatype")]
        types.append(_type(next((str(text) for text in written if text), "")))
    return tuple(types)


def _text_types(tensors: str) -> tuple[str, ...]:
    return tuple(_type(text) for text in re.findall(r"Datatype: (\w+)", tensors))


def _type(text: str) -> str:
    match = _TYPE.search(text)
    word = match[1].lower() if match else "unknown"
    return _NAMES.get(word, word)
