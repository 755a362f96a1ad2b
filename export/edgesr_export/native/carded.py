"""The native numbers that a card describes: those of the cube that the network was trained on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from msgspec import convert
from msgspec.structs import replace

from edgesr_export.card import ModelCard, Port, read_card
from edgesr_export.errors import ExportError
from edgesr_export.native.io import DTYPES, LARGEST, NativeIO


def io_of(card: ModelCard) -> NativeIO:
    """All bands of the sensor in, the network's bands out, both in the training cube's type.

    A type that files do not have, such as int32 or float64, becomes float32. A nodata number that
    no value of the type can be is left out.

    Raises:
        ExportError: numbers that no file can have.
    """
    bands, limits, native = card.bands, card.normalisation, card.native
    dtype = native.dtype if native.dtype in DTYPES else "float32"
    everything = bands.index == tuple(range(bands.count))
    return NativeIO(
        lower=limits.lower,
        upper=limits.upper,
        sensor_bands=bands.count,
        selection=None if everything else bands.index,
        input_dtype=dtype,
        output_dtype=dtype,
        nodata=_possible(card.nodata, dtype),
        fill=native.fill,
        scale=card.scale,
    )


def io_of_file(path: Path | str) -> NativeIO:
    """What native numbers mean to an ONNX file, as its card says.

    Raises:
        ExportError: it has no card, or takes native numbers already.
    """
    card = read_card(path)
    if card is None:
        raise ExportError(
            f"{path} has no model card, so that nobody knows what its native numbers mean; take a"
            " file that edgesr compress wrote, or stay with normalised numbers"
        )
    if card.input.kind == "native":
        raise ExportError(f"{path} takes native numbers already; give the file that it was made of")
    return io_of(card)


def native_card(card: ModelCard, io: NativeIO) -> ModelCard:
    """The card of a file that was made native."""
    given = {"kind": "native", "dtype": io.input_dtype, "as_bytes": io.pairs(io.input_dtype)}
    answer = {"kind": "native", "dtype": io.output_dtype, "as_bytes": io.pairs(io.output_dtype)}
    return replace(
        card, input=convert({**given, "bands": "sensor"}, Port), output=convert(answer, Port)
    )


def to_native(image: np.ndarray, io: NativeIO) -> np.ndarray:
    """An image [N, B, h, w] in [0, 1] as a sensor would have given it: [N, sensor_bands, h, w].

    Integers are rounded; bands that the network does not read are 0.
    """
    lower, upper = (np.reshape(bound, (-1, 1, 1)) for bound in (io.lower, io.upper))
    values = image * (upper - lower) + lower
    if io.input_dtype != "float32":
        kind = np.iinfo(io.input_dtype)
        values = np.clip(np.rint(values), kind.min, kind.max)
    count, _, height, width = image.shape
    native = np.zeros((count, io.sensor_bands, height, width), io.input_dtype)
    native[:, slice(None) if io.selection is None else list(io.selection)] = values
    return native


def _possible(nodata: float | None, dtype: str) -> float | None:
    """The nodata number, where a value of the type can be it."""
    if nodata is None:
        return None
    if dtype == "float32":
        return nodata if not math.isfinite(nodata) or abs(nodata) <= LARGEST else None
    kind = np.iinfo(dtype)
    whole = math.isfinite(nodata) and nodata == int(nodata)
    return nodata if whole and kind.min <= nodata <= kind.max else None
