"""Writing a cube so that nothing that is known about it gets lost."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube, without_masked
from edgesr.cube.formats._envi import header_georeference, parse_header
from edgesr.cube.nodata import held_nodata
from edgesr.cube.scaling import per_band
from edgesr.errors import DataError, EdgesrWarning, brief, root_cause
from edgesr.files import atomic_path

_ENVI = (".hdr", ".img")
_NOT_WHOLE = "what was written does not come back; the disk may be full"


def write_cube(cube: Cube, path: Path) -> None:
    """Write ``.npz`` (everything), ``.tif`` (GeoTIFF), ``.hdr``/``.img`` (ENVI) or ``.npy``.

    Nodata is written as the type of the pixels holds it. ``.npy`` holds the array alone; a warning
    names what is lost. Files appear complete or not at all.

    Raises:
        DataError: another suffix, an unknown crs, or the folder cannot be written.
    """
    write = _writer(path)
    cube = replace(cube, nodata=held_nodata(cube.nodata, cube.data.dtype))
    from rasterio.errors import CRSError, RasterioError

    try:
        if write is _write_envi:
            write(cube, path)
        else:
            with atomic_path(path) as temporary:
                write(cube, temporary)
    except CRSError as error:
        raise DataError(
            f"{path}: cannot be written ({root_cause(error)}); correct the crs of {cube.name}, or "
            "choose .npz"
        ) from error
    except (OSError, RasterioError) as error:
        raise DataError(
            f"{path}: cannot be written ({root_cause(error)}); free some space, or choose another "
            "folder"
        ) from error


def written_files(path: Path) -> list[Path]:
    """The files that :func:`write_cube` writes for ``path``.

    Raises:
        DataError: a suffix that it does not know.
    """
    if _writer(path) is _write_envi:
        return [path.with_suffix(suffix) for suffix in _ENVI]
    return [path]


def _writer(path: Path) -> Callable[[Cube, Path], None]:
    writers: dict[str, Callable[[Cube, Path], None]] = {
        ".npz": _write_npz, ".npy": _write_npy, ".tif": _write_geotiff, ".tiff": _write_geotiff,
        ".hdr": _write_envi, ".img": _write_envi,
    }  # fmt: skip
    try:
        return writers[path.suffix.lower()]
    except KeyError:
        raise DataError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}; choose one of "
            f"{', '.join(writers)}"
        ) from None


def _write_npz(cube: Cube, path: Path) -> None:
    fields = {
        "edgesr_cube": 1, "data": cube.data, "name": cube.name, "wavelengths": cube.wavelengths,
        "fwhm": cube.fwhm, "bad_bands": cube.bad_bands, "nodata": cube.nodata, "mask": cube.mask,
        "crs": cube.crs, "transform": cube.transform, "source": cube.source, "gain": cube.gain,
        "offset": cube.offset, "band_names": cube.band_names,
        "gcps": [dataclasses.astuple(point) for point in cube.gcps] or None,
        "rpcs": None if cube.rpcs is None else json.dumps(dict(cube.rpcs)),
    }  # fmt: skip
    known: dict[str, Any] = {key: value for key, value in fields.items() if value is not None}
    np.savez_compressed(path, **known)


def _write_npy(cube: Cube, path: Path) -> None:
    fields = {one.name: getattr(cube, one.name) for one in dataclasses.fields(cube)}
    lost = [
        what
        for what, value in fields.items()
        if what not in ("data", "name", "source") and value is not None and np.size(value)
    ]
    if lost:
        warnings.warn(
            f".npy holds numbers only; {', '.join(lost)} of {cube.name} are not saved "
            "(.npz or .tif keeps them)",
            EdgesrWarning,
            stacklevel=2,
        )
    np.save(path, cube.data)
    try:  # on a full disk, NumPy closes what it could not write without a word
        np.load(path, mmap_mode="r")
    except ValueError:
        raise OSError(_NOT_WHOLE) from None


def _write_geotiff(cube: Cube, path: Path) -> None:
    """Band by band, as it is written: pixel by pixel, a large cube would be packed many times."""
    predictor: dict[str, Any] = {"predictor": 3} if cube.data.dtype.kind == "f" else {}
    _write_raster(
        cube, path, "GTiff", compress="deflate", zlevel=1, interleave="band", BIGTIFF="IF_SAFER",
        **predictor,
    )  # fmt: skip


def _write_envi(cube: Cube, path: Path) -> None:
    """Both files are written in a folder beside the target, then moved: pixels, then header."""
    other = path.with_suffix(".img.hdr")
    if other.exists():
        raise DataError(f"{path}: {other.name} would be taken for its header; move it away")
    _check_place(cube, path)
    header = {"wavelength": cube.wavelengths, "fwhm": cube.fwhm}
    tags = {key: _braced(values) for key, values in header.items() if values is not None}
    if tags:
        tags["wavelength_units"] = "Nanometers"
    if cube.bad_bands is not None:
        tags["bbl"] = _braced((~cube.bad_bands).astype(int))
    if _needs_stored_mask(cube):
        warnings.warn(
            f"ENVI keeps the nodata mask of {cube.name} only with a nodata number; it is "
            "not saved (.npz or .tif keeps it)",
            EdgesrWarning,
            stacklevel=2,
        )
    if cube.gcps or cube.rpcs is not None:
        warnings.warn(
            f"ENVI keeps no control points and RPCs; those of {cube.name} are not saved (.npz or "
            ".tif keeps them)",
            EdgesrWarning,
            stacklevel=2,
        )
        cube = replace(cube, gcps=(), rpcs=None)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
        pixels = Path(folder) / f"{path.stem}.img"
        _write_raster(cube, pixels, "ENVI", tags)
        written = pixels.with_suffix(".hdr")  # GDAL describes the cube by its temporary path
        described = written.read_text().replace(f"{{\n{pixels}}}", f"{{{cube.name}}}")
        written.write_text(described)
        pixels.replace(path.with_suffix(".img"))
        written.replace(path.with_suffix(".hdr"))


def _check_place(cube: Cube, path: Path) -> None:
    """Refuse a transform that comes back from ENVI as another one; that of one pixel is tried.

    ENVI knows the sizes of a pixel and one angle: neither shear nor mirrored images.
    """
    if cube.transform is None:
        return
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
        pixel = Path(folder) / "pixel.img"
        trial = Cube(np.zeros((1, 1, 1), np.uint8), crs=cube.crs, transform=cube.transform)
        _write_raster(trial, pixel, "ENVI", {})
        held = header_georeference(parse_header(pixel.with_suffix(".hdr"))).get("transform")
    step = max(map(abs, np.delete(cube.transform, (2, 5))))
    if held is None or not np.allclose(held, cube.transform, rtol=1e-9, atol=1e-9 * step):
        raise DataError(
            f"{path}: ENVI cannot hold the transform {cube.transform} of {cube.name}, which is "
            "sheared or mirrored; choose .tif or .npz"
        )


def _braced(values: np.ndarray) -> str:
    return "{" + ", ".join(f"{value:.10g}" for value in values) + "}"


def _write_raster(
    cube: Cube, path: Path, driver: str, header: dict[str, str] | None = None, **options: Any
) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    cube = _with_mask_in_pixels(cube)
    height, width, bands = cube.shape
    by_points = bool(cube.gcps) and cube.transform is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver=driver, height=height, width=width, count=bands,
            dtype=cube.data.dtype.name, nodata=cube.nodata, crs=None if by_points else cube.crs,
            transform=None if cube.transform is None else rasterio.Affine(*cube.transform),
            **options,
        ) as target:  # fmt: skip
            if header is not None:
                target.update_tags(ns="ENVI", **header)
            else:
                _tag_bands(cube, target)
            _place_by_points(cube, target)
            if cube.gain is not None:
                target.scales = tuple(per_band(cube.gain, bands, 1.0))
            if cube.offset is not None:
                target.offsets = tuple(per_band(cube.offset, bands, 0.0))
            for band, name in enumerate(cube.band_names or (), 1):
                listed = re.sub(r"[,{}\s]+", " ", name)  # what divides the names of a header
                target.set_band_description(band, name if header is None else listed)
            for band in range(bands):
                target.write(np.ascontiguousarray(cube.data[:, :, band]), band + 1)
            if header is None and _needs_stored_mask(cube):
                target.write_mask(~np.asarray(cube.mask))
        _check_written(cube, path, driver)


def _check_written(cube: Cube, path: Path, driver: str) -> None:
    """Read all bands again: on a full disk, GDAL closes what it could not write without a word."""
    import rasterio

    with rasterio.open(path, driver=driver) as source:
        for band in range(cube.bands):
            written, held = source.read(band + 1), cube.data[:, :, band]
            if not np.array_equal(written, held, equal_nan=held.dtype.kind == "f"):
                raise OSError(_NOT_WHOLE)


def _place_by_points(cube: Cube, target: Any) -> None:
    """Control points and RPCs, as far as the format has room for them."""
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.rpc import RPC

    if cube.gcps and cube.transform is None:
        points = [GroundControlPoint(p.row, p.col, p.x, p.y, p.z) for p in cube.gcps]
        target.gcps = (points, CRS.from_user_input(cube.crs) if cube.crs else CRS())
    if cube.rpcs is not None:
        try:
            target.rpcs = RPC.from_gdal(dict(cube.rpcs))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{cube.name}: its RPCs cannot be written ({brief(error)}); correct them, or "
                "choose .npz"
            ) from error


def _needs_stored_mask(cube: Cube) -> bool:
    """Whether no pixel value can say nodata: integers without a nodata number."""
    return cube.mask is not None and cube.nodata is None and cube.data.dtype.kind != "f"


def _tag_bands(cube: Cube, target: Any) -> None:
    for band in range(cube.bands):
        tags: dict[str, str] = {}
        if cube.wavelengths is not None:
            tags["wavelength"] = f"{cube.wavelengths[band]:.10g}"
            tags["wavelength_units"] = "Nanometers"
            if cube.band_names is None:
                target.set_band_description(band + 1, f"{cube.wavelengths[band]:.10g} nm")
        if cube.fwhm is not None:
            tags["wavelength_units"] = "Nanometers"
            tags["fwhm"] = f"{cube.fwhm[band]:.10g}"
        if cube.bad_bands is not None:
            tags["bbl"] = str(int(not cube.bad_bands[band]))
        target.update_tags(band + 1, **tags)


def _with_mask_in_pixels(cube: Cube) -> Cube:
    """Type that rasters can hold, native byte order, and masked pixels that say so themselves."""
    dtype = np.dtype(np.float32) if cube.data.dtype == np.float16 else cube.data.dtype
    data = np.asarray(cube.data, dtype=dtype.newbyteorder("="))
    if cube.mask is not None:
        data = without_masked(data, cube.mask, cube.nodata)
    return replace(cube, data=data)
