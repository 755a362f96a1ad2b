"""What a format of whole scenes is, and the one registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
from edgesr_export.registry import Registry

from edgesr.scenes.output.meta import SceneMeta

if TYPE_CHECKING:
    from edgesr.scenes.output.store import BlockStore

F = TypeVar("F", bound="type[Format]")
Progress = Callable[[int, int], None]
"""Is told how many blocks of how many have been put into the final file."""


class Format(ABC):
    """One format that a scene is written in, first block by block, then as a whole.

    Attributes:
        name: of the format; also the name of the file that it is in.
        title: for people, such as "Cloud Optimized GeoTIFF".
        suffixes: of the files that are written so.
        copies: how often the pixels lie on the disk, about, while the file is put together.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    copies: ClassVar[int] = 2

    def files(self, target: Path) -> list[Path]:
        """Every file that is written for ``target``, in the order in which they appear."""
        return [target]

    @abstractmethod
    def check(self, target: Path, meta: SceneMeta) -> None:
        """Refuse what cannot be written so, before there is any pixel.

        Raises:
            DataError: what is known of the scene does not fit into the format.
            OptionError: what has to be installed is not.
        """

    @abstractmethod
    def encode(self, pixels: np.ndarray, meta: SceneMeta, block: int) -> bytes:
        """What is kept of a block ``pixels`` [h, w, B], at most ``block`` pixels wide and high.

        Compressed here, while the network is at work: putting together then only copies.
        """

    def added(self, store: BlockStore, row: int, col: int) -> None:  # noqa: B027
        """Go on with what depends on a block that has just been written."""

    @abstractmethod
    def assemble(self, store: BlockStore, folder: Path, progress: Progress) -> None:
        """Put the files together in ``folder``, under the names of :meth:`files`.

        The same bytes come of the same blocks, whatever was interrupted before.
        """


def register(kind: F) -> F:
    """Register the decorated class.

    Raises:
        ExportError: its name is taken.
        ValueError: it has no name, no title or no suffix.
    """
    if not all(getattr(kind, what, "") for what in ("name", "title", "suffixes")):
        raise ValueError("a format of scenes has a name, a title and suffixes")
    FORMATS.add(kind.name, kind())
    return kind


FORMATS: Registry[Format] = Registry(
    "format of scenes",
    "edgesr.scenes.output.formats",
    "edgesr.scene_formats",
    lambda _, kind: register(kind),
)
"""Formats by name, those of installed packages among them."""
