"""One door for every format: the content of a file decides how it is read."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np

from edgesr.cube import sample
from edgesr.cube.cube import Cube
from edgesr.cube.formats import READERS, Reader
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.reading import reading, with_nodata_mask, without_impossible
from edgesr.errors import DataError, OptionError, root_cause
from edgesr.stored import require_file

_VIRTUAL = re.compile(r"/vsicurl/https?://\S+|/vsis3/\S+", re.IGNORECASE)
_STARTS = 520  # bytes; MATLAB 7.3 has 512 of its own before those that tell what it is


def read_cube(spec: str | Path, options: ReadOptions | None = None) -> Cube:
    """Read a cube: data [H, W, B] in native numbers with all metadata that the file has.

    ``spec`` is a path; ``file.mat:variable`` or ``file.h5:/path/in/it`` where a file holds more
    than one cube; the address of a GeoTIFF (``https://``, ``s3://``, or GDAL's ``/vsicurl/`` and
    ``/vsis3/``); or ``indian_pines``, the embedded sample. ``.npy`` and ENVI are memory-mapped.
    Metadata that cannot be, such as a wavelength of 0, is left out with a warning on stderr.
    ``options`` say what is taken instead of what the file says.

    Raises:
        DataError: the file is missing, damaged, of an unknown format, or does not hold exactly one
            array of three axes; the message lists what it holds.
        OptionError: an option that the format of the file leaves no choice of.
    """
    with open_cube(spec, options) as opened:
        return with_nodata_mask(opened.whole())


def open_cube(spec: str | Path, options: ReadOptions | None = None) -> OpenCube:
    """Open a cube, as :func:`read_cube` would read it, but none of its pixels.

    Windows are read from ENVI, GeoTIFF, HDF5, Zarr, ``.npy`` and the products of satellites; files
    of other formats are read whole at once, as far as memory goes.

    Raises:
        DataError, OptionError: as :func:`read_cube`.
    """
    options = options or ReadOptions()
    if str(spec) == sample.NAME and not Path(spec).exists():
        _check_options(options, (), sample.NAME)
        return _finished(OpenCube.of(sample.indian_pines()), spec, options)
    address = gdal_address(str(spec))
    if address is not None:
        _check_options(options, READERS["geotiff"].options, str(spec))
        return _finished(_open_remote(str(spec), address, options), spec, options)
    path, wanted = split_spec(spec)
    if not path.exists():
        raise DataError(
            f"{path} does not exist; check the path, or take {sample.NAME}, the embedded sample"
        )
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is neither a file nor a folder; name the file of the cube")
    reader = find_reader(path, wanted)
    if reader is None and path.is_dir():
        raise DataError(f"{path} is a folder; name the file of the cube in it")
    if reader is None:
        raise DataError(_unknown(path))
    _check_options(options, reader.options, f"{path} ({reader.title})")
    kind = reader.kind or reader.title
    with np.errstate(over="ignore"):  # what exceeds float64 in nanometres is dropped as infinite
        with reading(path, kind):
            opened = reader.open(path, wanted, options)
            beside = [file for file in reader.files(path) if file != path and file.is_file()]
        opened = replace(opened, files=(path, *dict.fromkeys(beside)), kind=kind)
        return _finished(without_impossible(opened, path), spec, options)


def gdal_address(spec: str) -> str | None:
    """What GDAL calls the address of a file on another machine; None for anything else."""
    if _VIRTUAL.fullmatch(spec):
        return spec
    if spec.lower().startswith(("https://", "http://")):
        return f"/vsicurl/{spec}"
    return f"/vsis3/{spec[5:]}" if spec.lower().startswith("s3://") else None


def _open_remote(spec: str, address: str, options: ReadOptions) -> OpenCube:
    """A GeoTIFF of another machine, of which no more is asked for than what is read."""
    from rasterio.errors import RasterioError

    from edgesr.cube.formats.geotiff import open_tiff

    try:
        opened = open_tiff(address, options)
    except RasterioError as error:
        raise DataError(
            f"{spec}: cannot be opened as a GeoTIFF ({root_cause(error)}); check the address, or "
            "download it"
        ) from error
    parts = urlsplit(spec.removeprefix("/vsicurl/"))
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")  # without any key
    name = PurePosixPath(parts.path).stem
    opened = replace(opened, name=name, source=shown.geturl(), kind="a GeoTIFF")
    return without_impossible(opened, spec)


def _finished(opened: OpenCube, spec: str | Path, options: ReadOptions) -> OpenCube:
    nodata = opened.nodata if options.nodata is None else options.nodata
    return replace(opened, spec=spec, options=options, nodata=nodata)


def _check_options(options: ReadOptions, obeyed: tuple[str, ...], what: str) -> None:
    for field in fields(options):
        if field.name not in ("nodata", *obeyed) and getattr(options, field.name) is not None:
            raise OptionError(
                f"{what} says itself what its {field.name.replace('_', ' ')} is; "
                f"leave out --{field.name.replace('_', '-')}"
            )


def split_spec(spec: str | Path) -> tuple[Path, str | None]:
    """Path and, after a colon, the variable: ``cube.mat:data`` -> (cube.mat, data)."""
    whole = Path(spec)
    text = str(spec)
    before, colon, after = text.rpartition(":")
    if not whole.exists() and colon and after and before.lower().endswith(_several_arrays()):
        return Path(before), after
    return whole, None


def find_reader(path: Path, wanted: str | None = None) -> Reader | None:
    """The first reader, by order, that recognises a file or folder; None where none does.

    Where a variable is ``wanted``, those are asked whose files hold several.

    Raises:
        DataError: the file cannot be opened, or is empty.
    """
    folder = path.is_dir()
    start = b"" if folder else _start(path)
    readers = sorted(READERS.load().values(), key=lambda reader: (reader.order, reader.name))
    asked = [
        reader
        for reader in readers
        if reader.folders == folder and (wanted is None or reader.suffixes)
    ]
    return next((reader for reader in asked if reader.recognises(path, start)), None)


def _start(path: Path) -> bytes:
    """The first bytes of a file."""
    try:
        require_file(path)
        with path.open("rb") as file:
            start = file.read(_STARTS)
    except ValueError as error:  # a pipe, at which one would wait
        raise DataError(f"{path}: {error}; name the file of the cube") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check its rights") from error
    if not start:
        raise DataError(f"{path}: the file is empty; copy it again")
    return start


def _several_arrays() -> tuple[str, ...]:
    return tuple(suffix for reader in READERS.load().values() for suffix in reader.suffixes)


def _unknown(path: Path) -> str:
    readers = [reader for reader in READERS.load().values() if not reader.base]
    *most, last = (reader.title for reader in readers)
    advice = "".join(f", or, {reader.advice}" for reader in readers if reader.advice)
    return f"{path}: neither {', '.join(most)} or {last}; convert it{advice}"
