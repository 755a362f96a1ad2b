"""The figures that the two papers print, shipped with the package."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

METRICS = ("mpsnr", "mssim", "sam", "cc", "rmse", "ergas")
COSTS = ("params_M", "gmacs")
FIGURES = (*COSTS, *METRICS, "rank90")
"""Columns of published tables: parameters in millions, multiply-accumulates in billions at a
16 x 16 LR input, the six metrics, and the singular values that hold 90 % of their sum."""


@cache
def _content() -> dict[str, Any]:
    text = (files("edgesr.reproduce") / "published.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def source(table: str) -> str:
    """Title of the paper that a table such as ``lkca:5`` is from."""
    return str(_content()["sources"][table.partition(":")[0]])


def rows(table: str) -> list[dict[str, Any]]:
    """Rows of a published table: label, cube, scale, what the row varies, and its figures."""
    return [dict(row) for row in _content()[table]]


def figures(row: dict[str, Any]) -> dict[str, float]:
    """Return the figures of a row alone."""
    return {name: row[name] for name in FIGURES if name in row}
