from __future__ import annotations

import pytest

from edgesr.report import parse
from edgesr.report.board_view import board_sections


def test_a_board_with_sensors(report, read_result):
    (board,) = board_sections(parse(report), [read_result()])
    assert board["name"] == "Orin Nano, 15W"
    assert board["same_run"]
    facts = dict(board["facts"])
    assert facts["clocks locked"] == "yes"
    assert facts["runtime"] == "tensorrt 10.3"
    assert facts["measured"] == "4 February 2031, 10:00"
    assert "JetPack" not in facts
    assert board["notes"] == ["JetPack: no package"]
    fp16, int8 = board["models"]
    shown = [
        fp16[key]
        for key in ("median", "p99", "alone", "lines", "slowdown", "watts", "energy", "hottest")
    ]
    assert shown == ["12.5", "14.5", "12.0", "2,560", "1.04", "9.00", "50.0", "61"]
    assert (fp16["energy_idle"], fp16["difference"]) == ("112.5", "4.8e-04")
    assert int8["why_not"] == "failed: no layer of the engine has it"


def test_what_is_absent_is_a_dash_with_a_reason_once(report, read_result):
    models = read_result().content["models"][:1] * 2
    for key in ("sustained", "power"):
        models = [model | {key: {"absent": f"no {key}"}} for model in models]
    (board,) = board_sections(parse(report), [read_result(models=models)])
    assert (board["models"][0]["watts"], board["models"][0]["slowdown"]) == ("–", "–")
    assert board["notes"].count("power: no power") == 1


def test_another_run_and_a_failure_are_told(report, read_result, chart_of):
    (board,) = board_sections(
        parse(report),
        [read_result(bundle=None, board=None, runtime=None, ok=False, error="damaged", models=[])],
    )
    assert not board["same_run"]
    assert (board["name"], board["error"], board["models"]) == ("orin.json", "damaged", [])
    assert chart_of("boards", report, boards=[]) == {}


def test_results_of_one_board_are_told_apart(report, read_result, chart_of):
    boards = [read_result("a.json"), read_result("b.json")]
    names = [board["name"] for board in board_sections(parse(report), boards)]
    assert names == ["Orin Nano, 15W (a.json)", "Orin Nano, 15W (b.json)"]
    chart = chart_of("boards", report, boards=boards)["light"]
    assert chart["data"][0]["x"] == [12.5, 12.5]
    assert chart["data"][0]["error_x"]["array"] == [2.0, 2.0]
    assert chart["layout"]["yaxis"]["ticktext"][0] == "Orin Nano, 15W (a.json)<br>fp16"


def test_live(report, read_result):
    times = {"median": 2.0, "p95": 3.0, "p99": 3.5, "min": 1.0, "max": 4.0, "repeats": 9}
    live = {
        "source": "pipe", "kind": "lines", "interrupted": False, "input_shape": [1, 36, 32, 32],
        "context_lines": 0, "seconds": 9.0,
        "lines": {"received": 1200, "processed": 1190, "dropped": 10, "with_nodata": 0},
        "latency_per_line_ms": times | {"median": 80.0}, "processing_per_line_ms": times,
        "sustainable_line_rate_hz": 500,
        "real_time": {
            "line_rate_hz": 230.4, "line_period_ms": 4.34, "margin_ms": 2.34, "load": 0.5,
        },
        "published_mark": {}, "power": {"absent": "no sensor"},
        "temperatures_c": {"start": {}, "end": {}},
    }  # fmt: skip
    (board,) = board_sections(parse(report), [read_result(mode="live", live=live)])
    told = dict(board["live"])
    assert told["lines"] == "1,200 received, 1,190 super-resolved, 10 dropped"
    assert told["margin"] == "2.340 ms of 4.340 ms a line"
    assert "energy a line" not in told
    assert "energy: no sensor" in board["notes"]


@pytest.mark.parametrize("name", ["<b>x</b>", "a & b"])
def test_names_of_boards_are_no_markup_in_charts(report, read_result, name, chart_of):
    machine = read_result().content["board"] | {"model": name}
    chart = chart_of("boards", report, boards=[read_result(board=machine)])["light"]
    assert "<b>x" not in chart["layout"]["yaxis"]["ticktext"][0]
