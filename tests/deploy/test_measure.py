"""The table: every row against the network itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edgesr_export.runtime import session

from edgesr.deploy import Conditions, Truth, baselines, measure_models, ratios
from edgesr.deploy.baselines import PLAIN, REWRITTEN, export_baselines, open_baselines
from edgesr.deploy.engines import Engine
from edgesr.evaluation.evaluate import evaluate
from edgesr.evaluation.latency import Timing
from edgesr.surgery import require_sites, walk
from edgesr.surgery.candidates import prepare

ONNX_RUNTIME, TENSORRT = "ONNX Runtime, CPU", "TensorRT"


@pytest.fixture
def table(subject, builder):
    made, _ = builder().make_all(subject.source, ["cpu", "tensorrt"], ["fp32"])
    engine = Engine("engine", "models/tensorrt-fp32.onnx", "fp32", "", "8.6", 1, 0.0, {})
    calls = []

    class Baseline:
        name = "uncompressed"

        @staticmethod
        def network(image):
            calls.append(image.shape)

    rows, timings = measure_models(
        Path(),
        made,
        [engine],
        Truth(subject.network, subject.scene, [subject.tile]),
        Conditions(subject.tile.numpy(), threads=1, repeats=3),
        [Baseline],
    )
    return rows, timings, calls


def test_a_row_has_the_network_s_quality_and_its_file(subject, table):
    rows, _, _ = table
    expected = evaluate(subject.network, subject.scene)
    for row in rows:
        assert row["metrics"] == pytest.approx(expected, rel=1e-3)
        assert row["max_abs_difference"] < 1e-5
        assert row["bytes"] == Path(row["path"]).stat().st_size
        assert row["metrics_runtime"] == ONNX_RUNTIME


def test_only_what_ran_has_a_time(table):
    rows, timings, calls = table
    by_runtime = {row["runtime"]: row for row in rows}
    assert by_runtime[ONNX_RUNTIME]["latency_ms"]["median"] > 0
    assert by_runtime[ONNX_RUNTIME]["why_not_timed"] is None
    assert by_runtime[TENSORRT]["latency_ms"] is None
    assert "GPU" in by_runtime[TENSORRT]["why_not_timed"]
    assert timings["uncompressed"].repeats == 3
    assert len(calls) > 3  # the rounds that warm up, too


def test_ratios_are_quotients():
    timings = {
        name: _timing(milliseconds) for name, milliseconds in (("slow", 30.0), ("fast", 4.0))
    }
    (found,) = ratios({"both": ("slow", "fast")}, timings)
    assert found == {
        "name": "both", "from": "slow", "from_ms": 30.0, "to": "fast", "to_ms": 4.0, "ratio": 7.5,
        "interval": [7.5, 7.5],
    }  # fmt: skip


def _timing(milliseconds: float) -> Timing:
    return Timing(milliseconds, milliseconds, milliseconds, 8, (milliseconds,) * 8)


def test_rivals_are_the_network_itself(subject, plain_export, tmp_path):
    files = export_baselines({"teacher": subject.network}, subject.tile, tmp_path)
    assert list(files) == [f"teacher {PLAIN}", f"teacher {REWRITTEN}"]
    baselines = open_baselines(files, 1, subject.tile.shape)
    for baseline in baselines:
        answer = baseline.network(subject.tile.numpy())
        tolerance = 1e-5 if "bf16" not in baseline.name else 3e-2
        assert abs(answer - subject.answer()).max() < tolerance


@pytest.mark.parametrize(("method", "exports"), [("grouped", 1), ("lowrank", 2)])
def test_a_network_of_the_same_graph_is_not_exported_again(
    subject, plain_export, tmp_path, monkeypatch, method, exports
):
    network, sites = subject.network, require_sites(subject.network, subject.tile)
    smallest = [*walk(sites, 1, [method])][-1]
    other, _ = smallest.perform(network, sites, prepare(network, sites, [method]))
    exported = []
    export = baselines.export_with_fallbacks

    def counted(module, *arguments, **options):
        exported.append(module)
        return export(module, *arguments, **options)

    monkeypatch.setattr(baselines, "export_with_fallbacks", counted)
    files = export_baselines({"teacher": network, "other": other}, subject.tile, tmp_path)
    assert exported == [network, other][:exports]
    with torch.no_grad():
        right = other(subject.tile).numpy()
    for form in (PLAIN, REWRITTEN):
        answer = session(files[f"other {form}"])(subject.tile.numpy())
        np.testing.assert_allclose(answer, right, atol=1e-5)


def test_an_added_target_is_made_and_has_its_line(subject, builder, numpy_target):
    made, absent = builder().make_all(subject.source, ["cpu", numpy_target], ["fp32", "int8"])
    assert [one.what for one in absent if numpy_target in one.what] == []
    assert [one.precision for one in made if one.target == numpy_target] == ["fp32"]
    rows, _ = measure_models(
        Path(),
        made,
        [],
        Truth(subject.network, subject.scene, [subject.tile]),
        Conditions(subject.tile.numpy(), threads=1, repeats=1),
    )
    (row,) = (one for one in rows if one["target"] == numpy_target)
    assert (row["runtime"], row["metrics_runtime"]) == ("ONNX reference", "ONNX reference")
    assert row["metrics"] == pytest.approx(evaluate(subject.network, subject.scene), rel=1e-3)
    assert row["latency_ms"]["median"] > 0


def test_baselines_do_without_a_target_that_is_not_there(
    subject, plain_export, tmp_path, without_openvino
):
    files = export_baselines({"teacher": subject.network}, subject.tile, tmp_path)
    names = [one.name for one in open_baselines(files, 1, subject.tile.shape)]
    assert names == [f"teacher {PLAIN}", f"teacher {REWRITTEN}"]
