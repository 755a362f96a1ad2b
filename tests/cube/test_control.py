"""Control points and RPCs: kept by files, moved with the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.rpc import RPC

from edgesr.cube import Cube, Window, open_cube, read_cube, write_cube
from edgesr.cube.control import GroundControl
from edgesr.errors import DataError, EdgesrWarning

DATA = np.arange(12 * 10 * 3, dtype=np.int16).reshape(12, 10, 3)
WKT = rasterio.crs.CRS.from_epsg(32633).to_wkt()
POINTS = tuple(
    GroundControl(row, col, 5e5 + 30 * col + row, 4e6 - 30 * row, 7.0)
    for row in (0.0, 6.5, 12.0)
    for col in (0.0, 10.0)
)
OFFSETS = {
    "ERR_BIAS": 0, "ERR_RAND": 0, "LINE_OFF": 5.5, "SAMP_OFF": 4.5, "LAT_OFF": 45, "LONG_OFF": 10,
    "HEIGHT_OFF": 100, "LINE_SCALE": 6, "SAMP_SCALE": 5, "LAT_SCALE": 0.01, "LONG_SCALE": 0.02,
    "HEIGHT_SCALE": 500,
}  # fmt: skip
LINE = [0, 0.1, -1, 0.02, *[0.001] * 16]
SAMP = [0, 1, 0.1, 0.01, *[0.002] * 16]
ONE = [1, *[0.0] * 19]
RPCS = {key: str(value) for key, value in OFFSETS.items()} | {
    key: " ".join(map(str, values))
    for key, values in {
        "LINE_NUM_COEFF": LINE, "LINE_DEN_COEFF": ONE, "SAMP_NUM_COEFF": SAMP,
        "SAMP_DEN_COEFF": ONE,
    }.items()
}  # fmt: skip


def projected(rpcs, longitude: float = 10.005, latitude: float = 44.997) -> np.ndarray:
    """Row and column of a place on the ground, 0 being the centre of the first pixel."""
    rpc = RPC.from_gdal(dict(rpcs))
    x = (longitude - rpc.long_off) / rpc.long_scale
    y = (latitude - rpc.lat_off) / rpc.lat_scale
    z = (150 - rpc.height_off) / rpc.height_scale
    terms = np.array([1, x, y, z, x * y, x * z, y * z, x * x, y * y, z * z, x * y * z, x**3,
                      x * y * y, x * z * z, x * x * y, y**3, y * z * z, x * x * z, y * y * z,
                      z**3])  # fmt: skip
    row = (terms @ rpc.line_num_coeff) / (terms @ rpc.line_den_coeff)
    col = (terms @ rpc.samp_num_coeff) / (terms @ rpc.samp_den_coeff)
    return np.array(
        [row * rpc.line_scale + rpc.line_off, col * rpc.samp_scale + rpc.samp_off], dtype=float
    )


@pytest.mark.parametrize("suffix", [".tif", ".npz"])
def test_files_keep_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_cube(Cube(DATA, crs=WKT, gcps=POINTS), path)
    again = read_cube(path)
    assert again.gcps == POINTS
    assert again.transform is None
    assert rasterio.crs.CRS.from_wkt(again.crs).to_epsg() == 32633
    write_cube(Cube(DATA, rpcs=RPCS), path)
    again = read_cube(path)
    np.testing.assert_allclose(projected(again.rpcs), projected(RPCS))
    assert (again.gcps, again.crs) == ((), None)
    with open_cube(path) as opened:
        assert opened.rpcs == again.rpcs


def test_gdal_reads_what_we_write(tmp_path: Path) -> None:
    write_cube(Cube(DATA, crs=WKT, gcps=POINTS, rpcs=RPCS), tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as source:
        points, crs = source.gcps
        assert [(p.row, p.col, p.x, p.y, p.z) for p in points] == [
            (p.row, p.col, p.x, p.y, p.z) for p in POINTS
        ]
        assert crs.to_epsg() == 32633
        assert source.rpcs.line_off == 5.5


def test_envi_and_npy_say_that_they_lose_them(tmp_path: Path) -> None:
    cube = Cube(DATA, "made", crs=WKT, gcps=POINTS, rpcs=RPCS)
    with pytest.warns(EdgesrWarning, match="no control points and RPCs; those of made"):
        write_cube(cube, tmp_path / "a.img")
    assert read_cube(tmp_path / "a.img").gcps == ()
    with pytest.warns(EdgesrWarning, match="crs, gcps, rpcs of made"):
        write_cube(cube, tmp_path / "a.npy")


def test_they_move_with_the_image() -> None:
    cube = Cube(DATA, crs=WKT, gcps=POINTS, rpcs=RPCS)
    place = projected(RPCS)
    part = cube.crop(Window(2, 3, 5, 6))
    assert (part.gcps[-1].row, part.gcps[-1].col, part.gcps[-1].x) == (10, 7, POINTS[-1].x)
    np.testing.assert_allclose(projected(part.rpcs), place - [2, 3])
    other = cube.transposed()
    assert (other.gcps[-1].row, other.gcps[-1].col) == (10, 12)
    np.testing.assert_allclose(projected(other.rpcs), place[::-1])
    larger = cube.upscaled(np.repeat(np.repeat(DATA, 4, 0), 4, 1), 4)
    assert (larger.gcps[-1].row, larger.gcps[-1].col) == (48, 40)
    np.testing.assert_allclose(projected(larger.rpcs) + 0.5, (place + 0.5) * 4)  # from the edge


@pytest.mark.parametrize(
    ("field", "value"),
    [("gcps", np.ones((2, 4))), ("gcps", np.full((1, 5), np.nan)), ("rpcs", "["), ("rpcs", "[1]")],
)
def test_garbage_in_an_own_file_is_refused(tmp_path: Path, field: str, value: object) -> None:
    np.savez(tmp_path / "a.npz", **{"edgesr_cube": 1, "data": DATA, field: value})
    with pytest.raises(DataError, match=rf"{field} has to be"):
        read_cube(tmp_path / "a.npz")


def test_rpcs_that_lack_a_number_are_one_line(tmp_path: Path) -> None:
    lacking = {key: value for key, value in RPCS.items() if key != "LINE_OFF"}
    with pytest.raises(DataError, match=r"made: its RPCs cannot be written \(.*choose \.npz"):
        write_cube(Cube(DATA, "made", rpcs=lacking), tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []
