"""An image as a file takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgesr_export.errors import ExportError


def as_type(image: np.ndarray, dtype: np.dtype[Any] | type[np.generic], file: str) -> np.ndarray:
    """``image``, contiguous, in the type that ``file`` takes.

    Real numbers are converted to real numbers; integers mean what they are, and are not.

    Raises:
        ExportError: the file takes integers and ``image`` holds another type.
    """
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and np.asarray(image).dtype != wanted:
        raise ExportError(
            f"{file} takes {wanted} and was given {np.asarray(image).dtype}; give it the sensor's"
            " own numbers"
        )
    return np.ascontiguousarray(image, dtype=wanted)
