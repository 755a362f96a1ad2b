from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from edgesr_jetson import bundle as bundle_module
from edgesr_jetson.bundle import identity, make_bundle
from edgesr_jetson.errors import BundleError
from jetson_fakes import expected, onnx_file, tiles

INPUTS = tiles((6, 5), (8, 10))
OUTPUTS = [expected(tile) for tile in INPUTS]
FACTS = {"name": "tiny", "wavelengths": [400.0, 500.0, 600.0]}


def members(archive):
    with tarfile.open(archive) as packed:
        return {entry.name: entry for entry in packed.getmembers()}


def test_contents(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    files = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert files == {*manifest["files"], "manifest.json"}
    assert {
        "run.py", "README.md", "board/run.py", "board/main.py", "board/result.schema.json",
        "models/fp32/model.onnx", "reference/inputs.npz", "reference/fp16.npz",
    } <= files  # fmt: skip
    assert not [name for name in files if "__pycache__" in name or "test" in name]
    for name, entry in manifest["files"].items():
        content = (bundle / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_manifest(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["bands"], manifest["scale"]) == (3, 2)
    assert manifest["profile"] == {
        "min": [1, 3, 6, 5], "opt": [1, 3, 6, 5], "max": [1, 3, 8, 10],
    }  # fmt: skip
    assert [model["name"] for model in manifest["models"]] == ["fp32", "fp16"]
    assert manifest["facts"] == {"name": "tiny"}
    assert identity(bundle) == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def test_references_are_stored_as_they_were(bundle):
    with np.load(bundle / "reference/inputs.npz") as stored:
        assert np.array_equal(stored["tile1"], INPUTS[1])
    with np.load(bundle / "reference/fp32.npz") as stored:
        assert np.array_equal(stored["tile0"], OUTPUTS[0].astype("float32"))


def test_the_archive_is_the_folder_and_run_is_a_program(bundle):
    found = members(bundle.with_name("bundle.tar.gz"))
    files = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert set(found) == {f"bundle/{name}" for name in files}
    assert found["bundle/run.py"].mode == 0o755
    assert found["bundle/manifest.json"].mode == 0o644
    assert {(e.uid, e.gid, e.mtime, e.uname) for e in found.values()} == {(0, 0, 0, "")}


def test_same_content_gives_the_same_bytes(tmp_path, onnx_files, monkeypatch):
    first = make_bundle(onnx_files, INPUTS, OUTPUTS, FACTS, tmp_path / "one")
    monkeypatch.setattr(time, "time", lambda: 2e9)  # another day
    previous = os.umask(0o077)
    try:
        reordered = dict(reversed(FACTS.items()))
        second = make_bundle(onnx_files, INPUTS, OUTPUTS, reordered, tmp_path / "other-name")
    finally:
        os.umask(previous)
    assert first.read_bytes() == second.read_bytes()
    changed = make_bundle(onnx_files, INPUTS, OUTPUTS, {"name": "x"}, tmp_path / "third")
    assert changed.read_bytes() != first.read_bytes()


def test_external_data_travel_along(tmp_path):
    folder = tmp_path / "onnx"
    folder.mkdir()
    files = {"fp32": onnx_file(folder / "a.onnx", external="sub.bin")}
    make_bundle(files, INPUTS, OUTPUTS, {}, tmp_path / "bundle")
    copied = tmp_path / "bundle/models/fp32/sub.bin"
    assert copied.read_bytes() == (folder / "sub.bin").read_bytes()
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert "models/fp32/sub.bin" in manifest["files"]


def test_external_data_that_leave_the_folder(tmp_path):
    folder = tmp_path / "onnx"
    folder.mkdir()
    path = onnx_file(folder / "a.onnx", external="inside.bin")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"inside.bin", b"../out.bin"))
    (tmp_path / "out.bin").write_bytes((folder / "inside.bin").read_bytes())
    with pytest.raises(BundleError, match="outside its folder"):
        make_bundle({"fp32": path}, INPUTS, OUTPUTS, {}, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_outputs_by_model(tmp_path, onnx_files):
    other = [tile + 0.25 for tile in OUTPUTS]
    make_bundle(
        onnx_files, INPUTS, {"fp32": OUTPUTS, "fp16": other}, {}, tmp_path / "bundle",
        tolerances={"fp16": {"max_abs": 0.5}}, tile_range=((4, 4), (8, 16)),
    )  # fmt: skip
    with np.load(tmp_path / "bundle/reference/fp16.npz") as stored:
        assert np.array_equal(stored["tile0"], other[0].astype("float32"))
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert manifest["models"][1]["tolerance"] == {"max_abs": 0.5}
    assert manifest["profile"]["max"] == [1, 3, 8, 16]


BAD = {
    "no model": ({"onnx_files": {}}, "at least one ONNX file"),
    "name": ({"onnx_files": "rename"}, "use fp32, fp16, int8"),
    "no tile": ({"reference_inputs": [], "reference_outputs": []}, "at least one reference tile"),
    "3-D tile": ({"reference_inputs": [INPUTS[0][0]]}, r"\[1, B, h, w\] is needed"),
    "NaN": ({"reference_inputs": [INPUTS[0] * np.nan, INPUTS[1]]}, "not finite"),
    "scale": ({"reference_outputs": [OUTPUTS[0], OUTPUTS[1][..., :-1]]}, "one whole r"),
    "count": ({"reference_outputs": OUTPUTS[:1]}, "one whole r"),
    "names": ({"reference_outputs": {"fp32": OUTPUTS}}, "references are for fp32"),
    "facts": ({"facts": {"gsd": float("nan")}}, "must be JSON"),
    "facts type": ({"facts": {"gsd": object()}}, "must be JSON"),
    "range": ({"tile_range": ((6, 5), (6, 5))}, "leaves out reference tiles"),
    "tolerance": ({"tolerances": {"fp32": {"mse": 1}}}, "max_abs and/or min_psnr_db"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_and_nothing_written(tmp_path, onnx_files, case):
    changed, message = BAD[case]
    arguments = {
        "onnx_files": onnx_files, "reference_inputs": INPUTS, "reference_outputs": OUTPUTS,
        "facts": {}, **changed,
    }  # fmt: skip
    if arguments["onnx_files"] == "rename":
        arguments["onnx_files"] = {"../fp32": onnx_files["fp32"]}
    with pytest.raises(BundleError, match=message) as error:
        make_bundle(output=tmp_path / "bundle", **arguments)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*bundle*"))


def test_a_fixed_input_that_does_not_fit_the_tiles(tmp_path):
    path = onnx_file(tmp_path / "a.onnx", size=(6, 5))
    make_bundle({"fp32": path}, INPUTS[:1], OUTPUTS[:1], {}, tmp_path / "fits")
    with pytest.raises(BundleError, match="free height and width"):
        make_bundle({"fp32": path}, INPUTS, OUTPUTS, {}, tmp_path / "bundle")


def test_an_existing_bundle_is_kept_unless_allowed(tmp_path, bundle, onnx_files):
    before = identity(bundle)
    with pytest.raises(BundleError, match="exists"):
        make_bundle(onnx_files, INPUTS, OUTPUTS, {"name": "new"}, bundle)
    assert identity(bundle) == before
    make_bundle(onnx_files, INPUTS, OUTPUTS, {"name": "new"}, bundle, overwrite=True)
    assert identity(bundle) != before


def test_a_full_disk_leaves_nothing_behind(tmp_path, onnx_files, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "write_tar_gz", full)
    with pytest.raises(BundleError, match="No space left"):
        make_bundle(onnx_files, INPUTS, OUTPUTS, {}, tmp_path / "bundle")
    assert not list(tmp_path.glob("*bundle*"))


def test_making_a_bundle_needs_numpy_alone(tmp_path):
    code = (
        "import sys; import edgesr_jetson.bundle; "
        "print(*sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    root = bundle_module.__file__.rsplit("/", 2)[0]
    shutil.copytree(f"{root}/edgesr_jetson", tmp_path / "edgesr_jetson")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = {name for name in done.stdout.split() if not name.startswith("_")}
    assert found <= {"edgesr_jetson", "numpy"}
