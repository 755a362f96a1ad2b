"""Native models: from the desktop's files to a verified engine, and to the lines of a live run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from edgesr_jetson.board import cuda
from edgesr_jetson.board.contents import Native, open_bundle, read_manifest
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.main import main
from edgesr_jetson.board.native import why_no_native
from edgesr_jetson.board.ort import OrtBackend
from edgesr_jetson.bundle import IntegersModel, NativeModel, make_bundle
from edgesr_jetson.errors import BundleError
from jetson_fakes import (
    LOWER,
    UPPER,
    FakeDriver,
    expected,
    fake_tensorrt,
    native_expected,
    native_file,
    onnx_file,
    tiles,
)
from live_helpers import MODEL, headers, written

QUICK = ["--repeats", "2", "--warmup", "1", "--duration", "0.02", "--idle", "0", "--threads", "1"]
INPUTS = tiles((6, 5), (8, 10))
CARD = {
    "bands": {"index": [1, 2, 4], "count": 5},
    "normalisation": {"lower": [LOWER] * 3, "upper": [UPPER] * 3},
    "fill": [600.0] * 3,
    "nodata": 0,
    "context": 0,
}


def numbers(lines: int = 6, width: int = 5) -> np.ndarray:
    """A tile [1, C, h, w] with nodata in one band of the network, and in one of the others."""
    tile = np.random.default_rng(3).integers(50, 1200, (1, 5, lines, width)).astype("uint16")
    tile[0, 4, 1, 2] = 0
    tile[0, 3, 2, 2] = 0
    return tile


def native_model(folder, as_bytes=False, nodata=0, error=0.0, inputs=None, both=0) -> NativeModel:
    given = inputs or [numbers(), numbers(8, 10)]
    path = native_file(folder / f"native-{as_bytes}.onnx", nodata, as_bytes, error)
    outputs = [native_expected(tile, nodata) for tile in given]
    integers = None
    if both:
        file = native_file(folder / "integers.onnx", nodata, False, both - 1)
        own = [np.where(one == nodata, one, one + both - 1).astype("uint16") for one in outputs]
        integers = IntegersModel(file, own if both > 1 else None)
    return NativeModel(path, given, outputs, True, nodata, as_bytes, integers)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a bundle with a native model beside each of its plain ones, once for each choice."""
    found = {}

    def make_one(names=("fp32",), context=0, **changes):
        key = repr((names, context, changes))
        if key not in found:
            folder = tmp_path_factory.mktemp("made")
            files = {name: onnx_file(folder / f"{name}.onnx", name) for name in names}
            native = {name: native_model(folder, **changes) for name in names}
            make_bundle(files, INPUTS, [expected(tile) for tile in INPUTS],
                        {"card": {**CARD, "context": context}}, folder / "bundle",
                        native=native)  # fmt: skip
            found[key] = folder / "bundle"
        return found[key]

    return make_one


@pytest.fixture
def make(made, tmp_path):
    """A copy of such a bundle, to be run and changed."""
    return lambda *names, **changes: Path(
        shutil.copytree(made(*names, **changes), tmp_path / "bundle")
    )


@pytest.fixture
def board(tmp_path, monkeypatch, validated):
    """Run a bundle, with onnxruntime or a false TensorRT; returns code and result."""
    monkeypatch.chdir(tmp_path)

    def run(bundle, *arguments, release=None):
        runtime = ["--runtime", "tensorrt" if release else "onnxruntime"]
        if release:
            library = FakeDriver()
            monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(release))
            monkeypatch.setattr(cuda, "_load", lambda: library)
        given = [*QUICK, *runtime, "--root", str(tmp_path / "none"), *arguments]
        return main(str(bundle), given), validated(tmp_path / "result.json")

    return run


def test_the_manifest_says_what_the_file_takes(make):
    bundle = make()
    (model,) = json.loads((bundle / "manifest.json").read_text())["models"]
    assert model["native"] == {
        "onnx": "models/fp32/native.onnx", "outputs": "reference/fp32.native.npz",
        "input_dtype": "uint16", "output_dtype": "uint16", "sensor_bands": 5, "selection": True,
        "nodata": 0, "bytes": False,
    }  # fmt: skip
    read = open_bundle(bundle, read_manifest(bundle)).models[0]
    assert read.weights == ()
    assert (read.native.sensor_bands, read.native.nodata) == (5, 0.0)
    with np.load(bundle / "reference/fp32.native.npz") as stored:
        assert np.array_equal(stored["input1"], numbers(8, 10))
        assert stored["output0"].dtype == np.uint16


