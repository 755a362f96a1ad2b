"""``schema.json``, from the types of the report: ``python -m edgesr.report.schema`` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from edgesr.files import atomic_path
from edgesr.report.model import Report
from edgesr.report.model.surgery import KEYS
from edgesr.report.validation import EXPORTED

SCHEMA = Path(__file__).with_name("schema.json")
WITH_SETTING = ("CandidateEntry", "ChosenEntry", "UpsamplerAlone")
ONE_SETTING = {"oneOf": [{"required": [key]} for key in KEYS]}
NOTHING_MISSING = {
    "if": {"not": {"required": ["not_exported"]}},
    "then": {"required": list(EXPORTED)},
}


def make_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``report.json``, as its types have it."""
    made = schema_of(Report, "edgesr compression report")
    for name in WITH_SETTING:
        made["$defs"][name] |= ONE_SETTING
    definitions = made.pop("$defs")
    return {**made, **NOTHING_MISSING, "$defs": definitions}


def schema_of(kind: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file that holds one of a type."""
    definitions = msgspec.json.schema(kind)["$defs"]
    top = {key: value for key, value in definitions.pop(kind.__name__).items() if key != "title"}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    made: dict[str, Any] = _plain({**head, **top, "$defs": definitions})
    return made


def _plain(node: Any) -> Any:
    """The node where what is None by default is left out instead, and one choice is a constant."""
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    found = {key: _plain(value) for key, value in node.items()}
    if found.get("default", ...) is None:
        del found["default"]
        options = [option for option in found.pop("anyOf") if option != {"type": "null"}]
        found |= options[0] if len(options) == 1 else {"anyOf": options}
    if len(found.get("enum", ())) == 1:
        found["const"] = found.pop("enum")[0]
    return found


def main() -> None:
    """Write the file."""
    with atomic_path(SCHEMA) as temporary:
        temporary.write_text(json.dumps(make_schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
