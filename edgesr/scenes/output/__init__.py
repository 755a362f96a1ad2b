"""Whole scenes, written block by block: complete or absent, resumable, with their metadata.

::

    check_target(target, meta)
    with BlockStore.open(target, meta, key={"source": ..., "model": ...}, resume=True) as store:
        for row, col in blocks:
            if (row, col) not in store.done:
                store.write(row, col, pixels)
        finish(store)
"""

from edgesr.scenes.output.finish import finish
from edgesr.scenes.output.meta import SceneMeta
from edgesr.scenes.output.store import BLOCK, BlockStore, interrupted
from edgesr.scenes.output.target import check_target, written_files

__all__ = [
    "BLOCK",
    "BlockStore",
    "SceneMeta",
    "check_target",
    "finish",
    "interrupted",
    "written_files",
]
