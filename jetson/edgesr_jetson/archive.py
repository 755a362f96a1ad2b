"""Archives that come out the same, byte for byte, whenever the same content goes in."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE, _PROGRAM_MODE = 0o644, 0o755


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``arrays`` by name; ``numpy.savez`` would store the time of day."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH)
            entry.external_attr = _FILE_MODE << 16
            archive.writestr(entry, buffer.getvalue())


def write_tar_gz(path: Path, folder: Path, top: str) -> None:
    """Pack the files of ``folder`` under the name ``top``, sorted, without times and owners."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in files:
            entry = tarfile.TarInfo(f"{top}/{file.relative_to(folder).as_posix()}")
            entry.size = file.stat().st_size
            entry.mode = _PROGRAM_MODE if file.name == "run.py" else _FILE_MODE
            with file.open("rb") as stream:
                archive.addfile(entry, stream)
