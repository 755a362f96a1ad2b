from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.report.charts._gain import pareto_front
from edgesr.report.charts.operators import OTHERS
from edgesr.report.palette import DARK, LIGHT, Palette
from edgesr.surgery.passes import PASSES, Pass


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-4, 4)), min_size=1, max_size=12))
def test_the_front_is_what_nobody_beats(points):
    front = pareto_front([(float(ms), -float(drop)) for ms, drop in points])
    found = {(ms, -gain) for ms, gain in front}
    best = {
        (ms, drop)
        for ms, drop in points
        if not any(other != (ms, drop) and other[0] <= ms and other[1] <= drop for other in points)
    }
    assert found == best
    assert [ms for ms, _ in front] == sorted(ms for ms, _ in front)


def test_both_themes_show_the_same_figures_in_other_colours(report, chart_of):
    for name in ("share", "spectrum", "pareto", "latency"):
        chart = chart_of(name, report)
        assert set(chart) == {"light", "dark"}
        light, dark = (json.dumps(chart[theme]) for theme in ("light", "dark"))
        assert LIGHT.ink in light
        assert LIGHT.ink not in dark
        assert DARK.ink in dark
        for a, b in zip(chart["light"]["data"], chart["dark"]["data"], strict=True):
            assert (a.get("x"), a.get("y")) == (b.get("x"), b.get("y"))


def test_share_adds_up_to_the_parameters(report, chart_of):
    backbone, upsampler = chart_of("share", report)["light"]["data"]
    assert backbone["y"] == ["teacher", "student", "paper's g=8"]
    assert upsampler["x"] == [664_128, 50_280, 83_520]
    sums = [a + b for a, b in zip(backbone["x"], upsampler["x"], strict=True)]
    assert sums == [1_902_848, 1_289_000, 1_902_848]
    assert backbone["text"][0] == "65%"  # 1 - 664128 / 1902848


def test_the_spectrum_is_cumulated_as_numpy_does(report, chart_of):
    values = np.array(report["spectrum"][0]["singular_values"])
    energy, _, total, _ = chart_of("spectrum", report)["light"]["data"]
    np.testing.assert_allclose(energy["y"], [0, *np.cumsum(values**2) / np.sum(values**2)])
    np.testing.assert_allclose(total["y"], [0, *np.cumsum(values) / np.sum(values)])


def test_every_timed_candidate_is_drawn_and_the_budget_where_there_is_one(report, chart_of):
    report["recipe"] = {"max_psnr_drop": 0.05}
    chart = chart_of("pareto", report)["light"]
    _, low_rank, grouped, chosen = chart["data"]
    assert low_rank["y"] == [-0.012, -0.012, -0.31]
    assert grouped["y"] == [-1.31]  # g=2 has no latency
    assert chosen["text"] == ["<b>low-rank R=24</b>"]
    assert chart["layout"]["shapes"][0]["y0"] == -0.05
    report["recipe"] = {}
    assert not chart_of("pareto", report)["light"]["layout"].get("shapes")


def test_a_pass_from_elsewhere_has_its_name_and_a_neutral_colour(report, chart_of):
    report["candidates"].append(
        report["candidates"][0] | {"pass": "folded", "setting": 5, "latency_ms": 20.0}
    )
    del report["candidates"][-1]["rank"]
    folded = chart_of("pareto", report)["light"]["data"][3]
    assert (folded["name"], folded["text"], folded["x"]) == ("folded", [" 5"], [20.0])
    assert folded["customdata"][0][0] == "folded 5"
    assert (folded["marker"]["color"], folded["marker"]["symbol"]) == (Pass.colours[0], Pass.marker)


def test_latency_shows_the_models_of_the_deployment_instead_of_the_student(report, chart_of):
    report["teacher"]["naive_latency_ms"] = report["teacher"]["latency_ms"] | {"median": 90.0}
    chart = chart_of("latency", report)["light"]
    names = chart["layout"]["yaxis"]["ticktext"]
    assert names[:3] == ["teacher, plain export", "teacher", "paper's g=8"]
    assert names[3:] == ["student fp32<br>ONNX Runtime CPU", "student int8, bf16<br>OpenVINO CPU"]
    assert chart["data"][0]["x"] == [90.0, 41.3, 41.3, 29.9, 9.5]
    del report["deployment"]
    names = chart_of("latency", report)["light"]["layout"]["yaxis"]["ticktext"]
    assert names == ["teacher, plain export", "teacher", "student", "paper's g=8"]


@pytest.mark.parametrize("name", ["tuning_mpsnr", "val_mpsnr"])  # the second of old files
def test_training_needs_a_history_that_says_something(name, report, chart_of):
    assert chart_of("training", report) == {}
    report["distillation"]["history"] = [{"epoch": 1, name: 31.2}]
    (line,) = chart_of("training", report)["dark"]["data"]
    assert (line["x"], line["y"]) == ([1], [31.2])


def test_names_of_files_are_no_markup(report, chart_of):
    report["teacher"]["naive_latency_ms"] = report["teacher"]["latency_ms"]
    report["deployment"]["models"][0]["runtime"] = "<a href='x'>runtime</a>"
    report["candidates"][0]["reason"] = "<b>bold</b>"
    assert "<a href" not in json.dumps(chart_of("latency", report))
    assert "<b>bold" not in json.dumps(chart_of("pareto", report))


@pytest.fixture
def profiled(report):
    layers = [
        {"layer": "a", "op": "Conv", "ms": 2.0},
        {"layer": "b", "op": "Add", "ms": 0.5, "precision": "int8"},
        {"layer": "c", "op": "Conv", "ms": 1.0},
    ]
    report["profile"] = {
        "runtime": "ONNX Runtime, CPU", "input_shape": [1, 36, 32, 32], "threads": 2, "runs": 9,
        "networks": [{"name": "teacher", "layers": layers}, {"name": "student", "layers": []}],
    }  # fmt: skip
    return report


def test_operators_are_summed_and_layers_keep_their_order(profiled, chart_of):
    teacher, student = chart_of("operators", profiled)["light"]["data"]
    assert (teacher["y"], teacher["x"]) == (["Conv", "Add"], [3.0, 0.5])
    assert student["x"] == [0, 0]
    plain, low = chart_of("layers", profiled)["light"]["data"]
    assert (plain["name"], plain["x"], plain["y"]) == ("fp32", [1, 3], [2.0, 1.0])
    assert (low["name"], low["x"], low["y"]) == ("int8", [2], [0.5])


def test_rare_operators_are_put_together(profiled, chart_of):
    profiled["profile"]["networks"][0]["layers"] = [
        {"layer": str(i), "op": f"Op{i}", "ms": 20.0 - i} for i in range(12)
    ]
    teacher, _ = chart_of("operators", profiled)["light"]["data"]
    assert teacher["y"][-1] == OTHERS
    assert sum(teacher["x"]) == pytest.approx(sum(20.0 - i for i in range(12)))


def contrast(a: str, b: str) -> float:
    """Contrast ratio of WCAG 2.1."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_and_lines_can_be_seen(palette: Palette):
    for name in ("ink", "muted", "accent", "good", "warn"):
        for ground in (palette.background, palette.surface):
            assert contrast(getattr(palette, name), ground) >= 4.5, name
    for name, colour in palette.series.items():
        assert contrast(colour, palette.background) >= (2.8 if name == "bicubic" else 3), name
    for kind in (Pass, *PASSES.load().values()):
        assert contrast(palette.pick(kind.colours), palette.background) >= 3, kind
    assert contrast(palette.ink, palette.backbone) >= 4.5
    assert contrast(palette.background, palette.upsampler) >= 4.5
