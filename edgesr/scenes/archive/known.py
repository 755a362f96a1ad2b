"""What of an archive is there already, and whether the rest can be done without a loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr.cube.parts import cube_files
from edgesr.cube.readers import split_spec
from edgesr.cube.writers import written_files
from edgesr.errors import DataError, OptionError
from edgesr.outputs import check_outputs
from edgesr.progress import log
from edgesr.report.wording import plural
from edgesr.scenes.archive.jobs import SceneJob, examples
from edgesr.scenes.archive.model import Done
from edgesr.scenes.archive.receipts import Receipts


@dataclass(frozen=True)
class Known:
    """What an archive's folder knows of the jobs, by id.

    Attributes:
        done: receipts of scenes that need not be done again.
        other: scenes that were made with other settings.
        ours: scenes whose output, if there is one, may be replaced unasked.
    """

    done: dict[str, Done]
    other: list[str]
    ours: set[str]


def look_up(jobs: Sequence[SceneJob], receipts: Receipts) -> Known:
    """Look at every receipt, and whether it still holds."""
    known = Known({}, [], set())
    for job in jobs:
        found = receipts.read(job)
        if found is not None and receipts.holds(job, found):
            known.done[job.id] = found
        elif receipts.knows(job):
            known.ours.add(job.id)
            if found is not None and found.settings != receipts.settings:
                known.other.append(job.id)
    if known.done:
        log(f"{len(known.done)} of {plural(len(jobs), 'scene')} done already")
    return known


def check_sources(jobs: Sequence[SceneJob]) -> None:
    """Refuse scenes that do not exist, before hours of work on the others.

    Raises:
        OptionError: it names the first few.
    """
    missing = [job.source for job in jobs if not split_spec(job.source)[0].exists()]
    if missing:
        raise OptionError(
            f"{len(missing)} scenes do not exist: {examples(missing)}; correct the list"
        )


def check_targets(
    jobs: Sequence[SceneJob], known: Known, model: Path | None, overwrite: bool
) -> None:
    """Refuse to lose a source, a file that is not ours, or one of other settings.

    Raises:
        OptionError: the last two, unless ``overwrite`` is set; a source, or the model, always.
    """
    if known.other and not overwrite:
        raise OptionError(
            f"{plural(len(known.other), 'scene')} made with another model or other options:"
            f" {examples(known.other)}; pass --overwrite to make them anew, or name another folder"
        )
    inputs = [file for job in jobs for file in cube_files(job.source)]
    inputs += [] if model is None else [model]
    for ours in (True, False):
        files = _files([job for job in jobs if (job.id in known.ours) is ours])
        check_outputs(files, inputs, overwrite=overwrite or ours, makes_folder=True)


def _files(jobs: Sequence[SceneJob]) -> Iterator[Path]:
    for job in jobs:
        target = Path(job.target)
        try:
            yield from written_files(target)
        except DataError:  # of a writer that is none of ours, or writes folders
            yield target
