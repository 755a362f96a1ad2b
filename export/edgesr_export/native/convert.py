"""One more link of the chain: a file of native numbers, compared with what they mean.

::

    SOURCE.onnx -- make_native --> PATH.onnx
        |                              |
        +--- native_reference ---------+   in ONNX Runtime, and in the target's own runtime
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from edgesr_export.card import attach, card_of
from edgesr_export.chain import Chain, Link, check_path, recorded_links, remember_links
from edgesr_export.errors import ExportError, one_line
from edgesr_export.fp16 import kept_nodes
from edgesr_export.model_file import load_model, write_model
from edgesr_export.native.carded import native_card
from edgesr_export.native.graph import make_native
from edgesr_export.native.io import NativeIO, check_image, from_bytes, to_bytes
from edgesr_export.native.probes import native_probes
from edgesr_export.native.reference import Run, rounded, unrounded
from edgesr_export.runtime import session
from edgesr_export.targets import find_target

STEPS = 1.0
"""Largest accepted difference, in steps of the output."""
EQUAL = 0.999
"""Least accepted share of equal values."""
REACH = 4 * 2.0**-24
"""Where the exact value is so near the middle of two whole numbers, relative to its size or its
band's range, float32 gives either one: both count as equal. On an image of one number a whole band
may lie there."""
FLOAT_STEP = 1e-4
"""Step of an output of float32, of a band's range: what files of float32 may differ by."""


def convert_native(
    source: Path | str,
    path: Path | str,
    io: NativeIO,
    *,
    target: str,
    tiles_native: Sequence[np.ndarray] = (),
    overwrite: bool = False,
) -> Chain:
    """Write the network of ``source`` with native input and output to ``path``, checked.

    Args:
        source: file that :func:`edgesr_export.chain.convert` wrote for ``target``, in any
            precision; what it holds beside the network is kept.
        path: file to write; it appears only when it is checked. A card of ``source`` goes along.
        io: what the native numbers mean; ``as_bytes`` is set where the target needs it.
        target: one of :data:`edgesr_export.targets.TARGETS`.
        tiles_native: real images [N, sensor_bands, h, w] to compare on, beside the synthetic ones.
        overwrite: replace ``path``.

    Returns:
        The chain of ``source``, with a link for each runtime that native numbers were compared in;
        its difference is in steps of the output: whole numbers, or for float32
        :data:`FLOAT_STEP` of a band's range.

    Raises:
        ExportError: a file that cannot be read, run or written, another kind of network, or an
            answer more than :data:`STEPS` from :func:`native_reference`, or fewer than
            :data:`EQUAL` of the values equal to it.
    """
    source, path = Path(source), Path(path)
    on = find_target(target)
    check_path(path, overwrite)
    for index, tile in enumerate(tiles_native):
        check_image(np.asarray(tile), io, f"tile {index}")
    if not on.sixteen_bits:
        io = replace(io, as_bytes=True)
    model = load_model(source)
    native = make_native(model, io, fused=on.quantises)
    shape = [axis.dim_value or axis.dim_param for axis in _axes(model)]
    images = [(f"tile {index}", np.asarray(tile)) for index, tile in enumerate(tiles_native)]
    images += native_probes(io, shape)
    links: list[Link] = []
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "native.onnx"
        write_model(native, made)

        def compare(name: str, run: Run, _: float | None) -> None:
            links.append(_link(f"native numbers, {name}", images, io, on.open(source), run))

        links.append(_link("native numbers", images, io, session(source), session(made)))
        notes = tuple(on.check(made, compare, None))
    done = (*recorded_links(source), *links)
    remember_links(native, done)
    if (card := card_of(model, str(source))) is not None:
        attach(native, native_card(card, io))
    write_model(native, path)
    sentence = f"native numbers: {io.input_dtype} of {io.sensor_bands} bands -> {io.output_dtype}"
    kept = kept_nodes(native)
    return Chain(path, target, _precision(model), (sentence,), done, kept, notes)


