"""Readers and files that mean harm: storage elsewhere, damaged structure, sizes that are lies."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io

from edgesr.cli.main import main
from edgesr.cube import Cube, read_cube, write_cube
from edgesr.cube.formats._matlab5_check import Damaged, check_matlab5
from edgesr.errors import DataError

SECRET = np.arange(64, dtype=np.uint8)


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file that no reader may show."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET.tobytes())
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as refusal:
        read_cube(path)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


# --- HDF5 --------------------------------------------------------------------------------------


def external(file: h5py.File, secret: Path) -> None:
    file.create_dataset("cube", (4, 4, 4), "u1", external=[(str(secret), 0, 64)])


def virtual(file: h5py.File, secret: Path) -> None:
    other = secret.with_name("other.h5")
    with h5py.File(other, "w") as source:
        source["cube"] = SECRET.reshape(4, 4, 4)
    layout = h5py.VirtualLayout((4, 4, 4), "u1")
    layout[...] = h5py.VirtualSource(str(other), "cube", (4, 4, 4))
    file.create_virtual_dataset("cube", layout)


def linked(file: h5py.File, secret: Path) -> None:
    virtual(h5py.File(secret.with_name("unused.h5"), "w"), secret)
    file["cube"] = h5py.ExternalLink(str(secret.with_name("other.h5")), "/cube")
    file["soft"] = h5py.SoftLink("/cube")


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
@pytest.mark.parametrize("how", [external, virtual, linked])
def test_values_outside_the_file_are_not_read(how, suffix, secret, tmp_path):
    path = tmp_path / f"scene{suffix}"
    with h5py.File(path, "w") as file:
        how(file, secret)
    for spec in (path, f"{path}:/cube", f"{path}:cube"):
        line = refused(spec)
        assert "another file" in line if how is not linked else "cube" in line or "numeric" in line


@pytest.mark.parametrize("how", [external, virtual, linked])
def test_a_cube_beside_such_values_is_read_without_them(how, secret, tmp_path):
    path = tmp_path / "scene.h5"
    own = np.random.default_rng(0).random((4, 5, 4))
    with h5py.File(path, "w") as file:
        file["own"] = own
        how(file, secret)
        file.create_dataset("wavelength", (4,), "u1", external=[(str(secret), 10, 4)])
    cube = read_cube(path)
    np.testing.assert_array_equal(cube.data, own)
    assert cube.wavelengths is None


def test_virtual_datasets_of_the_file_itself_are_read(tmp_path):
    path = tmp_path / "scene.h5"
    with h5py.File(path, "w") as file:
        file["lines/a"] = SECRET.reshape(4, 4, 4)[:2]
        file["lines/b"] = SECRET.reshape(4, 4, 4)[2:]
        layout = h5py.VirtualLayout((4, 4, 4), "u1")
        for index, name in enumerate("ab"):
            layout[2 * index : 2 * index + 2] = h5py.VirtualSource(".", f"lines/{name}", (2, 4, 4))
        file.create_virtual_dataset("cube", layout)
    np.testing.assert_array_equal(read_cube(f"{path}:/cube").data, SECRET.reshape(4, 4, 4))


@pytest.mark.parametrize("how", [external, virtual, linked])
def test_a_virtual_dataset_of_the_file_itself_may_not_lead_on(how, secret, tmp_path):
    path = tmp_path / "scene.h5"
    with h5py.File(path, "w") as file:
        how(file, secret)
        layout = h5py.VirtualLayout((4, 4, 4), "u1")
        layout[...] = h5py.VirtualSource(".", "cube", (4, 4, 4))
        file.create_virtual_dataset("relay", layout)
    assert "another file" in refused(f"{path}:/relay")
    assert "another file" in refused(path)


def test_a_link_to_another_file_is_named_as_the_reason(secret, tmp_path):
    with h5py.File(tmp_path / "scene.h5", "w") as file:
        linked(file, secret)
    assert "/cube keeps its values in another file" in refused(tmp_path / "scene.h5")


def test_names_from_a_file_stay_in_one_line(tmp_path):
    with h5py.File(tmp_path / "scene.h5", "w") as file:
        for index in range(100):
            file[f"two\nlines\x1b[31m{index}"] = SECRET.reshape(4, 4, 4)
    assert "and 80 more" in refused(tmp_path / "scene.h5")


def test_a_size_beyond_every_integer_is_refused(tmp_path):
    with h5py.File(tmp_path / "scene.h5", "w") as file:
        file.create_dataset("cube", (1 << 22, 1 << 22, 1 << 22), "u1", chunks=(1, 1, 1024))
    assert "memory" in refused(tmp_path / "scene.h5")


def text_of_no_kind(file: h5py.File) -> bytes:
    file["cube"].attrs["units"] = "nm"
    return b"units\0\0\0\x19"


def axes_of_no_kind(file: h5py.File) -> bytes:
    for axis in range(3):
        file[f"axis{axis}"] = np.arange(4.0)
        file[f"axis{axis}"].make_scale()
        file["cube"].dims[axis].attach_scale(file[f"axis{axis}"])
    return b"DIMENSION_LIST\0\0\x19"


def text_of_no_kind_in_a_product(file: h5py.File) -> bytes:
    file["products/rhot"] = file.pop("cube")
    file["products/rhot"].attrs["wavelengths"] = "500 600 700 800"
    return b"wavelengths\0\0\0\0\0\x19"


@pytest.mark.parametrize("make", [text_of_no_kind, axes_of_no_kind, text_of_no_kind_in_a_product])
def test_an_attribute_of_no_kind_is_left_out(make, tmp_path):
    path = tmp_path / "scene.h5"
    with h5py.File(path, "w") as file:
        file["cube"] = SECRET.reshape(4, 4, 4)
        before_type = make(file)
    content = path.read_bytes()
    assert content.count(before_type) == 1
    at = content.index(before_type) + len(before_type)
    path.write_bytes(content[:at] + b"\x09" + content[at + 1 :])
    told = subprocess.run(  # HDF5 itself, up to 2.0, ends the process
        [sys.executable, "-m", "edgesr", "info", str(path)], capture_output=True, text=True
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "4 x 4" in told.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_heap_of_which_hdf5_finds_no_end_is_refused(tmp_path):
    path = tmp_path / "scene.h5"
    with h5py.File(path, "w") as file:
        file["cube"] = SECRET.reshape(4, 4, 4)
        file["cube"].attrs["units"] = "nm"
    content = bytearray(path.read_bytes())
    free = content.index(b"GCOL") + 16 + 16 + 8  # behind its header, and the one text in it
    assert int.from_bytes(content[free + 8 : free + 16], "little") == 4096 - 16 - 16 - 8
    content[free + 8 : free + 16] = bytes(8)
    path.write_bytes(content)
    assert "variable length" in refused(path)


# --- GDAL --------------------------------------------------------------------------------------


def test_a_message_of_gdal_that_is_no_text_prints_no_traceback(tmp_path):
    path = tmp_path / "scene.tif"
    write_cube(Cube(SECRET.reshape(4, 4, 4), "made"), path)
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, about="x" * 40)
    content = path.read_bytes()
    assert content.count(b"</GDALMetadata>") == 1
    path.write_bytes(content.replace(b"</GDALMetadata>", b"<\x80DALMetadata>>"))
    told = subprocess.run([sys.executable, "-m", "edgesr", "info", str(path)], capture_output=True)
    assert b"Unicode" not in told.stderr
    assert b"Traceback" not in told.stderr
    assert told.returncode in (0, 2)


@pytest.mark.parametrize("suffix", [".msk", ".MSK"])
@pytest.mark.parametrize(("name", "driver"), [("scene.tif", "GTiff"), ("scene.img", "ENVI")])
def test_a_mask_that_points_to_others_is_not_opened(name, driver, suffix, secret, tmp_path):
    shape = {"height": 4, "width": 4, "count": 3, "dtype": "uint8"}
    place = rasterio.Affine.translation(0, 4)
    with rasterio.open(tmp_path / name, "w", driver=driver, transform=place, **shape) as file:
        file.write(np.ones((3, 4, 4), np.uint8))
    read_cube(tmp_path / name)
    (tmp_path / f"{name}{suffix}").write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="0">{secret}</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>1</PixelOffset><LineOffset>4</LineOffset></VRTRasterBand></VRTDataset>"
    )
    assert f"its mask {name}{suffix} is no GeoTIFF; move it away" in refused(tmp_path / name)


def test_a_mask_that_is_a_geotiff_is_read(tmp_path):
    shape = {"height": 4, "width": 4, "count": 3, "dtype": "uint8"}
    place = rasterio.Affine.translation(0, 4)
    valid = np.full((4, 4), 255, np.uint8)
    valid[1, 2] = 0
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", transform=place, **shape) as file,
    ):
        file.write(np.ones((3, 4, 4), np.uint8))
        file.write_mask(valid)
    assert (tmp_path / "a.tif.msk").is_file()
    assert np.argwhere(read_cube(tmp_path / "a.tif").mask).tolist() == [[1, 2]]


def test_a_name_that_gdal_takes_for_a_driver_is_that_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = rasterio.Affine.translation(0, 4)
    shape = {"height": 4, "width": 4, "count": 3, "dtype": "uint8"}
    with rasterio.open("a.tif", "w", driver="GTiff", transform=place, **shape) as file:
        file.write(np.ones((3, 4, 4), np.uint8))
    Path("a.tif").rename("GTIFF_DIR:1:a.tif")
    assert read_cube("GTIFF_DIR:1:a.tif").shape == (4, 4, 3)


@pytest.mark.parametrize("name", ["scene.tif", "scene.hdr", "scene.img", "scene.vrt", "scene"])
def test_a_file_that_points_to_others_is_opened_by_no_driver(name, secret, tmp_path):
    with rasterio.open(
        tmp_path / "secret.tif", "w", driver="GTiff", width=8, height=8, count=3, dtype="uint8"
    ) as file:
        file.write(np.ones((3, 8, 8), np.uint8))
    band = '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{}' \
        "</SourceFilename></SimpleSource></VRTRasterBand>"  # fmt: skip
    text = f'<VRTDataset rasterXSize="8" rasterYSize="8">{band.format(tmp_path / "secret.tif")}'
    (tmp_path / name).write_text(f"{text}</VRTDataset>")
    (tmp_path / "scene.img.hdr").write_text("no header")
    refused(tmp_path / name)


def test_names_of_other_virtual_file_systems_are_names_of_files():
    for name in ("/vsicurl/ftp://localhost/a.tif", "/vsizip/a.zip/b.tif", "HDF5:a.h5://cube"):
        assert "does not exist" in refused(name)


# --- NumPy -------------------------------------------------------------------------------------


def header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of an .npy file of such an array of float64."""
    file = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(100_000, 100_000, 100), (2**40, 2, 2)])
