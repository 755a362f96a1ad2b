"""Charts of the page: each registers itself, and a new one needs no change of the page."""

from __future__ import annotations

import pytest

from edgesr.report import parse
from edgesr.report.chart import layout
from edgesr.report.charts import CHARTS, Chart, register
from edgesr.report.page import render_page


class Toy(Chart):
    """A bar for each band, in two figures."""

    name, title, place, several = "toy_bars", "Bars of a toy", "structure", True
    heading, note = "A toy", "Its note."

    def count(self, shown):
        return 2

    def draw(self, shown, palette, index=0):
        bar = {"type": "bar", "y": [index], "marker": {"color": palette.accent}}
        return {"data": [bar], "layout": layout(palette, 100)}


@pytest.fixture
def registered(kept):
    kept(CHARTS)
    return register(Toy)


def test_a_chart_stands_at_the_end_of_its_section(report, registered):
    page = render_page(parse(report), None)
    structure = page[page.index('id="structure"') : page.index('id="choice"')]
    assert structure.count("<h3>A toy</h3>") == structure.count("Its note.") == 2
    for index in (0, 1):
        place = f'<div class="chart" id="toy-bars-{index}" role="img" aria-label="Bars of a toy">'
        assert place in structure
        assert f'"toy-bars-{index}":{{"light":' in page
    assert structure.index('id="spectrum-0"') < structure.index('id="toy-bars-0"')


def test_every_chart_is_a_file_of_its_own():
    assert list(CHARTS) == sorted(CHARTS.load())
    assert {"share", "spectrum", "pareto", "latency", "training", "operators"} <= set(CHARTS)
    assert all(chart.name == name for name, chart in CHARTS.load().items())


def test_a_place_that_the_page_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(Toy, "place", "attic")
    with pytest.raises(ValueError, match="no place 'attic'; choose one of networks, structure"):
        register(Toy)
