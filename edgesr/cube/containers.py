"""Files that hold several arrays: MATLAB 5, MATLAB 7.3, HDF5 and .npz; and the bare .npy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.cube import Cube
from edgesr.cube.matlab5 import check_matlab5
from edgesr.cube.own import read_own
from edgesr.cube.reading import (
    Variable,
    bands_last,
    choose_variable,
    reading,
    require_memory_to_read,
)
from edgesr.cube.spectral import (
    is_bad_band_name,
    is_fwhm_name,
    is_wavelength_name,
    nanometres,
    unit_factor,
)
from edgesr.errors import DataError

_MATLAB_TYPES = {"single": "float32", "double": "float64", "logical": "uint8"}
_NODATA_ATTRIBUTES = ("Data_Ignore_Value", "_FillValue", "missing_value", "nodata")


def read_npy(path: Path) -> Cube:
    """Memory-map an array [H, W, B]; nothing is read before it is used."""
    with reading(path, "a NumPy array"):
        return Cube(np.load(path, mmap_mode="r", allow_pickle=False), path.stem, source=str(path))


def read_npz(path: Path, wanted: str | None = None) -> Cube:
    """Read a cube with all its metadata, as ``write_cube`` saves it, or any .npz archive.

    What an archive claims to hold is known before anything is unpacked, and only the cube and
    vectors beside it are.
    """
    with reading(path, "a NumPy archive"), np.load(path, allow_pickle=False) as archive:
        stored = _stored_arrays(archive)
        if wanted is None and {"edgesr_cube", "data"} <= stored.keys():
            for array in stored.values():
                require_memory_to_read(array.shape, np.dtype(array.dtype), path)
            return read_own(archive, path)

        def load(name: str) -> np.ndarray:
            require_memory_to_read(stored[name].shape, np.dtype(stored[name].dtype), path)
            values: np.ndarray = archive[name]
            return values

        numeric = {name: array for name, array in stored.items() if _is_numeric(array)}
        return _cube_of(numeric, load, wanted, path)


def _stored_arrays(archive: Any) -> dict[str, Variable]:
    """Shape and type of each array of an archive, from its first bytes."""
    found = {}
    for name in archive.files:
        member = name if name in archive.zip.namelist() else f"{name}.npy"
        with archive.zip.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
            found[name] = Variable(shape, dtype)
    return found


def read_matlab5(path: Path, wanted: str | None = None) -> Cube:
    """Read a MATLAB file of version 5 to 7.2; a field of a struct is named ``struct.field``."""
    import scipy.io

    with reading(path, "a MATLAB file"):
        check_matlab5(path)
        stored = scipy.io.whosmat(path)
        structs = [name for name, _, kind in stored if kind == "struct"]
        fields: dict[str, np.ndarray] = {}
        if structs:
            contents = scipy.io.loadmat(path, variable_names=structs, simplify_cells=True)
            fields = _flattened({name: contents[name] for name in structs})
        plain = {
            name: Variable(shape, _MATLAB_TYPES.get(kind, kind))
            for name, shape, kind in stored
            if kind in ("single", "double", "logical") or "int" in kind
        }
        variables = plain | {name: Variable(a.shape, a.dtype) for name, a in fields.items()}

        def load(name: str) -> np.ndarray:
            if name in fields:
                return fields[name]
            require_memory_to_read(plain[name].shape, np.dtype(plain[name].dtype), path)
            values: np.ndarray = scipy.io.loadmat(path, variable_names=[name])[name]
            return values

        return _cube_of(variables, load, wanted, path)


def read_hdf5(path: Path, wanted: str | None = None) -> Cube:
    """Read HDF5, NetCDF 4 or MATLAB 7.3, whose axes are stored in reverse and turned back here.

    Nodata comes from the attributes of the dataset, bands from a vector of wavelengths anywhere
    in the file that has the length of one axis.
    """
    import h5py

    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        datasets: dict[str, Any] = {}

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and item.ndim > 0:
                datasets[f"/{name}"] = item

        file.visititems(collect)  # follows neither soft nor external links
        datasets, elsewhere = _own_storage(datasets)
        if wanted is not None and (files := elsewhere.get(f"/{wanted.strip('/')}")):
            raise DataError(_elsewhere(path, wanted, files))
        if elsewhere and not any(len(item.shape) == 3 for item in datasets.values()):
            raise DataError(_elsewhere(path, *next(iter(elsewhere.items()))))
        matlab = path.suffix.lower() == ".mat"

        def is_reversed(item: Any) -> bool:
            return matlab or "MATLAB_class" in item.attrs

        def shape(item: Any) -> tuple[int, ...]:
            return item.shape[::-1] if is_reversed(item) else item.shape

        def load(name: str) -> np.ndarray:
            item = datasets[name]
            require_memory_to_read(item.shape, item.dtype, path)
            values: np.ndarray = item[()]
            return values.T if is_reversed(item) else values

        def attribute(name: str, keys: tuple[str, ...]) -> Any:
            attributes = datasets[name].attrs
            return next((attributes[key] for key in keys if key in attributes), None)

        variables = {name: Variable(shape(item), item.dtype) for name, item in datasets.items()}
        return _cube_of(variables, load, wanted, path, attribute)


def _own_storage(datasets: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Datasets whose values lie in the file itself, and the files that the others name."""
    own, elsewhere = {}, {}
    for name, item in datasets.items():
        files = [str(one[0]) for one in item.external or ()]
        if item.is_virtual:
            files += [one.file_name for one in item.virtual_sources() if one.file_name != "."]
        if files:
            elsewhere[name] = files
        else:
            own[name] = item
    return own, elsewhere


