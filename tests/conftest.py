"""Fixtures that every room shares, and the small job that the tests of the whole run on."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgesr_export.registry import Registry
from edgesr_export.targets import TARGETS
from onnx import helper, numpy_helper
from torch import nn

from edgesr.cli.main import main
from edgesr.recipe.recipes import CompressRecipe

torch.set_num_threads(1)  # small tensors; more threads only wait for each other

REPOSITORY = Path(__file__).resolve().parents[1]

SMALL_NETWORKS = '''
"""Third-party networks, for --model small_networks:FUNCTION."""

import torch
from torch import nn

BANDS = 8


class Bilinear(nn.Module):
    """Interpolates linearly, exactly: 1 x 1 convolution that mixes the bands, then one to B*16.

    Mixing makes the upsampler dense, of rank 72: nine singular values, each eight times. It says
    nowhere what its scale is.
    """

    def __init__(self, scale=4):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        mix, _ = torch.linalg.qr(torch.randn(BANDS, BANDS, generator=generator))
        self.head = nn.Conv2d(BANDS, BANDS, 1, bias=False)
        self.upsampler = nn.Conv2d(
            BANDS, scale**2 * BANDS, 3, padding=1, padding_mode="replicate"
        )
        self.shuffle = nn.PixelShuffle(scale)
        weights = torch.zeros(scale, 3)
        for phase in range(scale):
            position = (phase + 0.5) / scale - 0.5
            for tap in (-1, 0, 1):
                weights[phase, tap + 1] = max(0.0, 1 - abs(tap - position))
        kernels = torch.einsum("iy,jx->ijyx", weights, weights).reshape(scale**2, 3, 3)
        dense = torch.einsum("pyx,cb->bpcyx", kernels, mix)
        with torch.no_grad():
            self.head.weight.copy_(mix[:, :, None, None])
            self.upsampler.weight.copy_(dense.reshape(self.upsampler.weight.shape))
            self.upsampler.bias.zero_()

    def forward(self, lr):
        return self.shuffle(self.upsampler(self.head(lr)))


def bilinear():
    return Bilinear()


def doubling():
    return Bilinear(scale=2)


def nothing_learnable():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(BANDS, BANDS, 3, padding=1)

        def forward(self, lr):
            return nn.functional.interpolate(self.head(lr), scale_factor=4, mode="bicubic")

    return Plain()
'''


@dataclass(frozen=True)
class Materials:
    """Files of a small job: a cube of 72 x 72 x 12, and weights that fit it at x4.

    ``bilinear`` are weights of ``small_networks:bilinear`` (bands 0-7), ``lkca_net`` of the
    published network with one block of 16 channels (all bands, brief random weights).
    """

    folder: Path
    cube: Path
    bilinear: Path
    lkca_net: Path


def generated_cube(side: int = 72, bands: int = 12, seed: int = 0) -> np.ndarray:
    """Digital numbers uint16 [side, side, bands]: three smooth materials, mixed, a little noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    materials = np.stack(
        [1 + np.sin(rows / (3 + k) + seed) * np.cos(columns / (4 + k)) for k in range(3)], axis=-1
    )
    spectra = 1 + np.abs(random.normal(size=(3, bands))).cumsum(axis=1) / bands
    data = 500 * materials @ spectra
    return (data + random.normal(scale=3, size=data.shape)).astype(np.uint16)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Undo it where a command has asked for more threads."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _one_table_of_operators() -> None:
    """The exporter of torch draws its table of operators up anew for every file: half a second."""
    with suppress(ImportError, AttributeError):  # another torch has it elsewhere: it only is slower
        registry = importlib.import_module("torch.onnx._internal.exporter._registration")
        drawn_up = functools.cache(registry.ONNXRegistry.from_torchlib)
        registry.ONNXRegistry.from_torchlib = staticmethod(drawn_up)


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """Files of the small job; tests only read them."""
    from edgesr.cube import make_scene, read_cube
    from edgesr.loading.weights import load_custom, save_network
    from edgesr.models import create_model

    folder = tmp_path_factory.mktemp("materials")
    (folder / "small_networks.py").write_text(SMALL_NETWORKS)
    made = Materials(
        folder,
        folder / "made.npy",
        folder / "bilinear.safetensors",
        folder / "lkca_net.safetensors",
    )
    np.save(made.cube, generated_cube())
    cube = read_cube(made.cube)
    torch.manual_seed(0)
    network = create_model("lkca_net", bands=12, scale=4, blocks=1, channels=16)
    scene = make_scene(cube, scale=4, patch=16, bands="all")
    save_network(network, made.lkca_net, data=scene.describe())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        network = load_custom("small_networks:bilinear")
    scene = make_scene(cube, scale=4, patch=16, bands="0-7")
    save_network(network, made.bilinear, data=scene.describe())
    return made


