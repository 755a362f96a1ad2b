"""Zarr 3: each block is a shard, written once; a folder that xarray and GDAL (3.13) read.

::

    NAME.zarr/
      cube          [band or wavelength, y, x], with the conventions of CF and GeoZarr
      spatial_ref   crs and transform, as attributes
      x, y          centres of the pixels, where the image is not rotated
      wavelength, fwhm, good_wavelengths, interpolated, gain, offset     what is known of the bands
"""

from __future__ import annotations

import base64
import math
import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.errors import DataError, OptionError
from edgesr.scenes.output.formats._base import Format, Progress, register
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BlockStore

CUBE = "cube"
_CHUNK_BANDS = 20  # with half a block's side: a band and a spectrum are both read quickly
_CONVENTIONS = [
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/main/schema.json",
        "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/main/README.md",
        "description": "Coordinate reference system information for geospatial data",
    },
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/main/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/main/README.md",
        "description": "Spatial coordinate information",
    },
]


@register
class Zarr(Format):
    """Shards of all bands x 256 x 256, in chunks of about 20 x 128 x 128; Blosc, zstd 1, shuffled.

    The blocks become the shards where they lie, so the pixels take their room on the disk once.
    """

    name, title, suffixes, copies = "zarr", "Zarr 3", (".zarr",), 1

    def check(self, target: Path, meta: SceneMeta) -> None:
        try:
            import zarr  # noqa: F401
        except ImportError:
            raise OptionError(
                f'{target}: Zarr is not installed; pip install "edgesr[zarr]", or choose .tif'
            ) from None
        _crs(meta, target)

    def encode(self, pixels: np.ndarray, meta: SceneMeta, block: int) -> bytes:
        from zarr.storage import MemoryStore

        height, width, bands = pixels.shape
        kept: dict[str, Any] = {}
        array = _create(MemoryStore(kept), None, meta, block, (_shard_bands(bands), block, block))
        array[:bands, :height, :width] = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return bytes(kept["c/0/0/0"].to_bytes())

    def assemble(self, store: BlockStore, folder: Path, progress: Progress) -> None:
        import zarr

        meta, path = store.meta, folder / store.target.name
        bands = "band" if meta.wavelengths is None else "wavelength"
        zarr.create_group(path, attributes=_group_attributes(meta))
        _create(
            path,
            CUBE,
            meta,
            store.block,
            (meta.bands, meta.height, meta.width),
            attributes=_cube_attributes(meta),
            dimension_names=(bands, "y", "x"),
        )
        for name, (dims, values, attributes) in _variables(meta, bands).items():
            array = zarr.create_array(
                path,
                name=name,
                shape=values.shape,
                chunks=values.shape,
                dtype=values.dtype,
                dimension_names=dims,
                attributes=dict(attributes),
                config={"write_empty_chunks": True},
            )
            array[...] = values
        rows, cols = store.grid
        for row in range(rows):
            (path / CUBE / "c" / "0" / str(row)).mkdir(parents=True)
            for col in range(cols):
                block = store.path(0, row, col)
                assert block is not None
                _same_file(block, path / CUBE / "c" / "0" / str(row) / str(col))
                progress(row * cols + col + 1, rows * cols)


