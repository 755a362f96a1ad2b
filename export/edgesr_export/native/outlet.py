"""From the network's answer to native numbers.

::

    total -- Reshape -- x G -- + L -- whole numbers -- Reshape -- moves -- Concat -- type -- native
    y -- x (upper - lower) -- + lower -- Where(mask, nodata) -- whole numbers -- type -- native

The first form is for slabs (:mod:`edgesr_export.native.moves`): a pass over what the cache holds,
where a low-resolution pixel is still one pixel, so that nodata costs nothing: G and L are
[N, 1, B, h w], 0 and nodata there. The second one is for all else.

The network stays as it is, down to the last bit of a float16 or int8 layer: factors folded into its
last convolution would be rounded to the type of the weights. (Between total and the cast of a
float16 stands Reshape: ONNX Runtime takes a cast back that directly follows one of its own.)

To whole numbers: QuantizeLinear of ONNX Runtime rounds, half to even, saturates and casts in one
pass (``fused``), so that 16 bits move. Else Round and Clip, since a Cast beyond the type is
undefined, and the Cast comes last: OpenVINO moves 16-bit integers as 32 bits, TensorRT none at all.
"""

from __future__ import annotations

import numpy as np
import onnx

from edgesr_export.native.io import NativeIO
from edgesr_export.native.moves import Slab
from edgesr_export.native.nodes import Nodes, integers, number, numbers

MICROSOFT = "com.microsoft"
"""Domain of the QuantizeLinear that has 16 bits in files of any operator set."""


class Outlet:
    """Appends what an image of the network needs to become native.

    Args:
        new: where the nodes go.
        io: what the numbers mean.
        mask: of :func:`edgesr_export.native.inlet.inlet`.
        fused: whether ONNX Runtime alone will run it.
    """

    def __init__(self, new: Nodes, io: NativeIO, mask: str | None, fused: bool) -> None:
        self._new, self._io, self._mask, self._fused = new, io, mask, fused
        self._flat: str | None = None
        self._gain = np.subtract(io.upper, io.lower)

    def slab(self, slab: Slab) -> str:
        """The image ``slab.total`` in native numbers, its channels where they were."""
        new, io = self._new, self._io
        bands = slice(*slab.bands)
        count, phases = slab.bands[1] - slab.bands[0], io.scale**2
        split, column = (
            ((phases, count), (1, count)) if slab.phases_first else ((count, phases), (count, 1))
        )
        factor: str | np.ndarray = numbers(self._gain[bands], *column, 1)
        shift: str | np.ndarray = numbers(io.lower[bands], *column, 1)
        if self._mask is not None:
            mask = self._flat_mask(self._mask)
            factor = new("Where", mask, number(0), factor)
            shift = new("Where", mask, number(io.empty), shift)
        x = new("Reshape", slab.total, integers(0, *split, -1))
        if slab.element != onnx.TensorProto.FLOAT:
            x = new.cast(x, "float32")
        native = self._whole_numbers(new("Add", new("Mul", x, factor), shift))
        return new("Reshape", native, new("Shape", slab.total))

    def whole(self, image: str) -> str:
        """The finished image [N, B, h r, w r] in native numbers."""
        new, io = self._new, self._io
        gain, lower = (numbers(one, io.bands, 1, 1) for one in (self._gain, io.lower))
        native = new("Add", new("Mul", image, gain), lower)
        if self._mask is not None:
            sizes = numbers((1, 1, io.scale, io.scale), 4)
            blocks = new(
                "Resize",
                new.cast(self._mask, "float32"),
                "",
                sizes,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
            native = new("Where", new.cast(blocks, "bool"), number(io.empty), native)
        return self._whole_numbers(native)

    def end(self, image: str) -> str:
        """The output of the file, of what :meth:`slab` and :meth:`whole` gave, moved and joined."""
        new, dtype = self._new, self._io.output_dtype
        if self._fused or dtype == "float32":
            return image
        if not self._io.pairs(dtype):
            return new.cast(image, dtype)
        if dtype == "int16":
            negative = new("Less", image, number(0))
            image = new("Where", negative, new("Add", image, number(65536)), image)
        high = new("Floor", new("Mul", image, number(1 / 256)))
        low = new("Sub", image, new("Mul", high, number(256)))
        parts = [new("Unsqueeze", part, integers(4)) for part in (low, high)]
        return new.cast(new("Concat", *parts, axis=4), "uint8")

    def _whole_numbers(self, native: str) -> str:
        """Rounded and saturated, where the output is an integer; in its type if ``fused``."""
        new, dtype = self._new, self._io.output_dtype
        if dtype == "float32":
            return native
        if self._fused:
            zero = np.zeros((), dtype)
            return new("QuantizeLinear", native, number(1), zero, domain=MICROSOFT)
        kind = np.iinfo(dtype)
        return new("Clip", new("Round", native), number(kind.min), number(kind.max))

    def _flat_mask(self, mask: str) -> str:
        """[N, 1, 1, h w]."""
        if self._flat is None:
            self._flat = self._new("Reshape", mask, integers(0, 1, 1, -1))
        return self._flat
