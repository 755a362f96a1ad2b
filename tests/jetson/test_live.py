from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.live_output import LineWriter
from edgesr_jetson.board.summary import _live
from jetson_fakes import BANDS, expected
from live_helpers import (
    Lines,
    Network,
    bundle,
    card,
    headers,
    live_threads,
    replaced,
    run,
    whole,
    written,
)

WIDTH = 4


def cube(lines: int, width: int = WIDTH, bands: int = BANDS) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(lines, bands, width)).astype("float32")


def digital(lines: int, width: int = WIDTH, bands: int = 5, dtype="uint16") -> np.ndarray:
    return np.random.default_rng(2).integers(100, 1100, (lines, bands, width)).astype(dtype)


def in_native(lines: np.ndarray, nodata: np.ndarray | None = None) -> np.ndarray:
    """What the bundle of ``card()`` makes of native lines [n, 5, W]: in float64, all at once."""
    lower, upper = np.array([100.0] * 3), np.array([1100.0, 1100.0, 2100.0])
    span = (upper - lower)[:, None]
    unit = np.clip((lines[:, [1, 2, 4]].astype(np.float64) - lower[:, None]) / span, 0, 1)
    if nodata is not None:
        unit[np.broadcast_to(nodata[:, None], unit.shape)] = 0.5
    return whole(unit) * span + lower[:, None]