@pytest.fixture
def workplace(materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, from which ``small_networks`` can be imported."""
    folder = tmp_path / "workplace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(materials.folder))
    return folder


@pytest.fixture
def brief_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context of a network is measured on small tiles: attention over 96 x 96 takes seconds."""
    monkeypatch.setattr("edgesr.evaluation.context.SIDES", (8, 16))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[Registry[Any]], dict[str, Any]]:
    """Undo after the test what it adds to a registry or takes from it; return the things by name.

    All of its own is imported first. Python imports a module once: what only the test had imported
    would be missing in every test after it.
    """

    def keep(registry: Registry[Any]) -> dict[str, Any]:
        things = dict(registry.load())
        monkeypatch.setattr(registry, "_things", things)
        monkeypatch.setattr(registry, "_broken", set())
        return things

    return keep


@pytest.fixture
def numpy_target(kept: Callable, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a target that an installed package offers."""
    kept(TARGETS)
    point = EntryPoint("numpy", "numpy_target:NumpyTarget", "edgesr.targets")
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests"))
    monkeypatch.setattr(
        "edgesr_export.registry.entry_points",
        lambda group: [point] if group == point.group else [],
    )
    return point.name


@pytest.fixture
def without_openvino(kept: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry of an installation that lacks the file ``targets/openvino.py``."""
    modules = TARGETS._modules()
    monkeypatch.setattr(TARGETS, "_modules", lambda: modules)
    for collection in (kept(TARGETS), modules):
        del collection["openvino"]


@pytest.fixture(scope="session")
def small_recipe(materials: Materials) -> CompressRecipe:
    """Seconds of work: the bilinear network, whose dense upsampler has rank 72."""
    return CompressRecipe(
        data=str(materials.cube),
        weights=str(materials.bilinear),
        model="small_networks:bilinear",
        patch=16,
        threads=1,
        latency_tile=8,
        epochs=2,
        steps_per_epoch=2,
        batch=2,
        precisions=("fp32",),
        targets=("cpu",),
        io=("normalised",),
    )


@pytest.fixture(scope="session")
def plain_exporter() -> Callable[..., Path]:
    """Writes the ONNX file of a small network node by node: tracing it takes seconds."""
    return _write_plainly


@pytest.fixture
def plain_export(plain_exporter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the pipeline the plain exporter; what it writes is verified all the same."""
    monkeypatch.setattr("edgesr_export.tracing.export_onnx", plain_exporter)


def _write_plainly(
    module: nn.Module,
    example: torch.Tensor,
    path: Path,
    *,
    dynamic: bool | tuple[str, ...] = True,
    **_: object,
) -> Path:
    nodes, initializers, current = [], [], "input"
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        inputs = [current]
        for key, value in layer.named_parameters():
            inputs.append(f"{name}.{key}")
            initializers.append(numpy_helper.from_array(value.detach().numpy(), inputs[-1]))
        if layer.padding_mode == "replicate":
            pads = np.array([0, 0, *layer.padding] * 2)
            initializers.append(numpy_helper.from_array(pads, f"{name}.pads"))
            padded = f"{name}.padded"
            edge = helper.make_node("Pad", [current, f"{name}.pads"], [padded], mode="edge")
            nodes.append(edge)
            inputs[0] = padded
        nodes.append(helper.make_node("Conv", inputs, [name], group=layer.groups))
        current = name
    factor = module.shuffle.upscale_factor
    nodes.append(
        helper.make_node("DepthToSpace", [current], ["output"], blocksize=factor, mode="CRD")
    )
    shape = ["n", example.shape[1], "h", "w"] if dynamic else list(example.shape)
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, None)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opsets), path)
    return path


def _tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below ``folder`` with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(workplace, capsys) -> Callable[..., str]:
    """Run a command that must be refused; return its one line."""

    def run(*arguments: object) -> str:
        before = _tree(workplace)
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's way out
            code = stop.code
        written = capsys.readouterr()
        assert code == 2, written
        assert written.out == ""
        said = written.err.splitlines(keepends=True)
        errors = [line for line in said if not line.startswith("warning: ")]
        assert len(errors) == 1, written.err
        assert errors[0].startswith("edgesr"), written.err
        assert _tree(workplace) == before
        return errors[0]

    return run


@pytest.fixture
def refused_compress(refused, materials) -> Callable[..., str]:
    """``edgesr compress`` on the small job, with ``arguments`` that spoil it."""

    def run(*arguments: object) -> str:
        good = {
            "--data": materials.cube,
            "--weights": materials.lkca_net,
            "--patch": 16,
            "--threads": 1,
            "--output": "run",
        }
        for name in arguments[::2]:
            good.pop(str(name), None)
        return refused("compress", *(word for pair in good.items() for word in pair), *arguments)

    return run


@pytest.fixture
def refused_train(refused, materials) -> Callable[..., str]:
    """``edgesr train`` on the small cube, with ``arguments`` that spoil it."""

    def run(*arguments: object) -> str:
        good = {
            "--data": materials.cube,
            "--model": "small_networks:bilinear",
            "--bands": "0-7",
            "--patch": 16,
            "--epochs": 1,
            "--threads": 1,
            "--output": "net.safetensors",
        }
        for name in arguments[::2]:
            good.pop(str(name), None)
        return refused("train", *(word for pair in good.items() for word in pair), *arguments)

    return run


@dataclass(frozen=True)
class Traces:
    """What a command said, and what it left and asked for in surroundings of its own.

    Attributes:
        code: exit code.
        output: standard output.
        errors: standard error.
        files: files and empty folders below ``home``, ``tmp`` and ``work``, where it ran.
        sockets: a line for each that it or a process of its own asked for.
    """

    code: int
    output: str
    errors: str
    files: set[str]
    sockets: list[str]


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Traces]:
    """Run Python with arguments in a new home, temporary and working folder, without any network.

    Nothing of this process's environment is passed on: no ``CI``, where some libraries keep still.
    """
    around = tmp_path / "around"
    homes = [around / name for name in ("home", "tmp", "work")]

    def run(*arguments: str | Path, path: tuple[Path, ...] = ()) -> Traces:
        for folder in homes:
            folder.mkdir(parents=True, exist_ok=True)
        log = around / "log"
        done = subprocess.run(
            [sys.executable, REPOSITORY / "tests" / "watch.py", log, sys.executable, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(around / "home"),
                "TMPDIR": str(around / "tmp"),
                "PYTHONPATH": os.pathsep.join(map(str, path)),
                "OMP_NUM_THREADS": "1",
            },
            cwd=around / "work",
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode == 77:
            pytest.skip("the kernel does not tell who opens a socket: no seccomp notification here")
        left = {
            found
            for folder in homes
            for found in folder.rglob("*")
            if not found.is_dir() or not any(found.iterdir())
        }
        return Traces(
            done.returncode,
            done.stdout,
            done.stderr,
            {str(found.relative_to(around)) for found in left},
            log.read_text().splitlines(),
        )

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real cubes that may not be redistributed; tests that need it skip without it."""
    folder = Path(os.environ.get("EDGESR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real cubes not found at {folder} (set EDGESR_DATA to their folder)")
    return folder
