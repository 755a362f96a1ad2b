"""Measuring a run again: the same models, the same quality; only the times are new."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgesr.cli.main import main
from edgesr.commands.bench import bench, stored
from edgesr.compress import compress
from edgesr.errors import OptionError
from edgesr.report.model import Profile
from edgesr.report.validation import typed

OLD_REPORT = Path(__file__).parents[1] / "report" / "report_v1.json"


@pytest.fixture
def finished(workplace, plain_export, small_recipe) -> Path:
    compress(replace(small_recipe, targets=("cpu", "openvino")), Path("run"))
    return Path("run")


def timeless(table):
    return [
        {key: value for key, value in row.items() if key != "latency_ms"}
        for row in table["deployment"]["models"]
    ]


def test_the_same_models_are_measured_as_in_the_run(finished):
    again = bench(finished, tile=10, threads=1, profile=True)
    assert timeless(again) == timeless(stored(finished))
    assert again["deployment"]["input_shape"][2:] == [10, 10]
    names = {ratio["name"] for ratio in again["deployment"]["ratios"]}
    assert "exact rewrites, paper's network" in names
    assert "exact rewrites, teacher network" in names
    profiles = {one.runtime: one for one in typed(again["profiles"], list[Profile])}
    assert list(profiles) == ["ONNX Runtime, CPU", "OpenVINO, CPU", "PyTorch, CPU"]
    assert again["not_profiled"] == []
    for one in profiles.values():
        assert (one.runs, one.threads, one.input_shape) == (20, 1, [1, 8, 10, 10])
        for network in one.networks:
            assert network.name.startswith("student")
            assert network.layers
            assert network.whole_ms > 0


def test_the_command_prints_the_stored_table_without_measuring(finished, capsys):
    assert main(["bench", str(finished), "--no-measure", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    report = json.loads((finished / "report.json").read_text())
    assert told["deployment"] == report["deployment"]
    assert told["boards"] == []


def test_a_run_from_before_the_report_was_typed(tmp_path, capsys):
    shutil.copy(OLD_REPORT, tmp_path / "report.json")
    old = json.loads(OLD_REPORT.read_text())
    assert stored(tmp_path) == {key: old[key] for key in ("deployment", "environment")}
    assert main(["bench", str(tmp_path), "--no-measure"]) == 0
    assert "OpenVINO" in capsys.readouterr().out


def test_refusals_are_one_line(finished, capsys):
    for arguments in (
        ["nowhere"],
        [str(finished), "--tile", "0"],
        [str(finished), "--import", "no"],
        [str(finished), "--profile", "--no-measure"],
    ):
        assert main(["bench", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    shutil.rmtree(finished / "models")
    with pytest.raises(OptionError, match=r"lost models/cpu-fp32\.onnx"):
        bench(finished)
