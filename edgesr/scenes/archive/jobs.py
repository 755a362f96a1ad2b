"""From sources to jobs: every scene has one output, and no two scenes the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgesr.cube.readers import split_spec
from edgesr.errors import OptionError, shown
from edgesr.scenes.archive.sources import Source

LISTED = 5
"""Names that a message gives as examples."""


@dataclass(frozen=True)
class SceneJob:
    """One scene.

    Attributes:
        id: its name: the output within the archive, without suffix.
        source: scene to read, as :func:`edgesr.cube.read_cube` takes it; absolute.
        target: file or folder to write; absolute.
        options: of the function that super-resolves it, by name: plain values.
        split: pixels of the source beyond which the scene is cut into strips; None never cuts it.
        strip: rows of the output's blocks that alone are made: first, and the one behind the last;
            None for the whole scene.
        spent: seconds that its strips have taken.
    """

    id: str
    source: str
    target: str
    options: Mapping[str, Any]
    split: int | None = None
    strip: tuple[int, int] | None = None
    spent: float = 0.0


def make_jobs(
    sources: Iterable[Source],
    out: Path,
    suffix: str,
    options: Mapping[str, Any],
    split: int | None = None,
) -> list[SceneJob]:
    """Give every source its output ``out/STEM.SUFFIX``, or where the list wants it.

    Args:
        sources: scenes, in the order in which they will be done.
        out: folder of the archive.
        suffix: of outputs whose source does not name one, such as ".tif".
        options: the same for every scene.
        split: see :class:`SceneJob`.

    Raises:
        OptionError: two sources have one output, or a list wants an output outside of ``out``.
    """
    sources_of: dict[str, list[str]] = {}
    jobs = []
    for source in sources:
        name = _output(source, suffix)
        id = str(name.with_suffix(""))
        sources_of.setdefault(id, []).append(source.path)
        jobs.append(SceneJob(id, source.path, str(out.absolute() / name), dict(options), split))
    twice = [f"{shown(id)} of {' and '.join(all)}" for id, all in sources_of.items() if all[1:]]
    if twice:
        raise OptionError(
            f"{len(twice)} outputs have several sources: {examples(twice)}; give each a name of its"
            " own, in a .csv with the columns path and output"
        )
    return jobs


def examples(texts: list[str]) -> str:
    """The first few of many, for a message."""
    more = len(texts) - LISTED
    return "; ".join(texts[:LISTED]) + (f"; and {more} more" if more > 0 else "")


def _output(source: Source, suffix: str) -> PurePosixPath:
    if source.output is None:
        path, variable = split_spec(source.path)
        return PurePosixPath(
            path.stem + (f"_{PurePosixPath(variable).name}" if variable else "") + suffix
        )
    name = PurePosixPath(source.output)
    hidden = any(part.startswith(".") for part in name.parts)  # also "..", and what edgesr keeps
    if name.is_absolute() or hidden or not name.name or "\0" in source.output:
        raise OptionError(
            f"the output {shown(source.output)!r} of {source.path} does not lie in the archive;"
            " name a file relative to it, without a dot at its start"
        )
    return name if name.suffix == suffix else name.with_name(name.name + suffix)
