"""From a module to an ONNX file: ``torch.export``, the dynamo exporter, then exact rewrites.

What cannot be exported so may be recorded: run once by ``torch.jit.trace``, which writes down what
happened. :mod:`edgesr_export.tracing` decides which of the two, and makes sure.

Opset 20 is written by default: the first one with ``Gelu`` as one operator, and what the exporter
of torch writes without converting versions. Asked for an older one the exporter may silently write
another; so older ones are made from it by :mod:`edgesr_export.opset`.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import onnx

from edgesr_export.errors import ExportError, one_line
from edgesr_export.interrupts import held
from edgesr_export.limited import Calls, can_limit, limited
from edgesr_export.model_file import read_graph
from edgesr_export.modes import evaluating
from edgesr_export.opset import check_opset, lower, opset_of
from edgesr_export.profile.source import SCOPES
from edgesr_export.records import read_record
from edgesr_export.rewrite import rewrite as rewrite_graph

if TYPE_CHECKING:
    import torch
    from torch import nn

OPSET = 20
HINT = "; try a fixed input size"
EXPORTED, RECORDED = "torch.export", "recorded"
RECORDING_SECONDS = 300.0
"""What takes longer to record, such as a network that calls itself for every pixel, becomes a graph
of so many nodes that runtimes take as long to read it, at each of the many times that they do."""

AXES = {0: "batch", 2: "height", 3: "width"}
LARGEST_FILE = 2**31 - 1
"""Bytes that one protobuf message can hold; weights beyond it would need files beside the model."""

_REWRITES_KEY = "rewrites"


def export_onnx(
    module: nn.Module,
    example: torch.Tensor,
    path: Path | str,
    *,
    dynamic: bool | Collection[str] = True,
    opset: int = OPSET,
    rewrite: bool = True,
    how: str = EXPORTED,
) -> Path:
    """Write ``module`` as one self-contained ONNX file, weights inside.

    Args:
        module: network of one [N, C, H, W] input and one output; exported in evaluation mode and
            left in the mode in which it came.
        example: an input [N, C, H, W] on the device of the module.
        path: file to write; it appears under this name only when complete and checked.
        dynamic: batch, height and width stay free, or those of them that are named. ``False``
            fixes them to those of ``example``, which takes less than half the time and is enough
            to measure one shape.
        opset: version of the operator set, from 16 on. TensorRT 8.5 reads 16, 8.6 reads 17.
        rewrite: apply the exact rewrites of :mod:`edgesr_export.rewrite`.
        how: "torch.export", or "recorded": what the module does with ``example`` is written down.
            Python that depends on values or sizes then takes the branch of ``example`` for ever,
            so compare the file with the module.

    Raises:
        TooLongError: recording it takes longer than :data:`RECORDING_SECONDS`.
        ExportError: the network cannot be traced, fixes the size of its input although
            ``dynamic`` was asked, exceeds 2 GB, or cannot be said in ``opset``.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ExportError(f"{path} cannot be written: {path.parent} is no folder; create it first")
    check_opset(opset)
    free = dynamic if not isinstance(dynamic, bool) else AXES.values() if dynamic else ()
    axes = {index: name for index, name in AXES.items() if name in free}
    model = _trace(module, example, axes, max(opset, OPSET), how)
    applied: list[str] = []
    if rewrite:
        model, applied = rewrite_graph(model)
    model, spelled_out = lower(model, opset)
    applied += spelled_out
    if opset_of(model) != opset:
        raise ExportError(
            f"the exporter of torch wrote opset {opset_of(model)} where {opset} was asked for; "
            f"choose {OPSET} or less"
        )
    onnx.helper.set_model_props(model, {_REWRITES_KEY: json.dumps(applied)})
    if model.ByteSize() > LARGEST_FILE:
        raise ExportError(
            f"the network needs {model.ByteSize() / 2**30:.1f} GB as ONNX and one file holds 2 GB; "
            "export it in half precision"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {one_line(error)}") from error
    _write(model, path)
    return path


def applied_rewrites(path: Path | str) -> list[str]:
    """What :func:`export_onnx` rewrote in the file, one sentence a rewrite."""
    return read_record(read_graph(Path(path)), _REWRITES_KEY, list[str]) or []


def _trace(
    module: nn.Module, example: torch.Tensor, axes: dict[int, str], opset: int, how: str
) -> onnx.ModelProto:
    """The network as ONNX; what is recorded, within :data:`RECORDING_SECONDS`."""
    if how != RECORDED or not can_limit(module):
        return _traced(module, example, axes, opset, how)
    import torch.onnx.utils  # here, so that the process forked has it

    calls = Calls()

    def run() -> None:
        with _quiet(), evaluating(module), torch.no_grad(), suppress(Exception):
            _copy(module)(example)

    def record(path: Path) -> None:
        def write() -> None:
            onnx.save(_traced(module, example, axes, opset, how), path)

        calls.follow(run, write)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recorded.onnx"
        what = f"recording {type(module).__name__}"
        limited(record, path, what, RECORDING_SECONDS, calls.text)
        return onnx.load(path)


@held()
def _traced(
    module: nn.Module, example: torch.Tensor, axes: dict[int, str], opset: int, how: str
) -> onnx.ModelProto:
    import torch
    from onnx_ir import from_proto, to_proto
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnxscript.optimizer import fold_constants

    if example.ndim != 4:
        raise ExportError(f"an example of 4 axes [N, C, H, W] is needed, got {example.ndim}")
    if {2, 3} & axes.keys() and min(example.shape[2:]) < 2:
        raise ExportError(
            f"an example of at least 2 x 2 pixels is needed, got {tuple(example.shape)}"
        )
    trace = {EXPORTED: _export, RECORDED: _record}[how]
    with _quiet(), evaluating(module), torch.no_grad():
        try:
            traced = trace(_copy(module), example, axes, opset)
        except Exception as error:  # the exporters raise many kinds; the caller needs one
            raise ExportError(
                f"{type(module).__name__} cannot be exported: {_reason(error)}"
                + (HINT if axes else "")
            ) from error
    graph = from_proto(traced) if isinstance(traced, onnx.ModelProto) else traced
    fold_constants(graph, input_size_limit=LARGEST_FILE, output_size_limit=LARGEST_FILE)
    scopes = {node: node.metadata_props.get(SCOPES) for node in graph.graph}
    ClearMetadataAndDocStringPass()(graph)  # it names source files of this machine
    for node, scope in scopes.items():
        if scope:  # the modules' paths alone, for profiles
            node.metadata_props[SCOPES] = scope
    model = to_proto(graph)
    _name_axes(model, axes)
    return model


def _reason(error: BaseException) -> str:
    """What stopped the exporter: it wraps the cause in a guide of many lines, with colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\x1b\[\d*m", "", one_line(error)).partition(" For more information, ")[0]


def _copy(module: nn.Module) -> nn.Module:
    """A copy to trace: what a network keeps of a call would else be the tracer's own tensors."""
    try:
        return copy.deepcopy(module)
    except Exception:  # whatever a third-party module holds that cannot be copied
        return module


def _export(module: nn.Module, example: torch.Tensor, axes: dict[int, str], opset: int) -> Any:
    """By ``torch.export``: symbols for the free ``axes``, an error where Python asks a value."""
    import torch

    if 0 in axes and example.shape[0] < 2:  # the tracer takes an axis of length 1 for a constant
        example = example.expand(2, -1, -1, -1).contiguous()
    shapes = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),) if axes else None
    program = torch.export.export(module, (example,), dynamic_shapes=shapes, strict=False)
    _pool_by_mean(program)
    exported = torch.onnx.export(
        program,
        (example,),
        dynamo=True,
        opset_version=opset,
        input_names=["input"],
        output_names=["output"],
        verbose=False,
        verify=False,
        external_data=False,
    )
    if exported is None:
        raise RuntimeError("no program came back")
    return exported.model