def _same_file(source: Path, target: Path) -> None:
    """A second name of a file, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _chunk_bands(bands: int) -> int:
    """Bands of a chunk: about 20, so that little of the last one is empty."""
    return math.ceil(bands / math.ceil(bands / _CHUNK_BANDS))


def _shard_bands(bands: int) -> int:
    """Bands of a shard: all, filled up to whole chunks."""
    return math.ceil(bands / _chunk_bands(bands)) * _chunk_bands(bands)


def _create(
    store: Any, name: str | None, meta: SceneMeta, block: int, shape: tuple[int, ...], **more: Any
) -> Any:
    """The array of the cube, or of one block of it, without values."""
    import zarr
    from zarr.codecs import BloscCodec

    empty = math.nan if meta.type.kind == "f" else 0
    return zarr.create_array(
        store,
        name=name,
        shape=shape,
        chunks=(_chunk_bands(meta.bands), block // 2, block // 2),
        shards=(_shard_bands(meta.bands), block, block),
        dtype=meta.type,
        fill_value=empty if meta.nodata is None else meta.type.type(meta.nodata),
        compressors=BloscCodec(
            cname="zstd", clevel=1, shuffle="shuffle", typesize=meta.type.itemsize
        ),
        config={"write_empty_chunks": True},
        **more,
    )


def _equal(values: np.ndarray | None) -> float | None:
    """The value that all bands have, None if they differ."""
    return None if values is None or np.ptp(values) else float(values[0])


def _cube_attributes(meta: SceneMeta) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if meta.nodata is not None:
        value = float(meta.type.type(meta.nodata))
        text = base64.b64encode(struct.pack("<d", value)).decode()  # as xarray has it in Zarr 3
        attributes["_FillValue"] = text if meta.type.kind == "f" else int(value)
    gain, offset = _equal(meta.gain), _equal(meta.offset)
    if gain is not None:
        attributes["scale_factor"] = gain
    if offset is not None:
        attributes["add_offset"] = offset
    if meta.band_names is not None:
        attributes["band_names"] = list(meta.band_names)
    return {**attributes, "grid_mapping": "spatial_ref", **_georeference(meta)}


def _group_attributes(meta: SceneMeta) -> dict[str, Any]:
    attributes: dict[str, Any] = {"Conventions": "CF-1.11", "source": meta.source}
    attributes |= {"edgesr": {**meta.tags, "scale": str(meta.scale)}}
    if meta.gcps:
        attributes["ground_control_points"] = [vars(point) for point in meta.gcps]
    if meta.rpcs:
        attributes["rpcs"] = dict(meta.rpcs)
    return {**attributes, **_georeference(meta)}


def _georeference(meta: SceneMeta) -> dict[str, Any]:
    """The conventions ``proj:`` and ``spatial:``."""
    found: dict[str, Any] = {
        "zarr_conventions": _CONVENTIONS,
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [meta.height, meta.width],
    }
    crs = _crs(meta)
    if crs is not None:
        authority = crs.to_authority()
        code = None if authority is None else ":".join(authority)
        found |= {"proj:code": code} if code else {"proj:wkt2": crs.to_wkt(version="WKT2_2019")}
    if meta.transform is not None:
        corners = [_place(meta, row, col) for row in (0, meta.height) for col in (0, meta.width)]
        x, y = zip(*corners, strict=True)
        found["spatial:transform"] = [float(value) for value in meta.transform]
        found["spatial:transform_type"] = "affine"
        found["spatial:registration"] = "pixel"
        found["spatial:bbox"] = [min(x), min(y), max(x), max(y)]
    return found


def _place(meta: SceneMeta, row: float, col: float) -> tuple[float, float]:
    assert meta.transform is not None
    a, b, c, d, e, f = meta.transform
    return a * col + b * row + c, d * col + e * row + f


def _variables(
    meta: SceneMeta, bands: str
) -> dict[str, tuple[tuple[str, ...], np.ndarray, Mapping[str, Any]]]:
    """Everything beside the cube: dimensions, values, attributes."""
    crs = _crs(meta)
    mapping: dict[str, Any] = {}
    if crs is not None:
        wkt = crs.to_wkt(version="WKT2_2019")
        mapping = {"crs_wkt": wkt, "spatial_ref": wkt}
    if meta.transform is not None:
        a, b, c, d, e, f = meta.transform
        mapping["GeoTransform"] = " ".join(repr(float(value)) for value in (c, a, b, f, d, e))
    found: dict[str, tuple[tuple[str, ...], np.ndarray, Mapping[str, Any]]] = {
        "spatial_ref": ((), np.array(0, "<i8"), mapping)
    }
    if meta.transform is not None and not (meta.transform[1] or meta.transform[3]):
        geographic = crs is not None and crs.is_geographic
        x = np.array([_place(meta, 0, col + 0.5)[0] for col in range(meta.width)])
        y = np.array([_place(meta, row + 0.5, 0)[1] for row in range(meta.height)])
        for name, values, word in (("x", x, "longitude"), ("y", y, "latitude")):
            standard = word if geographic else f"projection_{name}_coordinate"
            attributes = {"standard_name": standard, "axis": name.upper()}
            found[name] = ((name,), values.astype("<f8"), attributes)
    nm = {"units": "nm"}
    per_band: dict[str, tuple[np.ndarray | None, str, Mapping[str, Any]]] = {
        "wavelength": (
            meta.wavelengths, "<f8", {**nm, "standard_name": "radiation_wavelength"}
        ),
        "fwhm": (meta.fwhm, "<f8", {**nm, "long_name": "full width at half maximum"}),
        "good_wavelengths": (
            None if meta.bad_bands is None else ~np.asarray(meta.bad_bands, bool), "|i1",
            {"long_name": "1 where the band is good"},
        ),
        "interpolated": (
            meta.interpolated, "|i1", {"long_name": "1 where the band was interpolated"}
        ),
        "gain": (meta.gain if _equal(meta.gain) is None else None, "<f8", {}),
        "offset": (meta.offset if _equal(meta.offset) is None else None, "<f8", {}),
    }  # fmt: skip
    for name, (known, dtype, words) in per_band.items():
        if known is not None:
            found[name] = ((bands,), np.asarray(known).astype(dtype), words)
    return found


def _crs(meta: SceneMeta, target: Path | None = None) -> Any:
    """The coordinate reference system as rasterio has it, or None."""
    if meta.crs is None:
        return None
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(meta.crs)
    except CRSError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{target}: the crs cannot be written ({reason})") from error
