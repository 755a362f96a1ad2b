"""The report as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgesr.report import summary, wording
from edgesr.report.board_results import BoardResult
from edgesr.report.board_view import board_sections
from edgesr.report.charts import Shown, draw_charts
from edgesr.report.encode import encode
from edgesr.report.model import ProfiledLayer, ProfiledNetwork, Report
from edgesr.report.pictures import Pictures
from edgesr.report.shell import render_template, write_text

SCRIPTS = ("cube.js", "page.js", "pictures.js")


def write_page(
    report: Report,
    pictures: Pictures | None,
    path: Path,
    boards: Sequence[BoardResult] = (),
) -> Path:
    """Write the page of a run.

    Args:
        report: of the run.
        pictures: the test region as the networks see it; None leaves that section out.
        path: HTML file to write; it appears whole or not at all.
        boards: results that came back from boards.

    Returns:
        ``path``.
    """
    return write_text(render_page(report, pictures, boards), path)


def render_page(
    report: Report, pictures: Pictures | None, boards: Sequence[BoardResult] = ()
) -> str:
    """The text of the page; see :func:`write_page`."""
    drawn = draw_charts(Shown(report, boards))
    profiles = report.profile.networks if report.profile else []
    return render_template(
        "page.html.j2",
        {chart.id: chart.themes for chart in drawn},
        SCRIPTS,
        {
            "pictures": encode(pictures) if pictures else None,
            "normalisation": report.data.normalisation,
        },
        drawn=drawn,
        report=report,
        rows=wording.network_rows(report),
        headline=summary.headline(report),
        key_figures=summary.key_figures(report),
        retained=summary.retained(report),
        best=summary.best_deployed(report),
        warnings=list(summary.warnings(report)),
        timing=summary.timing_conditions(report),
        tested=summary.test_conditions(report),
        boards=board_sections(report, boards),
        pictures=pictures,
        profiles=[(network, _slowest(network)) for network in profiles],
    )


def _slowest(network: ProfiledNetwork, most: int = 8) -> list[ProfiledLayer]:
    return sorted(network.layers, key=lambda layer: -layer.ms)[:most]
