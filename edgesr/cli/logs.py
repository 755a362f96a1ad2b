"""Where the lines of the logger go when a command runs: stderr, and a file for machines."""

from __future__ import annotations

import json
import logging
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from edgesr.errors import EdgesrWarning, OptionError
from edgesr.progress import LOGGER

EXTRAS = ("event", "stage", "seconds")
BEGINNING = b'{"time": "'


class _Stderr(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        label = "warning: " if record.levelno >= logging.WARNING else ""
        print(f"{label}{self.format(record)}", file=sys.stderr, flush=True)


class _JsonLines(logging.StreamHandler[Any]):
    """One JSON object a line; a file that takes no more costs the lines alone."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if not self._failed:
            self._failed = True
            print(f"warning: --log-json cannot be written: {error}", file=sys.stderr)

    def end(self) -> None:
        """Close the file; what it does not take at its end is lost."""
        with suppress(OSError):
            self.stream.close()

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone()
        content = {  # the time first: it tells such a file from others
            "time": time.isoformat("T", "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        content |= {key: getattr(record, key) for key in EXTRAS if hasattr(record, key)}
        return json.dumps(content, ensure_ascii=False)


@contextmanager
def logging_to(level: int, json_file: Path | None = None) -> Iterator[None]:
    """Show the logger's lines of ``level`` and above on stderr, and all in ``json_file``.

    The project's own warnings become lines, too.

    Raises:
        OptionError: the file cannot be written, or exists and is no such log.
    """
    handlers: list[logging.Handler] = [_Stderr(level)]
    if json_file is not None:
        _check_log(json_file)
        try:
            handlers.append(_JsonLines(json_file.open("a", encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise OptionError(f"--log-json {json_file} cannot be written: {error}") from error
    before, show = LOGGER.level, warnings.showwarning

    def as_line(message: Any, category: Any, *place: Any, **more: Any) -> None:
        from edgesr_export.registry import PluginWarning  # help needs none of it

        if issubclass(category, EdgesrWarning | PluginWarning):
            LOGGER.warning(str(message))
        else:
            show(message, category, *place, **more)

    LOGGER.setLevel(min(level, logging.INFO) if json_file else level)
    for handler in handlers:
        LOGGER.addHandler(handler)
    try:
        with warnings.catch_warnings(), _quiet_about_undecoded():
            warnings.simplefilter("always", EdgesrWarning)
            warnings.showwarning = as_line
            yield
    finally:
        LOGGER.setLevel(before)
        for handler in handlers:
            LOGGER.removeHandler(handler)
            if isinstance(handler, _JsonLines):
                handler.end()


@contextmanager
def _quiet_about_undecoded() -> Iterator[None]:
    """Print no traceback where a library written in C logs bytes of a damaged file as UTF-8.

    Rasterio does so with GDAL's messages, in a callback that can raise nothing.
    """
    raised, unraisable = sys.excepthook, sys.unraisablehook

    def in_no_frame(kind: Any, error: BaseException, trace: Any) -> None:
        if not (isinstance(error, UnicodeDecodeError) and trace is None):
            raised(kind, error, trace)

    def ignored(what: Any) -> None:
        if not isinstance(what.exc_value, UnicodeDecodeError):
            unraisable(what)

    sys.excepthook, sys.unraisablehook = in_no_frame, ignored
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = raised, unraisable


def _check_log(path: Path) -> None:
    """Append to nothing but a log: the file may be an input of the command, or anything else."""
    try:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            with path.open("rb") as file:
                if not found.st_size or file.read(len(BEGINNING)) == BEGINNING:
                    return
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise OptionError(f"--log-json {path} cannot be written: {error}") from error
    raise OptionError(f"--log-json {path} exists and is no such log; name a new file")
