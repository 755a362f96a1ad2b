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
from edgesr.report.profiles import PlacedProfile, profiled_networks, shown_profiles
from edgesr.report.shell import render_template, write_text

SCRIPTS = ("cube.js", "page.js", "pictures.js")


def write_page(
    report: Report,
    pictures: Pictures | None,
    path: Path,
    boards: Sequence[BoardResult] = (),
    profiles: Sequence[PlacedProfile] = (),
) -> Path:
    """Write the page of a run.

    Args:
        report: of the run.
        pictures: the test region as the networks see it; None leaves that section out.
        path: HTML file to write; it appears whole or not at all.
        boards: results that came back from boards.
        profiles: of desktops, beside the run's own.

    Returns:
        ``path``.
    """
    return write_text(render_page(report, pictures, boards, profiles), path)


def render_page(
    report: Report,
    pictures: Pictures | None,
    boards: Sequence[BoardResult] = (),
    profiles: Sequence[PlacedProfile] = (),
) -> str:
    """The text of the page; see :func:`write_page`."""
    profiles = shown_profiles(report, boards, profiles)
    drawn = draw_charts(Shown(report, boards, profiles))
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
        profiles=[(one, _slowest(one.network)) for one in profiled_networks(profiles)],
    )


def _slowest(network: ProfiledNetwork, most: int = 8) -> list[ProfiledLayer]:
    return sorted(network.layers, key=lambda layer: -layer.ms)[:most]
