"""Hold a report against ``schema.json`` before it is written and after it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgesr import schema
from edgesr.errors import EdgesrError, shown
from edgesr.stored import read_json

SCHEMA_VERSION = 1
SCHEMA = ("edgesr.report", "schema.json")


class ReportError(EdgesrError):
    """A report does not fit its schema."""


def load_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``report.json``; every key has a description."""
    return schema.load_schema(*SCHEMA)


def read_report(path: Path) -> dict[str, Any]:
    """Read a report that a run has written.

    Raises:
        ReportError: it cannot be read, or does not fit its schema.
    """
    advice = "run edgesr compress again"
    report = read_json(path, "the report", ReportError, advice=advice)
    validate(report)
    return dict(report)


def validate(report: Mapping[str, Any]) -> None:
    """Check a report that is about to become ``report.json``.

    Args:
        report: plain values as JSON has them (dict, list, str, int, float, bool, None).

    Raises:
        ReportError: the first key that does not fit, or a value that JSON or a page cannot hold.
    """
    _check(schema.find_fault(*SCHEMA, report), report)


def validate_data(data: Mapping[str, Any]) -> None:
    """Check what is going to be ``data`` of a report, before the work that the report is about.

    Args:
        data: as :meth:`edgesr.cube.Scene.describe` gives it.

    Raises:
        ReportError: the first key that does not fit, or a value that JSON or a page cannot hold.
    """
    part = {"data": data}
    _check(schema.find_fault(*SCHEMA, part, parts=("data",)), part)


def _check(fault: schema.Fault | None, report: Mapping[str, Any]) -> None:
    if fault is not None:
        raise ReportError(
            f"the report does not fit its schema at {fault.place}: {fault.reason};"
            f" expected: {fault.description or 'see schema.json'}"
        )
    for place, value in _values(report, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ReportError(f"the report holds {value} at {place}; every figure must be finite")
        if isinstance(value, str) and not _is_unicode(value):
            raise ReportError(
                f"the report holds the text {shown(value)} at {place}, which is no Unicode;"
                " rename what is called so"
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _values(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Each value that holds no others, and where it stands."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _values(entry, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _values(entry, f"{place}[{index}]")
    else:
        yield place, value
