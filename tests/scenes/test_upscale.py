"""Whole scenes: the same pixels however they are cut, with their numbers, place and nodata."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F
from edgesr_export.card import read_card

from edgesr.cli.main import main
from edgesr.cube import Cube, open_cube, read_cube, write_cube
from edgesr.cube.degrade import bicubic_upsample
from edgesr.errors import DataError, EdgesrWarning, ModelError, OptionError
from edgesr.loading.card import make_card
from edgesr.loading.weights import load_network, save_network
from edgesr.models import create_model
from edgesr.scenes.output.store import BlockStore
from edgesr.scenes.upscale import upscale, upscale_scene

FACTORY = "small_networks:bilinear"


def single_pass(cube: Cube, path: Path, factory: str | None = None) -> np.ndarray:
    """The scene through the network at once, in float64 but for the network: [H r, W r, B]."""
    card = make_card(load_network(path, factory).metadata["data"])
    index = list(card.bands.index)
    values = cube.data[:, :, index].astype(np.float64)
    values[cube.invalid()] = np.rint(card.native.fill)  # as a pixel of whole numbers can be
    lower, upper = np.array(card.normalisation.lower), np.array(card.normalisation.upper)
    unit = ((values - lower) / (upper - lower)).clip(0, 1).astype(np.float32).transpose(2, 0, 1)
    with torch.no_grad():
        answer = load_network(path, factory).model(torch.from_numpy(unit.copy())[None])[0]
    return answer.numpy().transpose(1, 2, 0) * (upper - lower) + lower


def big(mask: np.ndarray) -> np.ndarray:
    return mask.repeat(4, axis=0).repeat(4, axis=1)


@pytest.mark.parametrize("kind", ["onnx", "safetensors", "openvino", "openvino-bf16"])
def test_a_network_of_finite_context_gives_what_one_pass_gives(low, scene_cube, models, kind):
    suffix = "safetensors" if kind == "safetensors" else "onnx"
    more = {"factory": FACTORY} if suffix == "safetensors" else {}
    if kind.startswith("openvino"):
        pytest.importorskip("openvino")
        from edgesr_export.runner import unavailable

        if unavailable(kind):
            pytest.skip(unavailable(kind))
        more["runtime"] = kind
    receipt = upscale(low, "high.npy", models[f"near.{suffix}"], **more)
    high = np.load("high.npy")
    assert (high.dtype, high.shape) == (np.int16, (600, 560, 8))
    assert receipt.pixels == 600 * 560
    hole = big(scene_cube.invalid())
    assert (high[hole] == -999).all()
    expected = single_pass(scene_cube, models["near.safetensors"], FACTORY)
    difference = np.abs(high[~hole] - expected[~hole])
    if kind == "openvino-bf16":
        assert difference.max() < 0.02 * np.ptp(expected)
    else:
        assert difference.max() < 0.5 + 1e-2  # rounded, and as rounding to float32 lets it be


def test_numbers_place_and_spectrum_are_kept(low, models, scene_cube):
    upscale(low, "high.tif", models["near.onnx"])
    with rasterio.open("high.tif") as file:
        assert (file.width, file.height, file.count) == (560, 600, 8)
        assert file.dtypes[0] == "int16"
        assert file.nodata == -999
        assert tuple(file.transform)[:6] == (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_800_000.0)
        assert file.crs.to_epsg() == 32633
        assert file.scales == (1e-4,) * 8
        assert file.profile["interleave"] == "band"
        assert file.block_shapes[0] == (256, 256)
    high = read_cube("high.tif")
    assert high.wavelengths.tolist() == scene_cube.wavelengths[:8].tolist()
    assert high.fwhm.tolist() == [9.5] * 8


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".img", ".npz", ".npy"])
def test_every_format_holds_the_same_pixels(low, models, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    upscale(low, "first.npy", models["global.onnx"])
    receipt = upscale(low, f"high{suffix}", models["global.onnx"])
    assert np.array_equal(read_cube(f"high{suffix}").data, np.load("first.npy"))
    again = upscale(low, f"high{suffix}", models["global.onnx"], overwrite=True)
    assert again.sha256 == receipt.sha256
    with pytest.raises(OptionError, match="exists; pass --overwrite"):
        upscale(low, f"high{suffix}", models["global.onnx"])


@pytest.mark.parametrize(
    "options",
    [{"threads": 1}, {"threads": 5, "memory": "8GB"}, {"threads": 3, "memory": "4GB"}],
)
def test_the_result_does_not_depend_on_threads_and_memory(low, models, options):
    usual = upscale(low, "usual.tif", models["global.onnx"])
    other = upscale(low, "other.tif", models["global.onnx"], **options)
    assert other.sha256 == usual.sha256


@pytest.mark.parametrize("window", ["0,0,1,1", "63,63,3,2", "64,0,64,64", "17,31,101,77",
                                    "149,139,1,1", "0,0,150,140"])  # fmt: skip
def test_a_window_holds_the_pixels_of_the_whole(low, models, window):
    upscale(low, "whole.npy", models["global.onnx"])
    upscale(low, "part.tif", models["global.onnx"], window=window)
    row, col, height, width = (4 * int(number) for number in window.split(","))
    part = read_cube("part.tif")
    assert np.array_equal(part.data, np.load("whole.npy")[row : row + height, col : col + width])
    assert part.transform == (10.0, 0.0, 500_000.0 + 10 * col, 0.0, -10.0, 5_800_000.0 - 10 * row)


def test_a_global_network_shows_no_seam(low, scene_cube, models):
    """Against one pass: the error is far below the network's own, and steps are as elsewhere."""
    filled = replace(scene_cube, data=np.where(scene_cube.data < 0, 900, scene_cube.data))
    write_cube(filled, Path("full.tif"))
    upscale("full.tif", "high.npy", models["global.onnx"], dtype="float32")
    high = np.load("high.npy")
    expected = single_pass(filled, models["global.safetensors"])
    span = np.ptp(expected)
    noise = 10 * np.log10(span**2 / ((high - expected) ** 2).mean())
    assert noise > 48
    for axis in (0, 1):
        steps = np.abs(np.diff(high, axis=axis)).mean(axis=(1 - axis, 2))
        right = np.abs(np.diff(expected, axis=axis)).mean(axis=(1 - axis, 2))
        seams = np.arange(256, high.shape[axis], 256) - 1
        assert np.abs(steps[seams] / right[seams] - 1).max() < 0.05


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(low, models, monkeypatch, suffix):
    expected = upscale(low, f"usual{suffix}", models["global.onnx"])
    for stop in range(1, 9, 2):
        target = f"stopped{stop}{suffix}"
        write, written = BlockStore.write, []

        def stopping(store, row, col, pixels, write=write, written=written, stop=stop):
            if len(written) == stop:
                raise KeyboardInterrupt
            write(store, row, col, pixels)
            written.append((row, col))

        with monkeypatch.context() as patch:
            patch.setattr(BlockStore, "write", stopping)
            with pytest.raises(KeyboardInterrupt):
                upscale(low, target, models["global.onnx"])
        assert not Path(target).exists()
        with pytest.raises(OptionError, match="pass --resume to go on"):
            upscale(low, target, models["global.onnx"])
        with pytest.raises(OptionError, match="another options"):
            upscale(low, target, models["global.onnx"], resume=True, dtype="float32")
        with monkeypatch.context() as patch:
            again = []
            patch.setattr(
                BlockStore,
                "write",
                lambda store, row, col, pixels, write=write, again=again: (
                    again.append((row, col)),
                    write(store, row, col, pixels),
                ),
            )
            resumed = upscale(low, target, models["global.onnx"], resume=True, memory="8GB")
        assert not set(again) & set(written)
        assert resumed.sha256 == expected.sha256


