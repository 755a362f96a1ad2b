"""From an ONNX file to the one that a target runs, every link compared with the one before.

::

    IN.onnx -- exact rewrites --> float32 -- to float16 or int8 --> the target's own runtime
       |             |                               |                         |
       +-- compared -+---------- compared -----------+------- compared --------+

The comparisons are made by ONNX Runtime on the images of :mod:`edgesr_export.probes`, at sizes that
the file was not made with where it leaves them free; what came out is stored in the file itself
(:func:`recorded_links`), beside the card of the file given, with the new precision. A link beyond
its tolerance fails and nothing is written.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import TensorProto

from edgesr_export.card import ModelCard, attach, card_of
from edgesr_export.errors import ExportError, one_line
from edgesr_export.fp16 import kept_nodes, to_fp16
from edgesr_export.model_file import load_model, read_graph, tensors, write_model
from edgesr_export.one_size import at_one_size
from edgesr_export.opset import check_opset, lower, opset_of
from edgesr_export.probes import probes
from edgesr_export.records import read_record
from edgesr_export.rewrite import rewrite
from edgesr_export.runtime import session
from edgesr_export.sizes import input_shape
from edgesr_export.targets import PRECISIONS, find_target
from edgesr_export.tracing import tracing
from edgesr_export.unsupported import explain
from edgesr_export.verify import TOLERANCE

HALF_TOLERANCE = 2e-2
"""For float16: some tens of roundings of 2^-11 each."""
LEVEL_TOLERANCE = 2e-2
"""For exact rewrites around int8 layers: what lay between two levels may round to the other one."""

HALVES = frozenset((TensorProto.FLOAT16, TensorProto.BFLOAT16))
QUANTISED = frozenset(
    ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
     "ConvInteger", "MatMulInteger")
)  # fmt: skip
"""Operators of files whose layers are in 8 bits already."""

_KEY = "links"
Run = Callable[[np.ndarray], np.ndarray]
Quantise = Callable[[Path, Path, str], object]
"""Makes a target's int8 file of a float32 file, as :func:`edgesr_export.int8.quantize` does."""


@dataclass(frozen=True)
class Link:
    """One step of the chain, and how far it moved the output.

    Attributes:
        name: what was done.
        difference: largest absolute difference to the link before, divided by the largest
            absolute output of that link where this is above 1.
        tolerance: largest accepted difference; None where metrics judge instead.
        worst: the image on which the difference is largest.
        images: number of images compared.
        skipped: images that the file given cannot take itself, with its reason.
        equal: share of the values that are the same; None where they are not counted.
    """

    name: str
    difference: float
    tolerance: float | None
    worst: str
    images: int
    skipped: dict[str, str]
    equal: float | None = None


