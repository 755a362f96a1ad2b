"""A STAC 1.1 item beside a scene, so that catalogues find it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from edgesr.errors import DataError
from edgesr.scenes.output.formats._bands import band_name
from edgesr.scenes.output.meta import SceneMeta

ACQUIRED = "datetime"
"""The tag of a scene that says when it was acquired, as RFC 3339 has it."""

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
]
_MEDIA = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".tiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".zarr": "application/vnd.zarr; version=3",
}


def stac_path(path: Path) -> Path:
    """Where the item of a scene is written."""
    return path.with_suffix(".json")


def stac_item(meta: SceneMeta, path: Path) -> dict[str, Any]:
    """The item of the scene at ``path``, with the extensions projection, eo and raster.

    Raises:
        DataError: nothing says where or when the scene was acquired, which STAC demands.
    """
    acquired = meta.tags.get(ACQUIRED)
    if acquired is None:
        raise DataError(
            f"{path}: a STAC item needs the time of acquisition, which the source does not tell;"
            f" leave --stac out, or give the source the tag {ACQUIRED}"
        )
    geometry, bbox = _outline(meta, path)
    properties = {"datetime": acquired, **_projection(meta)}
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": path.stem,
        "geometry": geometry,
        "bbox": bbox,
        "properties": properties,
        "links": [{"rel": "derived_from", "href": _reference(meta.source, path)}]
        if meta.source
        else [],
        "assets": {
            "data": {
                "href": f"./{path.name}",
                "type": _MEDIA.get(path.suffix.lower(), "application/octet-stream"),
                "roles": ["data"],
                "data_type": meta.dtype,
                **({} if meta.nodata is None else {"nodata": _number(meta.nodata)}),
                "bands": [_band(meta, band) for band in range(meta.bands)],
            }
        },
    }
    return item


def _reference(source: str, path: Path) -> str:
    """The source as it is found from the item; what is no file beside it stays as it is."""
    if Path(source).is_file():
        return Path(os.path.relpath(source, path.parent)).as_posix()
    return source


def _number(value: float) -> float | str:
    """As STAC writes what JSON lacks."""
    return value if abs(value) < float("inf") else str(value)


def _band(meta: SceneMeta, band: int) -> dict[str, Any]:
    """One of ``bands``; wavelengths in micrometres."""
    described: dict[str, Any] = {"name": band_name(meta, band)}
    if meta.wavelengths is not None:
        described["eo:center_wavelength"] = float(f"{meta.wavelengths[band] / 1e3:.10g}")
    if meta.fwhm is not None:
        described["eo:full_width_half_max"] = float(f"{meta.fwhm[band] / 1e3:.10g}")
    if meta.gain is not None:
        described["raster:scale"] = float(meta.gain[band])
    if meta.offset is not None:
        described["raster:offset"] = float(meta.offset[band])
    return described


def _projection(meta: SceneMeta) -> dict[str, Any]:
    found: dict[str, Any] = {"proj:shape": [meta.height, meta.width]}
    if meta.crs is not None:
        from rasterio.crs import CRS

        crs = CRS.from_user_input(meta.crs)
        authority = crs.to_authority()
        if authority is None:
            found["proj:wkt2"] = crs.to_wkt(version="WKT2_2019")
        else:
            found["proj:code"] = ":".join(authority)
    if meta.transform is not None:
        found["proj:transform"] = [float(value) for value in meta.transform]
    return found


def _outline(meta: SceneMeta, path: Path) -> tuple[dict[str, Any], list[float]]:
    """Polygon and bounding box in degrees."""
    if meta.crs is None or meta.transform is None:
        raise DataError(
            f"{path}: a STAC item needs crs and transform of the scene; leave --stac out"
        )
    from rasterio.warp import transform_geom

    a, b, c, d, e, f = meta.transform
    corners = [(0, 0), (meta.height, 0), (meta.height, meta.width), (0, meta.width), (0, 0)]
    ring = [(a * col + b * row + c, d * col + e * row + f) for row, col in corners]
    if a * e - b * d > 0:  # rows that run north: the ring has to turn the same way all the same
        ring.reverse()
    outline = {"type": "Polygon", "coordinates": [ring]}
    geometry = transform_geom(meta.crs, "EPSG:4326", outline, precision=8)
    polygons = [geometry["coordinates"]]
    if geometry["type"] == "MultiPolygon":  # cut at 180 degrees
        polygons = geometry["coordinates"]
    longitudes, latitudes = (
        [point[axis] for polygon in polygons for point in polygon[0]] for axis in (0, 1)
    )
    west, east = min(longitudes), max(longitudes)
    if len(polygons) > 1:
        west = min(value for value in longitudes if value > 0)
        east = max(value for value in longitudes if value < 0)
    return json.loads(json.dumps(geometry)), [west, min(latitudes), east, max(latitudes)]
