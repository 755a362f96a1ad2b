"""The table and the figure of whole scenes say what was measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import scenes
from benchmarks.scenes import WAYS, Row, draw, table

ROWS = [
    Row(
        side,
        (4 * side) ** 2,
        side**2 / 250,
        {"network alone": side / 10, "edgesr": side / 9, "plain loop": side / 8, "map_blocks": 9.0},
        dict.fromkeys(WAYS, 300.0) | {"plain loop": 2.0 * side},
    )
    for side in (64, 128, 256)
]


@pytest.fixture(autouse=True)
def card(monkeypatch):
    card = SimpleNamespace(scale=4, bands=SimpleNamespace(index=range(12)))
    monkeypatch.setattr(scenes, "_card", lambda model: card)


def test_the_table():
    lines = table(ROWS, "model.onnx").splitlines()
    assert [line.count("|") for line in lines[:5]] == [9] * 5
    assert lines[2].startswith("| 64 x 64 | 16 | 6.4 (300) | 7.1 (300) | 8.0 (128) | 9.0 (300) |")
    assert lines[2].endswith("| 9,216 | 1.11x |")
    assert "grows to the power of 0.50 (0.50 at the end)" in lines[-1]


def test_the_figure(tmp_path):
    draw(ROWS, tmp_path / "scenes.png")
    assert (tmp_path / "scenes.png").read_bytes().startswith(b"\x89PNG")
    assert len([*tmp_path.iterdir()]) == 1


def test_what_takes_longer_than_its_network_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(scenes, "measure_all", lambda model, sides: ROWS)
    words = ["--model", "model.onnx", "--output", str(tmp_path / "found" / "here")]
    assert scenes.main(words) == 0
    assert (tmp_path / "found" / "here.md").read_text() == capsys.readouterr().out
    monkeypatch.setattr(scenes, "MOST", 1.1)
    assert scenes.main(words) == 1
    assert "64 x 64: 1.11x; 128 x 128: 1.11x" in capsys.readouterr().err
