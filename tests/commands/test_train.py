"""``edgesr train``: resumed to the same bits, with extra scenes, on two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from edgesr.cli.main import main
from edgesr.commands.train import match_bands
from edgesr.compress.training_config import student_config, train_config
from edgesr.cube import Cube, make_scene, write_cube
from edgesr.errors import OptionError
from edgesr.recipe.recipes import CompressRecipe, TrainRecipe

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def options(materials) -> dict[str, Any]:
    return {
        "--data": materials.cube,
        "--model": "small_networks:bilinear",
        "--bands": "0-7",
        "--patch": 16,
        "--epochs": 3,
        "--steps-per-epoch": 2,
        "--batch": 4,
        "--ema": 0.5,
        "--threads": 1,
    }


def words(options: dict[str, Any], *more: str) -> list[str]:
    return ["train", *(str(word) for pair in options.items() for word in pair), *more]


@pytest.fixture
def train(workplace, options) -> Callable[..., int]:
    def run(output: str, *flags: str, **changed: Any) -> int:
        named = {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
        return main(words({**options, **named, "--output": output}, *flags))

    return run


def header(path: Path | str) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["edgesr"])


def interrupt_in_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    from edgesr.distill.trainer import _Trainer

    original, steps = _Trainer._step, []

    def pressed(self: _Trainer, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == step:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(_Trainer, "_step", pressed)


def test_a_resumed_training_gives_the_same_bits(train, workplace, monkeypatch, capsys):
    assert train("whole.safetensors") == 0
    with monkeypatch.context() as pressed:
        interrupt_in_step(pressed, 4)  # in the second epoch
        assert train("parts.safetensors") == 130
    assert capsys.readouterr().err.endswith(
        "edgesr: interrupted; continue with the same command and --resume\n"
    )
    assert {path.name for path in workplace.iterdir()} == {"whole.safetensors", "parts.checkpoint"}
    assert train("parts.safetensors") == 2  # not by mistake
    assert "pass --resume or --overwrite" in capsys.readouterr().err
    assert train("parts.safetensors", "--resume") == 0
    assert not (workplace / "parts.checkpoint").exists()

    whole, parts = load_file("whole.safetensors"), load_file("parts.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    told = [header(f"{name}.safetensors")["training"] for name in ("whole", "parts")]
    for training in told:
        for entry in training["history"]:
            del entry["seconds"]
    assert told[0] == told[1]
    assert told[0]["best"]["epoch"] >= 2  # it has learned after the interruption, too


def test_a_checkpoint_of_other_options_is_refused(train, workplace, monkeypatch, capsys):
    with monkeypatch.context() as pressed:
        interrupt_in_step(pressed, 4)
        train("net.safetensors")
    capsys.readouterr()
    before = (workplace / "net.checkpoint").read_bytes()
    assert train("net.safetensors", "--resume", batch=2) == 2
    line = capsys.readouterr().err
    assert "belongs to another training: batch was 4, now 2" in line
    assert len(line.splitlines()) == 1
    assert (workplace / "net.checkpoint").read_bytes() == before
    assert train("net.safetensors", "--overwrite") == 0


def test_a_damaged_checkpoint_is_refused(train, workplace, capsys):
    (workplace / "net.checkpoint").write_bytes(b"half a file")
    assert train("net.safetensors", "--resume") == 2
    assert "is not a readable checkpoint" in capsys.readouterr().err


def test_the_file_says_how_it_was_made_but_not_where(train, workplace, materials, capsys):
    assert train("net.safetensors", "--half", extra=f"{materials.cube}, {materials.cube}") == 0
    summary = capsys.readouterr().out
    told = header("net.safetensors")
    assert told["model"] == "small_networks:bilinear"
    assert told["data"]["bands"] == "0-7"
    assert told["data"]["scale"] == 4
    assert told["training"]["recipe"]["data"] == "made.npy"
    assert told["training"]["recipe"]["extra"] == ["made.npy", "made.npy"]
    assert len(told["training"]["history"]) == 3
    assert load_file("net.safetensors")["upsampler.weight"].dtype == torch.float16
    best = max([*told["training"]["history"]], key=lambda entry: entry["tuning_mpsnr"])
    assert told["training"]["best"]["tuning_mpsnr"] >= best["tuning_mpsnr"]

    figures = told["training"]["test"]
    assert f"{figures['network']['mpsnr']:.2f} dB" in summary
    evaluation = ["evaluate", "--data", str(materials.cube), "--weights", "net.safetensors",
                  "--model", "small_networks:bilinear", "--patch", "16", "--threads", "1",
                  "--json"]  # fmt: skip
    assert main(evaluation) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["bicubic"] == figures["bicubic"]
    assert again["network"] == pytest.approx(figures["network"], rel=1e-9)


def test_training_goes_on_from_given_weights(train, workplace, materials):
    """One step of next to nothing leaves the given weights, not fresh ones."""
    small = {"epochs": 1, "steps_per_epoch": 1, "learning_rate": 1e-12,
             "final_learning_rate": 1e-12}  # fmt: skip
    assert train("first.safetensors") == 0
    assert train("second.safetensors", initial="first.safetensors", **small) == 0
    first, second = load_file("first.safetensors"), load_file("second.safetensors")
    fresh = load_file(materials.bilinear)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    assert any(float((first[name] - fresh[name]).abs().max()) > 1e-3 for name in fresh)


def test_extra_scenes_change_what_is_learned(train, workplace, materials):
    cube = np.load(materials.cube)
    np.save("other.npy", cube[::-1, ::-1].copy())
    assert train("alone.safetensors") == 0
    assert train("mixed.safetensors", extra="other.npy", mix=0.5, focus=0.1) == 0
    assert header("mixed.safetensors")["data"] == header("alone.safetensors")["data"]
    alone, mixed = load_file("alone.safetensors"), load_file("mixed.safetensors")
    assert any(not torch.equal(alone[name], mixed[name]) for name in alone)


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ({"model": "lkca_net", "blocks": 1, "groups": 4, "drop_path": 0.1}, "lkca_net"),
        ({"model": "dacn", "variant": "published", "loss": "dacn-published"}, "dacn"),
        ({"model": "vdsr"}, "vdsr"),
    ],
)
def test_the_named_networks_are_trained_with_their_options(
    train, materials, brief_context, chosen, name
):
    """On 33 bands: DACN splits them into two groups of 32, which overlap."""
    np.save("wide.npy", np.concatenate([np.load(materials.cube)] * 3, axis=2)[:, :, :33])
    once = {"epochs": 1, "steps_per_epoch": 1, "batch": 1}
    assert train("net.safetensors", data="wide.npy", bands="all", **once, **chosen) == 0
    told = header("net.safetensors")
    config = told["config"]
    assert (told["model"], config["bands"], config["scale"]) == (name, 33, 4)
    if name == "lkca_net":
        assert (config["blocks"], config["groups"], config["drop_path"]) == (1, 4, 0.1)
    if name == "dacn":
        assert config["variant"] == "published"


def test_the_trainer_gets_what_the_recipe_says():
    config = train_config(TrainRecipe(clip=0.0, ema=0.9, patience=3, mix=0.25, amp="bf16"))
    assert (config.clip, config.ema, config.patience) == (None, 0.9, 3)
    assert (config.mix, config.amp, config.epochs) == (0.25, "bf16", 300)
    config = student_config(CompressRecipe(alpha=0.5, decay=0.5, decay_every=3, seed=7))
    assert (config.alpha, config.decay, config.decay_every, config.seed) == (0.5, 0.5, 3, 7)
    assert config.clip == 1.0


# --- counterparts of bands ---------------------------------------------------------------------


def cube_of(bands: int, wavelengths: list[float] | None = None, flat: tuple[int, ...] = ()) -> Cube:
    data = np.random.default_rng(0).integers(1, 1000, (72, 72, bands))
    data[:, :, list(flat)] = 0
    known = None if wavelengths is None else np.array(wavelengths)
    return Cube(data.astype(np.uint16), "made", wavelengths=known)


def test_bands_are_matched_by_wavelength():
    cube = cube_of(4, [400.0, 500.0, 600.0, 700.0])
    target = make_scene(cube, scale=4, patch=16, bands="1-3")
    other = cube_of(6, [390.0, 480.0, 530.0, 590.0, 690.0, 900.0])
    assert match_bands(target, other) == [1, 3, 4]


def test_a_constant_counterpart_is_replaced_by_its_nearest_neighbour():
    target = make_scene(cube_of(3, [400.0, 500.0, 600.0]), scale=4, patch=16, bands="all")
    other = cube_of(4, [410.0, 501.0, 590.0, 620.0], flat=(1, 2))
    assert match_bands(target, other) == [0, 0, 3]


def test_bands_without_wavelengths_are_matched_by_position():
    """Bands 0, 5 and 9 of 10 are at 0, 5/9 and 1 of the range: 0, 3 and 6 of 7."""
    target = make_scene(cube_of(10), scale=4, patch=16, bands="0,5,9")
    assert match_bands(target, cube_of(7)) == [0, 3, 6]
    assert match_bands(target, cube_of(7, [float(i) for i in range(400, 407)])) == [0, 3, 6]


def test_extra_scenes_of_one_instrument_are_trained_on_by_wavelength(train, workplace, materials):
    cube = np.load(materials.cube)
    centres = np.arange(12) * 10.0 + 400
    write_cube(Cube(cube, "target", wavelengths=centres), workplace / "target.npz")
    write_cube(Cube(cube[..., ::2].copy(), "other", wavelengths=centres[::2]), Path("other.npz"))
    assert train("net.safetensors", data="target.npz", extra="other.npz") == 0
    assert header("net.safetensors")["data"]["wavelengths_nm"] == centres[:8].tolist()


# --- several processes -------------------------------------------------------------------------


def test_torchrun_trains_the_same_weights_as_one_process(train, workplace, materials, options):
    assert train("one.safetensors") == 0
    paths = os.pathsep.join([str(REPOSITORY), str(materials.folder)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = words({**options, "--output": "two.safetensors"})
    finished = subprocess.run(
        [sys.executable, *launcher, "-m", "edgesr", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.splitlines()) == 1  # the first process alone sums up
    one, two = load_file("one.safetensors"), load_file("two.safetensors")
    for name, value in one.items():
        # Adam takes a step of full length even where a gradient is all but rounding: few are so
        same = torch.isclose(two[name], value, rtol=1e-3, atol=1e-4)
        assert int((~same).sum()) <= max(4, same.numel() // 1000), name
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-2)
    fresh = load_file(materials.bilinear)
    assert any(float((one[name] - fresh[name]).abs().max()) > 1e-3 for name in fresh)
    assert not (workplace / "two.checkpoint").exists()


def test_the_batch_must_be_shared_evenly(train, monkeypatch):
    from edgesr.distill.parallel import Workers

    with pytest.raises(OptionError, match="multiple of 2"):
        Workers(0, 2, torch.device("cpu")).share(3)
