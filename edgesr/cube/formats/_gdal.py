"""What readers share that go through rasterio, which is GDAL."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from edgesr.cube.control import GroundControl
from edgesr.cube.cube import Window
from edgesr.cube.pixels import Pixels
from edgesr.cube.reading import require_memory_to_read
from edgesr.errors import DataError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_ADDED = (".hdr", ".aux.xml", ".msk", ".ovr")
_PATIENCE = {  # of requests to another machine, in seconds
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "3",
}
_INSTEAD = (".hdr", ".tfw")


def careful(place: Path | str) -> Any:
    """GDAL as it is used here, in this thread, for a file or the address of one.

    Files beside it are found by their exact names alone, and on another machine not at all.
    """
    import rasterio

    if isinstance(place, Path):
        return rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE")
    patience = {key: value for key, value in _PATIENCE.items() if key not in os.environ}
    return rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", **patience)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is said of an image without georeference."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def open_raster(place: Path | str, driver: str) -> Any:
    """A file of one driver, or the address of one for GDAL, open for reading.

    Whoever asks for it closes it.

    Raises:
        DataError: GDAL would also open a file beside it that may point to any other.
    """
    import rasterio

    if isinstance(place, Path):
        check_mask(place)
        place = place.absolute()  # as GDAL takes what stands before a colon for a driver
    with careful(place), quiet():
        return rasterio.open(place, driver=driver)


def check_mask(path: Path) -> None:
    """Refuse a mask beside a file that is no GeoTIFF: GDAL opens it by whatever driver fits."""
    for suffix in (".msk", ".MSK"):
        mask = path.with_name(path.name + suffix)
        if mask.is_file():
            with mask.open("rb") as file:
                if file.read(4) not in TIFF_STARTS:
                    raise DataError(f"{path}: its mask {mask.name} is no GeoTIFF; move it away")


class RasterPixels(Pixels):
    """Bands of an open raster, each kept from the others' threads; it is closed with them."""

    def __init__(self, source: Any, place: Path | str) -> None:
        from rasterio.enums import Interleaving

        self._source, self._place, self._lock = source, place, Lock()
        self.shape = (source.height, source.width, source.count)
        self.dtype = np.dtype(source.dtypes[0])
        self.chunks = source.block_shapes[0]
        together = source.count if source.interleaving == Interleaving.pixel else 1
        for block in source.block_shapes:  # one is unpacked whole, however little is used
            require_memory_to_read((*block, together), self.dtype, place)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        count = self.shape[2]
        indices = [band + 1 for band in (range(count) if bands is None else bands)]
        with self._lock, careful(self._place):
            return np.moveaxis(self._source.read(indices, window=_ranges(window)), 0, -1)

    def close(self) -> None:
        with self._lock:
            self._source.close()


class _MaskPixels(RasterPixels):
    """The mask that a raster stores beside its pixels, as bool [H, W, 1], True = nodata."""

    def __init__(self, pixels: RasterPixels) -> None:
        self._source, self._place, self._lock = pixels._source, pixels._place, pixels._lock
        self.shape, self.chunks = (*pixels.shape[:2], 1), pixels.chunks
        self.dtype = np.dtype(bool)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        with self._lock, careful(self._place):
            valid = self._source.read_masks(1, window=_ranges(window))
        return np.asarray(valid == 0)[:, :, None]


def _ranges(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    """A window as rasterio has it."""
    rows, cols = window.slices
    return (rows.start, rows.stop), (cols.start, cols.stop)


def stored_mask(source: Any, pixels: RasterPixels) -> Pixels | None:
    """The mask of the whole image that a file stores beside its pixels, or None.

    To be asked inside :func:`careful`, as GDAL looks for it now.
    """
    from rasterio.enums import MaskFlags

    flags = source.mask_flag_enums[0]
    return _MaskPixels(pixels) if MaskFlags.per_dataset in flags else None


def georeference(source: Any) -> dict[str, Any]:
    """Coordinate system, transform, control points, RPCs and nodata, as fields of a cube."""
    transform = tuple(source.transform)[:6]
    known = source.crs is not None or transform != _IDENTITY
    points, system = source.gcps
    crs = source.crs or system
    return {
        "crs": crs.to_wkt() if crs else None,
        "transform": transform if known else None,
        "gcps": ()
        if known
        else tuple(GroundControl(p.row, p.col, p.x, p.y, p.z or 0.0) for p in points),
        "rpcs": source.tags(ns="RPC") if source.rpcs else None,
        "nodata": None if source.nodata is None else float(source.nodata),
    }


def side_files(path: Path) -> list[Path]:
    """What GDAL may find beside a file and read, too."""
    return [
        *(path.with_name(path.name + suffix) for suffix in _ADDED),
        *(path.with_suffix(suffix) for suffix in _INSTEAD),
    ]
