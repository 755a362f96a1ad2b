"""Control flow of TensorRT 8.2 to 11.4 on stand-ins that compute for real; see jetson_fakes."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from edgesr_jetson.board import cuda
from edgesr_jetson.board import trt as trt_module
from edgesr_jetson.board.contents import open_bundle, read_manifest
from edgesr_jetson.board.cuda import Cuda
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.hashes import verify
from edgesr_jetson.board.main import main
from edgesr_jetson.board.precision import layer_precisions, missing
from jetson_fakes import BANDS, FakeDriver, fake_tensorrt

QUICK = ["--repeats", "2", "--warmup", "1", "--duration", "0.02", "--idle", "0"]
RELEASES = ("8.2", "8.6", "10.3", "11.4")


@pytest.fixture
def board(bundle, tmp_path, monkeypatch, validated):
    """Run a bundle with a false TensorRT and driver; returns code, result and the module."""
    monkeypatch.chdir(tmp_path)

    def run(release, *arguments, driver=None, **behaviour):
        trt = fake_tensorrt(release, **behaviour)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        library = driver or FakeDriver()
        monkeypatch.setattr(cuda, "_load", lambda: library)
        code = main(str(bundle), [*QUICK, "--root", str(tmp_path / "none"), *arguments])
        return code, validated(tmp_path / "result.json"), trt

    return run


def builds(trt):
    return [call for call in trt.calls if call[0] == "build"]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_ends_in_verified_engines(board, bundle, release):
    code, result, _ = board(release)
    assert code == 0
    runtime = result["runtime"]
    assert (runtime["name"], runtime["version"]) == ("tensorrt", release)
    assert (runtime["gpu"], runtime["compute_capability"]) == ("Orin", "8.7")
    assert runtime["cuda_driver"] == "12.6"
    for entry in result["models"]:
        assert entry["status"] == "verified"
        assert entry["engine"]["built"] is True
        assert entry["engine"]["precision"] == {entry["precision"]: 1}
        assert entry["engine"]["device"] == "cuda"
        assert entry["memory"]["device"]["device_total_mb"] == 2048
    assert result["models"][0]["verification"]["max_abs_difference"] < 1e-6
    assert result["models"][1]["verification"]["max_abs_difference"] > 1e-6
    assert {p.name for p in (bundle / "engines").iterdir()} >= {"fp32.engine", "fp16.json"}


@pytest.mark.parametrize(
    ("release", "typing", "network", "fp32", "fp16"),
    [
        ("8.2", "weak", 0b01, [], ["FP16"]),
        ("8.6", "weak", 0b01, [], ["FP16"]),
        ("10.3", "strong", 0b11, [], []),
        ("11.4", "strong", 0b00, [], []),
    ],
)
def test_what_is_asked_of_the_builder(board, release, typing, network, fp32, fp16):
    _, result, trt = board(release)
    assert [entry["engine"]["typing"] for entry in result["models"]] == [typing] * 2
    assert ("network_flags", network) in trt.calls
    assert [call[1] for call in builds(trt)] == [fp32, fp16]
    (profile,) = builds(trt)[0][2]
    assert profile.shapes == {"input": ((1, 3, 6, 5), (1, 3, 6, 5), (1, 3, 8, 10))}


def test_tf32_only_when_asked_for(board):
    _, _, trt = board("10.3", "--tf32", "--models", "fp32")
    assert builds(trt)[0][1] == ["TF32"]


def test_engines_are_built_once(board):
    board("10.3")
    code, result, trt = board("10.3")
    assert code == 0
    assert not builds(trt)
    for entry in result["models"]:
        assert entry["engine"]["built"] is False
        assert entry["engine"]["precision"] == {entry["precision"]: 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"release": "8.6"}, "another TensorRT: 10.3, here 8.6"),
        ({"driver": FakeDriver("Thor", (11, 0))}, "another GPU: Orin, here Thor"),
        ({"driver": FakeDriver("Orin", (8, 9))}, "another compute capability: 8.7, here 8.9"),
        ({"refuses": True}, "TensorRT refuses the stored engine"),
        ({"arguments": ("--workspace", "64")}, "another settings"),
    ],
    ids=["TensorRT", "GPU", "capability", "refused", "settings"],
)
def test_a_foreign_engine_is_built_again_and_it_is_said(board, capfd, change, reason):
    board("10.3")
    change = dict(change)
    code, result, trt = board(change.pop("release", "10.3"), *change.pop("arguments", ()), **change)
    assert code == 0
    assert len(builds(trt)) == 2
    for entry in result["models"]:
        assert reason in entry["engine"]["rebuilt_because"]
    said = capfd.readouterr().err
    assert said.count(reason) == 2
    assert said.count("building it again") == 2


def test_a_damaged_engine_is_built_again(board, bundle):
    board("10.3")
    with (bundle / "engines/fp32.engine").open("ab") as stream:
        stream.write(b"x")
    (bundle / "engines/fp16.json").write_text("{")
    code, result, trt = board("10.3")
    assert code == 0
    assert len(builds(trt)) == 2
    reasons = [entry["engine"]["rebuilt_because"] for entry in result["models"]]
    assert reasons == [
        "the stored engine was changed or is damaged",
        "the stored engine has no usable description",
    ]


def test_another_model_file_makes_another_engine(board, bundle, onnx_files):
    board("10.3")
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    shutil.copy(bundle / "models/fp32/model.onnx", bundle / "models/fp16/model.onnx")
    manifest["files"]["models/fp16/model.onnx"] = manifest["files"]["models/fp32/model.onnx"]
    path.write_text(json.dumps(manifest))
    _, result, trt = board("10.3")
    assert len(builds(trt)) == 1
    assert "another ONNX file" in result["models"][1]["engine"]["rebuilt_because"]


def test_the_timing_cache_grows_and_a_foreign_one_is_replaced(board, bundle):
    board("10.3")
    (cache,) = (bundle / "engines").glob("timing-*.cache")
    assert cache.read_bytes() == b"tt"  # one letter a build
    for path in (bundle / "engines").glob("*.engine"):
        path.unlink()
    cache.write_bytes(b"foreign")
    board("10.3", "--models", "fp32")
    assert cache.read_bytes() == b"t"
    board("11.4", "--models", "fp32")
    assert len(list((bundle / "engines").glob("timing-*.cache"))) == 2


@pytest.mark.parametrize("release", ["8.6", "10.3", "11.4"])
def test_an_unsupported_operator_is_named_with_its_layer(board, release):
    text = "No importer registered for op: Frobnicate"
    code, result, _ = board(release, parser_error=("Frobnicate", "/up/Frobnicate_3", text))
    assert code == 2
    reason = result["models"][0]["reason"]
    assert "Frobnicate" in reason
    assert "--runtime onnxruntime" in reason
    if release != "8.6":
        assert "operator Frobnicate of layer /up/Frobnicate_3" in reason


def test_a_failed_build_carries_the_reason(board):
    code, result, trt = board("10.3", build_error="Could not allocate 900 MB\nmore")
    assert (code, len(builds(trt))) == (2, 2)  # of two models: for memory, no other size is tried
    assert "cannot build fp32: Could not allocate 900 MB; " in result["models"][0]["reason"]


NO_RANGE = "Could not find any implementation for node up [dynamic shapes]"


@pytest.mark.parametrize("release", RELEASES)
def test_a_range_that_no_engine_serves_leaves_one_size(board, bundle, capfd, release):
    code, result, trt = board(release, no_range=NO_RANGE)
    assert code == 0
    why = f"TensorRT builds none for 1x3x6x5 to 1x3x8x10: {NO_RANGE}"
    assert capfd.readouterr().err.count(f"an engine of one size alone: {why}") == 2
    assert [call[2][0].shapes["input"] for call in builds(trt)[:2]] == [
        ((1, 3, 6, 5), (1, 3, 6, 5), (1, 3, 8, 10)),
        ((1, 3, 6, 5),) * 3,
    ]
    assert len(builds(trt)) == 4
    for entry in result["models"]:
        assert entry["engine"]["one_size"] == [6, 5]
        assert entry["engine"]["why_one_size"] == why
        assert entry["status"] == "verified"
        assert entry["verification"]["tiles"] == 1
        assert entry["latency_ms"]["input_shape"] == [1, 3, 6, 5]
    code, again, trt = board(release, no_range=NO_RANGE)
    assert (code, builds(trt)) == (0, [])
    assert again["models"][0]["engine"]["one_size"] == [6, 5]
    code, result, _ = board(release, "--tile", "8x10", no_range=NO_RANGE)
    assert code == 2
    assert "takes 6x5 pixels alone" in result["models"][0]["reason"]
    assert "choose that size with --tile 6x5" in result["models"][0]["reason"]


def test_live_lines_go_through_an_engine_of_one_size(board, tmp_path):
    np.save(tmp_path / "lines.npy", np.random.default_rng(0).random((14, BANDS, 12), np.float32))
    words = ("--live", str(tmp_path / "lines.npy"), "--normalised", "--models", "fp32")
    code, result, _ = board("10.3", *words, no_range=NO_RANGE)
    assert (code, result["error"]) == (0, None)
    assert result["live"]["input_shape"] == [1, BANDS, 6, 5]
    assert result["live"]["columns"] >= 3
    assert result["live"]["lines"]["processed"] == 14
    code, result, _ = board("10.3", *words, "--block-lines", "7", no_range=NO_RANGE)
    assert code == 2
    assert "a block of 7 lines is outside" in result["error"]


def test_an_engine_of_the_range_says_nothing_of_one_size(board):
    _, result, _ = board("10.3")
    engine = result["models"][0]["engine"]
    assert (engine["one_size"], engine["why_one_size"]) == (None, None)


def test_a_build_that_no_size_mends_carries_the_reason(board):
    code, result, trt = board("10.3", "--models", "fp32", build_error="no kernel")
    assert (code, len(builds(trt))) == (2, 2)
    assert "cannot build fp32: no kernel; " in result["models"][0]["reason"]


@pytest.mark.parametrize("release", ["8.6", "10.3", "11.4"])
def test_fp16_that_silently_became_fp32_fails(board, bundle, release):
    code, result, _ = board(release, silent_fp32=True)
    assert code == 2
    assert [entry["status"] for entry in result["models"]] == ["verified", "failed"]
    assert "fp16 was asked for and no layer of the engine has it" in result["models"][1]["reason"]
    assert not (bundle / "engines/fp16.engine").exists()


def test_too_little_gpu_memory(board):
    driver = FakeDriver()
    driver.free_bytes = 4 * BANDS * 6 * 5 + 100  # enough for the input, not for the output
    code, result, _ = board("10.3", driver=driver)
    assert code == 2
    assert "too little GPU memory" in result["models"][0]["reason"]
    assert "choose a smaller --tile" in result["models"][0]["reason"]


def test_all_device_memory_is_given_back(board):
    driver = FakeDriver()
    board("10.3", driver=driver)
    assert driver.blocks == {}


def test_dla_layers_are_counted_and_promised_nothing(board):
    _, result, _ = board("8.6", dla=2)
    assert result["models"][0]["engine"]["dla"] == {
        "cores": 2, "layers": 4, "would_run": 1, "transitions": 2,
    }  # fmt: skip
    _, result, _ = board("8.6", "--engines", "other")
    assert "absent" in result["models"][0]["engine"]["dla"]


def test_tensorrt_without_a_gpu_falls_back_and_says_why(board, monkeypatch):
    def no_driver():
        raise BoardError("no CUDA driver (libcuda.so.1: cannot open shared object file)")

    code, result, _ = board("10.3", "--runtime", "onnxruntime")
    assert code == 0
    assert result["runtime"]["tensorrt_not_used_because"] == "--runtime onnxruntime"
    monkeypatch.setattr(trt_module, "Cuda", no_driver)
    code, result, _ = board("10.3")
    assert code == 0
    assert result["runtime"]["name"] == "onnxruntime"
    assert "no CUDA driver" in result["runtime"]["tensorrt_not_used_because"]
    code, result, _ = board("10.3", "--runtime", "tensorrt")
    assert code == 2
    assert "no CUDA driver" in result["error"]


def test_no_runtime_at_all(board, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(
        "edgesr_jetson.board.backend.TensorRTBackend",
        lambda *_: (_ for _ in ()).throw(BoardError("none")),
    )
    code, result, _ = board("10.3")
    assert code == 2
    assert "nothing here can run a network: none; onnxruntime cannot be imported" in result["error"]


def test_engines_that_cannot_be_stored(board, tmp_path):
    (tmp_path / "file").write_text("no folder")
    code, result, _ = board("10.3", "--engines", str(tmp_path / "file" / "engines"))
    assert code == 2
    assert "cannot be written (Not a directory)" in result["models"][0]["reason"]
    assert "choose another place with --output and --engines" in result["models"][0]["reason"]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (
            {"Layers": [
                {"Inputs": [{"Format/Datatype": "Row major linear FP32"}],
                 "Outputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major "
                                                 "Int8 format"}]},
                {"Inputs": [{"Format/Datatype": "Channel major FP16 format where channel % 8"}]},
                {"Inputs": [{"Format/Datatype": "Int32"}]},
            ]},
            {"fp16": 1, "int8": 1},
        ),
        (
            {"Layers": [
                {"Inputs": [{"Format": "kLINEAR", "DataType": "Half"}]},
                {"Inputs": [{"Format": "kLINEAR", "DataType": "Float"}]},
                {"Inputs": [{"Format": "kLINEAR", "DataType": "BFloat16"}]},
            ]},
            {"bf16": 1, "fp16": 1, "fp32": 1},
        ),
    ],
    ids=["8.x", "11.x"],
)  # fmt: skip
def test_inspector_texts(text, counts):
    trt = fake_tensorrt("10.3", inspector=json.dumps(text))
    engine = fake_engine(trt)
    assert layer_precisions(trt, engine) == counts


@pytest.mark.parametrize("text", ["", "{", '{"Layers": ["conv1", "conv2"]}', "{}"])
def test_an_inspector_that_tells_nothing_is_absent(text):
    trt = fake_tensorrt("10.3", inspector=text)
    found = layer_precisions(trt, fake_engine(trt))
    assert set(found) == {"absent"}
    assert missing("fp16", found) is None


def fake_engine(trt):
    engine_type = type("E", (), {})
    inspector = engine_type()
    inspector.get_engine_information = lambda _format: trt.inspector
    engine = engine_type()
    engine.create_engine_inspector = lambda: inspector
    return engine


def test_cuda_errors_are_named():
    library = FakeDriver()
    library.cuStreamCreate = lambda *_: 101
    with pytest.raises(BoardError, match="CUDA_ERROR_FAKE to cuStreamCreate"):
        Cuda(library)


def test_no_driver_on_this_machine(monkeypatch):
    monkeypatch.setattr(cuda, "LIBRARY", "libnot-there.so.1")
    with pytest.raises(BoardError, match="no CUDA driver"):
        Cuda()


def test_the_bundle_stays_whole_after_engines_were_built(board, bundle):
    board("10.3")
    verify(bundle, open_bundle(bundle, read_manifest(bundle)).files.values())