@dataclass(frozen=True)
class Chain:
    """What :func:`convert` did.

    Attributes:
        path: the file written.
        target: what the file is for.
        precision: "fp32", "fp16" or "int8".
        rewrites: one sentence for each kind of rewrite.
        links: the comparisons, in order.
        kept: reason, by name, for every node left in float32 in a file of float16.
        notes: what was not checked, and why.
    """

    path: Path
    target: str
    precision: str
    rewrites: tuple[str, ...]
    links: tuple[Link, ...]
    kept: dict[str, str]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Some lines for people."""
        lines = [f"rewritten: {sentence}" for sentence in self.rewrites]
        for link in self.links:
            limit = "" if link.tolerance is None else f" (limit {link.tolerance:.0e})"
            equal = "" if link.equal is None else f", {link.equal:.3%} of the values equal"
            lines.append(
                f"{link.name}: largest difference {link.difference:.1e}{limit} on {link.worst}, "
                f"{link.images} images{equal}"
            )
            lines += [f"  not compared on {name}: {why}" for name, why in link.skipped.items()]
        if self.kept:
            counts = Counter(self.kept.values())
            lines += [f"float32 in {n} nodes: {reason}" for reason, n in counts.items()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, f"{self.path}: {self.precision} for {self.target}"])


def convert(
    source: Path | str,
    path: Path | str,
    *,
    target: str,
    precision: str = "fp32",
    tiles: Sequence[np.ndarray] = (),
    quantise: Quantise | None = None,
    opset: int | None = None,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Chain:
    """Write the network of ``source`` for ``target`` to ``path``, checked link by link.

    Args:
        source: float32 ONNX file of one image [N, C, H, W], made by anyone.
        path: file to write; it appears only when the last link is checked.
        target: one of :data:`edgesr_export.targets.TARGETS`.
        precision: one of :data:`edgesr_export.targets.PRECISIONS`.
        tiles: real images [N, C, H, W] to compare on, beside the synthetic ones.
        quantise: what makes the int8 file; needed for "int8" alone.
        opset: newest operator set that the file may need; by default that of ``source``.
        size: height and width that the file is to take, and no other; by default those that
            ``source`` takes. ``tiles`` have that size, too.
        overwrite: replace ``path``.

    Raises:
        ExportError: a file that cannot be read, run or written, a link beyond its tolerance, or
            an operator that the target does not take.
    """
    source, path = Path(source), Path(path)
    on = find_target(target)
    _check(path, precision, quantise, overwrite)
    if opset is not None:
        check_opset(opset)
    model = load_model(source)
    card = _float_card(model, source)
    _check_float32(model, source)
    on.refuse(model)
    shape = _input_shape(model, source)
    if size is not None:
        model = at_one_size(model, size, source)
        shape = _input_shape(model, source)
    images = [*_named(tiles), *probes(shape)]
    try:
        first: Run = session(source)
    except ExportError as error:
        raise explain(error, model, "ONNX Runtime") from error
    reference, skipped = _answers(first, images, source)
    tolerance = max(TOLERANCE, min(tracing(source).rounding, HALF_TOLERANCE))
    with tempfile.TemporaryDirectory() as folder:
        links = _Links(images, reference, skipped)
        new, rewrites = rewrite(model, () if precision == "int8" else on.rules)
        current = Path(folder) / "rewritten.onnx"
        write_model(new, current)
        links.add("exact rewrites", session(current), tolerance)
        if precision == "fp16":
            current, before = Path(folder) / "fp16.onnx", current
            to_fp16(before, current)
            links.add("float16", session(current), _tolerance(precision, tolerance))
        elif precision == "int8":
            assert quantise is not None  # _check
            current, before = Path(folder) / "int8.onnx", current
            quantise(before, current, target)
            if not current.is_file():
                raise ExportError(
                    f"no layer of {source} gains by int8 within the limits; use fp32 or fp16"
                )
            links.add("int8", session(current), None)
            new, more = rewrite(load_model(current), on.rules)  # layers are chosen by name, before
            if more:
                write_model(new, current)
                links.add("rewrites for the target", session(current), LEVEL_TOLERANCE)
                rewrites += more
        if opset is not None:
            rewrites += _lowered(current, opset, _tolerance(precision, tolerance), links)
        notes = tuple(on.check(current, links.add, _tolerance(precision, tolerance)))
        result = load_model(current)
        kept = kept_nodes(result)
        remember_links(result, links.done)
        if card is not None:
            attach(result, _card_for(card, current, precision))
        write_model(result, path)
    return Chain(path, target, precision, tuple(rewrites), tuple(links.done), kept, notes)


def recorded_links(path: Path | str) -> list[Link]:
    """The comparisons that :func:`convert` stored; empty where the file was made otherwise."""
    return read_record(read_graph(Path(path)), _KEY, list[Link]) or []


def _check_float32(model: onnx.ModelProto, source: Path) -> None:
    """Refuse a file of another precision, which would pass for what is asked for."""
    stored = {tensor.name for tensor in model.graph.initializer}
    images = [one for one in model.graph.input if one.name not in stored] + [*model.graph.output]
    kinds = {one.type.tensor_type.elem_type for one in images} - {TensorProto.UNDEFINED}
    halves = {tensor.data_type for tensor in tensors(model.graph)} & HALVES
    quantised = {node.op_type for node in model.graph.node} & QUANTISED
    found = [TensorProto.DataType.Name(kind).lower() for kind in kinds - {TensorProto.FLOAT}]
    found += [f"weights in {TensorProto.DataType.Name(kind).lower()}" for kind in halves]
    if problems := found or sorted(quantised):
        raise ExportError(
            f"{source} is no float32 file ({problems[0]}); give the float32 file that it was made"
            " of, from which every precision is made"
        )


def _float_card(model: onnx.ModelProto, source: Path) -> ModelCard | None:
    """The card of the file given, which must take normalised numbers."""
    card = card_of(model, str(source))
    if card is not None and card.input.kind == "native":
        raise ExportError(
            f"{source} takes native numbers; convert the file of normalised ones that it was made"
            " of"
        )
    return card


def _card_for(card: ModelCard, path: Path, precision: str) -> ModelCard:
    """The card of what was made of the file that has ``card``."""
    from edgesr_export.int8 import recorded_layers

    layers = recorded_layers(path).values() if precision == "int8" else ()
    return replace(
        card,
        precision=precision,
        int8_layers=sum(kind == "int8" for kind, _ in layers),
        size=input_shape(path)[2:],
    )


class _Links:
    """Compares one form of the network after another with the form before."""

    def __init__(
        self,
        images: list[tuple[str, np.ndarray]],
        reference: dict[str, np.ndarray],
        skipped: dict[str, str],
    ) -> None:
        self.done: list[Link] = []
        self._images = [(name, image) for name, image in images if name in reference]
        self._before = reference
        self._skipped = skipped

    def add(self, name: str, run: Run, tolerance: float | None) -> None:
        after, worst, largest = {}, "", -1.0
        for image_name, image in self._images:
            after[image_name] = run(image)
            difference = _difference(after[image_name], self._before[image_name], name, image_name)
            if difference > largest:
                worst, largest = image_name, difference
        if tolerance is not None and largest > tolerance:
            raise ExportError(
                f"{name} moves the output by {largest:.2e} on {worst}, more than {tolerance:.0e}; "
                "nothing was written"
            )
        self.done.append(Link(name, largest, tolerance, worst, len(after), self._skipped))
        self._before = after


def _difference(after: np.ndarray, before: np.ndarray, name: str, image: str) -> float:
    if after.shape != before.shape:
        raise ExportError(
            f"{name} answers {after.shape} on {image} where {before.shape} is right; "
            "nothing was written"
        )
    exact = before.astype(np.float64)
    scale = max(1.0, float(np.abs(exact).max(initial=0.0)))
    difference = float(np.abs(after - exact).max(initial=0.0)) / scale
    if not np.isfinite(difference):
        raise ExportError(f"{name} gives values that are not finite on {image}")
    return difference


def _answers(
    run: Run, images: list[tuple[str, np.ndarray]], source: Path
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the file given answers, and the images that it cannot take itself."""
    answers, skipped = {}, {}
    for name, image in images:
        try:
            answer = run(image)
        except ExportError as error:
            skipped[name] = one_line(error)
            continue
        if np.isfinite(answer).all():
            answers[name] = answer
        else:
            skipped[name] = "the file itself gives values that are not finite"
    if not answers:
        name, why = next(iter(skipped.items()))
        height, width = images[0][1].shape[2:]
        raise ExportError(
            f"{source} runs on no image tried, such as {name} of {height} x {width} pixels: {why}"
        )
    return answers, skipped


