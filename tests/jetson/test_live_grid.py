from __future__ import annotations

import numpy as np
import pytest
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.live_blocks import Schedule
from edgesr_jetson.board.live_grid import FADE, Overlap, make_grid, overlap_of
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(sorted)


@given(st.integers(1, 300), SIZES, st.none() | st.integers(0, 20))
def test_columns_cover_any_swath_once(swath, sizes, context):
    smallest, largest = sizes
    overlap = overlap_of(context, largest)
    grid = make_grid(swath, smallest, largest, overlap)
    assert smallest <= grid.width <= largest
    weight = np.zeros(swath)
    for place, column in enumerate(grid.columns):
        end = min(column.start + grid.width, swath)
        assert 0 <= column.start <= column.first < column.stop <= end
        own = np.ones(column.stop - column.first)
        own[: column.fade] = (np.arange(column.fade) + 0.5) / max(1, column.fade)
        if place < len(grid.columns) - 1:
            following = grid.columns[place + 1].fade
            own[len(own) - following :] *= 1 - (np.arange(following) + 0.5) / max(1, following)
        weight[column.first : column.stop] += own
    assert np.allclose(weight, 1)


@given(st.integers(1, 300), SIZES, st.integers(0, 10))
def test_what_is_kept_has_its_context(swath, sizes, context):
    smallest, largest = sizes
    overlap = overlap_of(context, largest)
    if 4 * context > largest:
        return
    grid = make_grid(swath, smallest, largest, overlap)
    for column in grid.columns:
        assert column.start == 0 or column.first - column.start >= context
        end = column.start + grid.width
        assert end >= swath or end - column.stop >= context


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 10))
def test_columns_are_few_and_no_wider_than_needed(swath, largest, context):
    overlap = overlap_of(context, largest)
    grid = make_grid(swath, 1, largest, overlap)
    count = len(grid.columns)

    def reach(columns: int, width: int) -> int:
        return columns * width - (columns - 1) * overlap.size

    assert reach(count, grid.width) >= swath
    assert reach(count, grid.width - 1) < swath
    assert count == 1 or reach(count - 1, largest) < swath


def test_a_swath_that_fits_is_one_column_of_its_width():
    for context in (None, 0, 3):
        grid = make_grid(100, 16, 128, overlap_of(context, 128))
        assert (grid.width, len(grid.columns)) == (100, 1)


def test_a_narrow_swath_has_one_column_that_is_wider():
    grid = make_grid(5, 16, 128, overlap_of(None, 128))
    assert (grid.width, grid.columns[0].stop) == (16, 5)


def test_context_is_cropped_where_it_is_known_and_small():
    assert overlap_of(12, 64) == Overlap(24, 0)
    assert overlap_of(17, 64) == Overlap(FADE, FADE)
    assert overlap_of(None, 64) == Overlap(FADE, FADE)
    assert overlap_of(None, 8) == Overlap(2, 2)


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 5), st.integers(0, 40))
def test_every_line_is_new_in_exactly_one_block(height, before, after, count):
    if height - before - after < 1:
        with pytest.raises(BoardError, match="has no new ones"):
            Schedule(height, before, after)
        return
    schedule = Schedule(height, before, after)
    seen = []
    cuts = [(line, schedule.add()) for line in range(count)]
    if count < height:
        assert not [cut for _, cut in cuts if cut]
        with pytest.raises(BoardError, match=f"has {count} lines and a block needs {height}"):
            schedule.end()
        return
    for last, cut in [*cuts, (count - 1, schedule.end())]:
        if cut is None:
            continue
        block = range(last - height + 1, last + 1)
        new = list(block[cut.offset : cut.offset + cut.count])
        assert new[0] == cut.first
        assert len(new) == cut.count
        assert new[0] == 0 or cut.offset >= before
        assert new[-1] == count - 1 or height - cut.offset - cut.count >= after
        seen += new
    assert seen == list(range(count))
