from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from edgesr_jetson.board.contents import Bundle, Profile
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.live import LivePlan, live
from edgesr_jetson.board.live_blocks import blocks_of_lines, blocks_of_tiles
from edgesr_jetson.board.live_output import LineWriter
from edgesr_jetson.board.live_source import Normalisation, choose_normalisation, open_source
from edgesr_jetson.board.power import PowerMeter
from edgesr_jetson.board.runner import Runner
from hypothesis import given
from hypothesis import strategies as st
from jetson_fakes import expected

BANDS, WIDTH = 3, 4
NO_IDLE = {"absent": "not measured"}


def bundle(facts=None) -> Bundle:
    profile = Profile((1, BANDS, 1, 1), (1, BANDS, 4, WIDTH), (1, BANDS, 64, 64))
    return Bundle(None, "", {}, BANDS, 2, (), None, profile, facts or {})


def numbered_lines(count: int):
    """Lines [B, W] whose every value is the line's number; they arrive at ten times that."""
    return [(10.0 * i, np.full((BANDS, WIDTH), float(i))) for i in range(count)]


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 40))
def test_every_line_is_new_in_exactly_one_block(height, context, count):
    lines = numbered_lines(count)
    if height - 2 * context < 1 or count < height:
        with pytest.raises(BoardError):
            list(blocks_of_lines(lines, height, context))
        return
    seen = []
    for block in blocks_of_lines(lines, height, context):
        assert block.data.shape == (1, BANDS, height, WIDTH)
        new = block.data[0, 0, block.offset : block.offset + len(block.arrivals), 0]
        assert [10.0 * v for v in new] == list(block.arrivals)
        assert new[0] == block.first
        assert np.all(np.diff(block.data[0, 0, :, 0]) == 1)  # a block has no gap
        at_top, at_end = block.first == 0, new[-1] == count - 1
        assert at_top or block.offset >= context
        assert at_end or height - block.offset - len(new) >= context
        seen += new.tolist()
    assert seen == list(range(count))


def test_tiles_are_blocks_of_their_own():
    tiles = [(1.0, np.zeros((BANDS, 5, 4))), (2.0, np.ones((BANDS, 5, 4)))]
    first, second = blocks_of_tiles(tiles)
    assert (first.first, second.first, second.offset) == (0, 5, 0)
    assert second.arrivals == (2.0,) * 5
    assert second.data.shape == (1, BANDS, 5, 4)


