from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.report import figures, profile_chart
from edgesr.report.palette import DARK, LIGHT, Palette


def candidate(latency: float, drop: float) -> dict:
    return {"latency_ms": latency, "validation": {"mpsnr_drop": drop}}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-4, 4)), min_size=1, max_size=12))
def test_the_front_is_what_nobody_beats(points):
    front = figures.pareto_front([candidate(float(ms), float(drop)) for ms, drop in points])
    found = {(c["latency_ms"], c["validation"]["mpsnr_drop"]) for c in front}
    best = {
        (ms, drop)
        for ms, drop in points
        if not any(other != (ms, drop) and other[0] <= ms and other[1] <= drop for other in points)
    }
    assert found == best
    assert [c["latency_ms"] for c in front] == sorted(c["latency_ms"] for c in front)


def test_both_themes_show_the_same_figures_in_other_colours(report):
    for chart in (
        figures.parameter_share(report),
        figures.cumulative_spectrum(report, 0),
        figures.pareto(report),
        figures.latency(report),
    ):
        assert set(chart) == {"light", "dark"}
        light, dark = (json.dumps(chart[theme]) for theme in ("light", "dark"))
        assert LIGHT.ink in light
        assert LIGHT.ink not in dark
        assert DARK.ink in dark
        for a, b in zip(chart["light"]["data"], chart["dark"]["data"], strict=True):
            assert (a.get("x"), a.get("y")) == (b.get("x"), b.get("y"))


def test_share_adds_up_to_the_parameters(report):
    backbone, upsampler = figures.parameter_share(report)["light"]["data"]
    assert backbone["y"] == ["teacher", "student", "paper's g=8"]
    assert upsampler["x"] == [664_128, 50_280, 83_520]
    sums = [a + b for a, b in zip(backbone["x"], upsampler["x"], strict=True)]
    assert sums == [1_902_848, 1_289_000, 1_902_848]
    assert backbone["text"][0] == "65%"  # 1 - 664128 / 1902848


def test_the_spectrum_is_cumulated_as_numpy_does(report):
    values = np.array(report["spectrum"][0]["singular_values"])
    energy, _, total, _ = figures.cumulative_spectrum(report, 0)["light"]["data"]
    np.testing.assert_allclose(energy["y"], [0, *np.cumsum(values**2) / np.sum(values**2)])
    np.testing.assert_allclose(total["y"], [0, *np.cumsum(values) / np.sum(values)])


def test_every_timed_candidate_is_drawn_and_the_budget_where_there_is_one(report):
    report["recipe"] = {"max_psnr_drop": 0.05}
    chart = figures.pareto(report)["light"]
    _, low_rank, grouped, chosen = chart["data"]
    assert low_rank["y"] == [-0.012, -0.012, -0.31]
    assert grouped["y"] == [-1.31]  # g=2 has no latency
    assert chosen["text"] == ["<b>low-rank R=24</b>"]
    assert chart["layout"]["shapes"][0]["y0"] == -0.05
    report["recipe"] = {}
    assert not figures.pareto(report)["light"]["layout"].get("shapes")


def test_latency_shows_the_models_of_the_deployment_instead_of_the_student(report):
    report["teacher"]["naive_latency_ms"] = report["teacher"]["latency_ms"] | {"median": 90.0}
    chart = figures.latency(report)["light"]
    names = chart["layout"]["yaxis"]["ticktext"]
    assert names[:3] == ["teacher, plain export", "teacher", "paper's g=8"]
    assert names[3:] == ["student fp32<br>ONNX Runtime CPU", "student int8, bf16<br>OpenVINO CPU"]
    assert chart["data"][0]["x"] == [90.0, 41.3, 41.3, 29.9, 9.5]
    del report["deployment"]
    names = figures.latency(report)["light"]["layout"]["yaxis"]["ticktext"]
    assert names == ["teacher, plain export", "teacher", "student", "paper's g=8"]


def test_training_needs_a_history_that_says_something(report):
    assert figures.training(report) == {}
    report["distillation"]["history"] = [{"epoch": 1, "val_mpsnr": 31.2}]
    (line,) = figures.training(report)["dark"]["data"]
    assert (line["x"], line["y"]) == ([1], [31.2])


def test_names_of_files_are_no_markup(report):
    report["teacher"]["naive_latency_ms"] = report["teacher"]["latency_ms"]
    report["deployment"]["models"][0]["runtime"] = "<a href='x'>runtime</a>"
    report["candidates"][0]["reason"] = "<b>bold</b>"
    assert "<a href" not in json.dumps(figures.latency(report))
    assert "<b>bold" not in json.dumps(figures.pareto(report))


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


def test_operators_are_summed_and_layers_keep_their_order(profiled):
    teacher, student = profile_chart.operators(profiled)["light"]["data"]
    assert (teacher["y"], teacher["x"]) == (["Conv", "Add"], [3.0, 0.5])
    assert student["x"] == [0, 0]
    plain, low = profile_chart.layers(profiled, 0)["light"]["data"]
    assert (plain["name"], plain["x"], plain["y"]) == ("fp32", [1, 3], [2.0, 1.0])
    assert (low["name"], low["x"], low["y"]) == ("int8", [2], [0.5])


def test_rare_operators_are_put_together(profiled):
    profiled["profile"]["networks"][0]["layers"] = [
        {"layer": str(i), "op": f"Op{i}", "ms": 20.0 - i} for i in range(12)
    ]
    teacher, _ = profile_chart.operators(profiled)["light"]["data"]
    assert teacher["y"][-1] == profile_chart.OTHERS
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
    assert contrast(palette.ink, palette.backbone) >= 4.5
    assert contrast(palette.background, palette.upsampler) >= 4.5