@pytest.mark.parametrize("own", [False, True])
def test_an_archive_says_what_it_would_unpack_to(shape, own, tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", header(shape) + bytes(1 << 20))
        if own:
            np.save(file := io.BytesIO(), np.array(1))
            archive.writestr("edgesr_cube.npy", file.getvalue())
    assert "memory" in refused(path)


def test_objects_and_what_is_no_array_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", data=np.array([[[None]]], dtype=object))
    refused(tmp_path / "objects.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("data.npy", "no array")
    refused(tmp_path / "text.npz")
    np.save(tmp_path / "objects.npy", np.array([[[None]]], dtype=object))
    refused(tmp_path / "objects.npy")


# --- MATLAB 5 ----------------------------------------------------------------------------------

CONTENTS = {
    "cube": {
        "cube": np.arange(60, dtype=np.uint16).reshape(4, 5, 3),
        "wavelengths": np.array([400.0, 500.0, 600.0]),
    },
    "struct": {
        "scene": {"cube": np.ones((4, 5, 3)), "name": "abä", "cells": np.array([1, "x"], object)},
        "complex": np.array([1 + 2j]),
        "sparse": scipy.sparse.csc_array(np.eye(3)),
        "flags": np.array([[True, False]]),
    },
}


def stored(name: str, compressed: bool) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, CONTENTS[name], do_compression=compressed)
    return file.getvalue()


def recompressed(plain: bytes, spoil) -> bytes:
    """A compressed file whose variables were spoiled before they were packed."""
    out, position = bytearray(plain[:128]), 128
    while position < len(plain):
        size = struct.unpack("<I", plain[position + 4 : position + 8])[0]
        content = spoil(bytearray(plain[position : position + 8 + size]))
        packed = zlib.compress(bytes(content))
        out += struct.pack("<II", 15, len(packed)) + packed
        position += 8 + size
    return bytes(out)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
def test_good_files_pass(name, compressed, tmp_path):
    path = tmp_path / "scene.mat"
    path.write_bytes(stored(name, compressed))
    check_matlab5(path)
    assert read_cube(path).shape == (4, 5, 3)


def test_one_byte_makes_no_crash(tmp_path):
    """Seeded; the same with 40,000 files, and in a child process, was run by hand."""
    choose, path, refusals = random.Random(5), tmp_path / "scene.mat", 0

    def spoil(content: bytearray) -> bytearray:
        for _ in range(choose.choice([1, 1, 1, 4])):
            place = choose.randrange(len(content))
            content[place] = choose.choice([0, 1, 255, choose.randrange(256)])
        return content

    for index in range(300):
        plain = stored(choose.choice(list(CONTENTS)), compressed=False)
        if index % 3:
            damaged = bytes(plain[:128]) + bytes(spoil(bytearray(plain[128:])))
        else:
            damaged = recompressed(plain, spoil)
        path.write_bytes(damaged)
        with suppress(DataError):
            read_cube(path)
            refusals -= 1
        refusals += 1
    assert 50 < refusals < 300


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (0, b"\0\0\0\0", "MATLAB 4"),
        (126, b"XX", "another version"),
        (128, struct.pack("<I", 9), "no variable"),
        (132, struct.pack("<I", 1 << 30), "no variable"),
        (136, struct.pack("<I", 7), "stands where none may"),
        (144, struct.pack("<I", 99), "unknown class 99"),
        (152, struct.pack("<I", 6), "stands where none may"),
        (160, struct.pack("<i", -4), "cannot be"),
        (160, struct.pack("<i", 2**30), "values"),
    ],
)
def test_what_is_wrong_is_said(place, value, why, tmp_path):
    path = tmp_path / "scene.mat"
    content = bytearray(stored("cube", compressed=False))
    content[place : place + len(value)] = value
    path.write_bytes(bytes(content))
    with pytest.raises(Damaged, match=why):
        check_matlab5(path)
    refused(path)


