"""Say a network in an older operator set, for runtimes that know no newer one.

TensorRT 8.5 (JetPack 5) has no LayerNormalization, which came with opset 17, no Gelu (20), and
takes the axes of a mean as an attribute only (until 17): it reads opset 16. TensorRT 8.6 reads 17.

Three operators are spelled out here, one file a pattern; what has an older form of its own is left
to the version converter of ONNX.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter
from onnx_ir.passes.common import InlinePass, RemoveUnusedNodesPass
from onnxscript.rewriter import RewriteRuleSet

from edgesr_export.errors import ExportError, one_line
from edgesr_export.opset import split
from edgesr_export.opset.gelu import GeluByErf
from edgesr_export.opset.groupnorm import GroupNormByInstanceNorm
from edgesr_export.opset.layernorm import LayerNormByMeans
from edgesr_export.opset.passthrough import ASIDE, bring_back, drop_defaults, set_aside
from edgesr_export.opset.rule import SpelledOut, keep_too

LOWEST, HIGHEST = 16, 23
"""Operator sets that a file may be lowered to, and those of the newest file that is understood."""

RULES: tuple[type[SpelledOut], ...] = (GeluByErf, GroupNormByInstanceNorm, LayerNormByMeans)


def opset_of(model: onnx.ModelProto) -> int:
    """The operator set of the standard that the file was written for; 0 where it names none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def lower(model: onnx.ModelProto, opset: int) -> tuple[onnx.ModelProto, list[str]]:
    """Say the network in ``opset``.

    Args:
        model: left untouched; one of a lower operator set comes back as it is.
        opset: from :data:`LOWEST` on.

    Returns:
        The new model, and one sentence for each operator that was spelled out.

    Raises:
        ExportError: an operator that cannot be said in ``opset``, with its layer.
    """
    check_opset(opset)
    current = opset_of(model)
    if current <= opset:
        return model, []
    if current > HIGHEST:
        raise ExportError(
            f"the file has opset {current} and {HIGHEST} is the newest that can be lowered; "
            "export the network with an older one"
        )
    graph = ir.from_proto(model)
    InlinePass()(graph)
    done = []
    for rule in RULES:
        newer = rule.since > opset
        count = RewriteRuleSet([rule.rule()]).apply_to_model(graph) if newer else 0
        if count:
            done.append(f"{rule.description}{'' if count == 1 else f' ({count} times)'}")
    if opset < split.SINCE and (count := split.give_sizes(graph)):
        done.append(f"Split -> parts of given sizes{'' if count == 1 else f' ({count} times)'}")
    RemoveUnusedNodesPass()(graph)
    plain = ir.to_proto(graph)
    _refuse_newer(plain, opset)
    lowered = _converted(plain, opset)
    keep_too(lowered)
    return lowered, done


def check_opset(opset: int) -> None:
    """Refuse what :func:`lower` cannot reach.

    Raises:
        ExportError: below :data:`LOWEST` or above :data:`HIGHEST`.
    """
    if not LOWEST <= opset <= HIGHEST:
        raise ExportError(f"an opset from {LOWEST} to {HIGHEST} is needed, got {opset}")


def _converted(plain: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    layers = set_aside(plain, opset)
    try:
        lowered = version_converter.convert_version(plain, opset)
    except (RuntimeError, version_converter.ConvertError) as error:
        raise _no_form(opset, _why(error)) from error
    bring_back(lowered, layers)
    drop_defaults(lowered, opset)
    domains = {node.domain for node in lowered.graph.node}
    kept = [o for o in lowered.opset_import if o.domain in domains and o.domain != ASIDE]
    del lowered.opset_import[:]
    lowered.opset_import.extend(kept or [onnx.helper.make_opsetid("", opset)])
    lowered.ir_version = onnx.helper.find_min_ir_version_for(lowered.opset_import, True)
    _keep_metadata(plain, lowered)
    try:
        onnx.checker.check_model(lowered, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _no_form(opset, one_line(error)) from error
    return lowered


def _keep_metadata(plain: onnx.ModelProto, lowered: onnx.ModelProto) -> None:
    """Give the file and its nodes what the converter drops: notes, and the modules' paths."""
    del lowered.metadata_props[:]
    lowered.metadata_props.extend(plain.metadata_props)
    noted = {tuple(node.output): node.metadata_props for node in plain.graph.node}
    for node in lowered.graph.node:
        del node.metadata_props[:]
        node.metadata_props.extend(noted.get(tuple(node.output), ()))


def _no_form(opset: int, why: str) -> ExportError:
    return ExportError(
        f"the network has no form in opset {opset} ({why}); choose a newer opset, or replace the "
        "operator before the export"
    )


def _refuse_newer(model: onnx.ModelProto, opset: int) -> None:
    """Name the layer whose operator the older set does not have at all."""
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        try:
            onnx.defs.get_schema(node.op_type, opset)
        except onnx.defs.SchemaError:
            raise ExportError(
                f"layer {node.name} ({node.op_type}) does not exist in opset {opset}; replace it "
                "before the export, or choose a newer opset"
            ) from None


def _why(error: BaseException) -> str:
    """The converter's complaint without the source line of its own that it puts before."""
    text = " ".join(str(error).split())
    return text.split("Assertion `false` failed: ")[-1][:200]
