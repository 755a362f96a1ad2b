"""From the blocks of a scene to the final file, which appears complete."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from edgesr.scenes.output.formats import Progress
from edgesr.scenes.output.stac import stac_item, stac_path
from edgesr.scenes.output.store import BlockStore


def finish(store: BlockStore, progress: Progress = lambda done, total: None) -> list[Path]:
    """Put the blocks together, move the result to its place, and remove the store.

    Whenever it is interrupted, opening the store with ``resume`` and calling this again ends with
    the same bytes.

    Args:
        store: with every block of the scene.
        progress: is told how many blocks of how many are in the final file.

    Returns:
        The files that were written.

    Raises:
        DataError: the disk is full, or cannot be written.
        ValueError: blocks are missing.
    """
    if store.missing:
        rows, cols = store.grid
        raise ValueError(
            f"{len(store.missing)} of {rows * cols} blocks of {store.target} are missing"
        )
    if not store.finished:
        with store.draft() as draft:
            store.format.assemble(store, draft, progress)
            if store.stac:
                item = json.dumps(stac_item(store.meta, store.target), indent=2)
                (draft / stac_path(store.target).name).write_text(item + "\n", encoding="utf-8")
            os.sync()  # the only other copy is removed next
            for file in store.files:
                _move(draft / file.name, file, store.folder / "replaced")
    store.remove()
    return store.files


def _move(source: Path, target: Path, replaced: Path) -> None:
    """Rename, also where a folder is in the way, which cannot be replaced in one step."""
    if target.is_dir():
        shutil.rmtree(replaced, ignore_errors=True)
        target.replace(replaced)
    source.replace(target)
