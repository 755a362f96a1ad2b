from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgesr.models import LKCANet, create_model


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def block_by_hand(weights: dict[str, Tensor], x: Tensor, dilations: tuple[int, int]) -> Tensor:
    """The block's formula, written out with elementary operations."""
    mean = x.mean(1, keepdim=True)
    deviation = ((x - mean) ** 2).mean(1, keepdim=True)
    y = (x - mean) / torch.sqrt(deviation + 1e-6)
    y = y * weights["norm.weight"][:, None, None] + weights["norm.bias"][:, None, None]
    u = F.gelu(F.conv2d(y, weights["expand.weight"], weights["expand.bias"]))
    channels = u.shape[1]
    features = [u]
    for name, kernel, dilation in (("near", 5, dilations[0]), ("far", 7, dilations[1])):
        features.append(
            F.conv2d(
                features[-1],
                weights[f"attention.{name}.weight"],
                weights[f"attention.{name}.bias"],
                padding=dilation * (kernel - 1) // 2,
                dilation=dilation,
                groups=channels,
            )
        )
    stacked = torch.cat(features, 1)
    pooled = stacked.mean((2, 3))
    squeezed = F.relu(
        pooled @ weights["attention.gate.squeeze.weight"].flatten(1).T
        + weights["attention.gate.squeeze.bias"]
    )
    gate = torch.sigmoid(
        squeezed @ weights["attention.gate.excite.weight"].flatten(1).T
        + weights["attention.gate.excite.bias"]
    )
    gated = stacked * gate[:, :, None, None]
    fusing = zip(
        gated.chunk(4, 1),
        weights["attention.fuse.weight"].chunk(4),
        weights["attention.fuse.bias"].chunk(4),
        strict=True,
    )
    fused = torch.cat([F.conv2d(part, weight, bias) for part, weight, bias in fusing], 1)
    residual = F.conv2d(fused * u, weights["project.weight"], weights["project.bias"])
    return x + weights["layer_scale"] * residual


@pytest.mark.parametrize("paper_exact", [False, True])
@torch.no_grad()
def test_forward_is_the_papers_formula(paper_exact: bool) -> None:
    model = randomise(
        create_model("lkca_net", bands=5, scale=2, blocks=2, channels=32, paper_exact=paper_exact)
    )
    lr = torch.rand(2, 5, 9, 7)
    x = F.conv2d(lr, model.head.weight, model.head.bias, padding=1)
    for block in model.body:
        x = block_by_hand(dict(block.named_parameters()), x, (5, 7) if paper_exact else (1, 3))
    up = F.conv2d(x, model.upsampler.weight, model.upsampler.bias, padding=1)
    shuffled = up.reshape(2, 5, 2, 2, 9, 7).permute(0, 1, 4, 2, 5, 3).reshape(2, 5, 18, 14)
    expected = shuffled + F.interpolate(lr, size=(18, 14), mode="bicubic", align_corners=False)
    torch.testing.assert_close(model(lr), expected, rtol=1e-4, atol=1e-4)


