from __future__ import annotations

import re
from pathlib import Path

import pytest
from edgesr_jetson.board.backend import RUNTIMES
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.live_source import LAYOUTS
from edgesr_jetson.board.options import parse_options

README = Path(__file__).parents[2] / "jetson" / "edgesr_jetson" / "board" / "README.md"
OF_OTHER_PROGRAMS = {"--import", "--noDataTransfers", "--restore", "--show"}


def test_the_defaults_are_a_whole_measurement():
    options = parse_options([])
    assert (options.repeats, options.duration, options.idle) == (100, 60.0, 10.0)
    assert options.live is None
    assert options.output == "result.json"


def test_values():
    options = parse_options(["--tile", "32x100", "--models", "int8, fp16", "--line-rate", "230.4"])
    assert options.tile == (32, 100)
    assert options.models == ["int8", "fp16"]
    assert options.line_rate == 230.4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tile", "32"], ["--tile", "0x4"], ["--repeats", "0"], ["--duration", "-1"],
        ["--duration", "nan"], ["--line-rate", "0"], ["--line-rate", "inf"], ["--context", "-1"],
        ["--layout", "bsp"], ["--runtime", "torch"], ["--nonsense"], ["stray"], ["--queue", "x"],
        ["--nodata", "none"], ["--stall", "0"], ["--write-dtype", "float64"], ["--bands", "0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_values_that_cannot_be_used(arguments):
    with pytest.raises(BoardError, match="see python3 run") as error:
        parse_options(arguments)
    assert "\n" not in str(error.value)


def test_choices_are_those_of_the_code():
    for runtime in RUNTIMES:
        assert parse_options(["--runtime", runtime]).runtime == runtime
    for layout in LAYOUTS:
        assert parse_options(["--layout", layout]).layout == layout


def test_the_readme_names_options_that_exist():
    named = set(re.findall(r"(?<![\w-])--[A-Za-z][A-Za-z-]*", README.read_text()))
    known = {f"--{name.replace('_', '-')}" for name in vars(parse_options([]))}
    assert named - OF_OTHER_PROGRAMS <= known
    assert {"--live", "--duration", "--output", "--bundle-id"} <= named
