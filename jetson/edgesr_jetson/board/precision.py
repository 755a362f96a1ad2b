"""Which precision did the layers of an engine really get? Asked of TensorRT's engine inspector.

Builders may accept a request for FP16 or INT8 and build FP32 without a word (NVIDIA/TensorRT#4590).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from .errors import absent, is_absent, one_line

_KINDS = (
    ("int8", re.compile(r"int8", re.IGNORECASE)),
    ("fp16", re.compile(r"fp16|half", re.IGNORECASE)),
    ("bf16", re.compile(r"bf16|bfloat", re.IGNORECASE)),
    ("fp32", re.compile(r"fp32|float", re.IGNORECASE)),
)
_KEYS = ("DataType", "Format/Datatype", "Format")  # 11.x, 8.x and 10.x, and what is left


def layer_precisions(trt: Any, engine: Any) -> dict[str, Any]:
    """Count the layers of ``engine`` by the lowest precision among their inputs and outputs.

    Returns counts such as ``{"fp16": 40, "fp32": 2}``, or absent where the inspector is missing
    or tells names only.
    """
    layers = read_layers(trt, engine)
    if is_absent(layers):
        return dict(layers)
    found = Counter(kind for layer in layers for kind in [layer_kind(layer)] if kind)
    return dict(sorted(found.items())) or absent("the engine inspector tells names only")


def read_layers(trt: Any, engine: Any) -> Any:
    """Layers as the inspector writes them: objects, or mere names; absent where it does not."""
    if not hasattr(engine, "create_engine_inspector"):
        return absent("this TensorRT has no engine inspector")
    try:
        text = engine.create_engine_inspector().get_engine_information(
            trt.LayerInformationFormat.JSON
        )
        return list(json.loads(text)["Layers"])
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        return absent(f"the engine inspector gave no layers ({one_line(error)})")


def layer_kind(layer: Any) -> str | None:
    """Lowest precision among the inputs and outputs of one layer; None where it is not told."""
    if not isinstance(layer, dict):
        return None
    tensors = [*layer.get("Inputs", ()), *layer.get("Outputs", ())]
    texts = [_type_text(tensor) for tensor in tensors if isinstance(tensor, dict)]
    for kind, pattern in _KINDS:
        if any(pattern.search(text) for text in texts):
            return kind
    return None


def _type_text(tensor: dict[str, Any]) -> str:
    return next((str(tensor[key]) for key in _KEYS if key in tensor), "")


def missing(wanted: str, found: dict[str, Any]) -> str | None:
    """Say what is wrong when a precision was asked for and no layer has it; None when all is well.

    Some layers may stay in a higher precision on purpose, so one layer is enough; the counts are
    in the result. What the inspector does not tell is not held against the engine.
    """
    if wanted == "fp32" or "absent" in found or found.get(wanted):
        return None
    counts = ", ".join(f"{number} in {kind}" for kind, number in found.items())
    return (
        f"{wanted} was asked for and no layer of the engine has it ({counts}); update TensorRT, "
        "or use the fp32 engine"
    )
