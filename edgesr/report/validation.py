"""Hold a report against ``schema.json`` before it is written and after it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from edgesr.errors import EdgesrError

SCHEMA_VERSION = 1


class ReportError(EdgesrError):
    """A report does not fit its schema."""


def load_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``report.json``; every key has a description."""
    return dict(json.loads(files("edgesr.report").joinpath("schema.json").read_text("utf-8")))


def validate(report: Mapping[str, Any]) -> None:
    """Check a report that is about to become ``report.json``.

    Args:
        report: plain values as JSON has them (dict, list, str, int, float, bool, None).

    Raises:
        ReportError: the first key that does not fit, or a value that JSON or a page cannot hold.
    """
    _check(report, load_schema())


def validate_data(data: Mapping[str, Any]) -> None:
    """Check what is going to be ``data`` of a report, before the work that the report is about.

    Args:
        data: as :meth:`edgesr.cube.Scene.describe` gives it.

    Raises:
        ReportError: the first key that does not fit, or a value that JSON or a page cannot hold.
    """
    _check({"data": data}, {"properties": {"data": load_schema()["properties"]["data"]}})


def _check(report: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(report))
    if error is not None:
        place = error.json_path.removeprefix("$.").replace("$", "the top")
        raise ReportError(
            f"the report does not fit its schema at {place}: {_short(error.message)};"
            f" expected: {error.schema.get('description', 'see schema.json')}"
        )
    for place, value in _values(report, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ReportError(f"the report holds {value} at {place}; every figure must be finite")
        if isinstance(value, str) and not _is_unicode(value):
            raise ReportError(
                f"the report holds the text {_short(value)!a} at {place}, which is no Unicode;"
                " rename what is called so"
            )


def _short(message: str, limit: int = 160) -> str:
    return message if len(message) <= limit else f"...{message[-limit:]}"


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
