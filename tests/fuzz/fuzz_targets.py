"""What is read, each with good files of its kind and with what reads them as a command would."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import onnx.parser
import rasterio
import scipy.io
import torch
from edgesr_export.card import KEY, parse_card, read_card
from edgesr_export.chain import recorded_links
from edgesr_export.errors import ExportError
from edgesr_export.fp16 import kept_in_float32
from edgesr_export.int8 import recorded_layers
from edgesr_export.model_file import load_model
from edgesr_export.native import recorded_io
from edgesr_export.onnx import applied_rewrites
from edgesr_export.tensorrt.sidecar import read_side
from edgesr_export.tracing import tracing
from edgesr_jetson.board.contents import open_bundle
from edgesr_jetson.bundle import make_bundle
from fuzz_mutations import mutated, mutated_json, mutated_text
from onnx import numpy_helper
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edgesr.commands.info import render_card
from edgesr.cube import Cube, open_cube, read_cube, write_cube
from edgesr.cube.info import describe_cube, render_info
from edgesr.loading.card import make_card
from edgesr.loading.weights import HEADER_KEY, load_custom, load_network, read_header, save_network
from edgesr.models import create_model
from edgesr.recipe import CompressRecipe
from edgesr.report.pictures import TRUTH, Pictures
from edgesr.report.profiles import read_imports
from edgesr.report.validation import read
from edgesr.reproduce.store import load
from edgesr.scenes.archive.sources import find_sources
from edgesr.surgery import apply_changes
from tests.report.conftest import board_result

Mutation = Callable[[bytes, random.Random], bytes]
OLD_REPORT = Path(__file__).parents[1] / "report" / "report_v1.json"


DATA: dict[str, Any] = {
    "name": "made",
    "source": "made.npy",
    "shape": [8, 8, 4],
    "bands": "0-3",
    "nodata": None,
    "protocol": "auto",
    "scale": 2,
    "degradation": "bicubic",
    "normalisation": {"mode": "band", "lower": [0.0] * 4, "upper": [1.0] * 4},
    "wavelengths_nm": [500.0, 600.0, 700.0, 800.0],
}


LAYER = {"layer": "conv", "op": "Conv", "ms": 3.0, "nodes": ["a"], "modules": ["up"]}
PROFILE = {
    **{"runtime": "OpenVINO, CPU", "input_shape": [1, 4, 16, 16], "threads": 2, "runs": 20},
    "networks": [{"name": "student", "layers": [LAYER], "whole_ms": 3.5}],
}
DESKTOP = {
    **{"deployment": {}, "profiles": [PROFILE], "not_profiled": [], "boards": []},
    "environment": json.loads(OLD_REPORT.read_text())["environment"],
}
ITEMS = {
    "type": "FeatureCollection",
    "features": [{"id": "a", "assets": {"data": {"href": "a.tif", "eo:bands": [{}]}}}],
}
RECORDS = {
    "links": [
        {"name": "a", "difference": 0.0, "tolerance": 1.0, "worst": "b", "images": 2, "skipped": {}}
    ],
    "rewrites": ["one"],
    "kept_in_float32": {"a": "why"},
    "int8_layers": {"target": "cpu", "layers": {"a": ["int8", "why"]}},
    "tracing": {"how": "recorded", "free": ["h"], "odd": False},
    "native": {
        **{"lower": [0.0], "upper": [1.0], "sensor_bands": 1, "selection": None, "scale": 2},
        **{"input_dtype": "uint16", "output_dtype": "uint16", "nodata": 0.0, "fill": [0.5]},
        "as_bytes": False,
    },
}
SIDE = {
    **{"engine_sha256": "0", "onnx": "a.onnx", "onnx_sha256": "0", "library": "tensorrt"},
    **{"version": "10", "compute_capability": "8.6", "gpu": None, "expect": "fp32"},
    **{"strongly_typed": True, "tf32": False, "profile": {"x": [[1, 4, 8, 8]] * 3}},
    **{"precision": {"a": {"asked": "fp32", "obtained": "fp32"}}, "kept_in_float32": {}},
    **{"precision_source": "engine inspector", "layers": [{"name": "a"}], "warnings": {}},
    **{"memory_limit": None, "build_seconds": 1.0, "built_at": "now", "format": 1},
}


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
        name: of the kind.
        file: name of the file that is changed, in a folder that holds all else it needs.
        content: of a good one.
        mutations: one is drawn for each input.
        use: reads the file, whose path it is given.
        pack: puts what the mutation made into the file; None where it is the file.
    """

    name: str
    file: str
    content: bytes
    mutations: Sequence[Mutation]
    use: Callable[[Path], object]
    pack: Callable[[bytes], bytes] | None = None

    def write(self, folder: Path, draw: random.Random | None = None) -> Path:
        """Write a changed file; the good one where nothing is drawn."""
        path = folder / self.file
        content = self.content
        if draw is not None:
            content = draw.choice(self.mutations)(content, draw)
        path.write_bytes(content if self.pack is None else self.pack(content))
        return path


