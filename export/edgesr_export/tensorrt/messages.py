"""What TensorRT says while it works: collected, and judged.

TensorRT keeps one logger for the whole process, the first that it is given. So there is one here
for each library, and :func:`record` takes from it what is said within a block.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edgesr_export.tensorrt.api import Api

KNOWN_WARNINGS = (
    (
        r"Converting conv (activation|weight) scales to fp32",
        "scales of quantised convolutions are held in float32, more exactly than the file asks",
    ),
    (
        r"INT64 weights, while TensorRT does not natively support INT64",
        "shapes and indices fit 32 bits; a value that does not is reported by itself",
    ),
    (
        r"CUDA lazy loading is not enabled",
        "concerns the memory of this process, not the engine",
    ),
)
"""Warnings that change nothing: pattern and reason. Every other warning of the parser is fatal."""

REPORT = "Layers:\n"
"""How the builder begins its report of the layers of an engine."""

LITTLE_MEMORY = ("OutOfMemory", "out of memory", "workspace", "Requested size")
"""Words in errors that mean memory."""

_ERRORS = ("INTERNAL_ERROR", "ERROR")
_loggers: dict[str, Any] = {}


@dataclass
class Messages:
    """What was said within one :func:`record`.

    Attributes:
        errors, warnings: in order, without repetition.
        report: the builder's report of the engine's layers, "" if there was none.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    report: str = ""

    @property
    def of_memory(self) -> bool:
        """Whether an error says that memory was too little."""
        return any(word in error for error in self.errors for word in LITTLE_MEMORY)

    def take(self, severity: str, message: str) -> None:
        if severity in _ERRORS:
            self._add(self.errors, message)
        elif severity == "WARNING":
            self._add(self.warnings, message)
        elif message.startswith(REPORT):
            self.report = message

    @staticmethod
    def _add(known: list[str], message: str) -> None:
        text = " ".join(message.split())
        if text not in known:
            known.append(text)


def complaint(errors: Sequence[str]) -> str:
    """The first error in some words: TensorRT begins with its own places in C++."""
    text = errors[0] if errors else "no reason given"
    text = re.sub(r"^(?:I?\w+::\w+: )?Error Code \d+: ", "", text)
    text = re.sub(r"\(?\[\S+?:\d+: [^\]]*\] ?", "", text)
    return text.strip()[:240]


def logger(api: Api) -> Any:
    """The one logger of this process for the library."""
    if api.name not in _loggers:
        _loggers[api.name] = _make_logger(api.module)
    return _loggers[api.name]


@contextmanager
def record(api: Api) -> Iterator[Messages]:
    """Collect what the library says within the block."""
    messages = Messages()
    listeners = logger(api).listeners
    listeners.append(messages)
    try:
        yield messages
    finally:
        listeners.remove(messages)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Keep what C++ writes itself, beside its logger, off stderr: errors are raised as one line."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing can be written there
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def reason(warning: str, accepted: Sequence[str] = ()) -> str | None:
    """Why the warning changes nothing; None for one that is not known.

    ``accepted`` are further patterns, which the caller answers for.
    """
    for pattern, why in KNOWN_WARNINGS:
        if re.search(pattern, warning):
            return why
    return next((f"accepted: {p}" for p in accepted if re.search(p, warning)), None)


def _make_logger(module: Any) -> Any:
    base: Any = module.ILogger

    class Logger(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.listeners: list[Messages] = []

        def log(self, severity: Any, message: str) -> None:
            for listener in tuple(self.listeners):
                listener.take(severity.name, message)

    return Logger()
