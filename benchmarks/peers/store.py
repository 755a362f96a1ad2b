"""The committed results: one JSON file, whole after every row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr.errors import OptionError
from edgesr.files import atomic_path
from edgesr.stored import read_json

FORMAT = 1


@dataclass
class Store:
    """Rows by name; each says which teacher it is of, and is done anew for another.

    Args:
        path: of the file.
        teacher: digest of the network's file.
    """

    path: Path
    teacher: str

    def __post_init__(self) -> None:
        self.content: dict[str, Any] = {"format": FORMAT, "rows": {}}
        if self.path.exists():
            found = read_json(self.path, "the results", advice="choose another --output")
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise OptionError(f"{self.path} holds other results; choose another --output")
            self.content = found

    @property
    def rows(self) -> dict[str, Any]:
        """All of them, of whatever teacher."""
        rows: dict[str, Any] = self.content["rows"]
        return rows

    def row(self, name: str) -> dict[str, Any] | None:
        """A row of this teacher."""
        found = self.rows.get(name)
        return found if found and found["teacher"] == self.teacher else None

    def put(self, name: str, row: dict[str, Any], **facts: Any) -> None:
        """Keep a row, and what is true of the whole table."""
        self.rows[name] = row | {"teacher": self.teacher}
        self.content |= facts | {"teacher": self.teacher}  # the table is of its rows alone
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as part:
            part.write_text(json.dumps(self.content, indent=1) + "\n", "utf-8")
