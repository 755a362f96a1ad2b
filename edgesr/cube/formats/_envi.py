"""ENVI headers: which one belongs to which data file, what it says, and where the image lies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgesr.errors import DataError, shown

_DATA_SUFFIXES = (
    "", ".img", ".raw", ".dat", ".bsq", ".bil", ".bip", ".bin", ".cube", ".sli", ".hyspex", ".rfl",
    ".pix",
)  # fmt: skip
_LAYOUT = {
    "file compression": "compressed pixels",
    "major frame offsets": "gaps between their bands or lines",
    "minor frame offsets": "gaps between their lines or bands",
    "read procedures": "a way of reading of their own",
}
_NOT_PLAIN = ("virtual", "meta", "tiff", "jpeg", "nitf", "hdf", "mosaic")
_LARGEST_HEADER = 1 << 24  # bytes
_FIELD = re.compile(r"^[ \t]*([^=;{}\n]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", re.MULTILINE)
_PLACE = (
    "map info", "projection info", "coordinate system string", "pixel size", "geo points",
    "rpc info",
)  # fmt: skip


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

    A file that has a header of its own full name beside it, such as ``a.img`` and ``a.img.hdr``, is
    that header's.

    Raises:
        DataError: it is missing, or could be any of several.
    """
    if path.suffix.lower() != ".hdr":
        return path
    stem = path.with_suffix("")
    if stem.suffix and stem.is_file():  # this is the header of its full name
        return stem
    spelled = [one for suffix in _DATA_SUFFIXES for one in (suffix, suffix.upper())]
    found = [Path(f"{stem}{suffix}") for suffix in dict.fromkeys(spelled)]
    found = [one for one in found if one.is_file() and find_header(one) == path]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{path}: the ENVI header of {' or '.join(one.name for one in found)}; name the data "
            "file instead"
        )
    raise DataError(
        f"{path}: the data file of this ENVI header is missing; put it beside the header with the "
        f"same name, such as {stem.name}.img"
    )


def check_layout(header: dict[str, str], path: Path) -> None:
    """Refuse a file whose pixels lie otherwise than one after the other.

    Raises:
        DataError: it is compressed, has gaps between its lines or bands, or is no plain file.
    """
    for key, what in _LAYOUT.items():
        value = header.get(key, "").strip("{} ")
        if value and any(part.strip(" ,0.") for part in value.split(",")):
            raise DataError(
                f"{path}: ENVI files with {what} ({key} = {shown(value)}) cannot be read; save it "
                "as a plain ENVI file, or as GeoTIFF"
            )
    kind = header.get("file type", "").lower()
    if any(word in kind for word in _NOT_PLAIN):
        raise DataError(
            f"{path}: its ENVI header describes a file of type {shown(kind)}, which is not read by "
            "it; name that file itself, or save it as a plain ENVI file"
        )


def header_georeference(header: dict[str, str]) -> dict[str, Any]:
    """Where the image of a header lies, as fields of a cube; GDAL understands it.

    Of an image of a few pixels in memory, so that GDAL looks for no file.
    """
    place = [f"{key} = {header[key]}" for key in _PLACE if key in header]
    if not place:
        return {}
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
        del found["nodata"]
        return found
