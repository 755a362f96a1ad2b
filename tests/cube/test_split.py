"""Windows of each role on cubes with nodata."""

from __future__ import annotations

import numpy as np

from edgesr.cube.held_out import grown
from edgesr.cube.protocols import PROTOCOLS
from edgesr.cube.split import divide


def test_blocks_move_off_a_border_without_data():
    """As of a tilted swath: its corners, and so the edges where blocks lie, hold nothing."""
    rows, cols = np.mgrid[:144, :144]
    invalid = np.abs(cols - 72) + np.abs(rows - 90) > 75
    regions = PROTOCOLS["auto"].regions(144, 144, 4)
    assert any(invalid[window.slices].any() for window in regions.budget)
    parts = divide(
        regions, invalid=invalid, patch=16, stride=8, scale=4, share=0.1, seed=0, cover=True,
        leaks=False, name="swath",
    )  # fmt: skip
    assert (len(parts.budget), len(parts.tuning)) == (6, len(regions.tuning))
    roles = (parts.train, parts.tuning, parts.budget, regions.test)
    for window in (*parts.train, *parts.tuning, *parts.budget):
        assert not invalid[window.slices].any()
    for role in (parts.tuning, parts.budget):
        for window in role:
            near = grown(window, regions.guard)
            assert not any(
                near.intersects(other) for others in roles if others is not role for other in others
            )
    for role in (parts.tuning, parts.budget):
        for index, window in enumerate(role):
            assert not any(window.intersects(other) for other in role[index + 1 :])
