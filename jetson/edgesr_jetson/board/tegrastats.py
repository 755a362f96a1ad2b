"""Read the lines of NVIDIA's ``tegrastats``, JetPack 4 to 7: no line is ever fatal.

What differs between boards and releases: the date in front may be missing; power is ``VDD_IN
5079/5079`` or ``VDD_IN 5079mW/5079mW`` or has a third value; temperatures are ``cpu@46.5C`` or
``cpu@46.5C/52C`` with names in either case; the GPU is ``GR3D_FREQ 0%``, ``0%@76``, ``0%@[510]``,
``@[314,314]`` or missing. Whatever is not understood is kept in :attr:`Reading.unknown`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

POWERED_OFF_C = -256.0
"""What a sensor of a part without power shows."""

UNCONNECTED = "NC"

_DATE = re.compile(r"^(\d{2}-\d{2}-\d{4} \d{2}:\d{2}:\d{2})\s+")
_RAM = re.compile(r"\bRAM (\d{1,9})/(\d{1,9})MB(?: \(lfb [^)]*\))?")
_SWAP = re.compile(r"\bSWAP (\d{1,9})/(\d{1,9})MB(?: \(cached [^)]*\))?")
_IRAM = re.compile(r"\bIRAM \d{1,9}/\d{1,9}kB ?(?:\(lfb [^)]*\))?")
_CPU = re.compile(r"\bCPU \[([^\]]*)\]")
_CORE = re.compile(r"^(\d{1,9})%@(\d{1,9})$")
_GPU = re.compile(r"\bGR3D_FREQ (?:(\d{1,9})%)?(?:@(?:\[((?:\d{1,9},?)*)\]|(\d{1,9})))?(?=\s|$)")
_DEGREES = r"-?\d{1,9}(?:\.\d{1,9})?"
_TEMPERATURE = re.compile(rf"(?<!\S)([A-Za-z]\w*)@({_DEGREES})C(?:/{_DEGREES}C)?(?=\s|$)")
_MW = r"(?:mW)?"
_POWER = re.compile(
    rf"(?<!\S)([A-Z][A-Z0-9_]*) (-?\d{{1,9}}){_MW}/-?\d{{1,9}}{_MW}(?:/-?\d{{1,9}}{_MW})?(?=\s|$)"
)


@dataclass(frozen=True)
class Core:
    """Load of one processor core; both None where it is switched off."""

    load_percent: int | None
    mhz: int | None


@dataclass(frozen=True)
class Reading:
    """One line.

    Attributes:
        date: as printed, None where the release prints none.
        ram_mb, swap_mb: used and total, None where not printed.
        cpu: cores in order.
        gpu_load_percent: None where not printed (a user without rights, or newer boards).
        gpu_mhz: one entry a cluster.
        temperatures_c: by the printed name; parts without power are left out.
        rails_mw: current power by rail, without unconnected ones; may be negative.
        unknown: words that were not understood.
    """

    date: str | None = None
    ram_mb: tuple[int, int] | None = None
    swap_mb: tuple[int, int] | None = None
    cpu: tuple[Core, ...] = ()
    gpu_load_percent: int | None = None
    gpu_mhz: tuple[int, ...] = ()
    temperatures_c: dict[str, float] = field(default_factory=dict)
    rails_mw: dict[str, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def parse(line: str) -> Reading:
    """Understand as much of ``line`` as there is to understand."""
    rest = line.strip()
    date, rest = _take(_DATE, rest)
    ram, rest = _take(_RAM, rest)
    swap, rest = _take(_SWAP, rest)
    _, rest = _take(_IRAM, rest)
    cpu, rest = _take(_CPU, rest)
    gpu, rest = _take(_GPU, rest)
    temperatures = {name: float(value) for name, value in _TEMPERATURE.findall(rest)}
    rest = _TEMPERATURE.sub(" ", rest)
    rails = {name: int(current) for name, current in _POWER.findall(rest)}
    rest = _POWER.sub(" ", rest)
    return Reading(
        date=date[1] if date else None,
        ram_mb=(int(ram[1]), int(ram[2])) if ram else None,
        swap_mb=(int(swap[1]), int(swap[2])) if swap else None,
        cpu=tuple(_core(text) for text in cpu[1].split(",")) if cpu else (),
        gpu_load_percent=int(gpu[1]) if gpu and gpu[1] else None,
        gpu_mhz=_clocks(gpu),
        temperatures_c={n: c for n, c in temperatures.items() if c != POWERED_OFF_C},
        rails_mw={n: mw for n, mw in rails.items() if n != UNCONNECTED},
        unknown=tuple(rest.split()),
    )


def _take(pattern: re.Pattern[str], text: str) -> tuple[re.Match[str] | None, str]:
    """Cut the first match out of ``text``."""
    found = pattern.search(text)
    if found is None:
        return None, text
    return found, f"{text[: found.start()]} {text[found.end() :]}"


def _core(text: str) -> Core:
    found = _CORE.match(text.strip())
    return Core(int(found[1]), int(found[2])) if found else Core(None, None)


def _clocks(gpu: re.Match[str] | None) -> tuple[int, ...]:
    if gpu is None:
        return ()
    listed = gpu[2] if gpu[2] is not None else gpu[3] or ""
    return tuple(int(number) for number in listed.split(",") if number)