def test_arrays_within_arrays_end_somewhere(tmp_path):
    inner = b""
    for _ in range(300):
        array = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1)
        array += struct.pack("<II", 1, 0) + inner
        inner = struct.pack("<II", 14, len(array)) + array
    path = tmp_path / "deep.mat"
    path.write_bytes(stored("cube", compressed=False)[:128] + inner)
    with pytest.raises(Damaged, match="deep"):
        check_matlab5(path)
    refused(path)


def test_a_large_variable_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "scene.mat"
    path.write_bytes(stored("cube", compressed=True))
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 100)
    assert "memory" in refused(path)


@pytest.mark.parametrize("wanted", ["", ":s.small"])
def test_a_large_struct_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, wanted):
    path = tmp_path / "scene.mat"
    large = {"deep": {"cube": np.zeros((200, 200, 50), np.uint8)}, "small": np.ones((2, 2, 2))}
    scipy.io.savemat(path, {"s": large}, do_compression=True)
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 1_900_000)
    monkeypatch.setattr("scipy.io.loadmat", None)
    assert "memory" in refused(f"{path}{wanted}")


def test_what_lies_beside_a_struct_counts_not_as_in_it(tmp_path):
    path = tmp_path / "scene.mat"
    inner = {"cube": np.zeros((5, 6, 7), np.uint16), "cell": np.array([np.ones(3), 2.0], object)}
    scipy.io.savemat(path, {"a": np.zeros((9, 9, 9)), "s": inner, "b": np.ones((3, 3, 3))})
    assert check_matlab5(path) == 5 * 6 * 7 * 2 + 3 * 8 + 8


