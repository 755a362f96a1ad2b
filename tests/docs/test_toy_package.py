"""The package of docs/extending.md, installed: a pass, a network, a reader and a target.

The project is not touched; every file and every command is taken from the page.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documents import REPOSITORY, blocks

PAGE = (REPOSITORY / "docs" / "extending.md").read_text("utf-8")
COMMANDS = """
import io, json, sys
from contextlib import redirect_stdout
from edgesr.cli.main import main
printed = {}
for words in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as said:
        assert main(words) == 0, words
    printed[words[0]] = said.getvalue()
print(json.dumps(printed))
"""
SHORTER = {  # one step of training, small patches
    "train": "--bands all --patch 8 --epochs 1 --steps-per-epoch 1 --batch 2 --threads 1",
    "compress": "--patch 8 --rank-target 0.3 --epochs 0 --baseline-groups 0 --precisions fp32"
    " --latency-tile 8 --threads 1 --max-psnr-drop 99",
}
PASS = """
from pathlib import Path
from edgesr import load_network
from edgesr.surgery import changes_of
network = load_network(Path("run/student.safetensors"))
print([change["pass"] for change in changes_of(network.model)], type(network.model).__module__)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Variables with which Python finds the installed package."""
    source, installed = (tmp_path_factory.mktemp(name) for name in ("source", "installed"))
    for block in blocks(PAGE):
        if block.file:
            (source / block.file).write_text(block.text)
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(installed), str(source)],
        check=True,
        capture_output=True,
    )
    roots = (installed, REPOSITORY, REPOSITORY / "export", REPOSITORY / "jetson")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_command_has_what_it_brings(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(48, 6, 48)), 0), 2)
    pixels = np.interp(smooth, (smooth.min(), smooth.max()), (100, 4000)).astype(np.uint16)
    Path("scene.lines").write_bytes(b"LINES 48 6 48\n" + pixels.tobytes())
    Path("scene.nm").write_text("450 500 550 600 650 700")

    [shown] = (block for block in blocks(PAGE) if "test_toy_package" in block.excuse)
    given = []
    for command in shown.commands():
        program, name, *arguments = shlex.split(command)
        assert program == "edgesr"
        given.append([name, *arguments, *shlex.split(SHORTER.get(name, ""))])
    printed = json.loads(run(environment, "-c", COMMANDS, json.dumps(given)))

    assert "48 x 48" in printed["info"]
    assert "smaller window s=1" in printed["compress"]
    assert "ONNX reference" in printed["compress"]
    report = json.loads(Path("run/report.json").read_text())
    assert {candidate["pass"] for candidate in report["candidates"]} == {"window"}
    targets = {model["target"]: model for model in report["deployment"]["models"]}
    assert {"cpu", "numpy_files"} == set(targets)
    assert targets["numpy_files"]["max_abs_difference"] < 1e-5
    assert run(environment, "-c", PASS) == "['window'] tiny\n"


def test_without_the_package_its_student_is_refused_in_one_line(environment, tmp_path):
    """The names are known to nobody then."""
    plain = {**environment, "PYTHONPATH": environment["PYTHONPATH"].split(os.pathsep, 1)[1]}
    listed = "from edgesr.surgery import PASSES; from edgesr.models import available\n"
    listed += "print('window' in PASSES, 'tiny' in available())"
    assert run(environment, "-c", listed) == "True True\n"
    assert run(plain, "-c", listed) == "False False\n"
