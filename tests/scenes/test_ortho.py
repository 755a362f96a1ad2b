"""Scenes on the ground: by a product's look-up table, block by block as all at once."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from edgesr.cli.main import main
from edgesr.cube import Cube, Window, open_cube, read_cube
from edgesr.cube.glt import ortho_window
from edgesr.errors import DataError, OptionError
from edgesr.scenes.output.store import BlockStore
from edgesr.scenes.upscale import plan, upscale

SCALE = 4
IMAGE = Window(0, 0, 80, 70)
SIZE = IMAGE.height, IMAGE.width
GROUND = 90, 100
TURNED = 0.6  # radians by which the sensor's image is turned against the ground


def look_up_table(kind: str, image: tuple[int, int]) -> np.ndarray:
    """Rows and columns [2, H', W'] of the sensor's image, counted from 1; 0 for none."""
    height, width = image
    down, right = np.indices(GROUND).astype(float)
    if kind == "turned":
        down, right = down - GROUND[0] / 2, right - GROUND[1] / 2
        rows = height / 2 + np.cos(TURNED) * down - np.sin(TURNED) * right
        cols = width / 2 + np.sin(TURNED) * down + np.cos(TURNED) * right
    elif kind == "mirrored":
        rows, cols = height + 4 - down, right - 10
    else:
        rows, cols = down - 5, right - 10
    rows, cols = np.rint(rows).astype(int) + 1, np.rint(cols).astype(int) + 1
    outside = (rows < 1) | (cols < 1) | (rows > height) | (cols > width)
    rows[outside] = cols[outside] = 0
    return np.stack([rows, cols])


def emit_file(path: Path, cube: Cube, table: np.ndarray) -> None:
    cube = cube.crop(IMAGE)
    with h5py.File(path, "w") as file:
        image = file.create_dataset("reflectance", data=cube.data.astype(np.float32))
        image.attrs["_FillValue"] = np.array([cube.nodata], np.float32)
        bands = file.create_group("sensor_band_parameters")
        bands["wavelengths"] = cube.wavelengths.astype(np.float32)
        bands["wavelengths"].attrs["units"] = "nm"
        bands["fwhm"] = cube.fwhm.astype(np.float32)
        signs = np.where(np.indices(GROUND).sum(axis=0) % 5, 1, -1)  # taken from the nearest
        file["location/glt_y"], file["location/glt_x"] = (table * signs).astype(np.int32)
        file.attrs["geotransform"] = [10.0, 0.0008, 0.0, 45.0, 0.0, -0.0008]
        file.attrs["spatial_ref"] = rasterio.crs.CRS.from_epsg(4326).to_wkt()


def magnified(table: np.ndarray, image: tuple[int, int]) -> np.ndarray:
    """The table SCALE times as large, entry by entry: a plane through the 5 x 5 around each."""
    made = np.zeros((2, *(side * SCALE for side in GROUND)), int)
    for row, col in np.argwhere(table[0] > 0):
        near = [
            (i, j)
            for i in range(max(0, row - 2), min(GROUND[0], row + 3))
            for j in range(max(0, col - 2), min(GROUND[1], col + 3))
            if table[0, i, j] > 0
        ]
        terms = np.array([[1, i - row, j - col] for i, j in near], float)
        inside = (np.arange(SCALE) + 0.5) / SCALE - 0.5
        part = np.s_[row * SCALE : (row + 1) * SCALE, col * SCALE : (col + 1) * SCALE]
        for axis in (0, 1):
            numbers = np.array([table[(axis, *place)] for place in near], float)
            mean, down, right = np.linalg.lstsq(terms, numbers, rcond=None)[0]
            own = table[axis, row, col]
            place = mean + down * inside[:, None] + right * inside
            place = place.clip(own - 1, own + 1) - 0.5  # counted from 1; from the pixel's edge
            made[axis][part] = np.floor(place * SCALE + 1e-6).clip(0, image[axis] * SCALE - 1) + 1
    return made


@pytest.fixture(scope="module")
def tables() -> dict[str, np.ndarray]:
    return {kind: look_up_table(kind, SIZE) for kind in ("straight", "mirrored", "turned")}


@pytest.fixture
def product(workplace, scene_cube, tables):
    def make(kind: str) -> str:
        emit_file(Path("emit.nc"), scene_cube, tables[kind])
        return "emit.nc"

    return make