# --- what would be unpacked for a few values, and what a terminal would obey ----------------------


def test_a_chunk_and_a_tile_count_as_a_whole(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "chunk.h5", "w") as file:
        file.create_dataset(
            "cube", (4, 4, 4), "u1", chunks=(64, 64, 64), maxshape=(None,) * 3, compression="gzip"
        )[...] = 1
    with rasterio.open(
        tmp_path / "tile.tif", "w", driver="GTiff", width=8, height=8, count=3, dtype="uint8",
        tiled=True, blockxsize=512, blockysize=512, compress="deflate",
    ) as file:  # fmt: skip
        file.write(np.ones((3, 8, 8), np.uint8))
    for name in ("chunk.h5", "tile.tif"):
        assert read_cube(tmp_path / name).data.size
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 100_000)
    for name in ("chunk.h5", "tile.tif"):
        assert "memory" in refused(tmp_path / name)


def test_the_header_of_an_array_is_short(tmp_path):
    path = tmp_path / "long.npz"
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2, 2), }" + b" " * 10_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", b"\x93NUMPY\2\0" + struct.pack("<I", len(text)) + text)
    assert "header" in refused(path)


def test_a_name_moves_no_cursor(tmp_path, capsys):
    path = tmp_path / "cube.npz"
    write_cube(Cube(np.ones((4, 4, 3), np.uint8), "x\x1b[2J\nrange  1 to 2"), path)
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert len([line for line in told.splitlines() if line.startswith("range")]) == 1
