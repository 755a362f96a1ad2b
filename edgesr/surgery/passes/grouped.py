"""The paper's replacement: the upsampling convolution with g groups."""

from __future__ import annotations

from edgesr.surgery.passes._base import Pass, register


@register
class Grouped(Pass):
    """Output group i reads input group i alone."""

    name, title, letter, setting = "grouped", "grouped", "g", "groups"
    colours, marker = ("#c9801f", "#e5a14d"), "square"
