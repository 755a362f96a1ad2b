from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.live_source import Shape, Source, open_source
from jetson_fakes import BANDS
from live_helpers import bundle, card, live_threads, run, whole, written

WIDTH = 4


def cube(lines: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(lines, BANDS, WIDTH)).astype("float32")


def given(width=WIDTH, dtype="<f4", layout="bil", known=(BANDS,), bands=None) -> Shape:
    return Shape(known, width, dtype, layout, bands)


def lines_of(source: Source) -> np.ndarray:
    """All lines [n, C, W] that a source gives."""
    found = []
    while True:
        item = np.zeros((1, *source.item), source.dtype)
        if not source.read(item[0], lambda: False):
            source.close()
            return np.concatenate(found)
        view = source.view(item)
        found.append(view.transpose(1, 0, 2).copy())


def saved(tmp_path, array, shape=None):
    np.save(tmp_path / "lines.npy", array)
    return open_source(str(tmp_path / "lines.npy"), shape or Shape([BANDS]))


def stored(data: np.ndarray, layout: str) -> bytes:
    order = {"bil": (0, 1, 2), "bip": (0, 2, 1), "bsq": (1, 0, 2)}[layout]
    return np.ascontiguousarray(data.transpose(order)).tobytes()


def feed(pipe, content: bytes) -> threading.Thread:
    """Write to a named pipe from a thread."""
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(content,))
    thread.start()
    return thread


def test_layouts(tmp_path):
    data = cube(6)
    assert np.array_equal(lines_of(saved(tmp_path, data)), data)
    assert np.array_equal(lines_of(saved(tmp_path, data.transpose(0, 2, 1))), data)
    image = saved(tmp_path, data.transpose(1, 0, 2), Shape([BANDS], layout="bsq"))
    assert np.array_equal(lines_of(image), data)
    square = np.zeros((6, BANDS, BANDS), "float32")
    with pytest.raises(BoardError, match="bil or bip alike"):
        saved(tmp_path, square)
    assert saved(tmp_path, square, Shape([BANDS], layout="bip")).width == BANDS


@pytest.mark.parametrize("layout", ["bil", "bip", "bsq"])
@pytest.mark.parametrize("dtype", [">u2", "<f4", "int16"])
def test_raw_files_and_pipes_hold_the_same_lines(tmp_path, layout, dtype):
    data = (cube(6) * 100).astype(dtype)
    path = tmp_path / "raw"
    path.write_bytes(stored(data, layout))
    assert np.array_equal(lines_of(open_source(str(path), given(dtype=dtype, layout=layout))), data)
    if layout == "bsq":
        return
    writer = feed(tmp_path / "pipe", path.read_bytes())
    source = open_source(str(tmp_path / "pipe"), given(dtype=dtype, layout=layout))
    assert source.is_pipe
    assert np.array_equal(lines_of(source), data)
    writer.join()


def test_a_pipe_of_an_image_band_by_band(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BoardError, match="use bil or bip"):
        open_source(str(tmp_path / "pipe"), given(layout="bsq"))


@pytest.mark.parametrize("change", ["width", "bands", "dtype", "half"])
def test_a_pipe_that_is_not_what_was_said_leaves_nothing(tmp_path, change):
    """Of all that can be wrong with a pipe, its length gives away what the numbers do not."""
    data = cube(13)
    content = {
        "width": np.pad(data, ((0, 0), (0, 0), (0, 1))).tobytes(),
        "bands": np.pad(data, ((0, 0), (0, 1), (0, 0))).tobytes(),
        "dtype": data.tobytes() + data[:1].astype("float16").tobytes(),
        "half": data.tobytes()[:-1],
    }[change]
    writer = feed(tmp_path / "pipe", content)
    with pytest.raises(BoardError, match=r"ended within a line: \d+ of 48 bytes \(3 bands x 4"):
        run(tmp_path / "pipe", "--width", 4, "--dtype", "<f4", "--layout", "bil",
            write=tmp_path / "out.img")  # fmt: skip
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_pipe_that_stalls(tmp_path, begun):
    os.mkfifo(tmp_path / "pipe")
    feeder = os.open(tmp_path / "pipe", os.O_RDWR) if begun else None
    if feeder is not None:
        os.write(feeder, cube(9).tobytes() + b"half a line")
    with pytest.raises(BoardError, match=r"gave nothing for 0.2 s; .*--stall"):
        run(tmp_path / "pipe", "--width", 4, "--dtype", "<f4", "--layout", "bil",
            "--stall", 0.2, write=tmp_path / "out.img")  # fmt: skip
    if feeder is not None:
        os.close(feeder)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert not live_threads()


