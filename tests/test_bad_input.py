"""Every bad input: exit code 2, one line on stderr that says what to do, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
import torch
from safetensors.torch import load_file, save_file

from edgesr.cli import main


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below ``folder`` with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(workplace, capsys) -> Callable[..., str]:
    """Run a command that must be refused; return its one line."""

    def run(*arguments: object) -> str:
        before = tree(workplace)
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's way out
            code = stop.code
        written = capsys.readouterr()
        assert code == 2, written
        assert written.out == ""
        assert len(written.err.splitlines()) == 1, written.err
        assert written.err.startswith("edgesr"), written.err
        assert tree(workplace) == before
        return written.err

    return run


@pytest.fixture
def compress(refused, materials) -> Callable[..., str]:
    """``edgesr compress`` on the small job, with ``arguments`` that spoil it."""

    def run(*arguments: object) -> str:
        good = {
            "--data": materials.cube,
            "--weights": materials.lkca_net,
            "--patch": 16,
            "--threads": 1,
            "--output": "run",
        }
        for name in arguments[::2]:
            good.pop(str(name), None)
        return refused("compress", *(word for pair in good.items() for word in pair), *arguments)

    return run


@pytest.fixture
def train(refused, materials) -> Callable[..., str]:
    """``edgesr train`` on the small cube, with ``arguments`` that spoil it."""

    def run(*arguments: object) -> str:
        good = {
            "--data": materials.cube,
            "--model": "small_networks:bilinear",
            "--bands": "0-7",
            "--patch": 16,
            "--epochs": 1,
            "--threads": 1,
            "--output": "net.safetensors",
        }
        for name in arguments[::2]:
            good.pop(str(name), None)
        return refused("train", *(word for pair in good.items() for word in pair), *arguments)

    return run


def halved(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def as_npy(path: Path, cube: np.ndarray) -> None:
    np.save(path, cube)


def as_mat(path: Path, cube: np.ndarray) -> None:
    scipy.io.savemat(path, {"cube": cube, "other": cube[:, :, :3]})


def as_hdf5(path: Path, cube: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["cube"] = cube
        file["other"] = cube[:, :, :3]


def as_tiff(path: Path, cube: np.ndarray) -> None:
    height, width, bands = cube.shape
    shape = {"height": height, "width": width, "count": bands, "dtype": cube.dtype}
    place = rasterio.Affine.translation(0, height)
    with rasterio.open(path, "w", driver="GTiff", transform=place, **shape) as file:
        file.write(cube.transpose(2, 0, 1))


FORMATS = {"npy": as_npy, "mat": as_mat, "h5": as_hdf5, "tif": as_tiff}


@pytest.fixture
def spoiled(materials, tmp_path) -> Callable[..., Path]:
    """Write a changed copy of the small cube; return its path."""

    def write(change: Callable[[np.ndarray], np.ndarray], kind: str = "npy") -> Path:
        path = tmp_path / f"spoiled.{kind}"
        FORMATS[kind](path, change(np.load(materials.cube)))
        return path

    return write


def unchanged(cube: np.ndarray) -> np.ndarray:
    return cube


def test_a_missing_cube(compress):
    assert "nowhere.npy does not exist; check the path" in compress("--data", "nowhere.npy")


def test_a_folder_instead_of_a_cube(compress, materials):
    assert "is a folder; name the file" in compress("--data", materials.folder)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_cube(compress, spoiled, kind):
    assert "copy it again" in compress("--data", halved(spoiled(unchanged, kind)))


def test_an_empty_file(compress, tmp_path):
    (tmp_path / "empty.npy").touch()
    assert "is empty; copy it again" in compress("--data", tmp_path / "empty.npy")


def test_a_file_of_no_known_format(compress, tmp_path):
    (tmp_path / "notes.txt").write_text("a cube would be nice")
    assert "convert it" in compress("--data", tmp_path / "notes.txt")


@pytest.mark.parametrize("kind", ["mat", "h5"])
def test_a_variable_that_the_file_does_not_hold(compress, spoiled, kind):
    line = compress("--data", f"{spoiled(unchanged, kind)}:scene")
    assert "has no variable 'scene'" in line
    assert "72 x 72 x 12" in line


@pytest.mark.parametrize("kind", ["mat", "h5"])
def test_a_file_of_two_cubes(compress, spoiled, kind):
    assert "name one, such as" in compress("--data", spoiled(unchanged, kind))


def test_an_array_of_two_axes(compress, tmp_path):
    np.save(tmp_path / "plane.npy", np.zeros((72, 72)))
    assert "the array has 2 axes (72, 72), but a cube has three" in compress(
        "--data", tmp_path / "plane.npy"
    )


def test_a_cube_smaller_than_one_patch(compress, train, spoiled):
    line = compress("--patch", 64)
    assert "smaller than one patch" in line
    assert "choose --patch 48 or smaller" in line
    assert "bring a larger cube" in train("--data", spoiled(lambda cube: cube[:20, :20]))


def test_bands_that_do_not_fit_the_weights(compress, spoiled):
    line = compress("--data", spoiled(lambda cube: cube[:, :, :5]))
    assert "use bands 0-11, the cube has 5 bands" in line
    assert "does not run on a tile [1, 5, 16, 16]" in compress("--bands", "0-4")


def test_a_cube_of_nan(compress, spoiled):
    path = spoiled(lambda cube: np.full(cube.shape, np.nan, np.float32))
    assert "every pixel is nodata, NaN or infinite; bring another cube" in compress("--data", path)


def test_a_cube_of_nodata(compress, spoiled):
    path = spoiled(lambda cube: np.full_like(cube, 7), "tif")
    with rasterio.open(path, "r+") as file:
        file.nodata = 7
    assert "every pixel is nodata" in compress("--data", path)


def test_nan_in_every_patch(compress, spoiled):
    def pierced(cube: np.ndarray) -> np.ndarray:
        result = cube.astype(np.float32)
        result[::8, ::8] = np.nan
        return result

    assert "free of nodata and NaN" in compress("--data", spoiled(pierced))


def test_a_constant_band(compress, spoiled):
    def flat(cube: np.ndarray) -> np.ndarray:
        cube[:, :, 4] = 1000
        return cube

    line = compress("--data", spoiled(flat))
    assert "band 4 is constant over the training pixels" in line
    assert "--bands clean" in line


def test_a_scale_that_does_not_divide(train, compress):
    assert "scale 3 does not divide the patch of 16" in train("--scale", 3)
    assert "--scale 2 contradicts the network's scale 4" in compress("--scale", 2)
    assert "turns [1, 8, 16, 16] into [1, 8, 64, 64], not [1, 8, 32, 32]" in train("--scale", 2)


@pytest.mark.parametrize("target", ["0", "-0.5", "1.01", "nan", "inf", "most"])
def test_a_rank_target_outside_its_range(compress, target):
    line = compress("--rank-target", target)
    assert "--rank-target" in line
    assert target in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--max-psnr-drop", "inf"),
        ("--max-psnr-drop", "-1"),
        ("--epochs", "-1"),
        ("--epochs", "1.5"),
        ("--seed", str(2**64)),
        ("--learning-rate", "0"),
        ("--patch", "0"),
        ("--patch", "10"),
        ("--scale", "1"),
        ("--method", "tucker"),
        ("--normalisation", "none"),
        ("--degradation", "nearest"),
        ("--protocol", "washington"),
        ("--bands", "90-99"),
        ("--bands", "some"),
        ("--device", "cuda:99"),
        ("--device", "abacus"),
        ("--device", "meta"),
        ("--threads", "0"),
        ("--groups", "3"),
        ("--groups", "1"),
        ("--rank", "1000"),
    ],
)
def test_a_value_outside_its_range(compress, name, value):
    line = compress(name, value)
    assert value in line or name in line


def test_options_that_contradict_each_other(refused, compress):
    assert "--groups and --rank contradict" in compress("--groups", 2, "--rank", 8)
    assert "--overwrite and --resume contradict" in refused("compress", "--overwrite", "--resume",
                                                            "--output", "run")  # fmt: skip
    assert "--resume needs --output" in refused("compress", "--resume")


def test_a_target_rank_at_which_nothing_is_smaller(compress, materials):
    line = compress("--model", "small_networks:bilinear", "--weights", materials.bilinear,
                    "--rank-target", 1, "--exact-target", "--method", "lowrank")  # fmt: skip
    assert "nothing at the target's own rank 72" in line
    assert "lower --rank-target" in line


def test_an_output_that_cannot_be_written(compress, train, workplace):
    (workplace / "file").write_text("in the way")
    assert "--output file is a file; name a folder" in compress("--output", "file")
    assert "cannot be written" in compress("--output", "file/run")
    assert "cannot be written" in train("--output", "file/net.safetensors")
    assert "cannot be written" in train("--output", "missing/net.safetensors")
    assert "must end in .safetensors" in train("--output", "net.pt")


def test_weights_that_are_not_there_or_damaged(compress, materials, tmp_path):
    assert "does not exist; check the path" in compress("--weights", "nowhere.safetensors")
    copy = tmp_path / "half.safetensors"
    shutil.copy(materials.lkca_net, copy)
    assert "truncated" in compress("--weights", halved(copy))
    assert "does not exist" in compress("--teacher", "nowhere.safetensors")


def test_weights_of_another_network(compress, train, materials, tmp_path):
    assert "holds weights of lkca_net, not of dacn" in compress("--model", "dacn")
    own = ("--model", "small_networks:bilinear")
    assert "holds weights of lkca_net, not of small_networks:bilinear" in compress(*own)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    assert "does not say which network" in compress("--weights", foreign)
    assert "does not fit the network Bilinear" in compress("--weights", foreign, *own)
    assert "confirm with --model small_networks:bilinear" in compress(
        "--weights", materials.bilinear
    )
    line = train("--initial", materials.lkca_net, "--model", "dacn")
    assert "holds weights of lkca_net, not of dacn" in line


def test_weights_that_are_not_finite(compress, materials, tmp_path):
    tensors = load_file(materials.bilinear)
    tensors["head.weight"][0] = float("nan")
    torch.save(tensors, tmp_path / "broken.pt")
    line = compress("--weights", tmp_path / "broken.pt", "--model", "small_networks:bilinear",
                    "--bands", "0-7")  # fmt: skip
    assert "values that are not finite" in line


def test_weights_that_are_a_program(compress, tmp_path):
    torch.save({"network": print}, tmp_path / "program.pt")
    line = compress("--weights", tmp_path / "program.pt", "--model", "small_networks:bilinear")
    assert "could run code" in line


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("bicubic_net", "no weights are shipped for bicubic_net"),
        ("small_networks:missing", "has no function 'missing'"),
        ("no_such_module:net", "cannot import no_such_module"),
        ("small_networks:", "package.module:function"),
    ],
)
def test_a_network_that_does_not_exist(refused, materials, model, reason):
    line = refused("compress", "--data", materials.cube, "--patch", 16, "--model", model,
                   "--threads", 1)  # fmt: skip
    assert reason in line


def test_a_network_without_an_upsampler(refused, materials):
    options = ("--data", materials.cube, "--patch", 16, "--bands", "0-7", "--threads", 1,
               "--model", "small_networks:nothing_learnable")  # fmt: skip
    assert "has no learnable upsampler" in refused("compress", *options, "--output", "run")
    assert "has no learnable upsampler" in refused("analyze", *options, "--output", "figures")


def test_too_little_memory_for_the_patch(compress, monkeypatch):
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 100_000)
    line = compress("--patch", 48)
    assert "memory" in line
    assert "choose a smaller --patch" in line


@pytest.fixture
def without_progress(monkeypatch):
    """What is refused after the work has begun has told of it; only the one line is left here."""
    monkeypatch.setattr("edgesr.progress.print", lambda *_, **__: None, raising=False)


def test_memory_that_runs_out(compress, without_progress, monkeypatch):
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("edgesr.pipeline.calibrate", greedy)
    assert "not enough memory; choose a smaller --patch" in compress()


def test_a_network_that_cannot_be_exported(compress, materials, without_progress):
    line = compress("--model", "small_networks:not_exportable", "--weights", materials.bilinear,
                    "--rank", 8, "--epochs", 0, "--latency-tile", 8)  # fmt: skip
    assert "cannot be exported" in line


def test_a_budget_that_nothing_meets(compress, materials, plain_export, without_progress):
    line = compress("--model", "small_networks:bilinear", "--weights", materials.bilinear,
                    "--method", "lowrank", "--rank-target", 0.1, "--init", "weights",
                    "--max-psnr-drop", 0, "--latency-tile", 8)  # fmt: skip
    assert "no candidate stays within 0" in line
    assert "raise --max-psnr-drop" in line


def test_recipes(refused, tmp_path):
    path = tmp_path / "recipe.toml"
    assert "cannot read the recipe" in refused("compress", "--recipe", path)
    path.write_text("rank = = 3")
    assert "is not valid TOML" in refused("compress", "--recipe", path)
    path.write_text("[surgery]\nrnk = 3")
    assert "unknown keys rnk" in refused("compress", "--recipe", path)
    path.write_text("[surgery]\nrank = 'eight'")
    assert "--rank must be an integer, not 'eight'" in refused("compress", "--recipe", path)


def test_training(train, materials, workplace):
    assert "fp16 needs a CUDA device" in train("--amp", "fp16")
    assert "unknown network 'nothing'" in train("--model", "nothing")
    assert "nowhere.npy does not exist" in train("--extra", "nowhere.npy")
    assert "does not exist" in train("--initial", "nowhere.safetensors")
    assert "no checkpoint" in train("--output", "net.safetensors", "--resume")
    (workplace / "net.safetensors").touch()
    assert "exists; pass --overwrite" in train()


def test_upscaling(refused, materials, workplace):
    weights = ("--weights", materials.lkca_net)
    assert "does not exist" in refused("upscale", "nowhere.npy", "high.npy", *weights)
    assert "--tile" in refused("upscale", materials.cube, "high.npy", *weights, "--tile", 0)
    assert "tile" in refused("upscale", materials.cube, "high.npy", *weights, "--tile", 10)
    assert "high.png" in refused("upscale", materials.cube, "high.png", *weights)
    assert "missing" in refused("upscale", materials.cube, "missing/high.npy", *weights)
    assert "confirm with --model" in refused(
        "upscale", materials.cube, "high.npy", "--weights", materials.bilinear
    )
    (workplace / "high.npy").touch()
    assert "exists; pass --overwrite" in refused("upscale", materials.cube, "high.npy", *weights)


def test_information_about_a_missing_file(refused):
    assert "does not exist" in refused("info", "nowhere.hdr")


@pytest.mark.parametrize(
    "arguments",
    [[], ["squash"], ["compress", "--rnk", "8"], ["train"], ["compress", "--epochs"], ["info"]],
)
def test_a_command_line_that_cannot_be_read(refused, arguments):
    assert "--help" in refused(*arguments)
