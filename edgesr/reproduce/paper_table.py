"""A table of a paper with our figures above the published ones."""

from __future__ import annotations

from typing import Any

from edgesr.reproduce.figures import Content
from edgesr.reproduce.grid import Grid
from edgesr.reproduce.published import COSTS, FIGURES, METRICS

HEADS = {
    "params_M": "Params M",
    "gmacs": "GMACs",
    "mpsnr": "MPSNR",
    "mssim": "MSSIM",
    "sam": "SAM",
    "cc": "CC",
    "rmse": "RMSE",
    "ergas": "ERGAS",
    "rank90": "singular values",
}
ABSENT = "-"


def paper_grids(content: Content, name: str) -> list[Grid]:
    """Return a reproduced table, a part for each cube and scale.

    Two lines a row, ``here`` and ``paper``; ``-`` where there is no figure.
    """
    table = content["experiments"][name]
    columns = [f for f in FIGURES if any(f in row["published"] for row in table["rows"])]
    header = ("", "", *(HEADS[column] for column in columns))
    parts: dict[str, list[tuple[str, ...]]] = {}
    for row in table["rows"]:
        lines = parts.setdefault(f"{row['cube']} x{row['scale']}", [])
        for origin, found in (("here", _ours(content, row)), ("paper", row["published"])):
            label = row["label"] if origin == "here" else ""
            lines.append((label, origin, *(_text(found.get(one), one) for one in columns)))
    return [Grid(header, tuple(lines), part) for part, lines in parts.items()]


def _ours(content: Content, row: Content) -> dict[str, float]:
    """Means over the seeds that are done."""
    results = [content["trials"][key] for key in row["trials"] if key in content["trials"]]
    if not results:
        return {}
    figures = {
        metric: sum(result["test"][metric] for result in results) / len(results)
        for metric in METRICS
    }
    first = results[0]
    if "params" in first:
        figures |= {"params_M": first["params"] / 1e6, "gmacs": first["macs"] / 1e9}
    if "rank" in first:
        figures["rank90"] = sum(result["rank"]["sum"] for result in results) / len(results)
    return figures


def _text(value: Any, column: str) -> str:
    if value is None:
        return ABSENT
    if column == "rank90":
        return f"{value:.0f}"
    return f"{value:.3f}" if column in COSTS else f"{value:.4f}"
