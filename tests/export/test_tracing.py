"""Each strategy of the ladder, by a network that needs it; ONNX Runtime itself judges the files."""

from __future__ import annotations

import json
import multiprocessing
import re
import time

import edgesr_export.onnx
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from edgesr_export.errors import ExportError
from edgesr_export.limited import Calls
from edgesr_export.onnx import EXPORTED, RECORDED, export_onnx
from edgesr_export.sizes import fit, input_shape
from edgesr_export.tracing import FIXED, STRATEGIES, export_with_fallbacks, tracing, usable
from torch import nn

BANDS = 3


class Upsampling(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(BANDS, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 4 * BANDS, 3, padding=1)

    def body(self, x):
        return x

    def forward(self, x):
        return F.pixel_shuffle(self.tail(self.body(self.head(x))), 2)


class DataDependent(Upsampling):
    def forward(self, x):
        return super().forward(x) * (2 if x.mean().item() > 0.9 else 1)


class PadsWhereNeeded(Upsampling):
    """Padded in a branch that an example of a multiple of 8 does not take."""

    def forward(self, x):
        h, w = x.shape[2:]
        if h % 8 or w % 8:
            x = F.pad(x, (0, -w % 8, 0, -h % 8), mode="replicate")
        x = super().forward(x)
        x = x - F.avg_pool2d(x, 16).mean()  # so that what was padded is seen
        return x[:, :, : 2 * h, : 2 * w]


class WindowAttention(Upsampling):
    """Windows of 4 x 4, counted in Python as Swin's published code does."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def body(self, x):
        n, c, h, w = x.shape
        tokens = x.permute(0, 2, 3, 1).view(n, h // 4, 4, w // 4, 4, c)
        tokens = tokens.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(tokens).chunk(3, -1)
        tokens = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        count = int(tokens.shape[0] / (h * w / 16))
        tokens = tokens.view(count, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
        return x + tokens.reshape(count, c, h, w)


class TableOfItsSize(Upsampling):
    """A table made in Python for the size at hand: every way of tracing freezes it."""

    def body(self, x):
        h, w = x.shape[2:]
        table = [[(i * w + j) % 5 / 5 for j in range(w)] for i in range(h)]
        return x * torch.tensor(table)


class ThroughNumpy(Upsampling):
    """What leaves torch is a constant to any tracer."""

    def body(self, x):
        return x + torch.from_numpy(x.detach().numpy().mean(axis=1, keepdims=True))


class Remembering(Upsampling):
    """State that is no parameter, made in the first call of a size."""

    def __init__(self):
        super().__init__()
        self.grids = {}

    def body(self, x):
        size = x.shape[2:]
        if size not in self.grids:
            self.grids[size] = torch.linspace(0, 1, size[1]) * self.head.weight.mean()
        return x + self.grids[size]


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    scene = 0.2 + 0.5 * torch.rand(1, BANDS, 32, 32, generator=generator)
    tile = scene[..., :16, :16]
    return [tile, scene, scene[..., :13, :17], torch.cat([tile, tile.flip(-1)])]


@pytest.fixture
def adversarial():
    return {"zeros": torch.zeros(1, BANDS, 16, 16), "ones": torch.ones(1, BANDS, 16, 16)}


@pytest.fixture
def climbed(images, adversarial, tmp_path):
    def up(network):
        path = tmp_path / "model.onnx"
        found, agreement = export_with_fallbacks(
            network.eval(), path, images, images[1][..., :24, :24], adversarial
        )
        assert not list(tmp_path.glob("*.part*"))
        return path, found, agreement

    return up


def difference(path, network, image):
    """Between ONNX Runtime and the network, on one image."""
    answer = onnxruntime.InferenceSession(path).run(None, {"input": image.numpy()})[0]
    with torch.no_grad():
        return np.abs(answer - network(image).numpy()).max()


def test_a_plain_network_takes_the_first_rung(climbed, images):
    network = Upsampling()
    path, found, agreement = climbed(network)
    assert (found.how, found.free, found.why) == (EXPORTED, ("batch", "height", "width"), "")
    assert input_shape(path) == (None, BANDS, None, None)
    assert tracing(path) == found
    assert found.strategies == STRATEGIES
    assert len(agreement.inputs) == 6
    for image in (*images, torch.rand(3, BANDS, 5, 9)):
        assert difference(path, network, image) < 1e-5


def test_a_branch_on_values_is_recorded_as_real_input_took_it(climbed, images):
    network = DataDependent()
    path, found, _ = climbed(network)
    assert found.how == RECORDED
    assert found.free == ("batch", "height", "width")
    assert "data-dependent" in found.why
    assert "\n" not in found.why
    for image in images:
        assert difference(path, network, image) < 1e-5
    assert list(found.differs) == ["ones"]
    wrong = difference(path, network, torch.ones(1, BANDS, 16, 16))
    assert found.differs["ones"] == pytest.approx(wrong, rel=1e-3)
    assert wrong > 1e-2
    stored = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(stored["tracing"])["differs"] == found.differs


def test_a_branch_that_real_images_take_differently_is_never_recorded(climbed, images):
    images[2] += 10  # bright: the other branch
    with pytest.raises(ExportError, match="data-dependent"):
        climbed(DataDependent())


def test_padding_in_a_branch_is_traced_where_it_is_taken(climbed, images):
    """At 16 x 16 torch.export writes a file that is silently wrong at 13 x 17."""
    network = PadsWhereNeeded()
    path, found, _ = climbed(network)
    assert found.odd
    assert "height" in found.free
    for image in (*images, torch.rand(1, BANDS, 21, 40)):
        assert difference(path, network, image) < 1e-5


def test_window_attention_keeps_a_free_size(climbed, images):
    network = WindowAttention()
    path, found, agreement = climbed(network)
    assert input_shape(path)[2:] == (None, None)
    assert (1, BANDS, 13, 17) not in agreement.inputs  # nor does the network itself take it
    for image in (images[0], images[1], torch.rand(1, BANDS, 8, 20)):
        assert difference(path, network, image) < 1e-5
    example = found.strategies[0].example(images[0], images[0])
    again = export_onnx(network, example, path.parent / "b", dynamic=found.free, how=found.how)
    assert difference(again, network, torch.rand(1, BANDS, 8, 20)) < 1e-5


def test_what_freezes_its_size_gets_the_size_of_the_tile(climbed, images):
    network = TableOfItsSize()
    path, found, agreement = climbed(network)
    assert input_shape(path)[1:] == (BANDS, 24, 24)
    assert found.free in ((), ("batch",))
    assert found.why
    assert {shape[2:] for shape in agreement.inputs} == {(24, 24)}
    assert difference(path, network, images[1][..., :24, :24]) < 1e-5
    assert not found.differs


class FrozenPositions(Upsampling):
    """Adds a ramp of positions whose length it asks for in NumPy."""

    def body(self, x):
        height = int(np.asarray(x.shape[2]))
        ramp = torch.linspace(0, 1, height).mean() * height / 10
        return super().body(x) + ramp


def test_what_froze_the_size_is_named(climbed):
    _, found, _ = climbed(FrozenPositions())
    assert found.free in ((), ("batch",))
    assert found.why.endswith("; the size of the image is frozen in /Add (Add)")


def test_a_damaged_note_is_one_line(images, tmp_path):
    path = export_onnx(Upsampling(), images[0], tmp_path / "model.onnx", dynamic=False)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"tracing": "{"})
    onnx.save(model, path)
    with pytest.raises(ExportError, match="record 'tracing' is damaged"):
        tracing(path)


def test_what_no_rung_can_say_is_refused_in_one_line_and_leaves_no_file(climbed, tmp_path):
    with pytest.raises(ExportError, match=r"numpy.*recorded on real input.*differs") as caught:
        climbed(ThroughNumpy())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class Endless(Upsampling):
    """Decides by values, so that it is recorded, and never comes to an end then."""

    def body(self, x):
        if x.mean().item() > 100:
            return x
        while torch.jit.is_tracing():
            x = self.head(x[:, :BANDS])
            time.sleep(0.01)
        return x


def test_recording_ends_in_time_says_how_far_it_is_and_what_was_left_out(
    climbed, monkeypatch, caplog, tmp_path
):
    monkeypatch.setattr("edgesr_export.onnx.RECORDING_SECONDS", 2.0)
    monkeypatch.setattr("edgesr_export.limited.SILENT_SECONDS", 0.5)
    starts = []
    limited = edgesr_export.onnx.limited
    monkeypatch.setattr(
        "edgesr_export.onnx.limited", lambda *given: (starts.append(given[2]), limited(*given))
    )
    with (
        caplog.at_level("INFO", "edgesr"),
        pytest.raises(ExportError, match="recording Endless took longer than 2 s and was left out"),
    ):
        climbed(Endless())
    assert starts == ["recording Endless"]  # once, not at every size
    assert re.search(r"recording Endless: .*; \d s, 2 s at most", caplog.text)
    assert not multiprocessing.active_children()
    assert not list(tmp_path.iterdir())


def test_calls_give_an_estimate():
    calls, layer, told = Calls(), nn.Identity(), []

    def work():
        for _ in range(4):
            told.append(calls.text(6.0))
            layer(0)

    calls.follow(lambda: [layer(0) for _ in range(4)], work)
    assert told[0] == "preparing"
    assert told[3] == "3 of 4 calls followed, about 2 s for the others"
    assert calls.text(9.0) == "all calls followed, writing them"


def test_the_network_keeps_nothing_of_the_tracers(climbed, images):
    network = Remembering()
    before = network(images[0]).detach()
    network.grids.clear()
    path, _, _ = climbed(network)
    assert torch.equal(network(images[0]), before)
    assert difference(path, network, images[1][..., :24, :24]) < 1e-5
    assert all(type(grid) is torch.Tensor for grid in network.grids.values())


def test_nothing_is_printed(climbed, capfd):
    climbed(DataDependent())

    class Unknown(Upsampling):
        def body(self, x):
            return x + torch.linalg.svdvals(x).mean() + x.mean().item()

    with pytest.raises(ExportError, match="svd"):
        climbed(Unknown())
    assert capfd.readouterr() == ("", "")


def test_a_file_for_one_size_skips_the_rest(images, tmp_path):
    path, tile = tmp_path / "model.onnx", images[0]
    found, _ = export_with_fallbacks(DataDependent(), path, [tile], tile, strategies=FIXED)
    assert (found.how, input_shape(path)) == (RECORDED, (1, BANDS, 16, 16))
    assert tracing(path).strategies == (FIXED[1],)


def test_of_a_file_written_otherwise_the_input_tells(images, tmp_path):
    path = export_onnx(Upsampling(), images[0], tmp_path / "model.onnx", dynamic=False)
    assert (tracing(path).how, tracing(path).free) == (EXPORTED, ())


def test_an_image_is_cut_or_goes_on_mirrored():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert torch.equal(fit(image, (None, 1, None, None)), image)
    assert fit(image, (2, 1, 3, 2)).tolist() == [[[[0, 1], [3, 4], [3, 4]]]] * 2
    assert fit(image, (1, 1, 1, 8)).tolist() == [[[[0, 1, 2, 2, 1, 0, 0, 1]]]]


def test_images_that_the_network_itself_refuses_are_left_out():
    class Demanding(nn.Module):
        def forward(self, x):
            return x.reshape(1, 4) / x.std()

    given = [torch.rand(1, 1, 2, 2), torch.rand(1, 1, 3, 3), torch.ones(1, 1, 2, 2)]
    (kept,) = usable(Demanding(), given)
    assert kept is given[0]
