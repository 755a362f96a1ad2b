"""Where the blocks lie that choose epochs (tuning) and that measure drops (budget)."""

from __future__ import annotations

from dataclasses import dataclass

from edgesr.cube.cube import Window

MIN_SIDE = 16  # pixels: the structural similarity looks at 11 x 11
BUDGET_BLOCKS = 6
"""Blocks that the interval of a drop is drawn from, where the image is large enough."""
LEAST_TRAINED = 0.45
"""Share of a region that held-out blocks and their guards leave to training."""
_LARGEST_BLOCK = 128


@dataclass(frozen=True)
class Layout:
    """A region divided into three roles.

    Attributes:
        train: regions that training patches are cut from; they may overlap each other.
        tuning, budget: windows of these roles.
        guard: HR pixels around ``tuning`` and ``budget`` that belong to no other role.
    """

    train: tuple[Window, ...]
    tuning: tuple[Window, ...]
    budget: tuple[Window, ...]
    guard: int


def block_side(scale: int) -> int:
    """Smallest side, in HR pixels, of a block that is seen with its surroundings."""
    return -(-MIN_SIDE // scale) * scale


def grown(window: Window, margin: int) -> Window:
    """The window with ``margin`` more pixels on each side."""
    return Window(
        window.row - margin, window.col - margin,
        window.height + 2 * margin, window.width + 2 * margin,
    )  # fmt: skip


def evenly(region: Window, largest: int, scale: int) -> tuple[Window, ...]:
    """Cut a region into equal windows with sides that ``scale`` divides, none above ``largest``."""
    rows, cols = -(-region.height // largest), -(-region.width // largest)
    height = region.height // rows // scale * scale
    width = region.width // cols // scale * scale
    return tuple(
        Window(region.row + i * height, region.col + j * width, height, width)
        for i in range(rows)
        for j in range(cols)
    )


def hold_out(region: Window, scale: int, patch: int) -> Layout:
    """Divide the region below the test region; ``scale`` divides its sides.

    Blocks lie in strips along the left and the right edge, where guards cost least: budget at the
    upper left and the lower right, tuning at the other ends. A guard separates roles from each
    other, from training, and all of them from the test region above. It is as many HR pixels wide
    as a patch has LR pixels; narrower, but at least one LR pixel, where less than
    :data:`LEAST_TRAINED` would be left to training or fewer blocks would fit. Small images have
    one strip, at the right; the smallest have no guard.
    """
    widest = max(scale, patch // scale // scale * scale)
    layouts = [
        layout
        for strips in (1, 2)
        for guard in range(0, widest + 1, scale)
        if (layout := _layout(region, scale, guard, strips)) is not None
        and _area(layout.train) >= LEAST_TRAINED * region.pixels
    ]
    return max(layouts, key=lambda one: (one.guard > 0, len(one.budget), one.guard))


def _layout(region: Window, scale: int, guard: int, strips: int) -> Layout | None:
    """The layout with one or two strips and a guard of that width; None where it does not fit."""
    top, rows = region.row + guard, region.height - guard
    bottom, right = top + rows, region.col + region.width
    side = max(block_side(scale), min(region.width // 9, rows // 5) // scale * scale)
    side = min(side, _LARGEST_BLOCK // scale * scale)
    room = rows - guard - side  # for budget blocks, beside tuning of at least one block
    left_count = 0
    if strips == 2:
        half = BUDGET_BLOCKS // 2
        left_count = half if half * side <= room else min(rows // side, BUDGET_BLOCKS - 1)
    right_count = min(max(room, 0) // side, BUDGET_BLOCKS - left_count)
    inner = region.width - strips * (side + guard)
    if right_count < 1 or inner < side:
        return None

    def column(col: int, start: int, count: int) -> list[Window]:
        return [Window(start + i * side, col, side, side) for i in range(count)]

    def tuned(count: int) -> int:  # rows of tuning in a strip with ``count`` budget blocks
        left = rows - count * side - guard
        return min(left, 2 * _LARGEST_BLOCK) // scale * scale if left >= side else 0

    right_col, right_rows = right - side, tuned(right_count)
    budget = column(right_col, bottom - right_count * side, right_count)
    tuning = [*evenly(Window(top, right_col, right_rows, side), _LARGEST_BLOCK, scale)]
    upper, lower = top + right_rows, bottom - right_count * side
    if strips == 2:
        left_rows = tuned(left_count)
        budget = [*column(region.col, top, left_count), *budget]
        if left_rows:
            place = Window(bottom - left_rows, region.col, left_rows, side)
            tuning = [*evenly(place, _LARGEST_BLOCK, scale), *tuning]
        upper = max(upper, top + left_count * side)
        lower = min(lower, bottom - left_rows)
    train = [Window(top, region.col + (strips - 1) * (side + guard), rows, inner)]
    between = lower - upper - 2 * guard
    if between > 0:
        train.append(Window(upper + guard, region.col, between, region.width))
    return Layout(tuple(train), tuple(tuning), tuple(budget), guard)


def _area(train: tuple[Window, ...]) -> int:
    """Pixels of the columns between the strips, and of the rows that cross them."""
    first, *crossing = train
    return first.pixels + sum(row.height * (row.width - first.width) for row in crossing)


def along_edges(region: Window, side: int, guard: int) -> tuple[Window, ...]:
    """Square budget blocks at the left and right edge of a region, three at each."""
    columns = (region.col, region.col + region.width - side)
    room = region.height - guard - side
    return tuple(
        Window(region.row + guard + i * room // 2, col, side, side) for col in columns
        for i in range(BUDGET_BLOCKS // 2)
    )  # fmt: skip


def along_right(height: int, width: int, side: int) -> tuple[Window, ...]:
    """Square budget blocks at the right edge of an image, evenly spread."""
    step = (height - side) // (BUDGET_BLOCKS - 1)
    return tuple(Window(i * step, width - side, side, side) for i in range(BUDGET_BLOCKS))
