"""What is written never replaces the bundle, the source, or a file of somebody else."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.board.files import write_atomic
from edgesr_jetson.board.options import parse_options
from edgesr_jetson.board.outputs import check_outputs

RESULT = json.dumps({"schema_version": 1, "mode": "bench", "models": []})


@pytest.fixture
def place(bundle, tmp_path, monkeypatch):
    """A folder to work in, with a source, an old result, links to them and to the bundle."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "lines.npy").write_bytes(b"precious")
    (folder / "lines.hdr").write_text("ENVI")
    (folder / "old.json").write_text(RESULT)
    (folder / "notes.json").write_text('{"mine": true}')
    (folder / "link.npy").symlink_to("lines.npy")
    (folder / "dangling").symlink_to("nothing")
    (folder / "same.npy").hardlink_to(folder / "lines.npy")
    (folder / "model").hardlink_to(bundle / "models/fp32/model.onnx")
    (folder / "folder").mkdir()
    (folder / "bundle").symlink_to(bundle)
    (folder / "engines").mkdir()
    (folder / "engines/fp32.json").write_text("{}")
    os.mkfifo(folder / "pipe")
    return folder


REFUSED = [
    ("--write lines.npy", "is a file of the bundle or of --live"),
    ("--write lines.npy --overwrite", "is a file of the bundle or of --live"),
    ("--write ./folder/../lines.npy --overwrite", "is a file of the bundle or of --live"),
    ("--write link.npy --overwrite", "is a link"),
    ("--write same.npy --overwrite", "is a file of the bundle or of --live"),
    ("--write lines --overwrite", "header of --write lines.hdr is a file of the bundle or of"),
    ("--write dangling --overwrite", "is a link"),
    ("--write notes.json", "exists and is no earlier result"),
    ("--write old.json", "exists and is no earlier result"),
    ("--write folder", "is a link, a folder or a device"),
    ("--write pipe --overwrite", "is a link, a folder or a device"),
    ("--write model --overwrite", "is a file of the bundle"),
    ("--write bundle/out.img", "lies among the bundle's own files; choose results/out.img"),
    ("--write bundle/board/out.img", "lies among the bundle's own files"),
    ("--write bundle/results/../out.img", "lies among the bundle's own files"),
    ("--write a --output a", "name one file"),
    ("--write a --output a.hdr", "name one file"),
    ("--write a --output A", "name one file"),
    ("--output lines.npy --overwrite", "is a file of the bundle or of --live"),
    ("--output notes.json", "exists and is no earlier result"),
    ("--output /dev/null --overwrite", "is a link, a folder or a device"),
    ("--output .", "names no file"),
    ("--output folder/..", "names no file"),
    ("--output bundle/manifest.json --overwrite", "lies among the bundle's own files"),
    ("--output bundle/MANIFEST.json", "lies among the bundle's own files"),
    ("--output bundle/board/main.py --overwrite", "lies among the bundle's own files"),
    ("--output bundle/models/result.json", "lies among the bundle's own files"),
    ("--output bundle/engines/fp32.json", "lies among the bundle's own files"),
    ("--output bundle/result.txt", "lies among the bundle's own files"),
    ("--engines bundle", "lies among the bundle's own files"),
    ("--engines bundle/models/fp32", "lies among the bundle's own files"),
    ("--engines .", "may not lie in --engines"),
    ("--engines engines", "holds fp32.json, no engine"),
    ("--engines folder --output folder/fp32.json", "may not lie in --engines"),
]


def content_of(*folders):
    return {
        path: (path.lstat().st_ino, path.read_bytes() if path.is_file() else None)
        for folder in folders
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[entry[0] for entry in REFUSED])
def test_places_that_are_refused(bundle, place, arguments, message):
    before = content_of(bundle, place)
    options = parse_options(["--live", "lines.npy", *arguments.split()])
    with pytest.raises(BoardError) as caught:
        check_outputs(options, bundle)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert content_of(bundle, place) == before


@pytest.mark.parametrize(
    "arguments",
    ["", "--output old.json", "--output notes.json --overwrite", "--write new.img",
     "--write old.json --overwrite", "--output bundle/result.json", "--output bundle/orin-15w.json",
     "--write bundle/results/out.img", "--output bundle/results/15w/a.json", "--engines folder",
     "--engines new", "--engines bundle/engines", "--output none/here.json"],
)  # fmt: skip
def test_places_that_are_free(bundle, place, arguments):
    check_outputs(parse_options(["--live", "lines.npy", *arguments.split()]), bundle)


def test_a_part_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".a.{os.getpid()}.part").symlink_to("victim")
    write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not (tmp_path / "a").is_symlink()


def test_a_live_run_keeps_its_source(bundle, tmp_path):
    source = tmp_path / "l.npy"
    np.save(source, np.zeros((9, 3, 5), "float32"))
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    done = subprocess.run(
        [sys.executable, str(bundle / "run.py"), "--runtime", "onnxruntime", "--idle", "0",
         "--live", "l.npy", "--write", "l.npy"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "run.py: error: --write l.npy is a file of the bundle or of --live; choose another"
    ]
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    assert sorted(path.name for path in tmp_path.iterdir() if "l.npy" in path.name) == ["l.npy"]