@pytest.mark.parametrize("kind", ["straight", "mirrored", "turned"])
def test_the_scene_on_the_ground_is_the_whole_result_by_the_whole_table(
    product, models, tables, kind
):
    source = product(kind)
    upscale(source, "sensor.npy", models["near.onnx"])
    receipt = upscale(source, "ground.tif", models["near.onnx"], ortho=True)
    whole = np.load("sensor.npy")
    table = magnified(tables[kind], SIZE)
    expected = np.full((*table.shape[1:], 8), -999, np.float32)
    seen = table[0] > 0
    expected[seen] = whole[table[0][seen] - 1, table[1][seen] - 1]
    with rasterio.open("ground.tif") as file:
        found = file.read().transpose(1, 2, 0)
        assert (file.crs.to_epsg(), file.nodata) == (4326, -999)
        assert tuple(file.transform)[:6] == pytest.approx((2e-4, 0, 10, 0, -2e-4, 45), abs=1e-15)
    differs = (found != expected).any(axis=2)  # a place on the edge of two pixels, by rounding
    assert not differs[~seen].any()
    assert differs.mean() < 1e-4
    assert receipt.pixels == table[0].size
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


def test_straight_and_mirrored_tables_move_pixels_alone(product, models):
    product("mirrored")
    upscale("emit.nc", "sensor.npy", models["near.onnx"])
    upscale("emit.nc", "ground.npy", models["near.onnx"], ortho=True)
    part = np.load("ground.npy")[20:340, 40:320]  # from the image's last row on
    assert np.array_equal(part, np.load("sensor.npy")[::-1])


def test_a_turned_image_is_laid_out_to_a_fraction_of_a_pixel(product, tables):
    """Where an exact table of the finer grid would have it."""
    source = product("turned")
    with open_cube(source) as opened:
        window = Window(GROUND[0] * 2 - 60, GROUND[1] * 2 - 80, 120, 160)
        seen, rows, cols = ortho_window(opened.glt, window, SIZE, SCALE)
    down, right = (
        (np.arange(first, first + length) + 0.5) / SCALE - 0.5 - side / 2
        for first, length, side in ((window.row, 120, GROUND[0]), (window.col, 160, GROUND[1]))
    )
    exact = [
        40 + np.cos(TURNED) * down[:, None] - np.sin(TURNED) * right,
        35 + np.sin(TURNED) * down[:, None] + np.cos(TURNED) * right,
    ]
    for found, start, right_place in zip((rows, cols), (seen.row, seen.col), exact, strict=True):
        aside = (found + start + 0.5) / SCALE - 0.5 - right_place
        assert np.sqrt((aside**2).mean()) < 0.12  # of an original pixel; of which 0.07 is rounding
        assert np.abs(aside).max() < 0.5


def test_an_interrupted_one_goes_on_to_the_same_bytes(product, models, monkeypatch):
    source = product("turned")
    usual = upscale(source, "usual.tif", models["global.onnx"], ortho=True)
    write = BlockStore.write
    left = [0]

    def interrupted(self, *block):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        write(self, *block)

    monkeypatch.setattr(BlockStore, "write", interrupted)
    for left[0] in (2, 4, 2):  # once on the image of the sensor, twice on the ground
        with pytest.raises(KeyboardInterrupt):
            upscale(source, "other.tif", models["global.onnx"], ortho=True, resume=True)
        assert not Path("other.tif").exists()
    left[0] = -1
    other = upscale(source, "other.tif", models["global.onnx"], ortho=True, resume=True)
    assert other.sha256 == usual.sha256
    assert not Path(".other.tif.part").exists()


def test_what_cannot_be_put_on_the_ground_is_refused_in_one_line(low, models, capsys):
    words = ["upscale", low, "ground.tif", "--model", str(models["near.onnx"]), "--ortho"]
    assert main(words) == 2
    assert "low has no geographic look-up table" in (told := capsys.readouterr().err)
    assert len(told.splitlines()) == 1
    with pytest.raises(OptionError, match="leave out --window"):
        upscale(low, "ground.tif", models["near.onnx"], ortho=True, window="0,0,9,9")
    assert {path.name for path in Path().iterdir()} == {"low.tif"}


def test_a_table_of_another_image_is_refused(workplace, scene_cube, models, tables):
    emit_file(Path("emit.nc"), scene_cube, tables["straight"] * 2)
    with pytest.raises(DataError, match=r"names row \d+, column \d+ of an image of 80 x 70"):
        upscale("emit.nc", "ground.tif", models["near.onnx"], ortho=True)
    assert not Path("ground.tif").exists()


def test_a_dry_run_counts_both_images(product, models):
    source = product("straight")
    usual = plan(source, "out.tif", models["near.onnx"])
    ground = plan(source, "out.tif", models["near.onnx"], ortho=True)
    assert ground.output == usual.output * GROUND[0] * GROUND[1] / (SIZE[0] * SIZE[1])
    assert ground.disk == 2 * (ground.output + usual.output)
    assert read_cube(source).transform is None
