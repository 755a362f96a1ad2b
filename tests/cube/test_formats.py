"""The door of readers: content decides, no reader is needed for the others, strangers take part."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import edgesr_export.registry
import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
from edgesr_export.registry import PluginWarning

from edgesr.cli.main import main
from edgesr.compress import compress
from edgesr.cube import read_cube
from edgesr.cube.cube import Cube
from edgesr.cube.formats import READERS, Reader, register
from edgesr.cube.parts import cube_files
from edgesr.cube.readers import split_spec
from edgesr.errors import DataError

DATA = np.random.default_rng(0).integers(1, 4000, (7, 9, 5)).astype(np.uint16)
TOY = '''
import numpy as np

from edgesr.cube import Cube
from edgesr.cube.formats import Reader, register


@register
class Lines(Reader):
    """A header "LINES rows bands columns"; pixels, uint16 BIL, in a file beside it."""

    name, title, suffixes = "lines", "pushbroom lines", (".lines",)

    def recognises(self, path, start):
        return start.startswith(b"LINES ")

    def read(self, path, wanted):
        rows, bands, columns = map(int, path.read_text().split()[1:])
        lines = np.fromfile(self.files(path)[1], np.uint16).reshape(rows, bands, columns)
        return Cube(lines.transpose(0, 2, 1), wanted or path.stem, source=str(path))

    def files(self, path):
        return [path, path.with_suffix(".img"), path.with_suffix(".absent")]
'''


@pytest.fixture(autouse=True)
def registered(kept):
    """What a test registers is forgotten after it."""
    kept(READERS)


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Offer a reader, as an installed package does by an entry point."""
    (tmp_path / "toy_reader.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, value: str) -> None:
        point = EntryPoint(name, value, "edgesr.readers")
        monkeypatch.setattr(
            edgesr_export.registry,
            "entry_points",
            lambda group: [point] if group == "edgesr.readers" else [],
        )

    yield install
    sys.modules.pop("toy_reader", None)


@pytest.fixture
def strip(offer, tmp_path, monkeypatch) -> Path:
    """A cube whose reader is installed, in the current folder."""
    offer("lines", "toy_reader:Lines")
    monkeypatch.chdir(tmp_path)
    return write_strip(Path("strip.lines"), DATA)


def write_strip(path: Path, data: np.ndarray) -> Path:
    height, width, bands = data.shape
    path.write_text(f"LINES {height} {bands} {width}\n")
    path.with_suffix(".img").write_bytes(data.transpose(0, 2, 1).tobytes())
    return path


# --- the project's own --------------------------------------------------------------------------


def write(path: Path, kind: str) -> None:
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, DATA)
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, a=DATA)
    elif kind == "matlab5":
        scipy.io.savemat(path, {"a": DATA}, appendmat=False)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["a"] = DATA
    else:
        driver = {"geotiff": "GTiff", "envi": "ENVI"}[kind]
        size = {"height": 7, "width": 9, "count": 5, "dtype": "uint16"}
        with rasterio.open(path, "w", driver=driver, **size) as file:
            file.write(np.moveaxis(DATA, -1, 0))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", ["envi", "geotiff", "hdf5", "npy", "npz"])
@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz", ".tif", ".h5", ""])
def test_content_decides_whatever_the_name(tmp_path, kind, suffix):
    write(tmp_path / f"cube{suffix}", kind)
    np.testing.assert_array_equal(read_cube(tmp_path / f"cube{suffix}").data, DATA)


@pytest.mark.parametrize("kind", ["hdf5", "matlab5", "npz"])
def test_a_mat_file_is_whatever_holds_several_arrays(tmp_path, kind):
    write(tmp_path / "cube.mat", kind)
    np.testing.assert_array_equal(read_cube(f"{tmp_path}/cube.mat:a").data, DATA)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", ["geotiff", "npy"])
def test_any_other_mat_file_is_a_damaged_one(tmp_path, kind):
    write(tmp_path / "cube.mat", kind)
    with pytest.raises(DataError, match=r"cube\.mat: cannot be read as a MATLAB file"):
        read_cube(tmp_path / "cube.mat")


def test_a_header_beside_a_file_is_the_weakest_sign(tmp_path):
    write(tmp_path / "cube.npy", "npy")
    (tmp_path / "cube.hdr").write_text("ENVI\nsamples = 1\n")
    np.testing.assert_array_equal(read_cube(tmp_path / "cube.npy").data, DATA)
    assert cube_files(tmp_path / "cube.npy") == [tmp_path / "cube.npy"]  # the other is not read


