"""What was understood of a cube, for ``edgesr info``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgesr.cube.bands import format_bands
from edgesr.cube.cube import Cube
from edgesr.cube.nodata import nodata_in_json
from edgesr.cube.opened import OpenCube
from edgesr.cube.pixels import ArrayPixels, Pixels
from edgesr.cube.reading import with_nodata_mask
from edgesr.cube.sampling import extremes
from edgesr.cube.scaling import Factor
from edgesr.errors import shown

_LOOKED_AT = 1 << 26  # bytes of pixels that range and nodata share are taken from


def describe_cube(cube: Cube | OpenCube) -> dict[str, Any]:
    """Facts about a cube; JSON-able.

    Range, nodata share and constant bands of a cube of more than 64 MB come from evenly spread
    blocks of it; ``pixels_looked_at`` says how many pixels these are.
    """
    cube = OpenCube.of(cube) if isinstance(cube, Cube) else cube
    looked_at = _spread_pixels(cube)
    usable = np.arange(cube.bands)
    bad = looked_at.bad_bands
    if bad is not None and not bad.all():
        usable = np.flatnonzero(~bad)
    valid = ~looked_at.invalid(usable)
    bounds = extremes(looked_at, valid)[:, usable] if valid.any() else None
    return {
        "name": cube.name,
        "source": cube.source,
        "shape": dict(zip(("height", "width", "bands"), cube.shape, strict=True)),
        "dtype": cube.dtype.name,
        "bytes": math.prod(cube.shape) * cube.dtype.itemsize,
        "axes_assumed": cube.axes_assumed,
        "range": None if bounds is None else [float(bounds[0].min()), float(bounds[1].max())],
        "gain": _listed(cube.gain),
        "offset": _listed(cube.offset),
        "constant_bands": ""
        if bounds is None
        else format_bands(usable[bounds[0] == bounds[1]].tolist()),
        "bad_bands": "" if bad is None else format_bands(np.flatnonzero(bad)),
        "wavelengths_nm": None if cube.wavelengths is None else cube.wavelengths.tolist(),
        "fwhm_nm": None if cube.fwhm is None else cube.fwhm.tolist(),
        "crs": cube.crs,
        "transform": None if cube.transform is None else list(cube.transform),
        "control_points": len(cube.gcps),
        "rpcs": cube.rpcs is not None,
        "lookup_table": None if cube.glt is None else list(cube.glt.shape),
        "acquired": cube.acquired,
        "nodata": nodata_in_json(cube.nodata),
        "nodata_share": float((~valid).mean()),
        "pixels_looked_at": looked_at.extent.pixels,
    }


def render_info(facts: Mapping[str, Any]) -> str:
    """The facts of :func:`describe_cube` as aligned lines."""
    shape = facts["shape"]
    height, width, bands = shape["height"], shape["width"], shape["bands"]
    lines = {
        "cube": facts["name"],
        "source": facts["source"],
        "shape": f"{height} x {width} pixels, {bands} bands"
        + (" (order of the axes assumed)" if facts["axes_assumed"] else ""),
        "type": f"{facts['dtype']}, {facts['bytes'] / 1e6:.1f} MB",
        "range": _range(facts["range"], facts["gain"], facts["offset"]),
        "wavelengths": _spectrum(facts["wavelengths_nm"], facts["fwhm_nm"]),
        "bad bands": facts["bad_bands"] or "none known",
        "constant": facts["constant_bands"] or "no band",
        "georeference": _georeference(facts),
        "nodata": _nodata(facts["nodata"], facts["nodata_share"]),
    }
    if facts["acquired"] is not None:
        lines["acquired"] = facts["acquired"]
    if facts["pixels_looked_at"] < height * width:
        lines["looked at"] = f"{facts['pixels_looked_at']} of {height * width} pixels"
    return "\n".join(f"{key:<13} {shown(value)}" for key, value in lines.items())


def _spread_pixels(cube: OpenCube) -> Cube:
    """Pixels [N, 1, B] of blocks as they are stored together, or all where they are few."""
    size = cube.dtype.itemsize * cube.bands
    height, width = cube.chunks
    if size * height * width > _LOOKED_AT:
        height = max(1, _LOOKED_AT // (size * width))
    blocks = list(cube.windows(height, width))
    count = max(1, _LOOKED_AT // (size * height * width))
    if size * cube.extent.pixels <= _LOOKED_AT:
        blocks = [cube.extent]
    elif len(blocks) > count:
        middles = (np.arange(count) + 0.5) * len(blocks) / count
        blocks = [blocks[index] for index in middles.astype(int)]

    def found(pixels: Pixels) -> Pixels:
        parts = [pixels.read(block).reshape(-1, 1, pixels.shape[2]) for block in blocks]
        return ArrayPixels(np.concatenate(parts))

    with cube.reading():
        quality = None if cube.quality is None else found(cube.quality)
        spread = replace(cube, pixels=found(cube.pixels), quality=quality, spec=None, files=())
    return with_nodata_mask(spread.whole())


def _range(bounds: list[float] | None, gain: Any, offset: Any) -> str:
    if bounds is None:
        return "no valid value"
    text = f"{bounds[0]:g} to {bounds[1]:g}"
    if gain is not None:
        text += ", times a gain of each band" if isinstance(gain, list) else f", times {gain:g}"
    if offset is not None:
        text += (
            ", plus an offset of each band" if isinstance(offset, list) else f", plus {offset:g}"
        )
    return text


def _listed(factor: Factor | None) -> float | list[float] | None:
    return factor.tolist() if isinstance(factor, np.ndarray) else factor


def _spectrum(centres: list[float] | None, widths: list[float] | None) -> str:
    if centres is None:
        return "unknown"
    text = f"{min(centres):g} to {max(centres):g} nm"
    return text if widths is None else f"{text}, FWHM {min(widths):g} to {max(widths):g} nm"


def _georeference(facts: Mapping[str, Any]) -> str:
    crs, transform = facts["crs"], facts["transform"]
    name = "unnamed system" if crs is None else _system(crs)
    if transform is None:
        ways = []
        if facts["control_points"]:
            ways.append(f"{facts['control_points']} control points in {name}")
        if facts["rpcs"]:
            ways.append("RPCs")
        if facts["lookup_table"]:
            height, width = facts["lookup_table"]
            ways.append(f"a look-up table of {height} x {width} pixels")
        return ", ".join(ways) or "none"
    a, b, c, d, e, f = transform
    return f"{name}, pixel {np.hypot(a, d):g} x {np.hypot(b, e):g}, corner ({c:.10g}, {f:.10g})"


def _system(crs: str) -> str:
    """The name in a WKT, the first text in quotes; other text as it is."""
    return crs.split('"')[1] if '"' in crs else crs


def _nodata(value: float | str | None, share: float) -> str:
    number = "no number defined" if value is None else f"{float(value):g}"
    return f"{number}, {share:.2%} of the pixels"
