"""``archive.schema.json``, made of the types: ``python -m edgesr.scenes.archive.schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgesr.files import atomic_path
from edgesr.report.schema import schema_of
from edgesr.scenes.archive.model import Archive

SCHEMA = Path(__file__).with_name("archive.schema.json")


def make_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``archive.json``."""
    return schema_of(Archive, "edgesr archive")


def main() -> None:
    """Write the file."""
    with atomic_path(SCHEMA) as temporary:
        temporary.write_text(json.dumps(make_schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
