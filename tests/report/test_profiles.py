"""Profiles on the page and on the console: the run's own, a desktop's, and those of boards."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from edgesr.cli.main import main
from edgesr.errors import DataError
from edgesr.report import parse
from edgesr.report.charts import Shown, draw_charts
from edgesr.report.model import Profile, SkippedEntry
from edgesr.report.page import render_page
from edgesr.report.profile_table import render_profiles
from edgesr.report.profiles import profiled_networks, read_imports, shown_profiles
from edgesr.report.validation import typed

EVIL = "<img src=x onerror=alert(1)>"
LAYERS = [
    {"layer": "conv + act", "op": "Convolution", "ms": 3.0, "precision": "fp16",
     "nodes": ["conv", "act"], "modules": ["upsampler.expand"]},
    {"layer": "copy", "op": "Reformat", "ms": 1.0},
]  # fmt: skip


def profile(**changes):
    network = {
        "name": "student int8", "layers": LAYERS, "whole_ms": 3.5, "no_memory": "it is not told",
    }  # fmt: skip
    return {
        "runtime": "OpenVINO, CPU", "input_shape": [1, 36, 16, 16], "threads": 2, "runs": 20,
        "networks": [network | changes],
    }  # fmt: skip


@pytest.fixture
def desktop(report, tmp_path):
    """What ``edgesr bench --profile --json`` printed on another machine."""

    def written(name="desktop.json", **changes):
        content = {
            "deployment": {}, "profiles": [profile(**changes)], "not_profiled": [], "boards": [],
            "environment": report["environment"] | {"cpu": "Another CPU"},
        }  # fmt: skip
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return written


@pytest.fixture
def board(read_result):
    """A board that was profiled."""

    def read(layers=LAYERS, memory=5.5, **changes):
        result = read_result()
        model = dict(result.content["models"][0])
        model["profile"] = {
            "runs": 20, "input_shape": [1, 36, 32, 32], "whole_ms": 12.0, "sum_ms": 4.0,
            "device_memory_mb": memory, "layers": layers,
        }  # fmt: skip
        return read_result("orin.json", models=[model, result.content["models"][1]], **changes)

    return read


def own(report):
    report["profile"] = {
        **profile(), "runtime": "ONNX Runtime, CPU",
        "networks": [{"name": "teacher", "layers": LAYERS}],
    }  # fmt: skip
    return parse(report)


def test_the_runs_own_come_first_then_desktops_then_boards(report, desktop, board):
    boards, profiles = read_imports([desktop()])
    assert boards == []
    shown = shown_profiles(own(report), [board()], profiles)
    assert [one.title for one in profiled_networks(shown)] == [
        f"teacher, ONNX Runtime, CPU, {report['environment']['cpu']}",
        "student int8, OpenVINO, CPU, Another CPU",
        "fp16, tensorrt 10.3, Orin Nano, 15W",
    ]
    assert [one.network.memory_mb for one in profiled_networks(shown)] == [None, None, 5.5]


def test_every_profiled_network_has_a_chart_of_its_own(report, desktop, board):
    parsed, boards = own(report), [board()]
    profiles = shown_profiles(parsed, boards, read_imports([desktop()])[1])
    drawn = {one.id: one for one in draw_charts(Shown(parsed, boards, profiles))}
    assert {"layers-0", "layers-1", "layers-2"} <= drawn.keys()
    bars = drawn["layers-2"].themes["light"]["data"]
    assert {bar["name"]: (bar["x"], bar["y"]) for bar in bars} == {
        "fp16": ([1], [3.0]), "fp32": ([2], [1.0]),
    }  # fmt: skip
    assert bars[0]["customdata"] == [["conv + act", "Convolution of upsampler.expand"]]


def test_the_page_tells_times_shares_origins_and_memory(report, desktop, board):
    page = render_page(own(report), None, [board()], read_imports([desktop()])[1])
    for words in (
        "Layers of fp16, tensorrt 10.3, Orin Nano, 15W",
        '<td class="text">upsampler.expand</td>',
        "75.0 %",
        "sum of layers 4.000 ms, whole call without the profiler 12.000 ms; peak memory 5.5 MB",
        "peak memory not known: it is not told",
    ):
        assert words in page, words


def test_names_of_layers_stay_text(report, desktop, board):
    evil = [{**LAYERS[0], "layer": EVIL, "op": EVIL, "nodes": [EVIL], "modules": [EVIL]}]
    page = render_page(
        own(report), None, [board(evil)], read_imports([desktop(layers=evil, name=EVIL)])[1]
    )
    assert EVIL not in page
    assert "<img" not in page


def test_a_board_without_a_profiler_shows_none(report, read_result, board):
    result = board()
    result.content["models"][0]["profile"] = {"absent": "no IProfiler"}
    assert shown_profiles(parse(report), [result, read_result()], []) == []


@pytest.mark.parametrize(
    "content",
    [
        {"profiles": 3, "environment": {}},
        {"profiles": []},
        {"profiles": [profile(layers=[{"layer": "x"}])]},
        {"profiles": [profile(whole_ms=-1.0)]},
        {"profiles": [profile(whole_ms=float("inf"))]},
        {"schema_version": 1},
        [],
    ],
)
def test_what_is_neither_is_refused_in_one_line(report, tmp_path, content):
    if isinstance(content, dict) and content.get("profiles"):
        content.setdefault("environment", report["environment"])
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        read_imports([path])
    assert "\n" not in str(caught.value)
    assert "other.json" in str(caught.value)


def test_the_command_takes_both_kinds(report, desktop, workplace, capsys):
    (workplace / "run").mkdir()
    (workplace / "run" / "report.json").write_text(json.dumps(report))
    assert main(["report", "run", "--import", str(desktop())]) == 0
    page = (workplace / "run" / "report.html").read_text()
    assert "student int8, OpenVINO, CPU, Another CPU" in page
    assert main(["report", "run", "--import", str(desktop()), "nowhere.json"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_console_lists_the_slowest_layers_and_what_is_absent():
    many = [{"layer": f"layer {n}", "op": "Add", "ms": 1.0 * n} for n in range(20)]
    out = StringIO()
    render_profiles(
        [typed(profile(layers=many, memory_mb=2.0), Profile)],
        [SkippedEntry(what="fp16, TensorRT", why="it needs a GPU")],
        Console(file=out, width=100),
    )
    lines = out.getvalue().splitlines()
    assert "student int8, OpenVINO, CPU" in lines[1]
    rows = [line.split() for line in lines if " Add " in line]
    assert [row[1] for row in rows] == [str(n) for n in range(19, 7, -1)]
    assert rows[0][-2:] == ["19.000", "10.0%"]
    assert "8 others" in out.getvalue()
    assert "sum of layers 190.000 ms, whole call without the profiler 3.500 ms" in out.getvalue()
    assert "peak memory 2.0 MB" in out.getvalue()
    assert "not profiled: fp16, TensorRT: it needs a GPU" in out.getvalue()