def _elsewhere(path: Path, name: str, files: list[str]) -> str:
    return (
        f"{path}: {name} keeps its values in another file ({files[0]!r}), which is not read; copy"
        " them into this one, such as with h5repack"
    )


def _cube_of(
    variables: Mapping[str, Variable],
    load: Callable[[str], np.ndarray],
    wanted: str | None,
    path: Path,
    attribute: Callable[[str, tuple[str, ...]], Any] = lambda name, keys: None,
) -> Cube:
    name = choose_variable(variables, wanted, path)
    data = load(name)

    def vectors(says: Callable[[str], bool]) -> dict[str, np.ndarray]:
        """Vectors that are called so and have the length of an axis of the cube."""
        return {
            other: load(other).ravel()
            for other, variable in variables.items()
            if says(other) and max(variable.shape, default=0) == np.prod(variable.shape)
            and max(variable.shape, default=0) in data.shape
        }  # fmt: skip

    centres = vectors(is_wavelength_name)
    data = bands_last(data, centres)

    def of_bands(found: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray] | tuple[None, None]:
        for other, values in found.items():
            if values.size == data.shape[-1]:
                return other, values.astype(np.float64)
        return None, None

    centre_name, wavelengths = of_bands(centres)
    factor = None
    if centre_name is not None and wavelengths is not None:
        unit = attribute(centre_name, ("Units", "units", "unit"))
        factor = unit_factor(wavelengths, unit.decode() if isinstance(unit, bytes) else unit)
    fwhm = of_bands(vectors(is_fwhm_name))[1]
    good = of_bands(vectors(is_bad_band_name))[1]
    nodata = attribute(name, _NODATA_ATTRIBUTES)
    gain = attribute(name, ("scale_factor",))
    return Cube(
        data=data,
        name=path.stem,
        wavelengths=None if wavelengths is None or factor is None else wavelengths * factor,
        fwhm=None if fwhm is None else nanometres(fwhm, "nm" if factor in (None, 1.0) else "um"),
        bad_bands=None if good is None else good == 0,
        nodata=None if nodata is None else float(np.ravel(nodata)[0]),
        gain=None if gain is None else float(np.ravel(gain)[0]),
        source=f"{path}:{name}",
    )


def _is_numeric(array: np.ndarray | Variable) -> bool:
    return np.dtype(array.dtype).kind in "iufb" and len(array.shape) > 0


def _flattened(contents: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Numeric arrays of nested structs, named ``struct.field``."""
    found: dict[str, np.ndarray] = {}
    for key, value in contents.items():
        if isinstance(value, Mapping):
            found |= _flattened(value, f"{prefix}{key}.")
        elif isinstance(value, np.ndarray) and _is_numeric(value):
            found[f"{prefix}{key}"] = value
    return found
