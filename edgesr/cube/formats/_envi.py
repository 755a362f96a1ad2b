"""ENVI headers: which one belongs to which data file, what it says, and where the image lies."""

from __future__ import annotations

import math
import re
from codecs import BOM_UTF8
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgesr.errors import DataError, shown

_DATA_SUFFIXES = (
    "", ".img", ".raw", ".dat", ".bsq", ".bil", ".bip", ".bin", ".cube", ".sli", ".hyspex", ".rfl",
    ".pix",
)  # fmt: skip
_TYPES = {
    "1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2", "13": "u4", "14": "i8",
    "15": "u8",
}  # fmt: skip
_INTERLEAVES = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}
"""Which of height, width and bands the axes of the stored array are."""
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
    content = path.read_bytes()
    if not begins_header(content):
        raise DataError(f"{path}: no ENVI header, whose first word is ENVI; name the right one")
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return {" ".join(key.lower().split()): value.strip() for key, value in _FIELD.findall(text)}


def begins_header(start: bytes) -> bool:
    """Whether a file that starts so is an ENVI header."""
    return start.removeprefix(BOM_UTF8).lstrip().startswith(b"ENVI")


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
    that header's. Where none has a usual suffix, any of the header's name that is exactly as long
    as it says is taken.

    Raises:
        DataError: it is missing, or could be any of several.
    """
    if path.suffix.lower() != ".hdr":
        return path
    stem = path.with_suffix("")
    if stem.suffix and stem.is_file():  # this is the header of its full name
        return stem
    spelled = [one for suffix in _DATA_SUFFIXES for one in (suffix, suffix.upper())]
    usual = [Path(f"{stem}{suffix}") for suffix in dict.fromkeys(spelled)]
    found = [one for one in usual if one.is_file() and find_header(one) == path]
    if not found:
        beside = sorted(path.parent.glob(f"{escape(stem.name)}.*"))
        found = [one for one in beside if find_header(one) == path and is_described(one)]
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


@dataclass(frozen=True)
class Layout:
    """How the values of a plain ENVI file lie in it.

    Attributes:
        shape: height, width and bands.
        axes: which of these the axes of the stored array are.
        dtype: of the values, with their byte order.
        offset: bytes before them.
    """

    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    dtype: np.dtype
    offset: int

    @classmethod
    def of(cls, header: dict[str, str], path: Path) -> Self:
        """What a header says.

        Raises:
            DataError: a size, type, order or offset that is missing, or that there is not.
        """

        def number(key: str, least: int, usual: str = "") -> int:
            text = header.get(key, usual)
            if not re.fullmatch(r"\d{1,18}", text) or int(text) < least:
                raise _wrong(path, key, text, f"a whole number of at least {least}")
            return int(text)

        code, interleave = header.get("data type", ""), header.get("interleave", "bsq").lower()
        if interleave not in _INTERLEAVES:
            raise _wrong(path, "interleave", interleave, f"one of {', '.join(_INTERLEAVES)}")
        if code not in _TYPES:
            raise _wrong(path, "data type", code, "that of real numbers, 1 to 5 or 12 to 15")
        order = header.get("byte order", "0")
        if order not in ("0", "1"):
            raise _wrong(path, "byte order", order, "0 or 1")
        return cls(
            (number("lines", 1), number("samples", 1), number("bands", 1)),
            _INTERLEAVES[interleave],
            np.dtype(_TYPES[code]).newbyteorder(">" if order == "1" else "<"),
            number("header offset", 0, "0"),
        )

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def mapped(self, path: Path) -> np.ndarray:
        """The pixels [H, W, B] of a file, memory-mapped, read-only."""
        stored = tuple(self.shape[axis] for axis in self.axes)
        back = [self.axes.index(axis) for axis in range(3)]
        return np.memmap(path, self.dtype, mode="r", offset=self.offset, shape=stored).transpose(
            back
        )


def is_described(path: Path) -> bool:
    """Whether a header beside a file describes it to the byte: it is no other format, then."""
    header = find_header(path)
    if header is None:
        return False
    with suppress(Exception):  # a damaged header describes nothing
        return Layout.of(parse_header(header), header).size == path.stat().st_size
    return False


def _wrong(path: Path, key: str, received: str, needed: str) -> DataError:
    said = f"is {shown(received[:40])}" if received else "is missing"
    return DataError(f"{path}: {key} {said} in its ENVI header; it has to be {needed}")


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
