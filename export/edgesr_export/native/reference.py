"""What a native file means: the truth that files are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgesr_export.native.io import NativeIO, check_image, normalising


def native_reference(
    image: np.ndarray, io: NativeIO, run: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The native answer of a float network: in float32 up to it, as it reads; in float64 after it.

    Args:
        image: native numbers [N, sensor_bands, h, w], as they are where ``io.as_bytes``, too.
        io: what they mean.
        run: the float network, float32 [N, B, h, w] in [0, 1] to [N, B, r h, r w].

    Returns:
        [N, B, r h, r w] in ``io.output_dtype``.

    Raises:
        ExportError: an image of another type or of other bands.
    """
    check_image(image, io, "the image")
    column = (1, io.bands, 1, 1)
    lower, upper = (np.reshape(bound, column) for bound in (io.lower, io.upper))
    bands = range(io.sensor_bands) if io.selection is None else io.selection
    x = image[:, list(bands)].astype(np.float32)
    bad = _nodata_pixels(x, io)
    if io.fill is not None:
        x = np.where(bad, np.reshape(io.fill, column).astype(np.float32), x)
    low, factor = (one.reshape(column) for one in normalising(io))
    y = run(np.minimum(np.maximum(x - low, 0) * factor, np.float32(1))).astype(np.float64)
    y = y * (upper - lower) + lower
    if io.output_dtype != "float32":
        kind = np.iinfo(io.output_dtype)
        y = np.clip(np.rint(y), kind.min, kind.max)
    blocks = bad.repeat(io.scale, axis=2).repeat(io.scale, axis=3)
    return np.where(blocks, io.empty, y).astype(io.output_dtype)


def _nodata_pixels(x: np.ndarray, io: NativeIO) -> np.ndarray:
    """[N, 1, h, w]: where any of the selected bands is nodata or not finite."""
    bad = ~np.isfinite(x)
    if io.nodata is not None and np.isfinite(io.nodata):
        bad |= x == np.float32(io.nodata)
    return bad.any(axis=1, keepdims=True)