def test_lean_network_has_no_dead_parameters() -> None:
    model = create_model("lkca_net", bands=4, scale=2, blocks=2, channels=64)
    model(torch.rand(1, 4, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_paper_exact_leaves_two_vectors_a_block_unused() -> None:
    model = create_model("lkca_net", bands=4, scale=2, blocks=2, channels=64, paper_exact=True)
    model(torch.rand(1, 4, 16, 16)).square().sum().backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    vectors = ("unused_norm.weight", "unused_norm.bias", "unused_scale")
    assert unused == {f"body.{block}.{vector}" for block in range(2) for vector in vectors}


@torch.no_grad()
def test_weight_norm_keeps_the_function() -> None:
    exact = create_model("lkca_net", bands=4, scale=2, blocks=1, channels=16, paper_exact=True)
    lean = create_model("lkca_net", bands=4, scale=2, blocks=1, channels=16, dilations=(5, 7))
    weights = {key: value for key, value in exact.state_dict().items() if "parametriz" not in key}
    weights["upsampler.weight"] = exact.upsampler.weight
    lean.load_state_dict({key: weights[key] for key in lean.state_dict()})
    lr = torch.rand(1, 4, 8, 8)
    torch.testing.assert_close(exact(lr), lean(lr))


def test_starts_as_bicubic() -> None:
    lr = torch.rand(1, 31, 8, 8)
    with torch.no_grad():
        gap = create_model("lkca_net", bands=31, blocks=4)(lr) - F.interpolate(
            lr, scale_factor=4, mode="bicubic"
        )
    assert gap.abs().max() < 0.1


@pytest.mark.parametrize("dilation_reach", [((1, 3), 1 + 2 + 9 + 1), ((5, 7), 1 + 10 + 21 + 1)])
def test_dilations_set_the_reach(dilation_reach: tuple[tuple[int, int], int]) -> None:
    """Pixels beyond head + near + far + upsampler touch the centre only through the global gate."""
    dilations, reach = dilation_reach
    model = create_model(
        "lkca_net", bands=1, scale=2, blocks=1, channels=16, dilations=dilations
    ).double()
    randomise(model)
    model.body[0].attention.gate = nn.Identity()
    lr = torch.rand(1, 1, 81, 81, dtype=torch.float64, requires_grad=True)
    model.upsampler(model.body(model.head(lr)))[0, :, 40, 40].sum().backward()
    rows, columns = lr.grad[0, 0].nonzero(as_tuple=True)
    assert (rows - 40).abs().max() == (columns - 40).abs().max() == reach


@torch.no_grad()
def test_channels_last_gives_the_same() -> None:
    model = randomise(create_model("lkca_net", bands=6, scale=2, blocks=2, channels=16))
    lr = torch.rand(1, 6, 12, 10)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    output = last(lr.to(memory_format=torch.channels_last))
    torch.testing.assert_close(output, model(lr), rtol=1e-4, atol=1e-4)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    model = create_model("lkca_net", bands=2, scale=2, blocks=3, channels=16, drop_path=0.3)
    assert [block.drop_path.rate for block in model.body] == pytest.approx([0.1, 0.2, 0.3])
    drop = model.body[2].drop_path
    x = torch.ones(4000, 2, 1, 1)
    dropped = drop.train()(x)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (dropped[:, 0] == dropped[:, 1]).all()
    assert dropped.mean() == pytest.approx(1, abs=0.05)
    assert drop.eval()(x) is x


@settings(deadline=None, max_examples=12)
@given(
    bands=st.integers(1, 9),
    scale=st.integers(2, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
@torch.no_grad()
def test_any_size(bands: int, scale: int, height: int, width: int) -> None:
    model = create_model("lkca_net", bands=bands, scale=scale, blocks=1, channels=16)
    output = model(torch.rand(2, bands, height, width))
    assert output.shape == (2, bands, height * scale, width * scale)


def test_same_seed_same_weights() -> None:
    def weights() -> dict[str, Tensor]:
        torch.manual_seed(3)
        return LKCANet(bands=3, scale=2, blocks=1, channels=16).state_dict()

    assert all(
        torch.equal(a, b) for a, b in zip(weights().values(), weights().values(), strict=True)
    )


@pytest.mark.filterwarnings("ignore")
def test_exports_with_a_fused_norm_and_free_sizes(tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    model = randomise(create_model("lkca_net", bands=3, scale=2, blocks=1, channels=16))
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        model,
        (torch.rand(2, 3, 8, 8),),
        path,
        dynamic_shapes={"lr": {0: "n", 2: "h", 3: "w"}},
        dynamo=True,
        verbose=False,
    )
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("LayerNormalization") == 1
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    lr = torch.rand(1, 3, 11, 6)
    (output,) = session.run(None, {session.get_inputs()[0].name: lr.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, model(lr).numpy(), rtol=1e-3, atol=1e-4)
