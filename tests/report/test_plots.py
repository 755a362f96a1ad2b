from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.errors import OptionError
from edgesr.report.plots import Share, cumulative_spectrum, parameter_share

SHARES = [Share("x2", 900, 100), Share("x4", 750_000, 250_000), Share("x8", 12_000_000, 88_000_000)]


def words(path):
    """Text of an SVG figure, in the order of the file."""
    root = ET.parse(path).getroot()
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_both_figures_are_written_and_nothing_else(tmp_path, suffix):
    parameter_share(SHARES, tmp_path / f"shares.{suffix}")
    cumulative_spectrum([3.0, 2.0, 1.0], tmp_path / f"spectrum.{suffix}")
    assert {path.name for path in tmp_path.iterdir()} == {f"shares.{suffix}", f"spectrum.{suffix}"}
    for path in tmp_path.iterdir():
        start = path.read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if suffix == "png" else start.startswith(b"<?xml")


def test_shares_and_totals_are_written_beside_the_bars(tmp_path):
    text = words(parameter_share(SHARES, tmp_path / "shares.svg", title="my network"))
    assert {"90%", "10%", "75%", "25%", "12%", "88%"} <= set(text)
    assert {"x2", "x4", "x8", "1.0 k", "1.00 M", "100.00 M"} <= set(text)
    assert any(line.startswith("my network") for line in text)


def test_a_narrow_part_still_has_its_share(tmp_path):
    text = words(parameter_share([Share("x4", 985, 15)], tmp_path / "shares.svg"))
    assert "1.5%" in text


@settings(deadline=None, max_examples=5)
@given(
    st.lists(st.floats(1e-3, 10), min_size=2, max_size=40),
    st.floats(0.1, 1.0),
)
def test_the_ranks_written_are_the_fewest_that_hold_the_target(tmp_path_factory, values, target):
    values = np.sort(values)[::-1]
    path = tmp_path_factory.mktemp("figure") / "spectrum.svg"
    text = words(cumulative_spectrum(values, path, target=target))
    for name, weights in (("sum", values), ("squared energy", values**2)):
        line = next(line for line in text if line.startswith(name))
        rank = int(re.search(r"rank (\d+)", line)[1])
        held = weights[:rank].sum() / weights.sum()
        assert held >= target * (1 - 1e-9)
        assert rank == 1 or weights[: rank - 1].sum() / weights.sum() < target * (1 + 1e-9)


def test_the_same_input_gives_the_same_file(tmp_path):
    first = cumulative_spectrum([2.0, 1.0], tmp_path / "a.svg")
    second = cumulative_spectrum([2.0, 1.0], tmp_path / "b.svg")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    "draw",
    [
        lambda folder: cumulative_spectrum([1.0], folder / "figure.pdf"),
        lambda folder: cumulative_spectrum([], folder / "figure.png"),
        lambda folder: cumulative_spectrum([0.0], folder / "figure.png"),
        lambda folder: cumulative_spectrum([float("nan")], folder / "figure.png"),
        lambda folder: cumulative_spectrum([1.0], folder / "figure.png", target=1.5),
        lambda folder: parameter_share([], folder / "figure.png"),
        lambda folder: parameter_share(SHARES, folder / "figure.jpeg"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(tmp_path, draw):
    with pytest.raises(OptionError):
        draw(tmp_path)
    assert not list(tmp_path.iterdir())
