"""Zarr, versions 2 and 3: a folder of chunks, or of shards."""

from __future__ import annotations

import base64
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.control import GroundControl
from edgesr.cube.cube import Window
from edgesr.cube.formats._arrays import Arrays, is_numeric
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.pixels import Pixels, in_ranges
from edgesr.cube.reading import Order, Variable, require_memory_to_read
from edgesr.cube.scaling import factor_of
from edgesr.errors import DataError, EdgesrWarning, shown

_POINT = ("row", "col", "x", "y", "z")
_MARKS = ("zarr.json", ".zgroup", ".zarray")
_CODECS = frozenset(
    {
        "bytes", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32",
        "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "shuffle", "bitround", "delta",
        "fixedscaleoffset", "quantize", "packbits",
    }
)  # fmt: skip
"""Codecs that hold numbers alone: others, such as pickle, could run what a file says."""


@register
class Zarr(Reader):
    """Reads windows of the one array of three axes, named by its dimensions or by vectors beside.

    Follows the conventions of CF and GeoZarr: nodata, gain and offset (arrays ``gain`` and
    ``offset`` beside it where they differ between bands), grid mapping, coordinates. Of a scene
    that ``upscale`` wrote, control points and RPCs, too.
    """

    name, title, order, folders = "zarr", "Zarr", 10, True
    suffixes = (".zarr",)
    options = ("axes", "wavelength_unit")

    def recognises(self, path: Path, start: bytes) -> bool:
        return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)

    def files(self, path: Path) -> list[Path]:
        return sorted(path.rglob("*"))

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        try:
            import zarr
        except ImportError:
            raise DataError(
                f'{path}: Zarr is not installed; pip install "edgesr[zarr]", or convert it'
            ) from None
        return _opened(zarr.open(path, mode="r"), path, wanted, options)


def _opened(root: Any, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
    members = {"": root}
    if hasattr(root, "members"):
        members = dict(sorted(root.members(max_depth=None)))
    arrays = {f"/{name}": one for name, one in members.items() if hasattr(one, "shape")}
    numeric = {name: one for name, one in arrays.items() if is_numeric(_variable(one))}
    for name, one in numeric.items():
        _check_codecs(name, one, path)

    def load(name: str) -> np.ndarray:
        require_memory_to_read(numeric[name].shape, numeric[name].dtype, path)
        return np.asarray(numeric[name][...])

    def attributes(name: str) -> Mapping[str, Any]:
        item = members.get(name.strip("/")) if name else root
        return {} if item is None else _attributes(item)

    def axis_names(name: str) -> Sequence[str | None]:
        item = numeric[name]
        names = getattr(item.metadata, "dimension_names", None)
        names = names or item.attrs.get("_ARRAY_DIMENSIONS")
        return names if names and len(names) == item.ndim else [None] * item.ndim

    def pixels(name: str, order: Order) -> Pixels:
        return _ZarrPixels(numeric[name], order, path)

    variables = {name: _variable(one) for name, one in numeric.items()}
    cube = Arrays(path, variables, load, pixels, attributes, axis_names).open(wanted, options)
    about = attributes(cube.source.rpartition(":")[2].rpartition("/")[0])
    return replace(cube, **_of_bands(cube, load, variables), **_points(about, path))


def _points(about: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Control points and RPCs in the attributes of the group, as ``upscale`` writes them."""
    try:
        points = about.get("ground_control_points", ())
        gcps = tuple(GroundControl(**{key: float(one[key]) for key in _POINT}) for one in points)
        rpcs = {str(key): str(value) for key, value in about.get("rpcs", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        warnings.warn(
            f"{path}: control points and RPCs left out, as they are no such; correct the metadata",
            EdgesrWarning,
            stacklevel=2,
        )
        return {}
    return {"gcps": gcps, "rpcs": rpcs or None}


def _of_bands(cube: OpenCube, load: Any, variables: Any) -> dict[str, Any]:
    """Gain and offset of each band, where they differ."""
    name = cube.source.rpartition(":")[2]
    folder = name.rpartition("/")[0]
    found: dict[str, Any] = {}
    for field, neutral in (("gain", 1.0), ("offset", 0.0)):
        beside = variables.get(f"{folder}/{field}")
        if beside is not None and beside.shape == (cube.bands,):
            found[field] = factor_of(load(f"{folder}/{field}"), neutral)
    return found


def _variable(array: Any) -> Variable:
    return Variable(array.shape, array.dtype)


def _attributes(item: Any) -> dict[str, Any]:
    """Attributes; the fill value of version 2 is one, and numbers that xarray wrote as text are."""
    found = dict(item.attrs)
    text = found.get("_FillValue")
    if isinstance(text, str):
        try:
            found["_FillValue"] = struct.unpack("<d", base64.b64decode(text))[0]
        except (ValueError, struct.error):
            found["_FillValue"] = float(text)
    fill = getattr(item, "fill_value", None)
    second = getattr(item.metadata, "zarr_format", 3) == 2
    if second and "_FillValue" not in found and fill is not None and fill != 0:
        found["_FillValue"] = fill
    return found


class _ZarrPixels(Pixels):
    """Windows of an array of three axes, of which ``order`` are height, width and bands."""

    def __init__(self, array: Any, order: Order, path: Path) -> None:
        self._array, self._order = array, order
        height, width, bands = (array.shape[axis] for axis in order)
        self.shape, self.dtype = (height, width, bands), np.dtype(array.dtype)
        stored = array.shards or array.chunks
        self.chunks = (stored[order[0]], stored[order[1]])
        require_memory_to_read(array.chunks, array.dtype, path)  # one is unpacked whole

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        rows, cols = window.slices

        def read(some: slice) -> np.ndarray:
            by_axis = dict(zip(self._order, (rows, cols, some), strict=True))
            values = np.asarray(self._array[by_axis[0], by_axis[1], by_axis[2]])
            return values.transpose(self._order)

        return in_ranges(read, bands, self.shape[2])


def _check_codecs(name: str, array: Any, path: Path) -> None:
    """Refuse an array that is packed by a codec that is not known to be harmless."""
    for codec in _codecs(array.metadata.to_dict()):
        if codec.rpartition(".")[2].lower() not in _CODECS:
            raise DataError(
                f"{path}: {shown(name)} is packed by {shown(codec)}, which is not read; save it "
                f"with one of {', '.join(sorted(_CODECS))}"
            )


def _codecs(about: Any) -> Iterator[str]:
    """Names of all codecs in the metadata of an array, those in shards too."""
    if not isinstance(about, dict):
        return
    listed = [about.get("compressor"), *(about.get("filters") or ())]
    listed += [*(about.get("codecs") or ()), *(about.get("index_codecs") or ())]
    for codec in listed:
        if isinstance(codec, dict):
            yield str(codec.get("id", codec.get("name")))
            yield from _codecs(codec.get("configuration"))
        elif isinstance(codec, str):
            yield codec
