"""The wheel, installed beside files of the user's own that are called as our folders are."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NEEDED = {
    "edgesr/py.typed",
    "edgesr/report/schema.json",
    "edgesr/report/templates/page.html.j2",
    "edgesr/report/templates/page.js",
    "edgesr/reproduce/published.json",
    "edgesr/scenes/archive/archive.schema.json",
    "edgesr/teachers/lkca_net_x4_indian_pines.safetensors",
    "edgesr_export/py.typed",
    "edgesr_jetson/board/README.md",
    "edgesr_jetson/board/result.schema.json",
    "edgesr_jetson/board/run.py",
}
NETWORK = """
from helpers_of_mine import bands
from export import helper  # the user's own, not ours
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(bands(), 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 4 * bands(), 3, padding=1), nn.PixelShuffle(2),
    )
"""


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built without the network, from a copy of what is committed or would be."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=REPOSITORY).stdout.split("\n")
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((REPOSITORY / name).read_bytes())
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q")
    run(sys.executable, "-m", "pip", "wheel", *options, "-w", out, source)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of a fresh environment that holds the wheel and sees what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    interpreter = folder / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(interpreter, "-c", where).stdout.strip())
    options = ("--no-deps", "--disable-pip-version-check", "-q", "--target", packages)
    run(sys.executable, "-m", "pip", "install", *options, wheel)
    # a path in a .pth file brings packages, but not the editable install that has one of its own
    found = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in found))
    return interpreter


@pytest.fixture
def own_files(tmp_path, monkeypatch) -> Path:
    """A folder with files of the user's own."""
    for name in ("export", "jetson", "benchmarks", "tests"):
        (tmp_path / f"{name}.py").write_text("def helper():\n    return 1\n")
    (tmp_path / "helpers_of_mine.py").write_text("def bands():\n    return 6\n")
    (tmp_path / "nets.py").write_text(NETWORK)
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(48, 48, 6)), 0), 1)
    np.save(tmp_path / "cube.npy", smooth.astype(np.float32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    return tmp_path


def test_the_wheel_holds_what_runs_need_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"edgesr", "edgesr_export", "edgesr_jetson"}
    assert names >= NEEDED
    assert not [name for name in names if "test" in name.split("/")[-1] or name.endswith(".sh")]


def test_it_is_the_wheel_that_is_imported(python, own_files):
    code = "import edgesr, edgesr_export, edgesr_jetson as j; print(edgesr.__file__, j.__file__)"
    found = run(python, "-c", code, cwd=own_files).stdout.split()
    assert [str(python.parents[1]) in path for path in found] == [True, True]


def test_commands_run_beside_files_of_the_same_names(python, own_files):
    assert "usage: edgesr" in run(python, "-m", "edgesr", "--help", cwd=own_files).stdout
    assert "145 x 145" in run(python, "-m", "edgesr", "info", "indian_pines", cwd=own_files).stdout
    run(
        python, "-m", "edgesr", "compress", "--data", "cube.npy", "--model", "nets:build",
        "--scale", 2, "--patch", 8, "--bands", "all", "--rank", 8, "--epochs", 0,
        "--targets", "cpu", "--precisions", "fp32", "--latency-tile", 8, "--threads", 1,
        "--baseline-groups", 0, "--output", "run", cwd=own_files,
    )  # fmt: skip
    assert (own_files / "run" / "report.html").is_file()
    loaded = "from run.student import load; print(sum(p.numel() for p in load().parameters()))"
    assert int(run(python, "-c", loaded, cwd=own_files).stdout) > 0