def test_nan_is_a_text_in_the_manifest(make):
    bundle = make(nodata=math.nan)
    assert json.loads((bundle / "manifest.json").read_text())["models"][0]["native"]["nodata"] == "nan"  # fmt: skip  # noqa: E501
    assert math.isnan(open_bundle(bundle, read_manifest(bundle)).models[0].native.nodata)


@pytest.mark.parametrize("release", [None, "8.6", "10.3"])
def test_native_models_are_verified_with_the_others(make, board, release):
    code, result = board(make(("fp32", "fp16"), as_bytes=release is not None), release=release)
    assert code == 0, result["error"]
    for model in result["models"]:
        verification = model["native"]["verification"]
        assert verification["tiles"] == 2
        assert verification["max_abs_difference"] <= 1
    assert result["models"][0]["native"]["verification"]["tolerance"]["max_abs"] == 1
    assert result["models"][1]["native"]["verification"]["tolerance"]["min_psnr_db"] == 50


def test_answers_of_another_type_are_converted(make):
    bundle = make()
    opened = open_bundle(bundle, read_manifest(bundle))
    runner, _ = OrtBackend(1).open(opened, opened.models[0])
    for dtype in ("float32", "float64"):
        answer = np.zeros((1, 3, 12, 10), dtype)
        runner.prepare(INPUTS[0].shape)
        runner.infer_into(INPUTS[0], answer)
        assert np.allclose(answer, expected(INPUTS[0]), atol=1e-6)
        assert np.allclose(runner.infer(INPUTS[0]), answer, atol=1e-6)


def test_nodata_that_is_not_finite_is_a_setting_too(make, board, tmp_path):
    np.save(tmp_path / "lines.npy", numbers(8, 9)[0].transpose(1, 0, 2).astype("float32"))
    code, result = board(make(), "--live", "lines.npy", "--nodata", "nan")
    assert code == 0
    assert result["settings"]["nodata"] == "nan"


def test_a_form_of_another_runtime_is_left_alone(make, board):
    code, result = board(make(as_bytes=True))
    assert code == 0
    assert result["models"][0]["native"] == {"absent": "it is in the form of another runtime"}


@pytest.mark.parametrize("both", [1, 6])  # the answers are the same, or 5 apart
@pytest.mark.parametrize("release", [None, "10.3"])
def test_a_bundle_with_both_forms_serves_both_runtimes(make, board, tmp_path, release, both):
    bundle = make(as_bytes=True, both=both)
    (model,) = json.loads((bundle / "manifest.json").read_text())["models"]
    assert model["native"]["integers"] == {
        "onnx": "models/fp32/native.integers.onnx",
        "outputs": f"reference/fp32.{'native' if both == 1 else 'integers'}.npz",
    }
    assert open_bundle(bundle, read_manifest(bundle)).models[0].weights == ()
    code, result = board(bundle, release=release)
    assert code == 0, result["error"]
    assert result["models"][0]["native"]["verification"]["max_abs_difference"] <= 1
    tile = numbers(12, 9)
    np.save(tmp_path / "lines.npy", tile[0].transpose(1, 0, 2))
    code, result = board(bundle, "--live", "lines.npy", "--write", "out.img", release=release)
    assert code == 0, result["error"]
    assert result["live"]["native_model"] is True
    used = bundle / "models/fp32" / ("native.onnx" if release else "native.integers.onnx")
    assert result["models"][0]["onnx_sha256"] == hashlib.sha256(used.read_bytes()).hexdigest()
    truth = native_expected(tile, 0)[0].transpose(1, 0, 2).astype(int)
    truth[truth > 0] += 0 if release else both - 1
    assert np.abs(written(tmp_path / "out.img", "uint16", width=18) - truth).max() <= 1


def test_numbers_without_16_bits_have_one_form():
    for kind, fits in (("uint8", True), ("float32", True), ("int16", False)):
        native = Native(None, None, kind, kind, 5, True, None, False)
        model = dataclasses.replace(MODEL, native=native)
        assert (why_no_native(model, True) is None) == fits
        assert why_no_native(model, False) is None


