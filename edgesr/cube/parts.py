"""Which files a cube consists of."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgesr.cube.readers import find_reader, split_spec
from edgesr.cube.reading import reading
from edgesr.errors import DataError


def cube_files(spec: str | Path) -> list[Path]:
    """Return the files that reading ``spec`` may read: those beside it included, such as a header.

    ``spec`` is as :func:`edgesr.cube.read_cube` takes it; empty for what is no file.
    """
    path, wanted = split_spec(spec)
    if not path.exists():
        return []
    reader = None
    with suppress(DataError):  # whoever reads it will say so
        reader = find_reader(path, wanted)
    if reader is None:
        return [path] if path.is_file() else []
    with reading(path, reader.title):
        files = {path, *reader.files(path)}
    return sorted(file for file in files if file.is_file())
