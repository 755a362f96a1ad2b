"""What board is this, and in which state? Reads only; changes no setting of the board."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .errors import absent, is_absent, one_line
from .files import read_number, read_text
from .tegrastats import POWERED_OFF_C

_L4T = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")
_GPU_CLOCK = re.compile(r"gpu|g[am]\d+b|gp10b|gv11b")
_NVPMODEL_TIMEOUT_S = 10


def probe(root: Path = Path("/")) -> dict[str, Any]:
    """Facts of the board that do not change while it is measured; unknown ones are absent."""
    return {
        "model": _model(root),
        "l4t": _l4t(root),
        "jetpack": _jetpack(root),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": _system(root),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_mb": _memory_mb(root),
        "power_mode": _power_mode(root),
        "clocks": clocks(root),
    }


def temperatures(root: Path = Path("/")) -> dict[str, Any]:
    """Temperature in degrees Celsius by zone; zones that are off or unreadable are left out."""
    found: dict[str, Any] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = read_text(zone / "type"), read_number(zone / "temp")
        if name and value is not None and value / 1000.0 != POWERED_OFF_C:
            found[name] = value / 1000.0
    return found or absent("no readable zone in /sys/class/thermal")


def clocks(root: Path = Path("/")) -> dict[str, Any]:
    """Whether clocks are locked, as ``jetson_clocks`` does: lowest and highest allowed are equal.

    Returns ``cpu``, ``gpu`` (each with ``locked``, ``min_mhz``, ``max_mhz``, ``governor``, or
    absent) and ``locked`` (both, or absent where one of them is unknown).
    """
    cpu = _cpu_clocks(root)
    gpu = _gpu_clocks(root)
    missing = [name for name, entry in (("CPU", cpu), ("GPU", gpu)) if is_absent(entry)]
    locked: Any = absent(f"clocks of the {' and '.join(missing)} are not readable")
    if not missing:
        locked = cpu["locked"] and gpu["locked"]
    return {"locked": locked, "cpu": cpu, "gpu": gpu}


def _cpu_clocks(root: Path) -> dict[str, Any]:
    cores = [
        _limits(folder, "scaling_min_freq", "scaling_max_freq", "scaling_governor", 1000)
        for folder in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    ]
    return _joined([core for core in cores if core], "no readable cpufreq in /sys")


def _gpu_clocks(root: Path) -> dict[str, Any]:
    engines = [
        _limits(folder, "min_freq", "max_freq", "governor", 1_000_000)
        for folder in sorted((root / "sys/class/devfreq").glob("*"))
        if _GPU_CLOCK.search(folder.name)
    ]
    return _joined([e for e in engines if e], "no readable GPU in /sys/class/devfreq")


def _limits(folder: Path, low: str, high: str, governor: str, per_mhz: int) -> dict[str, Any]:
    lowest, highest = read_number(folder / low), read_number(folder / high)
    if lowest is None or highest is None:
        return {}
    return {
        "locked": lowest == highest,
        "min_mhz": lowest / per_mhz,
        "max_mhz": highest / per_mhz,
        "governor": read_text(folder / governor) or absent("not readable"),
    }


def _joined(parts: list[dict[str, Any]], reason: str) -> dict[str, Any]:
    """Several cores or clusters as one: locked when all are, with the widest range."""
    if not parts:
        return absent(reason)
    return {
        "locked": all(part["locked"] for part in parts),
        "min_mhz": min(part["min_mhz"] for part in parts),
        "max_mhz": max(part["max_mhz"] for part in parts),
        "governor": parts[0]["governor"],
    }


def _model(root: Path) -> Any:
    for place in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        text = read_text(root / place)
        if text:
            return text
    return absent("no device tree names a model")


def _l4t(root: Path) -> Any:
    found = _L4T.search(read_text(root / "etc/nv_tegra_release") or "")
    return f"{found[1]}.{found[2]}" if found else absent("no /etc/nv_tegra_release")


def _jetpack(root: Path) -> Any:
    """Version of the package ``nvidia-jetpack``, from dpkg's own list."""
    for stanza in (read_text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        lines = stanza.strip().splitlines()
        if "Package: nvidia-jetpack" in lines and "Status: install ok installed" in lines:
            for line in lines:
                if line.startswith("Version: "):
                    return line[len("Version: ") :]
    return absent("package nvidia-jetpack is not installed")


def _system(root: Path) -> Any:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(root / "etc/os-release") or "", re.M)
    return found[1] if found else absent("no /etc/os-release")


def _memory_mb(root: Path) -> Any:
    found = re.search(r"^MemTotal:\s+(\d+) kB", read_text(root / "proc/meminfo") or "", re.M)
    return int(found[1]) // 1024 if found else absent("no /proc/meminfo")


def _power_mode(root: Path) -> Any:
    """Name and number of the mode of nvpmodel, asked without changing it."""
    program = shutil.which("nvpmodel") if root == Path("/") else None
    if program is not None:
        try:
            answer = subprocess.run(
                [program, "-q"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_NVPMODEL_TIMEOUT_S,
                check=False,
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            return absent(f"nvpmodel -q failed ({one_line(error)})")
        return parse_power_mode(answer)
    found = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status") or "")
    if found:
        return {"name": absent("nvpmodel is not on the path"), "id": int(found[1])}
    return absent("no nvpmodel on this board")


def parse_power_mode(answer: str) -> Any:
    """Read the answer of ``nvpmodel -q``: ``NV Power Mode: 15W`` and the mode's number below."""
    name = re.search(r"NV Power Mode: *(\S.*)", answer)
    number = re.search(r"^\s*(\d+)\s*$", answer, re.M)
    if not name:
        return absent(f"nvpmodel -q answered {one_line(answer)!r}")
    return {
        "name": name[1].strip(),
        "id": int(number[1]) if number else absent("nvpmodel -q printed no number"),
    }
