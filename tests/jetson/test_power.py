from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from edgesr_jetson.board import power
from edgesr_jetson.board.power import PowerMeter, energy, integrate, sysfs_reader
from edgesr_jetson.board.rails import total_mw, total_rails
from hypothesis import given
from hypothesis import strategies as st


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def jetpack4_nano(root: Path) -> Path:
    device = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for index, (name, milliwatts) in enumerate(
        [("POM_5V_IN", 2341), ("POM_5V_GPU", 120), ("POM_5V_CPU", 640)]
    ):
        write(device / f"rail_name_{index}", name)
        write(device / f"in_power{index}_input", milliwatts)
        write(device / f"in_voltage{index}_input", 5000)
    return device


def jetpack5_orin_nano(root: Path) -> Path:
    device = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    for index, (name, millivolts, milliamperes) in enumerate(
        [("VDD_IN", 4960, 1100), ("VDD_CPU_GPU_CV", 4952, 200), ("VDD_SOC", 4944, 300)], start=1
    ):
        write(device / f"in{index}_label", name)
        write(device / f"in{index}_input", millivolts)
        write(device / f"curr{index}_input", milliamperes)
    write(device / "in7_label", "sum of shunt voltages")
    write(device / "in7_input", 99)
    write(device / "curr7_input", 99)
    return device


def jetpack5_agx_orin(root: Path) -> None:
    rails = {
        "1-0040/hwmon/hwmon3": ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"],
        "1-0041/hwmon/hwmon4": ["NC", "VDDQ_VDD2_1V8AO", "NC"],
    }
    for place, names in rails.items():
        device = root / "sys/bus/i2c/drivers/ina3221" / place
        for index, name in enumerate(names, start=1):
            write(device / f"in{index}_label", name)
            write(device / f"in{index}_input", 5000)
            write(device / f"curr{index}_input", 100 * index)


def test_jetpack_4_layout(tmp_path):
    jetpack4_nano(tmp_path)
    rails = sysfs_reader(tmp_path)()
    assert rails == {"POM_5V_IN": 2341, "POM_5V_GPU": 120, "POM_5V_CPU": 640}
    assert total_mw(rails) == 2341


def test_jetpack_5_layout_multiplies_and_skips_the_sum_of_shunts(tmp_path):
    jetpack5_orin_nano(tmp_path)
    rails = sysfs_reader(tmp_path)()
    assert rails == {"VDD_IN": 5456.0, "VDD_CPU_GPU_CV": 990.4, "VDD_SOC": 1483.2}
    assert total_mw(rails) == 5456.0


def test_agx_orin_sums_both_sensors_and_skips_unconnected_channels(tmp_path):
    jetpack5_agx_orin(tmp_path)
    rails = sysfs_reader(tmp_path)()
    assert set(rails) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    assert total_mw(rails) == 500 + 1000 + 1500 + 1000


def test_a_rail_without_permission_is_left_out_and_spoils_only_a_sum(tmp_path):
    jetpack5_agx_orin(tmp_path)
    current = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr2_input"
    current.unlink()
    current.mkdir()  # unreadable for root, too
    rails = sysfs_reader(tmp_path)()
    assert set(rails) == {"VDD_GPU_SOC", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    assert total_mw(rails) is None


def test_no_sensor(tmp_path):
    assert sysfs_reader(tmp_path) is None
    device = jetpack4_nano(tmp_path)
    for path in device.glob("in_power*"):
        path.unlink()
        path.mkdir()
    assert sysfs_reader(tmp_path) is None
    with PowerMeter(tmp_path) as meter:
        assert "no readable INA3221" in meter.between(0, 1)["absent"]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ({"VDD_IN", "VDD_SOC", "VDD_CPU_GPU_CV"}, {"VDD_IN"}),
        ({"VIN", "VDD_GPU", "VIN_SYS_5V0"}, {"VIN"}),
        ({"VDD_GPU", "VIN_SYS_5V0"}, set()),  # Thor through /sys, without its input
        ({"GPU", "CPU", "SOC", "CV", "VDDRQ"}, set()),  # AGX Xavier with one rail missing
        (set(), set()),
    ],
)
def test_total_rails(names, chosen):
    assert set(total_rails(names)) == chosen


def test_integrate_is_exact_on_straight_lines():
    # power rises 100 mW a second from 1000 mW at t = 0: mean over [2, 5] is that of t = 3.5
    samples = [(t / 10, 1000 + 10 * t) for t in range(100)]
    assert integrate(samples, 2.0, 5.0) == pytest.approx(1350)
    assert integrate(samples, 2.03, 4.97) == pytest.approx(1350)


