"""NumPy archives: those that ``write_cube`` saves, and any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgesr.cube.formats._arrays import Arrays, is_numeric
from edgesr.cube.formats._base import Reader, register
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions
from edgesr.cube.own import read_own
from edgesr.cube.reading import Variable, require_memory_to_read

_HEADER = 65_536  # bytes; one of NumPy has about 100


@register
class Npz(Reader):
    """Reads a cube with all its metadata, as ``write_cube`` saves it, or any archive.

    What an archive claims to hold is known before anything is unpacked, and only the cube and
    vectors beside it are.
    """

    name, title, kind, order = "npz", ".npz", "a NumPy archive", 20
    suffixes = (".npz",)
    options = ("axes", "wavelength_unit")

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(b"PK")

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        with np.load(path, allow_pickle=False) as archive:
            stored = stored_arrays(archive)
            if wanted is None and {"edgesr_cube", "data"} <= stored.keys():
                for array in stored.values():
                    require_memory_to_read(array.shape, np.dtype(array.dtype), path)
                return OpenCube.of(read_own(archive, path))

            def load(name: str) -> np.ndarray:
                require_memory_to_read(stored[name].shape, np.dtype(stored[name].dtype), path)
                values: np.ndarray = archive[name]
                return values

            numeric = {name: array for name, array in stored.items() if is_numeric(array)}
            return Arrays(path, numeric, load).open(wanted, options)


def stored_arrays(archive: Any) -> dict[str, Variable]:
    """Shape and type of each array of an archive, from its first bytes."""
    found = {}
    for name in archive.files:
        member = name if name in archive.zip.namelist() else f"{name}.npy"
        with archive.zip.open(member) as file:
            version = np.lib.format.read_magic(file)
            if int.from_bytes(file.peek(4)[: 2 if version == (1, 0) else 4], "little") > _HEADER:
                raise ValueError(f"the header of {name!r:.80} is longer than {_HEADER} bytes")
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
            found[name] = Variable(shape, dtype)
    return found
