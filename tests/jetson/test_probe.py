from __future__ import annotations

from pathlib import Path

import pytest
from edgesr_jetson.board.probe import clocks, parse_power_mode, probe, temperatures

RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025"
)
DPKG = """Package: nvidia-jetpack-runtime
Status: install ok installed
Version: 9.9

Package: nvidia-jetpack
Status: install ok installed
Priority: standard
Version: 6.2+b77

Package: zlib1g
Status: install ok installed
Version: 1
"""


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(text))


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """A recorded Orin Nano, clocks not locked."""
    write(tmp_path / "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    write(tmp_path / "proc/meminfo", "MemTotal:        7803816 kB\nMemFree: 1 kB\n")
    write(tmp_path / "etc/nv_tegra_release", RELEASE)
    write(tmp_path / "etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n')
    write(tmp_path / "var/lib/dpkg/status", DPKG)
    write(tmp_path / "var/lib/nvpmodel/status", "pmode:0002")
    for core in range(6):
        frequency = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        write(frequency / "scaling_min_freq", 729600)
        write(frequency / "scaling_max_freq", 1510400)
        write(frequency / "scaling_governor", "schedutil\n")
    write(tmp_path / "sys/devices/system/cpu/cpufreq/boost", 1)
    gpu = tmp_path / "sys/class/devfreq/17000000.gpu"
    write(gpu / "min_freq", 306000000)
    write(gpu / "max_freq", 624750000)
    write(gpu / "governor", "nvhost_podgov")
    write(tmp_path / "sys/class/devfreq/15340000.vic/min_freq", 1)
    write(tmp_path / "sys/class/devfreq/15340000.vic/max_freq", 2)
    for zone, (name, value) in enumerate(
        [("cpu-thermal", 46531), ("gpu-thermal", 48218), ("cv0-thermal", -256000)]
    ):
        write(tmp_path / f"sys/class/thermal/thermal_zone{zone}/type", name)
        write(tmp_path / f"sys/class/thermal/thermal_zone{zone}/temp", value)
    return tmp_path


def test_a_recorded_board(orin):
    board = probe(orin)
    assert board["model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert board["l4t"] == "36.4.3"
    assert board["jetpack"] == "6.2+b77"
    assert board["system"] == "Ubuntu 22.04.5 LTS"
    assert board["memory_mb"] == 7620
    assert board["power_mode"] == {"name": {"absent": "nvpmodel is not on the path"}, "id": 2}


def test_clocks_that_move(orin):
    found = clocks(orin)
    assert found["locked"] is False
    assert found["cpu"] == {
        "locked": False, "min_mhz": 729.6, "max_mhz": 1510.4, "governor": "schedutil",
    }  # fmt: skip
    assert (found["gpu"]["min_mhz"], found["gpu"]["max_mhz"]) == (306.0, 624.75)


def test_clocks_that_are_locked(orin):
    for core in range(6):
        write(orin / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_min_freq", 1510400)
    assert clocks(orin)["cpu"]["locked"] is True
    assert clocks(orin)["locked"] is False  # the GPU still moves
    write(orin / "sys/class/devfreq/17000000.gpu/min_freq", 624750000)
    assert clocks(orin)["locked"] is True


def test_one_core_that_moves_is_enough(orin):
    for core in range(5):
        write(orin / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_min_freq", 1510400)
    assert clocks(orin)["cpu"]["locked"] is False


def test_clocks_without_permission_are_unknown(orin):
    path = orin / "sys/class/devfreq/17000000.gpu/max_freq"
    path.unlink()
    path.mkdir()  # unreadable for root, too
    found = clocks(orin)
    assert "GPU" in found["locked"]["absent"]
    assert found["cpu"]["locked"] is False


@pytest.mark.parametrize(
    "name", ["57000000.gpu", "17000000.gp10b", "17000000.gv11b", "17000000.ga10b", "gpu-gpc-0"]
)
def test_gpu_names_of_all_boards(tmp_path, name):
    write(tmp_path / "sys/class/devfreq" / name / "min_freq", 1000000)
    write(tmp_path / "sys/class/devfreq" / name / "max_freq", 2000000)
    assert clocks(tmp_path)["gpu"]["max_mhz"] == 2.0


def test_temperatures_leave_out_what_has_no_power(orin):
    assert temperatures(orin) == {"cpu-thermal": 46.531, "gpu-thermal": 48.218}
    broken = orin / "sys/class/thermal/thermal_zone0/temp"
    broken.unlink()
    broken.mkdir()
    assert temperatures(orin) == {"gpu-thermal": 48.218}


def test_a_machine_that_is_no_jetson_has_nothing_guessed(tmp_path):
    board = probe(tmp_path)
    for key in ("model", "l4t", "jetpack", "system", "memory_mb", "power_mode"):
        assert set(board[key]) == {"absent"}, key
    assert set(board["clocks"]["locked"]) == {"absent"}
    assert set(temperatures(tmp_path)) == {"absent"}


@pytest.mark.parametrize(
    ("answer", "mode"),
    [
        ("NV Power Mode: 15W\n0\n", {"name": "15W", "id": 0}),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W_6CORE\n2\n",
         {"name": "MODE_15W_6CORE", "id": 2}),
        ("NV Power Mode: MAXN_SUPER", {"name": "MAXN_SUPER",
                                       "id": {"absent": "nvpmodel -q printed no number"}}),
    ],
)  # fmt: skip
def test_power_mode(answer, mode):
    assert parse_power_mode(answer) == mode


def test_power_mode_that_cannot_be_read():
    assert "permission" in parse_power_mode("Error: no permission\n")["absent"]