@pytest.mark.parametrize("mode", [(), ("--live", "lines.npy", "--write", "out.img")])
def test_a_native_model_that_is_off_is_refused(make, board, tmp_path, mode):
    np.save(tmp_path / "lines.npy", numbers(12, 9)[0].transpose(1, 0, 2))
    code, result = board(make(error=2.0), *mode)
    assert code == 2
    reason = result["error"] if mode else result["models"][0]["reason"]
    assert "does not compute what the desktop's computes: largest difference 2, at most 1" in reason
    assert not (tmp_path / "out.img").exists()


@pytest.mark.parametrize(
    ("release", "width", "context"),
    [(None, 5, 0), (None, 23, 0), (None, 23, 2), (None, 23, "global"), ("10.3", 9, 0),
     ("10.3", 23, "global")],
)  # fmt: skip
def test_live_through_the_native_model(make, board, tmp_path, release, width, context):
    tile = numbers(20, width)
    tile[0, 2, 7:9, width // 2 :] = 0  # across all seams
    np.save(tmp_path / "lines.npy", tile[0].transpose(1, 2, 0))  # bip
    code, result = board(make(as_bytes=release is not None, context=context), "--live", "lines.npy",
                         "--layout", "bip", "--write", "out.img", release=release)  # fmt: skip
    assert code == 0, result["error"]
    assert result["live"]["native_model"] is True
    assert result["live"]["input_shape"][1] == 5
    assert result["live"]["lines"]["with_nodata"] == 3
    image = written(tmp_path / "out.img", "uint16", width=2 * width)
    truth = native_expected(tile, 0)[0].transpose(1, 0, 2)
    assert np.array_equal(image == 0, truth == 0)
    assert np.abs(image.astype(int) - truth).max() <= 1
    assert headers(tmp_path / "out.img.hdr")["data ignore value"] == "0"


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (lambda lines: lines.astype("int16"), (), "the source has int16, the native model takes"),
        (lambda lines: lines[:, [1, 2, 4]], (), "the source has 3 bands, the native model takes 5"),
        (lambda lines: lines, ("--write-dtype", "float32"), "float32 is to be written"),
        (lambda lines: lines, ("--nodata", "7"), "--nodata 7 is not that of the native model"),
    ],
)
def test_what_the_native_model_does_not_take_goes_through_numpy(
    make, board, tmp_path, change, options, reason
):
    tile = numbers(8, 7)
    np.save(tmp_path / "lines.npy", change(tile[0].transpose(1, 0, 2)))
    code, result = board(make(), "--live", "lines.npy", "--write", "out.img", *options)
    assert code == 0, result["error"]
    assert reason in result["live"]["native_model"]["absent"]
    dtype = result["live"]["written_type"]
    image = written(tmp_path / "out.img", dtype, width=14)
    truth = native_expected(tile, 0)[0].transpose(1, 0, 2).astype(float)
    valid = truth > 1
    assert np.abs(image - truth)[valid].max() <= 1


@pytest.mark.parametrize("context", [0, "global"])
def test_both_ways_agree(make, board, tmp_path, context):
    tile = numbers(20, 23)
    tile[0, 2, 7:9, 5:] = 0
    np.save(tmp_path / "lines.npy", tile[0].transpose(1, 0, 2))
    bundle = make(context=context)
    assert board(bundle, "--live", "lines.npy", "--write", "graph.img")[0] == 0
    manifest = json.loads((bundle / "manifest.json").read_text())
    native = manifest["models"][0].pop("native")
    for name in (native["onnx"], native["outputs"]):
        (bundle / name).unlink()
        del manifest["files"][name]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    code, result = board(bundle, "--live", "lines.npy", "--write", "numpy.img")
    assert code == 0, result["error"]
    assert result["live"]["native_model"] == {"absent": "the bundle has none"}
    one, other = (
        written(tmp_path / name, "uint16", width=46).astype(int)
        for name in ("graph.img", "numpy.img")
    )
    assert np.array_equal(one == 0, other == 0)
    assert np.abs(one - other).max() <= 1


HOSTILE = {
    "onnx": ["models/fp32/model.onnx", None, "../x"],
    "outputs": ["reference/fp32.npz", 3],
    "input_dtype": ["float64", "bool", None, 3, "uint8"],
    "output_dtype": ["int32", "", []],
    "sensor_bands": [2, 0, -1, True, "5", 1 << 20, 5.0],
    "selection": [None, 1, "true"],
    "nodata": ["none", [], {}, True],
    "bytes": [None, 0, "false"],
    "integers": [
        None,
        3,
        {},
        {"onnx": "models/fp32/native.onnx", "outputs": "reference/fp32.native.npz"},
        {"onnx": "models/fp32/native.integers.onnx", "outputs": "reference/fp32.npz"},
    ],
}


