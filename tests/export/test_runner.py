"""Every runtime that is here gives the same answer through the same interface."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from edgesr_export import runtime
from edgesr_export.errors import ExportError
from edgesr_export.onnx import export_onnx
from edgesr_export.runner import available_runtimes, open_runner
from torch import nn

IMAGE = np.random.default_rng(0).random((2, 5, 9, 7), dtype=np.float32)
TOLERANCES = dict.fromkeys(available_runtimes(), 1e-5) | {"openvino-bf16": 3e-2}
HERE = [name for name, problem in available_runtimes().items() if not problem]


@pytest.fixture(scope="module")
def path(tiny, tmp_path_factory):
    return export_onnx(tiny, torch.rand(1, 5, 8, 8), tmp_path_factory.mktemp("net") / "net.onnx")


@pytest.fixture(scope="module")
def truth(tiny):
    with torch.inference_mode():
        return tiny.eval()(torch.from_numpy(IMAGE)).numpy()


@pytest.mark.parametrize("name", [name for name in HERE if name != "tensorrt"])
def test_what_is_here_answers_alike(tiny, path, truth, name):
    run = open_runner(tiny if name.startswith("torch") else path, name, threads=2)
    answer = run(IMAGE)
    np.testing.assert_allclose(answer, truth, atol=TOLERANCES[name])
    assert (run.device == "cpu") == (name in ("torch", "onnxruntime", "openvino", "openvino-bf16"))
    assert run.threads == 2
    assert run.name.lower().replace(" ", "").startswith(name.split("-")[0])
    run(np.zeros_like(IMAGE))
    np.testing.assert_allclose(answer, truth, atol=TOLERANCES[name])  # not overwritten


def test_what_a_cpu_needs_is_here():
    assert {"torch", "onnxruntime"} <= set(HERE)
    reasons = [problem for problem in available_runtimes().values() if problem]
    assert all(len(problem) > 20 and "\n" not in problem for problem in reasons)


def test_a_module_is_left_as_it_is():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5)).double().train()
    threads = torch.get_num_threads()
    run = open_runner(module, "torch", threads=threads + 1)
    image = np.ones((1, 3, 4, 4), np.float32)
    assert run(image).dtype == np.float64
    np.testing.assert_array_equal(run(image), run(image))  # no dropout
    assert module.training
    assert torch.get_num_threads() == threads
    assert torch.backends.cudnn.enabled
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].bias.zero_()
    assert np.abs(run(image)).max() > 0  # a copy


def test_complex_weights_leave_the_image_real():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.turn = nn.Parameter(torch.polar(torch.ones(5), torch.linspace(0, 1, 5)))
            self.mix = nn.Conv2d(5, 5, 1)

        def forward(self, x):
            return self.mix((x * self.turn.view(1, 5, 1, 1)).real)

    module = Turned()
    with torch.inference_mode():
        expected = module(torch.from_numpy(IMAGE)).numpy()
    np.testing.assert_allclose(open_runner(module, "torch")(IMAGE), expected, atol=1e-6)


def test_a_provider_that_onnx_runtime_leaves_out_is_an_error(path, monkeypatch):
    """As where onnxruntime-gpu is installed without CUDA: it warns and runs on the CPU."""
    if not any("no cuda provider" in problem for problem in available_runtimes().values()):
        pytest.skip("this ONNX Runtime has CUDA")
    monkeypatch.setattr(runtime, "missing_provider", lambda name: "")
    monkeypatch.setattr("edgesr_export.tensorrt.cuda.find_device", lambda: "a device")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
            with pytest.raises(ExportError, match=r"left its \w+ provider out .*; install") as e:
                open_runner(path, name)
            assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("net.onnx", "tensorflow", r"a runtime is one of torch, .*, got 'tensorflow'"),
        ("net.onnx", "torch", r"torch runs a torch module and was given the file net\.onnx"),
        ("net.onnx", "tensorrt", r"runs a file \*\.engine .* build it with edgesr engine"),
        (nn.ReLU(), "onnxruntime", r"runs a file \*\.onnx and was given ReLU; export"),
        ("absent.onnx", "onnxruntime", r"absent\.onnx does not exist"),
        ("absent.onnx", "openvino", r"absent\.onnx does not exist"),
    ],
)
def test_what_cannot_be_opened_is_one_line(source, name, message):
    with pytest.raises(ExportError, match=message) as caught:
        open_runner(source, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["torch-cuda", "onnxruntime-cuda", "tensorrt"])
def test_without_a_gpu_it_is_told_why(path, name, monkeypatch):
    monkeypatch.setattr("edgesr_export.tensorrt.cuda.find_device", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    source = {"torch-cuda": nn.ReLU(), "tensorrt": "net.engine"}.get(name, path)
    with pytest.raises(ExportError, match=rf"{name} cannot run here: .+"):
        open_runner(source, name)


def test_a_runtime_that_is_not_installed_is_named(monkeypatch, path):
    monkeypatch.setattr("edgesr_export.targets._base.find_spec", lambda name: None)
    with pytest.raises(ExportError, match="openvino is not installed; pip install openvino"):
        open_runner(path, "openvino")


def test_a_size_that_the_network_refuses_is_one_line(path):
    for run in (open_runner(nn.Conv2d(5, 5, 3), "torch"), open_runner(path, "onnxruntime")):
        with pytest.raises(ExportError, match=r"\(1, 4, 8, 8\)") as caught:
            run(np.zeros((1, 4, 8, 8), np.float32))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino"])
def test_no_thread_is_refused(path, name):
    pytest.importorskip(name)
    with pytest.raises(ExportError, match="at least 1 thread"):
        open_runner(nn.ReLU() if name == "torch" else path, name, threads=0)


def test_files_run_without_torch(path):
    program = (
        "import sys; sys.modules['torch'] = None; import numpy\n"
        "from edgesr_export.runner import open_runner\n"
        f"run = open_runner({str(path)!r}, 'onnxruntime')\n"
        "assert run(numpy.zeros((1, 5, 4, 4), 'f4')).shape == (1, 5, 8, 8)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
