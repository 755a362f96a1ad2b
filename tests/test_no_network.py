"""Compression tells nobody: a whole small run, int8 and OpenVINO included, opens no socket.

Python's audit hook refuses and writes down every socket that is asked for, also by forked
children. The run has a process of its own, because NNCF stays silent under pytest anyway; what
compiled code might open is watched in tests/export/int8/test_silence.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys
log = os.open({log!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
def watch(event, arguments):
    if event.startswith("socket."):
        os.write(log, event.encode() + b"\\n")
        raise OSError("no network here")
sys.addaudithook(watch)

from pathlib import Path
from edgesr.compress import compress
from edgesr.recipe import CompressRecipe

report = compress(CompressRecipe.from_mapping(json.loads({recipe!r})), Path({run!r}))
import socket
for attempt in (lambda: socket.getaddrinfo("localhost", 80), socket.socket):
    try:
        attempt()  # the watch must bite
    except OSError:
        continue
    raise SystemExit("the watch does not bite")
"""


def test_a_run_opens_no_socket(small_recipe, materials, tmp_path):
    pytest.importorskip("nncf")
    pytest.importorskip("openvino")
    recipe = replace(
        small_recipe,
        **{"method": "lowrank", "rank": 8, "epochs": 0, "init": "weights"},
        **{"precisions": "fp32,int8", "targets": "cpu,tensorrt,openvino"},
        **{"max_psnr_drop": 40.0, "max_sam_drop": 90.0},
    )
    values = {name: value for name, value in asdict(recipe).items() if value is not None}
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    script = SCRIPT.format(log=str(log), recipe=json.dumps(values), run=str(tmp_path / "run"))
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "NNCF_CI", "NNCF_DEV")}
    paths = [str(Path(__file__).parents[1]), str(materials.folder)]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.json").is_file()
    made = {path.name for path in (tmp_path / "run").rglob("*.onnx")}
    assert "tensorrt-int8.onnx" in made, (made, done.stderr)
    assert log.read_text().split() == ["socket.getaddrinfo", "socket.__new__"]
    assert not (home / "intel").exists()
