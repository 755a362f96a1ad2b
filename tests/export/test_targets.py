"""Targets: light to list, whole when one is added, and whole when one is taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from edgesr_export.chain import convert, recorded_links
from edgesr_export.errors import ExportError
from edgesr_export.int8.scheme import Range
from edgesr_export.onnx import export_onnx
from edgesr_export.runner import available_runtimes, open_runner
from edgesr_export.targets import ALWAYS, TARGETS, Runtime, Target, find_target, register, runtimes
from edgesr_export.targets._base import opened_later

IMAGE = np.random.default_rng(0).random((1, 5, 8, 6), dtype=np.float32)


@pytest.fixture(scope="module")
def source(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("targets") / "net.onnx"
    return export_onnx(tiny, torch.rand(1, 5, 8, 8), path, rewrite=False)


def test_names_and_what_is_declared_need_no_runtime():
    program = (
        "import sys\n"
        "from edgesr_export.targets import TARGETS, runtimes\n"
        "print(*TARGETS, *(t.precisions for t in TARGETS.load().values()), *runtimes())\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxscript', 'onnxruntime', 'openvino', 'nncf'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cpu openvino tensorrt ")


@pytest.mark.parametrize("target", TARGETS.load().values(), ids=lambda target: target.name)
def test_every_target_says_what_the_others_say(target):
    assert target.label
    assert "fp32" in target.precisions
    assert all(TARGETS[runtime.target] is target for runtime in target.runtimes)
    assert all(rule.description for rule in target.rules)
    if "int8" in target.precisions:
        scale, zero = target.scheme.affine(Range(-1.0, 1.0))
        assert float(scale) == pytest.approx(2 / 255, rel=0.01)
        assert zero in (0, 127, 128)


def test_the_one_that_is_always_made_is_there():
    assert ALWAYS in TARGETS
    assert TARGETS[ALWAYS].by_default


def test_a_file_for_an_added_target_is_compared_on_its_runtime(numpy_target, source, tmp_path):
    result = convert(source, tmp_path / "out.onnx", target=numpy_target, precision="fp16")
    assert [link.name for link in result.links] == ["exact rewrites", "float16", "ONNX reference"]
    assert recorded_links(result.path) == list(result.links)
    assert all(link.difference <= link.tolerance for link in result.links)
    own, usual = (open_runner(result.path, name) for name in ("numpy", "onnxruntime"))
    np.testing.assert_allclose(own(IMAGE), usual(IMAGE), atol=2e-2)
    assert available_runtimes()["numpy"] == ""
    with pytest.raises(ExportError, match=r"numpy runs a file \*\.onnx and was given net\.engine"):
        open_runner("net.engine", "numpy")


def test_an_added_target_that_computes_something_else_gets_no_file(
    numpy_target, source, tmp_path, monkeypatch
):
    own = TARGETS[numpy_target]
    runner = sys.modules[type(own).__module__].ReferenceRunner
    answer = runner.__call__
    monkeypatch.setattr(runner, "__call__", lambda self, image: 1.01 * answer(self, image))
    with pytest.raises(ExportError, match="ONNX reference moves the output by"):
        convert(source, tmp_path / "out.onnx", target=numpy_target)
    assert list(tmp_path.iterdir()) == []


def test_a_target_whose_runtime_is_not_here_is_made_and_the_lack_noted(
    numpy_target, source, tmp_path, monkeypatch
):
    own = type(TARGETS[numpy_target])
    lacking = Runtime("numpy", lambda *_: None, lambda: "numpy has left", own.name)
    monkeypatch.setattr(own, "runtimes", (lacking,))
    result = convert(source, tmp_path / "out.onnx", target=numpy_target)
    assert result.notes == ("not run on ONNX reference: numpy has left",)
    (row,) = own().measured(result.path, "fp32", engine=None, threads=1, shape=IMAGE.shape)
    assert (row.timed, row.why_not_timed) == (None, "numpy has left")
    assert row.judged_by == "ONNX Runtime, CPU"
    np.testing.assert_allclose(
        row.judge(IMAGE), open_runner(source, "onnxruntime")(IMAGE), atol=1e-5
    )
    with pytest.raises(ExportError, match="cannot run on ONNX reference: numpy has left"):
        own().open(result.path)


def test_what_it_does_not_have_is_said(numpy_target, source, tmp_path):
    own = TARGETS[numpy_target]
    with pytest.raises(ExportError, match="the target numpy has no int8"):
        own.scheme  # noqa: B018
    with pytest.raises(ExportError, match="the target numpy has no profiler"):
        own.profile(source, "fp32", IMAGE)


def test_no_file_for_openvino_is_written_unseen_by_it(source, tmp_path, monkeypatch):
    """Where it is not installed."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match="needs OpenVINO, which cannot be imported"):
        convert(source, tmp_path / "out.onnx", target="openvino")
    assert list(tmp_path.iterdir()) == []


def test_without_openvino_the_rest_works(without_openvino, source, tmp_path):
    assert list(TARGETS) == ["cpu", "tensorrt"]
    assert not any(name.startswith("openvino") for name in available_runtimes())
    with pytest.raises(ExportError, match="a target is one of cpu, tensorrt, got 'openvino'"):
        convert(source, tmp_path / "out.onnx", target="openvino")
    with pytest.raises(ExportError, match=r"a runtime is one of torch, .*, got 'openvino'"):
        open_runner(source, "openvino")
    for name in TARGETS:
        assert convert(source, tmp_path / f"{name}.onnx", target=name).links


def test_names_are_given_once_and_precisions_are_known(kept):
    kept(TARGETS)

    class Odd(Target):
        name, label = "odd", "Odd"
        precisions = ("fp32", "fp4")

    with pytest.raises(ExportError, match="the target odd names fp4"):
        register(Odd)
    with pytest.raises(ExportError, match="a target named 'cpu' is registered already"):
        register(type("Cpu", (Target,), {"name": "cpu", "label": ""}))

    @register
    class Twice(Target):
        name, label = "twice", "Twice"
        runtimes = (Runtime("onnxruntime", lambda *_: None, lambda: "", "twice"),)

    with pytest.raises(ExportError, match="cpu and twice both declare a runtime onnxruntime"):
        runtimes()


@pytest.mark.parametrize("capability", ["fast", "0", "8.", "8.65.1"])
def test_what_is_no_compute_capability_is_refused_with_or_without_a_builder(capability):
    with pytest.raises(ExportError, match=r"looks like 8\.6 or SM86"):
        find_target("tensorrt").check_capability(capability)
    find_target("cpu").check_capability(capability)  # nothing is built for it


def test_a_gpu_that_the_builder_here_does_not_know_is_refused():
    target = find_target("tensorrt")
    if target.cannot_build():
        pytest.skip("no TensorRT is here")
    for known in ("8.6", "sm_89", "SM86"):
        target.check_capability(known)
    for unknown in ("9.9", "5.3"):
        with pytest.raises(
            ExportError, match=rf"does not build for .*{unknown}; it does for|alone"
        ):
            target.check_capability(unknown)


def test_an_unknown_target_is_refused():
    with pytest.raises(ExportError, match="one of cpu, openvino, tensorrt, got 'tpu'"):
        find_target("tpu")


def test_what_may_never_be_called_is_opened_at_its_first_call():
    opened = []

    def opens():
        opened.append(1)
        return np.negative

    network = opened_later(opens)
    assert not opened
    for _ in range(2):
        np.testing.assert_array_equal(network(IMAGE), -IMAGE)
    assert len(opened) == 1
