"""How long everything takes that was timed in the run."""

from __future__ import annotations

from collections.abc import Iterator

from edgesr.report.chart import Bar, Figure, family, time_bars
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.model import Report
from edgesr.report.palette import Palette
from edgesr.report.wording import network_rows


@register
class LatencyBars(Chart):
    """A bar for everything that was timed, to its median; a whisker to the 95th percentile."""

    name, place = "latency", "timings"
    title = "Latency of every network and model that was timed"

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        return time_bars(palette, list(_timed(shown.report)))


def _timed(report: Report) -> Iterator[Bar]:
    """Everything timed; the models of the deployment in place of the student if there are."""
    if naive := report.teacher.naive_latency_ms:
        yield Bar("teacher, plain export", "bicubic", naive.median, naive.p95)
    models = report.deployment.models if report.deployment else []
    timed = [(model, model.latency_ms) for model in models if model.latency_ms]
    for row in network_rows(report):
        if not (timed and row.kind == "student"):
            found = row.network.latency_ms
            yield Bar(row.name, row.kind, found.median, found.p95)
    for model, times in timed:
        name = f"student {model.precision}<br>{model.runtime}"
        yield Bar(name, family(model.precision), times.median, times.p95)
