"""MATLAB files of version 5 to 7.2; those of 7.3 are HDF5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.formats._arrays import Arrays, is_numeric
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.formats._matlab5_check import check_matlab5
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.reading import Variable, require_memory_to_read

_TYPES = {"single": "float32", "double": "float64", "logical": "uint8"}


@register
class Matlab5(Reader):
    """Reads the one array of three axes; a field of a struct is named ``struct.field``."""

    name, title, kind, order = "matlab5", "MATLAB 5", "a MATLAB file", 30
    suffixes = (".mat",)
    options = ("axes", "wavelength_unit")

    def recognises(self, path: Path, start: bytes) -> bool:
        return path.suffix.lower() == ".mat"

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        import scipy.io

        in_structs = check_matlab5(path)
        stored = scipy.io.whosmat(path)
        structs = [name for name, _, kind in stored if kind == "struct"]
        fields: dict[str, np.ndarray] = {}
        if structs:  # SciPy reads a struct with all that lies in it
            require_memory_to_read((in_structs,), np.dtype(np.uint8), path)
            contents = scipy.io.loadmat(path, variable_names=structs, simplify_cells=True)
            fields = _flattened({name: contents[name] for name in structs})
        plain = {
            name: Variable(shape, _TYPES.get(kind, kind))
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

        return Arrays(path, variables, load).open(wanted, options)


def _flattened(contents: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Numeric arrays of nested structs, named ``struct.field``."""
    found: dict[str, np.ndarray] = {}
    for key, value in contents.items():
        if isinstance(value, Mapping):
            found |= _flattened(value, f"{prefix}{key}.")
        elif isinstance(value, np.ndarray) and is_numeric(value):
            found[f"{prefix}{key}"] = value
    return found
