"""Which format a file is written in, and whether it can be; asked before any work."""

from __future__ import annotations

from pathlib import Path

from edgesr.errors import OptionError
from edgesr.scenes.output.formats import FORMATS, Format
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.stac import stac_item, stac_path


def format_of(target: Path) -> Format:
    """The format that the suffix of ``target`` stands for.

    Raises:
        OptionError: it stands for none.
    """
    formats = FORMATS.load().values()
    for one in formats:
        if target.suffix.lower() in one.suffixes:
            return one
    known = ", ".join(suffix for one in formats for suffix in one.suffixes)
    raise OptionError(
        f"{target}: cannot write {target.suffix or 'a file without suffix'} block by block; choose"
        f" one of {known}"
    )


def check_target(target: Path, meta: SceneMeta, *, stac: bool = False) -> None:
    """Refuse what cannot be written to ``target``, before there is any pixel.

    Args:
        target: the final file.
        meta: of the scene.
        stac: whether a STAC item is written beside it, too.

    Raises:
        OptionError: the suffix stands for no format, or what it needs is not installed.
        DataError: what is known of the scene does not fit into the format, or not into an item.
    """
    format_of(target).check(target, meta)
    if stac:
        stac_item(meta, target)


def written_files(target: Path, *, stac: bool = False) -> list[Path]:
    """Every file that is written for ``target``, in the order in which they appear."""
    return [*format_of(target).files(target), *([stac_path(target)] if stac else [])]