def test_what_no_reader_knows_is_told_with_all_formats(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(DataError) as error:
        read_cube(tmp_path / "note.txt")
    assert str(error.value) == (
        f"{tmp_path}/note.txt: neither ENVI (.hdr), GeoTIFF, HDF5 (MATLAB 7.3 too), MATLAB 5, "
        ".npy, .npz or Zarr; convert it, or, for ENVI, put its .hdr beside it"
    )
    assert cube_files(tmp_path / "note.txt") == [tmp_path / "note.txt"]


def test_the_others_do_without_any_one_reader(tmp_path, monkeypatch):
    modules = {name: one for name, one in READERS._modules().items() if name != "envi"}
    monkeypatch.setattr(READERS, "_modules", lambda: modules)
    del READERS._things["envi"]
    write(tmp_path / "cube.npy", "npy")
    np.testing.assert_array_equal(read_cube(tmp_path / "cube.npy").data, DATA)
    (tmp_path / "cube.txt").write_text("ENVI")
    with pytest.raises(DataError, match=r"neither GeoTIFF, .* or Zarr; convert it\Z"):
        read_cube(tmp_path / "cube.txt")


# --- of another package -------------------------------------------------------------------------


def test_a_reader_of_another_package_reads(strip, capsys):
    np.testing.assert_array_equal(read_cube(strip).data, DATA)
    assert main(["info", "strip.lines"]) == 0
    assert "7 x 9 pixels, 5 bands" in capsys.readouterr().out
    assert split_spec("strip.lines:left") == (strip, "left")
    assert read_cube("strip.lines:left").name == "left"


def test_a_reader_of_another_package_is_listed(strip):
    Path("note.txt").write_text("hello")
    with pytest.raises(DataError, match=r"MATLAB 7\.3 too\), pushbroom lines, MATLAB 5"):
        read_cube("note.txt")


def test_a_file_that_a_reader_of_another_package_cannot_read_is_one_line(strip, capsys):
    Path("strip.img").write_bytes(bytes(7))
    assert main(["info", "strip.lines"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "strip.lines: cannot be read as pushbroom lines (" in line


def test_side_files_of_another_package_are_never_written(strip, materials, capsys):
    assert cube_files(strip) == [Path("strip.img"), strip]
    before = Path("strip.img").read_bytes()
    weights = str(materials.lkca_net)
    assert main(["upscale", "strip.lines", "strip.img", "--weights", weights, "--overwrite"]) == 2
    assert "strip.img is an input and would be lost" in capsys.readouterr().err
    assert Path("strip.img").read_bytes() == before
    assert not Path("strip.hdr").exists()


def test_a_network_is_compressed_on_a_cube_of_another_package(
    strip, materials, small_recipe, workplace, plain_export
):
    path = write_strip(Path("made.lines"), np.load(materials.cube))
    report = compress(replace(small_recipe, data=str(path)), Path("run"))
    assert report["data"]["source"] == "made.lines"


def test_a_broken_package_is_one_line_and_left_out(strip, offer, tmp_path, capsys):
    offer("lost", "a_module_that_is_nowhere:Reader")
    write(tmp_path / "cube.npy", "npy")
    for left_out in (True, False):  # told once
        assert main(["info", "cube.npy"]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert [line.startswith("warning: the reader 'lost' (") for line in lines] == [
            True
        ] * left_out
    assert "lost" not in READERS


def test_a_reader_without_a_name_or_title_is_left_out(offer, tmp_path):
    kind = TOY.replace('name, title, suffixes = "lines", "pushbroom lines", (".lines",)', "pass")
    (tmp_path / "toy_reader.py").write_text(kind)
    offer("lines", "toy_reader:Lines")
    with pytest.warns(PluginWarning, match="left out: ValueError: a reader has a name and a title"):
        assert "lines" not in READERS.load()


def test_a_reader_goes_before_the_format_that_it_is_a_kind_of(tmp_path):
    @register
    class Product(Reader):
        name, title, order = "product", "a product", 5

        def recognises(self, path: Path, start: bytes) -> bool:
            return start.startswith(b"\x89HDF") and path.name.startswith("product")

        def read(self, path: Path, wanted: str | None) -> Cube:
            with h5py.File(path) as file:
                return Cube(np.moveaxis(file["a"][()], 0, 1), "turned")

    write(tmp_path / "other.h5", "hdf5")
    shutil.copy(tmp_path / "other.h5", tmp_path / "product.h5")
    assert read_cube(tmp_path / "other.h5").shape == (7, 9, 5)
    assert read_cube(tmp_path / "product.h5").shape == (9, 7, 5)
