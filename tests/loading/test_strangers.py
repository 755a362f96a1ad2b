"""Networks with habits that nobody expects, see ``strangers``: their figures are their author's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import strangers
import torch
from edgesr_export.runtime import session
from hypothesis import given, settings
from hypothesis import strategies as st
from third_party_conv import BANDS
from torch import Tensor, nn

from edgesr.cli.main import main
from edgesr.cube import read_cube
from edgesr.errors import ModelError
from edgesr.evaluation.evaluate import super_resolve
from edgesr.loading.carried import cut, join
from edgesr.loading.fitting import check_trains, fit, out_of_place
from edgesr.loading.signature import call_of
from edgesr.loading.standalone import write_loader
from edgesr.loading.weights import load_custom, load_network, save_network
from edgesr.report import validate

BRIEF = [
    *("--threads", "1", "--latency-tile", "16", "--precisions", "fp32", "--targets", "cpu"),
]
TRAINING = ["--epochs", "1", "--steps-per-epoch", "1", "--batch", "2", "--baseline-groups", "0"]


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


EXAMPLE = image(1, BANDS, 16, 16)


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return getattr(strangers, name)().eval()


def fitted(name: str) -> nn.Module:
    model = built(name)
    fit(model, EXAMPLE, 2)
    return model


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    side=st.integers(1, 20),
    scale=st.integers(2, 3),
)
def test_tiles_of_an_image_join_to_the_image(height, width, side, scale):
    x = image(2, 3, height, width)

    def enlarged(y: Tensor) -> Tensor:
        return y.repeat_interleave(scale, 2).repeat_interleave(scale, 3)

    tiles = cut(x, side)
    assert tiles.shape[1:] == (3, side, side)
    found = join(enlarged(tiles), height, width, side, scale)
    torch.testing.assert_close(found, enlarged(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "side"), [("one_size", 16), ("one_size_24", 24)])
@torch.no_grad()
def test_a_network_of_one_size_answers_that_size_as_its_author_gets_it(name, side):
    theirs, model = built(name), fitted(name)
    assert call_of(model).side == side
    x = image(2, BANDS, side, side)
    assert torch.equal(model(x), theirs(x))
    large = image(1, BANDS, 50, 41)
    found = model(large)
    assert found.shape == (1, BANDS, 100, 82)
    inner = 2 * (side - side // 4)  # where no other tile reaches
    expected = theirs(large[..., :side, :side])[..., :inner, :inner]
    torch.testing.assert_close(found[..., :inner, :inner], expected)


def by_hand(network: nn.Module, x: Tensor, side: int, scale: int = 2) -> np.ndarray:
    """Tile by tile, each pixel the weighted mean of what the tiles say of it."""
    fade, step = side // 4, side - side // 4
    height, width = x.shape[-2:]
    rows, columns = (max(1, -(-(n - fade) // step)) for n in (height, width))
    padded = np.pad(
        x[0].numpy(),
        ((0, 0), (0, rows * step + fade - height), (0, columns * step + fade - width)),
        mode="edge",
    )
    total = np.zeros((padded.shape[0], *(n * scale for n in padded.shape[1:])))
    weights = np.zeros(total.shape[1:])

    def ramp(index: int, count: int) -> np.ndarray:
        weight = np.ones(side * scale)
        rise = (np.arange(fade * scale) + 0.5) / (fade * scale)
        if index:
            weight[: fade * scale] = rise
        if index < count - 1:
            weight[side * scale - fade * scale :] = 1 - rise
        return weight

    for row in range(rows):
        for column in range(columns):
            place = slice(row * step, row * step + side), slice(column * step, column * step + side)
            tile = torch.from_numpy(padded[None, :, place[0], place[1]])
            answer = network(tile)[0].numpy()
            weight = ramp(row, rows)[:, None] * ramp(column, columns)
            target = tuple(slice(p.start * scale, p.stop * scale) for p in place)
            total[:, target[0], target[1]] += weight * answer
            weights[target] += weight
    assert np.allclose(weights, 1)
    return total[:, : height * scale, : width * scale]


@torch.no_grad()
def test_tiles_fade_into_each_other():
    theirs, model = built("one_size"), fitted("one_size")
    x = image(1, BANDS, 37, 29)
    np.testing.assert_allclose(model(x)[0].numpy(), by_hand(theirs, x, 16), atol=1e-6)


@torch.no_grad()
def test_a_network_of_one_size_keeps_it_in_its_files(tmp_path, monkeypatch):
    model = load_custom("strangers:one_size")
    fit(model, EXAMPLE, 2)
    save_network(model, tmp_path / "student.safetensors")
    loaded = load_network(tmp_path / "student.safetensors", "strangers:one_size").model
    write_loader(model, tmp_path / "student.py")
    names: dict[str, object] = {"__name__": "student", "__file__": str(tmp_path / "student.py")}
    exec((tmp_path / "student.py").read_text(), names)
    x = image(2, BANDS, 21, 33)
    assert torch.equal(loaded(x), model(x))
    assert torch.equal(names["load"]()(x), model(x))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["mean_taking", "clipping"])
@torch.no_grad()
def test_a_network_that_writes_into_its_image_gets_a_copy(name):
    theirs, model = built(name), fitted(name)
    assert call_of(model).copy
    x = image(2, BANDS, 13, 11)
    given = x.clone()
    first, again = model(x), model(x)
    assert torch.equal(x, given)
    assert torch.equal(first, again)
    assert torch.equal(first, theirs(given.clone()))


class OutOfPlace(strangers.MeanTaking):
    """The same network, written with care."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0)


