"""``edgesr report``: the page of a finished run, drawn again from what its folder holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgesr.errors import OptionError
from edgesr.outputs import check_outputs
from edgesr.report import read
from edgesr.report.page import write_page
from edgesr.report.pictures import Pictures
from edgesr.report.profiles import read_imports
from edgesr.run_folder import PAGE, PICTURES, finished_report


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
    target = output or run / PAGE
    if target.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--output {target} is no .html file; the page is one")
    stored = run / PICTURES
    own = target == run / PAGE
    inputs = [source, stored, *imports]
    check_outputs([target], inputs, overwrite=overwrite or own, makes_folder=True)
    report = read(source)
    boards, profiles = read_imports(imports)
    pictures = Pictures.load(stored) if stored.is_file() else None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return write_page(report, pictures, target, boards, profiles)
    except OSError as error:
        raise OptionError(f"{target} cannot be written: {error.strerror or error}") from error
