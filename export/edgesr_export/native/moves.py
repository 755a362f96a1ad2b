"""Where the bands of the output are still channels of small images, before values only move.

::

    total [N, B' r r, h, w] -- Reshape -- Transpose -- ... -- slab --+
                                                                     +-- Concat -- y
    total [N, B' r r, h, w] -- DepthToSpace ------------------ slab --+

What is done to ``total`` is done to a slab of bands that the cache holds, and what follows moves
smaller numbers. Which channel becomes which band is not concluded from the operators but read from
them, run on an image whose values say where they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

OF_ANY_TYPE = ("Reshape", "Transpose", "Identity")
MOVES = (*OF_ANY_TYPE, "DepthToSpace")
PIXELS = (2, 3)
"""Height and width of the image that is moved to see where its values go, where they are free."""


@dataclass(frozen=True)
class Slab:
    """Bands of the output, as channels of a small image.

    Attributes:
        total: the image [N, C r r, h, w].
        element: its type, of ``onnx.TensorProto``.
        moved: what the moves make of it, the last first.
        bands: first band and the one after the last.
        phases_first: whether the channels stand phase by phase, or else band by band.
        any_type: whether the moves take more than float32 in ONNX Runtime.
    """

    total: str
    element: int
    moved: tuple[str, ...]
    bands: tuple[int, int]
    phases_first: bool
    any_type: bool


def slabs(model: onnx.ModelProto, output: str, bands: int, rate: int) -> list[Slab] | None:
    """Slabs that make up the image ``output`` [N, bands, h r, w r]; None where it is none of those.

    Args:
        model: with inferred shapes.
        output: an image to which values move only.
        bands: of it.
        rate: r.
    """
    graph = _Graph(model)
    node = graph.producer(output)
    if node is None or graph.uses[output] != 1:
        return None
    joined = node.op_type == "Concat" and any(a.name == "axis" and a.i == 1 for a in node.attribute)
    found, start = [], 0
    for part in node.input if joined else [output]:
        slab = _slab(graph, part, start, rate)
        if slab is None:
            return None
        found.append(slab)
        start = slab.bands[1]
    return found if start == bands else None


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producers = {name: i for i, node in enumerate(self.nodes) for name in node.output}
        self.uses = Counter(name for node in self.nodes for name in node.input)
        self.uses.update(value.name for value in model.graph.output)
        self._types = {value.name: value.type.tensor_type for value in model.graph.value_info}

    def index(self, tensor: str) -> int | None:
        return self._producers.get(tensor)

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        index = self.index(tensor)
        return None if index is None else self.nodes[index]

    def image(self, tensor: str) -> tuple[int, int, tuple[int, int]] | None:
        """Element type, channels, height and width; None where it is no image or not known."""
        known = self._types.get(tensor)
        if known is None or len(known.shape.dim) != 4 or not known.shape.dim[1].dim_value:
            return None
        _, channels, *pixels = (axis.dim_value for axis in known.shape.dim)
        height, width = (fixed or free for fixed, free in zip(pixels, PIXELS, strict=True))
        return known.elem_type, channels, (height, width)

    def between(self, start: str, end: str) -> list[onnx.NodeProto]:
        """Nodes that compute ``end`` and do not come before ``start``, in order."""
        needed, open_ends = set(), [end]
        while open_ends:
            index = self.index(open_ends.pop())
            if index is not None and index not in needed:
                needed.add(index)
                open_ends += [name for name in self.nodes[index].input if name != start]
        return [self.nodes[index] for index in sorted(needed)]


def _slab(graph: _Graph, part: str, start: int, rate: int) -> Slab | None:
    """The slab whose first band is ``start``."""
    moves = list(_moves(graph, part))
    if not moves:
        return None
    total = moves[-1].input[0]
    image = graph.image(total)
    if image is None:
        return None
    element, channels, (height, width) = image
    any_type = all(node.op_type in OF_ANY_TYPE for node in moves)
    if channels % rate**2 or not (any_type or element == onnx.TensorProto.FLOAT):
        return None
    count = channels // rate**2
    seen = _moved(graph, total, part, (1, channels, height, width))
    if seen is None or seen.shape != (1, count, height * rate, width * rate):
        return None
    channel, pixel = np.divmod(seen[0], height * width)
    own = np.arange(height * width).reshape(height, width).repeat(rate, 0).repeat(rate, 1)
    if (pixel != own).any():
        return None
    blocks = channel.reshape(count, height, rate, width, rate).transpose(0, 1, 3, 2, 4)
    block = np.sort(blocks.reshape(count, height * width, rate**2), axis=2)
    moved = tuple(node.output[0] for node in moves)
    by_band = np.arange(channels).reshape(count, rate**2)
    by_phase = np.arange(channels).reshape(rate**2, count).T
    for phases_first, channels_of in ((True, by_phase), (False, by_band)):
        if (block == channels_of[:, None]).all():
            bands = (start, start + count)
            return Slab(total, element, moved, bands, phases_first, any_type)
    return None


def _moves(graph: _Graph, part: str) -> Iterator[onnx.NodeProto]:
    """The moves before ``part``, the last one first; each result is read by the next one alone."""
    tensor = part
    while (node := graph.producer(tensor)) is not None and graph.uses[tensor] == 1:
        if node.op_type not in MOVES or node.domain:
            return
        yield node
        tensor = node.input[0]


def _moved(
    graph: _Graph, total: str, part: str, shape: tuple[int, int, int, int]
) -> np.ndarray | None:
    """What becomes of an image whose values count its channels and pixels."""
    nodes = graph.between(total, part)
    known = {total, *graph.constants, *(name for node in nodes for name in node.output)}
    if any(name and name not in known for node in nodes for name in node.input):
        return None  # sizes that are computed of something else
    read = {name for node in nodes for name in node.input}
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None)
        for name in (total, part)
    ]
    constants = [tensor for name, tensor in graph.constants.items() if name in read]
    alone = onnx.helper.make_graph(nodes, "moves", ends[:1], ends[1:], constants)
    model = onnx.helper.make_model(alone, opset_imports=graph.model.opset_import)
    model.ir_version = graph.model.ir_version
    image = np.arange(np.prod(shape)).reshape(shape)
    try:
        (answer,) = ReferenceEvaluator(model).run(None, {total: image})
    except Exception:  # of any kind: sizes that fit other images alone
        return None
    return np.asarray(answer)
