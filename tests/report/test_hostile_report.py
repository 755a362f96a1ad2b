"""A report that anyone may have changed: it is refused in one line, or shown."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgesr.commands.bench import render, stored
from edgesr.errors import EdgesrError
from edgesr.report import read
from edgesr.run_folder import REPORT

ODD: list[Any] = [
    *("", "../../x", "/etc/passwd", "[red]x[/", "x\ny", "\0", "<script>", "x" * 10_000),
    *(-1, 0, 10**18, 10**400, 0.5, 1e308, float("nan"), True, None, [], {}, [[]], {"x": 1}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of every node and leaf; of a list, of the first entry."""
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, inner in entries:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_odd_values_in_every_place(report: dict[str, Any], tmp_path: Path, step: int) -> None:
    accepted = refused = 0
    for start, path in enumerate(places(report)):
        for value in ODD[start % step :: step]:
            changed = copy.deepcopy(report)
            target: Any = changed
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = value
            (tmp_path / REPORT).write_text(json.dumps(changed))
            try:
                read(tmp_path / REPORT)
                render(stored(tmp_path), [])
                accepted += 1
                continue
            except EdgesrError as error:
                refusal = str(error)
            refused += 1
            assert refusal.isprintable(), refusal
            assert len(refusal) < 1_000
    assert accepted
    assert refused


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.onnx", "models/../../model.onnx"])
def test_no_path_leads_out_of_the_folder(report: dict[str, Any], tmp_path: Path, name: str) -> None:
    report["deployment"]["models"][0]["path"] = name
    (tmp_path / REPORT).write_text(json.dumps(report))
    with pytest.raises(EdgesrError, match=r"models\[0\]\.path"):
        read(tmp_path / REPORT)
