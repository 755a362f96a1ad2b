"""Where the time goes: milliseconds of each type of operator."""

from __future__ import annotations

from collections import Counter

from edgesr.report.chart import Figure, axis, family, layout, room_for_numbers
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.model import ProfiledNetwork, Report
from edgesr.report.palette import Palette
from edgesr.report.wording import milliseconds

MOST = 9
OTHERS = "all others"


@register
class Operators(Chart):
    """Time of each type of operator, the networks side by side; the slowest types first."""

    name, place = "operators", "operators"
    title = "Time of each type of operator"

    def count(self, shown: Shown) -> int:
        return int(any(by_operator(network) for network in profiled(shown.report)))

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        networks = profiled(shown.report)
        spent = [by_operator(network) for network in networks]
        most: Counter[str] = Counter()
        for one in spent:
            most |= one
        kinds = [kind for kind, _ in most.most_common(MOST)]
        rest = [sum(ms for kind, ms in one.items() if kind not in kinds) for one in spent]
        labels = kinds + ([OTHERS] if any(rest) else [])
        data = []
        for network, one, other in zip(networks, spent, rest, strict=True):
            values = [one[kind] for kind in kinds] + ([other] if any(rest) else [])
            data.append(
                {
                    "type": "bar", "orientation": "h", "name": network.name, "y": labels,
                    "x": values, "text": [milliseconds(v) if v else "" for v in values],
                    "textposition": "outside", "textfont": {"color": palette.muted, "size": 12},
                    "marker": {"color": palette.of(family(network.name))}, "cliponaxis": False,
                    "hovertemplate": "%{y}: %{x:.3f} ms<extra>" + network.name + "</extra>",
                }
            )  # fmt: skip
        return {
            "data": data,
            "layout": layout(
                palette,
                86 + len(labels) * (14 + 16 * len(networks)),
                showlegend=True,
                bargap=0.3,
                margin=room_for_numbers(40),
                uniformtext={},
                xaxis=axis(palette, "ms in one call", rangemode="tozero"),
                yaxis=axis(
                    palette, autorange="reversed", showgrid=False, tickfont_color=palette.ink
                ),
            ),
        }


def profiled(report: Report) -> list[ProfiledNetwork]:
    """The networks whose layers were timed; none where nothing was profiled."""
    return report.profile.networks if report.profile else []


def by_operator(network: ProfiledNetwork) -> Counter[str]:
    """Milliseconds of each type of operator in one profiled network."""
    spent: Counter[str] = Counter()
    for layer in network.layers:
        spent[layer.op] += layer.ms  # type: ignore[assignment]
    return spent