def _lowered(path: Path, opset: int, tolerance: float | None, links: _Links) -> list[str]:
    """Say the file in an older operator set; what was spelled out."""
    model = load_model(path)
    if opset_of(model) <= opset:
        return []
    lowered, done = lower(model, opset)
    write_model(lowered, path)
    links.add(f"opset {opset}", session(path), tolerance or HALF_TOLERANCE)
    return done


def _tolerance(precision: str, full: float) -> float | None:
    """Largest accepted difference between two runtimes, of which ``full`` is that of float32.

    Of int8, metrics judge.
    """
    return {"fp32": full, "fp16": max(full, HALF_TOLERANCE)}.get(precision)


def _check(path: Path, precision: str, quantise: Quantise | None, overwrite: bool) -> None:
    if precision not in PRECISIONS:
        raise ExportError(f"a precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "int8" and quantise is None:
        raise ExportError("int8 needs calibration tiles, of which none were given")
    check_path(path, overwrite)


def check_path(path: Path, overwrite: bool) -> None:
    """Refuse a file in the way, or a folder that is none.

    Raises:
        ExportError: ``path`` cannot be written.
    """
    if path.exists() and not overwrite:
        raise ExportError(f"{path} exists; pass --overwrite or another name")
    if not path.parent.is_dir():
        raise ExportError(f"{path} cannot be written: {path.parent} is no folder; create it first")


def _input_shape(model: onnx.ModelProto, source: Path) -> list[int | str]:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ExportError(
            f"{source} has {len(inputs)} inputs and {len(model.graph.output)} outputs; "
            "a network of one image to one image is needed"
        )
    axes = inputs[0].type.tensor_type.shape.dim
    return [axis.dim_value or axis.dim_param for axis in axes]


def _named(tiles: Sequence[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(f"tile {index}", np.asarray(tile)) for index, tile in enumerate(tiles)]


def remember_links(model: onnx.ModelProto, links: Sequence[Link]) -> None:
    """Note in the file what :func:`recorded_links` shall answer; in place."""
    entries: dict[str, Any] = {entry.key: entry.value for entry in model.metadata_props}
    stored = json.dumps([asdict(link) for link in links])
    onnx.helper.set_model_props(model, {**entries, _KEY: stored})