class Network(Runner):
    """The tiny network of jetson_fakes; may wait for ``gate`` before each block."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate, self.shapes = gate, []

    def prepare(self, shape):
        self.shapes.append(shape)

    def run(self):
        pass

    def infer(self, tile):
        if self.gate is not None:
            assert self.gate.wait(timeout=60)
        return expected(tile).astype("float32")


def run(source, plan, network=None, writer=None, normalisation=None):
    with PowerMeter(root=Path("/no/sensors/here")) as meter:
        return live(
            bundle(), network or Network(), source, normalisation or Normalisation(None, None),
            plan, meter, NO_IDLE, writer,
        )  # fmt: skip


def saved(tmp_path, array, name="lines.npy", layout=None):
    np.save(tmp_path / name, array)
    return open_source(str(tmp_path / name), BANDS, None, None, layout)


def cube(lines: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(lines, BANDS, WIDTH)).astype("float32")


@pytest.mark.parametrize("context", [0, 1])
def test_lines_come_out_as_if_seen_at_once(tmp_path, context):
    data = cube(14)
    writer = LineWriter(tmp_path / "out.img", BANDS, 2 * WIDTH, 2)
    with writer:
        report = run(saved(tmp_path, data), LivePlan(None, 4, context, 2, None), writer=writer)
    written = np.fromfile(tmp_path / "out.img", "<f4").reshape(28, BANDS, 2 * WIDTH)
    whole = expected(data.transpose(1, 0, 2)[None])[0]
    assert np.allclose(written.transpose(1, 0, 2), whole, atol=1e-6)
    assert report["lines"] == {"received": 14, "processed": 14, "dropped": 0, "with_nodata": 0}
    assert report["real_time"] == {"absent": "no --line-rate was given"}
    assert report["latency_per_line_ms"]["repeats"] == 14
    assert report["context_lines"] == context


def test_lines_that_cannot_be_kept_up_with_are_dropped_counted_and_nan(tmp_path):
    data = cube(40)
    all_came = threading.Event()

    def lines_then_signal():
        yield from data
        all_came.set()

    source = dataclasses.replace(saved(tmp_path, data), _data=lines_then_signal())
    plan = LivePlan(1e5, 4, 0, 1, None)
    with LineWriter(tmp_path / "out.img", BANDS, 2 * WIDTH, 2) as writer:
        report = run(source, plan, Network(all_came), writer)
    lines = report["lines"]
    assert lines["received"] == 40
    assert lines["processed"] + lines["dropped"] == 40
    assert 4 <= lines["processed"] <= 8  # one block in work, one in the queue
    written = np.fromfile(tmp_path / "out.img", "<f4").reshape(80, BANDS, 2 * WIDTH)
    whole = expected(data.transpose(1, 0, 2)[None])[0].transpose(1, 0, 2)
    missing = np.isnan(written).all(axis=(1, 2))
    assert missing.sum() == 2 * lines["dropped"]
    assert np.allclose(written[~missing], whole[~missing], atol=1e-6)


def test_the_margin_is_the_period_less_the_work(tmp_path):
    report = run(saved(tmp_path, cube(8)), LivePlan(400.0, 4, 0, 8, None))
    real_time, spent = report["real_time"], 1e3 / report["sustainable_line_rate_hz"]
    assert real_time["line_period_ms"] == 2.5
    assert real_time["margin_ms"] == pytest.approx(2.5 - spent)
    assert real_time["load"] == pytest.approx(spent / 2.5)
    mark = report["published_mark"]
    assert mark["margin_to_prisma_ms"] == pytest.approx(4.34 - spent)
    assert report["seconds"] >= 7 / 400  # the file was played at its rate


def test_lines_limit(tmp_path):
    report = run(saved(tmp_path, cube(30)), LivePlan(None, 4, 0, 2, 10))
    assert report["lines"]["received"] == report["lines"]["processed"] == 10


def test_tiles(tmp_path):
    tiles = np.random.default_rng(2).uniform(size=(3, BANDS, 5, 6)).astype("float32")
    network = Network()
    with LineWriter(tmp_path / "out.img", BANDS, 12, 2) as writer:
        report = run(saved(tmp_path, tiles), LivePlan(None, 4, 0, 2, None), network, writer)
    assert report["kind"] == "tiles"
    assert report["lines"]["processed"] == 15
    assert network.shapes == [(1, BANDS, 5, 6)]
    written = np.fromfile(tmp_path / "out.img", "<f4").reshape(30, BANDS, 12)
    assert np.allclose(written[10:20].transpose(1, 0, 2), expected(tiles[1:2])[0], atol=1e-6)


def test_an_error_in_the_feeding_thread_reaches_the_caller(tmp_path):
    data = cube(12)
    data[9] = 7.0
    with pytest.raises(BoardError, match="values from 7 to 7"):
        run(saved(tmp_path, data), LivePlan(None, 4, 0, 2, None))


def test_nodata_is_counted_and_seen_as_zero(tmp_path):
    data = cube(8)
    data[3, :, 1] = np.nan
    data[5] = np.nan
    with LineWriter(tmp_path / "out.img", BANDS, 2 * WIDTH, 2) as writer:
        report = run(saved(tmp_path, data), LivePlan(None, 4, 0, 2, None), writer=writer)
    assert report["lines"]["with_nodata"] == 2
    written = np.fromfile(tmp_path / "out.img", "<f4").reshape(16, BANDS, 2 * WIDTH)
    assert np.all(written[10:12] == 0)
    assert np.isfinite(written).all()


def test_digital_numbers_go_through_the_normalisation_and_back(tmp_path):
    facts = {"normalisation": {"mode": "band", "lower": [0, 100, 0], "upper": [1000, 1100, 50]}}
    numbers = np.zeros((4, BANDS, WIDTH), "uint16")
    numbers[:, 0], numbers[:, 1], numbers[:, 2] = 250, 350, 25
    source = saved(tmp_path, numbers)
    normalisation = choose_normalisation(bundle(facts), source.dtype, False)
    with LineWriter(tmp_path / "out.img", BANDS, 2 * WIDTH, 2) as writer:
        run(source, LivePlan(None, 4, 0, 2, None), writer=writer, normalisation=normalisation)
    unit = expected(np.tile(np.array([0.25, 0.25, 0.5])[None, :, None, None], (1, 1, 4, 4)))
    native = unit[0] * np.array([1000, 1000, 50])[:, None, None]
    native += np.array([0, 100, 0])[:, None, None]
    written = np.fromfile(tmp_path / "out.img", "<f4").reshape(8, BANDS, 2 * WIDTH)
    assert np.allclose(written.transpose(1, 0, 2), native, rtol=1e-5)


@pytest.mark.parametrize(
    "stored", [{}, {"lower": [0], "upper": [1]}, {"lower": [1, 1, 1], "upper": [1, 1, 1]}]
)
def test_a_damaged_normalisation(stored):
    with pytest.raises(BoardError, match="normalisation is damaged"):
        choose_normalisation(bundle({"normalisation": stored}), np.dtype("uint16"), False)


def test_layouts(tmp_path):
    data = cube(6)
    bip = saved(tmp_path, data.transpose(0, 2, 1), "bip.npy")
    assert np.array_equal(np.stack(list(bip)), data)
    assert bip.width == WIDTH
    square = np.zeros((6, BANDS, BANDS), "float32")
    with pytest.raises(BoardError, match="bil or bip alike"):
        saved(tmp_path, square)
    assert saved(tmp_path, square, layout="bip").width == BANDS


@pytest.mark.parametrize("layout", ["bil", "bip"])
@pytest.mark.parametrize("dtype", [">u2", "<f4", "int16"])
def test_raw_files_and_pipes_hold_the_same_lines(tmp_path, layout, dtype):
    data = (cube(6) * 100).astype(dtype)
    stored = data if layout == "bil" else data.transpose(0, 2, 1)
    path = tmp_path / "raw"
    path.write_bytes(np.ascontiguousarray(stored).tobytes())
    source = open_source(str(path), BANDS, WIDTH, dtype, layout)
    assert np.array_equal(np.stack(list(source)), data)
    assert source.items == 6
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes() + b"half a line"))
    writer.start()
    source = open_source(str(pipe), BANDS, WIDTH, dtype, layout)
    assert source.is_pipe
    assert np.array_equal(np.stack(list(source)), data)
    writer.join()


@pytest.mark.parametrize(
    ("dtype", "width", "message"),
    [("float99", 4, "--dtype float99 is unknown"), ("bool", 4, "numbers and a width"),
     ("float32", 5, "no multiple of a line of 60")],
)  # fmt: skip
def test_raw_files_that_do_not_fit(tmp_path, dtype, width, message):
    (tmp_path / "raw").write_bytes(cube(6).tobytes()[:-4])
    with pytest.raises(BoardError, match=message):
        open_source(str(tmp_path / "raw"), BANDS, width, dtype, "bil")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 4, 5)), "has 4 bands, the bundle's network takes 3"),
        (np.zeros((9, 4, 5, 5)), "has 4 bands, the bundle's network takes 3"),
        (np.zeros((9, 3)), r"lines \[lines, B, W\]"),
        (np.zeros((9, 3, 5), bool), r"lines \[lines, B, W\]"),
        (np.zeros((0, 3, 5)), r"lines \[lines, B, W\]"),
    ],
    ids=["bands", "bands of tiles", "2-D", "bool", "empty"],
)
def test_arrays_that_cannot_be_used(tmp_path, array, message):
    with pytest.raises(BoardError, match=message):
        saved(tmp_path, array)


def test_integers_without_a_normalisation():
    for facts, is_normalised in (({}, False), ({"normalisation": {}}, True)):
        with pytest.raises(BoardError, match="the source holds integers"):
            choose_normalisation(bundle(facts), np.dtype("uint16"), is_normalised)


def test_a_source_that_is_too_short(tmp_path):
    with pytest.raises(BoardError, match="the source has 3 lines and a block needs 4"):
        run(saved(tmp_path, cube(3)), LivePlan(None, 4, 0, 2, None))


def test_a_missing_source():
    with pytest.raises(BoardError, match="cannot be read"):
        open_source("none.npy", BANDS, None, None, None)


def test_npy_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY broken")
    with pytest.raises(BoardError, match="not a usable"):
        open_source(str(path), BANDS, None, None, None)
    np.save(path, np.array([{"pickled": "object"}], dtype=object))
    with pytest.raises(BoardError, match="not a usable"):
        open_source(str(path), BANDS, None, None, None)


def test_ctrl_c_ends_with_the_report_of_what_was_done(tmp_path):
    class Impatient(Network):
        done = 0

        def infer(self, tile):
            self.done += 1
            if self.done == 3:
                raise KeyboardInterrupt
            return super().infer(tile)

    report = run(saved(tmp_path, cube(40)), LivePlan(None, 4, 0, 2, None), Impatient())
    assert report["interrupted"] is True
    assert report["lines"]["processed"] == 8


def test_the_header_describes_the_file(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    data = cube(8)
    with LineWriter(tmp_path / "out.img", BANDS, 2 * WIDTH, 2) as writer:
        run(saved(tmp_path, data), LivePlan(None, 4, 0, 2, None), writer=writer)
    with rasterio.open(tmp_path / "out.img") as image:
        read = image.read()
    assert np.allclose(read, expected(data.transpose(1, 0, 2)[None])[0], atol=1e-6)


def test_an_output_that_cannot_be_written(tmp_path):
    with pytest.raises(BoardError, match=r"out.img cannot be written \(No such file"):
        LineWriter(tmp_path / "none/out.img", BANDS, 8, 2).__enter__()
