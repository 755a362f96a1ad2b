"""Power of the board over time: INA3221 through /sys, else ``tegrastats``, else said to be absent.

Both sources give instantaneous values; they are integrated between two marks of one monotonic
clock. The average that ``tegrastats`` prints runs since its own start and is not used.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Sequence

from .errors import absent
from .files import read_number, read_text
from .rails import total_mw, total_rails
from .tegrastats import UNCONNECTED, parse

Reader = Callable[[], Dict[str, float]]
"""Returns the current power of each rail in mW."""

_SHUNT_SUM = re.compile(r"sum of shunt", re.IGNORECASE)


def sysfs_reader(root: Path = Path("/")) -> Reader | None:
    """Reader of all INA3221 rails in mW, None where there is no readable one.

    JetPack 4: ``ina3221x/*/iio:device*/{rail_name_N,in_powerN_input}``, in mW. JetPack 5 and
    later: ``ina3221/*/hwmon/hwmon*/{inN_label,inN_input,currN_input}``, in mV and mA.
    """
    drivers = root / "sys/bus/i2c/drivers"
    power: list[tuple[str, Path]] = []
    product: list[tuple[str, Path, Path]] = []
    for label in sorted(drivers.glob("ina3221x/*/iio:device*/rail_name_*")):
        number = label.name.rsplit("_", 1)[1]
        name = read_text(label)
        if _is_rail(name):
            power.append((str(name), label.with_name(f"in_power{number}_input")))
    for label in sorted(drivers.glob("ina3221/*/hwmon/hwmon*/in*_label")):
        number = label.name[len("in") : -len("_label")]
        name = read_text(label)
        current = label.with_name(f"curr{number}_input")
        if _is_rail(name):
            product.append((str(name), label.with_name(f"in{number}_input"), current))

    def read() -> dict[str, float]:
        rails: dict[str, float] = {}
        for name, path in power:
            milliwatts = read_number(path)
            if milliwatts is not None:
                rails[name] = float(milliwatts)
        for name, voltage_path, current_path in product:
            millivolts, milliamperes = read_number(voltage_path), read_number(current_path)
            if millivolts is not None and milliamperes is not None:
                rails[name] = millivolts * milliamperes / 1000.0
        return rails

    return read if read() else None


def _is_rail(name: str | None) -> bool:
    return bool(name) and name != UNCONNECTED and not _SHUNT_SUM.search(str(name))


def integrate(samples: Sequence[tuple[float, float]], start: float, end: float) -> float | None:
    """Mean of samples (time, value) between two times, by trapezoids; None with under 2 samples.

    The curve is linear between samples, and flat before the first and after the last.
    """
    inside = [(t, v) for t, v in samples if start <= t <= end]
    if len(inside) < 2 or end <= start:
        return None
    points = [(start, _at(samples, start)), *inside, (end, _at(samples, end))]
    area = sum((t1 - t0) * (v0 + v1) / 2.0 for (t0, v0), (t1, v1) in zip(points[:-1], points[1:]))
    return area / (end - start)


def _at(samples: Sequence[tuple[float, float]], when: float) -> float:
    before = [sample for sample in samples if sample[0] <= when]
    after = [sample for sample in samples if sample[0] >= when]
    if not before or not after:
        return (before or after)[-1 if before else 0][1]
    (t0, v0), (t1, v1) = before[-1], after[0]
    return v0 if t1 == t0 else v0 + (v1 - v0) * (when - t0) / (t1 - t0)


class PowerMeter:
    """Samples power in the background; use as a context manager.

    Attributes:
        source: ``ina3221``, ``tegrastats``, or None where the board tells nothing.
        reason: why there is no source.
    """

    def __init__(self, root: Path = Path("/"), interval_s: float = 0.1) -> None:
        self.source: str | None = None
        self.reason = ""
        self._interval_s = interval_s
        self._samples: list[tuple[float, dict[str, float]]] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader = sysfs_reader(root)
        self._tegrastats = shutil.which("tegrastats") if root == Path("/") else None

    def __enter__(self) -> PowerMeter:
        has_total = self._reader is not None and total_rails(set(self._reader()))
        if self._reader is not None and (has_total or self._tegrastats is None):
            self.source = "ina3221"
            self._thread = threading.Thread(target=self._poll, args=(self._reader,), daemon=True)
        elif self._tegrastats is not None and self._launch(self._tegrastats):
            self.source = "tegrastats"
            self._thread = threading.Thread(target=self._listen, daemon=True)
        else:
            self.reason = self.reason or (
                "no readable INA3221 sensor under /sys and no tegrastats on this board"
            )
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def between(self, start: float, end: float) -> dict[str, Any]:
        """Mean power between two ``time.monotonic()`` marks, or why it cannot be said.

        Returns ``source``, ``samples``, ``total_mw`` (a number or absent), ``total_rails`` and
        ``rails_mw``.
        """
        if self.source is None:
            return absent(self.reason)
        samples = list(self._samples)
        rails: dict[str, float] = {}
        for name in sorted({name for _, values in samples for name in values}):
            mean = integrate([(t, v[name]) for t, v in samples if name in v], start, end)
            if mean is not None:
                rails[name] = round(mean, 1)
        if not rails:
            return absent(f"{self.source} gave fewer than two samples in {end - start:.2f} s")
        total = total_mw(rails)
        return {
            "source": self.source,
            "samples": sum(start <= t <= end for t, _ in samples),
            "total_mw": absent("no rule for the sum of these rails") if total is None else total,
            "total_rails": list(total_rails(set(rails))),
            "rails_mw": rails,
        }

    def _launch(self, program: str) -> bool:
        interval_ms = str(max(10, int(self._interval_s * 1000)))
        try:
            self._process = subprocess.Popen(
                [program, "--interval", interval_ms],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            self.reason = f"tegrastats cannot be started ({error.strerror or error})"
            return False
        return True

    def _poll(self, reader: Reader) -> None:
        while not self._stopping.is_set():
            rails = reader()
            if rails:
                self._samples.append((time.monotonic(), rails))
            self._stopping.wait(self._interval_s)

    def _listen(self) -> None:
        assert self._process is not None
        for line in self._process.stdout or ():
            rails = parse(line).rails_mw
            if rails:
                self._samples.append((time.monotonic(), {n: float(w) for n, w in rails.items()}))


def energy(
    running: dict[str, Any], idle: dict[str, Any], seconds: float, unit: str = "frame"
) -> dict[str, Any]:
    """Energy of one frame or line in mJ: power while running, less the idle power, times its time.

    ``running`` and ``idle`` come from :meth:`PowerMeter.between`; both powers are reported, and
    each energy that cannot be computed is absent.
    """
    running_mw, idle_mw = _total(running), _total(idle)
    gross: Any = absent("no total power while running")
    net: Any = absent("no total power while running")
    if running_mw is not None:
        gross = running_mw * seconds
        net = absent("no total power while idle")
        if idle_mw is not None:
            net = (running_mw - idle_mw) * seconds
    return {
        "running": running,
        "idle": idle,
        f"energy_per_{unit}_mj": net,
        f"energy_per_{unit}_with_idle_mj": gross,
    }


def _total(power: dict[str, Any]) -> float | None:
    total = power.get("total_mw")
    return float(total) if isinstance(total, (int, float)) else None
