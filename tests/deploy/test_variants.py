"""A file for every target and precision: which are made, and whether they equal the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.runtime import session

from edgesr.deploy import Limits, VariantBuilder, calibration_tiles, on_budget
from edgesr.deploy.variants import NONE_WITHIN
from edgesr.evaluation.interval import bootstrap_interval
from edgesr.loading.workload import SceneOptions, load_workload


def names(made):
    return [(model.target, model.precision) for model in made]


def test_every_target_and_precision_is_made_and_agrees(subject, builder):
    made, absent = builder().make_all(subject.source, ["cpu", "tensorrt"], ["fp32", "fp16"])
    assert absent == []
    assert names(made) == [
        ("cpu", "fp32"),
        ("cpu", "fp16"),
        ("tensorrt", "fp32"),
        ("tensorrt", "fp16"),
    ]
    expected = subject.answer()
    for model in made:
        tolerance = 1e-5 if model.precision == "fp32" else 5e-3
        found = session(model.path)(subject.tile.numpy())
        np.testing.assert_allclose(found, expected, atol=tolerance)
        assert model.links
        assert model.links[0]["difference"] <= 1e-5
        assert set(model.counts) == ({"fp16"} if model.precision == "fp16" else set())
        kinds = {t.data_type for t in onnx.load(model.path).graph.initializer}
        assert (onnx.TensorProto.FLOAT16 in kinds) == (model.precision == "fp16")


def test_int8_is_counted_layer_by_layer(subject, builder):
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    model = builder(psnr=5, sam=5).make(subject.source, "tensorrt", "int8")
    assert model.counts["int8"] > 0
    assert sum(model.counts.values()) == len(model.layers)
    assert all(layer["reason"] for layer in model.layers)
    drop = model.validation["drop"]["mpsnr"]
    assert drop == pytest.approx(
        model.validation["before"]["mpsnr"] - model.validation["after"]["mpsnr"]
    )
    run = session(model.path)
    measured = builder().evaluate(run)
    assert measured["mpsnr"].mean() == pytest.approx(model.validation["after"]["mpsnr"], abs=1e-3)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(model.path).graph.node}


def test_int8_keeps_to_the_limits_at_the_upper_ends_of_its_intervals(subject, materials):
    """On a scene with six budget blocks, each measured here anew."""
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    np.save("large.npy", np.tile(np.load(materials.cube), (2, 2, 1)))
    options = SceneOptions("large.npy", patch=16)
    scene = load_workload(options, "small_networks:bilinear", materials.bilinear).scene
    assert len(scene.budget) == 6

    def quantised(*limits: float):
        image = subject.tile.numpy()
        builder = VariantBuilder(
            Path(), calibration_tiles(scene), on_budget(scene), Limits(*limits), 1, image
        )
        return builder.make(subject.source, "tensorrt", "int8")

    everything = quantised(5, 5)
    losses = budget_psnr(subject.source, scene) - budget_psnr(everything.path, scene)
    found = everything.validation
    assert found["drop"]["mpsnr"] == pytest.approx(losses.mean(), abs=1e-5)
    assert found["mpsnr_interval"] == pytest.approx(bootstrap_interval(losses), abs=1e-5)
    low, high = found["sam_interval"]
    assert low < found["drop"]["sam"] < high
    between = (found["drop"]["sam"] + high) / 2
    assert quantised(5, between, 0).counts == everything.counts
    assert quantised(5, between, 0).validation["sam_interval"] is None
    held = quantised(5, between)
    layers = 0 if held is None else held.counts["int8"]
    assert layers < everything.counts["int8"]
    assert not layers or held.validation["sam_interval"][1] <= between


def budget_psnr(path, scene) -> np.ndarray:
    """[windows, bands] in dB, of a file in ONNX Runtime."""
    network, found = session(path), []
    for sample in scene.samples("budget"):
        sr = network(sample.lr[None].numpy())[0].clip(0, 1)[(..., *sample.place)]
        error = (sr.astype(np.float64) - sample.hr.double().numpy()) ** 2
        found.append(-10 * np.log10(error.mean((1, 2))))
    return np.stack(found)


def test_limits_that_nothing_holds_leave_no_file(subject, builder):
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    made, absent = builder(psnr=0, sam=0).make_all(subject.source, ["tensorrt"], ["int8"])
    if made:  # rounding may have been in the network's favour
        assert made[0].validation["drop"]["mpsnr"] <= 0
    else:
        assert [(one.what, one.why) for one in absent] == [("int8 for tensorrt", NONE_WITHIN)]
        assert not list(subject.source.parent.glob("models/*"))


@pytest.mark.parametrize(
    ("target", "precision", "package", "extra"),
    [("openvino", "fp32", "openvino", "openvino"), ("tensorrt", "int8", "nncf", "int8")],
)
def test_what_is_not_installed_is_absent_with_advice(
    subject, builder, monkeypatch, target, precision, package, extra
):
    monkeypatch.setattr("edgesr_export.targets._base.find_spec", lambda name: None)
    made, absent = builder().make_all(subject.source, [target], [precision])
    assert made == []
    assert absent[0].what == f"{precision} for {target}"
    assert package in absent[0].why
    assert f"edgesr[{extra}]" in absent[0].why


def test_a_link_beyond_its_tolerance_fails(subject, builder, monkeypatch):
    monkeypatch.setattr("edgesr_export.chain.HALF_TOLERANCE", 0.0)
    with pytest.raises(ExportError, match="float16"):
        builder().make(subject.source, "cpu", "fp16")
