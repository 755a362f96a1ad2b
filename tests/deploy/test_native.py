"""Native files of a run: what they answer, what they say of themselves, and on a board."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgesr_export.card import ModelCard, Port, read_card, write_card
from edgesr_export.native import io_of_file, native_reference, to_native
from edgesr_export.runtime import session
from edgesr_export.tensorrt.sidecar import read_side
from msgspec import structs

from edgesr.cli.main import main
from edgesr.compress import compress
from edgesr.deploy import Conditions, Truth, measure_models
from edgesr.deploy.bundle import bundle
from edgesr.deploy.native import add_natives, in_numpy
from edgesr.errors import ModelError
from edgesr.loading.card import make_card, trained_on

BANDS = list(range(8))  # that the bilinear network reads of the cube's 12


@dataclass(frozen=True)
class Run:
    """A finished run on float32 numbers, and its cube [72, 72, 12]."""

    folder: Path
    cube: np.ndarray
    report: dict[str, Any]


@pytest.fixture(scope="module")
def run(materials, small_recipe, plain_exporter, tmp_path_factory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("native")
    cube = np.load(materials.cube).astype(np.float32)
    np.save(folder / "cube.npy", cube)
    recipe = replace(
        small_recipe, data=str(folder / "cube.npy"), targets=("cpu", "tensorrt"), epochs=0, rank=8,
        io=("normalised", "native"), tile_range="4:8:16",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(materials.folder))
        patch.setattr("edgesr_export.tracing.export_onnx", plain_exporter)
        yield Run(folder / "run", cube, compress(recipe, folder / "run"))


def limits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    card = read_card(folder / "model.onnx")
    return np.array(card.normalisation.lower), np.array(card.normalisation.upper)


def test_every_file_carries_the_card_of_the_student(run):
    digest = hashlib.sha256((run.folder / "student.safetensors").read_bytes()).hexdigest()
    files = sorted(run.folder.rglob("*.onnx"))
    assert [file.name for file in files] == [
        "model.onnx", "cpu-fp32.native.onnx", "cpu-fp32.onnx", "tensorrt-fp32.native.onnx",
        "tensorrt-fp32.onnx",
    ]  # fmt: skip
    train = run.cube[..., BANDS]
    for file in files:
        card = read_card(file)
        assert card.student == digest
        assert (card.scale, card.precision, card.context) == (4, "fp32", 1)
        assert (list(card.bands.index), card.bands.count) == (BANDS, 12)
        assert (card.network, card.data, card.size) == (
            "small_networks:bilinear", "cube", (None, None)
        )  # fmt: skip
        assert (np.array(card.native.low) >= train.min(axis=(0, 1))).all()
        assert (np.array(card.native.high) <= train.max(axis=(0, 1))).all()
        assert (card.input.kind == "native") == (".native." in file.name)
    for engine in run.folder.rglob("*.engine"):
        assert read_side(engine).card == read_card(run.folder / "models" / read_side(engine).onnx)


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_a_native_file_answers_in_the_sensor_s_numbers(run, target):
    """The truth: the float file with the conversion written down once more."""
    lower, upper = (bound.reshape(-1, 1, 1) for bound in limits(run.folder))
    image = run.cube[30:46, 20:37].transpose(2, 0, 1)[None].copy()
    unit = np.clip((image[:, BANDS] - lower) / (upper - lower), 0, 1).astype(np.float32)
    models = run.folder / "models"
    expected = session(models / f"{target}-fp32.onnx")(unit) * (upper - lower) + lower
    found = session(models / f"{target}-fp32.native.onnx")(image)
    assert (found.dtype, found.shape) == (np.float32, (1, 8, 64, 68))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    image[0, 3, 5, 6] = np.nan
    holes = np.isnan(session(models / f"{target}-fp32.native.onnx")(image))
    assert holes[..., 20:24, 24:28].all()
    assert holes.sum() == 8 * 16


def test_the_report_tells_the_native_files(run):
    rows = run.report["deployment"]["models"]
    assert [row["native"]["path"] for row in rows] == [
        "models/cpu-fp32.native.onnx", "models/tensorrt-fp32.native.onnx"
    ]  # fmt: skip
    for row in rows:
        native, path = row["native"], run.folder / row["native"]["path"]
        assert (native["bytes"], native["sha256"]) == (
            path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        )  # fmt: skip
        assert (native["input_dtype"], native["sensor_bands"]) == ("float32", 12)
        assert all(link["difference"] <= 1 and link["equal"] > 0.999 for link in native["links"])
        assert not {link["name"] for link in native["links"]} & {
            link["name"] for link in row["links"]
        }
    cpu, tensorrt = (row["native"] for row in rows)
    assert cpu["latency_ms"]["median"] > 0
    assert cpu["numpy_ms"]["median"] > 0
    assert "numpy_ms" not in tensorrt
    assert "The same for the sensor" in (run.folder / "report.html").read_text()


def test_the_board_runs_native_lines(run, tmp_path):
    bundle(run.folder)
    folder = run.folder / "bundle"
    manifest = json.loads((folder / "manifest.json").read_text())
    (entry,) = manifest["models"]
    assert entry["native"]["input_dtype"] == "float32"
    assert entry["native"]["selection"] is True
    assert manifest["profile"] == {
        key: [1, 8, side, side] for key, side in (("min", 4), ("opt", 8), ("max", 16))
    }
    card = manifest["facts"]["card"]
    assert (card["bands"]["index"], card["bands"]["count"]) == (BANDS, 12)
    stored = np.load(folder / "reference/fp32.native.npz")
    assert stored["input0"].shape[:2] == (1, 12)
    np.save(tmp_path / "lines.npy", run.cube[:16, :16].transpose(0, 2, 1))
    words = ["--runtime", "onnxruntime", "--duration", "0", "--idle", "0", "--repeats", "2"]
    live = ["--live", str(tmp_path / "lines.npy"), "--write", str(tmp_path / "out.img")]
    for arguments in (words, [*words, *live]):
        done = subprocess.run(
            [sys.executable, "-I", "run.py", *arguments, "--output", str(tmp_path / "result.json")],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result = json.loads((tmp_path / "result.json").read_text())
        if arguments is words:
            (model,) = result["models"]
            assert model["native"]["verification"]["max_abs_difference"] < 0.2
    assert result["live"]["native_model"] is True
    written = np.fromfile(tmp_path / "out.img", np.float32).reshape(64, 8, 64)
    whole = run.cube[:16, :16].transpose(2, 0, 1)[None]
    expected = session(run.folder / "models/cpu-fp32.native.onnx")(np.ascontiguousarray(whole))[0]
    np.testing.assert_allclose(written, expected.transpose(1, 0, 2), rtol=1e-4)


def test_a_range_of_tiles_is_read_or_refused_in_one_line(run, capsys):
    assert main(["bundle", str(run.folder), "--tile-range", "32:64:256", "--overwrite"]) == 0
    profile = json.loads((run.folder / "bundle/manifest.json").read_text())["profile"]
    assert [profile[key][2:] for key in ("min", "opt", "max")] == [[32] * 2, [64] * 2, [256] * 2]
    capsys.readouterr()
    for text in ("64:32:256", "16-64", "0:1:2", "1:2:99999999999"):
        assert main(["bundle", str(run.folder), "--tile-range", text, "--overwrite"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "--tile-range must be MIN:OPT:MAX" in line
        assert text in line


@pytest.fixture
def carded(subject) -> ModelCard:
    """The card of the small network, written into its file."""
    card = make_card(trained_on(subject.scene, subject.network), "bilinear")
    write_card(subject.source, card)
    return card


def test_a_card_that_says_what_none_has_is_refused_in_few_words(subject):
    data = {**trained_on(subject.scene, subject.network), "context": "x" * 100_000}
    with pytest.raises(ModelError, match=r"what no network is trained on: .*context") as caught:
        make_card(data, "bilinear")
    assert len(str(caught.value)) < 400


def test_native_files_of_whole_numbers(subject, carded, builder):
    """uint16, in the same rounds as the float files, for three runtimes."""
    targets = ["cpu", "tensorrt", "openvino"]
    made, _ = builder().make_all(subject.source, targets, ["fp32", "fp16"])
    models, absent = add_natives(Path(), made, [subject.tile.numpy()])
    assert absent == []
    for model in models:
        card = read_card(model.path)
        assert card == structs.replace(carded, precision=model.precision)
        port = read_card(model.native.path).input
        as_bytes = model.target == "tensorrt"
        assert port == Port(kind="native", dtype="uint16", bands="sensor", as_bytes=as_bytes)
    rows, _ = measure_models(
        Path(),
        models,
        [],
        Truth(subject.network, subject.scene, [subject.tile]),
        Conditions(subject.tile.numpy(), threads=1, repeats=1),
    )
    for row in rows:
        assert row["native"]["output_dtype"] == "uint16"
        assert (row["native"]["latency_ms"] is None) == (row["target"] == "tensorrt")
        assert ("numpy_ms" in row["native"]) == (row["target"] == "cpu")


def test_numpy_s_way_is_the_same(subject, carded):
    io, float_file = io_of_file(subject.source), session(subject.source)
    tile = to_native(subject.tile.numpy(), io)
    assert (tile.dtype, tile.shape) == (np.uint16, (1, 12, 8, 8))
    assert (tile[:, 8:] == 0).all()
    found = in_numpy(float_file, io)(tile)
    expected = native_reference(tile, io, float_file)
    assert found.dtype == expected.dtype
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_what_cannot_be_made_is_absent_with_its_reason(subject, builder):
    made, _ = builder().make_all(subject.source, ["cpu"], ["fp32"])  # of a file without a card
    models, absent = add_natives(Path(), made, [subject.tile.numpy()])
    assert models == made
    (one,) = absent
    assert one.what == "native numbers in fp32 for cpu"
    assert "no model card" in one.why
    assert not list(Path("models").glob("*.native.onnx"))


def test_int8_layers_are_counted_in_the_card(subject, carded, builder):
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    model = builder(psnr=5, sam=5).make(subject.source, "tensorrt", "int8")
    assert model.counts["int8"] > 0
    card = read_card(model.path)
    assert (card.precision, card.int8_layers) == ("int8", model.counts["int8"])
