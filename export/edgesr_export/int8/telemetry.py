"""NNCF without telemetry, log and progress bars.

NNCF reports every call to Google Analytics through ``openvino_telemetry``, which OpenVINO uses too,
unless somebody opted out by hand; there is no option in code. So its one class is emptied here:
constructing it then writes no client id into the home folder, and no message is ever queued.
"""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import ModuleType
from typing import Any

from edgesr_export.errors import ExportError


def silence_telemetry() -> None:
    """Make every method of ``openvino_telemetry.Telemetry`` do nothing, in this whole process."""
    try:
        telemetry = importlib.import_module("openvino_telemetry")
    except ImportError:
        return  # nothing there to send anything
    for name, member in list(vars(telemetry.Telemetry).items()):
        if name == "__init__" or (callable(member) and not name.startswith("__")):
            setattr(telemetry.Telemetry, name, _nothing)


def load_nncf() -> ModuleType:
    """NNCF, silenced first.

    Raises:
        ExportError: it is not installed.
    """
    silence_telemetry()
    try:
        with quiet():
            return importlib.import_module("nncf")
    except ImportError as error:
        raise ExportError(
            f"int8 needs NNCF, which cannot be imported ({error}); install the extra 'int8'"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep NNCF's notes and progress bars off the console."""
    logger = logging.getLogger("nncf")
    level = logger.level
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            logger.setLevel(logging.ERROR)
            yield
    finally:
        logger.setLevel(level)


def _nothing(*_: Any, **__: Any) -> None:
    return None
