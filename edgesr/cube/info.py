"""What was understood of a cube, for ``edgesr info``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgesr.cube.bands import format_bands
from edgesr.cube.cube import Cube
from edgesr.cube.nodata import nodata_in_json
from edgesr.cube.sampling import extremes
from edgesr.errors import shown

_SCANNED_WHOLE = 1 << 29  # bytes


def describe_cube(cube: Cube) -> dict[str, Any]:
    """Facts about a cube; JSON-able.

    Range, nodata share and constant bands of a cube of more than 0.5 GB come from every k-th row;
    ``rows_looked_at`` says how many.
    """
    looked_at = _thinned(cube)
    usable = np.arange(cube.bands)
    if cube.bad_bands is not None and not cube.bad_bands.all():
        usable = np.flatnonzero(~cube.bad_bands)
    valid = ~looked_at.invalid(usable)
    bounds = extremes(looked_at, valid)[:, usable] if valid.any() else None
    return {
        "name": cube.name,
        "source": cube.source,
        "shape": dict(zip(("height", "width", "bands"), cube.shape, strict=True)),
        "dtype": cube.data.dtype.name,
        "bytes": cube.data.nbytes,
        "range": None if bounds is None else [float(bounds[0].min()), float(bounds[1].max())],
        "gain": cube.gain,
        "constant_bands": ""
        if bounds is None
        else format_bands(usable[bounds[0] == bounds[1]].tolist()),
        "bad_bands": "" if cube.bad_bands is None else format_bands(np.flatnonzero(cube.bad_bands)),
        "wavelengths_nm": None if cube.wavelengths is None else cube.wavelengths.tolist(),
        "fwhm_nm": None if cube.fwhm is None else cube.fwhm.tolist(),
        "crs": cube.crs,
        "transform": None if cube.transform is None else list(cube.transform),
        "nodata": nodata_in_json(cube.nodata),
        "nodata_share": float((~valid).mean()),
        "rows_looked_at": looked_at.shape[0],
    }


def render_info(facts: Mapping[str, Any]) -> str:
    """The facts of :func:`describe_cube` as aligned lines."""
    shape = facts["shape"]
    height, width, bands = shape["height"], shape["width"], shape["bands"]
    lines = {
        "cube": facts["name"],
        "source": facts["source"],
        "shape": f"{height} x {width} pixels, {bands} bands",
        "type": f"{facts['dtype']}, {facts['bytes'] / 1e6:.1f} MB",
        "range": _range(facts["range"], facts["gain"]),
        "wavelengths": _spectrum(facts["wavelengths_nm"], facts["fwhm_nm"]),
        "bad bands": facts["bad_bands"] or "none known",
        "constant": facts["constant_bands"] or "no band",
        "georeference": _georeference(facts["crs"], facts["transform"]),
        "nodata": _nodata(facts["nodata"], facts["nodata_share"]),
    }
    if facts["rows_looked_at"] < height:
        lines["looked at"] = f"{facts['rows_looked_at']} of {height} rows"
    return "\n".join(f"{key:<13} {shown(value)}" for key, value in lines.items())


def _thinned(cube: Cube) -> Cube:
    step = -(-cube.data.nbytes // _SCANNED_WHOLE)
    if step == 1:
        return cube
    mask = None if cube.mask is None else cube.mask[::step]
    return replace(cube, data=cube.data[::step], mask=mask)


def _range(bounds: list[float] | None, gain: float | None) -> str:
    if bounds is None:
        return "no valid value"
    text = f"{bounds[0]:g} to {bounds[1]:g}"
    return text if gain is None else f"{text}, times {gain:g}"


def _spectrum(centres: list[float] | None, widths: list[float] | None) -> str:
    if centres is None:
        return "unknown"
    text = f"{min(centres):g} to {max(centres):g} nm"
    return text if widths is None else f"{text}, FWHM {min(widths):g} to {max(widths):g} nm"


def _georeference(crs: str | None, transform: list[float] | None) -> str:
    if transform is None:
        return "none"
    a, b, c, d, e, f = transform
    name = "unnamed system" if crs is None else _system(crs)
    return f"{name}, pixel {np.hypot(a, d):g} x {np.hypot(b, e):g}, corner ({c:.10g}, {f:.10g})"


def _system(crs: str) -> str:
    """The name in a WKT, the first text in quotes; other text as it is."""
    return crs.split('"')[1] if '"' in crs else crs


def _nodata(value: float | str | None, share: float) -> str:
    number = "no number defined" if value is None else f"{float(value):g}"
    return f"{number}, {share:.2%} of the pixels"
