"""Every command and every example of the documentation is run, every link and option looked up."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import (
    DOCUMENTS,
    OTHERS,
    REPOSITORY,
    RUNNABLE,
    SILENT,
    Block,
    anchors,
    blocks,
    links,
    options,
    prose,
)
from edgesr_export.onnx import export_onnx
from edgesr_export.targets import TARGETS
from edgesr_jetson.bundle import make_bundle

from edgesr.cli.main import build_parser, main
from edgesr.cube import PROTOCOLS, read_cube, write_cube
from edgesr.cube.formats import READERS
from edgesr.loading.weights import load_custom
from edgesr.models._registry import NETWORKS
from edgesr.surgery import PASSES

SMALL = "--patch 16 --threads 1"
QUICK = f"{SMALL} --epochs 1 --steps-per-epoch 1 --batch 2"
"""One step of training; the small cube of the tests has room for patches of 16 pixels."""
FEW = "--rank-target 0.3 --method lowrank --latency-tile 16 --baseline-groups 0"
FLOAT = "--precisions fp32 --targets cpu,tensorrt"
BRIEFLY = "--runtime onnxruntime --threads 1 --duration 1 --idle 0 --warmup 1 --repeats 3"


@dataclass(frozen=True)
class Way:
    """How a document is run.

    Attributes:
        longer: what is appended to commands that begin so, to make them short.
        replaced: text that is replaced in all blocks, for placeholders.
        fixtures: fixtures that put files into the folder first.
    """

    longer: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    fixtures: tuple[str, ...] = ()


WAYS = {
    "README.md": Way(
        longer={
            "edgesr train": f"{QUICK} --blocks 1",
            "edgesr evaluate": SMALL,
            "edgesr analyze": SMALL,
            "edgesr compress --search": (
                f"{QUICK} {FEW} --data scene.hdr --model my_package.nets:build --bands 0-7"
                " --weights state_dict.pt --precisions fp32 --targets cpu --max-psnr-drop 99"
                " --trials 2 --output runs/search"
            ),
            "edgesr compress --data scene.hdr --weights": (
                f"{QUICK} {FEW} {FLOAT} --max-psnr-drop 9 --output runs/first"
            ),
            "edgesr compress --data scene.hdr --model": (
                f"{QUICK} {FEW} --bands 0-7 --precisions fp32 --targets cpu --max-psnr-drop 99"
                " --output runs/own"
            ),
            "edgesr bench": "--threads 1",
        },
        replaced={
            "runs/...": "runs/first",
            "export model.onnx": "export runs/first/model.onnx",
            "CompressRecipe(rank_target=0.9, max_psnr_drop=0.02)": (
                'CompressRecipe(data="scene.hdr", weights="teacher.safetensors", patch=16,'
                ' epochs=0, latency_tile=16, rank=8, precisions=("fp32",), targets=("cpu",),'
                " threads=1, baseline_groups=0)"
            ),
            'compress(recipe, Path("runs/first"))': 'compress(recipe, Path("runs/python"))',
        },
        fixtures=("readme_files",),
    ),
    "tutorial.md": Way(
        longer={
            "edgesr train": "--steps-per-epoch 2 --epochs 1 --threads 1 --overwrite",
            "edgesr analyze": "--threads 1",
            "edgesr evaluate": "--threads 1",
            "edgesr compress": (
                f"{FEW} {FLOAT} --epochs 0 --trials 2 --threads 1 --latency-tile 8"
                " --max-psnr-drop 99"
            ),
            "cd bundle && python3 run.py": BRIEFLY,
        },
    ),
}
"""By name of the document; the others are run as they stand."""

FOREIGN_OPTIONS = {
    "--noDataTransfers": "trtexec",
    "--restore": "jetson_clocks",
    "--show": "jetson_clocks",
    "--compare": "python -m benchmarks",
    "--scenes": "python -m benchmarks.honesty",
    "--store": "python -m benchmarks.honesty",
    "--import-mode": "pytest",
    "--nthreads": "dask worker",
    "--memory-limit": "dask worker",
}
"""Options of other programs that the documentation mentions."""


def name_of(document: Path) -> str:
    return str(document.relative_to(REPOSITORY))


def read(document: Path) -> str:
    return document.read_text(encoding="utf-8")


@pytest.fixture
def readme_files(materials: Any, tmp_path: Path) -> None:
    """The files that the README's commands name."""
    cube = read_cube(materials.cube)
    write_cube(cube, tmp_path / "scene.hdr")
    write_cube(cube, tmp_path / "low.tif")
    (tmp_path / "scenes").mkdir()
    write_cube(cube, tmp_path / "scenes" / "one.tif")
    package = tmp_path / "my_package"
    package.mkdir()
    shutil.copy(materials.folder / "small_networks.py", package / "nets.py")
    with (package / "nets.py").open("a") as file:
        file.write("\n\nbuild = bilinear\n")
    network = load_custom("my_package.nets:build")
    torch.save(network.state_dict(), tmp_path / "state_dict.pt")
    tile = np.random.default_rng(0).random((1, 8, 6, 5), dtype=np.float32)
    with torch.inference_mode():
        answer = network(torch.from_numpy(tile)).numpy()
    export_onnx(network, torch.from_numpy(tile), tmp_path / "small.onnx")
    make_bundle({"fp32": tmp_path / "small.onnx"}, [tile], [answer], {}, tmp_path / "board")
    subprocess.run(
        [sys.executable, "run.py", *BRIEFLY.split(), "--output", str(tmp_path / "orin.json")],
        cwd=tmp_path / "board",
        check=True,
        timeout=120,
    )


