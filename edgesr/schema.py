"""Hold plain values against a JSON Schema that lies beside the code."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from edgesr.errors import shown


@dataclass(frozen=True)
class Fault:
    """Where something does not fit, why, and what the schema says of that place."""

    place: str
    reason: str
    description: str | None


@cache
def load_schema(package: str, name: str) -> dict[str, Any]:
    """A schema (draft 2020-12) by the package that holds it and its file's name."""
    return dict(json.loads(files(package).joinpath(name).read_text("utf-8")))


def find_fault(
    package: str, name: str, content: Any, *, strict: bool = False, parts: tuple[str, ...] = ()
) -> Fault | None:
    """The worst fault of ``content``, None where it fits.

    Args:
        package: that holds the schema.
        name: of its file.
        content: plain values as JSON has them.
        strict: 1.0 is no integer, and a number is finite.
        parts: keys at the top that ``content`` has so far; all that are wanted, if empty.
    """
    from jsonschema.exceptions import best_match

    error = best_match(_validator(package, name, strict, parts).iter_errors(content))
    if error is None:
        return None
    place = error.json_path.removeprefix("$.").replace("$", "the top")
    reason = error.message
    return Fault(
        shown(place[:120]),
        reason if len(reason) <= 160 else f"...{reason[-160:]}",
        error.schema.get("description"),
    )


@cache
def _validator(package: str, name: str, strict: bool, parts: tuple[str, ...]) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    kind: Any = Draft202012Validator
    if strict:
        kinds = kind.TYPE_CHECKER.redefine_many({"integer": _integer, "number": _number})
        kind = extend(kind, type_checker=kinds)
    schema = load_schema(package, name)
    if parts:
        schema = {
            "$defs": schema.get("$defs", {}),
            "properties": {key: schema["properties"][key] for key in parts},
        }
    return kind(schema)


def _integer(checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(checker: Any, value: Any) -> bool:
    return _integer(checker, value) or (isinstance(value, float) and math.isfinite(value))
