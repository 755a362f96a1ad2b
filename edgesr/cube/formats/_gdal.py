"""What readers share that go through rasterio, which is GDAL."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgesr.errors import DataError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_ADDED = (".hdr", ".aux.xml", ".msk", ".ovr")
_INSTEAD = (".hdr", ".tfw")


@contextmanager
def opened(path: Path, driver: str) -> Iterator[Any]:
    """A file of one driver, open for reading.

    Raises:
        DataError: GDAL would also open a file beside it that may point to any other.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    _check_mask(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        # files beside it by their exact names alone; an absolute path, since GDAL takes what
        # stands before a colon for a driver
        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"),
            rasterio.open(path.absolute(), driver=driver) as source,
        ):
            yield source


def _check_mask(path: Path) -> None:
    """Refuse a mask beside a file that is no GeoTIFF: GDAL opens it by whatever driver fits."""
    for suffix in (".msk", ".MSK"):
        mask = path.with_name(path.name + suffix)
        if mask.is_file():
            with mask.open("rb") as file:
                if file.read(4) not in TIFF_STARTS:
                    raise DataError(f"{path}: its mask {mask.name} is no GeoTIFF; move it away")


def georeference(source: Any) -> dict[str, Any]:
    """Coordinate system, transform and nodata, as fields of a cube."""
    transform = tuple(source.transform)[:6]
    known = source.crs is not None or transform != _IDENTITY
    return {
        "crs": None if source.crs is None else source.crs.to_wkt(),
        "transform": transform if known else None,
        "nodata": None if source.nodata is None else float(source.nodata),
    }


def gain(source: Any) -> float | None:
    """Factor of stored numbers, where all bands have the same and it is not 1."""
    gains = set(source.scales)
    return float(gains.pop()) if len(gains) == 1 and gains != {1.0} else None


def side_files(path: Path) -> list[Path]:
    """What GDAL may find beside a file and read, too."""
    return [
        *(path.with_name(path.name + suffix) for suffix in _ADDED),
        *(path.with_suffix(suffix) for suffix in _INSTEAD),
    ]
