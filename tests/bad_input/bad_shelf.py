"""A shelf of good and bad files, made once: what the table of bad input names by its place."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edgesr.loading.weights import HEADER_KEY

SUFFIXES = ("npy", "npz", "mat", "h5", "tif", "hdr", "he5", "nc", "zarr", "txt", "img")
"""Of files that might be cubes."""

DEEP, LONG = "[" * 10_000 + "]" * 10_000, "9" * 5_000

NO_JSON: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"a": [1, 2',
    "binary": bytes(range(256)),
    "zeros": bytes(4096),
    "long_number": f'{{"schema_version": {LONG}}}'.encode(),
    "nested": f'{{"a": {DEEP}}}'.encode(),
    "list": b"[]",
    "number": b"1",
    "null": b"null",
    "text": b'"text"',
    "other_keys": b'{"trials": [], "experiments": 3}',
    "utf16": '{"a": 1}'.encode("utf-16"),
}
NO_TOML: dict[str, bytes] = {
    "truncated": b"[data",
    "binary": bytes(range(256)),
    "zeros": bytes(4096),
    "long_number": f"rank = {LONG}".encode(),
    "long_hexadecimal": b"rank = 0x" + b"f" * 50_000,
    "nested": f"a = {DEEP}".encode(),
    "nested_keys": b"a" + b".a" * 5_000 + b" = 1",
    "null_path": b'data = "a\\u0000b"',
    "null_weights": b'weights = "a\\u0000b"',
    "unknown": b"[surgery]\nrnk = 3",
    "another_type": b'[data]\nscale = "four"',
    "date": b"scale = 1979-05-27",
    "not_finite": b"max_psnr_drop = nan",
    "list_of_tables": b"[[data]]\nscale = 4",
}
HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no_object": lambda _: [],
    "no_format": lambda header: header.pop("format"),
    "newer": lambda header: header.update(format=99),
    "no_model": lambda header: header.update(model=""),
    "unknown_model": lambda header: header.update(model="nothing"),
    "scale": lambda header: header["config"].update(scale=10**9),
    "channels": lambda header: header["config"].update(channels=10**9),
    "bands": lambda header: header["config"].update(bands=10**9),
    "blocks": lambda header: header["config"].update(blocks=10**6),
    "more_blocks": lambda header: header["config"].update(blocks=10**12),
    "no_argument": lambda header: header["config"].update(depth=3),
    "no_layers": lambda header: header.update(surgery=[{"pass": "lowrank", "site": "upsampler"}]),
    "empty_layers": lambda header: header.update(surgery=[_change(layers=[])]),
    "rank": lambda header: header.update(surgery=[_change(rank=10**9)]),
    "rank_0": lambda header: header.update(surgery=[_change(rank=0)]),
    "unknown_pass": lambda header: header.update(surgery=[{**_change(), "pass": "fold"}]),
    "unknown_layer": lambda header: header.update(surgery=[_change(layers=["nowhere"])]),
    "groups_0": lambda header: header.update(
        surgery=[{"pass": "grouped", "site": "upsampler", "layers": ["upsampler"], "groups": 0}]
    ),
    "groups_5": lambda header: header.update(
        surgery=[{"pass": "grouped", "site": "upsampler", "layers": ["upsampler"], "groups": 5}]
    ),
    "stride_0": lambda header: header.update(surgery=[_plain(stride=[0, 0])]),
    "padding_mode": lambda header: header.update(surgery=[_plain(padding_mode="mirror")]),
    "kernel": lambda header: header.update(surgery=[_plain(kernel=[10**9, 3])]),
    "normalisation": lambda header: header["data"].update(normalisation="band"),
    "limits": lambda header: header["data"]["normalisation"].update(lower="0"),
    "few_limits": lambda header: header["data"]["normalisation"].update(lower=[0.0]),
    "data_bands": lambda header: header["data"].update(bands="all"),
    "data_scale": lambda header: header["data"].update(scale=2),
    "data_protocol": lambda header: header["data"].update(protocol=3),
    "call": lambda header: header.update(call={"scale": 4, "further": {}}),
    "call_text": lambda header: header.update(call="plainly"),
    "extra_text": lambda header: header.update(extra_state="text"),
    "extra_unexpected": lambda header: header.update(extra_state={"a._extra_state": 1}),
    "complex_unknown": lambda header: header.update(complex=["nowhere"]),
    "complex_real": lambda header: header.update(complex=["head.weight"]),
}
"""Changes of the header of our own weights that no loader may accept."""


def _change(**changes: Any) -> dict[str, Any]:
    return {"pass": "lowrank", "site": "upsampler", "layers": ["upsampler"], "rank": 2, **changes}


def _plain(**changes: Any) -> dict[str, Any]:
    geometry = {
        **{"transposed": False, "in_channels": 12, "out_channels": 16, "kernel": [3, 3]},
        **{"stride": [1, 1], "padding": [1, 1], "output_padding": [0, 0], "dilation": [1, 1]},
        **{"groups": 1, "padding_mode": "zeros", "bias": True},
    }
    geometry.update(changes)
    return {"pass": "plain", "site": "head", "layers": ["head"], "geometry": geometry}


RAW_HEADERS = {"raw_text": "text", "raw_nested": DEEP, "raw_long_number": LONG, "raw_empty": ""}

FIELDS: dict[str, Any] = {
    "crs": np.arange(3),
    "transform": np.array([1.0, 2.0]),
    "transform_flat": ("transform", np.zeros(6)),
    "wavelengths": np.array(["a"] * 12),
    "wavelengths_few": ("wavelengths", np.arange(3.0)),
    "wavelengths_nan": ("wavelengths", np.full(12, np.nan)),
    "fwhm": np.array("wide"),
    "mask": np.array("none"),
    "mask_small": ("mask", np.zeros((2, 2), bool)),
    "bad_bands": np.arange(12),
    "nodata": np.array(1e300),
    "nodata_text": ("nodata", np.array("none")),
    "nodata_many": ("nodata", np.arange(2.0)),
    "gain": np.zeros(12),
    "gain_text": ("gain", np.array(["a"] * 12)),
    "offset": np.full(12, np.inf),
    "band_names": np.arange(12),
    "gcps": np.zeros((2, 3)),
    "rpcs": np.array("{"),
    "rpcs_nested": ("rpcs", np.array(DEEP)),
    "rpcs_number": ("rpcs", np.array(f'{{"A": {LONG}}}')),
    "name": np.array(3),
    "source": np.zeros(2),
    "data_text": ("data", np.full((2, 2, 2), "a")),
    "data_flat": ("data", np.zeros((4, 4))),
    "data_empty": ("data", np.zeros((0, 4, 4))),
    "data_object": ("data", np.array([None, {}], object)),
    "data_complex": ("data", np.zeros((4, 4, 3), np.complex64)),
}
"""Fields of our own ``.npz`` that hold something else."""


def make_shelf(shelf: Path, cube: Path, weights: Path, old_report: Path) -> None:
    """Fill a folder."""
    _json(shelf, old_report)
    for name, content in NO_TOML.items():
        _write(shelf / "toml" / f"{name}.toml", content)
    _weights(shelf / "weights", weights)
    _cubes(shelf / "cubes", np.load(cube))
    _lists(shelf / "lists")
    (shelf / "folder").mkdir()
    (shelf / "folder.safetensors").mkdir()
    os.mkfifo(shelf / "pipe")
    for suffix in ("toml", "json", "safetensors", "onnx", *SUFFIXES):
        os.mkfifo(shelf / f"pipe.{suffix}")
    _write(shelf / "held.txt", b"in the way")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _json(shelf: Path, old_report: Path) -> None:
    """Files that are no JSON, and run folders whose report each of them is."""
    whole = old_report.read_bytes()
    reports = {
        **NO_JSON,
        "half": whole[: len(whole) // 2],
        "no_teacher": json.dumps(_without(json.loads(whole), "teacher")).encode(),
        "text_for_sites": json.dumps({**json.loads(whole), "sites": "up"}).encode(),
    }
    for name, content in reports.items():
        _write(shelf / "json" / f"{name}.json", content)
        _write(shelf / "runs" / name / "report.json", content)
        _write(shelf / "runs" / name / "recipe.toml", b"[data]\nscale = 4\n")
    for name in ("pipe", "folder"):
        run = shelf / "runs" / f"report_is_a_{name}"
        run.mkdir()
        os.mkfifo(run / "report.json") if name == "pipe" else (run / "report.json").mkdir()
    for name, content in NO_TOML.items():
        _write(shelf / "runs" / f"recipe_{name}" / "report.json", whole)
        _write(shelf / "runs" / f"recipe_{name}" / "recipe.toml", content)
    for name in ("lost", "empty", "truncated"):  # models of a run
        run = shelf / "runs" / f"models_{name}"
        shutil.copytree(shelf / "runs" / "empty", run)
        _write(run / "report.json", whole)
        for model in {one["path"] for one in json.loads(whole)["deployment"]["models"]}:
            if name != "lost":
                _write(run / model, b"" if name == "empty" else b"\x08\x0a\x12\x07pytorch:\xff\xff")


def _without(value: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: one for name, one in value.items() if name != key}


def _weights(folder: Path, weights: Path) -> None:
    folder.mkdir()
    tensors = load_file(weights)
    with safe_open(weights, framework="pt") as file:
        header = file.metadata()[HEADER_KEY]

    def save(name: str, text: str, held: dict[str, torch.Tensor] = tensors) -> None:
        save_file(held, folder / f"{name}.safetensors", metadata={HEADER_KEY: text})

    for name, change in HEADERS.items():
        changed = json.loads(header)
        result = change(changed)
        save(name, json.dumps(result if name == "no_object" else changed))
    for name, text in RAW_HEADERS.items():
        save(name, text)
    save("raw_within", header.replace('"config": {', f'"config": {{"x": {DEEP}, ', 1))
    first = next(iter(tensors))
    save("missing", header, _without(tensors, first))
    save("unexpected", header, {**tensors, "more": torch.zeros(1)})
    save("reshaped", header, {**tensors, first: torch.zeros(1, 2, 3)})
    save("not_finite", header, {**tensors, first: torch.full_like(tensors[first], torch.nan)})
    save("no_tensors", header, {})
    save_file(tensors, folder / "plain.safetensors")
    whole = weights.read_bytes()
    for name, content in {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "head_alone": whole[:200],
        "zeros": bytes(4096),
        "text": b"weights would be nice",
        "endless": struct.pack("<Q", 2**63) + b"{}",
        "no_json": struct.pack("<Q", 8) + b"{notjson",
    }.items():
        _write(folder / f"{name}.safetensors", content)
        _write(folder / f"{name}.pt", content)
    torch.save(tensors, folder / "pickle.safetensors")
    torch.save(tensors, folder / "old.safetensors", _use_new_zipfile_serialization=False)
    _write(folder / "code.pt", pickle.dumps(os.getcwd))
    with torch.device("meta"):
        torch.save({first: torch.zeros(tensors[first].shape)}, folder / "meta.pt")
    scripted = torch.jit.trace(torch.nn.Conv2d(8, 8, 1), torch.zeros(1, 8, 4, 4))
    torch.jit.save(scripted, folder / "script.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({}, folder / "nothing.pt")
    torch.save(3, folder / "number.pt")
    torch.save({"state_dict": {"a": 1}}, folder / "no_state.pt")
    torch.save({1: torch.zeros(1)}, folder / "numbered.pt")


def _cubes(folder: Path, cube: np.ndarray) -> None:
    folder.mkdir()
    small = cube[:24, :24]
    for name, value in FIELDS.items():
        field, value = value if isinstance(value, tuple) else (name, value)
        fields: dict[str, Any] = {"edgesr_cube": np.array(1), "data": small, field: value}
        np.savez(folder / f"{name}.npz", **fields)
    np.save(folder / "flat.npy", small[0])
    np.save(folder / "complex.npy", small.astype(np.complex64))
    np.save(folder / "text.npy", small.astype(str))
    np.save(folder / "none.npy", small[:0])
    np.save(folder / "objects.npy", np.array([None, 1], object))
    np.save(folder / "nan.npy", np.full(cube.shape, np.nan, np.float32))
    np.save(folder / "good.npy", cube)
    whole = (folder / "good.npy").read_bytes()
    for suffix in SUFFIXES:
        for name, content in {"empty": b"", "zeros": bytes(512), "text": b"a cube"}.items():
            _write(folder / f"{name}.{suffix}", content)
    _write(folder / "half.npy", whole[: len(whole) // 2])
    _write(folder / "huge.npy", whole.replace(b"(72, 72, 12)", b"(10**9,1,1) "))
    _write(folder / "enormous.npy", whole.replace(b"72, 72, 12), }", b"9999999, 99999, 99), }"))


def _lists(folder: Path) -> None:
    for name, content in {
        "empty.txt": b"",
        "binary.txt": bytes(range(256)),
        "null.txt": b"a\0b.npy\n",
        "empty.csv": b"",
        "no_column.csv": b"name,where\na,b\n",
        "one_item.json": b'{"type": "Feature"}',
        "nested.json": DEEP.encode(),
        "long.json": LONG.encode(),
        "list.json": b"[1, 2]",
    }.items():
        _write(folder / name, content)
