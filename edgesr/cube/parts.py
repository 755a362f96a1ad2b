"""Which files a cube consists of."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgesr.cube.raster import envi_data_file, envi_header
from edgesr.cube.readers import split_spec
from edgesr.errors import DataError

_ADDED = (".hdr", ".aux.xml", ".msk", ".ovr")
_INSTEAD = (".hdr", ".tfw")


def cube_files(spec: str | Path) -> list[Path]:
    """Return the files that reading ``spec`` may read: header, data, and what GDAL finds beside.

    ``spec`` is as :func:`edgesr.cube.read_cube` takes it; empty for what is no file.
    """
    path, _ = split_spec(spec)
    if not path.is_file():
        return []
    files = {path, envi_header(path) or path}
    with suppress(DataError):  # whoever reads it will say so
        files.add(envi_data_file(path))
    beside = {
        side
        for file in files
        for side in (
            *(file.with_name(file.name + suffix) for suffix in _ADDED),
            *(file.with_suffix(suffix) for suffix in _INSTEAD),
        )
    }
    return sorted(files | {side for side in beside if side.is_file()})