@pytest.mark.slow
def test_killed_at_random_points_it_goes_on_to_the_same_bytes(low, models):
    expected = upscale(low, "usual.tif", models["global.onnx"])
    command = [sys.executable, "-m", "edgesr", "upscale", low, "killed.tif", "--resume",
               "--model", str(models["global.onnx"])]  # fmt: skip
    began = time.monotonic()
    subprocess.run([*command[:5], "timed.tif", *command[6:]], check=True, capture_output=True)
    whole = time.monotonic() - began
    chance, killed = random.Random(0), 0
    for _ in range(20):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 1.05) * whole)
        run.send_signal(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
        if Path("killed.tif").exists():
            assert Path("killed.tif").read_bytes() == Path("usual.tif").read_bytes()
            Path("killed.tif").unlink()
    assert killed >= 10
    upscale(low, "killed.tif", models["global.onnx"], resume=True)
    assert Path("killed.tif").read_bytes() == Path("usual.tif").read_bytes()
    assert expected.sha256


def test_an_archive_goes_on_by_itself_and_begins_anew_with_other_options(low, models, monkeypatch):
    options = {"model": str(models["near.onnx"]), "threads": 1}
    expected = upscale_scene(low, "usual.tif", options)
    with monkeypatch.context() as patch:
        patch.setattr("edgesr.scenes.upscale.finish", lambda store: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            upscale_scene(low, "high.tif", options)
    assert upscale_scene(low, "high.tif", options).sha256 == expected.sha256
    with monkeypatch.context() as patch:
        patch.setattr("edgesr.scenes.upscale.finish", lambda store: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            upscale_scene(low, "other.tif", {**options, "dtype": "float32"})
    assert upscale_scene(low, "other.tif", options).sha256 == expected.sha256


def test_two_processes_on_one_output(low, models, monkeypatch):
    def second(store):
        with pytest.raises(OptionError, match=r"high\.tif"):
            upscale(low, "high.tif", models["near.onnx"], resume=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("edgesr.scenes.upscale.finish", second)
    with pytest.raises(KeyboardInterrupt):
        upscale(low, "high.tif", models["near.onnx"])


def test_tiles_without_a_measurement_are_not_run(low, models, monkeypatch):
    from edgesr.scenes import network

    run = []
    real = network._InGraph.__call__
    monkeypatch.setattr(
        network._InGraph, "__call__", lambda self, tile: run.append(1) or real(self, tile)
    )
    upscale(low, "high.npy", models["near.onnx"])
    assert len(run) == 9 - 1  # one of nine is blank; what shows the memory is not run again


def test_nan_stays_where_it_is(scene_cube, models, workplace):
    data = scene_cube.data.astype(np.float32)
    data[data < 0] = np.nan
    cube = replace(scene_cube, data=data, nodata=None, gain=None)
    write_cube(cube, workplace / "low.tif")
    upscale("low.tif", "high.npy", models["global.onnx"])
    high = np.load("high.npy")
    assert np.array_equal(np.isnan(high).any(axis=2), big(np.isnan(data).any(axis=2)))
    assert np.array_equal(np.isnan(high).all(axis=2), np.isnan(high).any(axis=2))


def test_results_never_become_the_nodata_number(scene_cube, models, workplace):
    """Zero is nodata, and the darkest pixels of the result would round to it."""
    data = scene_cube.data.copy()
    data[data < 0] = 0
    write_cube(replace(scene_cube, data=data.astype(np.uint16), nodata=0.0), workplace / "low.tif")
    upscale("low.tif", "high.npy", models["near.onnx"])
    assert np.array_equal((np.load("high.npy") == 0).any(axis=2), big((data == 0).any(axis=2)))


def test_bands_are_found_by_wavelength_in_any_order(scene_cube, models, workplace, low):
    upscale(low, "right.npy", models["near.onnx"])
    front = np.full((*scene_cube.data.shape[:2], 3), 77, np.int16)
    other = replace(
        scene_cube,
        data=np.concatenate([front, scene_cube.data[:, :, ::-1]], axis=2),
        wavelengths=np.concatenate([[300, 310, 320], scene_cube.wavelengths[::-1]]),
        fwhm=np.full(15, 9.5),
    )
    write_cube(other, workplace / "other.tif")
    upscale("other.tif", "found.npy", models["near.onnx"])
    assert np.array_equal(np.load("found.npy"), np.load("right.npy"))
    away = replace(scene_cube, wavelengths=scene_cube.wavelengths + 1000)
    write_cube(away, workplace / "away.tif")
    with pytest.raises(DataError, match="8 of the network's 8 bands are missing"):
        upscale("away.tif", "away.npy", models["near.onnx"])


def test_all_bands_are_there_the_others_by_bicubic(low, scene_cube, models):
    upscale(low, "own.npy", models["near.onnx"])
    upscale(low, "all.tif", models["near.onnx"], bands="all")
    every = read_cube("all.tif")
    assert every.wavelengths.tolist() == scene_cube.wavelengths.tolist()
    assert np.array_equal(every.data[:, :, :8], np.load("own.npy"))
    others = torch.from_numpy(scene_cube.data[:, :, 8:].astype(np.float64).transpose(2, 0, 1))
    expected = bicubic_upsample(others[None], 4)[0].numpy().transpose(1, 2, 0)
    near = F.max_pool2d(torch.from_numpy(scene_cube.invalid())[None].float(), 5, 1, 2)[0] > 0
    whole = ~big(near.numpy())
    assert np.abs(every.data[:, :, 8:][whole] - expected[whole]).max() <= 0.5 + 1e-6
    with rasterio.open("all.tif") as file:
        marked = [file.tags(band)["interpolated"] for band in range(1, 13)]
    assert marked == ["0"] * 8 + ["1"] * 4


def test_other_units_are_refused_or_rescaled(scene_cube, models, workplace, low):
    upscale(low, "right.npy", models["near.onnx"], dtype="float32")
    data = scene_cube.data.astype(np.float32) * np.float32(1e-4)
    data[scene_cube.data < 0] = -1
    cube = replace(scene_cube, data=data, nodata=-1.0, gain=None)
    write_cube(cube, workplace / "reflectance.tif")
    with pytest.raises(DataError, match=r"10000 times too small: pass --rescale 10000"):
        upscale("reflectance.tif", "no.npy", models["near.onnx"])
    assert not Path("no.npy").exists()
    upscale("reflectance.tif", "given.npy", models["near.onnx"], rescale="10000")
    write_cube(replace(cube, gain=1.0), workplace / "with_gain.npz")
    right, hole = np.load("right.npy"), big(scene_cube.invalid())
    assert np.abs(np.load("given.npy") * 1e4 - right)[~hole].max() < 1
    bright = replace(scene_cube, data=scene_cube.data.copy())
    bright.data[:20, :20] = 9000
    write_cube(bright, workplace / "bright.tif")
    with pytest.warns(EdgesrWarning, match="of its values lie outside the training range"):
        upscale("bright.tif", "bright.npy", models["near.onnx"])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_types_of_scenes_and_outputs(scene_cube, models, workplace, dtype):
    data = scene_cube.data.copy()
    data[data < 0] = 900
    write_cube(replace(scene_cube, data=data, nodata=None), workplace / "plain.tif")
    upscale("plain.tif", "right.npy", models["near.onnx"], dtype="float64")
    right = np.load("right.npy")
    if dtype != "uint8":
        write_cube(replace(scene_cube, data=data.astype(dtype), nodata=None), Path("typed.npz"))
        upscale("typed.npz", "typed.npy", models["near.onnx"])
        assert np.load("typed.npy").dtype == dtype
        assert np.abs(np.load("typed.npy") - right).max() <= 1
    upscale("plain.tif", "asked.npy", models["near.onnx"], dtype=dtype)
    asked = np.load("asked.npy")
    assert asked.dtype == dtype
    limit = 255 if dtype == "uint8" else np.inf
    assert np.abs(asked - right.clip(0, limit)).max() <= 1


def test_memory_that_is_too_little_is_told_before_any_work(low, models):
    with pytest.raises(OptionError, match=r"--memory 1MB is too little .* pass --memory \d"):
        upscale(low, "high.tif", models["near.onnx"], memory="1MB")
    assert not list(Path().glob("high*"))


def test_memory_that_a_program_lets_go_of_meanwhile_is_not_to_spare(low, models, monkeypatch):
    held = iter([4 * 10**9])
    monkeypatch.setattr("edgesr.scenes.upscale.held_memory", lambda: next(held, 10**9))
    with pytest.raises(OptionError, match=r"--memory 1MB is too little"):
        upscale(low, "high.tif", models["near.onnx"], memory="1MB")


@pytest.mark.slow
def test_a_scene_twenty_times_the_memory(models, workplace):
    """A sparse scene whose result is 20 times the limit; the peak of a process stays below it."""
    limit, side = 400 * 10**6, 5600
    np.lib.format.open_memmap("sparse.npy", "w+", np.int16, (side, side, 8))[:] = -999
    sparse = np.load("sparse.npy", mmap_mode="r+")
    made = np.random.default_rng(0).integers(300, 2000, (200, 200, 8))
    for place in range(0, side, 1400):
        sparse[place : place + 200, place : place + 200] = made
    sparse.flush()
    assert (side * 4) ** 2 * 8 * 2 >= 20 * limit
    program = (
        "from edgesr.cube.memory import most_held_memory\n"
        "from edgesr.scenes.upscale import upscale\n"
        f"upscale('sparse.npy', 'out.tif', {str(models['near.onnx'])!r}, memory='400MB',"
        " nodata=-999)\n"
        "print(most_held_memory())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < limit


def test_the_command(low, models, capsys):
    options = ["upscale", low, "high.tif", "--model", str(models["near.onnx"])]
    assert main([*options, "--dry-run"]) == 0
    assert "9 tiles of" in capsys.readouterr().out
    assert not Path("high.tif").exists()
    assert main(options) == 0
    assert "336000 pixels in" in capsys.readouterr().out
    assert main(options) == 2
    assert "pass --overwrite" in capsys.readouterr().err
    assert main([*options, "--overwrite", "--stac"]) == 2
    assert "datetime" in capsys.readouterr().err
    with rasterio.open(low, "r+") as file:
        file.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2025-06-07 08:09:10.5")
    assert main([*options, "--overwrite", "--stac"]) == 0
    item = json.loads(Path("high.json").read_text())
    assert item["properties"]["datetime"] == "2025-06-07T08:09:10.500000Z"
    for again in ("high.tif", "again.img"):  # what is written keeps it
        upscale(low, again, models["near.onnx"], overwrite=True)
        with open_cube(again) as cube:
            assert cube.acquired == "2025-06-07T08:09:10.500000Z"


REFUSED = [
    ({"dtype": "complex64"}, "--dtype is source or one of"),
    ({"dtype": "uint8", "nodata": -999.0}, None),
    ({"window": "0,0,151,1"}, "is not inside the scene of 150 x 140"),
    ({"window": "0,0,0,1"}, "--window is row,col,height,width"),
    ({"window": "a"}, "--window is row,col,height,width"),
    ({"memory": "much"}, "--memory is such as 800MB"),
    ({"memory": "-1GB"}, "--memory is such as 800MB"),
    ({"threads": 0}, "--threads must be an integer from 1 to 1024"),
    ({"threads": 2**31}, "--threads must be an integer from 1 to 1024"),
    ({"rescale": "0"}, "--rescale is FACTOR"),
    ({"rescale": "nan"}, "--rescale is FACTOR"),
    ({"rescale": "1,2,3"}, "--rescale is FACTOR"),
    ({"bands": "some"}, "--bands is network or all"),
    ({"runtime": "torch"}, "--runtime torch does not run near.onnx"),
    ({"runtime": "nothing"}, "a runtime is one of"),
    ({"tile": 3}, "options of a scene are"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_options_that_cannot_be(low, models, options, message):
    if message is None:
        upscale(low, "high.tif", models["near.onnx"], **options)
        return
    with pytest.raises((OptionError, Exception), match=message) as error:
        upscale(low, "high.tif", models["near.onnx"], **options)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    assert not list(Path().glob("high*"))
    assert not [path for path in Path().glob(".high*") if path.suffix == ".part"]


def test_files_that_are_no_model(low, models, workplace, materials):
    save_network(create_model("vdsr", bands=12, scale=2), workplace / "bare.safetensors")
    with pytest.raises(ModelError, match="carry no normalisation"):
        upscale(low, "high.tif", "bare.safetensors")
    with pytest.raises(ModelError, match=r"low\.tif is no model file"):
        upscale(low, "high.tif", low)
    import onnx

    model = onnx.load(models["near.onnx"])
    del model.metadata_props[:]
    onnx.save(model, "plain.onnx")
    with pytest.raises(ModelError, match="does not say what it was trained on"):
        upscale(low, "high.tif", "plain.onnx")
    card = json.loads(read_card(models["near.onnx"]).to_json())
    onnx.helper.set_model_props(model, {"edgesr.card": json.dumps({**card, "format": 2})})
    onnx.save(model, "newer.onnx")
    with pytest.raises(Exception, match=r"format 2 .* update edgesr"):
        upscale(low, "high.tif", "newer.onnx")
    assert main(["upscale", low, "high.tif"]) == 2
    assert not os.path.lexists("high.tif")


def test_a_model_of_another_tool_with_a_card_beside_it(low, models, workplace, capsys):
    """It gives what the same file gives that says itself what it was trained on."""
    import onnx

    card = read_card(models["near.onnx"])
    model = onnx.load(models["near.onnx"])
    del model.metadata_props[:]
    onnx.save(model, "plain.onnx")
    Path("card.json").write_text(card.to_json())
    upscale(low, "own.npy", models["near.onnx"])
    upscale(low, "told.npy", "plain.onnx", card=card.to_json())
    words = ["upscale", low, "typed.npy", "--model", "plain.onnx", "--card"]
    assert main([*words, "card.json"]) == 0
    for name in ("told.npy", "typed.npy"):
        assert np.array_equal(np.load(name), np.load("own.npy")), name
    Path("low.txt").write_text(low)
    archive = ["archive", "low.txt", "out", "--model", "plain.onnx", "--card", "card.json"]
    assert main(archive) == 0
    assert main([*archive, "--quiet"]) == 0
    assert "0 of them now" in capsys.readouterr().out
    Path("card.json").write_text(json.dumps({**json.loads(card.to_json()), "scale": 2}))
    words[2] = "refused.npy"
    capsys.readouterr()
    assert main([*words, "card.json"]) == 2
    errors = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("warning: ")]
    assert len(errors) == 1
    assert main(archive) == 2
    assert "made with another model or other options" in capsys.readouterr().err
    assert main([*words[:-1], "--weights", str(models["near.safetensors"]), "--card", "card.json",
                 "--model", FACTORY]) == 2  # fmt: skip
    assert "leave out --card" in capsys.readouterr().err
    assert not os.path.lexists("refused.npy")
