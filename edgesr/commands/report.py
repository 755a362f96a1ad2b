"""``edgesr report``: the page of a run or an archive, drawn from what its folder holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgesr.errors import OptionError
from edgesr.outputs import check_outputs
from edgesr.report import read
from edgesr.report.page import write_page
from edgesr.report.pictures import Pictures
from edgesr.report.profiles import read_imports
from edgesr.run_folder import PAGE, PICTURES, finished_report
from edgesr.scenes.archive.page import read_archive, write_archive_page
from edgesr.scenes.archive.tally import FILE


def render_run(
    run: Path,
    imports: Sequence[Path] = (),
    output: Path | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the page of a run; nothing is computed again.

    Args:
        run: folder of a finished ``edgesr compress``.
        imports: results that came back from boards, and of ``edgesr bench --profile --json``.
        output: HTML file to write; ``report.html`` in the folder by default, which is the run's
            own and drawn again.
        overwrite: replace another ``output`` that exists.

    Returns:
        The file written.

    Raises:
        OptionError: the folder is no finished run, or the file exists, is an input, or cannot be
            written.
        ReportError: its report cannot be read, or does not fit the schema.
        DataError: an imported result or the stored pictures cannot be read.
    """
    source = finished_report(run)
    stored = run / PICTURES
    target = _target(run, [source, stored, *imports], output, overwrite)
    report = read(source)
    boards, profiles = read_imports(imports)
    pictures = Pictures.load(stored) if stored.is_file() else None
    with _writing(target):
        return write_page(report, pictures, target, boards, profiles)


def is_archive(folder: Path) -> bool:
    """Whether a folder is that of ``edgesr archive``."""
    return (folder / FILE).is_file()


def render_archive(folder: Path, output: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the page of an archive, whether it is complete or not.

    Args:
        folder: of ``edgesr archive``.
        output: HTML file to write; ``report.html`` in the folder by default, which is drawn again.
        overwrite: replace another ``output`` that exists.

    Raises:
        OptionError: the file exists, is an input, or cannot be written.
        ReportError: ``archive.json`` cannot be read, or does not fit its schema.
    """
    source = folder / FILE
    target = _target(folder, [source], output, overwrite)
    archive = read_archive(source)
    with _writing(target):
        return write_archive_page(archive, folder, target)


def _target(folder: Path, inputs: Sequence[Path], output: Path | None, overwrite: bool) -> Path:
    target = output or folder / PAGE
    if target.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--output {target} is no .html file; the page is one")
    own = target == folder / PAGE
    check_outputs([target], inputs, overwrite=overwrite or own, makes_folder=True)
    return target


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OptionError(f"{target} cannot be written: {error.strerror or error}") from error
