from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgesr.report import render
from edgesr.report.wording import quantity


def printed(report, **options):
    """What a pipe of 80 columns receives."""
    stream = io.StringIO()
    render(report, Console(file=stream, width=80, highlight=False, **options))
    return stream.getvalue()


def row(text, start):
    return next(line for line in text.splitlines() if line.strip(" >").startswith(start)).split()


def test_the_first_line_says_what_was_gained_and_lost(report):
    first = printed(report).strip().splitlines()[0]
    assert "lkca_net x4, indian_pines" in first
    assert "13.2x smaller" in first  # 664,128 / 50,280
    assert "1.38x faster" in first  # 41.3 / 29.9
    assert "-0.011 dB" in first


def test_the_networks_stand_side_by_side(report):
    text = printed(report)
    assert row(text, "bicubic")[1:3] == ["30.105", "5.020"]
    teacher, student = (" ".join(row(text, name)[1:]) for name in ("teacher", "student"))
    assert teacher == "31.412 4.512 1.903 M 664.1 k 0.4050 G 41.3"
    assert student == "31.401 4.512 1.289 M 50.28 k 0.2490 G 29.9"
    assert row(text, "paper's g=8")[2:4] == ["31.412", "4.512"]


def test_the_chosen_candidate_is_marked_without_colour(report):
    marked = [line for line in printed(report).splitlines() if line.strip().startswith(">")]
    assert len(marked) == 1
    assert "low-rank R=24" in marked[0]


def test_intervals_and_candidates_that_are_equal_within_them_are_shown(report):
    first, other = report["candidates"][0], report["candidates"][2]
    first["validation"] |= {"mpsnr_interval": [-0.01, 0.034], "sam_interval": [0.0, 0.1]}
    other["equal"] = True
    text = printed(report)
    lines = [line for line in text.splitlines() if "low-rank" in line or "grouped" in line]
    assert any("-0.034" in line.split() for line in lines)
    assert any(line.strip().startswith("=") for line in lines)
    assert "lower end of its interval" in " ".join(text.split())


def test_what_int8_changes_is_said_with_its_interval(report):
    assert "change on budget blocks:" not in printed(report)
    quantised = report["deployment"]["models"][0]
    quantised["precision"] = "int8"
    quality = {"mpsnr": 31.4, "sam": 2.0}
    quantised["validation"] = {
        "before": quality, "after": quality, "drop": {"mpsnr": 0.012, "sam": 0.004},
    }  # fmt: skip
    change = f"int8 change on budget blocks: {quantised['target']} -0.012 dB, +0.004 deg"
    assert change in " ".join(printed(report).split())
    quantised["validation"] |= {"mpsnr_interval": [-0.01, 0.034], "sam_interval": [0.001, 0.009]}
    assert f"{change} (at worst -0.034 dB, +0.009 deg)" in " ".join(printed(report).split())


def test_folds_are_said_where_they_were_measured(report):
    assert "folds" not in printed(report)
    report["candidates"][0]["validation"]["folds"] = 6
    report["data"]["split"]["budget"] = {"windows": 1, "sizes": ["16 x 16"]}
    text = " ".join(printed(report).split())
    assert "folds 1 budget block alone would make no sound interval" in text
    assert "6 folds of the training part" in text
    assert "what it loses is measured on budget blocks alone" in text


def test_what_the_figures_hold_for_is_stated(report):
    text = " ".join(printed(report).split())
    for words in (
        "1 x 36 x 32 x 32, median of 20, onnxruntime CPU float32, 2 threads, AMD EPYC",
        "bands 4-32,36-42",
        "at most 4.8e-07 (2 inputs)",
        "runs/20310203-040506: student.safetensors, model.onnx, recipe.toml",
        "90% of the sum at rank 301, of the energy at 24, of 576",
    ):
        assert words in text


