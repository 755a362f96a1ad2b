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
        ReportError: the first key that does not fit, or a number that JSON cannot hold.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(load_schema()).iter_errors(report))
    if error is not None:
        place = error.json_path.removeprefix("$.").replace("$", "the top")
        raise ReportError(
            f"the report does not fit its schema at {place}: {_short(error.message)};"
            f" expected: {error.schema.get('description', 'see schema.json')}"
        )
    for place, value in _numbers(report, ""):
        if not math.isfinite(value):
            raise ReportError(f"the report holds {value} at {place}; every figure must be finite")


def _short(message: str, limit: int = 160) -> str:
    return message if len(message) <= limit else f"...{message[-limit:]}"


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _numbers(entry, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _numbers(entry, f"{place}[{index}]")
    elif isinstance(value, float):
        yield place, value
