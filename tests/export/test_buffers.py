from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.buffers import KEPT, Buffers

SHAPE, TYPE = (2, 3), np.dtype(np.float32)


def address(array):
    return array.__array_interface__["data"][0]


def test_what_nobody_holds_is_used_again():
    buffers = Buffers()
    assert len({address(buffers.take(SHAPE, TYPE)) for _ in range(5)}) == 1


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[1:, ::2],
        lambda array: array.reshape(-1)[:1][None],
        memoryview,
        lambda array: __import__("torch").from_numpy(array)[0],
    ],
    ids=["array", "slice", "view of a view", "memoryview", "tensor"],
)
def test_what_somebody_holds_is_left_alone(hold):
    buffers = Buffers()
    held = [hold(buffers.take(SHAPE, TYPE)) for _ in range(KEPT + 2)]
    arrays = [np.asarray(part) for part in held]
    for value, array in enumerate(arrays):
        array[...] = value
    assert [int(array.flat[0]) for array in arrays] == list(range(KEPT + 2))


def test_another_shape_or_type_gets_what_it_asks_for():
    buffers = Buffers()
    for shape, kind in ((SHAPE, "f4"), ((3, 2), "f4"), (SHAPE, "f8"), (SHAPE, "f4")):
        array = buffers.take(shape, np.dtype(kind))
        assert (array.shape, array.dtype) == (shape, np.dtype(kind))


def test_only_a_few_are_kept():
    buffers = Buffers()
    held = [buffers.take(SHAPE, TYPE) for _ in range(KEPT + 3)]
    del held
    assert len(buffers._kept) == KEPT
