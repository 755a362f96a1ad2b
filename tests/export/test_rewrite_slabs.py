from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgesr_export.rewrite import rewrite, slabs
from edgesr_export.rewrite.bicubic import phase_kernels
from edgesr_export.rewrite.bilinear import triangle_kernels
from edgesr_export.rewrite.slabs import SlabsOfBands
from edgesr_export.rewrite.slabs_openvino import SlabsForOpenVino
from edgesr_export.targets import find_target
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = np.random.default_rng(0)
KERNELS = {
    "bicubic": lambda rate: phase_kernels(rate, -0.75),
    "bilinear": triangle_kernels,
    "nearest": lambda rate: np.ones((rate**2, 1, 1, 1)),
}


@pytest.fixture(autouse=True, scope="module")
def _small_slabs():
    """Slabs of 8 channels in any number, so that small networks have several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "LANES", 1)
        for rule in (SlabsOfBands, SlabsForOpenVino):
            patch.setattr(rule, "width", 8)
        yield


def tail(
    rewriting,
    rate=2,
    bands=6,
    groups=1,
    kernel=3,
    kind="bicubic",
    bias=True,
    order="CRD",
    kernels=None,
    options="",
):
    """y = DepthToSpace(Conv(t) + Conv(Pad(x))), t with 2 channels a group."""
    depth, reach = bands * rate**2, kernel // 2
    fixed = KERNELS[kind](rate) if kernels is None else kernels
    edge = fixed.shape[-1] // 2
    constants = {
        "W": RNG.standard_normal((depth, 2, kernel, kernel), dtype=np.float32),
        "K": np.tile(fixed, (bands, 1, 1, 1)).astype(np.float32),
        "pads": np.array([0, 0, edge, edge, 0, 0, edge, edge]),
    }
    if bias:
        constants["c"] = RNG.standard_normal(depth, dtype=np.float32)
    return rewriting.model(
        f"""(float[n, {2 * groups}, h, w] t, float[n, {bands}, h, w] x)
            => (float[n, {bands}, hr, wr] y) {{
            detail = Conv <group = {groups}, pads = [{reach}, {reach}, {reach}, {reach}]>
                (t, W{", c" if bias else ""})
            padded = Pad <mode = "edge"> (x, pads)
            base = Conv <group = {bands}{options}> (padded, K)
            total = Add(detail, base)
            y = DepthToSpace <blocksize = {rate}, mode = "{order}"> (total)
        }}""",
        constants,
    )


def inputs(bands, groups, shape):
    batch, height, width = shape
    return (
        RNG.standard_normal((batch, 2 * groups, height, width), dtype=np.float32),
        RNG.random((batch, bands, height, width), dtype=np.float32),
    )


@settings(deadline=None, max_examples=25)
@given(
    rate=st.integers(2, 4),
    per_group=st.integers(3, 5),
    groups=st.integers(1, 3),
    kernel=st.sampled_from([1, 3]),
    kind=st.sampled_from(sorted(KERNELS)),
    bias=st.booleans(),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)),
    target=st.sampled_from(["cpu", "openvino"]),
)
def test_any_tail_is_cut_into_slabs(
    rewriting, rate, per_group, groups, kernel, kind, bias, shape, target
):
    bands = per_group * groups
    model = tail(rewriting, rate, bands, groups, kernel, kind, bias)
    found = rewriting.same(model, *inputs(bands, groups, shape), target=target, atol=2e-5)
    width = max(1, 8 // rate**2)
    count = groups * -(-per_group // width)
    assert found["Add"] == count
    assert found["Conv"] == 3 * count
    assert found["DepthToSpace"] == 0
    assert found["Transpose"] == count * {"cpu": 2, "openvino": 1}[target]


@settings(deadline=None, max_examples=25)
@given(
    rate=st.integers(2, 4),
    bands=st.integers(1, 13),
    data=st.data(),
    kernel=st.sampled_from([1, 3]),
    bias=st.booleans(),
    target=st.sampled_from(["cpu", "openvino"]),
)
def test_groups_may_end_within_a_band(rewriting, rate, bands, data, kernel, bias, target):
    """Any number of groups that divides the channels, up to groups smaller than a band."""
    fitting = [groups for groups in range(1, 17) if bands * rate**2 % groups == 0]
    groups = data.draw(st.sampled_from(fitting))
    model = tail(rewriting, rate, bands, groups, kernel, bias=bias)
    found = rewriting.same(model, *inputs(bands, groups, (1, 4, 3)), target=target, atol=2e-5)
    assert found["DepthToSpace"] == 0


def test_a_band_that_groups_share_is_a_slab_of_its_own():
    found = list(slabs.slabs_of(bands=103, rate=4, groups=8, channels=128))
    assert [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])]
    assert found[-1][1] == 103
    for start, stop in found:
        first, last = start * 8 // 103, -(-stop * 8 // 103)
        assert last - first == 1 or stop - start == 1


def test_shapes_that_a_file_leaves_out_are_inferred(rewriting):
    model = tail(rewriting)
    del model.graph.value_info[:]
    assert rewriting.same(model, *inputs(6, 1, (1, 4, 3)), target="cpu")["DepthToSpace"] == 0


def test_only_for_the_runtimes_that_gain(rewriting):
    for target in ("", "tensorrt"):
        rewriting.untouched(tail(rewriting), target=target)


@pytest.mark.parametrize(
    "changes",
    [
        {"order": "DCR"},
        {"kernels": RNG.random((4, 1, 3, 3))},
        {"kind": "bicubic", "options": ", dilations = [1, 1], pads = [1, 1, 1, 1]", "kernel": 5},
    ],
    ids=["other order", "kernels of no product", "zeros at the border"],
)
def test_look_alikes_stay_untouched(rewriting, changes):
    rewriting.untouched(tail(rewriting, **changes), target="cpu")


def test_an_opset_before_the_operators_that_slabs_need_stays(rewriting):
    model = tail(rewriting)
    model.opset_import[0].version = 17
    rewriting.untouched(model, target="cpu")


@pytest.mark.parametrize(
    ("rate", "bands", "widths"),
    [(4, 20, [8, 8, 4]), (2, 70, [32, 32, 6]), (3, 33, [16, 16, 1]), (8, 5, [2, 2, 1])],
)
def test_slabs_fill_the_blocks_of_the_layout(rewriting, monkeypatch, rate, bands, widths):
    monkeypatch.setattr(SlabsOfBands, "width", 128)
    monkeypatch.setattr(slabs, "LANES", 16)
    rewritten, _ = rewrite(tail(rewriting, rate, bands), find_target("cpu").rules)
    found = [
        list(onnx.numpy_helper.to_array(tensor))
        for tensor in rewritten.graph.initializer
        if tensor.name.endswith(".slabs")
    ]
    assert found == [widths]
    rewriting.same(tail(rewriting, rate, bands), *inputs(bands, 1, (1, 4, 3)), target="cpu")
