"""What is known of a super-resolved scene, apart from its pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from edgesr.cube.control import GroundControl
from edgesr.cube.nodata import held_nodata
from edgesr.errors import DataError, shown

DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Types of pixels that every format can hold."""


@dataclass(frozen=True, eq=False)
class SceneMeta:
    """Size, type and metadata of a scene as it will be written: of the output, not of its source.

    Attributes:
        height, width, bands: of the image.
        dtype: name of the pixels' type, one of :data:`DTYPES`.
        nodata: the number that stands for "no measurement", as the type holds it, or None.
        wavelengths, fwhm: float [B] in nanometres, or None.
        bad_bands: bool [B], True = said to be bad; or None.
        band_names: B names, or None.
        gain, offset: float [B]: physical value = gain x number + offset; or None.
        crs: coordinate reference system as WKT, or None.
        transform: affine (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f; or None.
        gcps: ground control points, for an image without ``transform``.
        rpcs: rational polynomial coefficients as GDAL names them in its RPC domain, or None.
        scale: factor to the pixels of the source.
        interpolated: bool [B], True = the band was made by interpolation, not by the network.
        tags: more to be kept as text, such as the version of edgesr and the model's hash.
        source: where the pixels come from.

    Text is kept as one line that every format can hold, whatever a source says.

    Raises:
        DataError: a field does not fit the image.
    """

    height: int
    width: int
    bands: int
    dtype: str
    nodata: float | None = None
    wavelengths: np.ndarray | None = None
    fwhm: np.ndarray | None = None
    bad_bands: np.ndarray | None = None
    band_names: tuple[str, ...] | None = None
    gain: np.ndarray | None = None
    offset: np.ndarray | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    gcps: tuple[GroundControl, ...] = ()
    rpcs: Mapping[str, str] | None = None
    scale: int = 1
    interpolated: np.ndarray | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.bands) < 1:
            raise DataError(
                f"an image of {self.height} x {self.width} pixels and {self.bands} bands is empty;"
                " name another scene"
            )
        if self.dtype not in DTYPES:
            raise DataError(
                f"pixels of {shown(self.dtype)} cannot be written; choose one of"
                f" {', '.join(DTYPES)}"
            )
        for name in ("wavelengths", "fwhm", "bad_bands", "band_names", "gain", "offset",
                     "interpolated"):  # fmt: skip
            values = getattr(self, name)
            if values is not None and np.shape(values) != (self.bands,):
                raise DataError(
                    f"{name} has shape {np.shape(values)} for {self.bands} bands; correct the"
                    " metadata"
                )
        held = held_nodata(self.nodata, self.type)
        if self.nodata is not None and held is None:
            raise DataError(
                f"nodata {self.nodata:g} is no number that pixels of {self.dtype} can have; choose"
                " another"
            )
        names = self.band_names
        plain = {
            "nodata": held,
            "source": _text(self.source),
            "band_names": None if names is None else tuple(_text(name) for name in names),
            "tags": {_text(key): _text(value) for key, value in self.tags.items()},
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def type(self) -> np.dtype:
        """The pixels' type, little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return self.height * self.width * self.bands * self.type.itemsize

    def digest(self) -> str:
        """A hash of everything here: of equal descriptions the same."""

        def plain(value: Any) -> Any:
            if isinstance(value, np.ndarray | np.generic):
                return value.tolist()
            return dict(value) if isinstance(value, Mapping) else vars(value)

        values = {one.name: getattr(self, one.name) for one in fields(self)}
        text = json.dumps(values, sort_keys=True, default=plain)
        return hashlib.sha256(text.encode()).hexdigest()


def _text(value: str) -> str:
    """Without control characters and without what is no Unicode, such as of a file's name."""
    known = value.encode(errors="backslashreplace").decode()
    return " ".join("".join(one if one.isprintable() else " " for one in known).split())
