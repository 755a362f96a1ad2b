"""Make the folder that goes to a board, and one archive of it.

::

    bundle/
      run.py              python3 run.py
      README.md           flash to figures
      manifest.json       SHA-256 and size of everything else; its own is the bundle's identity
      board/              the program: Python 3.8, numpy, and TensorRT or onnxruntime
      models/NAME/        ONNX, with its external data if it has any; perhaps native.onnx, and
                          native.integers.onnx, the same for onnxruntime
      reference/          inputs.npz, and what the network must answer to them

Needs numpy and the standard library; knows nothing of the network's origin.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesr_jetson.archive import write_npz, write_tar_gz
from edgesr_jetson.board.contents import (
    FORMAT,
    MODEL_NAME,
    NATIVE_TYPES,
    PRECISIONS,
    open_bundle,
    read_manifest,
)
from edgesr_jetson.board.errors import BoardError
from edgesr_jetson.errors import BundleError
from edgesr_jetson.onnx_files import OnnxFile, read_onnx

TOLERANCES: Mapping[str, Mapping[str, float]] = {
    "fp32": {"max_abs": 1e-3},
    "fp16": {"max_abs": 2e-2, "min_psnr_db": 50.0},
    "int8": {"min_psnr_db": 35.0},
}
"""How far a board's answer may be from the reference, on data in [0, 1]; see ``make_bundle``."""

_BOARD = Path(__file__).parent / "board"
_NOT_COPIED = ("__pycache__",)
_ONNX, _NATIVE, _INTEGERS = "model.onnx", "native.onnx", "native.integers.onnx"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class NativeModel:
    """A network for the sensor's own numbers, beside the one of the same name for [0, 1].

    Its graph selects bands, replaces nodata, normalises, computes, and goes all the way back; see
    :class:`edgesr_jetson.board.contents.Native`.

    Attributes:
        onnx: input [1, C, h, w], output [1, B, r*h, r*w]; with ``as_bytes`` both have a last axis
            of the two bytes of each number, low one first, as uint8.
        inputs: reference tiles [1, C, h, w] in the numbers and the type that go in.
        outputs: what must come out [1, B, r*h, r*w], in the type that comes out.
        selection: C are all bands of the sensor, ``facts.card`` says which are the network's.
        nodata: what says "no measurement" in and out, NaN included.
        as_bytes: the form for TensorRT, which has no integers of 16 bits; else for onnxruntime.
        integers: with ``as_bytes``, the form for onnxruntime, for boards that have that alone.
    """

    onnx: Path
    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]
    selection: bool = False
    nodata: float | None = None
    as_bytes: bool = False
    integers: IntegersModel | None = None


@dataclass(frozen=True)
class IntegersModel:
    """A native model for onnxruntime beside the one for TensorRT; what goes in is the same.

    Attributes:
        onnx: input [1, C, h, w], output [1, B, r*h, r*w].
        outputs: what must come out; None where that is the same, too.
    """

    onnx: Path
    outputs: Sequence[np.ndarray] | None = None


@dataclass(frozen=True)
class _References:
    inputs: list[np.ndarray]
    outputs: dict[str, list[np.ndarray]]
    bands: int
    scale: int


@dataclass(frozen=True)
class _Native:
    """What was given, and its checked files by their names in the bundle."""

    given: NativeModel
    files: dict[str, OnnxFile]


