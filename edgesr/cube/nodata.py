"""The nodata number: as a value of a type of pixels, and as JSON has it."""

from __future__ import annotations

import math

import numpy as np


def held_nodata(nodata: float | None, dtype: np.dtype) -> float | None:
    """``nodata`` as pixels of ``dtype`` hold it, or None where no pixel can be equal to it.

    A float type rounds it; beyond its range, NaN takes its place. An integer type holds the whole
    numbers of its range.
    """
    if nodata is None:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            held = float(np.float64(nodata).astype(dtype))
        return math.nan if math.isinf(held) and math.isfinite(nodata) else held
    limits = np.iinfo(dtype)
    whole = math.isfinite(nodata) and nodata == int(nodata)
    return nodata if whole and limits.min <= int(nodata) <= limits.max else None


def nodata_in_json(nodata: float | None) -> float | str | None:
    """``nodata`` as JSON has it: ``"nan"``, ``"inf"`` and ``"-inf"`` for what JSON lacks.

    ``float`` of the text is the number again.
    """
    return nodata if nodata is None or math.isfinite(nodata) else str(float(nodata))
