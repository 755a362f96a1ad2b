from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.cube.cube import Cube, Window
from edgesr.errors import DataError

windows = st.builds(
    Window, st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20)
)


def pixels(window: Window) -> set[tuple[int, int]]:
    rows, cols = window.slices
    return {(r, c) for r in range(rows.start, rows.stop) for c in range(cols.start, cols.stop)}


@settings(deadline=None, max_examples=50)
@given(windows, windows)
def test_intersects_and_inside_are_what_sets_of_pixels_say(a: Window, b: Window) -> None:
    assert a.intersects(b) == bool(pixels(a) & pixels(b))
    assert a.inside(b) == (pixels(a) <= pixels(b))


@settings(deadline=None, max_examples=30)
@given(windows, st.integers(1, 8), st.integers(1, 8))
def test_tiles_lie_inside_and_cover_reaches_the_edges(
    window: Window, size: int, stride: int
) -> None:
    tiles = window.tiles(size, stride)
    assert all(tile.inside(window) and tile.pixels == size**2 for tile in tiles)
    fits = window.height >= size and window.width >= size
    expected = (
        ((window.height - size) // stride + 1) * ((window.width - size) // stride + 1)
        if fits
        else 0
    )
    assert len(tiles) == len(set(tiles)) == expected
    covering = window.tiles(size, stride, cover=True)
    assert set(tiles) <= set(covering)
    assert bool(covering) == fits
    if fits and stride <= size:
        assert set().union(*map(pixels, covering)) == pixels(window)


def test_tiles_refuse_a_stride_of_zero() -> None:
    with pytest.raises(DataError, match="overlap"):
        Window(0, 0, 10, 10).tiles(4, 0)


def test_crop_moves_the_georeference_as_rasterio_does(full_cube: Cube) -> None:
    window = Window(2, 5, 10, 8)
    crop = full_cube.crop(window)
    truth = rasterio.windows.transform(
        rasterio.windows.Window(5, 2, 8, 10), rasterio.Affine(*full_cube.transform)
    )
    assert crop.transform == pytest.approx(tuple(truth)[:6])
    assert np.shares_memory(crop.data, full_cube.data)
    assert crop.shape == (10, 8, 5)
    assert crop.mask is not None
    assert crop.mask[1].sum() == 0
    assert full_cube.crop(Window(3, 4, 1, 1)).mask.all()


def test_upscaled_divides_the_pixel_and_keeps_metadata_and_nodata(full_cube: Cube) -> None:
    data = full_cube.data.repeat(2, axis=0).repeat(2, axis=1).astype(np.float32)
    data[:] = 7
    result = full_cube.upscaled(data, 2)
    corners = (rasterio.Affine(*cube.transform) for cube in (full_cube, result))
    before, after = (
        rasterio.transform.array_bounds(height, width, affine)
        for affine, (height, width) in zip(corners, ((20, 30), (40, 60)), strict=True)
    )
    assert before == pytest.approx(after)
    assert result.wavelengths is full_cube.wavelengths
    assert result.crs == full_cube.crs
    assert (result.data[6:8, 8:10] == -32768).all()
    assert (result.data != 7).sum() == 4 * 5
    assert (data == 7).all()
    with pytest.raises(DataError, match="expected"):
        full_cube.upscaled(data, 3)


def test_transposed_points_at_the_same_ground(full_cube: Cube) -> None:
    turned = full_cube.transposed()
    assert rasterio.transform.xy(rasterio.Affine(*full_cube.transform), 3, 7) == pytest.approx(
        rasterio.transform.xy(rasterio.Affine(*turned.transform), 7, 3)
    )
    assert (turned.data[7, 3] == full_cube.data[3, 7]).all()
    assert turned.mask[4, 3]


@pytest.mark.parametrize("indices", [[0, 1, 2], [1], [0, 2, 4], [4, 0], [0, 1, 4]])
def test_select_bands_takes_the_metadata_along(full_cube: Cube, indices: list[int]) -> None:
    selected = full_cube.select_bands(indices)
    np.testing.assert_array_equal(selected.data, full_cube.data[:, :, indices])
    np.testing.assert_array_equal(selected.wavelengths, full_cube.wavelengths[indices])
    np.testing.assert_array_equal(selected.bad_bands, full_cube.bad_bands[indices])


def test_a_contiguous_selection_of_a_memory_map_reads_nothing(full_cube: Cube) -> None:
    assert np.shares_memory(full_cube.select_bands([1, 2, 3]).data, full_cube.data)
    assert full_cube.select_bands(range(5)) is full_cube


@pytest.mark.parametrize("indices", [[], [5], [-1]])
def test_select_bands_refuses_what_is_not_there(full_cube: Cube, indices: list[int]) -> None:
    with pytest.raises(DataError, match="choose from 0 to 4"):
        full_cube.select_bands(indices)


def test_invalid_finds_mask_nodata_nan_and_infinity(make_cube) -> None:
    data = make_cube(8, 9, 4, dtype="float32").data
    data[1, 2, 3] = np.nan
    data[2, 3, 0] = np.inf
    data[4, 5, 1] = -9999
    mask = np.zeros((8, 9), dtype=bool)
    mask[7, 8] = True
    cube = Cube(data, nodata=-9999.0, mask=mask)
    assert np.argwhere(cube.invalid()).tolist() == [[1, 2], [2, 3], [4, 5], [7, 8]]
    assert np.argwhere(cube.invalid([1])).tolist() == [[4, 5], [7, 8]]
    assert cube.may_hold_nodata
    assert not make_cube().may_hold_nodata


def test_row_blocks_cover_every_row_once(monkeypatch: pytest.MonkeyPatch, make_cube) -> None:
    monkeypatch.setattr("edgesr.cube.cube._BLOCK_VALUES", 9 * 4 * 3)
    rows = [row for part in make_cube(8, 9, 4).row_blocks() for row in range(8)[part]]
    assert rows == list(range(8))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": np.zeros((4, 5))}, "2 axes"),
        ({"data": np.zeros((4, 5, 0))}, "empty"),
        ({"data": np.zeros((4, 5, 2), dtype=complex)}, "complex128"),
        ({"data": np.zeros((4, 5, 2)), "wavelengths": np.zeros(3)}, "wavelengths"),
        ({"data": np.zeros((4, 5, 2)), "mask": np.zeros((5, 4), bool)}, "mask"),
    ],
)
def test_impossible_cubes_are_refused_in_one_line(fields: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        Cube(**fields)
    assert "\n" not in str(refusal.value)


def test_a_crop_outside_is_refused(full_cube: Cube) -> None:
    with pytest.raises(DataError, match="not inside the image of 20 x 30"):
        full_cube.crop(Window(15, 0, 10, 10))
