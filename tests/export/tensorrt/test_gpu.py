"""What a GPU alone can show: engines run, agree with ONNX Runtime, and how fast they are.

One command, unattended::

    make gpu

Latencies are printed and, with EDGESR_GPU_RESULTS=FILE, written there as JSON.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.profile.tensorrt import tensorrt_profile
from edgesr_export.runtime import session
from edgesr_export.tensorrt import (
    Runner,
    Settings,
    StaleEngineError,
    available,
    build,
    check_engine,
    side_path,
)
from edgesr_export.tensorrt.api import capability_text, find_api
from edgesr_export.tensorrt.cuda import find_cuda, find_device

pytestmark = pytest.mark.gpu

PROFILE = {"input": ((1, 32, 8, 8), (1, 32, 16, 16), (2, 32, 64, 64))}
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}
"""Largest difference to ONNX Runtime on the same file, for outputs of about 1."""

RUNS = 200
CASES = [
    *((name, kind) for name in ("lkca_net", "lowrank", "grouped") for kind in TOLERANCES),
    ("dacn", "fp32"),
    ("dacn", "fp16"),
    ("grouped", "int8_fp16"),
]


@pytest.fixture(scope="module")
def device():
    found = find_device()
    if found is None:
        pytest.skip("no CUDA device here")
    if not available():
        pytest.skip("no TensorRT here: install the extra 'tensorrt'")
    library = find_api()
    if library.capabilities and found.capability not in library.capabilities:
        here = capability_text(found.capability)
        pytest.skip(f"{library.name} {library.version} does not build for {found.name} ({here})")
    return found


@pytest.fixture(scope="module")
def engines(device, files, tmp_path_factory):
    """Builds each engine once."""
    folder = tmp_path_factory.mktemp("engines")

    def built(name, precision):
        engine = folder / f"{name}.{precision}.engine"
        if not engine.exists():
            build(
                files(name, precision),
                engine,
                expect=precision.split("_")[0],
                profile=PROFILE if name == "lkca_net" else None,
                settings=Settings(timing_cache=folder / "timings"),
            )
        return engine

    return built


@pytest.fixture(scope="module")
def results(device):
    """Latencies in ms, by network and precision; written at the end."""
    found = {}
    yield found
    text = json.dumps({"gpu": device.name, "capability": device.capability, "ms": found}, indent=1)
    print(f"\n{text}")
    if target := os.environ.get("EDGESR_GPU_RESULTS"):
        Path(target).write_text(text + "\n")


def image(shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def shapes(name):
    fixed = [(1, 32, 16, 16)]
    return [*fixed, (2, 32, 64, 64), (1, 32, 8, 31), *fixed] if name == "lkca_net" else fixed


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize(("name", "precision"), CASES)
def test_an_engine_agrees_with_onnx_runtime(engines, files, name, precision, cuda_graph):
    source = files(name, precision)
    reference = session(source)
    tolerance = TOLERANCES[precision.split("_")[0]]
    with Runner(engines(name, precision), onnx=source, cuda_graph=cuda_graph) as runner:
        for seed, shape in enumerate(shapes(name)):
            x = image(shape, seed)
            for special in (x, np.zeros_like(x), np.ones_like(x), np.round(x)):
                wanted = reference(special)
                scale = max(1.0, float(np.abs(wanted).max()))
                assert np.abs(runner(special) - wanted).max() < tolerance * scale


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_the_engine_inspector_confirms_the_precision(engines, device, name, precision):
    side = check_engine(engines(name, precision))
    assert side.precision_source == "engine inspector"
    assert side.gpu == device.name
    assert all(both["asked"] == both["obtained"] for both in side.precision.values())


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_latency_with_transfers_and_without(engines, results, name, precision):
    for cuda_graph in (False, True):
        with Runner(engines(name, precision), cuda_graph=cuda_graph) as runner:
            feeds = {"input": image((1, 32, 16, 16))}
            runner.run(feeds)

            def alone(runner=runner):
                runner.launch()
                runner.wait()

            def whole(runner=runner, feeds=feeds):
                runner.run(feeds)

            for what, action in (("network", alone), ("with transfers", whole)):
                key = f"{name} {precision} {what}{' in a graph' if cuda_graph else ''}"
                results[key] = percentiles(action)
                assert 0 < results[key]["median"] <= results[key]["p99"]


def percentiles(action):
    times = []
    for _ in range(RUNS + 20):
        began = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - began))
    median, p95, p99 = np.percentile(times[20:], [50, 95, 99])
    return {"median": median, "p95": p95, "p99": p99}


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_every_layer_is_profiled(engines, files, name, precision):
    source = files(name, precision)
    found = tensorrt_profile(engines(name, precision), source, image((1, 32, 16, 16)))
    assert found.runs == 20
    assert found.memory_bytes is not None
    assert 0 < found.sum_ms < 100 * found.whole_ms
    assert any(layer.nodes for layer in found.layers)
    assert {layer.precision for layer in found.layers} & set(TOLERANCES)


def test_a_tile_outside_the_profile_is_refused(engines):
    with Runner(engines("lkca_net", "fp16")) as runner:
        with pytest.raises(ExportError, match="build with a wider profile"):
            runner(image((1, 32, 65, 8)))
        assert runner(image((1, 32, 64, 8))).shape == (1, 32, 256, 32)


def test_an_engine_for_another_gpu_is_told_before_it_is_loaded(engines, tmp_path):
    source = engines("grouped", "fp16")
    engine = tmp_path / source.name
    engine.write_bytes(source.read_bytes())
    side = json.loads(side_path(source).read_text())
    side_path(engine).write_text(json.dumps({**side, "compute_capability": "5.3"}))
    with pytest.raises(StaleEngineError, match=r"built for compute capability 5\.3"):
        Runner(engine)


def test_a_closed_runner_gives_its_memory_back(engines):
    cuda = find_cuda()
    Runner(engines("lkca_net", "fp16")).close()  # what the library keeps for the process
    before = cuda.device().free
    for _ in range(3):
        with Runner(engines("lkca_net", "fp16"), cuda_graph=True) as runner:
            runner(image((2, 32, 64, 64)))
    assert before - cuda.device().free < 64 * 2**20
