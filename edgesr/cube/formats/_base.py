"""What a reader is, and the one registry of readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, TypeVar

from edgesr_export.registry import Registry

from edgesr.cube.cube import Cube
from edgesr.cube.opened import OpenCube
from edgesr.cube.options import ReadOptions

R = TypeVar("R", bound="type[Reader]")


class Reader(ABC):
    """One format of cubes.

    Attributes:
        name: of the reader; also the name of the file that it is in.
        title: for people, in the list of all formats, such as "GeoTIFF".
        kind: what a damaged file "cannot be read as", such as "a GeoTIFF"; the title by default.
        order: in which readers are asked whether they know a file; of equals by name.
        base: reader of the format that a product is stored in; it stands for it in the list.
        suffixes: of files that may hold several arrays, of which ``file:variable`` names one.
        folders: whether its cubes are folders; it is asked about these alone, with no first bytes.
        advice: what else to do about a file that no reader knows, such as "put X beside it".
        options: fields of :class:`ReadOptions` that :meth:`open` obeys, ``axes`` and
            ``wavelength_unit``; others are refused. Nodata is replaced for every reader.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[str] = ""
    order: ClassVar[int] = 100
    base: ClassVar[str] = ""
    suffixes: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[bool] = False
    advice: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def recognises(self, path: Path, start: bytes) -> bool:
        """Whether a file is of this format, by its name and its first 520 bytes (all, if fewer)."""

    def open(self, path: Path, wanted: str | None, options: ReadOptions) -> OpenCube:
        """Open a file that is recognised: what it says of its pixels [H, W, B], none of them read.

        A reader has this or :meth:`read`, which it calls by default, so that all is read at once.
        ``wanted`` is the variable behind a colon, if one was given. Whatever is raised becomes one
        line that says the file cannot be read; :class:`edgesr.errors.DataError` is that line.
        """
        return OpenCube.of(self.read(path, wanted))

    def read(self, path: Path, wanted: str | None) -> Cube:
        """Read a file that is recognised: pixels [H, W, B] as stored, and what it says of them."""
        with self.open(path, wanted, ReadOptions()) as opened:
            return opened.whole()

    def files(self, path: Path) -> list[Path]:
        """Every file that :meth:`read` may read for ``path``; those that do not exist are ignored.

        No command writes to them.
        """
        return [path]


def register(kind: R) -> R:
    """Register the decorated class.

    Raises:
        ExportError: its name is taken.
        ValueError: it has no name or no title, or neither opens nor reads.
    """
    if not (getattr(kind, "name", "") and getattr(kind, "title", "")):
        raise ValueError("a reader has a name and a title")
    if kind.open is Reader.open and kind.read is Reader.read:
        raise ValueError("a reader has a method open or read")
    READERS.add(kind.name, kind())
    return kind


READERS: Registry[Reader] = Registry(
    "reader", "edgesr.cube.formats", "edgesr.readers", lambda _, kind: register(kind)
)
"""Readers by name, those of installed packages among them."""
