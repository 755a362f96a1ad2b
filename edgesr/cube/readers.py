"""One door for every format: the content of a file decides how it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesr.cube import sample
from edgesr.cube.containers import read_hdf5, read_matlab5, read_npy, read_npz
from edgesr.cube.cube import Cube
from edgesr.cube.raster import envi_header, read_envi, read_geotiff
from edgesr.cube.reading import with_nodata_mask, without_impossible
from edgesr.errors import DataError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SEVERAL_ARRAYS = (".mat", ".h5", ".hdf5", ".he5", ".hdf", ".nc", ".npz")
FORMATS = "ENVI (.hdr), GeoTIFF, MATLAB 5 or 7.3, HDF5, .npy or .npz"


def read_cube(spec: str | Path) -> Cube:
    """Read a cube: data [H, W, B] in native numbers with all metadata that the file has.

    ``spec`` is a path; ``file.mat:variable`` or ``file.h5:/path/in/it`` where a file holds more
    than one cube; or ``indian_pines``, the embedded sample. ``.npy`` and ENVI are memory-mapped.
    Metadata that cannot be, such as a wavelength of 0, is left out with a warning on stderr.

    Raises:
        DataError: the file is missing, damaged, of an unknown format, or does not hold exactly one
            array of three axes; the message lists what it holds.
    """
    if str(spec) == sample.NAME and not Path(spec).exists():
        return sample.indian_pines()
    path, wanted = split_spec(spec)
    if not path.exists():
        raise DataError(
            f"{path} does not exist; check the path, or take {sample.NAME}, the embedded sample"
        )
    if not path.is_file():
        raise DataError(f"{path} is a folder; name the file of the cube in it")
    with np.errstate(over="ignore"):  # what exceeds float64 in nanometres is dropped as infinite
        cube = without_impossible(_read(path, wanted), path)
    return with_nodata_mask(cube)


def split_spec(spec: str | Path) -> tuple[Path, str | None]:
    """Path and, after a colon, the variable: ``cube.mat:data`` -> (cube.mat, data)."""
    whole = Path(spec)
    text = str(spec)
    before, colon, after = text.rpartition(":")
    if not whole.exists() and colon and after and before.lower().endswith(_SEVERAL_ARRAYS):
        return Path(before), after
    return whole, None


def _read(path: Path, wanted: str | None) -> Cube:
    try:
        with path.open("rb") as file:
            start = file.read(520)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check its rights") from error
    if not start:
        raise DataError(f"{path}: the file is empty; copy it again")
    if start.startswith(_HDF5) or start[512:].startswith(_HDF5):
        return read_hdf5(path, wanted)
    if start.startswith(b"PK"):
        return read_npz(path, wanted)
    if path.suffix.lower() == ".mat":
        return read_matlab5(path, wanted)
    if start.startswith(b"\x93NUMPY"):
        return read_npy(path)
    if start.startswith(_TIFF):
        return read_geotiff(path)
    if start.lstrip().startswith(b"ENVI") or envi_header(path) is not None:
        return read_envi(path)
    raise DataError(f"{path}: neither {FORMATS}; convert it, or, for ENVI, put its .hdr beside it")