def make_targets(folder: Path) -> list[Target]:
    """All of them; good files are made in the folder, and those beside them stay there."""
    return [*_cubes(folder), *_weights(folder), *_own(folder), *_models(folder)]


def _use_cube(path: Path) -> None:
    with open_cube(str(path)) as cube:
        render_info(describe_cube(cube))
    read_cube(str(path))


def _cube() -> Cube:
    data = np.random.default_rng(0).integers(0, 4000, (8, 9, 4)).astype(np.uint16)
    return Cube(
        data,
        "made",
        wavelengths=np.linspace(500.0, 800.0, 4),
        fwhm=np.full(4, 10.0),
        bad_bands=np.array([False, False, True, False]),
        nodata=0.0,
        crs="EPSG:32632",
        transform=(30.0, 0.0, 500000.0, 0.0, -30.0, 4000000.0),
        gain=np.full(4, 1e-4),
        band_names=("a", "b", "c", "d"),
    )


def _cubes(folder: Path) -> list[Target]:
    cube, found = _cube(), []
    for name in ("own.npz", "plain.npy", "made.tif"):
        write_cube(cube, folder / name)
    np.savez(folder / "other.npz", data=cube.data, wavelengths=cube.wavelengths)
    scipy.io.savemat(folder / "made.mat", {"cube": cube.data, "wavelengths": cube.wavelengths})
    with h5py.File(folder / "made.h5", "w") as file:
        file["cube"] = cube.data
        file["cube"].attrs["wavelengths"] = cube.wavelengths
        file["cube"].attrs["units"] = "nm"
    _write_netcdf(cube, folder / "made.nc")
    with rasterio.open(
        folder / "plain.tif", "w", driver="GTiff", height=8, width=9, count=4, dtype="uint16",
        transform=rasterio.Affine.translation(0, 8),
    ) as file:  # fmt: skip
        file.write(cube.data.transpose(2, 0, 1))
    for name in ("own.npz", "other.npz", "plain.npy", "made.tif", "plain.tif", "made.mat",
                 "made.h5", "made.nc"):  # fmt: skip
        content = (folder / name).read_bytes()
        found.append(Target(name, name, content, [mutated], _use_cube))
    write_cube(cube, folder / "envi.hdr")
    header = (folder / "envi.hdr").read_bytes()
    mutations = [mutated, mutated_text, mutated_text]
    found.append(Target("envi.hdr", "envi.hdr", header, mutations, _use_cube))
    return found


def _write_netcdf(cube: Cube, path: Path) -> None:
    """As NetCDF 4 has it: in a group, axes with scales, packed, placed by CF."""
    with h5py.File(path, "w") as file:
        group = file.create_group("scene")
        image = group.create_dataset("image", data=cube.data, chunks=(4, 9, 4), compression="gzip")
        vectors = (np.arange(8.0)[::-1], np.arange(9.0), cube.wavelengths)
        for axis, (name, vector) in enumerate(zip(("y", "x", "wavelength"), vectors, strict=True)):
            group[name] = vector
            group[name].make_scale(name)
            image.dims[axis].attach_scale(group[name])
        group["wavelength"].attrs["units"] = "nm"
        image.attrs.update(
            {"grid_mapping": "crs", "scale_factor": 1e-4, "_FillValue": np.uint16(0)}
        )
        image.attrs["band_names"] = list(cube.band_names or ())
        group["crs"] = 0
        group["crs"].attrs["spatial_ref"] = np.bytes_("EPSG:32632")


def _weights(folder: Path) -> list[Target]:
    torch.manual_seed(0)
    changes = [{"pass": "lowrank", "site": "upsampler", "layers": ["upsampler"], "rank": 3}]
    model = create_model("lkca_net", bands=4, scale=2, blocks=1, channels=16)
    path = folder / "own.safetensors"
    save_network(apply_changes(model, changes), path, data=DATA)
    tensors = {key: value.clone() for key, value in load_file(path).items()}
    with safe_open(path, framework="pt") as file:
        header = file.metadata()[HEADER_KEY].encode()

    def with_header(text: bytes) -> bytes:
        other = folder / "packed.safetensors"
        save_file(tensors, other, metadata={HEADER_KEY: text.decode("utf-8", "replace")})
        return other.read_bytes()

    def use(path: Path) -> None:
        read_header(path)
        loaded = load_network(path)
        if loaded.metadata["data"]:
            make_card(loaded.metadata["data"], "network", "")

    torch.save({"state_dict": torch.nn.Conv2d(2, 2, 1).state_dict()}, folder / "plain.pt")
    torch.save(
        torch.nn.Conv2d(2, 2, 1).state_dict(),
        folder / "old.pt",
        _use_new_zipfile_serialization=False,
    )

    def custom(path: Path) -> None:
        load_custom("fuzz_network:network", path)

    checkpoints = [
        Target(name, name, (folder / name).read_bytes(), [mutated], custom)
        for name in ("plain.pt", "old.pt")
    ]
    return [
        Target("weights", "own.safetensors", path.read_bytes(), [mutated], use),
        Target("header", "own.safetensors", header, [mutated_json, mutated], use, with_header),
        *checkpoints,
    ]


