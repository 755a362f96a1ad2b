"""ENVI as it is found: which header belongs to which file, what moves pixels, and where it lies."""

from __future__ import annotations

import math
import warnings
from codecs import BOM_UTF8
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.cube import Cube, open_cube, read_cube, write_cube
from edgesr.cube.formats._envi import parse_header
from edgesr.errors import DataError, EdgesrWarning

DATA = np.random.default_rng(0).integers(1, 4000, (7, 9, 5)).astype("<u2")
WKT = rasterio.crs.CRS.from_epsg(32633).to_wkt()


def header(path: Path, *lines: str, bands: int = 5) -> None:
    text = "\n".join(lines)
    path.write_text(
        f"ENVI\nsamples = 9\nlines = 7\nbands = {bands}\ndata type = 12\ninterleave = bsq\n"
        f"byte order = 0\n{text}\n"
    )


def pixels(path: Path, data: np.ndarray = DATA) -> Path:
    path.write_bytes(data.transpose(2, 0, 1).tobytes())
    return path


# --- which is whose ------------------------------------------------------------------------------


def test_two_pairs_side_by_side(tmp_path):
    first, second = DATA, DATA[:, :, :3] + 1
    pixels(tmp_path / "f.dat", first)
    header(tmp_path / "f.hdr")
    pixels(tmp_path / "f.img", second)
    header(tmp_path / "f.img.hdr", bands=3)
    for name in ("f.hdr", "f.dat"):
        np.testing.assert_array_equal(read_cube(tmp_path / name).data, first)
    for name in ("f.img", "f.img.hdr"):
        np.testing.assert_array_equal(read_cube(tmp_path / name).data, second)


def test_a_header_of_either_of_two_files_is_ambiguous(tmp_path):
    header(tmp_path / "f.hdr")
    for name in ("f.dat", "f.raw"):
        pixels(tmp_path / name)
    with pytest.raises(
        DataError, match=r"f\.hdr: the ENVI header of f.raw or f.dat; name the data"
    ):
        read_cube(tmp_path / "f.hdr")
    np.testing.assert_array_equal(read_cube(tmp_path / "f.dat").data, DATA)


@pytest.mark.parametrize("of_header", [".hdr", ".HDR", ".Hdr"])
@pytest.mark.parametrize("of_pixels", [".img", ".IMG", ".hyspex", ".rfl", ".pix", ""])
def test_suffixes(tmp_path, of_header, of_pixels):
    path = pixels(tmp_path / f"scene{of_pixels}")
    header(tmp_path / f"scene{of_header}")
    for spec in (path, tmp_path / f"scene{of_header}"):
        np.testing.assert_array_equal(read_cube(spec).data, DATA)


@pytest.mark.parametrize(
    "mark", [b"PK", b"II*\0", b"MM\0*", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"ENVI"]
)
@pytest.mark.parametrize("suffix", ["", ".dat", ".mat"])
def test_first_pixels_that_spell_a_mark(tmp_path, mark, suffix):
    path = pixels(tmp_path / f"scene{suffix}")
    content = bytearray(path.read_bytes())
    content[: len(mark)] = mark
    path.write_bytes(content)
    header(tmp_path / "scene.hdr")
    assert read_cube(path).data[0, 0, 0] == int.from_bytes(mark[:2], "little")
    with open_cube(path) as opened:
        assert opened.shape == (7, 9, 5)


def test_a_header_finds_a_file_of_any_suffix_that_is_as_long_as_it_says(tmp_path):
    pixels(tmp_path / "f.envi")
    header(tmp_path / "f.hdr")
    (tmp_path / "f.png").write_bytes(b"a picture")
    (tmp_path / "f.1.envi").write_bytes((tmp_path / "f.envi").read_bytes())  # another's
    np.testing.assert_array_equal(read_cube(tmp_path / "f.hdr").data, DATA)
    (tmp_path / "f.other").write_bytes((tmp_path / "f.envi").read_bytes())
    with pytest.raises(DataError, match=r"the ENVI header of f\.envi or f\.other; name the data"):
        read_cube(tmp_path / "f.hdr")


def test_a_header_of_fewer_bytes_is_told(tmp_path):
    path = pixels(tmp_path / "f.img")
    header(tmp_path / "f.hdr", bands=3)
    with pytest.warns(EdgesrWarning, match=rf"{path}: the header describes 378 bytes, .* has 630"):
        assert read_cube(path).shape == (7, 9, 3)


def test_a_header_that_begins_with_a_byte_order_mark(tmp_path):
    path = pixels(tmp_path / "f.img")
    header(tmp_path / "f.hdr")
    (tmp_path / "f.hdr").write_bytes(BOM_UTF8 + (tmp_path / "f.hdr").read_bytes())
    for spec in (path, tmp_path / "f.hdr"):
        np.testing.assert_array_equal(read_cube(spec).data, DATA)