@dataclass
class _Tally:
    """How far answers are from the reference, over all images."""

    largest: float = -1.0
    worst: str = ""
    equal: int = 0
    values: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, answer: np.ndarray, exact: np.ndarray, io: NativeIO) -> None:
        reference = rounded(exact, io)
        if answer.shape != reference.shape or answer.dtype != reference.dtype:
            raise ExportError(
                f"native numbers: {answer.dtype} {list(answer.shape)} came out on {name} where "
                f"{reference.dtype} {list(reference.shape)} is right; nothing was written"
            )
        steps = _steps(answer, reference, io)
        self.equal += int(np.count_nonzero((steps < 0.5) | _in_the_middle(exact, io)))
        self.values += steps.size
        if (largest := float(steps.max(initial=0.0))) > self.largest:
            self.largest, self.worst = largest, name


def _link(
    name: str, images: Sequence[tuple[str, np.ndarray]], io: NativeIO, network: Run, native: Run
) -> Link:
    tally, compared = _Tally(), 0

    def finite(image: np.ndarray) -> np.ndarray:
        answer = network(image)
        if not np.isfinite(answer).all():
            raise ExportError("the file itself gives values that are not finite")
        return answer

    for image_name, image in images:
        try:
            exact = unrounded(image, io, finite)
        except ExportError as error:
            tally.skipped[image_name] = one_line(error)
            continue
        given = to_bytes(image) if io.pairs(io.input_dtype) else image
        answer = native(given)
        if io.pairs(io.output_dtype):
            answer = from_bytes(answer, io.output_dtype)
        tally.add(image_name, answer, exact, io)
        compared += 1
    if not compared:
        image_name, why = next(iter(tally.skipped.items()))
        raise ExportError(f"the network runs on no image tried, such as {image_name}: {why}")
    share = tally.equal / max(1, tally.values)
    if tally.largest > STEPS or share < EQUAL:
        raise ExportError(
            f"{name}: {tally.largest:.3g} steps from the reference on {tally.worst}, and "
            f"{share:.2%} of the values equal, where {STEPS:g} and {EQUAL:.1%} are needed; "
            "nothing was written"
        )
    return Link(name, tally.largest, STEPS, tally.worst, compared, tally.skipped, share)


def _steps(answer: np.ndarray, reference: np.ndarray, io: NativeIO) -> np.ndarray:
    """Distances in steps of the output; infinite where one alone is no number."""
    step = np.ones(1)
    if io.output_dtype == "float32":
        step = FLOAT_STEP * np.subtract(io.upper, io.lower)
    with np.errstate(invalid="ignore"):
        distance = np.abs(answer.astype(np.float64) - reference)
    same = (answer == reference) | (np.isnan(answer) & np.isnan(reference))
    distance = np.where(same, 0, distance / step.reshape(-1, 1, 1))
    return np.nan_to_num(distance, nan=np.inf)


def _in_the_middle(exact: np.ndarray, io: NativeIO) -> np.ndarray:
    """Where float32 cannot tell which of two whole numbers is nearer."""
    if io.output_dtype == "float32":
        return np.zeros(exact.shape, bool)
    span = np.subtract(io.upper, io.lower).reshape(-1, 1, 1)
    size = np.maximum(np.maximum(np.abs(exact), span), np.abs(io.lower).reshape(-1, 1, 1))
    return 0.5 - np.abs(exact - np.rint(exact)) <= REACH * size


def _axes(model: onnx.ModelProto) -> Sequence[onnx.TensorShapeProto.Dimension]:
    stored = {tensor.name for tensor in model.graph.initializer}
    (source,) = (value for value in model.graph.input if value.name not in stored)
    return source.type.tensor_type.shape.dim


def _precision(model: onnx.ModelProto) -> str:
    """What :func:`edgesr_export.chain.convert` made the file in."""
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if half else "fp32"
