from __future__ import annotations

import json
import shutil

import pytest

from jetson.board.errors import BoardError
from jetson.board.hashes import is_inside, read_manifest, verify


def check(bundle):
    manifest, _ = read_manifest(bundle)
    verify(bundle, manifest)


def rewrite(bundle, change):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_an_untouched_bundle_passes(bundle, tmp_path):
    check(bundle)
    (bundle / "engines").mkdir()
    (bundle / "engines/fp32.engine").write_bytes(b"built here")
    (bundle / "result.json").write_text("{}")
    (bundle / "board/__pycache__").mkdir()
    (bundle / "board/__pycache__/main.pyc").write_bytes(b"compiled here")
    check(bundle)
    check(shutil.copytree(bundle, tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    "name", ["run.py", "board/main.py", "models/fp16/model.onnx", "reference/inputs.npz"]
)
def test_one_changed_bit_is_found(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BoardError, match=f"{name} has SHA-256"):
        check(bundle)


def test_a_truncated_file_is_found_by_its_size(bundle):
    path = bundle / "models/fp32/model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BoardError, match=r"model.onnx has \d+ bytes, the manifest says"):
        check(bundle)


def test_missing_files_are_counted(bundle):
    (bundle / "models/fp32/model.onnx").unlink()
    (bundle / "reference/fp32.npz").unlink()
    with pytest.raises(BoardError, match=r"models/fp32/model.onnx cannot be read .* \(and 1 more"):
        check(bundle)


@pytest.mark.parametrize("name", ["board/numpy.py", "models/fp32/extra.bin", "reference/x"])
def test_a_file_that_is_not_listed_is_refused(bundle, name):
    (bundle / name).write_text("surprise")
    with pytest.raises(BoardError, match=f"{name} is not listed"):
        check(bundle)


def test_a_manifest_that_leaves_the_folder_is_refused(bundle, tmp_path):
    secret = tmp_path / "out/secret"
    secret.write_text("x")
    entry = {"sha256": "0" * 64, "bytes": 1}
    rewrite(bundle, lambda m: m["files"].update({"../secret": entry}))
    with pytest.raises(BoardError, match=r"\.\./secret leaves the folder"):
        check(bundle)


def test_a_link_out_of_the_folder_is_refused(bundle, tmp_path):
    path = bundle / "models/fp32/model.onnx"
    moved = tmp_path / "model.onnx"
    path.rename(moved)
    path.symlink_to(moved)
    with pytest.raises(BoardError, match="leaves the folder"):
        check(bundle)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "has format None"),
        (b'{"format": 99}', "has format 99"),
        (b'{"format": 1, "files": {}}', "lists no files"),
        (b'{"format": 1, "files": {"a": 3}}', "no SHA-256 and size for a"),
    ],
)
def test_manifests_that_cannot_be_used(bundle, content, message):
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BoardError, match=message):
        check(bundle)


def test_no_manifest(tmp_path):
    with pytest.raises(BoardError, match="cannot be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("name", "inside"),
    [("a", True), ("a/b.c", True), ("a/../b", False), ("/a", False), ("", False), ("a\\b", False)],
)
def test_is_inside(name, inside):
    assert is_inside(name) is inside
