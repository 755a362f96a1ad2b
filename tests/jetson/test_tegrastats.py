from __future__ import annotations

from pathlib import Path

import pytest
from edgesr_jetson.board.rails import total_mw
from edgesr_jetson.board.tegrastats import Core, parse
from hypothesis import given, settings
from hypothesis import strategies as st

LINES = dict(
    line.split(" | ", 1)
    for line in (Path(__file__).parent / "tegrastats_lines.txt").read_text().splitlines()
    if not line.startswith("#")
)

# Read off the lines by eye: current power by rail, temperatures of parts that have power.
RAILS = {
    "Nano, JetPack 4": {"POM_5V_IN": 1057, "POM_5V_GPU": 0, "POM_5V_CPU": 126},
    "AGX Xavier, JetPack 4.2": {
        "GPU": 463, "CPU": 618, "SOC": 2936, "CV": 0, "VDDRQ": 309, "SYS5V": 3306,
    },
    "AGX Xavier, JetPack 5": {
        "GPU": 467, "CPU": 467, "SOC": 1245, "CV": 0, "VDDRQ": 311, "SYS5V": 2768,
    },
    "Xavier NX, JetPack 5": {"VDD_IN": 5079, "VDD_CPU_GPU_CV": 696, "VDD_SOC": 1104},
    "AGX Orin, JetPack 5": {
        "VDD_GPU_SOC": 2399, "VDD_CPU_CV": 400, "VIN_SYS_5V0": 4032, "VDDQ_VDD2_1V8AO": 301,
    },
    "Orin Nano, JetPack 6": {"VDD_IN": 5704, "VDD_CPU_GPU_CV": 831, "VDD_SOC": 1624},
    "AGX Orin, JetPack 7.2": {"VDD_GPU_SOC": 5139, "VDD_CPU_CV": 3268, "VIN_SYS_5V0": 5500},
    "Thor, JetPack 7.1": {
        "VDD_GPU": 1962, "VDD_CPU_SOC_MSS": 5887, "VIN_SYS_5V0": 5635, "VIN": 19780,
    },
    "Thor, JetPack 7.2, not root": {
        "VDD_GPU": 37528, "VDD_CPU_SOC_MSS": 18961, "VIN_SYS_5V0": 18331, "VIN": 87426,
    },
    "TX2, JetPack 4": {
        "VDD_SYS_GPU": 153, "VDD_SYS_SOC": 536, "VDD_4V0_WIFI": 633, "VDD_IN": 3140,
        "VDD_SYS_CPU": 536, "VDD_SYS_DDR": 557,
    },
    "Thor, a negative rail": {
        "VDD_GPU": -392, "VDD_CPU_SOC_MSS": 3924, "VIN_SYS_5V0": 5064, "VIN": 15004,
    },
}  # fmt: skip
TOTALS = {
    "Nano, JetPack 4": 1057,
    "AGX Xavier, JetPack 4.2": 463 + 618 + 2936 + 0 + 309 + 3306,
    "AGX Xavier, JetPack 5": 467 + 467 + 1245 + 0 + 311 + 2768,
    "Xavier NX, JetPack 5": 5079,
    "AGX Orin, JetPack 5": 2399 + 400 + 4032 + 301,
    "Orin Nano, JetPack 6": 5704,
    "AGX Orin, JetPack 7.2": 5139 + 3268 + 5500,
    "Thor, JetPack 7.1": 19780,
    "Thor, JetPack 7.2, not root": 87426,
    "TX2, JetPack 4": 3140,
    "Thor, a negative rail": 15004,
}
TEMPERATURES = {
    "Nano, JetPack 4": {
        "PLL": 26, "CPU": 29.5, "iwlwifi": 33, "PMIC": 100, "GPU": 29, "AO": 38.5, "thermal": 29.5,
    },
    "AGX Orin, JetPack 5": {
        "CPU": 42.593, "Tboard": 32, "SOC2": 39.343, "Tdiode": 33.25, "SOC0": 39.375,
        "tj": 42.593, "SOC1": 40.468,
    },
    "AGX Orin, JetPack 7.2": {"cpu": 52.968, "soc2": 48.406, "soc0": 49.531, "gpu": 47.625},
    "TX2, JetPack 4": {"PLL": 42.5},
    "Thor, a negative rail": {},
}  # fmt: skip
GPU = {  # load in percent, clocks in MHz
    "Nano, JetPack 4": (0, (76,)),
    "AGX Xavier, JetPack 4.2": (0, ()),
    "Xavier NX, JetPack 5": (0, (510,)),
    "AGX Orin, JetPack 5": (0, (0,)),
    "AGX Orin, JetPack 7.2": (12, (1300, 1300)),
    "Thor, JetPack 7.1": (None, (314, 314, 314)),
    "Thor, JetPack 7.2, not root": (None, ()),
}


