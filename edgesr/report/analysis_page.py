"""The page of ``edgesr analyze``: where parameters are, and how few singular values hold a site.

The two figures of the paper "Rethinking the Upsampling Layer in Hyperspectral Image Super
Resolution" (1 and 4), drawn for the user's own network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edgesr.report.chart import escaped, in_both_themes
from edgesr.report.charts.share import Share, draw_shares
from edgesr.report.charts.spectrum import draw_spectrum
from edgesr.report.model import SpectrumEntry
from edgesr.report.shell import render_template, write_text

SCRIPTS = ("cube.js", "page.js")


def write_analysis(
    name: str, shares: Sequence[Share], spectra: Sequence[SpectrumEntry], path: Path
) -> Path:
    """Write the page.

    Args:
        name: of the network, with its scale.
        shares: one entry a network, such as the same one at several scales; drawn top down.
        spectra: of each site.
        path: HTML file to write; it appears whole or not at all.

    Returns:
        ``path``.
    """
    charts = {"share": in_both_themes(partial(draw_shares, escaped(shares)))}
    for index, entry in enumerate(spectra):
        charts[f"spectrum-{index}"] = in_both_themes(partial(draw_spectrum, escaped(entry)))
    text = render_template("analysis.html.j2", charts, SCRIPTS, name=name, spectra=spectra)
    return write_text(text, path)