# --- what moves pixels ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("major frame offsets = {0, 4}", "gaps"),
        ("minor frame offsets = {2, 0}", "gaps"),
        ("file compression = 1", "compressed"),
        ("read procedures = {spatial, spectral}", "of their own"),
        ("file type = ENVI Virtual Mosaic", "of type envi virtual mosaic"),
        ("file type = TIFF", "of type tiff"),
    ],
)
def test_pixels_that_lie_elsewhere_are_refused(tmp_path, line, why):
    path = pixels(tmp_path / "scene.img")
    header(tmp_path / "scene.hdr", line)
    with pytest.raises(DataError, match=rf"\A[^\n]*{why}[^\n]*\Z"):
        read_cube(path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("interleave = tile", "interleave is tile in its ENVI header; it has to be one of bsq"),
        ("byte order = 2", "byte order is 2 .* 0 or 1"),
        ("lines = -7", "lines is -7 .* at least 1"),
        ("samples = 9.5", "samples is 9.5 "),
        ("bands =", "bands is missing in its ENVI header"),
        ("bands = 1" + "0" * 5000, "bands is 10{39} in"),
        ("header offset = -2", "header offset is -2 .* at least 0"),
        ("data type = 6", "data type is 6 .* real numbers"),
    ],
)
def test_a_layout_that_there_is_not_is_one_line(tmp_path, line, why):
    path = pixels(tmp_path / "scene.img")
    header(tmp_path / "scene.hdr", line)
    with pytest.raises(DataError, match=rf"\A{path}: {why}[^\n]*\Z"):
        read_cube(path)


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    interleave=st.sampled_from(["bsq", "bil", "BIP"]),
    code=st.sampled_from([("1", "u1"), ("2", "i2"), ("4", "f4"), ("5", "f8"), ("15", "u8")]),
    order=st.sampled_from("01"),
    before=st.integers(0, 9),
)
def test_any_layout(tmp_path_factory, shape, interleave, code, order, before):
    """Each value lies where the header's words say, counted by hand."""
    folder = tmp_path_factory.mktemp("layout")
    (height, width, bands), dtype = shape, np.dtype(code[1]).newbyteorder("<>"[int(order)])
    places = {
        "bsq": lambda row, col, band: (band * height + row) * width + col,
        "bil": lambda row, col, band: (row * bands + band) * width + col,
        "bip": lambda row, col, band: (row * width + col) * bands + band,
    }
    stored = np.arange(height * width * bands).astype(dtype)
    (folder / "a.raw").write_bytes(bytes(before) + stored.tobytes())
    (folder / "a.hdr").write_text(
        f"ENVI\nsamples = {width}\nlines = {height}\nbands = {bands}\ndata type = {code[0]}\n"
        f"interleave = {interleave}\nbyte order = {order}\nheader offset = {before}\n"
    )
    data = read_cube(folder / "a.hdr").data
    assert data.shape == shape
    for index in np.ndindex(shape):
        assert data[index] == places[interleave.lower()](*index)


def test_keys_that_say_that_nothing_is_moved(tmp_path):
    path = pixels(tmp_path / "scene.img")
    header(
        tmp_path / "scene.hdr", "major frame offsets = {0, 0}", "Minor  Frame Offsets = { 0,0 }",
        "file compression = 0", "file type = ENVI Standard", "; a remark = {", "header offset = 0",
    )  # fmt: skip
    np.testing.assert_array_equal(read_cube(path).data, DATA)


def test_a_header_over_many_lines_with_crlf(tmp_path):
    path = pixels(tmp_path / "scene.img")
    header(
        tmp_path / "scene.hdr",
        "wavelength = {\n 400.5, 500,\n 600, 700,\n 800}",
        "FWHM={1,2,3,4,5}",
    )
    text = (tmp_path / "scene.hdr").read_text().replace("\n", "\r\n")
    (tmp_path / "scene.hdr").write_bytes(text.encode())
    cube = read_cube(path)
    assert cube.wavelengths.tolist() == [400.5, 500, 600, 700, 800]
    assert cube.fwhm.tolist() == [1, 2, 3, 4, 5]


def test_lists_of_another_length_are_left_out_with_a_word(tmp_path):
    path = pixels(tmp_path / "scene.img")
    header(
        tmp_path / "scene.hdr", "wavelength = {400, 500, 600}", "wavelength units = Nanometers",
        "bbl = {1, 1, 1, 1, 1, 0}", "band names = {a, b}", "data gain values = {1, 2}",
        "fwhm = {1, 2, 3, 4, 5}",
    )  # fmt: skip
    with pytest.warns(EdgesrWarning) as told:
        cube = read_cube(path)
    lines = sorted(str(one.message) for one in told)
    assert [line.split(";")[0] for line in lines] == [
        f"{path}: bad_bands left out: 6 of them for 5 bands",
        f"{path}: band_names left out: 2 of them for 5 bands",
        f"{path}: gain left out: 2 of them for 5 bands",
        f"{path}: wavelengths left out: 3 of them for 5 bands",
    ]
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.fwhm.tolist() == [1, 2, 3, 4, 5]


