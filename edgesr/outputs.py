"""One check for whatever a command writes: inputs are never lost, files never replaced unasked.

A command names every file that it will write and every file that it reads, side files included
(:func:`edgesr.cube.parts.cube_files`, :func:`edgesr.cube.writers.written_files`,
:func:`edgesr_export.model_file.model_files`), and asks here before it begins. Files are compared by
what they are, not by how they are spelled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edgesr.errors import OptionError
from edgesr.files import temporary_path


def check_outputs(
    outputs: Iterable[Path],
    inputs: Iterable[Path],
    *,
    overwrite: bool,
    makes_folder: bool = False,
) -> None:
    """Make sure that files can be written and that nothing is lost by it.

    Args:
        outputs: every file that will be written.
        inputs: every file that is read; those that do not exist are passed over.
        overwrite: whether files that exist may be replaced; inputs never are.
        makes_folder: whether missing folders will be made.

    Raises:
        OptionError: an output is an input, under whatever name; it exists and ``overwrite`` is
            not set; it is a folder; or nothing can be written there.
    """
    read = {identity: path for path in inputs for identity in _identity(path)}
    for output in outputs:
        _check_name(temporary_path(output) if output.name else output, output)
        _check_writable(_nearest(output.parent) if makes_folder else output.parent, output)
        source = next((read[one] for one in _identity(output) if one in read), None)
        if source is not None:
            same = "" if source == output else f" ({source})"
            raise OptionError(f"{output} is an input{same} and would be lost; choose another name")
        if output.is_dir():
            raise OptionError(f"{output} cannot be written: it is a folder; name a file")
        if os.path.lexists(output) and not overwrite:
            raise OptionError(f"{output} exists; pass --overwrite or another name")


def check_folder(folder: Path, inputs: Iterable[Path] = ()) -> None:
    """Make sure that a folder can be written, and that what is replaced in it holds no input.

    Args:
        folder: where files will be written; it need not exist.
        inputs: every file that is read.

    Raises:
        OptionError: an input lies in the folder, under whatever name; the folder is a file; or
            nothing can be written there.
    """
    _check_name(folder / "file", folder)
    if os.path.lexists(folder) and not folder.is_dir():
        raise OptionError(f"{folder} is a file; name a folder")
    _check_writable(_nearest(folder), folder)
    for path in inputs:
        if lies_in(path, folder):
            raise OptionError(
                f"{path} is an input and lies in {folder}, where it could be lost; move it, or"
                " choose another folder"
            )


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, as it is spelled or with links followed."""
    spelled = Path(os.path.realpath(path.parent)) / path.name
    where = _identity(folder)
    return bool(where) and any(
        _identity(parent) == where
        for one in (spelled, Path(os.path.realpath(path)))
        for parent in one.parents
    )


def _identity(path: Path) -> list[tuple[int, int]]:
    """What a file is whatever its name, links followed; empty where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return []
    return [(status.st_dev, status.st_ino)]


def _check_name(path: Path, shown: Path) -> None:
    """Refuse a name that no file can have."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        text = repr(str(shown))[1:-1]
        text = text if len(text) <= 80 else f"{text[:40]}...{text[-30:]}"
        raise OptionError(f"{text} cannot be written: {reason}; choose another name") from error


def _check_writable(folder: Path, shown: Path) -> None:
    """Refuse a folder that takes no file."""
    reason = f"{folder} is no folder; choose one that exists"
    if folder.is_dir():
        if os.access(folder, os.W_OK | os.X_OK):
            return
        reason = f"{folder} may not be written to; choose another folder"
    raise OptionError(f"{shown} cannot be written: {reason}")


def _nearest(folder: Path) -> Path:
    """The folder, or the innermost around it that exists."""
    return next(one for one in (folder, *folder.parents) if os.path.lexists(one))
