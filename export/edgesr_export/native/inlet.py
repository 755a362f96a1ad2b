"""From native numbers to the network's.

::

    uint8 [.., 2] -- Cast -- x [1, 256] -- ReduceSum --+
                                                       +-- Gather(selection) -- x
    uint16, int16, uint8, float32 -- Cast -------------+

    x -- is nodata? not finite? -- any band -- mask [N, 1, h, w]
    x -- Where(mask, fill) -- x - lower -- Max(0) -- x 1 / span -- Min(1) -- the network

Each step is rounded to float32 alike by every runtime, so that a float16 or int8 layer reads the
same number everywhere: no two linear ones follow each other, which OpenVINO would merge, nor does
one come last, where a quantised layer would take it in. All of it stays apart from the first
convolution: a zero that pads there is a zero of the network's own numbers; and this side is r^2
times smaller than the other.
"""

from __future__ import annotations

import math

import numpy as np

from edgesr_export.native.io import NativeIO, normalising
from edgesr_export.native.nodes import Nodes, integers, number, numbers


def inlet(new: Nodes, image: str, io: NativeIO) -> tuple[str, str | None]:
    """The network's input, and where pixels can be nodata the mask of them, bool [N, 1, h, w]."""
    x = _as_float(new, image, io)
    if io.selection is not None:
        x = new("Gather", x, integers(*io.selection), axis=1)
    mask = _nodata_pixels(new, x, io) if io.masked else None
    bands = (io.bands, 1, 1)
    if mask is not None:
        x = new("Where", mask, numbers(io.fill, *bands), x)
    lower, factor = (one.reshape(bands) for one in normalising(io))
    above = new("Max", new("Sub", x, lower), number(0))
    return new("Min", new("Mul", above, factor), number(1)), mask


def _as_float(new: Nodes, image: str, io: NativeIO) -> str:
    if io.input_dtype == "float32":
        return image
    x = new.cast(image, "float32")
    if not io.pairs(io.input_dtype):
        return x
    x = new("ReduceSum", new("Mul", x, numbers((1, 256), 2)), integers(4), keepdims=0)
    if io.input_dtype == "int16":
        negative = new("Greater", x, number(32767))
        x = new("Where", negative, new("Sub", x, number(65536)), x)
    return x


def _nodata_pixels(new: Nodes, x: str, io: NativeIO) -> str:
    found = []
    if io.input_dtype == "float32":
        finite = new("LessOrEqual", new("Abs", x), number(float(np.finfo(np.float32).max)))
        found.append(new("Not", finite))
    if io.nodata is not None and math.isfinite(io.nodata):
        found.append(new("Equal", x, number(io.nodata)))
    return new.any_band(found[0] if len(found) == 1 else new("Or", *found))