def test_integrate_weighs_uneven_samples_by_time():
    # 0 W for 9 s and 10 W for 1 s, many samples in the busy second
    samples = [(0.0, 0.0), (9.0, 0.0), *((9.0 + 1e-9 + t / 100, 10.0) for t in range(101))]
    assert integrate(samples, 0.0, 10.0) == pytest.approx(1.0, rel=0.02)


def test_integrate_needs_two_samples_between_the_marks():
    assert integrate([(1.0, 5.0)], 0.0, 2.0) is None
    assert integrate([(1.0, 5.0), (3.0, 5.0)], 0.0, 2.0) is None
    assert integrate([], 0.0, 2.0) is None


TIMES = st.integers(0, 10_000).map(lambda milliseconds: milliseconds / 1000)


@given(st.lists(st.tuples(TIMES, st.floats(-1e4, 1e5)), min_size=2, max_size=20), TIMES, TIMES)
def test_integrate_stays_between_the_extremes(samples, a, b):
    samples = sorted(samples)
    mean = integrate(samples, min(a, b), max(a, b))
    values = [value for _, value in samples]
    assert mean is None or min(values) - 1e-3 <= mean <= max(values) + 1e-3


def watch(meter: PowerMeter, start: float, samples: int = 3) -> dict:
    """Wait for samples after ``start``, however busy the machine is."""
    deadline = time.monotonic() + 30
    while meter.between(start, time.monotonic()).get("samples", 0) < samples:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return meter.between(start, time.monotonic())


def test_meter_follows_a_changing_sensor(tmp_path):
    device = jetpack5_orin_nano(tmp_path)
    with PowerMeter(tmp_path, interval_s=0.005) as meter:
        assert meter.source == "ina3221"
        idle = watch(meter, time.monotonic())
        write(device / "curr1_input", 2200)
        watch(meter, time.monotonic(), 2)  # a sample may have been under way
        busy = watch(meter, time.monotonic())
    assert idle["total_mw"] == 5456.0
    assert busy["total_mw"] == 10912.0
    assert busy["total_rails"] == ["VDD_IN"]
    assert busy["rails_mw"]["VDD_SOC"] == 1483.2


def fake_tegrastats(folder: Path, line: str) -> None:
    program = folder / "tegrastats"
    program.write_text(f"#!/bin/sh\nwhile true; do echo '{line}'; sleep 0.01; done\n")
    program.chmod(0o755)


def test_tegrastats_where_sysfs_has_nothing(tmp_path, monkeypatch):
    fake_tegrastats(tmp_path, "RAM 1/2MB VDD_IN 5079mW/1mW VDD_SOC 1104mW/1mW garbage")
    monkeypatch.setattr(power, "sysfs_reader", lambda _root: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with PowerMeter(interval_s=0.01) as meter:
        assert meter.source == "tegrastats"
        found = watch(meter, time.monotonic())
    assert found["total_mw"] == 5079
    assert found["source"] == "tegrastats"


def test_tegrastats_where_sysfs_has_no_total(tmp_path, monkeypatch):
    fake_tegrastats(tmp_path, "VDD_GPU 1962mW/1mW VIN 19780mW/1mW")
    monkeypatch.setattr(power, "sysfs_reader", lambda _root: lambda: {"VDD_GPU": 1.0})
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with PowerMeter() as meter:
        assert meter.source == "tegrastats"


def test_energy_subtracts_idle_power():
    running = {"total_mw": 9000.0}
    found = energy(running, {"total_mw": 4000.0}, 0.02)
    assert found["energy_per_frame_mj"] == pytest.approx(100.0)  # 5 W x 20 ms
    assert found["energy_per_frame_with_idle_mj"] == pytest.approx(180.0)


def test_energy_without_idle_or_total_is_absent_not_zero():
    running = {"total_mw": 9000.0}
    found = energy(running, {"absent": "--idle 0"}, 0.02)
    assert found["energy_per_frame_mj"] == {"absent": "no total power while idle"}
    assert math.isclose(found["energy_per_frame_with_idle_mj"], 180.0)
    unknown = {"total_mw": {"absent": "no rule"}}
    assert "absent" in energy(unknown, running, 0.02)["energy_per_frame_with_idle_mj"]
