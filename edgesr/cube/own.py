"""The ``.npz`` that ``write_cube`` saves: each field is held against what it has to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgesr.cube.control import GroundControl
from edgesr.cube.cube import Cube
from edgesr.cube.nodata import held_nodata
from edgesr.cube.scaling import Factor
from edgesr.errors import DataError

_NUMBERS = "iuf"
_NAMES = {_NUMBERS: "real numbers", "b": "true or false", "U": "text"}


def read_own(archive: Mapping[str, np.ndarray], path: Path) -> Cube:
    """The cube of an open archive.

    Raises:
        DataError: a field is of another type or shape, or has a value that it cannot have.
    """
    return _Fields(archive, path).cube()


class _Fields:
    """The fields of an archive, each read when it is asked for."""

    def __init__(self, archive: Mapping[str, np.ndarray], path: Path) -> None:
        self._archive = archive
        self._path = path

    def cube(self) -> Cube:
        data = self._array("data", _NUMBERS)
        if data is None or data.ndim != 3 or data.size == 0:
            received = "nothing" if data is None else f"an array {data.shape}"
            raise self._wrong("data", "an array [height, width, bands]", received)
        name, source = self._text("name"), self._text("source")
        return Cube(
            data=data,
            name=self._path.stem if name is None else name,
            wavelengths=self._finite("wavelengths", data.shape[2:]),
            fwhm=self._finite("fwhm", data.shape[2:]),
            bad_bands=self._array("bad_bands", "b", data.shape[2:]),
            nodata=self._nodata(data.dtype),
            mask=self._array("mask", "b", data.shape[:2]),
            crs=self._text("crs"),
            transform=self._transform(),
            source=str(self._path) if source is None else source,
            gain=self._gain(data.shape[2]),
            offset=self._factor("offset", data.shape[2]),
            band_names=self._band_names(data.shape[2]),
            gcps=self._gcps(),
            rpcs=self._rpcs(),
        )

    def _array(
        self, field: str, kinds: str, shape: tuple[int, ...] | None = None
    ) -> np.ndarray | None:
        if field not in self._archive:
            return None
        try:
            values = self._archive[field]
        except ValueError as error:  # objects, which would run code
            raise self._wrong(field, _NAMES[kinds], f"what cannot be read ({error})") from error
        if not isinstance(values, np.ndarray):  # a file in the archive that is no array
            raise self._wrong(field, _NAMES[kinds], "bytes")
        if values.dtype.kind not in kinds:
            raise self._wrong(field, _NAMES[kinds], f"type {values.dtype}")
        if shape is not None and values.shape != shape:
            raise self._wrong(field, f"of shape {shape}", f"{values.shape}")
        return values

    def _text(self, field: str) -> str | None:
        value = self._array(field, "U", ())
        return None if value is None else str(value)

    def _finite(self, field: str, shape: tuple[int, ...]) -> np.ndarray | None:
        values = self._array(field, _NUMBERS, shape)
        if values is not None and not np.isfinite(values).all():
            raise self._wrong(field, "finite", f"{values[~np.isfinite(values)].flat[0]}")
        return values

    def _nodata(self, dtype: np.dtype) -> float | None:
        value = self._array("nodata", _NUMBERS, ())
        if value is None:
            return None
        nodata = float(value)
        if np.isfinite(nodata) and held_nodata(nodata, dtype) is None:
            raise self._wrong("nodata", f"a number that pixels of {dtype} can have", f"{nodata:g}")
        return nodata

    def _transform(self) -> tuple[float, ...] | None:
        values = self._finite("transform", (6,))
        if values is None:
            return None
        a, b, c, d, e, f = (float(value) for value in values)
        if a * e == b * d:
            raise self._wrong("transform", "one that can be inverted", f"{(a, b, c, d, e, f)}")
        return a, b, c, d, e, f

    def _factor(self, field: str, bands: int) -> Factor | None:
        value = self._array(field, _NUMBERS)
        if value is None:
            return None
        value = self._finite(field, () if value.ndim == 0 else (bands,))
        assert value is not None
        return float(value) if value.ndim == 0 else value.astype(np.float64)

    def _gain(self, bands: int) -> Factor | None:
        value = self._factor("gain", bands)
        if value is not None and not np.all(value):
            raise self._wrong("gain", "other than 0", "0")
        return value

    def _band_names(self, bands: int) -> tuple[str, ...] | None:
        names = self._array("band_names", "U", (bands,))
        return None if names is None else tuple(str(name) for name in names)

    def _gcps(self) -> tuple[GroundControl, ...]:
        values = self._array("gcps", _NUMBERS)
        if values is None:
            return ()
        if values.ndim != 2 or values.shape[1] != 5 or not np.isfinite(values).all():
            raise self._wrong("gcps", "finite, of row, col, x, y and z", f"{values.shape}")
        return tuple(GroundControl(*map(float, point)) for point in values)

    def _rpcs(self) -> dict[str, str] | None:
        text = self._text("rpcs")
        if text is None:
            return None
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
            raise self._wrong("rpcs", "a JSON object of texts", text[:40])
        return found

    def _wrong(self, field: str, needed: str, received: str) -> DataError:
        return DataError(
            f"{self._path}: {field} has to be {needed}, received {' '.join(received.split())}; "
            "correct it, or write the cube again"
        )