def test_every_published_line_has_an_expectation():
    assert set(LINES) == set(RAILS) == set(TOTALS)
    assert len(LINES) == 11


@pytest.mark.parametrize("board", LINES)
def test_rails_and_total(board):
    reading = parse(LINES[board])
    assert reading.rails_mw == RAILS[board]
    assert total_mw(reading.rails_mw) == TOTALS[board]


@pytest.mark.parametrize("board", TEMPERATURES)
def test_temperatures_leave_out_parts_without_power(board):
    assert parse(LINES[board]).temperatures_c == TEMPERATURES[board]


@pytest.mark.parametrize("board", GPU)
def test_gpu_load_and_clocks(board):
    reading = parse(LINES[board])
    assert (reading.gpu_load_percent, reading.gpu_mhz) == GPU[board]


def test_memory_and_date():
    reading = parse(LINES["Orin Nano, JetPack 6"])
    assert reading.date == "11-30-2025 13:26:01"
    assert reading.ram_mb == (2461, 7620)
    assert reading.swap_mb == (1243, 3810)
    assert parse(LINES["Nano, JetPack 4"]).date is None
    assert parse(LINES["Xavier NX, JetPack 5"]).ram_mb == (2690, 6854)
    assert parse(LINES["TX2, JetPack 4"]).swap_mb is None


def test_cores_that_are_off():
    cores = parse(LINES["Xavier NX, JetPack 5"]).cpu
    assert cores == (
        Core(3, 1904), Core(7, 1906), Core(1, 1905), Core(0, 1907), Core(None, None),
        Core(None, None),
    )  # fmt: skip


def test_what_is_not_understood_is_kept():
    words = parse(LINES["Orin Nano, JetPack 6"]).unknown
    assert words[words.index("NVDEC") : words.index("NVDEC") + 2] == ("NVDEC", "off")
    assert "EMC_FREQ" in words
    assert "VDD_IN" not in words


@pytest.mark.parametrize("board", LINES)
def test_a_truncated_line_is_never_fatal(board):
    line = LINES[board]
    for end in range(len(line)):
        parse(line[:end])


@pytest.mark.parametrize(
    "text",
    ["RAM {0}/{0}MB", "VDD_IN {0}/{0}", "cpu@{0}C", "CPU [{0}%@1]", "GR3D_FREQ {0}%@[{0},{0}]"],
)
def test_absurd_numbers_are_never_fatal(text):
    parse(text.format("9" * 5000))


@given(st.text())
def test_any_text_is_parsed(text):
    assert isinstance(parse(text).unknown, tuple)


NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{2,12}", fullmatch=True).filter(
    lambda name: name not in {"RAM", "SWAP", "CPU", "IRAM"} and not name.endswith("_FREQ")
)
MILLIWATTS = st.integers(-5000, 200_000)


@settings(max_examples=50)
@given(
    st.dictionaries(NAMES, st.tuples(MILLIWATTS, MILLIWATTS, MILLIWATTS), max_size=6),
    st.sampled_from(["", "mW"]),
    st.booleans(),
    st.dictionaries(st.from_regex(r"[a-z]{2,5}\d?", fullmatch=True), st.integers(-40, 120)),
)
def test_generated_lines_come_back(rails, unit, three, temperatures):
    words = [
        f"{name} " + "/".join(f"{value}{unit}" for value in values[: 3 if three else 2])
        for name, values in rails.items()
    ]
    words += [f"{name}@{value}C" for name, value in temperatures.items()]
    reading = parse("RAM 1/2MB (lfb 1x1MB) CPU [1%@10,off] " + " ".join(words))
    assert reading.rails_mw == {name: values[0] for name, values in rails.items()}
    assert reading.temperatures_c == temperatures
    assert reading.unknown == ()
