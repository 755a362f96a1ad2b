from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.int8 import Quality, Speed, quantize, recorded_layers
from edgesr_export.int8 import quantise as quantise_module
from edgesr_export.int8.speed import GroupSpeed
from edgesr_export.model_file import write_model
from edgesr_export.paired import Paired
from edgesr_export.rewrite import rewrite
from edgesr_export.targets import find_target
from onnx import TensorProto, numpy_helper

pytestmark = pytest.mark.usefixtures("nncf")


def loose(evaluate):
    """Limits that hold."""
    return Quality(evaluate, 1.0, 1.0)


@pytest.fixture
def every_group_pays(monkeypatch):
    """The verdict of a CPU on which everything is faster; timing is tested elsewhere."""

    twice = Paired((2.0,) * 8, (1.0,) * 8, 0.01, 1)

    def pays(bench, layers, *_):
        return [GroupSpeed(layer.kind, layer.shape, (layer.name,), twice) for layer in layers]

    monkeypatch.setattr(quantise_module, "faster_groups", pays)
    monkeypatch.setattr(quantise_module, "compare", lambda *_, **__: twice)


@pytest.fixture(scope="module")
def for_tensorrt(network, tiles, evaluate, tmp_path_factory):
    path = tmp_path_factory.mktemp("tensorrt") / "int8.onnx"
    return quantize(network, path, iter(tiles), target="tensorrt", quality=loose(evaluate))