def test_what_a_network_does_to_its_input_changes_no_figure(workplace, monkeypatch, capsys):
    monkeypatch.setattr(strangers, "careful", OutOfPlace, raising=False)
    torch.save(built("mean_taking").state_dict(), "w.pt")

    def said(*arguments: str) -> dict[str, object]:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == 0
        figures: dict[str, object] = json.loads(capsys.readouterr().out)
        return {key: value for key, value in figures.items() if not isinstance(value, str)}

    found = []
    brief = ["--epochs", "1", "--steps-per-epoch", "1", "--batch", "2"]
    for name in ("mean_taking", "careful"):
        network = ["--data", "cube.npy", "--model", f"strangers:{name}", "--threads", "1"]
        own = ["--weights", f"{name}.safetensors", "--model", f"strangers:{name}"]
        first = said("evaluate", *network, "--weights", "w.pt")
        sites = said("analyze", *network, "--weights", "w.pt")
        assert main(["train", *network, *brief, "--output", own[1]]) == 0
        trained = said("evaluate", *network, "--weights", own[1])
        assert main(["upscale", "cube.npy", f"{name}.npy", *own]) == 0
        found.append((first, sites, trained, read_cube(f"{name}.npy").data.tolist()))
    assert found[0] == found[1]


def test_activations_in_place_are_made_out_of_place():
    model, theirs = fitted("in_place"), built("in_place")
    x = image(2, BANDS, 13, 11)
    with pytest.raises(RuntimeError, match="inplace operation"):
        theirs.train()(x).square().mean().backward()
    check_trains(model, EXAMPLE)
    assert not model.act.inplace and not model.later.inplace  # noqa: PT018
    with torch.no_grad():
        assert torch.equal(model(x), built("in_place")(x))
    model.train()(x).square().mean().backward()
    assert model.head.weight.grad.abs().sum() > 0


def test_an_activation_whose_writing_matters_goes_on_with_it():
    model = built("relying")
    extra = nn.Sequential(model, nn.ReLU(inplace=True))
    assert out_of_place(extra, EXAMPLE) == 1
    assert model.act.inplace and not extra[1].inplace  # noqa: PT018
    with pytest.raises(
        ModelError, match=r"no gradient passes .*; write what works in place out of"
    ) as refusal:
        check_trains(model, EXAMPLE)
    assert "\n" not in str(refusal.value)


def test_a_network_that_trains_is_left_as_it_is():
    model = nn.Sequential(built("masked"), nn.ReLU(inplace=True))
    check_trains(model, EXAMPLE)
    assert model[1].inplace


def compressed(name: str, *options: str) -> dict[str, object]:
    torch.save(built(name).state_dict(), "w.pt")
    network = ["--data", "cube.npy", "--model", f"strangers:{name}", "--weights", "w.pt"]
    training = [] if "none" in options else TRAINING
    assert main(["compress", *network, *BRIEF, *training, *options, "--output", "run"]) == 0
    report = json.loads(Path("run/report.json").read_text())
    validate(report)
    return report


def test_a_network_without_an_upsampler_is_deployed_as_it_is(workplace, capsys):
    report = compressed("before_bicubic", "--method", "none")
    assert (report["chosen"], report["sites"], report["candidates"]) == (None, [], [])
    assert report["student"]["params"] == report["teacher"]["params"]
    assert report["student"]["metrics"] == report["teacher"]["metrics"]
    assert "deployed as it is" in Path("run/report.html").read_text()
    assert "strangers:before_bicubic x2, cube: deployed as it is" in capsys.readouterr().out
    x, theirs = image(1, BANDS, 13, 11), built("before_bicubic")
    student = load_network(Path("run/student.safetensors"), "strangers:before_bicubic").model
    with torch.no_grad():
        expected = theirs(x)
        assert torch.equal(student(x), expected)
    np.testing.assert_allclose(session(Path("run/model.onnx"))(x.numpy()), expected, atol=1e-5)
    assert {Path(model["path"]).name for model in report["deployment"]["models"]} == {
        "cpu-fp32.onnx"
    }
    assert main(["report", "run"]) == 0
    assert main(["upscale", "cube.npy", "sr.npy", "--model", "run/model.onnx"]) == 0


@pytest.mark.parametrize(
    "option",
    ["--rank 2", "--groups 2", "--exact-target", "--search", "--max-macs 1", "--teacher w.pt"],
)
def test_nothing_is_asked_of_a_replacement_that_there_is_not(option, workplace, capsys):
    torch.save(built("masked").state_dict(), "w.pt")
    network = ["--data", "cube.npy", "--model", "strangers:masked", "--threads", "1"]
    assert main(["compress", *network, "--method", "none", *option.split(), "--output", "run"]) == 2
    line = capsys.readouterr().err
    assert "--method none" in line
    assert "leave" in line
    assert not Path("run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["in_place", "mean_taking", "one_size", "one_size_24"])
def test_from_the_command_line_to_files_in_use(name, workplace):
    report = compressed(name, "--rank", "2")
    student = load_network(Path("run/student.safetensors"), f"strangers:{name}").model
    x = image(1, BANDS, 16, 16)
    with torch.no_grad():
        expected = student(x)
        whole = super_resolve(student, image(BANDS, 50, 41), scale=2)
    size = report["onnx"]["tracing"]["size"]
    network = session(Path("run/model.onnx"))
    assert size == "free" or list(x.shape[2:]) == size
    np.testing.assert_allclose(network(x.numpy()), expected, atol=1e-5)
    assert whole.shape == (BANDS, 100, 82)
    model = ["--model", f"strangers:{name}", "--weights", "run/student.safetensors"]
    assert main(["evaluate", "--data", "cube.npy", *model, "--threads", "1"]) == 0
    for weights in (["--model", "run/model.onnx"], model):
        assert main(["upscale", "cube.npy", "sr.npy", "--overwrite", *weights]) == 0
        assert read_cube("sr.npy").shape == (144, 144, BANDS)
