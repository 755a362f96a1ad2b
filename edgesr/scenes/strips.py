"""A large scene of an archive in strips: each fills its rows of the output's store.

Whoever then super-resolves the whole scene goes on with that store, where nothing is left to do but
to put the file together; so its bytes are those of a scene that was never cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgesr.cube.readers import open_cube
from edgesr.scenes.options import SceneOptions
from edgesr.scenes.upscale import SceneWork


def cut(source: str, target: str, options: Mapping[str, Any], pixels: int) -> list[tuple[int, int]]:
    """Begin the output of a scene of more than so many pixels, and say which strips it has.

    Returns:
        rows of the output's blocks: the first of each strip, and the one behind its last; none for
        a scene that is small enough, or that is written on the ground.
    """
    chosen = SceneOptions.of(dict(options))
    with open_cube(source, chosen.reading) as cube:
        part = chosen.part or cube.extent
    if part.pixels <= pixels or chosen.ortho:
        return []
    with SceneWork(source, chosen) as scene:
        rows = scene.begin(Path(target))
        most = max(1, pixels // (part.width * scene.block // scene.scale))
    count = -(-rows // most)
    bounds = [rows * number // count for number in range(count + 1)]
    return list(pairwise(bounds))


def upscale_strip(
    source: str, target: str, options: Mapping[str, Any], rows: tuple[int, int]
) -> None:
    """Make the blocks in these rows that are not there yet.

    Raises:
        OptionError: the output was not begun, or begun with another source, model or options.
    """
    with SceneWork(source, SceneOptions.of(dict(options))) as scene:
        scene.write_rows(Path(target), rows)
