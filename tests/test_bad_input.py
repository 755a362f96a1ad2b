"""Every bad input: exit code 2, one line on stderr that says what to do, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io


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


def test_a_missing_cube(refused_compress):
    assert "nowhere.npy does not exist; check the path" in refused_compress("--data", "nowhere.npy")


def test_a_folder_instead_of_a_cube(refused_compress, materials):
    assert "is a folder; name the file" in refused_compress("--data", materials.folder)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_cube(refused_compress, spoiled, kind):
    assert "copy it again" in refused_compress("--data", halved(spoiled(unchanged, kind)))


def test_an_empty_file(refused_compress, tmp_path):
    (tmp_path / "empty.npy").touch()
    assert "is empty; copy it again" in refused_compress("--data", tmp_path / "empty.npy")


def test_a_file_of_no_known_format(refused_compress, tmp_path):
    (tmp_path / "notes.txt").write_text("a cube would be nice")
    assert "convert it" in refused_compress("--data", tmp_path / "notes.txt")


@pytest.mark.parametrize("kind", ["mat", "h5"])
def test_a_variable_that_the_file_does_not_hold(refused_compress, spoiled, kind):
    line = refused_compress("--data", f"{spoiled(unchanged, kind)}:scene")
    assert "has no variable 'scene'" in line
    assert "72 x 72 x 12" in line


@pytest.mark.parametrize("kind", ["mat", "h5"])
def test_a_file_of_two_cubes(refused_compress, spoiled, kind):
    assert "name one, such as" in refused_compress("--data", spoiled(unchanged, kind))


def test_an_array_of_two_axes(refused_compress, tmp_path):
    np.save(tmp_path / "plane.npy", np.zeros((72, 72)))
    assert "the array has 2 axes (72, 72), but a cube has three" in refused_compress(
        "--data", tmp_path / "plane.npy"
    )


def test_a_cube_smaller_than_one_patch(refused_compress, refused_train, spoiled):
    line = refused_compress("--patch", 64)
    assert "smaller than one patch" in line
    assert "choose --patch 40 or smaller" in line
    assert "bring a larger cube" in refused_train("--data", spoiled(lambda cube: cube[:20, :20]))


def test_bands_that_do_not_fit_the_weights(refused_compress, spoiled):
    line = refused_compress("--data", spoiled(lambda cube: cube[:, :, :5]))
    assert "takes bands 0-11, the cube has 5 bands" in line
    assert "does not run on a tile [1, 5, 16, 16]" in refused_compress("--bands", "0-4")


def test_a_cube_of_nan(refused_compress, spoiled):
    path = spoiled(lambda cube: np.full(cube.shape, np.nan, np.float32))
    assert "every pixel is nodata, NaN or infinite; bring another cube" in refused_compress(
        "--data", path
    )


def test_a_cube_of_nodata(refused_compress, spoiled):
    path = spoiled(lambda cube: np.full_like(cube, 7), "tif")
    with rasterio.open(path, "r+") as file:
        file.nodata = 7
    assert "every pixel is nodata" in refused_compress("--data", path)


def test_nan_in_every_patch(refused_compress, spoiled):
    def pierced(cube: np.ndarray) -> np.ndarray:
        result = cube.astype(np.float32)
        result[::8, ::8] = np.nan
        return result

    assert "free of nodata and NaN" in refused_compress("--data", spoiled(pierced))


def test_a_constant_band(refused_compress, spoiled):
    def flat(cube: np.ndarray) -> np.ndarray:
        cube[:, :, 4] = 1000
        return cube

    line = refused_compress("--data", spoiled(flat))
    assert "band 4 is constant over the training pixels" in line
    assert "--bands clean" in line


def test_a_scale_that_does_not_divide(refused_train, refused_compress):
    assert "scale 3 does not divide the patch of 16" in refused_train("--scale", 3)
    assert "--scale 2 contradicts the network's scale 4" in refused_compress("--scale", 2)
    assert "turns [1, 8, 16, 16] into [1, 8, 64, 64], not [1, 8, 32, 32]" in refused_train(
        "--scale", 2
    )


@pytest.mark.parametrize("target", ["0", "-0.5", "1.01", "nan", "inf", "most"])
def test_a_rank_target_outside_its_range(refused_compress, target):
    line = refused_compress("--rank-target", target)
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
def test_a_value_outside_its_range(refused_compress, name, value):
    line = refused_compress(name, value)
    assert value in line or name in line


def test_options_that_contradict_each_other(refused, refused_compress):
    assert "--groups and --rank contradict" in refused_compress("--groups", 2, "--rank", 8)
    assert "--overwrite and --resume contradict" in refused("compress", "--overwrite", "--resume",
                                                            "--output", "run")  # fmt: skip
    assert "--resume needs --output" in refused("compress", "--resume")


def test_a_target_rank_at_which_nothing_is_smaller(refused_compress, materials):
    line = refused_compress("--model", "small_networks:bilinear", "--weights", materials.bilinear,
                    "--rank-target", 1, "--exact-target", "--method", "lowrank")  # fmt: skip
    assert "nothing at the target's own rank 72" in line
    assert "lower --rank-target" in line


def test_an_output_that_cannot_be_written(refused_compress, refused_train, workplace):
    (workplace / "file").write_text("in the way")
    assert "file is a file; name a folder" in refused_compress("--output", "file")
    assert "cannot be written" in refused_compress("--output", "file/run")
    assert "cannot be written" in refused_train("--output", "file/net.safetensors")
    assert "cannot be written" in refused_train("--output", "missing/net.safetensors")
    assert "must end in .safetensors" in refused_train("--output", "net.pt")


def test_too_little_memory_for_the_patch(refused_compress, monkeypatch):
    monkeypatch.setattr("edgesr.cube.memory.free_memory", lambda: 100_000)
    line = refused_compress("--patch", 40)
    assert "memory" in line
    assert "choose a smaller --patch" in line


def test_memory_that_runs_out(refused_compress, monkeypatch):
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("edgesr.compress.pipeline.calibrate", greedy)
    assert "not enough memory; choose a smaller --patch" in refused_compress("--quiet")


def test_a_budget_that_nothing_meets(refused_compress, materials, plain_export):
    line = refused_compress("--model", "small_networks:bilinear", "--weights", materials.bilinear,
                    "--method", "lowrank", "--rank-target", 0.1, "--init", "weights",
                    "--max-psnr-drop", 0, "--latency-tile", 8, "--quiet")  # fmt: skip
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


def test_training(refused_train, materials, workplace):
    assert "fp16 needs a CUDA device" in refused_train("--amp", "fp16")
    assert "unknown network 'nothing'" in refused_train("--model", "nothing")
    assert "nowhere.npy does not exist" in refused_train("--extra", "nowhere.npy")
    assert "does not exist" in refused_train("--initial", "nowhere.safetensors")
    assert "no checkpoint" in refused_train("--output", "net.safetensors", "--resume")
    (workplace / "net.safetensors").touch()
    assert "exists; pass --overwrite" in refused_train()


def test_upscaling(refused, materials, workplace):
    weights = ("--weights", materials.lkca_net)
    assert "does not exist" in refused("upscale", "nowhere.npy", "high.npy", *weights)
    assert "--memory" in refused("upscale", materials.cube, "high.npy", *weights, "--memory", 0)
    assert "--window" in refused("upscale", materials.cube, "high.npy", *weights, "--window", 10)
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
