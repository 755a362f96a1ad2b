"""What the attributes of an array say of its numbers: nodata, gain and offset, by CF and others."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.scaling import factor_of
from edgesr.cube.spectral import numbers
from edgesr.errors import EdgesrWarning, shown

_NODATA = ("Data_Ignore_Value", "_FillValue", "missing_value", "nodata")
_DIVISORS = ("Scale_Factor",)  # as NEON has it: reflectance is the number divided by it
_MAYBE_SCALING = re.compile(
    r"(data_?|reflectance_?|radiance_?|radiometric_?)*"
    r"(scal(e|ing)(_?factors?)?|gains?|slopes?|offsets?|intercepts?|bias(es)?)(_?values?)?"
)


def numbers_said(about: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Nodata, gain and offset in the attributes of an array, as fields of a cube.

    A warning tells of attributes that may be meant so and are not understood.

    Args:
        about: the attributes.
        path: the file, for warnings.
    """
    nodata = _found(about, _NODATA, path)
    gain, offset = _scaling(about, path)
    return {
        "nodata": None if nodata is None else float(nodata[0]),
        "gain": factor_of(gain, 1.0),
        "offset": factor_of(offset, 0.0),
    }


def attribute_numbers(value: Any) -> np.ndarray | None:
    """Numbers as attributes hold them, some as text: float64 [N], or None."""
    found = np.ravel(np.asarray(value))
    if found.dtype.kind in "iufb" and found.size:
        return found.astype(np.float64)
    return numbers(" ".join(attribute_texts(found)))


def attribute_texts(values: np.ndarray) -> list[str]:
    """Texts as attributes hold them."""
    return [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in values]


def _scaling(about: Mapping[str, Any], path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    gain = _found(about, ("scale_factor",), path)
    if gain is None and (divisor := _found(about, _DIVISORS, path)) is not None:
        with np.errstate(divide="ignore"):
            gain = 1.0 / divisor
    for key in sorted(set(about) - {"scale_factor", "add_offset", *_DIVISORS}):
        if _MAYBE_SCALING.fullmatch(key.lower()) and attribute_numbers(about[key]) is not None:
            _warn(
                f"attribute {shown(key)} left out: numbers stay as they are stored, since only"
                " scale_factor and add_offset are understood",
                path,
            )
    return gain, _found(about, ("add_offset",), path)


def _found(about: Mapping[str, Any], names: Sequence[str], path: Path) -> np.ndarray | None:
    """The numbers in the first of these attributes that there is; None where it holds none."""
    name = next((name for name in names if name in about), None)
    if name is None:
        return None
    found = attribute_numbers(about[name])
    if found is None:
        _warn(f"attribute {name} left out: it holds no number", path)
    return found


def _warn(what: str, path: Path) -> None:
    warnings.warn(f"{path}: {what}; correct the metadata", EdgesrWarning, stacklevel=2)
