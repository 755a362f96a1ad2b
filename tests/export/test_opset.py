"""The same function in an older operator set; the file before, or torch, is the truth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
import torch.nn.functional as F
from edgesr_export.chain import convert, recorded_links
from edgesr_export.errors import ExportError
from edgesr_export.fp16 import kept_in_float32, to_fp16
from edgesr_export.onnx import applied_rewrites, export_onnx
from edgesr_export.opset import lower, opset_of
from edgesr_export.runtime import session
from edgesr_export.tensorrt import available
from edgesr_export.tensorrt.check import parse
from edgesr_export.verify import compare
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.models import create_model

RNG = np.random.default_rng(0)
NAMES = "Gelu", "LayerNormalization", "GroupNormalization"


def lowered(rewriting, model, opset, *inputs, atol=1e-6):
    """Operators of the lowered model, once it is valid and answers as the given one does."""
    new, _ = lower(model, opset)
    onnx.checker.check_model(new, full_check=True)
    assert opset_of(new) == opset
    assert new.ir_version <= 8  # onnxruntime 1.12 to 1.14 read no newer one
    np.testing.assert_allclose(
        rewriting.run(new, *inputs), rewriting.run(model, *inputs), atol=atol, rtol=1e-5
    )
    return Counter(node.op_type for node in new.graph.node)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("kind", ["float", "float16"])
def test_gelu(rewriting, approximate, kind):
    model = rewriting.model(
        f"({kind}[n, 3, h, w] x) => ({kind}[n, 3, h, w] y)"
        f' {{ y = Gelu <approximate = "{approximate}"> (x) }}'
    )
    x = RNG.normal(scale=3, size=(2, 3, 5, 4)).astype(np.float16 if kind == "float16" else "f4")
    found = lowered(rewriting, model, 17, x, atol=4e-3 if kind == "float16" else 1e-6)
    assert found["Tanh" if approximate == "tanh" else "Erf"] == 1
    assert "Gelu" not in found
    truth = F.gelu(torch.from_numpy(x.astype(np.float32)), approximate=approximate).numpy()
    new = rewriting.run(lower(model, 17)[0], x)
    np.testing.assert_allclose(new, truth, atol=1e-2 if kind == "float16" else 1e-6)


@settings(max_examples=15, deadline=None)
@given(axis=st.integers(-3, 3), shift=st.booleans(), half=st.booleans(), seed=st.integers(0, 99))
def test_layer_normalization_over_any_axes(rewriting, axis, shift, half, seed):
    rng = np.random.default_rng(seed)
    dtype, kind = (np.float16, "float16") if half else (np.float32, "float")
    shape = (2, 4, 3, 5)
    constants = {"g": rng.normal(size=shape[axis:]).astype(dtype)}
    constants["b"] = rng.normal(size=shape[axis:]).astype(dtype)
    inputs = "x, g, b" if shift else "x, g"
    model = rewriting.model(
        f"({kind}[2, 4, 3, 5] x) => ({kind}[2, 4, 3, 5] y)"
        f" {{ y = LayerNormalization <axis = {axis}, epsilon = 0.001> ({inputs}) }}",
        constants,
    )
    x = (300 if half else 1) * rng.normal(1, size=shape)  # squares beyond float16
    found = lowered(rewriting, model, 16, x.astype(dtype), atol=2e-2 if half else 1e-5)
    assert found["ReduceMean"] == 2
    assert found["Cast"] == (2 if half else 0)


def test_layer_normalization_stays_where_the_operator_set_has_it(rewriting):
    model = rewriting.model(
        "(float[n, h, w, 4] x) => (float[n, h, w, 4] y) { y = LayerNormalization (x, g) }",
        {"g": np.ones(4, np.float32)},
    )
    x = RNG.normal(size=(1, 2, 3, 4)).astype(np.float32)
    assert lowered(rewriting, model, 17, x) == {"LayerNormalization": 1}
    assert lowered(rewriting, model, 16, x)["Mul"] == 1  # the square alone: a scale of 1 is none


@pytest.mark.parametrize(("axis", "parts"), [(1, 2), (1, 4), (-2, 3)])
def test_a_split_into_equal_parts(rewriting, axis, parts):
    """Also where the last part is shorter: 7 channels in 4, 5 rows in 3."""
    outputs = [f"y{i}" for i in range(parts)]
    model = rewriting.model(
        f"(float[n, 7, 5, w] x) => (float[n, c, h, w] y)"
        f" {{ {', '.join(outputs)} = Split <axis = {axis}, num_outputs = {parts}> (x)"
        f"   y = Concat <axis = {axis}> ({', '.join(reversed(outputs))}) }}"
    )
    x = RNG.normal(size=(2, 7, 5, 3)).astype(np.float32)
    assert lowered(rewriting, model, 16, x) == {"Split": 1, "Concat": 1}


def test_a_split_of_a_free_axis_is_refused(rewriting):
    model = rewriting.model(
        "(float[n, 4, h, w] x) => (float[n, 4, h, w] y)"
        " { a, b = Split <axis = 2, num_outputs = 2> (x)  y = Concat <axis = 2> (b, a) }"
    )
    with pytest.raises(ExportError, match=r"Split.* uses attribute num_outputs"):
        lower(model, 17)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample(rewriting, mode):
    model = rewriting.model(
        "(float[n, 3, h, w] x, float[n, i, j, 2] g) => (float[n, 3, i, j] y)"
        f' {{ y = GridSample <mode = "{mode}", align_corners = 1> (x, g) }}'
    )
    x = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    g = RNG.uniform(-1, 1, size=(2, 6, 7, 2)).astype(np.float32)
    assert lowered(rewriting, model, 16, x, g) == {"GridSample": 1}


def test_a_filled_tensor(rewriting):
    model = rewriting.model(
        "(float[n, 3, h, w] x) => (float[n, 3, h, w] y)"
        " { s = Shape (x)  f = ConstantOfShape <value = float[1] {2.5}> (s)  y = Add (x, f) }"
    )
    x = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    assert lowered(rewriting, model, 16, x)["ConstantOfShape"] == 1


@pytest.mark.parametrize("opset", [20, 21])
def test_group_normalization(rewriting, opset):
    """By groups until opset 20, by channels from 21 on."""
    x = RNG.normal(size=(2, 6, 3, 4)).astype(np.float32)
    count = 6 if opset == 21 else 2
    scale, shift = RNG.normal(size=(2, count)).astype(np.float32)
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {opset}]>'
        " net (float[n, 6, h, w] x) => (float[n, 6, h, w] y)"
        f" <float[{count}] g = {{{', '.join(map(str, scale))}}},"
        f" float[{count}] b = {{{', '.join(map(str, shift))}}}>"
        " { y = GroupNormalization <num_groups = 2, epsilon = 0.01> (x, g, b) }"
    )
    new, done = lower(model, 17)
    assert done == ["GroupNormalization -> InstanceNormalization of the groups"]
    scale, shift = (torch.from_numpy(np.repeat(v, 6 // count)) for v in (scale, shift))
    truth = F.group_norm(torch.from_numpy(x), 2, scale, shift, eps=0.01).numpy()
    np.testing.assert_allclose(rewriting.run(new, x), truth, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "constants", "size"),
    [
        ('y = Pad <mode = "edge"> (x, p)', {"p": np.array([0, 0, 1, 2, 0, 0, 1, 2])}, (7, 10)),
        ('y = Pad <mode = "reflect"> (x, p)', {"p": np.array([0, 0, 1, 0, 0, 0, 1, 0])}, (7, 6)),
        ('y = Resize <mode = "cubic"> (x, , s)', {"s": np.float32([1, 1, 1.5, 1.5])}, (7, 9)),
        ('y = Resize <mode = "linear", antialias = 0, keep_aspect_ratio_policy = "stretch">'
         " (x, , s)", {"s": np.float32([1, 1, 2, 2])}, (10, 12)),
        ("y = ReduceMean (x, a)", {"a": np.array([2, 3])}, (1, 1)),
        ("m = ReduceMax (x, a)\n y = Sub (x, m)", {"a": np.array([1])}, (5, 6)),
        ('y = DepthToSpace <blocksize = 1, mode = "CRD"> (x)', {}, (5, 6)),
        ("q = QuantizeLinear (x, s, z)\n y = DequantizeLinear (q, s, z)",
         {"s": np.float32(0.02), "z": np.int8(0)}, (5, 6)),
        ("l = Shape <start = 2, end = 3> (x)\n f = ReduceSum (l)\n c = Cast <to = 1> (f)\n"
         " y = Mul (x, c)", {}, (5, 6)),
    ],
)  # fmt: skip
def test_what_has_an_older_form_is_converted(rewriting, nodes, constants, size):
    model = rewriting.model(
        f"(float[1, 3, 5, 6] x) => (float[1, 3, {size[0]}, {size[1]}] y) {{ {nodes} }}", constants
    )
    x = RNG.random((1, 3, 5, 6), dtype=np.float32)
    for opset in (17, 16):
        lowered(rewriting, model, opset, x)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ('y = Pad <mode = "wrap"> (x, p)', r"layer \S+ \(Pad\) uses mode wrap, which opset 17"),
        ("y = Pad (x, p, , a)", r"\(Pad\) uses input a, which opset 17 does not have"),
        ('y = Resize <mode = "cubic", antialias = 1> (x, , s)', "uses attribute antialias"),
        ('y = Resize <coordinate_transformation_mode = "half_pixel_symmetric"> (x, , s)',
         "uses coordinate_transformation_mode half_pixel_symmetric"),
        ("y = Mish (x)", r"layer \S* \(Mish\) does not exist in opset 17; replace it"),
    ],
)  # fmt: skip
def test_what_has_none_is_named_in_one_line(rewriting, nodes, message):
    constants = {
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "a": np.array([0, 1, 2, 3]),
        "s": np.float32([1, 1, 2, 2]),
    }
    model = rewriting.model(
        f"(float[1, 3, 5, 6] x) => (float[a, b, c, d] y) {{ {nodes} }}",
        {key: value for key, value in constants.items() if f" {key}" in nodes},
    )
    model.graph.node[0].name = "layer"
    with pytest.raises(ExportError, match=message) as caught:
        lower(model, 17)
    assert "\n" not in str(caught.value)


def test_quantisation_of_float16_came_with_opset_19(rewriting):
    model = rewriting.model(
        "(float16[1, 3] x) => (float16[1, 3] y)"
        " { q = QuantizeLinear (x, s, z)\n y = DequantizeLinear (q, s, z) }",
        {"s": np.float16(0.02), "z": np.int8(0)},
    )
    with pytest.raises(ExportError, match=r"no form in opset 17 \(.*\); choose a newer opset") as e:
        lower(model, 17)
    assert "\n" not in str(e.value)


def test_a_norm_whose_mean_is_used_stays_and_is_refused(rewriting):
    model = rewriting.model(
        "(float[1, 2, 4] x) => (float[1, 2, 4] y)"
        " { n, m = LayerNormalization (x, g)\n y = Add (n, m) }",
        {"g": np.ones(4, np.float32)},
    )
    assert opset_of(lower(model, 17)[0]) == 17
    with pytest.raises(ExportError, match=r"\(LayerNormalization\) does not exist in opset 16"):
        lower(model, 16)


@pytest.mark.parametrize("opset", [15, 24, -1])
def test_operator_sets_out_of_reach_are_refused(rewriting, opset):
    model = rewriting.model("(float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }")
    with pytest.raises(ExportError, match=f"an opset from 16 to 23 is needed, got {opset}"):
        lower(model, opset)


def test_a_file_of_an_older_set_comes_back_as_it_is(rewriting):
    model = rewriting.model("(float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }", opset=16)
    assert lower(model, 17) == (model, [])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lkca_net", {"bands": 8, "scale": 4, "blocks": 1}),
        ("dacn", {"scale": 2}),
        pytest.param("vdsr", {"bands": 8, "scale": 4}, marks=pytest.mark.slow),  # convolutions
        ("3dfcnn", {"bands": 8, "scale": 4}),
    ],
)
def test_our_networks_reach_both(name, settings, tmp_path):
    torch.manual_seed(0)
    network = create_model(name, **settings)
    bands = settings.get("bands", 32)
    model = onnx.load(export_onnx(network, torch.rand(1, bands, 8, 8), tmp_path / "net.onnx"))
    images = [torch.rand(1, bands, 8, 8), torch.rand(2, bands, 9, 12)]
    for opset in (16, 17):
        new, done = lower(model, opset)
        onnx.save(new, tmp_path / "low.onnx")
        assert opset_of(new) == opset
        assert not {n.op_type for n in new.graph.node} & set(NAMES[: 1 if opset == 17 else 2])
        assert compare(tmp_path / "low.onnx", network, images).max_abs_difference < 1e-5
        assert any("Gelu" in sentence for sentence in done) == (name == "lkca_net")
        if available():
            assert parse(new)


@pytest.fixture(scope="module")
def naive(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("naive") / "net.onnx"
    return export_onnx(tiny, torch.rand(1, 5, 8, 8), path, rewrite=False)


def test_an_export_may_ask_for_it(tiny, tmp_path):
    x = torch.rand(1, 5, 8, 8)
    path = export_onnx(tiny, x, tmp_path / "net.onnx", opset=16, dynamic=False)
    assert opset_of(onnx.load(path)) == 16
    assert "LayerNormalization -> means" in applied_rewrites(path)
    assert compare(path, tiny, [x]).max_abs_difference < 1e-5


def test_what_stands_in_float32_stays_there_under_its_new_names(naive, tmp_path):
    """TensorRT 8 is told by these names which layers must not be halved."""
    half = to_fp16(naive, tmp_path / "half.onnx")
    (norm,) = [name for name in half.kept if "norm" in name]
    new, _ = lower(onnx.load(half.path), 16)
    onnx.save(new, tmp_path / "low.onnx")
    kept = kept_in_float32(tmp_path / "low.onnx")
    spelled = [name for name in kept if name.startswith(f"{norm}.")]
    assert len(spelled) == 7
    assert set(kept) <= {node.name for node in new.graph.node}
    assert {kept[name] for name in spelled} == {half.kept[norm]}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_chain_compares_the_older_form_too(naive, tmp_path, precision):
    result = convert(naive, tmp_path / "out.onnx", target="tensorrt", precision=precision, opset=16)
    assert opset_of(onnx.load(result.path)) == 16
    assert recorded_links(result.path)[-1].name == "opset 16"
    assert result.links[-1].difference <= result.links[-1].tolerance
    assert any("LayerNormalization -> means" in sentence for sentence in result.rewrites)
    x = RNG.random((1, 5, 9, 6), dtype=np.float32)
    atol = 1e-5 if precision == "fp32" else 5e-3
    np.testing.assert_allclose(session(result.path)(x), session(naive)(x), atol=atol)


def test_the_exporter_never_writes_another_operator_set_silently(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("edgesr_export.onnx.lower", lambda model, opset: (model, []))
    with pytest.raises(ExportError, match="wrote opset 20 where 17 was asked for"):
        export_onnx(tiny, torch.rand(1, 5, 8, 8), tmp_path / "net.onnx", opset=17, dynamic=False)
    assert not list(tmp_path.iterdir())
