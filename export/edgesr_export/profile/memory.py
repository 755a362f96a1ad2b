"""How much the memory of this process grows at most while something runs, as Linux counts it."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Self

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class PeakMemory:
    """Of the block that it is used around.

    Attributes:
        growth_bytes: largest resident memory within the block beyond that at its start; None
            where the system does not tell. What the process had kept from before is not in it.
        absent: then, why.
    """

    growth_bytes: int | None = None
    absent = ""

    def __enter__(self) -> Self:
        try:
            _RESET.write_text(_RESET_PEAK)
            self._before = _kilobytes("VmRSS")
        except (OSError, LookupError) as error:
            self.absent = f"this system does not tell the peak of a process ({error})"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.absent:
            self.growth_bytes = 1024 * max(0, _kilobytes("VmHWM") - self._before)


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"no {name}")
    return int(found[1])