def _own(folder: Path) -> list[Target]:
    CompressRecipe(data="a.npy", weights="b.safetensors", scale=4, rank=8).save(folder / "r.toml")
    recipe = (folder / "r.toml").read_bytes()
    results = {"test": {"sam": 1.0}, "cpu_seconds": 2.0}
    both = [mutated_json, mutated_json, mutated]
    pictures = Pictures(
        {TRUTH: np.zeros((3, 4, 4), np.float32)}, (500.0, 600.0, 700.0), (0, 0), (4, 4)
    )
    pictures.save(folder / "pictures.npz")
    return [
        Target("recipe", "r.toml", recipe, [mutated, mutated_text], CompressRecipe.load),
        Target("report", "report.json", OLD_REPORT.read_bytes(), both, read),
        Target(
            "board", "board.json", _json(board_result()), both, lambda path: read_imports([path])
        ),
        Target("profile", "profile.json", _json(DESKTOP), both, lambda path: read_imports([path])),
        Target(
            "results",
            "results.json",
            _json({"format": 1, "experiments": {}, "trials": {"a": results}}),
            both,
            load,
        ),
        Target("stac", "items.json", _json(ITEMS), both, lambda path: find_sources(str(path))),
        Target(
            "pictures",
            "pictures.npz",
            (folder / "pictures.npz").read_bytes(),
            [mutated],
            Pictures.load,
        ),
    ]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _models(folder: Path) -> list[Target]:
    card = make_card({**DATA, "dtype": "uint16"}, "network", "0" * 64)
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        net (float[n, 4, h, w] x) => (float[n, 4, hh, ww] y) {
            c = Conv(x, weight) y = DepthToSpace<blocksize = 2>(c) }"""
    )
    weight = np.ones((16, 4, 1, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    bare = model.SerializeToString()
    records = {KEY: json.loads(card.to_json()), **RECORDS}

    def with_records(text: bytes) -> bytes:
        """Each record as the text has it; as one text all of them where it is no dictionary."""
        whole = text.decode("utf-8", "replace")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        changed = onnx.ModelProto.FromString(bare)
        entries = found if isinstance(found, dict) else dict.fromkeys(records, whole)
        props = {
            key.encode("utf-8", "replace").decode(): value
            if isinstance(value, str)
            else json.dumps(value)
            for key, value in entries.items()
        }
        onnx.helper.set_model_props(
            changed, {k: v.encode("utf-8", "replace").decode() for k, v in props.items()}
        )
        return changed.SerializeToString()

    whole = with_records(_json(records))
    (folder / "net.onnx").write_bytes(bare)
    image = np.zeros((1, 4, 4, 4), np.float32)
    answer = np.zeros((1, 4, 8, 8), np.float32)
    make_bundle({"fp32": folder / "net.onnx"}, [image], [answer], {"name": "x"}, folder / "bundle")
    manifest = (folder / "bundle" / "manifest.json").read_bytes()
    both = [mutated_json, mutated_json, mutated]
    return [
        Target("onnx", "made.onnx", whole, [mutated], _use_onnx),
        Target("records", "made.onnx", _json(records), both, _use_records, with_records),
        Target("card", "card.json", card.to_json().encode(), both, _use_card),
        Target("engine", "a.engine.json", _json(SIDE), both, _use_side),
        Target("manifest", "manifest.json", manifest, both, _use_manifest),
    ]


def _use_onnx(path: Path) -> None:
    read_card(path)
    io_of_model = load_model(path)
    recorded_io(io_of_model)


def _use_records(path: Path) -> None:
    """What asks a file for its records asks for each by itself."""
    faults = []
    for read_one in (read_card, recorded_links, kept_in_float32, recorded_layers, tracing,
                     applied_rewrites, lambda path: recorded_io(load_model(path))):  # fmt: skip
        try:
            read_one(path)
        except ExportError as error:
            faults.append(error)
    if faults:
        raise faults[0]


def _use_card(path: Path) -> None:
    render_card(parse_card(path.read_bytes(), "it"))


def _use_side(path: Path) -> None:
    side = read_side(path.with_suffix(""))
    side.ranges()
    if side.card is not None:
        render_card(side.card)


def _use_manifest(path: Path) -> None:
    open_bundle(path.parent, path.read_bytes())
