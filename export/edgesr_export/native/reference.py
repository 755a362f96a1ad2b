"""What a native file means: the truth that files are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgesr_export.errors import ExportError
from edgesr_export.native.io import NativeIO, check_image, normalising

Run = Callable[[np.ndarray], np.ndarray]
"""A network, of an image."""


def native_reference(image: np.ndarray, io: NativeIO, run: Run) -> np.ndarray:
    """The native answer of a float network: in float32 up to it, as it reads; in float64 after it.

    Args:
        image: native numbers [N, sensor_bands, h, w], as they are where ``io.as_bytes``, too.
        io: what they mean.
        run: the float network, float32 [N, B, h, w] in [0, 1] to [N, B, r h, r w].

    Returns:
        [N, B, r h, r w] in ``io.output_dtype``.

    Raises:
        ExportError: an image of another type or of other bands, or a network of another scale.
    """
    return rounded(unrounded(image, io, run), io)


def unrounded(image: np.ndarray, io: NativeIO, run: Run) -> np.ndarray:
    """The same in float64, before it is rounded to the type of the output."""
    check_image(image, io, "the image")
    column = (1, io.bands, 1, 1)
    bands = range(io.sensor_bands) if io.selection is None else io.selection
    x = image[:, list(bands)].astype(np.float32)
    bad = _nodata_pixels(x, io)
    if io.fill is not None:
        x = np.where(bad, np.reshape(io.fill, column).astype(np.float32), x)
    low, factor = (one.reshape(column) for one in normalising(io))
    y = run(np.minimum(np.maximum(x - low, 0) * factor, np.float32(1))).astype(np.float64)
    blocks = bad.repeat(io.scale, axis=2).repeat(io.scale, axis=3)
    if y.shape != (len(x), io.bands, *blocks.shape[2:]):
        raise ExportError(
            f"the network makes {list(y.shape)} of {list(x.shape)}, which does not enlarge "
            f"{io.bands} bands {io.scale} times; give its own scale"
        )
    lower, upper = (np.reshape(bound, column) for bound in (io.lower, io.upper))
    return np.where(blocks, io.empty, y * (upper - lower) + lower)


def rounded(exact: np.ndarray, io: NativeIO) -> np.ndarray:
    """Numbers of the output type: half to even, saturated."""
    if io.output_dtype == "float32":
        return exact.astype(np.float32)
    kind = np.iinfo(io.output_dtype)
    return np.clip(np.rint(exact), kind.min, kind.max).astype(io.output_dtype)


def _nodata_pixels(x: np.ndarray, io: NativeIO) -> np.ndarray:
    """[N, 1, h, w]: where any of the selected bands is nodata or not finite."""
    bad = ~np.isfinite(x)
    if io.nodata is not None and np.isfinite(io.nodata):
        bad |= x == np.float32(io.nodata)
    return bad.any(axis=1, keepdims=True)
