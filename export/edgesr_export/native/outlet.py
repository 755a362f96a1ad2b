"""From the network's answer to native numbers.

::

    before the moves:  total -- x G -- + L -- to the integer type -- moves -- Concat -- native
    otherwise:         y -- x (upper - lower) -- + lower -- Where(mask, nodata) -- .. -- native

The network itself stays as it is, down to the last bit of a float16 or an int8 layer; that the
factors are not folded into its last convolution costs one more pass over a slab in the cache. Before
the moves a low-resolution pixel is still one pixel, so that nodata costs nothing: G [N, 1, B, h w]
is 0 there and L is nodata.

To the integer type: QuantizeLinear of ONNX Runtime rounds, half to even, saturates and casts in one
pass (``fused``); else Round, Clip, Cast, since a Cast beyond the type is undefined.
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

    def slab(self, slab: Slab) -> str:
        """The image ``slab.total`` in native numbers, its channels where they were."""
        new, io = self._new, self._io
        total = slab.total
        if slab.element != onnx.TensorProto.FLOAT:
            total = new.cast(total, "float32")
        bands = slice(*slab.bands)
        gain, lower = _gain(io)[bands], np.array(io.lower)[bands]
        phases = io.scale**2
        split = (phases, len(gain)) if slab.phases_first else (len(gain), phases)
        axis = (1, len(gain)) if slab.phases_first else (len(gain), 1)
        if self._mask is None:
            spread = [np.broadcast_to(one.reshape(axis), split) for one in (gain, lower)]
            columns = [numbers(one, phases * len(gain), 1, 1) for one in spread]
            return self._number(new("Add", new("Mul", total, columns[0]), columns[1]))
        mask = self._flat_mask()
        factor = new("Where", mask, number(0), numbers(gain, *axis, 1))
        shift = new("Where", mask, number(io.empty), numbers(lower, *axis, 1))
        by_band = new("Reshape", total, integers(0, *split, -1))
        native = self._number(new("Add", new("Mul", by_band, factor), shift))
        return new("Reshape", native, new("Shape", total))

    def whole(self, image: str) -> str:
        """The finished image [N, B, h r, w r] in native numbers."""
        new, io = self._new, self._io
        gain, lower = (numbers(one, io.bands, 1, 1) for one in (_gain(io), io.lower))
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
        return self._number(native)

    def end(self, image: str) -> str:
        """The output of the file, of what :meth:`slab` and :meth:`whole` gave, moved and joined."""
        new, io = self._new, self._io
        if not io.pairs(io.output_dtype):
            return image
        if io.output_dtype == "int16":
            negative = new("Less", image, number(0))
            image = new("Where", negative, new("Add", image, number(65536)), image)
        high = new("Floor", new("Mul", image, number(1 / 256)))
        low = new("Sub", image, new("Mul", high, number(256)))
        parts = [new("Unsqueeze", part, integers(4)) for part in (low, high)]
        return new.cast(new("Concat", *parts, axis=4), "uint8")

    @property
    def moved_dtype(self) -> str:
        """Type of the numbers that move: the output's, but whole numbers in float32 for bytes."""
        return "float32" if self._io.pairs(self._io.output_dtype) else self._io.output_dtype

    def _number(self, native: str) -> str:
        """Native numbers of float32 as numbers of the output type."""
        new, dtype = self._new, self._io.output_dtype
        if dtype == "float32":
            return native
        if self._fused:
            zero = np.zeros((), dtype)
            return new("QuantizeLinear", native, number(1), zero, domain=MICROSOFT)
        kind = np.iinfo(dtype)
        whole = new("Clip", new("Round", native), number(kind.min), number(kind.max))
        return whole if self.moved_dtype == "float32" else new.cast(whole, dtype)

    def _flat_mask(self) -> str:
        if self._flat is None:
            self._flat = self._new("Reshape", self._mask or "", integers(0, 1, 1, -1))
        return self._flat


def _gain(io: NativeIO) -> np.ndarray:
    return np.subtract(io.upper, io.lower)
