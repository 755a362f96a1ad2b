from __future__ import annotations

import json
import os
import shutil

import pytest
from edgesr_jetson.board.contents import is_inside, open_bundle, read_manifest
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.hashes import verify


def check(bundle):
    verify(bundle, open_bundle(bundle, read_manifest(bundle)).files.values())


def rewrite(bundle, change):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_an_untouched_bundle_passes(bundle, tmp_path):
    check(bundle)
    (bundle / "engines").mkdir()
    (bundle / "engines/fp32.engine").write_bytes(b"built here")
    (bundle / "engines/timing-0123.cache").write_bytes(b"built here")
    (bundle / "result.json").write_text("{}")
    (bundle / ".result.json.12.part").write_text("the power went")
    (bundle / "results/15w").mkdir(parents=True)
    (bundle / "results/15w/lines.img").write_bytes(b"written here")
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


@pytest.mark.parametrize("name",
    ["board/numpy.py", "models/fp32/extra.bin", "reference/x", "numpy.py", "lines.npy",
     "engines/a.so", "board/__pycache__/main.cpython-311.pyc", "more/result.json",
     "board/result.json"],
)  # fmt: skip
def test_a_file_that_is_not_listed_is_refused(bundle, name):
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("surprise")
    with pytest.raises(BoardError, match=f"{name} is not listed"):
        check(bundle)


def test_a_manifest_that_leaves_the_folder_is_refused(bundle, tmp_path):
    secret = tmp_path / "out/secret"
    secret.write_text("x")
    entry = {"sha256": "0" * 64, "bytes": 1}
    rewrite(bundle, lambda m: m["files"].update({"../secret": entry}))
    with pytest.raises(BoardError, match=r"'\.\./secret' .* a plain path inside the folder"):
        check(bundle)


@pytest.mark.parametrize("name", ["models/fp32/model.onnx", "models", "board"])
@pytest.mark.parametrize("place", ["..", "."])
def test_a_link_is_refused_wherever_it_leads(bundle, name, place):
    path, moved = bundle / name, bundle / place / "results"
    path.rename(moved)
    path.symlink_to(moved)
    with pytest.raises(BoardError, match=rf"{name} is (a link|no regular file)"):
        check(bundle)


def test_a_pipe_is_no_file(bundle):
    (bundle / "run.py").unlink()
    os.mkfifo(bundle / "run.py")
    with pytest.raises(BoardError, match=r"run.py is no regular file"):
        check(bundle)


def test_what_changed_after_it_was_verified_is_not_used(bundle):
    opened = open_bundle(bundle, read_manifest(bundle))
    path = bundle / "models/fp32/model.onnx"
    content = bytearray(path.read_bytes())
    content[-20] ^= 4
    path.write_bytes(content)
    with pytest.raises(BoardError, match=r"model.onnx has SHA-256"):
        opened.models[0].read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "has format None"),
        (b'{"format": 99}', "has format 99"),
        (b'{"format": true}', "has format True"),
        (b'{"format": 1, "files": {}}', "lists no files"),
        (b'{"format": 1, "files": {"run.py": 3}}', "has 3 for files.run.py; an object"),
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
    [
        ("a", True),
        ("a/b.c", True),
        ("a/../b", False),
        ("/a", False),
        ("", False),
        ("a\\b", False),
        ("a//b", False),
        ("./a", False),
        ("a/", False),
        ("a\0b", False),
        ("a\nb", False),
        ("a\ud800", False),
    ],
)
def test_is_inside(name, inside):
    assert is_inside(name) is inside
