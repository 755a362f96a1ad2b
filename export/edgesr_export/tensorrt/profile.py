"""Which sizes an engine serves, and for which it is tuned.

TensorRT builds for a range of every free axis and chooses kernels at one point of it. Tiles of an
image give one range for batch and one for height and width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from edgesr_export.errors import ExportError

TILE = (16, 64, 128)
"""Least, tuned and largest edge of a tile unless said otherwise, in pixels."""
BATCH = (1, 1, 1)

Shape = tuple[int, ...]
Axes = tuple[int | None, ...]
"""Lengths of the axes of an input; None where the file leaves one free."""


@dataclass(frozen=True)
class Range:
    """Shapes that one input may take.

    Attributes:
        least, best, most: shapes; the engine is tuned for ``best``.
    """

    least: Shape
    best: Shape
    most: Shape

    @property
    def narrowed(self) -> Range:
        """The one shape that the engine is tuned for."""
        return Range(self.best, self.best, self.best)


Profile = Mapping[str, Range]
"""A range for every input with a free axis, by name."""


def model_inputs(model: onnx.ModelProto) -> dict[str, Axes]:
    """Inputs of the network, by name; weights that are listed as inputs are left out."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else None
            for dim in value.type.tensor_type.shape.dim
        )
        for value in model.graph.input
        if value.name not in weights
    }


def tile_profile(
    inputs: Mapping[str, Axes],
    tile: tuple[int, int, int] = TILE,
    batch: tuple[int, int, int] = BATCH,
) -> dict[str, Range]:
    """A profile for images [N, C, H, W], or [N, C, H, W, 2] of numbers of two bytes.

    It says the least, tuned and largest tile edge and batch.

    Axes that the file fixes stay as they are.

    Raises:
        ExportError: bounds out of order, or an input with a free axis that is no image.
    """
    for what, bounds in (("tile", tile), ("batch", batch)):
        if len(bounds) != 3 or not 1 <= bounds[0] <= bounds[1] <= bounds[2]:
            raise ExportError(
                f"{what} sizes are least, tuned and largest in this order, such as "
                f"{','.join(map(str, TILE))}; got {','.join(map(str, bounds))}"
            )
    profile = {}
    for name, axes in inputs.items():
        if None not in axes:
            continue
        if len(axes) not in (4, 5) or axes[1] is None or None in axes[4:]:
            raise ExportError(
                f"input {name} {axes_text(axes)} is no image of a fixed number of bands; "
                "give a profile that names its shapes"
            )
        free = [(batch[i], axes[1], tile[i], tile[i], 2) for i in range(3)]
        profile[name] = Range(*(_fill(axes, shape[: len(axes)]) for shape in free))
    return profile


def checked_profile(
    inputs: Mapping[str, Axes], profile: Mapping[str, Range | Sequence[Shape]] | None
) -> dict[str, Range]:
    """``profile`` as ranges, or tiles of the usual sizes where None is given.

    Raises:
        ExportError: an input unknown or missing, or a range that is none or does not fit.
    """
    if profile is None:
        return tile_profile(inputs)
    unknown = sorted(set(profile) - set(inputs))
    if unknown:
        raise ExportError(
            f"the profile names input {', '.join(unknown)}; the file has {', '.join(inputs)}"
        )
    missing = [name for name, axes in inputs.items() if None in axes and name not in profile]
    if missing:
        raise ExportError(f"the profile lacks input {', '.join(missing)}, whose size is free")
    ranges = {}
    for name, given in profile.items():
        shapes = (given.least, given.best, given.most) if isinstance(given, Range) else given
        ranges[name] = _range(name, inputs[name], tuple(tuple(shape) for shape in shapes))
    return ranges


def check_shape(name: str, shape: Shape, served: Range) -> None:
    """Refuse a shape outside what the engine was built for.

    Raises:
        ExportError: an axis of another number or length.
    """
    inside = len(shape) == len(served.least) and all(
        low <= length <= high
        for low, length, high in zip(served.least, shape, served.most, strict=True)
    )
    if not inside:
        raise ExportError(
            f"input {name} has shape {list(shape)} and the engine serves {list(served.least)} to "
            f"{list(served.most)}; cut other tiles, or build with a wider profile"
        )


def axes_text(axes: Axes) -> str:
    """ "[?, 32, ?, ?]"."""
    return f"[{', '.join('?' if length is None else str(length) for length in axes)}]"


def _fill(axes: Axes, shape: Shape) -> Shape:
    return tuple(free if fixed is None else fixed for fixed, free in zip(axes, shape, strict=True))


def _range(name: str, axes: Axes, shapes: tuple[Shape, ...]) -> Range:
    fits = len(shapes) == 3 and all(
        len(shape) == len(axes)
        and all(fixed is None or fixed == n for fixed, n in zip(axes, shape, strict=True))
        for shape in shapes
    )
    ordered = fits and all(1 <= a <= b <= c for a, b, c in zip(*shapes, strict=True))
    if not ordered:
        raise ExportError(
            f"the profile of input {name} {axes_text(axes)} needs three shapes, least, tuned and "
            f"largest, that fit it; got {[list(shape) for shape in shapes]}"
        )
    return Range(*shapes)
