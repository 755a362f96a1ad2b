"""What every page is made in: one HTML file with its style, its scripts and its charts."""

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
from edgesr.report import wording
from edgesr.report.chart import Figure, family
from edgesr.report.palette import THEMES, Palette

WORDS = (
    wording.by,
    wording.day,
    wording.duration,
    wording.equal_share,
    wording.fixed,
    wording.folds_note,
    wording.interval,
    wording.milliseconds,
    wording.plural,
    wording.quantity,
    wording.signed,
    wording.size,
)
"""Filters of the templates."""


def render_template(
    template: str,
    charts: Mapping[str, Mapping[str, Figure]],
    scripts: Sequence[str],
    payload: Mapping[str, Any] | None = None,
    **context: Any,
) -> str:
    """The text of a page that needs nothing else.

    Everything that came from a file is escaped, and the page's own policy lets a browser run the
    page's own scripts alone, known by their hashes, and fetch nothing.

    Args:
        template: file in ``templates`` that extends ``shell.html.j2``.
        charts: figures by the id of their element and by theme.
        scripts: files in ``templates``, run after Plotly's in this order.
        payload: what the scripts read besides the charts.
        context: what the template reads.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    code = [get_plotlyjs(), *(_resource(name) for name in scripts)]
    environment = Environment(
        loader=PackageLoader("edgesr.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        surgery=wording.surgery_name, family=family, **{word.__name__: word for word in WORDS}
    )
    themes = {name: _plain(palette) for name, palette in THEMES.items()}
    return environment.get_template(template).render(
        **context,
        version=__version__,
        charts=charts,
        style=Markup(_variables() + _resource("page.css")),
        scripts=[Markup(script) for script in code],
        hashes=[_hash(script) for script in code],
        payload=Markup(
            _json({"charts": charts, "themes": themes, "map": _error_colours(), **(payload or {})})
        ),
    )


def write_text(text: str, path: Path) -> Path:
    """Write a page; it appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def _plain(palette: Palette) -> dict[str, Any]:
    return {**palette.plain(), "series": dict(palette.series)}


def _variables() -> str:
    """The palettes as CSS variables: light, dark by the system's wish, and either by choice."""
    light, dark = (
        "".join(
            f"--{name.replace(' ', '-')}:{value};"
            for name, value in (*palette.plain().items(), *palette.series.items())
        )
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