def test_a_pipe_waits_for_its_feeder(tmp_path):
    data = cube(8)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    timer = threading.Timer(0.1, lambda: pipe.write_bytes(data.tobytes()))
    timer.start()
    report = run(pipe, "--width", 4, "--dtype", "<f4", "--layout", "bil",
                 write=tmp_path / "out.img")  # fmt: skip
    timer.join()
    assert report["lines"]["processed"] == 8
    assert np.allclose(written(tmp_path / "out.img"), whole(data), atol=1e-6)


@pytest.mark.parametrize("options", [(), ("--bands", "3")])
def test_raw_lines_have_all_bands_unless_said_otherwise(tmp_path, options):
    data = np.random.default_rng(2).integers(100, 1100, (9, 5, WIDTH)).astype("uint16")
    (tmp_path / "raw").write_bytes((data[:, [1, 2, 4]] if options else data).tobytes())
    report = run(tmp_path / "raw", "--width", WIDTH, "--dtype", "uint16", "--layout", "bil",
                 *options, found=bundle(card()), write=tmp_path / "out.img")  # fmt: skip
    assert report["source_bands"] == (3 if options else 5)
    run(data, found=bundle(card()), write=tmp_path / "array.img")
    assert (tmp_path / "out.img").read_bytes() == (tmp_path / "array.img").read_bytes()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (given(dtype="float99"), "--dtype float99 is unknown"),
        (given(dtype="bool"), "numbers and a width"),
        (given(width=5), "no multiple of a line of 60"),
        (given(bands=4), "has 4 bands, the bundle's network takes 3"),
        (given(width=None), "say --width, --dtype and --layout"),
    ],
)
def test_raw_files_that_do_not_fit(tmp_path, shape, message):
    (tmp_path / "raw").write_bytes(cube(6).tobytes()[:-4])
    with pytest.raises(BoardError, match=message):
        open_source(str(tmp_path / "raw"), shape)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 4, 5)), "has 4 bands, the bundle's network takes 3 or 7"),
        (np.zeros((9, 4, 5, 5)), "has 4 bands, the bundle's network takes 3 or 7"),
        (np.zeros((9, 3)), r"lines \[lines, B, W\]"),
        (np.zeros((9, 3, 5), bool), r"lines \[lines, B, W\]"),
        (np.zeros((0, 3, 5)), r"lines \[lines, B, W\]"),
    ],
    ids=["bands", "bands of tiles", "2-D", "bool", "empty"],
)
def test_arrays_that_cannot_be_used(tmp_path, array, message):
    with pytest.raises(BoardError, match=message):
        saved(tmp_path, array, Shape([3, 7]))


def test_what_is_no_source(tmp_path):
    with pytest.raises(BoardError, match="cannot be read"):
        open_source("none.npy", given())
    with pytest.raises(BoardError, match="is a folder"):
        open_source(str(tmp_path), given())


def test_npy_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY broken")
    with pytest.raises(BoardError, match="not a usable"):
        open_source(str(path), given())
    np.save(path, np.array([{"pickled": "object"}], dtype=object))
    with pytest.raises(BoardError, match="not a usable"):
        open_source(str(path), given())