def make_bundle(
    onnx_files: Mapping[str, Path],
    reference_inputs: Sequence[np.ndarray],
    reference_outputs: Mapping[str, Sequence[np.ndarray]] | Sequence[np.ndarray],
    facts: Mapping[str, Any],
    output: Path,
    *,
    tolerances: Mapping[str, Mapping[str, float]] | None = None,
    tile_range: tuple[tuple[int, int], tuple[int, int]] | None = None,
    native: Mapping[str, NativeModel] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the folder ``output`` and ``output.tar.gz`` beside it.

    Args:
        onnx_files: ONNX file by name; a name is ``fp32``, ``fp16`` or ``int8``, perhaps with more
            behind a hyphen (``int8-tensorrt``). Models run on the board in this order.
        reference_inputs: real tiles [1, B, h, w] in [0, 1], small ones.
        reference_outputs: what the network answers, [1, B, r*h, r*w] for each input: one list for
            all models, or one list a model by name. Give each quantised model the answers of its
            own file on the desktop; then the comparison shows what the board adds.
        facts: about network and data, for the reader of a result; must be JSON. ``normalisation``
            with ``lower`` and ``upper`` [B] lets ``--live`` take native numbers, ``card`` the
            sensor's bands (see :class:`edgesr_jetson.board.card.Card`).
        output: folder to write, such as ``run/bundle``.
        tolerances: ``max_abs`` and/or ``min_psnr_db`` by model name or precision, instead of
            :data:`TOLERANCES`.
        tile_range: smallest and largest (h, w) that engines are built for, where the files leave
            the size free; the reference tiles' sizes by default.
        native: models for the sensor's own numbers, by the name of the one in ``onnx_files``.
        overwrite: replace what is there.

    Returns:
        The archive, byte for byte the same for the same content.

    Raises:
        BundleError: files, tiles and facts that do not fit together, external data outside a
            model's folder, an existing output, or a place that cannot be written. Nothing
            half-written stays.
    """
    output = Path(output)
    archive = output.with_name(output.name + ".tar.gz")
    models = {name: _checked(name, Path(path)) for name, path in onnx_files.items()}
    if not models:
        raise BundleError("a bundle needs at least one ONNX file")
    references = _check_references(list(models), reference_inputs, reference_outputs)
    profile = _profile(references, tile_range)
    for name, model in models.items():
        _check_fit(name, model, profile)
    natives = _check_natives(native or {}, models, references, profile)
    manifest = {
        "format": FORMAT,
        "bands": references.bands,
        "scale": references.scale,
        "profile": profile,
        "inputs": "reference/inputs.npz",
        "models": [_entry(name, tolerances, natives.get(name)) for name in models],
        "facts": _json(facts),
    }
    for target in (output, archive):
        if target.exists() and not overwrite:
            raise BundleError(f"{target} exists; choose another place, or allow to overwrite it")
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    packed = output.with_name(f".{output.name}.{os.getpid()}.part.tar.gz")
    old = output.with_name(f".{output.name}.{os.getpid()}.old")
    try:
        _write(part, models, natives, references, manifest)
        _read_as_the_board(part)
        write_tar_gz(packed, part, "bundle")
        if output.exists():
            output.replace(old)
        part.replace(output)
        packed.replace(archive)
    except OSError as error:
        raise BundleError(
            f"{output} cannot be written ({error.strerror or error}); free some space or choose "
            "another place"
        ) from error
    finally:
        if old.exists() and not output.exists():
            old.replace(output)
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)
        packed.unlink(missing_ok=True)
    return archive


def identity(bundle: Path) -> str:
    """SHA-256 of a bundle's manifest; ``run.py --bundle-id`` on the board compares with it."""
    return hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()


def _checked(name: str, path: Path) -> OnnxFile:
    if not MODEL_NAME.fullmatch(name):
        raise BundleError(
            f"a model is called {name!r}; use {', '.join(PRECISIONS)}, or one of them and a hyphen"
        )
    model = read_onnx(path)
    taken = {_ONNX, _NATIVE, _INTEGERS} & set(model.external)
    if taken:
        raise BundleError(
            f"{path} keeps weights in a file called {min(taken)}; give that another name"
        )
    return model


def _check_references(
    names: list[str],
    inputs: Sequence[np.ndarray],
    outputs: Mapping[str, Sequence[np.ndarray]] | Sequence[np.ndarray],
) -> _References:
    by_name = dict(outputs) if isinstance(outputs, Mapping) else dict.fromkeys(names, outputs)
    if set(by_name) != set(names):
        raise BundleError(f"references are for {', '.join(by_name)}, models are {', '.join(names)}")
    tiles = [_tile(tile, "input") for tile in inputs]
    if not tiles:
        raise BundleError("a bundle needs at least one reference tile")
    answers = {name: [_tile(tile, "output") for tile in given] for name, given in by_name.items()}
    bands = tiles[0].shape[1]
    scale = answers[names[0]][0].shape[2] // tiles[0].shape[2] if answers[names[0]] else 0
    for name, given in answers.items():
        expected = [(1, bands, scale * t.shape[2], scale * t.shape[3]) for t in tiles]
        found = [tile.shape for tile in given]
        if found != expected or scale < 1 or any(t.shape[1] != bands for t in tiles):
            raise BundleError(
                f"reference outputs of {name} are {found} for inputs "
                f"{[tile.shape for tile in tiles]}; [1, B, r*h, r*w] for each [1, B, h, w] is "
                "needed, with one B and one whole r"
            )
    return _References(tiles, answers, bands, scale)


def _tile(tile: np.ndarray, kind: str) -> np.ndarray:
    array = np.asarray(tile, dtype=np.float32)
    if array.ndim != 4 or array.shape[0] != 1 or array.size == 0:
        raise BundleError(f"a reference {kind} is {array.shape}; [1, B, h, w] is needed")
    if not np.isfinite(array).all():
        raise BundleError(f"a reference {kind} has values that are not finite; choose another tile")
    return array


def _profile(
    references: _References, tile_range: tuple[tuple[int, int], tuple[int, int]] | None
) -> dict[str, list[int]]:
    sizes = [tile.shape[2:] for tile in references.inputs]
    low = [min(size[axis] for size in sizes) for axis in (0, 1)]
    high = [max(size[axis] for size in sizes) for axis in (0, 1)]
    if tile_range is not None:
        smallest, largest = tile_range
        if any(a > b for a, b in zip(smallest, low, strict=True)) or any(
            a < b for a, b in zip(largest, high, strict=True)
        ):
            raise BundleError(
                f"the range of tiles {smallest} to {largest} leaves out reference tiles of "
                f"{low} to {high}; widen it"
            )
        low, high = list(smallest), list(largest)
    head = [1, references.bands]
    typical = list(references.inputs[0].shape[2:])
    return {"min": [*head, *low], "opt": [*head, *typical], "max": [*head, *high]}


def _check_natives(
    natives: Mapping[str, NativeModel],
    models: Mapping[str, OnnxFile],
    references: _References,
    profile: Mapping[str, list[int]],
) -> dict[str, _Native]:
    checked = {}
    for name, native in natives.items():
        if name not in models:
            raise BundleError(f"a native model is for {name}, models are {', '.join(models)}")
        _check_native_tiles(name, native, native.outputs, references)
        forms = {_NATIVE: (native.onnx, 2 if native.as_bytes else None)}
        other_form = native.integers
        if other_form is not None:
            if not native.as_bytes:
                raise BundleError(
                    f"the native {name} is for onnxruntime already; leave out {other_form.onnx}"
                )
            _check_native_tiles(name, native, other_form.outputs or native.outputs, references)
            forms[_INTEGERS] = (other_form.onnx, None)
        files: dict[str, OnnxFile] = {}
        for copy, (path, last) in forms.items():
            found = _checked(name, Path(path))
            for other in (models[name], *files.values()):
                _check_shared(found, other)
            count = native.inputs[0].shape[1]
            _check_fit(f"the native {name}", found, profile, count, last)
            files[copy] = found
        checked[name] = _Native(native, files)
    return checked


def _check_shared(one: OnnxFile, other: OnnxFile) -> None:
    """Refuse two files of weights of one name and another content."""
    shared = set(one.external) & set(other.external)
    if any(not _is_same(one, other, location) for location in shared):
        raise BundleError(
            f"{one.path} keeps weights in {min(shared)}, as {other.path} does others; give that"
            " file another name"
        )


def _is_same(one: OnnxFile, other: OnnxFile, location: str) -> bool:
    """Whether two files of weights of one name have one content."""
    first, second = (file.path.parent / location for file in (one, other))
    return first.samefile(second) or first.read_bytes() == second.read_bytes()


def _check_native_tiles(
    name: str, native: NativeModel, outputs: Sequence[np.ndarray], references: _References
) -> None:
    bands, scale = references.bands, references.scale
    shapes = [tile.shape for tile in native.inputs]
    fits = len({(tile.dtype, tile.shape[1:2]) for tile in native.inputs}) == 1 and all(
        len(shape) == 4 and shape[0] == 1 and shape[1] >= bands for shape in shapes
    )
    expected = [(1, bands, scale * shape[2], scale * shape[3]) for shape in shapes if fits]
    found = [tile.shape for tile in outputs]
    types = {tile.dtype for tile in (*native.inputs, *outputs)}
    fits = (
        fits
        and found == expected
        and {tile.dtype for tile in outputs} == {tile.dtype for tile in native.outputs[:1]}
    )
    if not fits or not {kind.name for kind in types} <= set(NATIVE_TYPES):
        raise BundleError(
            f"native references of {name} are {shapes} and {found} of "
            f"{', '.join(sorted(str(kind) for kind in types))}; [1, C, h, w] and [1, B, r*h, r*w] "
            f"of {', '.join(NATIVE_TYPES)} are needed"
        )


def _check_fit(
    name: str,
    model: OnnxFile,
    profile: Mapping[str, list[int]],
    bands: int | None = None,
    last: int | None = None,
) -> None:
    """Raise unless the tiles go through the file; with other ``bands``, and a last axis."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise BundleError(
            f"{model.path} has inputs {', '.join(model.inputs)} and outputs "
            f"{', '.join(model.outputs)}; one each is needed"
        )
    (shape,) = model.inputs.values()
    for tile in (profile["min"], profile["max"]):
        wanted = [1, bands or tile[1], *tile[2:], *([last] if last else [])]
        if len(shape) != len(wanted) or any(
            fixed not in (None, length) for fixed, length in zip(shape, wanted, strict=True)
        ):
            shown = ["free" if length is None else length for length in shape]
            raise BundleError(
                f"{name} takes input {shown} and tiles of {wanted} are to go through it; export "
                "it with free height and width, or choose tiles of its size"
            )


def _entry(
    name: str,
    tolerances: Mapping[str, Mapping[str, float]] | None,
    native: _Native | None,
) -> dict[str, Any]:
    precision = name.split("-")[0]
    given = tolerances or {}
    tolerance = dict(given.get(name) or given.get(precision) or TOLERANCES[precision])
    if not tolerance or not set(tolerance) <= {"max_abs", "min_psnr_db"}:
        raise BundleError(f"a tolerance has max_abs and/or min_psnr_db, got {tolerance} for {name}")
    entry = {
        "name": name,
        "precision": precision,
        "onnx": f"models/{name}/{_ONNX}",
        "outputs": f"reference/{name}.npz",
        "tolerance": tolerance,
    }
    return entry if native is None else {**entry, "native": _native_entry(name, native.given)}


def _native_entry(name: str, native: NativeModel) -> dict[str, Any]:
    nodata = native.nodata
    outputs = f"reference/{name}.native.npz"
    integers: dict[str, Any] = {}
    if native.integers is not None:
        own = native.integers.outputs is not None
        integers["integers"] = {
            "onnx": f"models/{name}/{_INTEGERS}",
            "outputs": f"reference/{name}.integers.npz" if own else outputs,
        }
    return {
        **integers,
        "onnx": f"models/{name}/{_NATIVE}",
        "outputs": outputs,
        "input_dtype": native.inputs[0].dtype.name,
        "output_dtype": native.outputs[0].dtype.name,
        "sensor_bands": native.inputs[0].shape[1],
        "selection": native.selection,
        "nodata": nodata if nodata is None or math.isfinite(nodata) else str(nodata),
        "bytes": native.as_bytes,
    }


def _json(facts: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(facts), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise BundleError(f"the facts of a bundle must be JSON ({error})") from error


def _read_as_the_board(folder: Path) -> None:
    try:
        open_bundle(folder, read_manifest(folder))
    except BoardError as error:
        raise BundleError(f"a board would refuse this bundle: {error}") from error


def _write(
    folder: Path,
    models: Mapping[str, OnnxFile],
    natives: Mapping[str, _Native],
    references: _References,
    manifest: Mapping[str, Any],
) -> None:
    folder.mkdir(parents=True)
    shutil.copytree(_BOARD, folder / "board", ignore=shutil.ignore_patterns(*_NOT_COPIED))
    shutil.copyfile(_BOARD / "run.py", folder / "run.py")
    shutil.copyfile(_BOARD / "README.md", folder / "README.md")
    (folder / "reference").mkdir()
    write_npz(folder / "reference/inputs.npz", _tiles(references.inputs))
    for name, model in models.items():
        write_npz(folder / f"reference/{name}.npz", _tiles(references.outputs[name]))
        place = folder / "models" / name
        place.mkdir(parents=True)
        _copy_onnx(model, place, _ONNX)
        if name in natives:
            native = natives[name].given
            for copy, file in natives[name].files.items():
                _copy_onnx(file, place, copy)
            entry = _native_entry(name, native)
            write_npz(folder / entry["outputs"], _pairs(native.inputs, native.outputs))
            if native.integers is not None and native.integers.outputs is not None:
                arrays = _pairs(native.inputs, native.integers.outputs)
                write_npz(folder / entry["integers"]["outputs"], arrays)
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({**manifest, "files": files}, indent=2, sort_keys=True, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _pairs(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {
        f"{kind}{index}": tile.astype(tile.dtype.newbyteorder("<"), copy=False)
        for index, pair in enumerate(zip(inputs, outputs, strict=True))
        for kind, tile in zip(("input", "output"), pair, strict=True)
    }


def _tiles(tiles: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"tile{index}": tile for index, tile in enumerate(tiles)}


def _copy_onnx(model: OnnxFile, place: Path, name: str) -> None:
    """Copy a file to ``place/name``, with the files of weights that it has."""
    shutil.copyfile(model.path, place / name)
    for location in model.external:
        copy = place / location
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.path.parent / location, copy)