def test_names_of_bands(tmp_path):
    path = pixels(tmp_path / "scene.img")
    header(tmp_path / "scene.hdr", "band names = {red edge (1), b, c,\n d, e}")
    assert read_cube(path).band_names == ("red edge (1)", "b", "c", "d", "e")
    header(tmp_path / "scene.hdr", "band names = {a, , c, d, }")
    assert read_cube(path).band_names == ("a", "", "c", "d", "")
    header(tmp_path / "scene.hdr", "band names = {Band 1, Band 2, Band 3, Band 4, Band 5}")
    assert read_cube(path).band_names is None


# --- where it lies -------------------------------------------------------------------------------


def turned(degrees: float, east: float = 30.0, north: float = 30.0) -> tuple[float, ...]:
    """Affine of an image whose rows run ``degrees`` counter-clockwise of east."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return (east * cosine, north * sine, 5e5, east * sine, -north * cosine, 4e6)


@pytest.mark.parametrize("transform", [turned(0), turned(17.5), turned(-60), turned(120, 20, 20)])
def test_turned_images_come_back(tmp_path, transform):
    write_cube(Cube(DATA, crs=WKT, transform=transform), tmp_path / "a.hdr")
    again = read_cube(tmp_path / "a.hdr")
    np.testing.assert_allclose(again.transform, transform, rtol=1e-9, atol=1e-9)
    assert rasterio.crs.CRS.from_wkt(again.crs).to_epsg() == 32633


@pytest.mark.parametrize("transform", [(30, 7, 5e5, 0, -30, 4e6), (-30, 0, 5e5, 0, -30, 4e6)])
def test_sheared_and_mirrored_images_are_refused(tmp_path, transform):
    cube = Cube(DATA, "made", crs=WKT, transform=transform)
    write_cube(replace(cube, transform=turned(0)), tmp_path / "a.img")
    with pytest.raises(DataError, match=r"ENVI cannot hold .* of made.* choose \.tif or \.npz"):
        write_cube(cube, tmp_path / "a.img")
    assert read_cube(tmp_path / "a.img").transform == turned(0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdr", "a.img"]
    write_cube(cube, tmp_path / "a.tif")
    assert read_cube(tmp_path / "a.tif").transform == transform


def test_the_place_needs_no_file_but_the_header(tmp_path):
    """GDAL would take the other header, and the mask and statistics beside it."""
    write_cube(Cube(DATA, crs=WKT, transform=turned(0)), tmp_path / "f.img")
    (tmp_path / "f.hdr").rename(tmp_path / "f.img.hdr")
    header(tmp_path / "f.hdr", "map info = {UTM, 1, 1, 1, 1, 5, 5, 11, North, WGS-84}")
    (tmp_path / "f.img.aux.xml").write_text("<PAMDataset></PAMDataset>")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_cube(tmp_path / "f.img").transform == turned(0)


def test_a_header_of_the_full_name_that_would_be_taken_is_told(tmp_path):
    (tmp_path / "a.img.hdr").write_text("ENVI\n")
    with pytest.raises(DataError, match=r"a\.img\.hdr would be taken for its header; move it away"):
        write_cube(Cube(DATA), tmp_path / "a.hdr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.img.hdr"]


def test_points_of_a_header(tmp_path):
    path = pixels(tmp_path / "a.img")
    header(
        tmp_path / "a.hdr", "geo points = {1, 1, 50.5, 10.25, 9, 1, 50.5, 10.5, 1, 7, 50, 10.25}"
    )
    found = {(point.row, point.col): (point.x, point.y) for point in read_cube(path).gcps}
    assert found == {(0, 0): (10.25, 50.5), (0, 8): (10.5, 50.5), (6, 0): (10.25, 50.0)}


def test_pixels_without_a_size_place_nothing(tmp_path):
    path = pixels(tmp_path / "a.img")
    header(tmp_path / "a.hdr", "map info = {UTM, 1, 1, 5e5, 4e6, 0, 30, 33, North, WGS-84}")
    with pytest.warns(EdgesrWarning, match=f"{path}: transform left out"):
        assert read_cube(path).transform is None


def test_what_is_no_header(tmp_path):
    (tmp_path / "a.hdr").write_text("BYTEORDER I\nNROWS 7\n")
    with pytest.raises(DataError, match="no ENVI header"):
        parse_header(tmp_path / "a.hdr")
