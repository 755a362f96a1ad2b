"""Hold a report to its types, before it is written and after it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgesr import schema
from edgesr.errors import EdgesrError, shown
from edgesr.report.model import SCHEMA_VERSION, Data, Report
from edgesr.stored import read_json

EXPORTED = ("onnx", "deployment")
"""What a run leaves out only where it says why, in ``not_exported``."""
T = TypeVar("T")


class ReportError(EdgesrError):
    """A report does not fit its schema."""


def load_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``report.json``; every key has a description."""
    return schema.load_schema("edgesr.report", "schema.json")


def validate(content: Mapping[str, Any]) -> Report:
    """Check a report that is about to become ``report.json``.

    Args:
        content: plain values as JSON has them (dict, list, str, int, float, bool, None).

    Returns:
        The same, typed.

    Raises:
        ReportError: the first key that does not fit, or a value that JSON or a page cannot hold.
    """
    report = parse(content)
    missing = [name for name in EXPORTED if getattr(report, name) is None]
    if missing and report.not_exported is None:
        raise ReportError(
            f"the report does not fit its schema: it has no {' and no '.join(missing)}, and no"
            " not_exported that says why"
        )
    return report


def read(path: Path) -> Report:
    """Read ``report.json`` of a run; what older versions of edgesr did not write yet is None.

    Raises:
        ReportError: the file cannot be read, is of a newer version, or holds something else.
    """
    advice = "run edgesr compress again"
    return parse(read_json(path, "the report", ReportError, advice=advice))


def parse(content: Any) -> Report:
    """Make plain values, as JSON has them, a report.

    Raises:
        ReportError: they are of a newer version, or the first that does not fit.
    """
    version = content.get("schema_version") if isinstance(content, Mapping) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ReportError(
            f"the report has schema_version {version}, and this edgesr knows {SCHEMA_VERSION} at"
            " most; use the edgesr that made it"
        )
    report = typed(content, Report)
    check_values(content)
    return report


def validate_data(data: Mapping[str, Any]) -> None:
    """Check what is going to be ``data`` of a report, before the work that the report is about.

    Args:
        data: as :meth:`edgesr.cube.Scene.describe` gives it.

    Raises:
        ReportError: the first key that does not fit, or a value that JSON or a page cannot hold.
    """
    part = {"data": data}
    typed(part, _DataAlone)
    check_values(part)


class _DataAlone(msgspec.Struct):
    data: Data


def check_values(content: Any) -> None:
    """Refuse what JSON or a page cannot hold: a figure that is not finite, a text beyond Unicode.

    Raises:
        ReportError: the first such value.
    """
    for place, value in _values(content, ""):
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


def typed(content: Any, kind: type[T]) -> T:
    """Make plain values a part of the report.

    Raises:
        ReportError: the first that does not fit, with its place.
    """
    try:
        return msgspec.convert(content, kind)
    except ValueError as error:  # msgspec's own, and text beyond Unicode
        what, _, place = str(error).partition(" - at `$")
        place = place.rstrip("`").lstrip(".")
        if ", got" not in what and isinstance(found := _at(content, place), str | int | float):
            what += f", got {_short(repr(found))}"
        raise ReportError(
            f"the report does not fit its schema at {place or 'the top'}: {_short(what, 160)}; see"
            " schema.json"
        ) from error


def _at(content: Any, place: str) -> Any:
    """The value at a place such as ``files[0].sha256``; None where it cannot be told."""
    for key, index in re.findall(r"([^.\[\]]+)|\[([^]]*)\]", place):
        try:
            content = content[key or int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return content


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


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
