"""Compress a network: one call from Python, or ``python -m edgesr.compress``.

The work is in :mod:`edgesr.compress.pipeline`, imported when it starts, so that help answers at
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgesr.recipe.recipes import CompressRecipe


def compress(
    recipe: CompressRecipe | None = None,
    output: Path | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    reads: Sequence[Path] = (),
) -> dict[str, Any]:
    """Replace a network's upsampler by a smaller one, measure everything, write a run folder.

    Args:
        recipe: what to compress and how far; None is the embedded default.
        output: folder for ``student.safetensors``, ``model.onnx``, ``recipe.toml`` and
            ``report.json``; None is ``runs/<date>-<time>``.
        overwrite: replace an earlier run in that folder, once this one is complete.
        resume: finish the interrupted run in that folder.
        reads: inputs beside those that the recipe names, such as its own file.

    Returns:
        The content of ``report.json``; its keys are described in ``edgesr/report/schema.json``.

    Raises:
        EdgesrError: whatever the user can mend; nothing is written then and an earlier run stays,
            but where networks were trained already and the same options may do, the run waits to be
            resumed.
    """
    from edgesr.compress.pipeline import run

    return run(recipe or CompressRecipe(), output, overwrite=overwrite, resume=resume, reads=reads)