class Blur(Network):
    """Depends on one pixel around: a mean of 3 x 3, each result four times."""

    def infer(self, tile):
        padded = np.pad(tile, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        h, w = tile.shape[2:]
        mean = sum(padded[:, :, y : y + h, x : x + w] for y in range(3) for x in range(3)) / 9
        return mean.repeat(2, axis=2).repeat(2, axis=3).astype("float32")


class Counter(Network):
    """Answers 0 to the first tile after the warm-up, 1 to the second, and so on."""

    calls = -1

    def infer(self, tile):
        self.calls += 1
        return np.full((1, BANDS, 2 * tile.shape[2], 2 * tile.shape[3]), self.calls - 1.0)


@pytest.mark.parametrize("context", [0, 1])
def test_lines_come_out_as_if_seen_at_once(tmp_path, context):
    data = cube(14)
    report = run(data, "--context", context, write=tmp_path / "out.img")
    assert np.allclose(written(tmp_path / "out.img"), whole(data), atol=1e-6)
    assert report["lines"] == {"received": 14, "processed": 14, "dropped": 0, "with_nodata": 0}
    assert report["real_time"] == {"absent": "no --line-rate was given"}
    assert report["latency_per_line_ms"]["repeats"] == 14
    assert report["context_lines"] == context


@pytest.mark.parametrize("width", [1, 3, 7, 8, 9, 20, 37, 64])
def test_any_swath_is_cut_and_joined_without_a_seam(tmp_path, width):
    data = cube(21, width)
    found = bundle({"card": {**card()["card"], "context": 1}}, (5, 5), (8, 8), (8, 8))
    report = run(data, "--normalised", found=found, network=Blur(), write=tmp_path / "out.img")
    assert report["columns"] == (1 if width <= 8 else -(-(width - 2) // 6))
    seen_at_once = Blur().infer(data.transpose(1, 0, 2)[None])[0].transpose(1, 0, 2)
    found = written(tmp_path / "out.img", width=2 * width)
    assert np.allclose(found, seen_at_once, atol=1e-6)
    assert report["context_lines"] == 1


def test_where_a_tile_depends_on_all_of_itself_columns_and_blocks_fade(tmp_path):
    found = bundle({"card": {**card()["card"], "context": "global"}}, (8, 8), (8, 8), (8, 8))
    report = run(cube(14, 14), "--normalised", found=found, network=Counter(),
                 write=tmp_path / "out.img")  # fmt: skip
    assert (report["columns"], report["fade_lines"], report["context_lines"]) == (2, 2, 0)
    image = written(tmp_path / "out.img", width=28)[:, 0]
    ramp = np.array([0.125, 0.375, 0.625, 0.875])
    across = np.r_[np.zeros(12), ramp, np.ones(12)]
    assert np.allclose(image[:12], across)
    assert np.allclose(image[12:16], across + 2 * ramp[:, None])
    assert np.allclose(image[16:24], across + 2)  # the end is only known when it has come
    assert np.allclose(image[24:], across + 2 + 2 * ramp[:, None])


def test_an_old_bundle_knows_no_context(tmp_path):
    found = bundle({}, (4, 4), (4, 4), (4, 4))
    report = run(cube(8, 9), found=found, write=tmp_path / "out.img")
    assert (report["columns"], report["context_lines"], report["fade_lines"]) == (3, 0, 0)
    assert np.allclose(written(tmp_path / "out.img", width=18), whole(cube(8, 9)), atol=1e-6)


def test_blocks_grow_where_context_would_fill_them():
    found = bundle({"card": {**card()["card"], "context": 6}}, (1, 1), (8, 8), (20, 20))
    assert run(cube(40), "--normalised", found=found)["input_shape"][2] == 20
    found = bundle({"card": {**card()["card"], "context": 3}}, (1, 1), (8, 8), (20, 20))
    assert run(cube(40), "--normalised", found=found)["input_shape"][2] == 12


def test_a_height_outside_the_range_names_the_option():
    found = bundle({}, (4, 4), (8, 8), (16, 16))
    with pytest.raises(BoardError, match=r"--block-lines inside.*edgesr bundle --tile-range"):
        run(cube(40), "--block-lines", 17, found=found)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", ">i2"])
@pytest.mark.parametrize("layout", ["bil", "bip", "bsq"])
def test_all_bands_in_the_sensors_numbers_go_in_and_native_ones_come_out(tmp_path, dtype, layout):
    data = digital(9, dtype=dtype)
    order = {"bil": (0, 1, 2), "bip": (0, 2, 1), "bsq": (1, 0, 2)}[layout]
    np.save(tmp_path / "lines.npy", data.transpose(order))
    report = run(tmp_path / "lines.npy", "--layout", layout, found=bundle(card()),
                 write=tmp_path / "out.img")  # fmt: skip
    kind = np.dtype(dtype).newbyteorder("=")
    found = written(tmp_path / "out.img", kind)
    truth = in_native(data)
    assert report["source_bands"] == 5
    assert report["written_type"] == kind.name
    if kind.kind == "f":
        assert np.allclose(found, truth, rtol=1e-5)
    else:
        assert np.abs(found - truth).max() <= 0.51  # rounded once
    run(tmp_path / "lines.npy", "--layout", layout, "--write-dtype", "float32",
        found=bundle(card()), write=tmp_path / "float.img")  # fmt: skip
    assert np.allclose(written(tmp_path / "float.img"), truth, rtol=1e-5)


def test_bands_that_were_selected_already_go_in_too(tmp_path):
    data = digital(9)
    run(data, found=bundle(card()), write=tmp_path / "all.img")
    run(data[:, [1, 2, 4]], found=bundle(card()), write=tmp_path / "some.img")
    assert (tmp_path / "all.img").read_bytes() == (tmp_path / "some.img").read_bytes()


def test_bands_of_an_older_bundle_are_those_of_its_data(tmp_path):
    facts = {"normalisation": card()["card"]["normalisation"],
             "data": {"bands": "1-2,4", "shape": [9, 9, 5]}}  # fmt: skip
    run(digital(9), found=bundle(facts), write=tmp_path / "old.img")
    run(digital(9), found=bundle(card()), write=tmp_path / "new.img")
    assert (tmp_path / "old.img").read_bytes() == (tmp_path / "new.img").read_bytes()


def test_results_beyond_the_type_saturate_and_leave_nodata_alone(tmp_path):
    facts = card(nodata=0, normalisation={"lower": [-50.0] * 3, "upper": [1e5] * 3})
    network = Counter()
    network.infer = lambda tile: np.stack(
        [np.full((8, 8), value, np.float32) for value in (-1.0, 0.5, 2.0)]
    )[None]
    run(digital(4), found=bundle(facts), network=network, write=tmp_path / "out.img")
    values = written(tmp_path / "out.img", "uint16")
    assert [np.unique(values[:, band]).tolist() for band in range(3)] == [[1], [49975], [65535]]


@pytest.mark.parametrize("nodata", [-9999, None, "nan"])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_nodata_goes_through_every_line(tmp_path, nodata, dtype):
    data = digital(8, dtype=dtype)
    holes = np.zeros((8, WIDTH), bool)
    if dtype == "float32":
        data[3, 2, 1], data[4, 4, 0], data[5] = np.nan, np.inf, -np.inf
        holes[3, 1] = holes[4, 0] = holes[5] = True
        data[6, 3, 2] = np.nan  # no band of the network
    if nodata == -9999:
        data[7, 1, 3] = -9999
        holes[7, 3] = True
    report = run(data, found=bundle(card(nodata=nodata)), write=tmp_path / "out.img")
    assert report["lines"]["with_nodata"] == holes.any(axis=1).sum()
    image = written(tmp_path / "out.img", dtype)
    told = headers(tmp_path / "out.img.hdr")["data ignore value"]
    missing = holes.repeat(2, axis=0).repeat(2, axis=1)[:, None].repeat(BANDS, axis=1)
    hole = float(told)
    assert told == ("-9999" if nodata == -9999 else "0" if dtype == "int16" else "NaN")
    same = np.isnan(image) if np.isnan(hole) else image == hole
    assert np.array_equal(same, missing)
    truth = in_native(np.nan_to_num(data, posinf=0, neginf=0), holes)
    assert np.abs(image - truth)[~missing].max() <= 0.51


@pytest.mark.parametrize("width", [WIDTH, 33])
def test_values_outside_the_training_range_are_told(width):
    facts = card(native={"low": [100.0] * 3, "high": [1100.0] * 3}, nodata=0)
    assert run(digital(8, width), found=bundle(facts))["outside_training_range"] == 0
    data = digital(8, width)
    data[:2, [1, 2, 4]] = 9000  # a quarter of all
    data[2, 0], data[3, 3] = 60000, 60000  # bands that the network does not read
    data[4, 2], data[5, 4] = 0, 1150  # nodata, and within a twentieth of the range
    told = run(data, found=bundle(facts))
    assert told["outside_training_range"] == pytest.approx(2 / 7)  # of the lines that are valid
    floats = digital(8, width, dtype="float32")
    floats[3:] = np.nan
    floats[0, 1] = 50.1
    assert run(floats, found=bundle(facts))["outside_training_range"] == 0
    unknown = {"absent": "the bundle does not know it"}
    assert run(digital(8, width), found=bundle(card()))["outside_training_range"] == unknown


def test_a_pipe_that_changes_its_type_is_told_in_the_summary(tmp_path):
    facts = card(native={"low": [100.0] * 3, "high": [1100.0] * 3})
    data = digital(8)
    (tmp_path / "raw").write_bytes(data.tobytes() + data.astype("float32").tobytes())
    report = run(tmp_path / "raw", "--width", WIDTH, "--dtype", "uint16", "--layout", "bil",
                 found=bundle(facts))  # fmt: skip
    assert report["outside_training_range"] > 0.3
    (line,) = [line for line in _live(report) if "outside the range" in line]
    assert "look at --dtype" in line
    assert not [line for line in _live(run(data, found=bundle(facts))) if "outside" in line]


def test_every_line_nodata(tmp_path):
    data = np.full((8, 5, WIDTH), -9999, "int16")
    report = run(data, found=bundle(card(nodata=-9999)), write=tmp_path / "out.img")
    assert report["lines"]["with_nodata"] == 8
    assert np.unique(written(tmp_path / "out.img", "int16")).tolist() == [-9999]


def test_the_user_knows_the_nodata_better(tmp_path):
    data = digital(4, dtype="int16")
    data[2] = 77
    run(data, "--nodata", 77, found=bundle(card(nodata=-9999)), write=tmp_path / "out.img")
    assert np.unique(written(tmp_path / "out.img", "int16")[4:6]).tolist() == [77]
    assert headers(tmp_path / "out.img.hdr")["data ignore value"] == "77"


def test_unit_numbers_with_nodata_stay_unit(tmp_path):
    data = cube(8)
    data[3, :, 1] = np.nan
    report = run(data, write=tmp_path / "out.img")
    assert report["lines"]["with_nodata"] == 1
    image = written(tmp_path / "out.img")
    assert np.isnan(image[6:8, :, 2:4]).all()
    assert np.isnan(image).sum() == 4 * BANDS


def test_a_file_is_played_at_its_rate():
    report = run(cube(8), "--line-rate", 400, "--lines", 8)
    assert report["real_time"]["line_period_ms"] == 2.5
    assert report["seconds"] >= 7 / 400


def test_lines_limit():
    report = run(cube(30), "--lines", 10)
    assert report["lines"]["received"] == report["lines"]["processed"] == 10


def test_tiles(tmp_path):
    tiles = np.random.default_rng(2).uniform(size=(3, BANDS, 5, 6)).astype("float32")
    network = Network()
    report = run(tiles, network=network, write=tmp_path / "out.img")
    assert report["kind"] == "tiles"
    assert report["lines"]["processed"] == 15
    assert network.shapes == [(1, BANDS, 5, 6)]
    image = written(tmp_path / "out.img", width=12)
    assert np.allclose(image[10:20].transpose(1, 0, 2), expected(tiles[1:2])[0], atol=1e-6)


def test_tiles_wider_than_an_engine(tmp_path):
    tiles = np.random.default_rng(2).uniform(size=(3, BANDS, 5, 19)).astype("float32")
    run(tiles, found=bundle({}, (1, 1), (4, 4), (8, 8)), write=tmp_path / "out.img")
    image = written(tmp_path / "out.img", width=38)
    truth = np.concatenate([expected(tile[None])[0] for tile in tiles], axis=1)
    assert np.allclose(image.transpose(1, 0, 2), truth, atol=1e-6)


def test_an_error_in_the_reading_thread_reaches_the_caller(tmp_path):
    data = cube(12)
    data[9] = 7.0
    with pytest.raises(BoardError, match="values from 7 to 7"):
        run(data, write=tmp_path / "out.img")
    assert list(tmp_path.iterdir()) == []
    assert not live_threads()


def test_an_error_of_the_network_reaches_the_caller(tmp_path):
    class Failing(Counter):
        def infer(self, tile):
            if self.calls == 2:
                raise BoardError("the GPU is gone")
            return super().infer(tile)

    with pytest.raises(BoardError, match="the GPU is gone"):
        run(cube(40), network=Failing(), write=tmp_path / "out.img")
    assert list(tmp_path.iterdir()) == []
    assert not live_threads()


def test_a_full_disk_ends_the_run_and_leaves_nothing(tmp_path):
    class Full(LineWriter):
        def _append(self, lines):
            if self._lines >= 16:
                raise self._error(OSError(28, "No space left on device"))
            super()._append(lines)

    import live_helpers

    original, live_helpers.LineWriter = live_helpers.LineWriter, Full
    try:
        with pytest.raises(BoardError, match=r"out.img cannot be written \(No space left"):
            run(cube(400), write=tmp_path / "out.img")
    finally:
        live_helpers.LineWriter = original
    assert list(tmp_path.iterdir()) == []
    assert not live_threads()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_device_that_is_full(monkeypatch, tmp_path):
    from edgesr_jetson.board import live_output

    monkeypatch.setattr(live_output, "open_new", lambda *_, **__: open("/dev/full", "wb", 0))  # noqa: PTH123, SIM115
    with pytest.raises(BoardError, match="No space left"):
        run(cube(400), write=tmp_path / "out.img")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_with_the_report_of_what_was_done(tmp_path):
    class Impatient(Network):
        done = -1  # the first is the warm-up

        def infer(self, tile):
            self.done += 1
            if self.done == 3:
                raise KeyboardInterrupt
            return super().infer(tile)

    report = run(cube(40), network=Impatient(), write=tmp_path / "out.img")
    assert report["interrupted"] is True
    assert report["lines"]["processed"] == 8
    image = written(tmp_path / "out.img")
    assert np.allclose(image[:16], whole(cube(40)[:8]), atol=1e-6)
    assert np.isnan(image[16:]).all()
    assert len(image) == 2 * report["lines"]["received"]


def test_dropped_lines_are_nodata(tmp_path):
    data = digital(40)
    all_came, gate = threading.Event(), threading.Event()

    class Gated(Network):
        def infer(self, tile):
            if self.shapes and gate.is_set():
                assert all_came.wait(timeout=60)
            gate.set()
            return super().infer(tile)

    class Signalling(Lines):
        def read(self, item, is_stopping):
            found = super().read(item, is_stopping)
            if not found:
                all_came.set()
            return found

    report = run(Signalling(data), "--line-rate", 1e5, "--queue", 1, found=bundle(card()),
                 network=Gated(), write=tmp_path / "out.img")  # fmt: skip
    lines = report["lines"]
    assert lines["received"] == 40
    assert lines["processed"] + lines["dropped"] == 40
    assert 4 <= lines["processed"] <= 8  # one block in work, one in the queue
    image = written(tmp_path / "out.img", "uint16")
    missing = (image == 0).all(axis=(1, 2))
    assert missing.sum() == 2 * lines["dropped"]
    assert np.abs(image - in_native(data))[~missing].max() <= 0.51


def test_integers_without_a_normalisation():
    for facts, options in (({}, ()), (card(), ("--normalised",))):
        with pytest.raises(BoardError, match="the source holds integers"):
            run(digital(9, bands=3), *options, found=bundle(facts))
    with pytest.raises(BoardError, match="--write-dtype int16 is for native numbers"):
        run(cube(9), "--write-dtype", "int16")


def test_a_source_that_is_too_short():
    with pytest.raises(BoardError, match="the source has 3 lines and a block needs 4"):
        run(cube(3))


def test_the_header_says_what_the_numbers_are(tmp_path):
    facts = card(
        nodata=0,
        gain=1e-4,
        bands={"index": [1, 2, 4], "count": 5, "wavelengths_nm": [400.5, 500.0, 700.25],
               "fwhm_nm": [5.0, 6.0, 7.0]},
    )  # fmt: skip
    run(digital(8), found=bundle(facts), write=tmp_path / "out.img")
    found = headers(tmp_path / "out.img.hdr")
    assert found["data type"] == "12"
    assert found["interleave"] == "bil"
    assert found["wavelength"] == "{400.5, 500, 700.25}"
    assert found["fwhm"] == "{5, 6, 7}"
    assert found["data ignore value"] == "0"
    assert found["data gain values"] == "{0.0001, 0.0001, 0.0001}"
    assert found["reflectance scale factor"] == "10000"
    assert found["band names"] == "{band 2, band 3, band 5}"
    rasterio = pytest.importorskip("rasterio")
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    with rasterio.open(tmp_path / "out.img") as image:
        read = image.read()
        assert image.nodata == 0
        assert image.dtypes[0] == "uint16"
        assert image.scales == (1e-4,) * 3
    assert np.array_equal(read.transpose(1, 0, 2), written(tmp_path / "out.img", "uint16"))


def test_gains_and_wavelengths_of_all_bands_of_the_sensor(tmp_path):
    facts = card(
        gain=[1.0, 2.0, 3.0, 4.0, 5.0], offset=[0.5],
        bands={"index": [1, 2, 4], "count": 5, "wavelengths_nm": [1.0, 2.0, 3.0, 4.0, 5.0]},
    )  # fmt: skip
    run(digital(8), found=bundle(facts), write=tmp_path / "out.img")
    found = headers(tmp_path / "out.img.hdr")
    assert found["wavelength"] == "{2, 3, 5}"
    assert found["data gain values"] == "{2, 3, 5}"
    assert found["data offset values"] == "{0.5, 0.5, 0.5}"
    assert "reflectance scale factor" not in found


def test_the_card_as_model_files_have_it(tmp_path):
    native = {"dtype": "uint16", "nodata": 5.0, "fill": [600.0] * 3, "gain": [0.5], "offset": None}
    stored = {key: value for key, value in card()["card"].items() if key != "nodata"}
    data = digital(8)
    data[2, 4, 1] = 5
    run(data, found=bundle({"card": {**stored, "native": native}}), write=tmp_path / "out.img")
    assert headers(tmp_path / "out.img.hdr")["data gain values"] == "{0.5, 0.5, 0.5}"
    assert (written(tmp_path / "out.img", "uint16") == 5).sum() == 4 * BANDS


DAMAGED = {
    "card": 3,
    "card.bands": {**card()["card"], "bands": {"index": [1, 2, 5], "count": 5}},
    "card.fill": {**card()["card"], "fill": [1.0, 2.0]},
    "card.nodata": {**card()["card"], "nodata": "none"},
    "card.low": {**card()["card"], "native": {"low": [1.0, 2.0]}},
    "card.context": {**card()["card"], "context": -1},
    "normalisation": {**card()["card"], "normalisation": {"lower": [1.0] * 3, "upper": [1.0] * 3}},
    "card.gain": {**card()["card"], "gain": [1.0, True, 1.0]},
    "card.bands.wavelengths_nm": {
        **card()["card"], "bands": {"index": [1, 2, 4], "count": 5, "wavelengths_nm": [[]]}
    },
}  # fmt: skip


@pytest.mark.parametrize("where", DAMAGED)
def test_a_card_that_does_not_fit(where):
    with pytest.raises(BoardError, match=f"the bundle's {where} is damaged"):
        bundle({"card": DAMAGED[where]})


def test_an_output_that_cannot_be_written(tmp_path):
    with pytest.raises(BoardError, match=r"out.img cannot be written \(No such file"):
        run(cube(8), write=tmp_path / "none/out.img")


STALLED = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
sys.path[:0] = [{tests!r}, {jetson!r}]
from pathlib import Path
from live_helpers import run
print("ready", flush=True)
report = run(Path("-"), "--width", "4", "--dtype", "float32", "--layout", "bil",
             write=Path({output!r}))
print(report["lines"]["processed"], report["interrupted"], threading.active_count())
"""


def test_ctrl_c_while_a_pipe_stalls_ends_with_what_came(tmp_path):
    from pathlib import Path

    tests = Path(__file__).parent
    code = STALLED.format(tests=str(tests), jetson=str(tests.parents[1] / "jetson"),
                          output=str(tmp_path / "out.img"))  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(cube(8).tobytes() + b"half a line")
        process.stdin.flush()
        deadline = time.monotonic() + 30
        size = whole(cube(8)).astype("float32").nbytes
        while time.monotonic() < deadline:
            if [part for part in tmp_path.glob(".out*.part") if part.stat().st_size == size]:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        out, errors = process.stdout.read(), process.stderr.read()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert out == b"8 True 1\n"
    assert np.allclose(written(tmp_path / "out.img"), whole(cube(8)), atol=1e-6)


def test_a_pipe_that_breaks_after_ctrl_c_does_not_matter():
    class Cut(Lines):
        def read(self, item, is_stopping):
            if self._next == 12:
                while not is_stopping():
                    time.sleep(0.001)
                raise BoardError("ended within a line")
            return super().read(item, is_stopping)

    class Impatient(Counter):
        def infer(self, tile):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().infer(tile)

    report = run(Cut(cube(40)), network=Impatient())
    assert report["interrupted"] is True


def test_a_profile_of_one_size(tmp_path):
    fixed = bundle({}, (4, 8), (4, 8), (4, 8))
    for width in (3, 8, 9, 30):
        data = cube(8, width)
        report = run(data, found=replaced(fixed), write=tmp_path / f"{width}.img")
        assert report["input_shape"] == [1, BANDS, 4, 8]
        image = written(tmp_path / f"{width}.img", width=2 * width)
        assert np.allclose(image, whole(data), atol=1e-6)
