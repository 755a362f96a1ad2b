"""What all charts of the page share: both themes, their frame, and the check of Plotly."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from edgesr.report.palette import THEMES, Palette
from edgesr.report.wording import milliseconds

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
CLEAR = "rgba(0,0,0,0)"
P = ParamSpec("P")
Report = Mapping[str, Any]
Draw = Callable[Concatenate[Report, Palette, P], dict[str, Any] | None]


def chart(draw: Draw[P]) -> Callable[Concatenate[Report, P], dict[str, Any]]:
    """Let a function that draws in one theme's colours draw in both.

    The result maps ``light`` and ``dark`` to figures of Plotly; it is empty where there is nothing
    to draw. Names that came from files are text: Plotly would read tags in them.

    Raises (when called):
        ValueError: the figure has a property that Plotly does not know.
    """

    @wraps(draw)
    def drawn(report: Report, *args: P.args, **settings: P.kwargs) -> dict[str, Any]:
        from plotly.graph_objects import Figure

        themes = {}
        for name, palette in THEMES.items():
            figure = draw(_escaped(report), palette, *args, **settings)
            if figure is None:
                return {}
            themes[name] = json.loads(Figure(figure).to_json())
        return themes

    return drawn


def _escaped(value: Any) -> Any:
    """Copy plain values with every text escaped, as Plotly's labels understand a little HTML."""
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, Mapping):
        return {key: _escaped(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(entry) for entry in value]
    return value


def layout(palette: Palette, height: int, **more: Any) -> dict[str, Any]:
    """A calm frame: no title, no toolbar, no zoom that would catch the scrolling."""
    return {
        "template": {},
        "font": {"family": FONT, "size": 13, "color": palette.ink},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 40 if more.get("showlegend") else 10, "b": 44, "pad": 6},
        "uniformtext": {"minsize": 11, "mode": "hide"},
        "dragmode": False,
        "hovermode": "closest",
        "showlegend": False,
        "legend": {
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom",
            "font": {"color": palette.ink, "size": 13},
            "itemclick": False, "itemdoubleclick": False, "traceorder": "normal",
        },
        "hoverlabel": {
            "bgcolor": palette.surface, "bordercolor": palette.line, "align": "left",
            "font": {"color": palette.ink, "size": 13, "family": FONT},
        },
        **more,
    }  # fmt: skip


def room_for_numbers(top: int = 10) -> dict[str, int]:
    """Margins that leave room for a number behind the longest horizontal bar."""
    return {"l": 8, "r": 68, "t": top, "b": 44, "pad": 6}


def axis(palette: Palette, title: str = "", **more: Any) -> dict[str, Any]:
    """An axis without ticks, with a hairline grid and room for its labels."""
    return {
        "title": {"text": title, "font": {"color": palette.muted, "size": 13}, "standoff": 12},
        "gridcolor": palette.line,
        "zeroline": False,
        "showline": False,
        "automargin": True,
        "fixedrange": True,
        "tickfont": {"color": more.pop("tickfont_color", palette.muted), "size": 12.5},
        **more,
    }


def time_bars(
    palette: Palette,
    names: Sequence[str],
    kinds: Sequence[str],
    medians: Sequence[float],
    ends: Sequence[float],
    title: str,
) -> dict[str, Any]:
    """Horizontal bars to the medians in ms, whiskers to ``ends``, the numbers behind them.

    Bars have their place by number, since two of them may have the same name.
    """
    places = list(range(len(names)))
    ends = [max(end, median) for end, median in zip(ends, medians, strict=True)]
    return {
        "data": [
            {
                "type": "bar", "orientation": "h", "y": places, "x": list(medians),
                "marker": {"color": [palette.of(kind) for kind in kinds]},
                "error_x": {
                    "type": "data", "symmetric": False, "color": palette.muted, "thickness": 1.2,
                    "width": 4, "array": [e - m for e, m in zip(ends, medians, strict=True)],
                    "arrayminus": [0] * len(places),
                },
                "hovertemplate": "median %{x:.2f} ms<extra></extra>",
            }
        ],
        "layout": layout(
            palette,
            70 + 36 * len(places),
            bargap=0.42,
            annotations=[
                {
                    "x": end, "y": place, "text": f"<b>{milliseconds(median)}</b>",
                    "showarrow": False, "xanchor": "left", "xshift": 8,
                    "font": {"color": palette.ink},
                }
                for place, end, median in zip(places, ends, medians, strict=True)
            ],
            margin=room_for_numbers(),
            xaxis=axis(palette, title, range=[0, max(ends) or 1]),
            yaxis=axis(palette, autorange="reversed", showgrid=False, tickvals=places,
                       ticktext=list(names), tickfont_color=palette.ink),
        ),
    }  # fmt: skip


def family(precision: str) -> str:
    """The colour's name of a precision such as ``int8, bf16``: its first word."""
    return precision.split(",")[0].strip()
