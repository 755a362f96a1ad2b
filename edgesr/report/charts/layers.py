"""Where the time goes: milliseconds of each layer."""

from __future__ import annotations

from edgesr.report.chart import Figure, axis, family, layout
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.model import ProfiledLayer
from edgesr.report.palette import Palette
from edgesr.report.profiles import origin, profiled_networks


@register
class Layers(Chart):
    """Time of each layer of a profiled network in the order of execution, by precision.

    One chart for each network, runtime and machine, those of boards beside the desktop's.
    """

    name, place, several = "layers", "layers", True
    title = "Time of each layer"

    def count(self, shown: Shown) -> int:
        return len(profiled_networks(shown.profiles))

    def label(self, shown: Shown, index: int) -> str:
        one = profiled_networks(shown.profiles)[index]
        return f"{self.title} of {one.title}, in the order of execution"

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        found = list(enumerate(profiled_networks(shown.profiles)[index].network.layers, 1))
        data = []
        for precision in dict.fromkeys(layer.precision or "fp32" for _, layer in found):
            members = [(n, layer) for n, layer in found if (layer.precision or "fp32") == precision]
            data.append(
                {
                    "type": "bar", "name": precision, "x": [number for number, _ in members],
                    "y": [layer.ms for _, layer in members],
                    "customdata": [[layer.layer, _what(layer)] for _, layer in members],
                    "marker": {"color": palette.of(family(precision))},
                    "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}, " + precision
                    + "<br>%{y:.3f} ms<extra></extra>",
                }
            )  # fmt: skip
        return {
            "data": data,
            "layout": layout(
                palette,
                280,
                showlegend=True,
                bargap=0.25,
                barmode="overlay",
                xaxis=axis(
                    palette, "layer, in the order of execution", showgrid=False, tickformat="d"
                ),
                yaxis=axis(palette, "ms", rangemode="tozero"),
            ),
        }


def _what(layer: ProfiledLayer) -> str:
    comes_from = origin(layer)
    return f"{layer.op} of {comes_from}" if comes_from else layer.op
