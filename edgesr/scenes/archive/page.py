"""The page of an archive: how fast it is, what failed, what it looks like."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgesr.errors import shown
from edgesr.report.chart import Figure, axis, in_both_themes, layout
from edgesr.report.palette import Palette
from edgesr.report.shell import render_template, write_text
from edgesr.report.validation import ReportError, typed
from edgesr.scenes.archive.model import Archive, Done
from edgesr.scenes.archive.quicklook import quick_look
from edgesr.stored import read_json

SCRIPTS = ("cube.js", "page.js")
LOOKS = 12
"""Pictures of a page, of scenes at equal distances in the archive's order."""
BINS = 24
MOST = 500
"""Failures that a page lists."""


def read_archive(path: Path) -> Archive:
    """Read ``archive.json``.

    Raises:
        ReportError: it cannot be read, or holds something else.
    """
    advice = "run edgesr archive again"
    return typed(read_json(path, "the archive", ReportError, advice=advice), Archive)


def write_archive_page(archive: Archive, folder: Path, path: Path) -> Path:
    """Write the page.

    Args:
        archive: what ``archive.json`` holds.
        folder: where the outputs are.
        path: HTML file to write; it appears whole or not at all.
    """
    seconds = [one.receipt.seconds for one in archive.done]
    charts: Mapping[str, Mapping[str, Figure]] = {}
    if seconds:
        charts = {"seconds": in_both_themes(lambda palette: _histogram(seconds, palette))}
    text = render_template(
        "archive.html.j2",
        charts,
        SCRIPTS,
        name=shown(folder.resolve().name),
        archive=archive,
        rate=archive.computed_pixels / archive.seconds if archive.computed else None,
        longest=max(seconds, default=0.0),
        median=float(np.median(seconds)) if seconds else 0.0,
        models=sorted({one.receipt.model_sha256 for one in archive.done}),
        looks=_looks(archive.done, folder),
        failed=[(shown(one.id), one.kind, shown(one.reason)) for one in archive.failed[:MOST]],
    )
    return write_text(text, path)


def _looks(done: Sequence[Done], folder: Path) -> list[tuple[str, str]]:
    """Names and PNGs in base64 of scenes whose output can be shown."""
    places = np.unique(np.linspace(0, len(done) - 1, min(LOOKS, len(done))).astype(int))
    looks = []
    for one in (done[place] for place in places):
        name = PurePosixPath(one.id + PurePosixPath(one.receipt.target).suffix)
        if name.is_absolute() or ".." in name.parts:
            continue
        picture = quick_look(folder / name)
        if picture is not None:
            looks.append((shown(one.id), base64.b64encode(picture).decode("ascii")))
    return looks


def _histogram(seconds: Sequence[float], palette: Palette) -> dict[str, Any]:
    """How many scenes took how long."""
    counts, edges = np.histogram(seconds, bins=BINS)
    return {
        "data": [
            {
                "type": "bar",
                "x": [float(place) for place in (edges[1:] + edges[:-1]) / 2],
                "y": [int(count) for count in counts],
                "width": float(edges[1] - edges[0]),
                "marker": {"color": palette.accent},
                "hovertemplate": "%{x:.1f} s: %{y} scenes<extra></extra>",
            }
        ],
        "layout": layout(
            palette,
            260,
            bargap=0.06,
            xaxis=axis(palette, "seconds of a scene", showgrid=False),
            yaxis=axis(palette, "scenes", rangemode="tozero"),
        ),
    }
