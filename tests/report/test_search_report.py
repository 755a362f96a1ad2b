"""A search in the report: schema, console, chart and page."""

from __future__ import annotations

import copy
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from edgesr.errors import EdgesrError
from edgesr.report import parse, render, summary, validate
from edgesr.report.page import render_page
from edgesr.report.wording import network_rows


def trial(number: int, macs: int, loss: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "number": number,
        "label": f"lowrank R=8, {number} blocks out" if number else "lowrank R=8",
        "removed": number,
        "layer_error": 0.01,
        "params": macs // 200,
        "upsampler_params": 30_960,
        "macs": macs,
        "latency_ms": None if loss is None else macs / 1e7,
        "before_training": {"mpsnr_drop": 0.4, "sam_drop": 0.1},
        "validation": None if loss is None else {"mpsnr_drop": loss, "sam_drop": 0.0},
        "changes": [{"pass": "remove", "site": "body.1", "layers": ["body.1"]}] * bool(number),
        "within": loss is not None and loss < 0.1,
        "on_front": loss is not None,
        "chosen": number == 2,
    } | changes


@pytest.fixture
def searched(report) -> dict[str, Any]:
    alone = copy.deepcopy(report["student"]) | {"distillation": report["distillation"]}
    alone.pop("model", None), alone.pop("weights", None)
    report["search"] = {
        "budget": {"macs": 2e8, "psnr_drop": 0.1, "sam_drop": None},
        "runtime": "onnxruntime",
        "seed": 0,
        "why": "loses least of 4 designs within the limits",
        "blocks": [{"path": "body.1", "distance": 1e-5}],
        "trials": [
            trial(0, 277_000_000, None),
            trial(1, 190_000_000, 0.02),
            trial(2, 150_000_000, 0.01),
            trial(3, 90_000_000, 0.3, label="<b>R=8</b>"),
        ],
        "upsampler_alone": {"pass": "lowrank", "rank": 8, "settings": {"upsampler": 8}, **alone},
    }
    return report


def test_a_search_is_part_of_a_valid_report(searched):
    validate(searched)
    del searched["search"]["trials"][0]["macs"]
    with pytest.raises(EdgesrError, match="macs"):
        validate(searched)


def test_the_console_shows_front_choice_and_the_upsampler_alone(searched):
    text = StringIO()
    render(searched, Console(file=text, width=80, highlight=False))
    shown = text.getvalue()
    assert "> trial 2" in shown
    assert "  trial 1" in shown
    assert "trial 0" not in shown  # it was too costly to be trained
    assert "upsampler alone" in shown
    assert "fewer MACs" in shown.splitlines()[1]
    assert max(map(len, shown.splitlines())) <= 80


def test_the_headline_speaks_of_the_whole_network(searched):
    assert summary.headline(parse(searched)).startswith("The network computes ")
    assert [row.kind for row in network_rows(parse(searched))] == [
        "teacher",
        "student",
        "alone",
        "paper",
    ]


def test_the_chart_draws_what_was_trained(searched, chart_of):
    front, designs, alone, chosen = chart_of("search_designs", searched)["light"]["data"]
    assert list(zip(designs["x"], designs["y"], strict=True)) == [
        (0.19, -0.02),
        (0.15, -0.01),
        (0.09, -0.3),
    ]
    assert list(alone["x"]) == []
    assert (chosen["x"], chosen["y"]) == ([0.15], [-0.01])
    assert list(front["x"]) == [0.09, 0.15]  # 0.19 costs more and loses more than 0.15


def test_the_page_tells_of_every_trial_and_escapes_names(searched):
    page = render_page(parse(searched), None)
    assert "What the search tried" in page
    assert page.count("too costly, not trained") == 1
    assert "<b>R=8</b>" not in page
    assert "&lt;b&gt;R=8" in page


def test_without_a_search_there_is_no_trace_of_one(report, chart_of):
    assert not chart_of("search_designs", report)
    assert "What the search tried" not in render_page(parse(report), None)