def _record(
    module: nn.Module, example: torch.Tensor, axes: dict[int, str], opset: int
) -> onnx.ModelProto:
    """By ``torch.jit.trace``: what happened to ``example``, sizes followed where tensors tell."""
    import torch

    batch = {index: name for index, name in axes.items() if index == 0}
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(torch._C, "_jit_onnx_log", lambda *_: None, create=True),  # prints graphs
    ):
        written = Path(folder) / "recorded.onnx"
        torch.onnx.export(
            module,
            (example,),
            written,
            dynamo=False,
            opset_version=opset,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": axes, "output": batch},
        )
        return onnx.load(written)


def _pool_by_mean(program: torch.export.ExportedProgram) -> None:
    """Say global average pooling as a mean.

    The decomposition of torch adds, for inputs in channels-last order, a change of strides that
    has no meaning in ONNX and comes out as an index computation and a Gather.
    """
    import torch

    pool, mean = torch.ops.aten.adaptive_avg_pool2d.default, torch.ops.aten.mean.dim
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target is pool and tuple(node.args[1]) == (1, 1):
            node.target = mean
            node.args = (node.args[0], [-2, -1], True)
    program.graph_module.recompile()


def _name_axes(model: onnx.ModelProto, free: dict[int, str]) -> None:
    """Call the free axes batch, height and width, here and in the sizes derived from them."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    names = {axes[index].dim_param: name for index, name in free.items()}
    if "" in names:
        fixed = [name for index, name in free.items() if not axes[index].dim_param]
        raise ExportError(
            f"the network fixes the {', '.join(fixed)} of its input; export it with a fixed size"
        )
    if not names:
        return
    symbol = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    for value in values:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = symbol.sub(lambda found: names[found[0]], axis.dim_param)


def _write(model: onnx.ModelProto, path: Path) -> None:
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        temporary.replace(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes (deprecations within torch, whole graphs) off stderr."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
