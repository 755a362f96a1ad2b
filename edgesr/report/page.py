"""The report as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgesr import __version__
from edgesr.files import atomic_path
from edgesr.report import figures, profile_chart, search_chart, summary, wording
from edgesr.report.board_results import BoardResult
from edgesr.report.board_view import board_latency, board_sections
from edgesr.report.chart import family
from edgesr.report.console import quantity, surgery_name
from edgesr.report.encode import encode
from edgesr.report.palette import THEMES, Palette
from edgesr.report.pictures import Pictures

WORDS = (
    wording.by,
    wording.day,
    wording.duration,
    wording.fixed,
    wording.milliseconds,
    wording.plural,
    wording.signed,
    wording.size,
)
"""Filters of the templates."""
SCRIPTS = ("cube.js", "page.js", "pictures.js")


def write_page(
    report: Mapping[str, Any],
    pictures: Pictures | None,
    path: Path,
    boards: Sequence[BoardResult] = (),
) -> Path:
    """Write the page of a run.

    Args:
        report: a valid report.
        pictures: the test region as the networks see it; None leaves that section out.
        path: HTML file to write; it appears whole or not at all.
        boards: results that came back from boards.

    Returns:
        ``path``.
    """
    text = render_page(report, pictures, boards)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def render_page(
    report: Mapping[str, Any], pictures: Pictures | None, boards: Sequence[BoardResult] = ()
) -> str:
    """The text of the page; see :func:`write_page`.

    Everything that came from a file is escaped, and the page's own policy lets a browser run the
    page's own scripts alone, known by their hashes, and fetch nothing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    charts = _charts(report, boards)
    scripts = [get_plotlyjs(), *(_resource(name) for name in SCRIPTS)]
    environment = Environment(
        loader=PackageLoader("edgesr.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        quantity=quantity,
        surgery=surgery_name,
        family=family,
        **{word.__name__: word for word in WORDS},
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        version=__version__,
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
        charts=charts,
        profiles=report.get("profile", {}).get("networks", ()),
        slowest=_slowest(report),
        style=Markup(_variables() + _resource("page.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
        payload=Markup(
            _json(
                {
                    "charts": charts,
                    "themes": {name: _plain(p) for name, p in THEMES.items()},
                    "pictures": encode(pictures) if pictures else None,
                    "normalisation": report["data"]["normalisation"],
                    "map": _error_colours(),
                }
            )
        ),
    )


def _charts(report: Mapping[str, Any], boards: Sequence[BoardResult]) -> dict[str, Any]:
    """All charts by the identity of their place in the page; those with nothing to draw are out."""
    drawn = {
        "share": figures.parameter_share(report),
        **{
            f"spectrum-{index}": figures.cumulative_spectrum(report, index)
            for index in range(len(report["spectrum"]))
        },
        "latency": figures.latency(report),
        "training": figures.training(report),
        "operators": profile_chart.operators(report),
        **{
            f"layers-{index}": profile_chart.layers(report, index)
            for index in range(len(report.get("profile", {}).get("networks", ())))
        },
        "boards": board_latency(report, boards=boards),
        "search-designs": search_chart.designs(report),
    }
    if any(candidate["latency_ms"] is not None for candidate in report["candidates"]):
        drawn["pareto"] = figures.pareto(report)
    return {name: chart for name, chart in drawn.items() if chart}


def _slowest(report: Mapping[str, Any], most: int = 8) -> list[tuple[str, list[Any]]]:
    """The slowest layers of each profiled network."""
    return [
        (network["name"], sorted(network["layers"], key=lambda layer: -layer["ms"])[:most])
        for network in report.get("profile", {}).get("networks", ())
    ]


def _plain(palette: Palette) -> dict[str, Any]:
    return {**vars(palette), "series": dict(palette.series)}


def _variables() -> str:
    """The palettes as CSS variables: light, dark by the system's wish, and either by choice."""
    light, dark = (
        "".join(f"--{name}:{value};" for name, value in vars(palette).items() if name != "series")
        + "".join(f"--{name.replace(' ', '-')}:{value};" for name, value in palette.series.items())
        for palette in THEMES.values()
    )
    return (
        f":root{{--ramp:{','.join(_error_colours())};color-scheme:light;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light])"
        f"{{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}"
        f"@media print{{:root:root:root{{color-scheme:light;{light}}}}}"
    )


def _error_colours() -> list[str]:
    from plotly.colors import sequential

    return list(sequential.Inferno)


def _json(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _resource(name: str) -> str:
    return files("edgesr.report").joinpath("templates", name).read_text("utf-8")