def test_eighty_columns_and_no_escape_codes_in_a_pipe(report):
    text = printed(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_no_figure_is_cut_off(report):
    slow = {**report["teacher"]["latency_ms"], "median": 12345.6}
    report["teacher"] |= {"latency_ms": slow, "naive_latency_ms": slow}
    report["student"]["macs"] = 91_430_912
    report["paper_baseline"]["macs"] = 27_150_000_000
    report["candidates"][0]["latency_ms"] = 1000.4
    text = printed(report)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert row(text, "teacher, plain")[-1] == row(text, "teacher")[-1] == "12346"
    assert "plain: exported without rewrites" in " ".join(text.split())


def test_colour_is_left_out_on_request(report, monkeypatch):
    assert "\x1b[1;32m" in printed(report, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "32m" not in printed(report, force_terminal=True)


def test_an_ascii_terminal_is_enough(report):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    render(report, Console(file=stream, width=80))
    stream.flush()
    assert b"student" in stream.buffer.getvalue()


def test_a_run_without_baseline_folder_or_candidates_is_printed(report):
    del report["folder"]
    text = printed(report | {"paper_baseline": None, "candidates": []})
    assert "paper's" not in text
    assert "Candidates" not in text


def test_a_teacher_below_bicubic_is_warned_of(report):
    assert "warning" not in printed(report)
    report["teacher"]["metrics"]["mpsnr"] = 29.105
    assert "warning the teacher is 1.000 dB below bicubic" in " ".join(printed(report).split())


def test_multiply_accumulates_stand_in_one_unit(report):
    report["student"]["macs"] = 91_430_912
    assert "0.0914 G" in printed(report)


def test_a_slower_student_is_called_slower(report):
    report["student"]["latency_ms"]["median"] = 82.6
    assert "2.00x slower" in printed(report)


@pytest.mark.parametrize(
    ("number", "text"),
    [(3_707_392, "3.707 M"), (866_942_976, "0.8669 G"), (73_728, "73.73 k"), (12, "12")],
)
def test_quantities_are_printed_as_papers_do(number, text):
    assert quantity(number) == text


@given(st.integers(1000, 10**13))
def test_quantities_keep_three_places(number):
    value, unit = quantity(number).split()
    assert float(value) * {"k": 1e3, "M": 1e6, "G": 1e9}[unit] == pytest.approx(number, rel=1e-3)


def test_candidates_of_hundreds_of_milliseconds_keep_within_eighty(report):
    for number, candidate in enumerate(report["candidates"]):
        candidate["latency_ms"] = 184.04 + number
    text = printed(report)
    rows = [line.split() for line in text.splitlines()]
    assert sum(row[-1:] == ["184"] for row in rows) == 1
    assert max(map(len, text.splitlines())) <= 80
    assert "\u2026" not in text


def test_native_latencies_are_a_column_within_eighty(report):
    model = next(one for one in report["deployment"]["models"] if one["latency_ms"])
    link = {"name": "native numbers", "difference": 1.0, "tolerance": 1.0, "equal": 0.99999,
            "worst": "scene", "images": 9, "skipped": {}}  # fmt: skip
    model["native"] = {
        "path": "models/cpu-fp32.native.onnx", "bytes": 5_800_000, "sha256": "0" * 64,
        "input_dtype": "int16", "output_dtype": "int16", "sensor_bands": 242, "links": [link],
        "latency_ms": {"median": 123.45, "p95": 130.0}, "numpy_ms": {"median": 167.8, "p95": 170.0},
    }  # fmt: skip
    model |= {"runtime": "OpenVINO, CPU", "precision": "int8, bf16", "latency_ms":
              {"median": 913.7, "p95": 950.0}, "counts": {"int8": 50, "fp32": 66}}  # fmt: skip
    report["deployment"]["models"] = [model]
    text = printed(report)
    assert row(text, "OpenVINO int8, bf16")[-2:] == ["913.7", "123.5"]
    assert max(map(len, text.splitlines())) <= 80
    assert "\u2026" not in text
    told = " ".join(text.split())
    assert "ms from int16 of 242 bands to int16" in told
    assert "99.999% as the model answers to the same numbers, the others within 1 (int16)" in told
    assert "cpu-fp32.native.onnx: 123.5 ms, with the numbers converted by NumPy 167.8 ms" in told
