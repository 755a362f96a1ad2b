"""The package of docs/extending.md, installed: a pass, a network, a reader and a target.

The project is not touched; every file and every command is taken from the page.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from documents import REPOSITORY, blocks
from edgesr_export.targets import TARGETS

from edgesr.cli.main import main
from edgesr.cube.formats import READERS
from edgesr.loading.weights import load_network
from edgesr.models import available
from edgesr.models._registry import NETWORKS
from edgesr.surgery import PASSES, changes_of

PAGE = (REPOSITORY / "docs" / "extending.md").read_text("utf-8")
SHORTER = {  # one step of training, small patches
    "train": "--bands all --patch 8 --epochs 1 --steps-per-epoch 1 --batch 2 --threads 1",
    "compress": "--patch 8 --rank-target 0.3 --epochs 0 --baseline-groups 0 --precisions fp32"
    " --latency-tile 8 --threads 1 --max-psnr-drop 99",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that the package is installed in."""
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
    return installed


@pytest.fixture
def found(installed, kept, monkeypatch) -> Iterator[None]:
    """Python finds the installed package, until the test is over."""
    for registered in (PASSES, NETWORKS, READERS, TARGETS):
        kept(registered)
    before = set(sys.modules)
    monkeypatch.syspath_prepend(installed)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(installed):
            del sys.modules[name]


def test_every_command_has_what_it_brings(found, brief_context, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(48, 6, 48)), 0), 2)
    pixels = np.interp(smooth, (smooth.min(), smooth.max()), (100, 4000)).astype(np.uint16)
    Path("scene.lines").write_bytes(b"LINES 48 6 48\n" + pixels.tobytes())
    Path("scene.nm").write_text("450 500 550 600 650 700")

    [shown] = (block for block in blocks(PAGE) if "test_toy_package" in block.excuse)
    printed = {}
    for command in shown.commands():
        program, name, *arguments = shlex.split(command)
        assert program == "edgesr"
        assert main([name, *arguments, *shlex.split(SHORTER.get(name, ""))]) == 0
        printed[name] = capsys.readouterr().out

    assert "48 x 48" in printed["info"]
    assert "smaller window s=1" in printed["compress"]
    assert "ONNX reference" in printed["compress"]
    report = json.loads(Path("run/report.json").read_text())
    assert {candidate["pass"] for candidate in report["candidates"]} == {"window"}
    targets = {model["target"]: model for model in report["deployment"]["models"]}
    assert {"cpu", "numpy_files"} == set(targets)
    assert targets["numpy_files"]["max_abs_difference"] < 1e-5
    network = load_network(Path("run/student.safetensors")).model
    assert [change["pass"] for change in changes_of(network)] == ["window"]
    assert type(network).__module__ == "tiny"


def test_without_the_package_its_names_are_known_to_nobody(request):
    assert ("window" in PASSES, "tiny" in available()) == (False, False)
    request.getfixturevalue("found")
    assert ("window" in PASSES, "tiny" in available()) == (True, True)
