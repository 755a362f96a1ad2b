from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.onnx import export_onnx
from edgesr_export.openvino import openvino_session
from edgesr_export.runtime import session

openvino = pytest.importorskip("openvino")
IMAGE = np.random.default_rng(0).random((2, 5, 9, 7), dtype=np.float32)


@pytest.fixture(scope="module")
def path(tiny, tmp_path_factory):
    import torch

    return export_onnx(tiny, torch.rand(1, 5, 8, 8), tmp_path_factory.mktemp("ov") / "tiny.onnx")


def test_it_answers_as_onnx_runtime_at_any_size(path):
    run = openvino_session(path)
    for image in (IMAGE, IMAGE[:1, :, :5]):
        np.testing.assert_allclose(run(image), session(path)(image), atol=1e-5)


def test_an_answer_is_not_overwritten_by_the_next(path):
    run = openvino_session(path)
    answers = [run(IMAGE * level) for level in np.linspace(0, 1, 6, dtype=np.float32)]
    expected = [session(path)(IMAGE * level) for level in np.linspace(0, 1, 6, dtype=np.float32)]
    for answer, right in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, right, atol=1e-5)


def test_sizes_may_change_between_calls(path):
    run = openvino_session(path)
    for image in (IMAGE, IMAGE, IMAGE[:, :, :6], IMAGE[:, :, :6], IMAGE[:1], IMAGE, IMAGE):
        np.testing.assert_allclose(run(image), session(path)(image), atol=1e-5)


def test_a_fixed_shape_answers_the_same_and_takes_no_other(path):
    run = openvino_session(path, shape=IMAGE.shape)
    np.testing.assert_allclose(run(IMAGE), session(path)(IMAGE), atol=1e-5)
    with pytest.raises(ExportError, match=r"OpenVINO failed on \(1, 5, 9, 7\)"):
        run(IMAGE[:1])
    with pytest.raises(ExportError, match="OpenVINO cannot load"):
        openvino_session(path, shape=(1, 3, 9, 7))


def test_bfloat16_rounds_where_the_cpu_has_it(path):
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ExportError, match="choose float32"):
            openvino_session(path, precision="bfloat16")
        return
    difference = np.abs(openvino_session(path, precision="bfloat16")(IMAGE) - session(path)(IMAGE))
    assert 1e-6 < difference.max() < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "float32 or bfloat16, got 'float16'"),
        ({"threads": 0}, "at least 1 thread is needed, got 0"),
    ],
)
def test_bad_options_are_refused(path, options, message):
    with pytest.raises(ExportError, match=message):
        openvino_session(path, **options)


def test_files_that_it_cannot_run_are_refused(tmp_path, path):
    with pytest.raises(ExportError, match="does not exist"):
        openvino_session(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(ExportError, match="OpenVINO cannot load"):
        openvino_session(broken)
    with pytest.raises(ExportError, match=r"OpenVINO failed on \(1, 3, 4, 4\)"):
        openvino_session(path)(np.zeros((1, 3, 4, 4), np.float32))


def test_its_absence_is_told_with_the_way_out(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match="install the extra 'openvino'"):
        openvino_session(path)


def test_ctrl_c_is_no_fault_after_sessions_that_have_ended(path):
    finished = subprocess.run([sys.executable, "-c", INTERRUPTED, path], timeout=120, check=False)
    assert finished.returncode == 3


INTERRUPTED = """
import faulthandler, signal, sys
from edgesr_export.openvino import openvino_session

faulthandler.enable()  # as pytest does
signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
sessions = [openvino_session(sys.argv[1]) for _ in range(2)]
del sessions[0]
del sessions[0]
signal.raise_signal(signal.SIGINT)
"""
