"""Results that were saved, as records to make tables of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Record:
    """One measured callable: its facts, and its times in milliseconds."""

    group: str
    facts: dict[str, Any]
    median_ms: float
    iqr_ms: float
    min_ms: float
    rounds: int


@dataclass(frozen=True)
class Results:
    """One run of the suite on one machine."""

    path: Path
    content: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what pytest-benchmark saved.

        Raises:
            ValueError: no file of results.
        """
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict) or not {"benchmarks", "machine_info"} <= content.keys():
            raise ValueError(f"{path} holds no results of pytest-benchmark; make some: make bench")
        return cls(path, content)

    @property
    def machine(self) -> dict[str, Any]:
        """Processor, device, threads and versions."""
        return dict(self.content["machine_info"])

    @property
    def date(self) -> str:
        """Day of the run, ISO 8601."""
        return str(self.content["datetime"])[:10]

    @property
    def minutes(self) -> float:
        """What the whole run took."""
        return float(self.content["wall_s"]) / 60

    def records(self, group: str = "") -> Iterator[Record]:
        """Those whose group starts with ``group``, in the order measured."""
        for entry in self.content["benchmarks"]:
            if str(entry["group"]).startswith(group):
                stats = entry["stats"]
                yield Record(
                    entry["group"],
                    entry["extra_info"],
                    stats["median"] * 1e3,
                    stats["iqr"] * 1e3,
                    stats["min"] * 1e3,
                    stats["rounds"],
                )

    def absent(self, group: str) -> dict[str, list[str]]:
        """What was asked of a group and could not be measured, by the reason."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.content.get("absent", {}).get(group, {}).items():
            by_reason.setdefault(reason, []).append(name)
        return by_reason