@dataclass
class Reader:
    """Does what a document says, in order, in one folder."""

    folder: Path
    way: Way
    names: dict[str, Any]

    def follow(self, block: Block) -> None:
        """Write the file that a block shows, or run what it says."""
        text = block.text
        for old, new in self.way.replaced.items():
            text = text.replace(old, new)
        if block.file:
            (self.folder / block.file).write_text(text)
        elif block.language == "python":
            code = "\n" * block.line + text  # so that a traceback names the document's line
            exec(compile(code, self.names["__file__"], "exec"), self.names)
        else:
            for command in Block(block.line, "sh", text).commands():
                self.run(command)

    def run(self, command: str) -> None:
        """Run one command of a shell block."""
        for start, more in self.way.longer.items():
            if command.startswith(start):
                command = f"{command} {more}"
        words, started = shlex.split(command), time.perf_counter()
        if words[0] == "edgesr":
            assert main(words[1:]) == 0, command
        elif words[0] == "cd" and len(words) == 2:
            os.chdir(words[1])
        else:
            done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        print(f"{time.perf_counter() - started:.1f} s: {command}", file=sys.stderr)


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Callable, request: pytest.FixtureRequest
) -> Iterator[Callable[[Path, Way], Reader]]:
    """Make a reader of a document; what the document registers is forgotten afterwards."""
    for registered in (PASSES, NETWORKS, READERS, TARGETS):
        kept(registered)
    published, before = dict(PROTOCOLS), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def make(document: Path, way: Way) -> Reader:
        for fixture in way.fixtures:
            request.getfixturevalue(fixture)
        name = f"documented_{document.stem}"
        return Reader(tmp_path, way, {"__name__": name, "__file__": name_of(document)})

    yield make
    PROTOCOLS.clear()
    PROTOCOLS.update(published)
    for name in set(sys.modules) - before:
        module_file = getattr(sys.modules[name], "__file__", None)
        if module_file and Path(module_file).is_relative_to(tmp_path):
            del sys.modules[name]


def runs(document: Path) -> bool:
    return any(b.language in RUNNABLE and not b.excuse for b in blocks(read(document)))


@pytest.mark.parametrize("document", filter(runs, DOCUMENTS), ids=name_of)
def test_what_a_document_says_works(document, reader):
    made = reader(document, WAYS.get(document.name, Way()))
    for block in blocks(read(document)):
        if block.language in RUNNABLE and not block.excuse:
            made.follow(block)


@pytest.mark.slow
def test_the_tutorial_works_as_it_stands(reader):
    document = REPOSITORY / "docs" / "tutorial.md"
    made = reader(document, Way())
    for block in blocks(read(document)):
        if block.language in RUNNABLE and not block.excuse:
            made.follow(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_is_run_or_says_why_not(document):
    for block in blocks(read(document)):
        where = f"{name_of(document)}:{block.line}"
        assert block.language in (*RUNNABLE, *SILENT), f"{where}: unknown {block.language!r}"
        marked = block.remark.startswith(("file:", "not run:"))
        if marked:
            assert block.file or block.excuse, f"{where}: give the file's name or the reason"
        if block.language in SILENT:
            commands = [line for line in block.text.splitlines() if line.startswith("edgesr ")]
            assert not commands, f"{where}: a command in a block that is never run"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_formulas_survive_markdown(document):
    """In a line, Markdown takes a backslash before punctuation away; GitHub refuses some macros."""
    text = read(document)
    for formula in re.findall(r"\$[^$\n]+\$", prose(text)):
        assert not re.search(r"\\[^a-zA-Z]", formula), f"{name_of(document)}: {formula}"
    assert "\\operatorname" not in text


@pytest.mark.parametrize("document", [*DOCUMENTS, *OTHERS], ids=name_of)
def test_links_lead_somewhere(document):
    for target in links(read(document)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{name_of(document)} links to {target}"
        assert found.is_relative_to(REPOSITORY), f"{name_of(document)} links out of the repository"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(read(found)), f"{name_of(document)} links to {target}"


@cache
def known_options() -> frozenset[str]:
    """Options of all programs of the project."""
    from edgesr_jetson.board.options import parse_options

    from benchmarks import healing, honesty
    from benchmarks.peers import __main__ as peers

    helped = io.StringIO()
    for show in (parse_options, honesty.main, healing.main, peers.main):
        with redirect_stdout(helped), pytest.raises(SystemExit):
            show(["--help"])
    found = options(helped.getvalue()) | set(FOREIGN_OPTIONS)
    waiting: list[argparse.ArgumentParser] = [build_parser()]
    while waiting:
        parser = waiting.pop()
        for action in parser._actions:
            found.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting.extend(action.choices.values())
    return frozenset(found)


@pytest.mark.parametrize("document", [*DOCUMENTS, *OTHERS], ids=name_of)
def test_options_exist(document):
    unknown = options(read(document)) - known_options()
    assert not unknown, f"{name_of(document)} mentions {', '.join(sorted(unknown))}"


def test_every_page_is_in_the_index():
    index = REPOSITORY / "docs" / "README.md"
    pages = {document.name for document in DOCUMENTS if document.parent == index.parent}
    assert pages - set(links(read(index))) == {"README.md"}
    assert "docs/README.md" in links(read(REPOSITORY / "README.md"))


def test_every_pass_and_rewrite_is_explained():
    text = read(REPOSITORY / "docs" / "passes.md")
    for name in PASSES:
        assert f"`{name}`" in text, f"docs/passes.md says nothing of the pass {name}"
