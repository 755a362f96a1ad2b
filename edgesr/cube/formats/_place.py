"""Where an image lies, as products say it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def wkt(text: str) -> str | None:
    """A coordinate reference system, such as ``EPSG:32633``, as WKT; None where it is unknown."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(text).to_wkt()
    except CRSError:
        return None


def gdal_transform(values: Any) -> tuple[float, ...] | None:
    """The affine (a, b, c, d, e, f) of GDAL's six numbers (c, a, b, f, d, e), or of their text."""
    if isinstance(values, bytes):
        values = values.decode(errors="replace")
    if isinstance(values, str):
        values = [float(found) for found in _NUMBER.findall(values)]
    numbers = [] if values is None else np.asarray(values, dtype=np.float64).ravel().tolist()
    if len(numbers) != 6:
        return None
    c, a, b, f, d, e = numbers
    return a, b, c, d, e, f


def from_centres(x: np.ndarray | None, y: np.ndarray | None) -> tuple[float, ...] | None:
    """The affine of evenly spaced coordinates of the centres of columns and rows."""
    if x is None or y is None or min(x.size, y.size) < 2:
        return None
    a, e = (float((some[-1] - some[0]) / (some.size - 1)) for some in (x, y))
    even = all(
        np.allclose(np.diff(some), step, rtol=1e-3, atol=1e-12) for some, step in ((x, a), (y, e))
    )
    return (a, 0.0, float(x[0]) - a / 2, 0.0, e, float(y[0]) - e / 2) if even else None


_COORDINATES = {"x": "y", "easting": "northing", "lon": "lat", "longitude": "latitude"}
"""Names of the coordinates of columns, and of rows beside them."""


def cf_place(
    about: Mapping[str, Any],
    mapping: Mapping[str, Any],
    vectors: Mapping[str, np.ndarray],
    axes: Sequence[str | None] = ("y", "x"),
) -> dict[str, Any]:
    """Coordinate system and transform as the conventions of CF and GeoZarr tell them.

    Args:
        about: attributes of the image and of the groups that it is in.
        mapping: attributes of the variable that is its ``grid_mapping``.
        vectors: coordinates of the centres, by name.
        axes: names of the axes of rows and columns.
    """
    said = (mapping.get("crs_wkt"), mapping.get("spatial_ref"), about.get("proj:wkt2"),
            about.get("proj:code"))  # fmt: skip
    crs = next((_plain(one) for one in said if one is not None), None)
    transform = gdal_transform(mapping.get("GeoTransform"))
    affine = about.get("spatial:transform")
    if transform is None and affine is not None and len(affine) == 6:
        transform = tuple(float(value) for value in affine)
    y, x = ((axis or "").split("/")[-1] for axis in axes)
    if transform is None and _COORDINATES.get(x.lower()) == y.lower():
        transform = from_centres(vectors.get(x), vectors.get(y))
        if crs is None and transform is not None and x.lower().startswith("lon"):
            crs = "EPSG:4326"
    return {"crs": None if crs is None else wkt(crs), "transform": transform}


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
