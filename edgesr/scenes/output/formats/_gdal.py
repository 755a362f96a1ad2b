"""GeoTIFFs in memory, made by GDAL: the tiles of a block, and the description of a scene."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from edgesr.scenes.output.formats._bands import band_name, band_tags
from edgesr.scenes.output.meta import SceneMeta


@contextmanager
def _opened(content: bytes) -> Iterator[Any]:
    """A GeoTIFF in memory, and in memory alone."""
    import rasterio
    from rasterio.io import MemoryFile

    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        MemoryFile(content) as memory,
        memory.open(driver="GTiff") as source,
    ):
        yield source


@contextmanager
def _anywhere() -> Iterator[None]:
    """Without rasterio's warning of an image that is nowhere; not for threads."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def crs_of(content: bytes) -> Any:
    """The coordinate reference system that a GeoTIFF holds, None without one."""
    with _anywhere(), _opened(content) as source:
        return source.crs or source.gcps[1]


def encoded(pixels: np.ndarray, meta: SceneMeta, tile: int) -> bytes:
    """A GeoTIFF of pixels [B, h, w], in tiles of ``tile`` pixels; without what is known of them."""
    somewhere = (1.0, 0.0, 1.0, 0.0, 1.0, 1.0)  # rasterio warns of images that are nowhere
    here = replace(meta, transform=somewhere)
    return _geotiff(here, tile, pixels.shape[1:], lambda target: target.write(pixels))


def described(meta: SceneMeta, tile: int) -> bytes:
    """A GeoTIFF with all that is known of a scene, of one tile that is empty."""
    with _anywhere():
        size = (tile, tile)
        return _geotiff(meta, tile, size, lambda target: _describe(target, meta), sparse_ok=True)


def _geotiff(
    meta: SceneMeta,
    tile: int,
    size: tuple[int, ...],
    fill: Callable[[Any], None],
    **options: Any,
) -> bytes:
    import rasterio
    from rasterio.io import MemoryFile

    height, width = size
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=meta.bands, dtype=meta.dtype,
            nodata=meta.nodata, tiled=True, blockxsize=tile, blockysize=tile, interleave="band",
            compress="zstd", zstd_level=1, predictor=3 if meta.type.kind == "f" else 2,
            photometric="minisblack", alpha="no", bigtiff="no", **options,
            transform=None if meta.transform is None else rasterio.Affine(*meta.transform),
        ) as target:  # fmt: skip
            fill(target)
        return bytes(memory.getbuffer())


def _describe(target: Any, meta: SceneMeta) -> None:
    """Metadata of the scene and of its bands."""
    from rasterio.control import GroundControlPoint
    from rasterio.rpc import RPC

    if meta.gcps and meta.transform is None:
        points = [GroundControlPoint(p.row, p.col, p.x, p.y, p.z) for p in meta.gcps]
        target.gcps = (points, meta.crs)
    elif meta.crs is not None:
        target.crs = meta.crs
    if meta.rpcs:
        target.rpcs = RPC.from_gdal(dict(meta.rpcs))
    if meta.gain is not None:
        target.scales = tuple(map(float, meta.gain))
    if meta.offset is not None:
        target.offsets = tuple(map(float, meta.offset))
    target.update_tags(**meta.tags, scale=str(meta.scale), source=meta.source)
    for band in range(meta.bands):
        tags, imagery = band_tags(meta, band)
        target.update_tags(band + 1, **tags)
        if imagery:
            target.update_tags(band + 1, ns="IMAGERY", **imagery)
        target.set_band_description(band + 1, band_name(meta, band))
