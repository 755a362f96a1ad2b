"""ENVI headers: which one belongs to which data file, what it says, and where the image lies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgesr.errors import DataError

_DATA_SUFFIXES = (
    "", ".img", ".raw", ".dat", ".bsq", ".bil", ".bip", ".bin", ".cube", ".sli", ".hyspex", ".rfl",
    ".pix",
)  # fmt: skip
_LARGEST_HEADER = 1 << 24  # bytes
_FIELD = re.compile(r"^[ \t]*([^=;{}\n]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", re.MULTILINE)
_PLACE = ("map info", "projection info", "coordinate system string", "pixel size")


def parse_header(path: Path) -> dict[str, str]:
    """The fields of an ENVI header: keys in lower case, with single spaces; lists in braces.

    Raises:
        DataError: it is no ENVI header.
    """
    if path.stat().st_size > _LARGEST_HEADER:
        raise DataError(f"{path}: too large for an ENVI header; name the right one")
    text = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
    if not text.lstrip("\ufeff \t\n").startswith("ENVI"):
        raise DataError(f"{path}: no ENVI header, whose first word is ENVI; name the right one")
    return {
        " ".join(key.lower().split()): value.strip()
        for key, value in _FIELD.findall(text.replace("\r", "\n"))
    }


def find_header(path: Path) -> Path | None:
    """The ENVI header that belongs to a data file: that of its full name first; or None."""
    for named in (path.name, path.stem):
        for suffix in (".hdr", ".HDR", ".Hdr"):
            candidate = path.with_name(named + suffix)
            if candidate != path and candidate.is_file():
                return candidate
    return None


def data_file(path: Path) -> Path:
    """The data file of an ENVI header; a data file is returned as it is.

    Raises:
        DataError: it is missing.
    """
    if path.suffix.lower() != ".hdr":
        return path
    stem = path.with_suffix("")
    for suffix in _DATA_SUFFIXES:
        for candidate in (Path(f"{stem}{suffix}"), Path(f"{stem}{suffix.upper()}")):
            if candidate.is_file():
                return candidate
    raise DataError(
        f"{path}: the data file of this ENVI header is missing; put it beside the header with the "
        f"same name, such as {stem.name}.img"
    )


def header_georeference(header: dict[str, str]) -> dict[str, Any]:
    """Coordinate system and transform of a header, as fields of a cube; GDAL understands them.

    Of an image of a few pixels in memory, so that GDAL looks for no file.
    """
    place = [f"{key} = {header[key]}" for key in _PLACE if key in header]
    if not place:
        return {"crs": None, "transform": None}
    import uuid

    from rasterio.io import MemoryFile

    from edgesr.cube.formats._gdal import careful, georeference, quiet

    lines = ["ENVI", "samples = 4", "lines = 4", "bands = 1", "data type = 1", *place, ""]
    folder = uuid.uuid4().hex
    with (
        careful(Path(folder)),
        quiet(),
        MemoryFile(bytes(16), dirname=folder, filename="place.img") as image,
        MemoryFile("\n".join(lines).encode(), dirname=folder, filename="place.hdr"),
        image.open(driver="ENVI") as source,
    ):
        found = georeference(source)
        return {"crs": found["crs"], "transform": found["transform"]}
