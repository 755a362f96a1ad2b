"""Nodes that mean the same in both operator sets, but for which the converter has no way down."""

from __future__ import annotations

import onnx

from edgesr_export.errors import ExportError

ASIDE = "aside"
"""Domain in which such nodes wait while the others are converted."""

MODES: dict[str, dict[str, tuple[str, ...]]] = {
    **{"ConstantOfShape": {}, "Split": {}},
    "GridSample": {"mode": ("linear", "nearest", "cubic", "bilinear", "bicubic")},
    "Pad": {"mode": ("constant", "reflect", "edge")},
    "Resize": {
        "coordinate_transformation_mode": (
            *("half_pixel", "pytorch_half_pixel", "align_corners"),
            *("asymmetric", "tf_crop_and_resize"),
        )
    },
}
"""Values of attributes that these operators have had since opset 13 (GridSample: 16)."""

OLDER_NAMES = {"GridSample": {b"linear": b"bilinear", b"cubic": b"bicubic"}}
"""What values of the attribute ``mode`` were called before opset 20."""


def set_aside(model: onnx.ModelProto, opset: int) -> list[str]:
    """Move the nodes of :data:`MODES`, in their older words, into :data:`ASIDE`; in place.

    Returns:
        Their domains before, in order.

    Raises:
        ExportError: one that uses what ``opset`` does not have.
    """
    domains = []
    for node in model.graph.node:
        if node.op_type not in MODES or node.domain not in ("", "ai.onnx"):
            continue
        problem = _newer(node, opset)
        if problem:
            raise ExportError(
                f"layer {node.name} ({node.op_type}) uses {problem}, which opset {opset} does not "
                "have; replace it before the export, or choose a newer opset"
            )
        for attribute in node.attribute:
            if opset < 20 and attribute.name == "mode":
                older = OLDER_NAMES.get(node.op_type, {})
                attribute.s = older.get(attribute.s, attribute.s)
        domains.append(node.domain)
        node.domain = ASIDE
    if domains:
        model.opset_import.append(onnx.helper.make_opsetid(ASIDE, 1))
    return domains


def bring_back(model: onnx.ModelProto, domains: list[str]) -> None:
    """Undo :func:`set_aside`; in place."""
    waiting = [node for node in model.graph.node if node.domain == ASIDE]
    for node, domain in zip(waiting, domains, strict=True):
        node.domain = domain


def drop_defaults(model: onnx.ModelProto, opset: int) -> None:
    """Remove attributes that the older form does not know and that say nothing new; in place."""
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx"):
            known = onnx.defs.get_schema(node.op_type, opset).attributes
            left = [a for a in node.attribute if a.name in known or not _is_default(node, a)]
            del node.attribute[:]
            node.attribute.extend(left)


def _newer(node: onnx.NodeProto, opset: int) -> str:
    """What the node uses that came after ``opset``; empty for nothing."""
    schema = onnx.defs.get_schema(node.op_type, opset)
    extra = [name for name in node.input[schema.max_input :] if name]
    if extra:
        return f"input {extra[0]}"
    for attribute in node.attribute:
        if attribute.name not in schema.attributes:
            if not _is_default(node, attribute):
                return f"attribute {attribute.name}"
            continue
        known = MODES[node.op_type].get(attribute.name)
        if known and attribute.s.decode() not in known:
            return f"{attribute.name} {attribute.s.decode()}"
    return ""


def _is_default(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> bool:
    newest = onnx.defs.get_schema(node.op_type).attributes.get(attribute.name)
    if newest is None:
        return False
    value = onnx.helper.get_attribute_value(attribute)
    return bool(value == onnx.helper.get_attribute_value(newest.default_value))
