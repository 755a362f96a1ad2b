"""ENVI: lines of bands (BIL) beside a header, which GDAL writes of an image of one pixel."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgesr.errors import DataError
from edgesr.scenes.output.formats._bands import band_name
from edgesr.scenes.output.formats._base import Format, Progress, register
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.stac import ACQUIRED
from edgesr.scenes.output.store import BlockStore


@register
class Envi(Format):
    """Pixels as they are, line by line and band by band, little-endian; the header comes last."""

    name, title, suffixes = "envi", "ENVI", (".img", ".dat", ".hdr")

    def files(self, target: Path) -> list[Path]:
        pixels = target.with_suffix(".img") if target.suffix.lower() == ".hdr" else target
        return [pixels, target.with_suffix(".hdr")]

    def check(self, target: Path, meta: SceneMeta) -> None:
        _header(meta, target)

    def encode(self, pixels: np.ndarray, meta: SceneMeta, block: int) -> bytes:
        return np.ascontiguousarray(pixels.transpose(0, 2, 1)).tobytes()

    def assemble(self, store: BlockStore, folder: Path, progress: Progress) -> None:
        meta = store.meta
        pixels, header = (folder / file.name for file in self.files(store.target))
        shape = (meta.height, meta.bands, meta.width)
        with pixels.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, meta.nbytes)  # mapped, a full disk would kill us
        rows, cols = store.grid
        for row in range(rows):
            for col in range(cols):
                path = store.path(0, row, col)
                assert path is not None
                height, width, bands = store.shape(row, col)
                block = np.fromfile(path, meta.type).reshape(height, bands, width)
                top, left = row * store.block, col * store.block
                image = np.memmap(pixels, meta.type, mode="r+", shape=shape)  # anew: let go of it
                image[top : top + height, :, left : left + width] = block
                progress(row * cols + col + 1, rows * cols)
        header.write_text(_header(meta, store.target), encoding="utf-8")


def _header(meta: SceneMeta, target: Path) -> str:
    """The header of the whole image.

    Raises:
        DataError: it cannot hold all that is known.
    """
    import rasterio
    from rasterio.errors import CRSError, NotGeoreferencedWarning

    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        path = Path(folder) / "pixel.img"
        try:
            _write_pixel(path, meta)
        except CRSError as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{target}: the crs cannot be written ({reason})") from error
        with rasterio.open(path) as read:
            lost = {
                "the crs": meta.crs is not None and read.crs is None,
                "a sheared transform": meta.transform is not None
                and not _same_place(tuple(read.transform)[:6], meta.transform),
                "ground control points": bool(meta.gcps) and meta.transform is None,
                "rational polynomial coefficients": bool(meta.rpcs) and not read.rpcs,
            }
        text = path.with_suffix(".hdr").read_text(encoding="utf-8")
    for what, is_lost in lost.items():
        if is_lost:
            raise DataError(f"{target}: ENVI cannot hold {what}; choose .tif or .zarr")
    return _completed(text, meta)


def _same_place(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two transforms are the same up to the digits of a header."""
    pixel = np.abs(np.delete(other, (2, 5))).max()
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-9 * pixel))


def _completed(header: str, meta: SceneMeta) -> str:
    """GDAL's header of one pixel as that of the whole image."""
    description = {"source": meta.source, **meta.tags, "scale": str(meta.scale)}
    pairs = (f"{name}: {value}" for name, value in description.items())
    for key, value in {
        "description": _listed(pairs),
        "samples": str(meta.width),
        "lines": str(meta.height),
    }.items():
        found = re.search(rf"^{key} *= *(\{{[^}}]*\}}|.*)$", header, re.MULTILINE)
        assert found is not None
        header = f"{header[: found.start()]}{key} = {value}{header[found.end() :]}"
    if ACQUIRED in meta.tags:
        header += f"acquisition time = {_plain(meta.tags[ACQUIRED])}\n"
    for key, numbers in {"gain": meta.gain, "offset": meta.offset}.items():  # GDAL drops these
        if numbers is not None:
            header += f"data {key} values = {_numbers(numbers)}\n"
    return header


def _write_pixel(path: Path, meta: SceneMeta) -> None:
    """An image of one pixel with all that is known of the scene."""
    import rasterio
    from rasterio.rpc import RPC

    lists = {
        "wavelength": meta.wavelengths,
        "fwhm": meta.fwhm,
        "bbl": None if meta.bad_bands is None else ~np.asarray(meta.bad_bands, bool),
        "interpolated": meta.interpolated,
    }
    tags = {key: _numbers(values) for key, values in lists.items() if values is not None}
    if meta.wavelengths is not None:
        tags["wavelength_units"] = "Nanometers"
    transform = None if meta.transform is None else rasterio.Affine(*meta.transform)
    with rasterio.open(
        path, "w", driver="ENVI", interleave="bil", width=1, height=1, count=meta.bands,
        dtype=meta.dtype, nodata=meta.nodata, crs=meta.crs, transform=transform,
    ) as target:  # fmt: skip
        target.update_tags(ns="ENVI", **tags)
        if meta.rpcs:
            target.rpcs = RPC.from_gdal(dict(meta.rpcs))
        for band in range(meta.bands):
            target.set_band_description(band + 1, _plain(band_name(meta, band)))


def _numbers(values: np.ndarray) -> str:
    return _listed(f"{float(value):.10g}" for value in values)


def _listed(values: Iterable[str]) -> str:
    return "{" + ", ".join(_plain(value) for value in values) + "}"


def _plain(text: str) -> str:
    """Text without what ends a list or a line."""
    return " ".join(re.sub(r"[{},]", " ", text).split())
