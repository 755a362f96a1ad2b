"""A bundle's native model as a network of its own: opened as any other, verified in its numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .contents import Bundle, Model, Native, Profile
from .errors import BoardError
from .runner import Runner
from .tiles import load_native
from .verify import difference

_MOST_DN = 1.0
"""How far a native model in fp32 may be off anywhere."""


def native_network(bundle: Bundle, model: Model) -> tuple[Bundle, Model]:
    """The bundle and the model that a runtime opens instead of the plain ones."""
    native = _native(model)
    last = (2,) if native.as_bytes else ()
    smallest, typical, largest = (
        (1, native.sensor_bands, *shape[2:], *last) for shape in vars(bundle.profile).values()
    )
    return (
        dataclasses.replace(bundle, profile=Profile(smallest, typical, largest)),
        dataclasses.replace(model, name=f"{model.name}-native", onnx=native.onnx, native=None),
    )


def in_form(model: Model, as_bytes: bool) -> Model:
    """The model with its native one in the form that a runtime takes, where the bundle has that."""
    native = model.native
    if native is None or native.integers is None or as_bytes:
        return model
    return dataclasses.replace(model, native=native.integers)


def why_no_native(model: Model, as_bytes: bool) -> str | None:
    """Say why a runtime that takes this form has no native model; None where it has one.

    Numbers that have not 16 bits have one form, which every runtime takes.
    """
    native = model.native
    if native is None:
        return "the bundle has none"
    is_wide = {native.input_dtype, native.output_dtype} & {"uint16", "int16"}
    if not is_wide or native.as_bytes == as_bytes:
        return None
    return "it is in the form of another runtime"


def check_native(bundle: Bundle, model: Model, runner: Runner) -> dict[str, Any]:
    """Run every native reference tile and compare: nodata exactly, fp32 to 1 DN, else by PSNR.

    Returns:
        As :func:`verify.check`, with differences in the sensor's numbers.

    Raises:
        BoardError: other nodata, or a difference beyond the limit.
    """
    native = _native(model)
    limit = _MOST_DN if model.precision == "fp32" else None
    least = None if limit is not None else _least_psnr(model)
    largest, lowest = 0.0, math.inf
    pairs = [pair for pair in load_native(bundle, native) if runner.takes(pair[0].shape)]
    if not pairs:
        raise BoardError(f"{model.name}: no native reference tile has the size of its engine")
    for index, (tile, expected) in enumerate(pairs):
        given, actual = tile, np.zeros_like(expected)
        into = actual
        if native.as_bytes:
            given, into = (each.view(np.uint8).reshape(*each.shape, 2) for each in (tile, actual))
        runner.prepare(given.shape)
        runner.infer_into(given, into)
        holes = _holes(expected, native)
        if not np.array_equal(_holes(actual, native), holes):
            raise BoardError(f"{model.name}: the native model has other nodata on tile {index}")
        valid = ~holes
        if valid.any():
            most, psnr = difference(actual[valid], expected[valid])
            if math.isnan(most):
                raise BoardError(f"{model.name}: the native model answers NaN on tile {index}")
            largest, lowest = max(largest, most), min(lowest, psnr)
    if limit is not None and largest > limit:
        raise _wrong(model, f"largest difference {largest:g}, at most {limit:g} is accepted")
    if least is not None and lowest < least:
        raise _wrong(model, f"PSNR {lowest:.1f} dB, at least {least:g} dB is needed")
    return {
        "tiles": len(pairs),
        "max_abs_difference": largest,
        "psnr_db": None if math.isinf(lowest) else lowest,
        "tolerance": {"max_abs": limit, "min_psnr_db": least},
    }


def _native(model: Model) -> Native:
    if model.native is None:
        raise BoardError(f"{model.name} has no native model; make a bundle with one")
    return model.native


def _least_psnr(model: Model) -> float:
    """The PSNR that a model is held to; one of differences alone has theirs, on data in [0, 1]."""
    tolerance = model.tolerance
    if tolerance.min_psnr_db is not None:
        return tolerance.min_psnr_db
    return -20.0 * math.log10(tolerance.max_abs or 1.0)


def _holes(values: np.ndarray, native: Native) -> np.ndarray:
    if values.dtype.kind == "f" and (native.nodata is None or math.isnan(native.nodata)):
        return np.asarray(np.isnan(values))
    if native.nodata is None:
        return np.zeros(values.shape, dtype=bool)
    return np.asarray(values == native.nodata)


def _wrong(model: Model, what: str) -> BoardError:
    return BoardError(
        f"{model.name}: the native model does not compute what the desktop's computes: {what}; it "
        "was not used"
    )