@pytest.mark.parametrize("key", HOSTILE)
def test_every_field_is_checked(make, key):
    bundle = make(as_bytes=True)
    manifest = json.loads((bundle / "manifest.json").read_text())
    entry = manifest["models"][0]["native"]
    for value in HOSTILE[key]:
        changed = {**manifest["models"][0], "native": {**entry, key: value}}
        content = json.dumps({**manifest, "models": [changed]}).encode()
        with pytest.raises(BoardError) as caught:
            open_bundle(bundle, content)
        assert "\n" not in str(caught.value)
    for value in (None, [], 3, "x"):
        changed = {**manifest["models"][0], "native": value}
        with pytest.raises(BoardError, match="native"):
            open_bundle(bundle, json.dumps({**manifest, "models": [changed]}).encode())


def test_a_selection_is_of_the_bands_of_the_card(make):
    bundle = make()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["facts"] = {}
    with pytest.raises(BoardError, match=r"5 for models\[0\].native.sensor_bands; the 0 bands"):
        open_bundle(bundle, json.dumps(manifest).encode())


def test_a_selection_needs_more_bands(make):
    bundle = make()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["models"][0]["native"]["selection"] = False
    with pytest.raises(BoardError, match=r"sensor_bands; 3, or a selection"):
        open_bundle(bundle, json.dumps(manifest).encode())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": []}, "native references of fp32"),
        ({"inputs": [numbers().astype("int64")], "outputs": [np.zeros((1, 3, 12, 10), "uint16")]},
         "of int64, uint16"),
        ({"outputs": [np.zeros((1, 3, 12, 9), "uint16")]}, "native references of fp32"),
        ({"inputs": [numbers()[:, :4]], "outputs": [np.zeros((1, 3, 12, 10), "uint16")]},
         "the native fp32 takes input"),
        ({"as_bytes": True}, "the native fp32 takes input"),
        ({"integers": IntegersModel(Path("a.onnx"))}, "the native fp32 is for onnxruntime already"),
    ],
)  # fmt: skip
def test_native_models_that_do_not_fit_are_refused(tmp_path, changes, message):
    model = native_model(tmp_path)
    native = {"fp32": NativeModel(**{**vars(model), **changes})}
    with pytest.raises(BundleError, match=message):
        make_bundle({"fp32": onnx_file(tmp_path / "a.onnx")}, INPUTS, [expected(t) for t in INPUTS],
                    {}, tmp_path / "bundle", native=native)  # fmt: skip
    assert not list(tmp_path.glob("*bundle*"))


def test_a_native_model_of_no_model(tmp_path):
    with pytest.raises(BundleError, match="a native model is for int8, models are fp32"):
        make_bundle({"fp32": onnx_file(tmp_path / "a.onnx")}, INPUTS, [expected(t) for t in INPUTS],
                    {}, tmp_path / "bundle", native={"int8": native_model(tmp_path)})  # fmt: skip


def test_a_native_model_that_does_not_load_is_done_without(make, board, tmp_path, monkeypatch):
    original = OrtBackend.open

    def old_library(self, bundle, model):
        if model.name.endswith("-native"):
            raise BoardError("this library has no uint16")
        return original(self, bundle, model)

    monkeypatch.setattr(OrtBackend, "open", old_library)
    np.save(tmp_path / "lines.npy", numbers(12, 9)[0].transpose(1, 0, 2))
    bundle = make()
    code, result = board(bundle)
    assert code == 0
    assert result["models"][0]["native"] == {"absent": "this library has no uint16"}
    code, result = board(bundle, "--live", "lines.npy")
    assert code == 0
    assert result["live"]["native_model"] == {"absent": "this library has no uint16"}
    assert result["live"]["lines"]["processed"] == 12


def test_a_native_model_needs_no_other_normalisation(board, tmp_path):
    files = {"fp32": onnx_file(tmp_path / "fp32.onnx")}
    card = {key: value for key, value in CARD.items() if key != "normalisation"}
    make_bundle(files, INPUTS, [expected(tile) for tile in INPUTS], {"card": card},
                tmp_path / "bundle", native={"fp32": native_model(tmp_path)})  # fmt: skip
    np.save(tmp_path / "lines.npy", numbers(12, 9)[0].transpose(1, 0, 2))
    code, result = board(tmp_path / "bundle", "--live", "lines.npy")
    assert code == 0, result["error"]
    assert result["live"]["native_model"] is True
