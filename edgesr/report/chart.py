"""What all charts of the page share: both themes, their frame, and the check of Plotly."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec import Struct, structs

from edgesr.report.palette import THEMES, Palette
from edgesr.report.wording import milliseconds

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
CLEAR = "rgba(0,0,0,0)"
Figure = dict[str, Any]
"""``data`` and ``layout`` as Plotly has them."""
T = TypeVar("T")


def in_both_themes(draw: Callable[[Palette], Figure]) -> dict[str, Figure]:
    """Draw in the colours of each theme: ``light`` and ``dark``.

    Raises:
        ValueError: the figure has a property that Plotly does not know.
    """
    from plotly.graph_objects import Figure as Checked

    return {name: json.loads(Checked(draw(p)).to_json()) for name, p in THEMES.items()}


def escaped(value: T) -> T:
    """Copy a report or a part of it with every text escaped.

    Names that came from files are text; Plotly's labels would read tags in them.
    """
    copied: T = _escaped(value)
    return copied


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, Struct):
        return structs.replace(
            value, **{name: _escaped(getattr(value, name)) for name in value.__struct_fields__}
        )
    if isinstance(value, Mapping):
        return {key: _escaped(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(entry) for entry in value]
    return value


def layout(palette: Palette, height: int, **more: Any) -> Figure:
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


@dataclass(frozen=True)
class Bar:
    """One bar of a chart of times.

    Attributes:
        name: for people.
        kind: name of its colour.
        median: where it ends, ms.
        end: where its whisker ends, ms.
    """

    name: str
    kind: str
    median: float
    end: float


def time_bars(palette: Palette, bars: Sequence[Bar]) -> Figure:
    """Horizontal bars to the medians in ms, whiskers to their ends, the numbers behind them.

    Bars have their place by number, since two of them may have the same name.
    """
    places = list(range(len(bars)))
    medians = [bar.median for bar in bars]
    ends = [max(bar.end, bar.median) for bar in bars]
    return {
        "data": [
            {
                "type": "bar", "orientation": "h", "y": places, "x": medians,
                "marker": {"color": [palette.of(bar.kind) for bar in bars]},
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
            xaxis=axis(palette, "ms", range=[0, max(ends) or 1]),
            yaxis=axis(palette, autorange="reversed", showgrid=False, tickvals=places,
                       ticktext=[bar.name for bar in bars], tickfont_color=palette.ink),
        ),
    }  # fmt: skip


def family(precision: str) -> str:
    """The colour's name of a precision such as ``int8, bf16``: its first word."""
    return precision.split(",")[0].strip()


def line(colour: str, x: float | None = None, y: float | None = None) -> dict[str, Any]:
    """A dotted line across the chart, at an x or a y."""
    place: dict[str, Any] = (
        {"xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y}
        if x is None
        else {"yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1}
    )
    return {"type": "line", "line": {"color": colour, "width": 1.2, "dash": "dot"}, **place}
