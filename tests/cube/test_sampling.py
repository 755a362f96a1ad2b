from __future__ import annotations

import numpy as np

from edgesr.cube.cube import Cube, Window
from edgesr.cube.sampling import covered, extremes, fit_normalisation, sampled_pixels


def test_covered_is_the_union() -> None:
    found = covered([Window(0, 0, 2, 3), Window(1, 1, 2, 3)], Window(0, 0, 4, 5))
    assert found.sum() == 6 + 6 - 2
    assert found[2, 3]
    assert not found[2, 0]


def test_every_kth_pixel_in_row_order(make_cube) -> None:
    cube = make_cube(20, 10, 3)
    pixels = covered([Window(5, 0, 10, 10)], cube.extent)
    everything = sampled_pixels(cube, pixels)
    np.testing.assert_array_equal(everything, cube.data[5:15].reshape(-1, 3))
    some = sampled_pixels(cube, pixels, limit=75)
    np.testing.assert_array_equal(some, everything[::4])
    np.testing.assert_array_equal(
        sampled_pixels(cube, pixels, np.array([2, 0])), everything[:, [2, 0]]
    )


def test_extremes_are_exact_over_blocks(monkeypatch, make_cube) -> None:
    monkeypatch.setattr("edgesr.cube.cube._BLOCK_VALUES", 10 * 3 * 4)
    cube = make_cube(20, 10, 3)
    pixels = covered([Window(5, 2, 10, 6)], cube.extent)
    inside = cube.data[5:15, 2:8].reshape(-1, 3)
    np.testing.assert_array_equal(extremes(cube, pixels), [inside.min(0), inside.max(0)])


def test_the_scene_maximum_is_never_sampled_away() -> None:
    data = np.random.default_rng(0).random((64, 64, 2)).astype(np.float32)
    data[33, 17, 1] = 50
    fitted = fit_normalisation(Cube(data), np.ones((64, 64), dtype=bool), "scene")
    assert (fitted.upper == 50).all()