def test_no_uint8_and_no_zero_point_is_left_for_tensorrt(for_tensorrt):
    graph = onnx.load(for_tensorrt.path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert kinds <= {TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT64}  # INT64: pads
    pairs = [node for node in graph.node if node.op_type.endswith("quantizeLinear")]
    pairs += [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(pairs) == 3 * 4  # Q, DQ and the weights' DQ for four layers
    for node in pairs:
        zero = numpy_helper.to_array(stored[node.input[2]])
        assert zero.dtype == np.int8
        assert not zero.any()


def test_the_bicubic_branch_the_sum_and_the_shuffle_stay_float(for_tensorrt):
    graph = onnx.load(for_tensorrt.path).graph
    from_pair = {
        n for node in graph.node if node.op_type == "DequantizeLinear" for n in node.output
    }
    readers = {n.op_type for n in graph.node if from_pair.intersection(n.input)}
    assert readers == {"Conv"}
    padded = {name for n in graph.node if n.op_type == "Pad" for name in n.output}
    (branch,) = [n for n in graph.node if padded.intersection(n.input)]
    assert branch.op_type == "Conv"
    assert not from_pair.intersection(branch.input)


def test_the_result_lists_every_layer_with_a_reason(for_tensorrt):
    precisions = Counter(layer.precision for layer in for_tensorrt.layers)
    assert precisions == {"int8": 4, "fp32": 1}
    assert all(layer.reason for layer in for_tensorrt.layers)
    assert recorded_layers(for_tensorrt.path) == {
        layer.name: (layer.precision, layer.reason) for layer in for_tensorrt.layers
    }
    assert for_tensorrt.tiles == 4
    assert for_tensorrt.trials == 1
    assert "4 of 5 layers in int8 for tensorrt" in for_tensorrt.summary()


def test_the_drop_is_that_of_the_file(for_tensorrt, evaluate, run_file):
    after = evaluate(lambda image: run_file(for_tensorrt.path, image))
    assert after["mpsnr"] == pytest.approx(for_tensorrt.after["mpsnr"], abs=1e-3)
    drop = for_tensorrt.before["mpsnr"] - after["mpsnr"]
    assert for_tensorrt.drop.psnr == pytest.approx(drop, abs=1e-3)
    assert after != for_tensorrt.before


def test_the_function_is_nearly_the_same_on_any_size(for_tensorrt, network, run_file):
    for shape in ((1, 6, 5, 9), (2, 6, 16, 4)):
        image = np.random.default_rng(3).random(shape, dtype=np.float32)
        difference = np.abs(run_file(for_tensorrt.path, image) - run_file(network, image))
        assert 0 < difference.max() < 0.05


@pytest.mark.usefixtures("every_group_pays")
def test_the_cpu_gets_uint8_activations_and_pairs_on_both_sides(
    network, tiles, evaluate, tmp_path, run_file
):
    path = tmp_path / "int8.onnx"
    result = quantize(network, path, tiles, target="cpu", quality=loose(evaluate))
    graph = onnx.load(path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    quantisers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {stored[node.input[2]].data_type for node in quantisers} == {TensorProto.UINT8}
    assert len(result.quantised) == 4
    assert result.times.ratio == 2.0
    image = np.random.default_rng(3).random((1, 6, 9, 9), dtype=np.float32)
    assert np.abs(run_file(path, image) - run_file(network, image)).max() < 0.05


@pytest.mark.usefixtures("every_group_pays")
@pytest.mark.parametrize("verdict", [-1, 0, 1])
def test_what_was_faster_by_groups_must_be_faster_together(
    network, tiles, evaluate, tmp_path, monkeypatch, verdict
):
    """Of many questions some are answered by chance; that both are is seldom."""
    answer = Paired((1.0,) * 8, (1.0,) * 8, 0.01, verdict)
    monkeypatch.setattr(quantise_module, "compare", lambda *_, **__: answer)
    path = tmp_path / "int8.onnx"
    result = quantize(network, path, tiles, target="cpu", quality=loose(evaluate))
    assert (len(result.quantised), path.is_file()) == ((4, True) if verdict > 0 else (0, False))


@pytest.mark.usefixtures("every_group_pays")
def test_decided_before_it_is_the_same_file(network, tiles, evaluate, tmp_path, monkeypatch):
    """Nothing is timed, and no set of layers tried but the one that was chosen."""
    first = quantize(network, tmp_path / "a.onnx", tiles, target="cpu", quality=loose(evaluate))
    monkeypatch.setattr(quantise_module, "faster_groups", None)
    monkeypatch.setattr(quantise_module, "compare", None)
    again = quantize(
        network, tmp_path / "b.onnx", tiles, target="cpu", quality=loose(evaluate),
        decided={layer.name: (layer.precision, layer.reason) for layer in first.layers},
    )  # fmt: skip
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert (again.trials, again.after, again.layers) == (0, first.after, first.layers)


@pytest.mark.usefixtures("every_group_pays")
def test_targets_that_calibrate_alike_share_it_and_their_files_stay_the_same(
    network, tiles, evaluate, tmp_path, monkeypatch
):
    plain = tmp_path / "plain.onnx"
    quantize(network, plain, tiles, target="cpu", quality=loose(evaluate))
    calls, calibrate = [], quantise_module.calibrate
    monkeypatch.setattr(
        quantise_module, "calibrate", lambda *given: calls.append(1) or calibrate(*given)
    )
    known, times = {}, []
    for target in ("cpu", "cpu", "tensorrt"):  # whose ranges have no zero points
        path = tmp_path / f"{len(times)}.onnx"
        quantize(network, path, tiles, target=target, quality=loose(evaluate), calibrations=known)
        times.append(len(calls))
    assert times == [1, 1, 2]
    assert (tmp_path / "1.onnx").read_bytes() == plain.read_bytes()
    quantize(
        network, path, tiles[:2], target="tensorrt", quality=loose(evaluate), calibrations=known
    )
    assert len(calls) == 3  # other tiles


def test_decisions_of_another_network_are_refused(network, tiles, evaluate, tmp_path):
    with pytest.raises(ExportError, match="decisions are of another network"):
        quantize(
            network, tmp_path / "a.onnx", tiles, target="cpu", quality=loose(evaluate),
            decided={"nowhere": ("int8", "")},
        )  # fmt: skip
    assert not any(tmp_path.glob("*.onnx"))


@pytest.mark.usefixtures("every_group_pays")
def test_openvino_gets_pairs_on_the_inputs_alone(network, tiles, evaluate, tmp_path):
    """And its metrics are those of OpenVINO on the file as it is rewritten for it."""
    openvino = pytest.importorskip("edgesr_export.openvino")
    pytest.importorskip("openvino")
    path = tmp_path / "int8.onnx"
    result = quantize(network, path, tiles, target="openvino", quality=loose(evaluate))
    quantisers = [node for node in onnx.load(path).graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantisers) == len(result.quantised) == 4
    write_model(rewrite(onnx.load(path), find_target("openvino").rules)[0], path)
    after = evaluate(openvino.openvino_session(path))
    assert after["mpsnr"] == pytest.approx(result.after["mpsnr"], abs=1e-3)


def test_measured_for_real_every_layer_has_a_verdict(network, tiles, evaluate, tmp_path):
    """What gets faster here is this machine's business; that all is said is ours."""
    path = tmp_path / "int8.onnx"
    result = quantize(
        network,
        path,
        tiles,
        target="cpu",
        quality=loose(evaluate),
        speed=Speed(seconds=0),
    )
    assert sorted(n for g in result.groups for n in g.layers) == sorted(
        layer.name for layer in result.layers if "interpolates" not in layer.reason
    )
    assert (result.path is None) == (not path.exists()) == (not result.quantised)


def test_the_worst_layers_are_left_out_until_the_limit_holds(
    network, tiles, evaluate, tmp_path, for_tensorrt
):
    limit = for_tensorrt.drop.psnr / 2
    path = tmp_path / "int8.onnx"
    result = quantize(
        network, path, tiles, target="tensorrt", quality=Quality(evaluate, limit, 9.0),
    )  # fmt: skip
    assert 0 < len(result.quantised) < 4
    assert result.drop.psnr <= limit
    ranked = [layer for layer in result.layers if layer.alone is not None]
    assert len(ranked) == 4
    inside = [layer.alone.psnr for layer in ranked if layer.precision == "int8"]
    outside = [layer.alone.psnr for layer in ranked if layer.precision == "fp32"]
    assert max(inside) <= min(outside)
    assert all("left out" in layer.reason for layer in ranked if layer.precision == "fp32")
    assert [layer for layer in result.layers if layer.left_out] == [
        layer for layer in ranked if layer.precision == "fp32"
    ]


def test_the_upper_end_of_an_interval_is_held_against_the_limit(
    network, tiles, evaluate, tmp_path, for_tensorrt
):
    """The mean holds with every layer; the interval reaches half a limit further."""
    limit = 1.2 * for_tensorrt.drop.psnr

    def by_block(candidate):
        found = evaluate(candidate)
        return {"mpsnr": found["mpsnr"] + np.arange(3.0), "sam": found["sam"] + np.arange(3.0)}

    def wide(losses):
        return float(losses.mean() - limit / 2), float(losses.mean() + limit / 2)

    def quantised(interval):
        quality = Quality(by_block, limit, 9.0, interval)
        path = tmp_path / "int8.onnx"
        return quantize(network, path, tiles, target="tensorrt", quality=quality)

    mean = quantised(None)
    assert len(mean.quantised) == 4
    assert mean.drop.psnr_interval is None
    assert mean.after["mpsnr"] == pytest.approx(for_tensorrt.after["mpsnr"] + 1)
    held = quantised(wide)
    assert 0 < len(held.quantised) < 4
    assert held.drop.psnr_interval[1] <= limit
    assert held.drop.psnr_interval == pytest.approx(
        (held.drop.psnr - limit / 2, held.drop.psnr + limit / 2)
    )
    assert any("at worst" in layer.reason for layer in held.layers)


def test_a_reference_takes_the_place_of_the_float_network(network, tiles, evaluate, tmp_path):
    reference = {"mpsnr": 50.0, "sam": 0.0}
    result = quantize(
        network, tmp_path / "int8.onnx", tiles, target="tensorrt",
        quality=Quality(evaluate, 99.0, 99.0, reference=reference),
    )  # fmt: skip
    assert result.before == reference
    assert result.drop.psnr == pytest.approx(50.0 - result.after["mpsnr"])
    assert result.drop.sam == pytest.approx(result.after["sam"])


def test_a_limit_that_every_layer_breaks_is_answered_honestly(network, tiles, tmp_path):
    first = []

    def strict(candidate):
        """Float is perfect; anything else is not."""
        image = np.random.default_rng(0).random((1, 6, 8, 8), dtype=np.float32)
        first.append(candidate(image))
        return {"mpsnr": 40.0 - np.abs(first[-1] - first[0]).max(), "sam": 1.0}

    path = tmp_path / "int8.onnx"
    result = quantize(network, path, tiles, target="tensorrt", quality=Quality(strict, 0, 0))
    assert result.path is None
    assert not any(tmp_path.iterdir())
    assert result.quantised == ()
    assert result.before == result.after
    assert "none quantised" in result.summary()


def test_layers_are_kept_on_request(network, tiles, evaluate, tmp_path, for_tensorrt):
    name = for_tensorrt.quantised[0]
    result = quantize(
        network, tmp_path / "int8.onnx", tiles, target="tensorrt", keep=[name],
        quality=loose(evaluate),
    )  # fmt: skip
    kept = {layer.name: layer.reason for layer in result.layers if layer.precision == "fp32"}
    assert kept[name] == "asked for"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tpu"}, "one of cpu, openvino, tensorrt"),
        ({"keep": ["nowhere"]}, "has no layer nowhere"),
        ({"quality": {"max_sam_drop": -1.0}}, "max_sam_drop is a number from 0, got -1"),
        ({"speed": Speed(seconds=-1)}, "from 0 seconds"),
        ({"tiles": []}, "no calibration tile"),
        ({"path": "nowhere/int8.onnx"}, "is no folder"),
        (
            {"quality": {"evaluate": lambda _: {"mpsnr": math.nan, "sam": 1.0}}},
            "finite number",
        ),
    ],
)
def test_bad_options_are_one_clear_line(network, tiles, evaluate, tmp_path, options, message):
    given = {"path": "int8.onnx", "target": "tensorrt", **options}
    given["quality"] = replace(loose(evaluate), **given.get("quality", {}))
    path = tmp_path / given.pop("path")
    with pytest.raises(ExportError, match=message):
        quantize(network, path, given.pop("tiles", tiles), **given)
    assert not any(tmp_path.iterdir())
